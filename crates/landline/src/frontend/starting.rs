//! Which container is starting, as far as Docker shows it.

use std::collections::BTreeSet;
use std::time::Duration;

use landline_docker::{ContainerInfo, DockerView, EndpointRequest, Mounts, Place, Sketch};
use landline_engine::Candidate;
use landline_model::Port;
use landline_options::NetworkId;
use tokio::time::Instant;

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
        let patience = if self.view.borrow().connected {
            self.patience.renew();
            LATE
        } else {
            self.patience.left(dockerd, LATE, Instant::now())
        };
        if let Ok(candidates) = tokio::time::timeout(patience, look).await {
            return candidates;
        }
        // A daemon that has just started may be about to see Docker. Where it still does not, Docker restores.
        let seen = self.view.borrow().clone();
        seen.connected.then(|| self.candidates(&seen, network, mounts.as_ref()))
    }

    /// Sees to an endpoint whose container is told late: once its link is in the sandbox, that tells whose it is. `running` is the
    /// container that ran in the sandbox before.
    pub(super) async fn tell_late(self, request: EndpointRequest, running: Option<String>) {
        let engine = &self.parts.engine;
        let Some(found) = engine.late_arrival(&request.endpoint).await else { return };
        let container = match running.or(found) {
            Some(id) => self.container(&id, &request.network).await,
            None => None,
        };
        engine.settle_late(&request.endpoint, container).await;
    }

    /// What is known of a container that runs or is about to. Word of one that was just made may be late; while Docker restores its
    /// containers there is no word, but they have run before.
    async fn container(&self, id: &str, network: &NetworkId) -> Option<Candidate> {
        let mut view = self.view.clone();
        let seen = tokio::time::timeout(LATE, view.wait_for(|view| view.containers.contains_key(id))).await;
        let seen = seen.ok().and_then(Result::ok).map(|view| view.clone());
        match seen.as_ref().and_then(|view| Some((view, view.containers.get(id)?))) {
            Some((view, Sketch::Info(info))) => Some(inspected(view, network, info)),
            Some((_, Sketch::Name(name))) => Some(named(id, name)),
            None => self.parts.engine.remembered_container(id),
        }
    }

    /// Whether Docker may be restoring its containers: for some time after its start, while its API does not answer. The engine
    /// is told.
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
            (!idle).then(|| inspected(view, network, info))
        };
        let stopped = view.stopped_on(network).filter_map(|(id, sketch)| match sketch {
            Sketch::Name(name) => {
                let idle = mounts.and_then(|mounts| mounts.in_use(id, None)) == Some(false);
                (!idle).then(|| named(id, name))
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

/// A container that was inspected, on this network.
fn inspected(view: &DockerView, network: &NetworkId, info: &ContainerInfo) -> Candidate {
    Candidate {
        id: info.container_id.clone(),
        name: info.lasting_name().to_owned(),
        slot: info.slot(),
        hostname: Some(info.hostname.clone()).filter(|name| !name.is_empty()),
        ports: Some(info.ports.clone()),
        address: view.requested_on(info, network).and_then(|requested| requested.address),
    }
}

/// One of which nothing is known but its name.
fn named(id: &str, name: &str) -> Candidate {
    let (id, name) = (id.to_owned(), name.to_owned());
    Candidate { id, name, slot: None, hostname: None, ports: None, address: None }
}

/// What Docker has mounted. Nothing is left out for it when that cannot be seen.
async fn mounts(dockerd: Option<u32>) -> Option<Mounts> {
    let pid = dockerd?;
    let read = landline_links::blocking(move || Mounts::of(pid)).await;
    read.inspect_err(|error| tracing::debug!(%error, pid, "Docker's mounts cannot be seen")).ok()
}
