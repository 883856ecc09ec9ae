//! What users said about their containers' endpoints, known before the containers have any.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use landline_options::NetworkId;
use landline_types::Mac;
use serde_json::Value;

use super::view::{ContainerInfo, DockerView, Sketch};

/// What a container's user said about its endpoint on one network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestedEndpoint {
    /// The hardware address (`--mac-address`).
    pub mac: Option<Mac>,
    /// The address (`--ip`).
    pub address: Option<Ipv4Addr>,
    /// The driver's options (`--network name=N,driver-opt=K=V`).
    pub options: BTreeMap<String, String>,
    /// All of it but the hardware address, in Docker's own words.
    pub asked: Value,
}

impl DockerView {
    /// What is known of the container of this name; `None`: not even that there is one.
    pub fn named(&self, name: &str) -> Option<&Sketch> {
        self.containers.values().find(|sketch| match sketch {
            Sketch::Name(known) => known == name,
            Sketch::Info(info) => info.name == name,
        })
    }

    /// The containers that are attached to a network, running or not, as far as they were looked at.
    pub fn attached_to(&self, network: &NetworkId) -> impl Iterator<Item = &ContainerInfo> {
        let name = self.networks.get(network).map(|network| network.name.as_str());
        self.containers.values().filter_map(move |sketch| match sketch {
            Sketch::Info(info) if info.networks.iter().any(|called| is_called(network, name, called)) => {
                Some(&**info)
            }
            Sketch::Info(_) | Sketch::Name(_) => None,
        })
    }

    /// Whether a container is attached to a network, running or not.
    pub fn is_attached(&self, container: &ContainerInfo, network: &NetworkId) -> bool {
        let name = self.networks.get(network).map(|network| network.name.as_str());
        container.networks.iter().any(|called| is_called(network, name, called))
    }

    /// The containers that do not run and were on no network when they were looked at last, by id.
    pub fn on_no_network(&self) -> impl Iterator<Item = (&str, &ContainerInfo)> {
        self.containers.iter().filter_map(|(id, sketch)| match sketch {
            Sketch::Info(info) if !info.running && info.networks.is_empty() => Some((id.as_str(), &**info)),
            Sketch::Info(_) | Sketch::Name(_) => None,
        })
    }

    /// What a container's user said about its endpoint on a network; nothing if it is not to have one.
    pub fn requested_on<'a>(
        &self,
        container: &'a ContainerInfo,
        network: &NetworkId,
    ) -> Option<&'a RequestedEndpoint> {
        let name = self.networks.get(network).map(|network| network.name.as_str());
        let mut requested = container.requested.iter();
        requested.find(|(called, _)| is_called(network, name, called)).map(|(_, requested)| requested)
    }
}

/// Whether a container's settings mean a network by what they call it: its id, the beginning of that, or its name.
pub(super) fn is_called(network: &NetworkId, name: Option<&str>, called: &str) -> bool {
    called == network.as_str()
        || Some(called) == name
        || (called.len() >= 12 && network.as_str().starts_with(called))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_never_ran_calls_its_network_by_name() {
        let id: NetworkId = "0123456789abcdef".repeat(4).parse().unwrap();
        let mac = Some(Mac::new([2, 0x42, 0, 0, 0, 9]));
        let options = [("landline.id".to_owned(), "web".to_owned())].into();
        let requested = RequestedEndpoint { mac, options, ..RequestedEndpoint::default() };
        for called in ["lan", "0123456789ab", id.as_str()] {
            assert!(is_called(&id, Some("lan"), called), "{called}");
            let container = ContainerInfo {
                name: "web".into(),
                requested: [(called.to_owned(), requested.clone())].into(),
                ..ContainerInfo::default()
            };
            let mut view = DockerView::default();
            view.containers.insert("c".into(), Sketch::Info(Box::new(container.clone())));
            assert!(matches!(view.named("web"), Some(Sketch::Info(_))));
            assert_eq!(view.named("we"), None);
            let by_id = view.requested_on(&container, &id);
            assert_eq!(by_id, (called != "lan").then_some(&requested), "without its network only an id says");
            let named = ContainerInfo { networks: [called.to_owned()].into(), ..ContainerInfo::default() };
            assert_eq!(view.is_attached(&named, &id), called != "lan");
        }
        assert!(!is_called(&id, Some("lan"), "0123") && !is_called(&id, None, "lan"));
    }
}
