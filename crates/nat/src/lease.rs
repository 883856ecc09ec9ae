//! The DHCP client of one address on the host.
//!
//! It has the NIC's hardware address and a client identifier of its own, so it is another machine to a server than the
//! host. What it hears goes to the task that keeps the addresses; what that does about it is its own.

use std::net::Ipv4Addr;

use landline_dhcp::v4::{Client, ClientId, Config, Event, Lease, LossReason, Remembered};
use landline_kernel::Link;
use landline_leases::{HostClient, OsRandom, Services};
use landline_links::blocking;
use landline_model::NatOwner;
use landline_options::DEFAULT_VENDOR_CLASS;
use landline_types::{IfName, Mac};
use tokio::sync::{mpsc, oneshot};

use super::record::NatLease;

/// What is heard of one.
#[derive(Debug)]
pub(super) enum Heard {
    /// It has this lease, new or renewed.
    Leased(Box<Lease>),
    /// It has none any more.
    Lost(LossReason),
    /// Another machine answers for it.
    Contested {
        /// The address.
        address: Ipv4Addr,
        /// Who answered.
        by: Mac,
    },
}

/// One that runs; dropping it ends it, and nothing is released.
#[derive(Debug)]
pub(super) struct Leaser(mpsc::UnboundedSender<oneshot::Sender<()>>);

impl Leaser {
    /// Gives the lease back and returns when the message has left. The address must still be on the NIC.
    pub(super) async fn release(self) {
        let (done, released) = oneshot::channel();
        if self.0.send(done).is_ok() {
            let _ = released.await;
        }
    }

    pub(super) fn start(
        owner: NatOwner,
        interface: IfName,
        lease: &NatLease,
        services: Services,
        heard: mpsc::UnboundedSender<(NatOwner, Heard)>,
    ) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let known = lease.lease.as_ref();
        let before = known.and_then(|lease| live(lease, &services)).map(|(lease, same)| {
            let lease = Box::new(lease);
            if same { Before::Bound(lease) } else { Before::Known(Remembered::Lease(lease)) }
        });
        let address = known.map(|lease| Before::Known(Remembered::Address(lease.address)));
        let task = Task {
            owner,
            interface,
            client_id: lease.client_id.clone(),
            hostname: lease.hostname.clone(),
            before: before.or(address),
            services,
            heard,
        };
        tokio::spawn(task.run(inbox));
        Self(orders)
    }
}

/// The lease as it is on this boot's clock, if it still lives, and whether it was made during this boot.
pub(super) fn live(lease: &landline_model::LeaseRecord, services: &Services) -> Option<(Lease, bool)> {
    let now = services.clock.both();
    let restored = match lease.restore(&services.boot) {
        Some(lease) => (lease, true),
        None => (lease.restore_across_boots(now)?, false),
    };
    Some(restored).filter(|(lease, _)| lease.is_live(now.instant))
}

/// What it begins with.
enum Before {
    /// A lease in use.
    Bound(Box<Lease>),
    /// Something to ask for.
    Known(Remembered),
}

struct Task {
    owner: NatOwner,
    interface: IfName,
    client_id: Option<Vec<u8>>,
    hostname: Option<String>,
    before: Option<Before>,
    services: Services,
    heard: mpsc::UnboundedSender<(NatOwner, Heard)>,
}

type Inbox = mpsc::UnboundedReceiver<oneshot::Sender<()>>;

impl Task {
    async fn run(mut self, mut inbox: Inbox) {
        // As long as the NIC is one and the same link the client is one and the same.
        loop {
            let mut link_table = self.services.link_table.clone();
            let nic = loop {
                if let Some(nic) = find(&self.services, &self.interface).await {
                    break nic;
                }
                tokio::select! {
                    () = link_table.changed() => {}
                    order = inbox.recv() => {
                        // Nothing can be said without it.
                        if let Some(done) = order {
                            let _ = done.send(());
                        }
                        return;
                    }
                }
            };
            let (index, mac) = nic;
            let mut client = HostClient::new(self.client(mac), self.interface.clone(), nic, &self.services);
            let gone = self.services.link_table.clone().gone(index);
            tokio::select! {
                () = self.serve(&mut client, mac, &mut inbox) => return,
                () = gone => {}
            }
            self.before =
                client.lease().cloned().map(|lease| Before::Known(Remembered::Lease(Box::new(lease))));
        }
    }

    fn client(&mut self, mac: Mac) -> Client<OsRandom> {
        let mut config = Config::new(mac);
        config.client_id = self.client_id.clone().and_then(|id| ClientId::new(id).ok());
        config.hostname.clone_from(&self.hostname);
        config.vendor_class = Some(DEFAULT_VENDOR_CLASS.to_owned());
        let now = self.services.clock.now();
        match self.before.take() {
            Some(Before::Bound(lease)) => Client::resume(config, *lease, now, OsRandom),
            Some(Before::Known(known)) => Client::start(config, Some(known), now, OsRandom),
            None => Client::start(config, None, now, OsRandom),
        }
    }

    /// Returns when it is not needed any more.
    async fn serve(&self, client: &mut HostClient, mac: Mac, inbox: &mut Inbox) {
        loop {
            let event = tokio::select! {
                order = inbox.recv() => {
                    if let Some(done) = order {
                        client.release().await;
                        let _ = done.send(());
                    }
                    return;
                }
                event = client.next() => event,
            };
            let heard = match event {
                Event::Bound(lease) | Event::Renewed(lease) => Heard::Leased(Box::new(lease)),
                Event::Lost { reason, .. } => Heard::Lost(reason),
                Event::Conflict { address, by } => {
                    tracing::info!(%address, %by, %mac, interface = %self.interface, "another machine uses the address");
                    Heard::Contested { address, by }
                }
                // What others have is looked at when it is leased: a client of the host's own hardware address
                // must not decline what a server may hold for the host's.
                Event::Refused { .. } => continue,
            };
            if self.heard.send((self.owner.clone(), heard)).is_err() {
                return;
            }
        }
    }
}

/// The NIC's index and hardware address, if it is there and up.
async fn find(services: &Services, name: &IfName) -> Option<(u32, Mac)> {
    let (namespaces, name) = (services.namespaces.clone(), name.clone());
    let look = move || namespaces.host().ok()?.link_by_name(&name).ok()?;
    let link: Link = blocking(look).await?;
    link.mac.filter(|_| link.up).map(|mac| (link.index, mac))
}
