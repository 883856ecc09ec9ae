//! What is known so far, and what has to be looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use landline_options::NetworkId;

use super::doubts::Doubt;
use super::model::{Container, Event, ListedContainer, Network};
use super::requested::is_called;
use super::view::{Attachment, ContainerInfo, DockerNetwork, DockerView, Sketch};

/// Something to ask Docker about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lookup {
    Container(String),
    Network(NetworkId),
}

/// What Docker said; nothing: there is no such thing (any more).
#[derive(Debug)]
pub(super) enum Finding {
    Container(String, Option<Box<Container>>),
    Network(NetworkId, Option<Box<Network>>),
}

/// Networks and containers, pieced together from lists, events and findings.
#[derive(Debug, Default)]
pub(super) struct State {
    networks: BTreeMap<NetworkId, DockerNetwork>,
    containers: BTreeMap<String, Known>,
    /// When the lists were asked for that all of this began with.
    pub(super) listed: Option<Duration>,
    /// Whether the engine tells IPAM drivers which container an address is for.
    pub(super) names_endpoints: bool,
    /// The engine's version, if it says one.
    pub(super) engine: Option<String>,
}

/// What is known of one container.
#[derive(Debug, Default)]
struct Known {
    /// Once it was inspected.
    info: Option<ContainerInfo>,
    /// What an event called it before that.
    name: String,
    endpoints: BTreeMap<NetworkId, Attachment>,
    /// The networks that it was disconnected from and is not attached to.
    disconnected: BTreeSet<NetworkId>,
}

impl State {
    /// Starts over from complete lists. What is known of containers that are still there stays until it is
    /// looked up again: names rarely change.
    pub(super) fn resync(&mut self, networks: &[Network], containers: &[ListedContainer]) -> Vec<Lookup> {
        self.networks = networks.iter().filter_map(|n| Some((n.id.parse().ok()?, n.view()))).collect();
        let mut before = std::mem::take(&mut self.containers);
        let ids = containers.iter().map(|container| &container.id).filter(|id| is_id(id));
        self.containers = ids.map(|id| (id.clone(), before.remove(id).unwrap_or_default())).collect();
        // A list of networks says nothing of their endpoints, and a container that is starting cannot be inspected.
        let foreign = self.networks.iter().filter(|(_, network)| network.has_foreign_ipam());
        let networks = foreign.map(|(id, _)| Lookup::Network(id.clone()));
        networks.chain(self.containers.keys().cloned().map(Lookup::Container)).collect()
    }

    /// Takes note of an event. Events say too little; most name what to look up.
    pub(super) fn event(&mut self, event: &Event) -> Vec<Lookup> {
        let attribute = |name: &str| event.actor.attributes.get(name);
        match (event.kind.as_str(), event.action.as_str()) {
            ("container", "destroy") if is_id(&event.actor.id) => {
                self.containers.remove(&event.actor.id);
                // An answer under way may still speak of it; the next one will not.
                vec![Lookup::Container(event.actor.id.clone())]
            }
            ("container", action) if is_id(&event.actor.id) => {
                let container = self.containers.entry(event.actor.id.clone()).or_default();
                if let Some(name) = attribute("name") {
                    container.name.clone_from(name);
                }
                if let ("die", Some(info)) = (action, &mut container.info) {
                    (info.running, info.pid) = (false, None);
                }
                vec![Lookup::Container(event.actor.id.clone())]
            }
            ("network", action) => {
                let Ok(network) = event.actor.id.parse::<NetworkId>() else { return Vec::new() };
                let container = attribute("container").filter(|id| is_id(id));
                match (action, container) {
                    ("destroy" | "remove", _) => {
                        self.networks.remove(&network);
                        vec![Lookup::Network(network)]
                    }
                    // While a container starts, inspecting it blocks; the network already says whose endpoint
                    // is whose.
                    ("connect", Some(container)) => {
                        vec![Lookup::Network(network), Lookup::Container(container.clone())]
                    }
                    ("disconnect", Some(container)) => {
                        if let Some(known) = self.containers.get_mut(container) {
                            known.endpoints.remove(&network);
                            known.disconnected.insert(network.clone());
                        }
                        vec![Lookup::Network(network), Lookup::Container(container.clone())]
                    }
                    _ => vec![Lookup::Network(network)],
                }
            }
            _ => Vec::new(),
        }
    }

    /// What may have changed without an event.
    pub(super) fn doubted(&self, doubts: &BTreeSet<Doubt>) -> Vec<Lookup> {
        let is_doubted = |id: &String, info: Option<&ContainerInfo>| {
            doubts.iter().any(|doubt| match doubt {
                Doubt::Container(container) => container == id,
                Doubt::Network(network) => {
                    info.is_none_or(|info| !info.running && self.is_attached(info, network))
                }
            })
        };
        let doubted = self.containers.iter().filter(|(id, known)| is_doubted(id, known.info.as_ref()));
        doubted.map(|(id, _)| Lookup::Container(id.clone())).collect()
    }

    fn is_attached(&self, container: &ContainerInfo, network: &NetworkId) -> bool {
        let name = self.networks.get(network).map(|network| network.name.as_str());
        container.networks.iter().any(|called| is_called(network, name, called))
    }

    /// Takes note of what a lookup found.
    pub(super) fn found(&mut self, finding: Finding) {
        match finding {
            Finding::Container(id, None) => {
                self.containers.remove(&id);
            }
            Finding::Container(id, Some(container)) => {
                let endpoints = container.endpoints();
                let name = String::new();
                let info = info(id.clone(), *container);
                let before = self.containers.remove(&id).unwrap_or_default();
                // One that stops is disconnected as well, and stays attached.
                let gone =
                    before.disconnected.into_iter().filter(|network| !self.is_attached(&info, network));
                let disconnected = gone.collect();
                self.containers.insert(id, Known { info: Some(info), name, endpoints, disconnected });
            }
            Finding::Network(id, None) => {
                self.networks.remove(&id);
            }
            Finding::Network(id, Some(network)) => {
                for (container, attachment) in network.endpoints() {
                    if let Some(known) = self.containers.get_mut(container) {
                        known.endpoints.insert(id.clone(), attachment);
                    }
                }
                self.networks.insert(id, network.whole_view());
            }
        }
    }

    /// What there is to show.
    pub(super) fn view(&self, connected: bool) -> DockerView {
        let known =
            self.containers.values().filter_map(|known| Some((known.info.as_ref()?, &known.endpoints)));
        let endpoints =
            known.flat_map(|(info, attached)| attached.values().map(|a| (a.endpoint.clone(), info.clone())));
        let sketch = |known: &Known| match &known.info {
            Some(info) => Sketch::Info(Box::new(ContainerInfo {
                disconnected: known.disconnected.clone(),
                ..info.clone()
            })),
            None => Sketch::Name(known.name.clone()),
        };
        let all = || self.containers.values().flat_map(|known| &known.endpoints);
        DockerView {
            endpoint_networks: all()
                .map(|(network, attached)| (attached.endpoint.clone(), network.clone()))
                .collect(),
            attachments: all().map(|(_, attached)| (attached.endpoint.clone(), attached.clone())).collect(),
            connected,
            listed: self.listed,
            names_endpoints: self.names_endpoints,
            engine: self.engine.clone(),
            networks: self.networks.clone(),
            endpoints: endpoints.collect(),
            containers: self.containers.iter().map(|(id, known)| (id.clone(), sketch(known))).collect(),
        }
    }
}

/// Container ids are put into paths.
pub(super) fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn info(container_id: String, container: Container) -> ContainerInfo {
    let running = container.state.running;
    ContainerInfo {
        sandbox: container.sandbox().filter(|_| running),
        auto_remove: container.host_config.auto_remove,
        restarts: container.host_config.restart_policy.restarts(),
        disconnected: BTreeSet::new(),
        error: container.state.error.clone(),
        ports: container.ports(),
        published: container.published(),
        driver_options: container.driver_options(),
        requested: container.requested(),
        resolv_conf: container.resolv_conf(),
        root: container.root(),
        networks: container.networks(),
        container_id,
        name: container.name.strip_prefix('/').unwrap_or(&container.name).to_owned(),
        hostname: container.config.hostname,
        domainname: container.config.domainname,
        labels: container.config.labels,
        dns: container.host_config.dns,
        dns_search: container.host_config.dns_search,
        environment: asks(container.config.env),
        pid: Some(container.state.pid).filter(|pid| running && *pid > 0),
        running,
    }
}

/// The rest of a container's environment is its own business, and much of it secret.
fn asks(environment: Vec<String>) -> Vec<String> {
    let asks = |entry: &String| entry.split('=').next().is_some_and(|name| name.contains("pipework"));
    environment.into_iter().filter(asks).collect()
}
