//! Addresses the host itself has from a DHCP server, on interfaces whose manager cannot renew them there.
//!
//! Each has a task with a DHCP client of its own. The address is in use when the task begins, so the server is asked
//! whether it may stay (INIT-REBOOT), at once and under the name the server knows it by; from then on it has no
//! lifetime in the kernel, and goes when the server says so or its lease is over.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::Ipv4Net;
use landline_dhcp::v4::{Client, ClientId, Config, ConflictCheck, Event, Lease, Remembered};
use landline_kernel::{Address, Link, Route, RouteKind};
use landline_leases::{Foundation, HostClient, OsRandom, Services};
use landline_links::{HostError, Namespace, Namespaces, blocking};
use landline_store::{Record, Store, StoreError};
use landline_types::{IfName, chain};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

mod default;
#[cfg(test)]
mod tests;

use default::{Step, is_default, is_of_lease};

/// An address of the host's that is to be renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLease {
    /// The interface it is on.
    pub interface: IfName,
    /// The address.
    pub address: Ipv4Addr,
    /// Option 61 as the server knows the host; `None`: by its hardware address alone.
    #[serde(default)]
    pub client_id: Option<Vec<u8>>,
    /// Option 12.
    #[serde(default)]
    pub hostname: Option<String>,
    /// The router that the server spoke of with this address, by which its default route is known; `None`: not heard yet.
    #[serde(default)]
    pub router: Option<Ipv4Addr>,
}

impl Record for HostLease {
    const TABLE: &'static str = "host_leases";
    type Key = IfName;

    fn key(&self) -> &IfName {
        &self.interface
    }

    /// The host's own address, which nobody else renews.
    fn owed(key: &str, row: &Value) -> Option<Self> {
        let part = |name: &str| row.get(name).cloned().unwrap_or_default();
        Some(Self {
            interface: key.parse().ok()?,
            address: serde_json::from_value(part("address")).ok()?,
            client_id: serde_json::from_value(part("client_id")).unwrap_or_default(),
            hostname: serde_json::from_value(part("hostname")).unwrap_or_default(),
            router: serde_json::from_value(part("router")).unwrap_or_default(),
        })
    }
}

/// The host's own leases that are to be renewed, each with a task. Dropping one's guard ends it; nothing is released.
pub struct HostLeases {
    services: Services,
    store: Arc<Store>,
    running: Mutex<BTreeMap<IfName, DropGuard>>,
}

impl HostLeases {
    /// Goes on with those of the last run.
    pub fn start(ground: &mut Foundation) -> Self {
        let (services, store) = (ground.services.clone(), ground.store.clone());
        let leases = Self { services, store, running: Mutex::default() };
        for lease in ground.rows.take() {
            leases.renew(lease);
        }
        leases
    }

    /// Renews an address of the host's from now on, also after a restart, until it is told not to.
    ///
    /// # Errors
    /// If that cannot be stored; then it is not done.
    pub async fn keep(&self, lease: HostLease) -> Result<(), StoreError> {
        self.store.put(&lease).await?;
        self.renew(lease);
        Ok(())
    }

    /// Leaves the addresses of an interface to somebody else. They stay as they are.
    ///
    /// # Errors
    /// If that cannot be stored.
    pub async fn leave(&self, interface: &IfName) -> Result<(), StoreError> {
        self.lock().remove(interface);
        self.store.remove::<HostLease>(interface).await
    }

    fn renew(&self, lease: HostLease) {
        let (interface, cancel) = (lease.interface.clone(), CancellationToken::new());
        let guard = cancel.clone().drop_guard();
        let (services, store) = (self.services.clone(), self.store.clone());
        tokio::spawn(async move {
            let kept = Keeper { lease, services, store, left: None, owed: None };
            cancel.run_until_cancelled(kept.run()).await;
        });
        self.lock().insert(interface, guard);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<IfName, DropGuard>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Keeper {
    lease: HostLease,
    services: Services,
    store: Arc<Store>,
    /// What went with an address that was lost, for the next one.
    left: Option<Held>,
    /// An address that is lost and could not be removed yet.
    owed: Option<Owed>,
}

impl Keeper {
    async fn run(mut self) {
        let name = self.lease.interface.clone();
        let namespaces = self.services.namespaces.clone();
        let look = move || -> Option<Link> { namespaces.host().ok()?.link_by_name(&name).ok()? };
        let found = blocking(look).await;
        let Some((link, mac)) = found.and_then(|link| Some((link.index, link.mac?))) else {
            // It was removed while nobody was there to be told.
            let interface = self.lease.interface;
            tracing::warn!(%interface, "the interface whose address was to be renewed is gone");
            if let Err(error) = self.store.remove::<HostLease>(&interface).await {
                tracing::warn!(error = %chain(&error), "that could not be noted");
            }
            return;
        };
        let mut config = Config::new(mac);
        config.client_id = self.lease.client_id.clone().and_then(|id| ClientId::new(id).ok());
        config.hostname.clone_from(&self.lease.hostname);
        // It is in use here: whoever were asked would be this host.
        config.conflict_check = ConflictCheck::Off;
        let remembered = Some(Remembered::Address(self.lease.address));
        let client = Client::start(config, remembered, self.services.clock.now(), OsRandom);
        let interface = self.lease.interface.clone();
        let mut client = HostClient::new(client, interface, (link, mac), &self.services);
        loop {
            tokio::select! {
                event = client.next() => self.event(event, link).await,
                () = due(self.owed.as_ref()) => self.remove_owed(link).await,
            }
        }
    }

    /// Removes an address that is lost; one that cannot be removed now is tried again.
    async fn remove_owed(&mut self, link: u32) {
        let Some(owed) = self.owed.take() else { return };
        let address = owed.address;
        let namespaces = self.services.namespaces.clone();
        let removed = blocking(move || remove(&*namespaces, link, address)).await;
        if removed.is_err() {
            self.owed = Some(owed.later(tokio::time::Instant::now()));
        }
        self.left = report(removed, &self.lease.interface).or(self.left.take());
    }

    async fn event(&mut self, event: Event, link: u32) {
        let interface = self.lease.interface.clone();
        match event {
            Event::Bound(lease) | Event::Renewed(lease) => {
                tracing::info!(%interface, address = %lease.address, server = %lease.server, "the host's own lease");
                let before = self.lease.clone();
                self.lease.address = lease.address;
                if before.address != lease.address || before.router.is_none() {
                    self.lease.router = lease.options.gateway().or(before.router);
                }
                if before != self.lease
                    && let Err(error) = self.store.put(&self.lease).await
                {
                    tracing::error!(error = %chain(&error), "the host's new address could not be stored");
                }
                // Whatever is still to be removed goes with the address of before, or is this one.
                self.owed = self.owed.take_if(|owed| owed.address != lease.address);
                let left = self.left.take();
                let namespaces = self.services.namespaces.clone();
                let configured = blocking(move || configure(&*namespaces, link, &lease, &before, left)).await;
                report(configured, &interface);
            }
            Event::Lost { address, reason } => {
                tracing::error!(%interface, %address, %reason, "the host has lost its address");
                self.owed = Some(Owed { address, pause: PAUSE, next: tokio::time::Instant::now() });
                self.remove_owed(link).await;
            }
            Event::Conflict { .. } | Event::Refused { .. } => {}
        }
    }
}

/// The pause after the first attempt to remove an address, which doubles, and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);

/// An address that is to be removed, and when that is tried next.
#[derive(Debug)]
struct Owed {
    address: Ipv4Addr,
    pause: Duration,
    next: tokio::time::Instant,
}

impl Owed {
    /// After an attempt that failed.
    fn later(self, now: tokio::time::Instant) -> Self {
        Self { next: now + self.pause, pause: LONGEST.min(self.pause * 2), ..self }
    }
}

/// Waits until what is owed is tried again; for ever if nothing is.
async fn due(owed: Option<&Owed>) {
    match owed {
        Some(owed) => tokio::time::sleep_until(owed.next).await,
        None => std::future::pending().await,
    }
}

fn report<T>(done: Result<T, HostError>, interface: &IfName) -> Option<T> {
    let failed = |error: &HostError| {
        tracing::error!(%interface, error = %chain(error), "the host's address could not be set");
    };
    done.inspect_err(failed).ok()
}

/// An address and what goes with it: all routes of its link.
#[derive(Debug, Default)]
struct Held {
    address: Option<Address>,
    routes: Vec<Route>,
    /// The host's default routes, those through other links as well.
    defaults: Vec<Route>,
}

impl Held {
    fn look(netlink: &mut dyn Namespace, link: u32, address: Ipv4Addr) -> Result<Self, HostError> {
        let here = |own: &Address| own.index == link && own.net.addr() == IpAddr::V4(address);
        let address = netlink.addresses()?.into_iter().find(here);
        let mut routes = netlink.routes()?;
        let defaults = routes.iter().filter(|route| is_default(route)).cloned().collect();
        routes.retain(|route| route.oif == Some(link));
        Ok(Self { address, routes, defaults })
    }

    /// Another address that has of this one what a server does not say.
    fn address_like_it(&self, link: u32, net: Ipv4Net) -> Address {
        let fresh = Address::new(link, net.into()).broadcast(net.broadcast());
        let Some(was) = &self.address else { return fresh };
        let fresh = Address { label: was.label.clone(), metric: was.metric, ..fresh };
        if was.has_prefix_route() { fresh } else { fresh.no_prefix_route() }
    }

    /// The default routes that came with the lease.
    fn own_defaults(&self, said: Option<Ipv4Addr>) -> Vec<Route> {
        let address = self.address.as_ref().map(|was| was.net.addr());
        let own = |route: &&Route| is_default(route) && is_of_lease(route, address, said);
        self.routes.iter().filter(own).cloned().collect()
    }

    /// The routes from this address, and the default route that came with the lease, as they are from that one; networks
    /// before the routers in them.
    fn routes_from(
        &self,
        net: Ipv4Net,
        (gateway, said): (Option<Ipv4Addr>, Option<Ipv4Addr>),
        link: u32,
    ) -> Vec<Route> {
        let was = self.address.as_ref();
        let source = was.map(|was| was.net.addr());
        let by_kernel = was.is_none_or(Address::has_prefix_route);
        let ours = |route: &&Route| {
            let plain = route.kind == RouteKind::Unicast && !route.multipath;
            let own = route.source.is_some() && route.source == source;
            // The kernel makes that to the network with the address.
            let own = if is_default(route) { is_of_lease(route, source, said) } else { own };
            plain && own && !(by_kernel && route.protocol == Route::BY_KERNEL)
        };
        let mut routes: Vec<Route> = self.routes.iter().filter(ours).cloned().collect();
        for route in &mut routes {
            if route.source.is_some() && route.source == source {
                route.source = Some(net.addr().into());
            }
            if was.is_some_and(|was| route.destination == was.net.trunc()) {
                route.destination = net.trunc().into();
            }
            if is_default(route) {
                route.gateway = gateway.map(IpAddr::V4).or(route.gateway);
            }
        }
        // Where nothing is known of an address before, there may have been one.
        if let (Some(gateway), None, false) = (gateway, was, self.routes.iter().any(is_default)) {
            routes.push(
                Route::via(Ipv4Net::default().into(), gateway.into()).oif(link).protocol(Route::BY_DHCP),
            );
        }
        routes.sort_by_key(|route| route.gateway.is_some());
        routes
    }
}

/// The address has no end by itself any more, and its routes are as they were. Another one than before, or one that was
/// lost, takes the place of what is there, or was.
fn configure(
    namespaces: &dyn Namespaces,
    link: u32,
    lease: &Lease,
    before: &HostLease,
    left: Option<Held>,
) -> Result<(), HostError> {
    let (before, said) = (before.address, before.router);
    let mut netlink = namespaces.host().map_err(HostError::Open)?;
    let net = Ipv4Net::new(lease.address, lease.prefix_len.min(32)).unwrap_or_else(|_| lease.address.into());
    let now = Held::look(&mut *netlink, link, lease.address)?;
    if let Some(own) = &now.address {
        netlink.replace_address(own)?;
    } else {
        let there = Held::look(&mut *netlink, link, before)?;
        let was = left.filter(|_| there.address.is_none()).unwrap_or(there);
        let own = was.own_defaults(said);
        netlink.replace_address(&was.address_like_it(link, net))?;
        for route in was.routes_from(net, (lease.options.gateway(), said), link) {
            let step = if is_default(&route) {
                default::step(&route, &now.defaults, &own, &was.defaults)
            } else {
                Step::Replace
            };
            let done = match step {
                Step::Keep => Ok(()),
                Step::Replace => netlink.replace_route(&route),
                Step::Add => netlink.add_route(&route),
            };
            // One that leads nowhere from the new network must not keep the others.
            if let Err(error) = done {
                tracing::warn!(%error, "a route of the host's was not taken along");
            }
        }
    }
    if before == lease.address { Ok(()) } else { remove(namespaces, link, before).map(drop) }
}

/// Takes an address away; what there was of it.
fn remove(namespaces: &dyn Namespaces, link: u32, address: Ipv4Addr) -> Result<Held, HostError> {
    let mut netlink = namespaces.host().map_err(HostError::Open)?;
    let held = Held::look(&mut *netlink, link, address)?;
    if let Some(own) = &held.address {
        netlink.delete_address(own)?;
    }
    Ok(held)
}
