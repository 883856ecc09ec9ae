//! Addresses the host itself has from a DHCP server, on interfaces whose manager cannot renew them there.
//!
//! Each has a task with a DHCP client of its own. The address is in use when the task begins, so the server is asked
//! whether it may stay (INIT-REBOOT), at once and under the name the server knows it by; from then on it has no
//! lifetime in the kernel, and goes when the server says so or its lease is over.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};

use ipnet::Ipv4Net;
use landline_dhcp::Instant;
use landline_dhcp::v4::{Client, ClientId, Config, ConflictCheck, Event, Lease, Remembered};
use landline_kernel::boottime;
use landline_kernel::{Address, Netlink, Route};
use landline_types::IfName;
use serde::{Deserialize, Serialize};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::engine::Engine;
use crate::host::HostError;
use crate::lease::{Received, Services, Wire, receive, sleep};
use crate::random::OsRandom;
use crate::store::StoreError;
use crate::{blocking, chain};

/// `RTPROT_DHCP`.
const BY_DHCP: u8 = 16;

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
}

/// The running tasks. Dropping one's guard ends it; nothing is released.
#[derive(Debug, Default)]
pub(crate) struct HostLeases(Mutex<BTreeMap<IfName, DropGuard>>);

impl Engine {
    /// Renews an address of the host's from now on, also after a restart, until it is told not to.
    ///
    /// # Errors
    /// If that cannot be stored; then it is not done.
    pub async fn keep_host_lease(&self, lease: HostLease) -> Result<(), StoreError> {
        let (store, record) = (self.store.clone(), lease.clone());
        blocking(move || store.put_host_lease(&record)).await?;
        self.start_host_lease(lease);
        Ok(())
    }

    /// Leaves the addresses of an interface to somebody else. They stay as they are.
    ///
    /// # Errors
    /// If that cannot be stored.
    pub async fn drop_host_lease(&self, interface: &IfName) -> Result<(), StoreError> {
        self.host_leases.lock().remove(interface);
        let (store, interface) = (self.store.clone(), interface.clone());
        blocking(move || store.remove_host_lease(&interface)).await
    }

    pub(crate) fn start_host_lease(&self, lease: HostLease) {
        let (interface, cancel) = (lease.interface.clone(), CancellationToken::new());
        let guard = cancel.clone().drop_guard();
        let (services, store) = (self.services.clone(), self.store.clone());
        tokio::spawn(async move {
            let kept = Keeper { lease, services, store };
            cancel.run_until_cancelled(kept.run()).await;
        });
        self.host_leases.lock().insert(interface, guard);
    }
}

impl HostLeases {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<IfName, DropGuard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Keeper {
    lease: HostLease,
    services: Services,
    store: std::sync::Arc<crate::store::Store>,
}

fn now() -> Instant {
    Instant::from_boot(boottime::now())
}

impl Keeper {
    async fn run(mut self) {
        let name = self.lease.interface.clone();
        let found = blocking(move || Netlink::open().ok()?.link_by_name(&name).ok()?).await;
        let Some((link, mac)) = found.and_then(|link| Some((link.index, link.mac?))) else {
            // It was removed while nobody was there to be told.
            let interface = self.lease.interface;
            tracing::warn!(%interface, "the interface whose address was to be renewed is gone");
            if let Err(error) = blocking(move || self.store.remove_host_lease(&interface)).await {
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
        let mut client = Client::start(config, remembered, now(), OsRandom);
        let mut wire: Option<Wire> = None;
        let (mut dhcp, mut arp) = (vec![0; 2048], [0; 128]);
        loop {
            while let Some(event) = client.poll_event() {
                self.event(event, link).await;
            }
            if !client.wants_socket() {
                wire = None;
            } else if wire.is_none() {
                wire = blocking(move || Wire::open_here(link)).await.inspect_err(not_opened).ok();
            }
            while let Some(transmit) = client.poll_transmit() {
                if let Some(Err(error)) = wire.as_mut().map(|wire| wire.send(&transmit)) {
                    tracing::debug!(%error, interface = %self.lease.interface, "not sent");
                }
            }
            let deadline = client.poll_timeout().map(Instant::since_boot);
            tokio::select! {
                received = receive(wire.as_ref(), &mut dhcp, &mut arp) => match received {
                    Ok(Received::Datagram { from, payload }) => client.handle_datagram(now(), from, payload),
                    Ok(Received::Arp(packet)) => client.handle_arp(now(), &packet),
                    // The interface went down: what is due later opens them again.
                    Err(_) => wire = None,
                },
                () = sleep(&self.services.alarm, deadline) => client.handle_timeout(now()),
            }
        }
    }

    async fn event(&mut self, event: Event, link: u32) {
        let interface = self.lease.interface.clone();
        match event {
            Event::Bound(lease) | Event::Renewed(lease) => {
                tracing::info!(%interface, address = %lease.address, server = %lease.server, "the host's own lease");
                let before = std::mem::replace(&mut self.lease.address, lease.address);
                if before != lease.address {
                    let (store, record) = (self.store.clone(), self.lease.clone());
                    if let Err(error) = blocking(move || store.put_host_lease(&record)).await {
                        tracing::error!(error = %chain(&error), "the host's new address could not be stored");
                    }
                }
                report(blocking(move || configure(link, &lease, before)).await, &interface);
            }
            Event::Lost { address, reason } => {
                tracing::error!(%interface, %address, %reason, "the host has lost its address");
                report(blocking(move || remove(link, address)).await, &interface);
            }
            Event::Conflict { .. } => {}
        }
    }
}

fn not_opened(error: &std::io::Error) {
    tracing::debug!(%error, "sockets cannot be opened");
}

fn report(done: Result<(), HostError>, interface: &IfName) {
    if let Err(error) = done {
        tracing::error!(%interface, error = %chain(&error), "the host's address could not be set");
    }
}

/// The address has no end by itself any more. Another one than before takes its place, and that of its default route.
fn configure(link: u32, lease: &Lease, before: Ipv4Addr) -> Result<(), HostError> {
    let mut netlink = Netlink::open().map_err(HostError::Open)?;
    let net = Ipv4Net::new(lease.address, lease.prefix_len.min(32)).unwrap_or_else(|_| lease.address.into());
    let here = netlink.addresses()?.into_iter().filter(|address| address.index == link);
    let own = here.clone().find(|address| address.net.addr() == IpAddr::V4(lease.address));
    let wanted = own.unwrap_or_else(|| Address::new(link, net.into()).broadcast(net.broadcast()));
    netlink.replace_address(&wanted)?;
    if before == lease.address {
        return Ok(());
    }
    let routes = netlink.routes()?;
    let default = routes.iter().find(|route| route.oif == Some(link) && route.is_default());
    if let Some(gateway) = lease.options.gateway() {
        let mut route = Route::via(Ipv4Net::default().into(), gateway.into()).oif(link).protocol(BY_DHCP);
        route.priority = default.and_then(|route| route.priority);
        netlink.replace_route(&route)?;
    }
    remove(link, before)
}

fn remove(link: u32, address: Ipv4Addr) -> Result<(), HostError> {
    let mut netlink = Netlink::open().map_err(HostError::Open)?;
    for there in netlink.addresses()? {
        if there.index == link && there.net.addr() == IpAddr::V4(address) {
            netlink.delete_address(&there)?;
        }
    }
    Ok(())
}
