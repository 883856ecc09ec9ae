//! What is remembered of a container's networks, and what Docker shows of them now.

use std::collections::BTreeMap;

use landline_docker::{ContainerInfo, DockerView, RequestedEndpoint};
use landline_options::NetworkId;
use landline_store::Record;
use landline_types::Mac;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How often in a row a container is connected again to a network that it then loses again.
const MOST: u8 = 3;

/// The networks of this driver that a container is to be connected to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConnectedRecord {
    /// The container's id.
    pub(super) container: String,
    /// How, by network.
    pub(super) networks: BTreeMap<NetworkId, Connection>,
}

/// How a container is connected to one network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Connection {
    /// Its endpoint's settings as Docker takes them, without the hardware address.
    settings: Value,
    /// The hardware address its user gave.
    #[serde(default)]
    mac: Option<Mac>,
    /// Whether Docker has dropped the connection.
    #[serde(default)]
    pub(super) dropped: bool,
    /// How often it was connected again since it ran the last time.
    #[serde(default)]
    pub(super) again: u8,
}

impl Record for ConnectedRecord {
    const TABLE: &'static str = "connected";
    type Key = str;

    fn key(&self) -> &str {
        &self.container
    }
}

impl Connection {
    /// What Docker is told to connect it again.
    pub(super) fn endpoint_config(&self) -> Value {
        let mut config = self.settings.clone();
        if let (Some(config), Some(mac)) = (config.as_object_mut(), self.mac) {
            config.insert("MacAddress".to_owned(), mac.to_string().into());
        }
        config
    }

    /// Whether it may be connected again.
    pub(super) fn may_be_mended(&self) -> bool {
        self.dropped && self.again < MOST
    }

    fn shown(requested: &RequestedEndpoint, before: Option<&Self>, running: bool) -> Self {
        Self {
            settings: requested.asked.clone(),
            // While it runs Docker shows whatever address it has.
            mac: requested.mac.or(before.and_then(|before| before.mac).filter(|_| running)),
            dropped: false,
            again: before.map_or(0, |before| before.again).min(if running { 0 } else { MOST }),
        }
    }
}

/// What is to be remembered of a container, by what was and what Docker shows now; `ours` are the networks of this driver.
///
/// Docker 29 takes a network from a container whose start fails once the endpoint is made. A user who disconnects it does
/// so with an event, or while nobody follows: then a failed start alone does not tell, but the reason that Docker keeps of it does.
pub(super) fn compare<'n>(
    before: Option<&ConnectedRecord>,
    container: &ContainerInfo,
    view: &DockerView,
    ours: impl Iterator<Item = &'n NetworkId>,
) -> ConnectedRecord {
    let connection = |network: &NetworkId| {
        let known = before.and_then(|before| before.networks.get(network));
        if view.is_attached(container, network) {
            let requested = view.requested_on(container, network).cloned().unwrap_or_default();
            return Some(Connection::shown(&requested, known, container.running));
        }
        let dropped = known.filter(|known| known.dropped || has_failed(container))?;
        let by_its_user = container.disconnected.contains(network);
        (!by_its_user).then(|| Connection { dropped: true, ..dropped.clone() })
    };
    let networks = ours.filter_map(|network| Some((network.clone(), connection(network)?)));
    ConnectedRecord { container: container.container_id.clone(), networks: networks.collect() }
}

/// Whether its last start failed at a network: the words are those that Docker puts before what a driver says, and those that engines
/// from 28 put before all.
fn has_failed(container: &ContainerInfo) -> bool {
    let words = [" remote: ", "failed to set up container networking"];
    !container.running && words.iter().any(|words| container.error.contains(words))
}

#[cfg(test)]
mod tests {
    use landline_docker::Sketch;
    use serde_json::json;

    use super::*;

    const FAILED: &str =
        "failed to set up container networking: failed to join network lan: remote: try again";

    fn network() -> NetworkId {
        "a".repeat(64).parse().unwrap()
    }

    fn attached() -> ContainerInfo {
        let asked = json!({"DriverOpts": {"landline.id": "w"}});
        let requested = RequestedEndpoint {
            mac: "02:00:00:00:00:07".parse().ok(),
            asked,
            ..RequestedEndpoint::default()
        };
        ContainerInfo {
            container_id: "c1".into(),
            networks: [network().to_string()].into(),
            requested: [(network().to_string(), requested)].into(),
            ..ContainerInfo::default()
        }
    }

    fn dropped() -> ContainerInfo {
        ContainerInfo { error: FAILED.into(), networks: [].into(), requested: [].into(), ..attached() }
    }

    fn look(before: Option<&ConnectedRecord>, container: &ContainerInfo) -> ConnectedRecord {
        let mut view = DockerView { connected: true, ..DockerView::default() };
        view.containers.insert("c1".into(), Sketch::Info(Box::new(container.clone())));
        compare(before, container, &view, [network()].iter())
    }

    #[test]
    fn a_connection_that_docker_drops_is_kept_as_it_was() {
        let before = look(None, &attached());
        assert!(!before.networks[&network()].dropped);
        let after = look(Some(&before), &dropped());
        let connection = &after.networks[&network()];
        assert!(connection.may_be_mended());
        assert_eq!(
            connection.endpoint_config(),
            json!({"DriverOpts": {"landline.id": "w"}, "MacAddress": "02:00:00:00:00:07"})
        );
        let started = ContainerInfo { error: String::new(), running: true, ..dropped() };
        assert!(look(Some(&after), &started).networks[&network()].dropped, "it runs without it");
        assert!(!look(Some(&after), &attached()).networks[&network()].dropped);
    }

    #[test]
    fn who_was_disconnected_by_its_user_stays_so() {
        let before = look(None, &attached());
        let told = ContainerInfo { disconnected: [network()].into(), ..dropped() };
        assert!(look(Some(&before), &told).networks.is_empty());
        let unheard = ContainerInfo { error: String::new(), ..dropped() };
        assert!(look(Some(&before), &unheard).networks.is_empty(), "no start has failed");
        let other = ContainerInfo { error: "no such file: /nonexistent".into(), ..dropped() };
        assert!(look(Some(&before), &other).networks.is_empty(), "it failed at something else");
        assert!(look(None, &dropped()).networks.is_empty(), "it never was connected");
    }

    #[test]
    fn a_hardware_address_is_its_users_only_while_it_does_not_run() {
        let before = look(None, &attached());
        let mut running = ContainerInfo { running: true, ..attached() };
        running.requested.values_mut().for_each(|requested| requested.mac = None);
        assert_eq!(look(Some(&before), &running), before);
        assert_eq!(look(None, &running).networks[&network()].mac, None);
    }

    #[test]
    fn one_that_loses_it_again_and_again_is_left_to_its_user() {
        let mut record = look(None, &attached());
        for round in 0..4 {
            record = look(Some(&record), &dropped());
            let connection = record.networks.get_mut(&network()).unwrap();
            assert_eq!(connection.may_be_mended(), round < 3, "{round}");
            connection.again += 1;
            record = look(Some(&record), &attached());
        }
        let running = ContainerInfo { running: true, ..attached() };
        record = look(Some(&record), &running);
        assert!(look(Some(&record), &dropped()).networks[&network()].may_be_mended());
    }
}
