//! What an endpoint of a `mode=nat` network has of the LAN: whose address, and which ports of it.

use std::collections::BTreeSet;

use landline_engine::{CreateEndpoint, Published};
use landline_leases::OsRandom;
use landline_leases::addressing::dhcp::drawn_client_id;
use landline_links::facts_of;
use landline_model::{EndpointRecord, IdentityRecord, NatBinding, NatOwner, NetworkRecord, Port};
use landline_options::{LanIp, NatPort, NatPorts, Transport};

/// Writes down what the endpoint has of the LAN, if it is on such a network; the address need not be there yet. A DHCP server
/// that is asked for that address tells the identity by a client identifier of its own.
pub(crate) fn bind(
    request: &CreateEndpoint,
    network: &NetworkRecord,
    identity: &mut IdentityRecord,
    record: &mut EndpointRecord,
) {
    if facts_of(network.options.mode).is_translated() {
        identity.client_id.get_or_insert_with(|| drawn_client_id(&mut OsRandom));
        record.nat = Some(binding(request, network, identity));
    }
}

fn binding(request: &CreateEndpoint, network: &NetworkRecord, identity: &IdentityRecord) -> NatBinding {
    let options = &network.options.nat;
    let owner = match (request.options.lan_ip, options.lan_ip) {
        (None, LanIp::Static(_)) => NatOwner::Network(network.id.clone()),
        _ => NatOwner::Identity { network: network.id.clone(), identity: identity.id.clone() },
    };
    let ports = match request.options.ports.as_ref().unwrap_or(&options.ports) {
        NatPorts::All => None,
        NatPorts::Only(ports) => Some(ports.iter().copied().chain(published(&request.published)).collect()),
        NatPorts::Exposed => Some(exposed(&request.ports, &request.published)),
    };
    NatBinding { owner, ports }
}

fn published(published: &[Published]) -> impl Iterator<Item = NatPort> {
    published.iter().filter_map(|port| {
        let transport = Transport::of(port.protocol)?;
        Some(NatPort { transport, outside: port.outside.unwrap_or(port.inside), inside: port.inside })
    })
}

/// What is exposed is reached at the same port, unless it is published at another.
fn exposed(ports: &BTreeSet<Port>, list: &[Published]) -> BTreeSet<NatPort> {
    let named: BTreeSet<NatPort> = published(list).collect();
    let same = ports.iter().filter_map(|&(protocol, port)| {
        let transport = Transport::of(protocol)?;
        let elsewhere = named.iter().any(|named| (named.transport, named.inside) == (transport, port));
        (!elsewhere).then_some(NatPort { transport, outside: port, inside: port })
    });
    same.chain(named.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_counts_where_it_is_exposed_as_well() {
        let publish = |inside, outside| Published { protocol: 6, inside, outside, address: None };
        let ports = exposed(
            &BTreeSet::from([(6, 80), (6, 443), (17, 53), (132, 9)]),
            &[publish(80, Some(8080)), publish(22, None)],
        );
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        assert_eq!(ports, ["22/tcp", "443/tcp", "8080:80/tcp", "53/udp"]);
    }
}
