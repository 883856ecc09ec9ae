//! Endpoints of `mode=nat` networks and the addresses of the LAN they have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use landline_model::{IdentityRecord, NatBinding, NatOwner, Port};
use landline_spec::{HostnameMode, LanIp, NatPort, NatPorts, Transport};

use super::{Bound, NatError, NatLease, NatRecord, NatView};
use crate::addressing::dhcp::drawn_client_id;
use crate::endpoints::{CreateEndpoint, network_name};
use crate::engine::Engine;
use crate::links::facts_of;
use crate::mark::{End, Mark};
use crate::random::OsRandom;
use crate::records::{AddressRecord, EndpointRecord, NetworkRecord};

/// A port that was published (`-p`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// IP protocol number.
    pub protocol: u8,
    /// The container's port.
    pub inside: u16,
    /// The port it is to be reached at; `None`: whichever.
    pub outside: Option<u16>,
    /// The host's address it is to be reached at; `None`: any.
    pub address: Option<Ipv4Addr>,
}

/// What the endpoint has of the LAN, if it is on such a network; the address need not be there yet.
pub(crate) fn binding(
    request: &CreateEndpoint,
    network: &NetworkRecord,
    identity: &IdentityRecord,
) -> Option<NatBinding> {
    if !facts_of(network.options.mode).is_translated() {
        return None;
    }
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
    Some(NatBinding { owner, ports })
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

/// The other half of a binding: the container behind it.
fn bound(record: &EndpointRecord, binding: &NatBinding) -> Option<Bound> {
    let AddressRecord::Static { address } = &record.address else { return None };
    Some(Bound {
        endpoint: record.id.clone(),
        inside: address.addr(),
        subnet: address.trunc(),
        port: Mark::new(&record.id, End::Host).link_name(),
        ports: binding.ports.clone(),
    })
}

/// Those of all endpoints.
pub(crate) fn all_bound<'a>(
    endpoints: impl Iterator<Item = &'a EndpointRecord>,
) -> BTreeMap<NatOwner, Bound> {
    let bound = endpoints.filter_map(|record| {
        let binding = record.nat.as_ref()?;
        Some((binding.owner.clone(), bound(record, binding)?))
    });
    bound.collect()
}

impl Engine {
    /// Gives an endpoint that is being made its address on the LAN, and has what comes there passed on. If that fails
    /// nothing of it is left.
    pub(crate) async fn claim(
        &self,
        request: &CreateEndpoint,
        record: &EndpointRecord,
        network: &NetworkRecord,
        identity: &IdentityRecord,
        name: Option<String>,
    ) -> Result<(), NatError> {
        let (Some(binding), Some(nic)) = (&record.nat, &network.nic) else { return Ok(()) };
        let Some(bound) = bound(record, binding) else { return Ok(()) };
        let owner = &binding.owner;
        let lan_ip = request.options.lan_ip.unwrap_or(network.options.nat.lan_ip);
        let named = request.published.iter().filter_map(|port| port.address);
        for address in named.filter(|address| !address.is_unspecified()) {
            if lan_ip != LanIp::Static(address) {
                return Err(NatError::PublishedElsewhere { address });
            }
        }
        let known = self.nat.source(owner);
        let fresh = known != Some(lan_ip);
        if fresh {
            if known.is_some() {
                // It was told another address this time.
                self.nat.remove(owner).await?;
            }
            let wanted =
                self.wanted(NatRecord::new(owner.clone(), lan_ip, nic.clone()), network, identity, name);
            self.nat.add_within(wanted, network.options.lease_timeout).await?;
        } else {
            self.nat.leased(owner, network.options.lease_timeout).await?;
        }
        let done = self.nat.bind(owner, bound).await;
        if done.is_err() && fresh {
            self.nat.remove(owner).await?;
        }
        done
    }

    /// As [`Self::claim`] for an endpoint whose container runs, after the state was lost: its address may be there, and a
    /// server is not waited for.
    pub(crate) async fn claim_again(
        &self,
        request: &CreateEndpoint,
        record: &EndpointRecord,
        network: &NetworkRecord,
        identity: &IdentityRecord,
    ) -> Result<(), NatError> {
        let (Some(binding), Some(nic)) = (&record.nat, &network.nic) else { return Ok(()) };
        let Some(bound) = bound(record, binding) else { return Ok(()) };
        let lan_ip = request.options.lan_ip.unwrap_or(network.options.nat.lan_ip);
        if self.nat.source(&binding.owner).is_none() {
            let wanted = NatRecord::new(binding.owner.clone(), lan_ip, nic.clone());
            self.nat.adopt(self.wanted(wanted, network, identity, None)).await?;
        }
        self.nat.bind(&binding.owner, bound).await
    }

    /// What is to be done for a container's address on the LAN.
    fn wanted(
        &self,
        mut wanted: NatRecord,
        network: &NetworkRecord,
        identity: &IdentityRecord,
        name: Option<String>,
    ) -> NatRecord {
        let hostname = name.filter(|_| network.options.hostname != HostnameMode::Off);
        let open = network.options.open_firewall;
        wanted.opened = !open && self.openings.all().contains(&network.options.parent);
        wanted.open_firewall = open || wanted.opened;
        let client_id = identity.client_id.clone();
        wanted.dhcp = wanted.dhcp.map(|_| NatLease { client_id, hostname, lease: None });
        wanted
    }

    /// The endpoint did not come about, or is gone. An address that nobody could have known of goes with it.
    pub(crate) async fn unclaim(&self, record: &EndpointRecord) {
        let Some(binding) = &record.nat else { return };
        self.nat.unbind(&record.id).await;
        if let NatOwner::Identity { identity, .. } = &binding.owner
            && self.identities.get(identity).is_none()
            && let Err(error) = self.nat.remove(&binding.owner).await
        {
            tracing::debug!(error = %crate::chain(&error), "an address was not asked for yet");
        }
    }

    /// The identity is about to be told apart by a DHCP server that it has not met.
    pub(crate) fn introduce(network: &NetworkRecord, identity: &mut IdentityRecord) {
        if facts_of(network.options.mode).is_translated() {
            identity.client_id.get_or_insert_with(|| drawn_client_id(&mut OsRandom));
        }
    }

    /// The identity's container is gone, or will not be asked for under it again.
    pub(crate) fn expire_lan_ip(&self, identity: &IdentityRecord, after: Duration) {
        if facts_of(identity.mode).is_translated() {
            let (network, identity) = (identity.network.clone(), identity.id.clone());
            self.nat.expire(NatOwner::Identity { network, identity }, after);
        }
    }

    /// All addresses on the host that stand for containers.
    pub async fn nat_views(&self) -> Vec<NatView> {
        let mut running = BTreeMap::new();
        for endpoint in self.endpoints() {
            let record = endpoint.cell.read().await;
            running
                .extend(record.nat.zip(record.container).map(|(nat, container)| (nat.owner, container.name)));
        }
        let remembered = |owner: &NatOwner| match owner {
            NatOwner::Identity { identity, .. } => self.identities.get(identity)?.container,
            NatOwner::Container(_) | NatOwner::Network(_) => None,
        };
        let networks = self.networks();
        let views = self.nat.views().into_iter().map(|(owner, mut view)| {
            let name = running.remove(&owner).or_else(|| Some(remembered(&owner)?.name));
            view.container = view.container.or(name);
            let network = owner.network();
            view.network =
                network.map(|id| networks.get(id).map_or_else(|| id.short().to_owned(), network_name));
            view
        });
        views.collect()
    }
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
