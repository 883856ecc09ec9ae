//! What is said of containers that have no address, or not alone, and of networks that the host has no access to.

use std::net::{IpAddr, Ipv4Addr};

use landline_engine::EndpointView;
use landline_host_access::{AccessState, AccessView};
use landline_model::{EndpointRecord, NatOwner};
use landline_nat::{NatState, NatView};
use landline_types::IfName;

use super::Finding;

/// What is wrong with an endpoint's addresses: its record says so, or its clients, in words and what to do about it, after they have
/// declined one address after the other.
pub(super) fn of_record(
    record: &EndpointRecord,
    repeated: impl IntoIterator<Item = (String, &'static str)>,
) -> Vec<Finding> {
    let holder = record.holder_name();
    let lacks = record.used_elsewhere.map(|address| lacks_address(&holder, address));
    let declined =
        repeated.into_iter().map(|(why, hint)| Finding::new("addresses", format!("{holder}: {why}; {hint}")));
    lacks.into_iter().chain(declined).collect()
}

/// A container that was recognised too late to be refused.
fn lacks_address(holder: &str, address: Ipv4Addr) -> Finding {
    let says = format!(
        "{holder} has no address: another host uses the identity that is derived for it, and has {address}. Stop the container \
         there and restart this one, give one of the two a landline.id of its own, or create the network with -o on_duplicate=fresh"
    );
    Finding::new("addresses", says)
}

/// A container whose hardware address another machine has.
pub(super) fn shared_mac(view: &EndpointView) -> Option<Finding> {
    let link = view.elsewhere.as_ref()?;
    let holder = view.container.as_ref().unwrap_or(&view.endpoint);
    let says = format!(
        "another machine on the LAN of {link} has the hardware address {} of {holder}, so frames for either reach now the one, \
         now the other: stop one of the two, or give this one another identity (landline identity forget, or \
         another landline.id)",
        view.mac
    );
    Some(Finding::new("addresses", says))
}

/// A container whose address this host has on one of its interfaces.
pub(super) fn collision(holder: &str, address: IpAddr, interface: &IfName) -> Finding {
    let says = format!(
        "{holder} has {address}, and so has this host itself, on {interface}: only one of the two is reached; remove \
         it from {interface}, or give the container another address"
    );
    Finding::new("addresses", says)
}

/// What keeps an address on the host from being leased.
pub(super) fn nat_trouble(owner: &NatOwner, view: &NatView) -> Option<Finding> {
    let is_waiting = view.address.is_some() || view.state == NatState::Asking;
    let whose = match owner {
        NatOwner::Container(name) => format!("container {name}"),
        NatOwner::Network(_) | NatOwner::Identity { .. } => view
            .container
            .as_ref()
            .map_or_else(|| "a mode=nat network".to_owned(), |name| format!("container {name}")),
    };
    let says = || format!("{whose} has no address on {}: {}", view.interface, view.state);
    (!is_waiting).then(|| Finding::new("addresses", says()))
}

/// A network that the host has no access to, though it should.
pub(super) fn access_trouble(view: &AccessView) -> Option<Finding> {
    let says = || format!("host access to {}: {}", view.network, view.state);
    (view.state != AccessState::Ready).then(|| Finding::new("host-access", says()))
}

#[cfg(test)]
mod tests {
    use landline_model::ContainerRecord;
    use serde_json::{Value, json};

    use super::*;

    fn record(container: Option<&str>, used_elsewhere: Option<&str>) -> EndpointRecord {
        serde_json::from_value(json!({
            "id": "e".repeat(64), "network": "n".repeat(64), "mac": "02:00:00:00:00:01", "link": "llc0", "prefix": "eth",
            "address": "none", "container": container.map(ContainerRecord::named), "used_elsewhere": used_elsewhere,
        }))
        .unwrap()
    }

    #[test]
    fn an_endpoint_without_trouble_is_not_mentioned() {
        assert_eq!(of_record(&record(Some("web"), None), []), []);
    }

    #[test]
    fn an_identity_that_another_host_uses_is_named_with_its_address() {
        let found = of_record(&record(Some("web"), Some("192.0.2.7")), []);
        let [finding] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((&*finding.check, finding.fixable), ("addresses", false));
        assert!(finding.says.starts_with("container web has no address: "), "{}", finding.says);
        assert!(finding.says.contains("and has 192.0.2.7.") && finding.says.contains("on_duplicate=fresh"));
    }

    #[test]
    fn both_clients_of_an_endpoint_are_told_of_with_what_to_do() {
        let repeated =
            [("192.0.2.7 is taken".to_owned(), "look"), ("2001:db8::7 is taken".to_owned(), "see")];
        let says: Vec<String> =
            of_record(&record(None, None), repeated.clone()).into_iter().map(|found| found.says).collect();
        assert_eq!(
            says,
            ["another container: 192.0.2.7 is taken; look", "another container: 2001:db8::7 is taken; see"]
        );
        // Neither hides the other.
        assert_eq!(of_record(&record(Some("web"), Some("192.0.2.7")), repeated).len(), 3);
    }

    fn endpoint(container: &Value, elsewhere: &Value) -> EndpointView {
        serde_json::from_value(json!({
            "endpoint": "e1", "network_id": "n1", "network": null, "container_id": null, "container": container,
            "interface": "eth0", "mac": "02:00:00:00:00:01", "address": null, "elsewhere": elsewhere, "server": null,
            "lease_left_s": null, "state": "BOUND", "naks": 0, "conflicts": 0,
        }))
        .unwrap()
    }

    #[test]
    fn a_hardware_address_that_was_heard_elsewhere_is_named_with_where() {
        assert_eq!(shared_mac(&endpoint(&json!("web"), &Value::Null)), None);
        let says = |container: &Value| shared_mac(&endpoint(container, &json!("eth1"))).unwrap().says;
        let begin = "another machine on the LAN of eth1 has the hardware address 02:00:00:00:00:01 of";
        assert!(says(&json!("web")).starts_with(&format!("{begin} web, ")), "{}", says(&json!("web")));
        // A container that Docker has not named yet has its endpoint's id.
        assert!(says(&Value::Null).starts_with(&format!("{begin} e1, ")));
    }

    #[test]
    fn an_address_that_the_host_has_too_is_named_with_where() {
        for address in ["192.0.2.7", "2001:db8::7"] {
            let finding = collision("container web", address.parse().unwrap(), &"eth1".parse().unwrap());
            let begin = format!("container web has {address}, and so has this host itself, on eth1: ");
            assert!(finding.says.starts_with(&begin), "{}", finding.says);
            assert!(finding.says.contains("remove it from eth1"));
        }
    }

    fn nat(container: Option<&str>, address: Option<&str>, state: &NatState) -> NatView {
        serde_json::from_value(json!({
            "container": container, "address": address, "interface": "eth0", "inside": null, "ports": [], "state": state,
        }))
        .unwrap()
    }

    #[test]
    fn an_address_that_is_there_or_asked_for_is_no_trouble() {
        let owner = NatOwner::Container("web".to_owned());
        let trouble = || NatState::Trouble("eth0 is not there, or down".into());
        for view in [
            nat(None, Some("192.0.2.7"), &NatState::Ready),
            nat(None, Some("192.0.2.7"), &NatState::Waiting),
            // What is wrong with an address that is there is for others to say.
            nat(None, Some("192.0.2.7"), &trouble()),
            nat(None, None, &NatState::Asking),
        ] {
            assert_eq!(nat_trouble(&owner, &view), None, "{view:?}");
        }
        assert!(nat_trouble(&owner, &nat(None, None, &trouble())).is_some());
    }

    #[test]
    fn an_address_that_cannot_be_had_is_told_with_whose_it_is() {
        let says = |owner: &NatOwner, container| {
            let view = nat(container, None, &NatState::Trouble("eth0 is not there, or down".into()));
            nat_trouble(owner, &view).unwrap().says
        };
        let network = NatOwner::Network("n".repeat(64).parse().unwrap());
        let why = "has no address on eth0: eth0 is not there, or down";
        assert_eq!(says(&NatOwner::Container("web".to_owned()), Some("db")), format!("container web {why}"));
        assert_eq!(says(&network, Some("db")), format!("container db {why}"));
        assert_eq!(says(&network, None), format!("a mode=nat network {why}"));
    }

    #[test]
    fn only_networks_that_the_host_cannot_reach_are_told_of() {
        let view = |state: AccessState| -> AccessView {
            serde_json::from_value(json!({
                "network": "lan", "driver": null, "parent": null, "interface": null, "addresses": [], "routes": [],
                "containers": [], "state": state,
            }))
            .unwrap()
        };
        assert_eq!(access_trouble(&view(AccessState::Ready)), None);
        let found = access_trouble(&view(AccessState::Trouble("eth0 is down".into()))).unwrap();
        assert_eq!((&*found.check, &*found.says), ("host-access", "host access to lan: eth0 is down"));
    }
}
