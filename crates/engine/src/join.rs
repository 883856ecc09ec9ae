//! Joining a sandbox and leaving it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net};
use landline_kernel::{Route, RouteKind};
use landline_leases::Orders;
use landline_leases::addressing::dhcp;
use landline_links::mark::{Mark, is_implicit};
use landline_links::routes::{Offer, Route4, for_docker, plan};
use landline_links::{Host, HostError, ParentIs, Wanted, blocking, facts_of};
use landline_model::{
    AddressRecord, Applied, DefaultRecord, Defaults6, DroppedRoute, EndpointRecord, Holding, NetworkRecord,
    WhyDropped,
};
use landline_options::{EndpointId, NetworkOptions};
use landline_store::StoreError;
use landline_types::IfName;

use crate::endpoints::network_name;
use crate::engine::{Endpoint, Engine};

/// What Docker is to do with an endpoint's link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinAnswer {
    /// The link's name on the host.
    pub link: IfName,
    /// What its name in the container begins with.
    pub prefix: String,
    /// The whole name the user wants it to have, which only some engines heed.
    pub ifname: Option<IfName>,
    /// The next hop of the default route. `None`: there is none to give, and Docker must not invent one.
    pub gateway: Option<Ipv4Addr>,
    /// That of the IPv6 one, where IPv6 addresses are fixed.
    pub gateway_v6: Option<Ipv6Addr>,
    /// Other routes: destination and next hop (none: directly on the link).
    pub routes: Vec<(Ipv4Net, Option<Ipv4Addr>)>,
}

/// Why an endpoint cannot join.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// It was never created, or is deleted.
    #[error("Landline does not know the endpoint {}; start the container again", .0.short())]
    UnknownEndpoint(EndpointId),
    /// Its network is gone.
    #[error("the network of endpoint {} is gone", .0.short())]
    UnknownNetwork(EndpointId),
    /// It has the identity of a container that is not the one it is for.
    #[error(
        "Landline took this for the start of {taken_for}, whose address it must not use; do it again (a \
         driver-opt landline.id makes it exact)"
    )]
    Mistaken {
        /// Whose identity it has.
        taken_for: String,
    },
    /// The container has another interface on the same LAN, which Docker allows no second one on.
    #[error(
        "network {network}: the container has {taken} by network {other} already, on the LAN that {address} is on, and \
         Docker allows one interface a LAN (\"conflicts with existing route\"); leave out one of the two networks, and \
         give the running container a second interface with: landline attach {parent} CONTAINER dhcp"
    )]
    SameLan {
        /// The network.
        network: String,
        /// Its address for the container.
        address: IpNet,
        /// The network's parent.
        parent: IfName,
        /// The other network.
        other: String,
        /// The address the container has there.
        taken: IpNet,
    },
    /// The host could not be looked at.
    #[error("cannot look at the host's routes")]
    Host(#[source] HostError),
    /// It could not be stored.
    #[error("cannot store the endpoint")]
    Store(#[source] StoreError),
}

impl Engine {
    /// Says how the endpoint's link is to be put into the sandbox, and remembers which one it is. `occupant` is the
    /// container that runs in the sandbox already, if one is known to.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub async fn join(
        &self,
        id: &EndpointId,
        sandbox: Option<PathBuf>,
        occupant: Option<&str>,
    ) -> Result<JoinAnswer, JoinError> {
        let unknown = || JoinError::UnknownEndpoint(id.clone());
        let slot = self.slot_if_known(id).ok_or_else(unknown)?;
        let _turn = slot.operation.lock().await;
        let endpoint = slot.current().ok_or_else(unknown)?;
        let record = endpoint.state.read().await;
        if let Some(taken_for) = self.mistaken(&record, occupant) {
            return Err(JoinError::Mistaken { taken_for });
        }
        let network = self.networks().get(&record.network).cloned();
        let network = network.ok_or_else(|| JoinError::UnknownNetwork(id.clone()))?;

        let (host, options) = (self.host.clone(), network.options.clone());
        let mark = Mark::inside(id, network.options.mode);
        let own = mark.clone();
        let (copied, index) =
            blocking(move || look(&*host, &options, &own)).await.map_err(JoinError::Host)?;

        let copied_here = EndpointRecord { copied_routes: copied.clone(), ..record.clone() };
        let wanted = wanted_of(&endpoint, &copied_here, &network);
        let taken = self.destinations_in(sandbox.as_deref(), id).await;
        // The lease may be another one by now, or none.
        let address = told(&record).or(wanted.as_ref().map(|wanted| wanted.address));
        let (gateway, routes) = match (&wanted, address) {
            (Some(wanted), Some(address)) => for_docker(address, &wanted.routing, &taken),
            _ => (None, Vec::new()),
        };
        // What sets up attachments does not mind.
        if let Some(sandbox) = sandbox.as_ref().filter(|_| !is_implicit(&network.id)) {
            let v6 = record.ipv6.as_ref().and_then(|ipv6| ipv6.told).or(record.address_v6);
            for address in address.map(IpNet::V4).into_iter().chain(v6.map(IpNet::V6)) {
                if let Some((other, taken)) = self.on_same_lan(id, sandbox, address).await {
                    let (network, parent) = (network_name(&network), network.options.parent);
                    return Err(JoinError::SameLan { network, address, parent, other, taken });
                }
            }
        }
        let applied = Applied { address, ..applied_by_docker(&record, wanted.as_ref(), gateway, &routes) };
        for dropped in &applied.dropped {
            tracing::warn!(endpoint = %id.short(), route = %dropped, "a route is left out");
        }
        let path = sandbox.clone();
        let stored = endpoint.state.update(|record| {
            record.sandbox = path;
            record.copied_routes = copied;
            record.applied = applied;
            if let Some(ipv6) = &mut record.ipv6 {
                // Docker puts it there.
                ipv6.applied = ipv6.told.into_iter().collect();
                ipv6.defaults = Defaults6::default();
                ipv6.routes.clear();
                ipv6.switched_on = false;
            }
        });
        stored.await.map_err(JoinError::Store)?;
        // Those of a container that the host routes for are announced by what answers for them.
        if let Some(sandbox) = sandbox.as_ref().filter(|_| !facts_of(network.options.mode).host_routes()) {
            self.announce_fixed(&record, mark, index, sandbox.clone());
        }
        match (endpoint.tasks(), sandbox) {
            (tasks, Some(sandbox)) => tasks.iter().for_each(|task| task.joined(index, sandbox.clone())),
            (tasks, None) if !tasks.is_empty() => tracing::warn!(
                endpoint = %id.short(),
                "Docker did not say where the sandbox is; the lease is renewed but not followed inside"
            ),
            _ => {}
        }
        let gateway_v6 = fixed_gateway_v6(&record, &network);
        let EndpointRecord { link, prefix, ifname, .. } = record;
        Ok(JoinAnswer { link, prefix, ifname, gateway, gateway_v6, routes })
    }

    /// What the endpoint's link is to carry by its lease or its fixed address; `None` while it has no address.
    pub async fn wanted_of(&self, endpoint: &Endpoint) -> Option<Wanted> {
        let record = endpoint.state.read().await;
        let network = self.networks().get(&record.network).cloned()?;
        wanted_of(endpoint, &record, &network)
    }

    /// Where the routes of the sandbox's other endpoints lead.
    async fn destinations_in(&self, sandbox: Option<&Path>, but: &EndpointId) -> Vec<Ipv4Net> {
        let Some(sandbox) = sandbox else { return Vec::new() };
        let mut destinations = Vec::new();
        for endpoint in self.endpoints() {
            let record = endpoint.state.read().await;
            if record.id != *but && record.sandbox.as_deref() == Some(sandbox) {
                destinations.extend(record.applied.routes.iter().map(|(destination, _)| *destination));
            }
        }
        destinations
    }

    /// The network of another endpoint in this sandbox whose address is on the same LAN, and that address.
    async fn on_same_lan(&self, id: &EndpointId, sandbox: &Path, address: IpNet) -> Option<(String, IpNet)> {
        for endpoint in self.endpoints().into_iter().filter(|other| other.state.id() != id) {
            let record = endpoint.state.read().await;
            let v6 = record.ipv6.iter().flat_map(|ipv6| &ipv6.applied).copied().chain(record.address_v6);
            let mut theirs = record.applied.address.map(IpNet::V4).into_iter().chain(v6.map(IpNet::V6));
            let taken = theirs.find(|taken| overlap(*taken, address));
            if record.sandbox.as_deref() != Some(sandbox) || taken.is_none() {
                continue;
            }
            let network = self.networks().get(&record.network).map(network_name);
            // One whose link is gone was left over by a crash.
            if self.find(&record).await.is_some() {
                return network.zip(taken);
            }
        }
        None
    }

    /// The container whose identity the endpoint was given in error: one that runs already is connected to the
    /// network, and a stopped one looked as if it were starting. It is not taken for that one again.
    fn mistaken(&self, record: &EndpointRecord, occupant: Option<&str>) -> Option<String> {
        let id = record.identity.as_ref()?;
        let identity = self.identities.get(id)?;
        let guessed = identity.key.is_none() && !record.mac_given;
        let container =
            identity.container.filter(|c| guessed && occupant.is_some_and(|other| other != c.id))?;
        self.identities.suspect(id);
        Some(container.name)
    }

    /// Lets go of the endpoint's sandbox, which is about to end. One that is not known is fine.
    pub async fn leave(&self, id: &EndpointId) {
        let Some(slot) = self.slot_if_known(id) else { return };
        let _turn = slot.operation.lock().await;
        if let Some(endpoint) = slot.current() {
            endpoint.tasks().iter().for_each(Orders::left);
        }
    }
}

/// Whether two addresses are on one LAN, by what either says of it.
fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// What the endpoint's link is to carry.
fn wanted_of(endpoint: &Endpoint, record: &EndpointRecord, network: &NetworkRecord) -> Option<Wanted> {
    match &record.address {
        AddressRecord::Dhcp(_) => {
            let lease = endpoint.status().and_then(|status| status.lease)?;
            Some(dhcp::wanted(&lease, &network.options, record))
        }
        AddressRecord::Static { address } => Some(fixed(network, *address, record.copied_routes.clone())),
        AddressRecord::None => None,
    }
}

/// The address that Docker was told when the endpoint was created.
fn told(record: &EndpointRecord) -> Option<Ipv4Net> {
    match &record.address {
        AddressRecord::Dhcp(dhcp) => dhcp.told,
        AddressRecord::Static { .. } | AddressRecord::None => None,
    }
}

/// What a link carries beside its address once Docker has done what it was told.
fn applied_by_docker(
    record: &EndpointRecord,
    wanted: Option<&Wanted>,
    gateway: Option<Ipv4Addr>,
    routes: &[Route4],
) -> Applied {
    let routing = wanted.map(|wanted| &wanted.routing);
    let mut dropped = routing.map(|routing| routing.dropped.clone()).unwrap_or_default();
    if matches!(record.address, AddressRecord::Static { .. }) {
        // Nobody sets the others later.
        let others =
            routing.iter().flat_map(|routing| &routing.routes).filter(|route| !routes.contains(route));
        dropped.extend(others.map(|(to, hop)| DroppedRoute::new(*to, *hop, WhyDropped::Taken)));
    }
    let holding = if gateway.is_some() { Holding::Told } else { Holding::Open };
    Applied {
        routes: routes.to_vec(),
        default: DefaultRecord { holding, told: gateway, set: gateway },
        dropped,
        ..Applied::default()
    }
}

/// What the link of an endpoint with a fixed address is to carry. Whoever has the gateway's own address goes out some other
/// way.
pub(crate) fn fixed(network: &NetworkRecord, address: Ipv4Net, copied: Vec<Route4>) -> Wanted {
    // Versions before this one stored the unspecified address of a network that was lost with the state.
    let ipam = network.ipam_gateway.filter(|hop| *hop != address.addr() && !hop.is_unspecified());
    let defaults = ipam.map(Some).into_iter().collect();
    let offer = Offer { gateway: network.options.gateway, defaults, routes: copied };
    Wanted { address, routing: plan(address, &offer), mtu: None }
}

/// The IPv6 gateway of an endpoint whose IPv6 address is fixed, likewise.
pub(crate) fn fixed_gateway_v6(record: &EndpointRecord, network: &NetworkRecord) -> Option<Ipv6Addr> {
    let own = record.address_v6?.addr();
    network.ipam_gateway_v6.filter(|hop| *hop != own && !hop.is_unspecified())
}

/// The static routes to copy, and the index of the endpoint's link on the host.
fn look(
    host: &dyn Host,
    options: &NetworkOptions,
    mark: &Mark,
) -> Result<(Vec<Route4>, Option<u32>), HostError> {
    let alias = mark.to_string();
    let links = host.links()?;
    let index = links.iter().find(|link| link.alias.as_deref() == Some(&*alias)).map(|link| link.index);
    let bridge = links.iter().find(|link| link.name == options.parent).map(|link| link.index);
    let copied = match bridge {
        Some(bridge) if facts_of(options.mode).parent == ParentIs::LanBridge && !options.skip_routes => {
            host.routes()?.iter().filter_map(|route| static_route(route, bridge)).collect()
        }
        _ => Vec::new(),
    };
    Ok((copied, index))
}

/// An IPv4 route through the bridge that somebody set: not the kernel's own, not the default.
fn static_route(route: &Route, bridge: u32) -> Option<Route4> {
    let IpNet::V4(destination) = route.destination else { return None };
    let hop = match route.gateway {
        Some(std::net::IpAddr::V4(hop)) => Some(hop),
        Some(std::net::IpAddr::V6(_)) => return None,
        None => None,
    };
    let copied = route.oif == Some(bridge)
        && route.table == Route::MAIN_TABLE
        && route.kind == RouteKind::Unicast
        && route.protocol != Route::BY_KERNEL
        && destination.prefix_len() != 0;
    copied.then_some((destination, hop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_addresses_on_one_lan() {
        let is = |one: &str, other: &str| overlap(one.parse().unwrap(), other.parse().unwrap());
        assert!(is("192.0.2.50/24", "192.0.2.60/24"));
        assert!(is("192.0.2.50/25", "192.0.2.200/24") && is("192.0.2.200/24", "192.0.2.50/25"));
        assert!(!is("192.0.2.50/25", "192.0.2.200/25"));
        assert!(!is("192.0.2.50/24", "198.51.100.50/24"));
        assert!(is("2001:db8:1::5/128", "2001:db8:1::/64") && !is("2001:db8:1::5/64", "2001:db8:2::5/64"));
        assert!(!is("192.0.2.50/24", "2001:db8::5/64"));
    }
}
