//! Joining a sandbox and leaving it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use landline_kernel::{Route, RouteKind};
use landline_spec::{EndpointId, Mode, NetworkOptions};
use landline_types::IfName;

use crate::addressing::{Routing, dhcp};
use crate::blocking;
use crate::engine::Engine;
use crate::host::{Host, HostError};
use crate::lease::Orders;
use crate::mark::Mark;
use crate::records::{AddressRecord, Applied, EndpointRecord, NetworkRecord};
use crate::store::StoreError;

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
        let record = endpoint.cell.read().await;
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

        let lease = endpoint.supervised().as_ref().and_then(|s| s.status.borrow().lease.clone());
        let (address, routing) = match (&record.address, lease) {
            (AddressRecord::Dhcp(_), Some(lease)) => {
                (Some(dhcp::address(&lease)), dhcp::routing(&lease, &network.options, &copied))
            }
            (AddressRecord::Static { address }, _) => {
                (Some(*address), fixed_routing(&network, *address, copied.clone()))
            }
            _ => (None, Routing::default()),
        };
        let applied = Applied { address, routes: routing.routes.clone(), ..Applied::default() };
        let path = sandbox.clone();
        let stored = endpoint.cell.update(|record| {
            record.sandbox = path;
            record.copied_routes = copied;
            record.applied = applied;
            if let Some(ipv6) = &mut record.ipv6 {
                // Docker puts it there.
                ipv6.applied = ipv6.told.into_iter().collect();
            }
        });
        stored.await.map_err(JoinError::Store)?;
        if let Some(sandbox) = &sandbox {
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
        let Routing { gateway, routes } = routing;
        Ok(JoinAnswer { link, prefix, ifname, gateway, gateway_v6, routes })
    }

    /// The container whose identity the endpoint was given in error: one that runs already is connected to the
    /// network, and a stopped one looked as if it were starting. It is not taken for that one again.
    fn mistaken(&self, record: &EndpointRecord, occupant: Option<&str>) -> Option<String> {
        let id = record.identity.as_ref()?;
        let identity = self.identities.get(id)?;
        let guessed = identity.key.is_none() && !record.mac_given;
        let container =
            identity.container.filter(|c| guessed && occupant.is_some_and(|other| other != c.id))?;
        self.identities.doubt(id);
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

/// The routes of an endpoint whose address is fixed. Whoever has the gateway's own address goes out some other way.
pub(crate) fn fixed_routing(network: &NetworkRecord, address: Ipv4Net, copied: Routes) -> Routing {
    let gateway = network.options.gateway.or(network.ipam_gateway).filter(|hop| *hop != address.addr());
    Routing { gateway, routes: copied }.on(address)
}

/// The IPv6 gateway of an endpoint whose IPv6 address is fixed, likewise.
pub(crate) fn fixed_gateway_v6(record: &EndpointRecord, network: &NetworkRecord) -> Option<Ipv6Addr> {
    let own = record.address_v6?.addr();
    network.ipam_gateway_v6.filter(|hop| *hop != own)
}

type Routes = Vec<(Ipv4Net, Option<Ipv4Addr>)>;

/// The static routes to copy, and the index of the endpoint's link on the host.
fn look(host: &dyn Host, options: &NetworkOptions, mark: &Mark) -> Result<(Routes, Option<u32>), HostError> {
    let alias = mark.to_string();
    let links = host.links()?;
    let index = links.iter().find(|link| link.alias.as_deref() == Some(&*alias)).map(|link| link.index);
    let bridge = links.iter().find(|link| link.name == options.parent).map(|link| link.index);
    let copied = match bridge {
        Some(bridge) if matches!(options.mode, Mode::Bridge | Mode::Ovs) && !options.skip_routes => {
            host.routes()?.iter().filter_map(|route| static_route(route, bridge)).collect()
        }
        _ => Vec::new(),
    };
    Ok((copied, index))
}

/// An IPv4 route through the bridge that somebody set: not the kernel's own, not the default.
fn static_route(route: &Route, bridge: u32) -> Option<(Ipv4Net, Option<Ipv4Addr>)> {
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
