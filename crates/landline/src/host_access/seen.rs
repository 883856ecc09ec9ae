//! Docker's networks, as host access sees them.

use landline_docker::{DockerNetwork, DockerView};
use landline_host_access::{Member, Seen, SeenNetwork, Wire};
use landline_options::NetworkId;

/// What Docker has. Landline's own networks are among them; the engine knows more about those.
pub(crate) fn seen(view: &DockerView) -> Seen {
    let networks = view.networks.iter();
    Seen {
        connected: view.connected,
        complete: view.is_complete(),
        networks: networks.map(|(id, network)| (id.clone(), translate(view, id, network))).collect(),
    }
}

fn translate(view: &DockerView, id: &NetworkId, network: &DockerNetwork) -> SeenNetwork {
    let option = |name: &str| network.options.get(name).map_or("", String::as_str);
    let wire = match network.driver.as_str() {
        "macvlan" => Wire::macvlan(option("macvlan_mode")),
        "ipvlan" => Wire::ipvlan(option("ipvlan_mode"), option("ipvlan_flag")),
        other => Wire::other(other),
    };
    let endpoints = view.attachments.iter().filter(|(endpoint, _)| view.network_of(endpoint) == Some(id));
    let members = endpoints.map(|(endpoint, attachment)| {
        let container = view.endpoints.get(endpoint);
        Member {
            endpoint: endpoint.clone(),
            container: container.map(|info| info.name.clone()).filter(|name| !name.is_empty()),
            mac: attachment.mac,
            addresses: attachment.addresses.clone(),
            sandbox: container.and_then(|info| info.sandbox.clone()),
        }
    });
    SeenNetwork {
        name: network.name.clone(),
        driver: network.driver.clone(),
        wire,
        parent: network.parent.clone(),
        subnets: network.subnets.clone(),
        members: members.collect(),
    }
}
