//! Containers that the host routes for (`mode=routed`): their addresses are the LAN's, and the LAN sees no hardware address but the
//! host's.
//!
//! For each address the host has a route to the container's link and a proxy entry on the parent, for which the kernel answers ARP
//! requests (`plan`). Both are in the kernel, so containers are reached while the daemon is away. They are made before Docker is
//! answered ([`Admission`]), and one task keeps them as the inventory wants them: it wakes up when an endpoint, the parent or one of
//! our routes changes.

mod delays;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landline_dhcp::wire::arp::Packet;
use landline_engine::{Admission, EndpointRequest, Engine, NetworkRequest, Refusal, Verdict, Withdrawn};
use landline_kernel::sysctl::Family;
use landline_kernel::{Event, Group, NetlinkError};
use landline_leases::probe::Prober;
use landline_leases::sockets::Arp;
use landline_leases::{Foundation, Inventory};
use landline_links::mark::{End, PROTOCOL};
use landline_links::{Namespaces, blocking, facts_of, mark_of};
use landline_options::EndpointId;
use landline_types::{IfName, chain};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use delays::Delays;
pub use delays::ProxyDelayRecord;
use plan::{Announcement, Host, Obstacle, Plan, Want, Wants, want, wants};

/// RFC 5227 section 2.3: this many announcements, so far apart.
const ANNOUNCEMENTS: u32 = 2;
const BETWEEN: Duration = Duration::from_secs(2);

/// The pause after a change that the kernel refused.
const AGAIN: Duration = Duration::from_secs(5);

/// Why containers cannot be routed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoutedError {
    /// The host is not on the LAN.
    #[error(
        "{0} has no IPv4 address, and with mode=routed the host is the containers' way to the LAN; give it one first, or \
         name the interface that has it"
    )]
    NoAddress(IfName),
    /// The kernel passes on nothing that comes in from the LAN.
    #[error(
        "the host does not forward IPv4 packets from {0}, so containers could not be reached; switch forwarding on: \
         sysctl -w net/ipv4/conf/{0}/forwarding=1 (or net.ipv4.ip_forward=1, for all interfaces), and write it to \
         /etc/sysctl.d"
    )]
    NoForwarding(IfName),
    /// Another program's route, which is not replaced.
    #[error(
        "the host has a route to {0} already, which is not Landline's; remove it (ip route del {0}), or give the container \
         another address"
    )]
    Occupied(Ipv4Addr),
    /// One route cannot lead to two containers.
    #[error(
        "the host routes {0} to a container of another network with mode=routed, and can route one address to one container \
         only; give this one another address"
    )]
    Taken(Ipv4Addr),
    /// The kernel refused.
    #[error("the host cannot route to {address}")]
    Refused {
        /// The container's address.
        address: Ipv4Addr,
        /// What it said.
        #[source]
        source: NetlinkError,
    },
    /// It cannot be asked.
    #[error("the host's routes cannot be changed")]
    Kernel(#[source] io::Error),
}

/// What was done of a plan.
#[derive(Debug, Default)]
struct Outcome {
    /// Addresses that the LAN is to learn of.
    announced: Vec<Announcement>,
    /// What the kernel refused, and for which address.
    failed: Vec<(Ipv4Addr, RoutedError)>,
    /// Who is not routed to, and why.
    obstacles: BTreeMap<EndpointId, Obstacle>,
}

/// What endpoints want that are being created.
type Claims = Arc<Mutex<Wants>>;

/// The feature.
pub struct Routed {
    prober: Prober,
    inventory: watch::Receiver<Inventory>,
    cancel: CancellationToken,
    /// What is wanted for endpoints that are being created.
    claims: Claims,
    /// Held while the host is looked at and changed.
    delays: Arc<tokio::sync::Mutex<Delays>>,
}

impl Routed {
    /// Before the engine, which asks it. Nothing is changed before [`Self::follow`].
    pub fn new(ground: &mut Foundation) -> Arc<Self> {
        let delays = Delays::resume(ground.rows.take(), ground.store.clone());
        Self::over(ground.services.prober(), ground.ledger.watch(), delays, ground.cancel.clone())
    }

    fn over(
        prober: Prober,
        inventory: watch::Receiver<Inventory>,
        delays: Delays,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        let (claims, delays) = (Claims::default(), Arc::new(tokio::sync::Mutex::new(delays)));
        Arc::new(Self { prober, inventory, cancel, claims, delays })
    }

    /// Follows the engine's endpoints until the engine ends. Must be called within a tokio runtime.
    pub fn follow(self: &Arc<Self>, engine: &Engine) {
        self.follow_inventory(engine.inventory());
    }

    fn follow_inventory(self: &Arc<Self>, inventory: watch::Receiver<Inventory>) {
        let this = self.clone();
        let follow = async move { this.keep(inventory).await };
        tokio::spawn(self.cancel.clone().run_until_cancelled_owned(follow));
    }

    async fn keep(&self, mut inventory: watch::Receiver<Inventory>) {
        // From before the first look, so that nothing falls between.
        let groups = [Group::Links, Group::Addresses, Group::Routes];
        let mut events = self.prober.namespaces.follow(&groups);
        let (mut last, mut obstacles) = (None, BTreeMap::new());
        loop {
            let now = wants(&inventory.borrow_and_update());
            let mut failed = false;
            // A host without such containers is looked at once, for what is left of before.
            if last.as_ref().is_none_or(|last| *last != now || !now.is_empty()) {
                let unreachable = "containers of mode=routed may not be reached";
                match self.pass().await {
                    Ok(outcome) => {
                        failed = !outcome.failed.is_empty();
                        for (_, error) in outcome.failed {
                            tracing::warn!(error = chain(&error), "{unreachable}");
                        }
                        for (endpoint, obstacle) in &outcome.obstacles {
                            if obstacles.get(endpoint) != Some(obstacle)
                                && let Some(want) = now.get(endpoint)
                            {
                                tracing::warn!(error = %obstacle.error(want), "{unreachable}");
                            }
                        }
                        obstacles = outcome.obstacles;
                    }
                    Err(error) => {
                        tracing::warn!(error = chain(&error), "{unreachable}");
                        failed = true;
                    }
                }
            }
            loop {
                tokio::select! {
                    changed = inventory.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        if wants(&inventory.borrow_and_update()) != now {
                            break;
                        }
                    }
                    event = events.next() => if !now.is_empty() && concerns(&event, &now) {
                        break;
                    },
                    () = tokio::time::sleep(AGAIN), if failed => break,
                }
            }
            last = Some(now);
        }
    }

    /// Makes the host as it is wanted. What one address cannot have keeps no other from it.
    async fn pass(&self) -> Result<Outcome, RoutedError> {
        let mut delays = self.delays.clone().lock_owned().await;
        let mut all = wants(&self.inventory.borrow());
        self.claims().retain(|endpoint, _| !all.contains_key(endpoint));
        all.extend(self.claims().clone());
        let parents = all.values().map(|want| want.parent.clone()).collect();
        delays.keep(&self.prober.namespaces, parents).await;
        let namespaces = self.prober.namespaces.clone();
        let outcome = blocking(move || {
            // What goes on here goes on when nobody waits for it any more, and the next look is made after it.
            let _turn = delays;
            let mut netlink = namespaces.host().map_err(RoutedError::Kernel)?;
            let look = |error: NetlinkError| RoutedError::Kernel(io::Error::other(error));
            let host = Host {
                links: netlink.links().map_err(look)?,
                addresses: netlink.addresses().map_err(look)?,
                routes: netlink.routes().map_err(look)?,
                proxies: netlink.proxy_neighbours().map_err(look)?,
            };
            forward_again(&*namespaces, &all, &host);
            Ok(apply(&mut *netlink, Plan::new(&all, &host)))
        })
        .await?;
        for one in &outcome.announced {
            let (inventory, claims) = (self.inventory.clone(), self.claims.clone());
            let address = one.address;
            let is_wanted = move || {
                let has = |wants: &Wants| wants.values().any(|want| want.address == address);
                has(&locked(&claims)) || has(&wants(&inventory.borrow()))
            };
            let (sockets, one) = (self.prober.sockets.clone(), *one);
            let announce = async move {
                if let Ok(socket) = blocking(move || sockets.arp(one.index)).await {
                    announce(socket, one, is_wanted).await;
                }
            };
            tokio::spawn(self.cancel.clone().run_until_cancelled_owned(announce));
        }
        Ok(outcome)
    }

    /// Has an endpoint reached that the inventory does not show yet. What other containers cannot have does not fail it.
    async fn claim(&self, endpoint: &EndpointId, want: Want) -> Result<(), RoutedError> {
        self.claims().insert(endpoint.clone(), want.clone());
        let outcome = self.pass().await?;
        match outcome.obstacles.get(endpoint) {
            Some(obstacle) => Err(obstacle.error(&want)),
            None => own_failure(outcome.failed, want.address),
        }
    }

    fn claims(&self) -> MutexGuard<'_, Wants> {
        locked(&self.claims)
    }

    /// Whether the host can be the containers' way to the LAN on this interface.
    async fn check(&self, parent: IfName) -> Result<(), RoutedError> {
        let namespaces = self.prober.namespaces.clone();
        blocking(move || {
            let mut netlink = namespaces.host().map_err(RoutedError::Kernel)?;
            let failed = |error: NetlinkError| RoutedError::Kernel(io::Error::other(error));
            let link = netlink.link_by_name(&parent).map_err(failed)?;
            let addresses = netlink.addresses().map_err(failed)?;
            let on_parent = |own: &landline_kernel::Address| {
                link.as_ref().is_some_and(|link| link.index == own.index) && own.net.addr().is_ipv4()
            };
            if !addresses.iter().any(on_parent) {
                return Err(RoutedError::NoAddress(parent));
            }
            match namespaces.setting(Family::V4, &parent, "forwarding") {
                Ok(off) if off == "0" => Err(RoutedError::NoForwarding(parent)),
                _ => Ok(()),
            }
        })
        .await
    }
}

fn locked(claims: &Claims) -> MutexGuard<'_, Wants> {
    claims.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The failure that concerns this address.
fn own_failure(failed: Vec<(Ipv4Addr, RoutedError)>, address: Ipv4Addr) -> Result<(), RoutedError> {
    failed.into_iter().find(|(other, _)| *other == address).map_or(Ok(()), |(_, error)| Err(error))
}

/// Switches forwarding on again on the ends of links where it is off: whoever writes `net.ipv4.ip_forward` writes it for all interfaces.
fn forward_again(namespaces: &dyn Namespaces, wants: &Wants, host: &Host) {
    const KEY: &str = "forwarding";
    for end in plan::ends_of(wants, host) {
        let is_off = namespaces.setting(Family::V4, &end.name, KEY).is_ok_and(|setting| setting == "0");
        if is_off && let Err(error) = namespaces.set(Family::V4, &end.name, KEY, "1") {
            tracing::warn!(interface = %end.name, %error, "what a container sends is not forwarded");
        }
    }
}

/// Carries a plan out.
fn apply(netlink: &mut dyn landline_links::Namespace, plan: Plan) -> Outcome {
    let mut outcome = Outcome { obstacles: plan.obstacles, ..Outcome::default() };
    let mut note = |address: IpAddr, done: Result<(), NetlinkError>| {
        if let (Err(source), IpAddr::V4(address)) = (done, address) {
            let error = if source.exists() {
                RoutedError::Occupied(address)
            } else {
                RoutedError::Refused { address, source }
            };
            outcome.failed.push((address, error));
        }
    };
    for proxy in &plan.stale_proxies {
        note(proxy.address, netlink.delete_neighbour(proxy).map(drop));
    }
    for route in &plan.stale_routes {
        note(route.destination.addr(), netlink.delete_route(route).map(drop));
    }
    for route in &plan.routes {
        note(route.destination.addr(), netlink.add_route(route));
    }
    for route in &plan.replaced_routes {
        note(route.destination.addr(), netlink.replace_route(route));
    }
    // Last: what the host answers for, it can pass on.
    for (proxy, announcement) in &plan.proxies {
        let made = netlink.replace_neighbour(proxy);
        outcome.announced.extend(announcement.filter(|_| made.is_ok()));
        note(proxy.address, made);
    }
    outcome
}

/// Whether an event may change what the host needs for these.
fn concerns(event: &Event, wants: &Wants) -> bool {
    let is_parent = |name: &IfName| wants.values().any(|want| want.parent == *name);
    match event {
        Event::LinkNew(link) => {
            let end = mark_of(link).filter(|mark| mark.end == End::Host);
            is_parent(&link.name) || end.is_some_and(|mark| wants.contains_key(&mark.endpoint))
        }
        // Another program's may have been in the way.
        Event::RouteGone(route) => {
            let is_to = |want: &Want| route.destination.addr() == IpAddr::V4(want.address);
            route.protocol == PROTOCOL || wants.values().any(is_to)
        }
        Event::AddressNew(own) | Event::AddressGone(own) => own.net.addr().is_ipv4(),
        Event::Overrun => true,
        _ => false,
    }
}

/// Has the neighbours on the LAN learn who answers for an address now, as long as it is wanted: a moment later it may be another
/// machine's.
async fn announce(
    socket: Box<dyn Arp>,
    Announcement { mac, address, .. }: Announcement,
    is_wanted: impl Fn() -> bool,
) {
    for n in 0..ANNOUNCEMENTS {
        if n > 0 {
            tokio::time::sleep(BETWEEN).await;
        }
        if !is_wanted() {
            return;
        }
        if let Err(error) = socket.send(&Packet::announcement(mac, address)) {
            tracing::debug!(%address, %error, "an address was not announced");
            return;
        }
    }
}

impl Obstacle {
    fn error(self, want: &Want) -> RoutedError {
        match self {
            Self::Route => RoutedError::Occupied(want.address),
            Self::Endpoint => RoutedError::Taken(want.address),
        }
    }
}

impl Admission for Routed {
    fn network<'a>(&'a self, network: NetworkRequest<'a>) -> Verdict<'a> {
        Box::pin(async move {
            let options = &network.record.options;
            if !facts_of(options.mode).host_routes() {
                return Ok(());
            }
            self.check(options.parent.clone()).await.map_err(Refusal::new)
        })
    }

    fn endpoint<'a>(&'a self, endpoint: EndpointRequest<'a>) -> Verdict<'a> {
        Box::pin(async move {
            let Some(want) = want(endpoint.record, endpoint.network) else { return Ok(()) };
            self.claim(&endpoint.record.id, want).await.map_err(Refusal::new)
        })
    }

    fn withdrawn<'a>(&'a self, what: Withdrawn<'a>) -> Verdict<'a> {
        Box::pin(async move {
            let Withdrawn::Endpoint { record, .. } = what else { return Ok(()) };
            let Some(want) = self.claims().remove(&record.id) else {
                // The inventory says so.
                return Ok(());
            };
            let outcome = self.pass().await.map_err(Refusal::new)?;
            own_failure(outcome.failed, want.address).map_err(Refusal::new)
        })
    }
}
