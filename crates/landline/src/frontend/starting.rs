//! Which container is starting, as far as Docker shows it.

use std::collections::BTreeSet;
use std::time::Duration;

use landline_docker::{ContainerInfo, DockerView, Mounts, Place, Sketch};
use landline_engine::Candidate;
use landline_model::Port;
use landline_options::NetworkId;

use super::{Frontend, LATE};

/// How long after its start Docker may be restoring its containers. While it does, its API does not answer.
const RESTORE: Duration = Duration::from_mins(15);

impl Frontend {
    /// The containers one of which is starting; waits a little if there is none with these ports, because then what
    /// is known is out of date. `None`: Docker cannot be seen. `dockerd` is the process that asks.
    pub(super) async fn starting(
        &self,
        network: &NetworkId,
        ports: Option<&BTreeSet<Port>>,
        dockerd: Option<u32>,
    ) -> Option<Vec<Candidate>> {
        let restores = self.look_whether_docker_restores(dockerd);
        // One look is enough: what starts was mounted before this was asked.
        let mounts = mounts(dockerd).await;
        let mut view = self.view.clone();
        let look = async {
            loop {
                let seen = view.borrow_and_update().clone();
                if seen.connected {
                    let candidates = self.candidates(&seen, network, mounts.as_ref());
                    let fits = |known: &BTreeSet<Port>| ports.is_none_or(|ports| known == ports);
                    if candidates.iter().any(|c| c.ports.as_ref().is_none_or(fits)) {
                        return Some(candidates);
                    }
                } else if !restores {
                    return None;
                }
                if view.changed().await.is_err() {
                    return None;
                }
            }
        };
        if let Ok(candidates) = tokio::time::timeout(LATE, look).await {
            return candidates;
        }
        // A daemon that has just started may be about to see Docker. Where it still does not, Docker restores.
        let seen = self.view.borrow().clone();
        seen.connected.then(|| self.candidates(&seen, network, mounts.as_ref()))
    }

    /// Whether Docker may be restoring its containers: for some time after its start, while its API does not answer. What refuses
    /// starts is told.
    pub(super) fn look_whether_docker_restores(&self, dockerd: Option<u32>) -> bool {
        let age = dockerd.and_then(|pid| landline_kernel::process_age(pid).ok());
        let restores = age.is_some_and(|age| age < RESTORE);
        self.parts.refused_starts.docker_restores(restores);
        restores
    }

    /// Where the container is that is starting, if only one can be.
    pub(super) fn place_of_starting(
        &self,
        network: &NetworkId,
        ports: &BTreeSet<Port>,
        candidates: Option<&[Candidate]>,
    ) -> Option<Place> {
        let id = self.parts.engine.only_starting(network, ports, candidates?)?;
        match self.view.borrow().containers.get(&id)? {
            Sketch::Info(info) => Some(info.place()),
            Sketch::Name(_) => None,
        }
    }

    /// The containers one of which may be starting: those attached to the network that do not run, and those that
    /// ran a moment ago: Docker has not said yet that they ended, but their endpoint here is gone. Those whose root
    /// file system is not mounted are not starting.
    fn candidates(&self, view: &DockerView, network: &NetworkId, mounts: Option<&Mounts>) -> Vec<Candidate> {
        let known = |id: &str, info: &ContainerInfo| {
            let idle = mounts.and_then(|m| m.in_use(id, info.root.as_deref())) == Some(false);
            (!idle).then(|| Candidate {
                id: id.to_owned(),
                name: info.lasting_name().to_owned(),
                slot: info.slot(),
                hostname: Some(info.hostname.clone()).filter(|name| !name.is_empty()),
                ports: Some(info.ports.clone()),
                address: view.requested_on(info, network).and_then(|requested| requested.address),
            })
        };
        let stopped = view.stopped_on(network).filter_map(|(id, sketch)| match sketch {
            Sketch::Name(name) => {
                let idle = mounts.and_then(|mounts| mounts.in_use(id, None)) == Some(false);
                (!idle).then(|| Candidate {
                    id: id.to_owned(),
                    name: name.clone(),
                    slot: None,
                    hostname: None,
                    ports: None,
                    address: None,
                })
            }
            Sketch::Info(info) => known(id, info),
        });
        let ended = view.endpoints.iter().filter(|(endpoint, info)| {
            info.running && view.network_of(endpoint) == Some(network) && !self.parts.engine.knows(endpoint)
        });
        // What was connected since it was disconnected from its last network: Docker tells of the latter only.
        let connected = view.on_no_network().filter(|(id, info)| {
            mounts.and_then(|mounts| mounts.in_use(id, info.root.as_deref())) == Some(true)
        });
        let connected = connected.filter_map(|(id, info)| known(id, info));
        stopped
            .chain(connected)
            .chain(ended.filter_map(|(_, info)| known(&info.container_id, info)))
            .collect()
    }
}

/// What Docker has mounted. Nothing is left out for it when that cannot be seen.
async fn mounts(dockerd: Option<u32>) -> Option<Mounts> {
    let pid = dockerd?;
    let read = landline_links::blocking(move || Mounts::of(pid)).await;
    read.inspect_err(|error| tracing::debug!(%error, pid, "Docker's mounts cannot be seen")).ok()
}
