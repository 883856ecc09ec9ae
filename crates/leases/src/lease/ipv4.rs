//! The machine of IPv4: a DHCP client, and what is heard of those who claim its address.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use landline_dhcp::Instant;
use landline_dhcp::v4::{
    Client, Config, Event, Lease, LossReason, Remembered, StateName, Transmit, Unusable,
};
use landline_dhcp::wire::arp::Packet;
use landline_links::{Task, facts_of};
use landline_model::{AddressRecord, Applied, EndpointRecord, EventKind, LeaseRecord};
use landline_store::StoreError;
use landline_types::{IfName, Mac, chain};
use tokio::sync::watch;

use super::conflict_monitor::Watch;
use super::handle::Supervised;
use super::machine::{Base, Job, Machine, Opener};
use super::pace::Due;
use super::services::Services;
use super::supervisor::Supervisor;
use super::troubles::Troubles;
use crate::addressing::dhcp::wanted;
use crate::endpoint_state::EndpointState;
use crate::meters::{ClientMeter, Family};
use crate::random::OsRandom;
use crate::sockets::{Counted, Dhcp4, Location, Received};

/// What is known of a lease from outside its task.
#[derive(Debug, Clone)]
pub struct Status {
    /// The machine's state.
    pub state: StateName,
    /// The lease, while there is one.
    pub lease: Option<Lease>,
    /// What was wrong with the last answer of a server that could not be used.
    pub unusable: Option<Unusable>,
    /// Whether a server said so since the task started; a remembered lease may be used before.
    pub confirmed: bool,
    /// Refusals since the daemon started.
    pub naks: u32,
    /// Address conflicts since the daemon started.
    pub conflicts: u32,
    /// What has kept addresses from being used.
    pub troubles: Troubles,
}

/// Begins with a first lease over the link, which is there, or with the remembered one again.
pub fn start(
    endpoint: Arc<EndpointState>,
    services: Services,
    config: Config,
    remembered: Option<Remembered>,
    place: Location,
) -> Supervised {
    let begin = |config, now| Client::start(config, remembered, now, OsRandom);
    let (machine, base) = Ipv4::new(endpoint, services, config, place, begin);
    Supervisor::spawn(machine, base)
}

/// Begins with a first lease over the link, which is in its sandbox. The address is not put on the link before that is
/// [allowed](super::handle::Orders::allow).
pub fn start_withheld(
    endpoint: Arc<EndpointState>,
    services: Services,
    config: Config,
    remembered: Option<Remembered>,
    place: Location,
) -> Supervised {
    let begin = |config, now| Client::start(config, remembered, now, OsRandom);
    let (machine, mut base) = Ipv4::new(endpoint, services, config, place, begin);
    base.withheld = true;
    Supervisor::spawn(machine, base)
}

/// Goes on with a lease (or with asking for one) after a restart of the daemon.
pub fn resume(
    endpoint: Arc<EndpointState>,
    services: Services,
    config: Config,
    lease: Option<Lease>,
    place: Location,
) -> Supervised {
    let begin = |config, now| match lease {
        Some(lease) => Client::resume(config, lease, now, OsRandom),
        None => Client::start(config, None, now, OsRandom),
    };
    let (machine, base) = Ipv4::new(endpoint, services, config, place, begin);
    Supervisor::spawn(machine, base)
}

/// Asks for an address that is in use already, of a lease nobody remembers.
pub fn ask_again(
    endpoint: Arc<EndpointState>,
    services: Services,
    config: Config,
    address: Option<Ipv4Addr>,
    place: Location,
) -> Supervised {
    let begin = |config, now| Client::start(config, address.map(Remembered::Address), now, OsRandom);
    let (machine, mut base) = Ipv4::new(endpoint, services, config, place, begin);
    base.undecided = true;
    Supervisor::spawn(machine, base)
}

/// How long the kernel may take from the parent of a link to the link. A genuine claimant announces again after two
/// seconds (RFC 5227 section 1.1).
const ECHO: Duration = Duration::from_secs(1);

struct Ipv4 {
    client: Client<OsRandom>,
    mac: Mac,
    /// Hears who else claims the address while there are no sockets; `None` where that is not to be known, or the parent
    /// hears those of another VLAN.
    watch: Option<Watch>,
    /// A claim that the watch has heard, which may come by once more until then.
    echo: Option<(Packet, Instant)>,
    /// A server has granted or confirmed the lease, and that is stored.
    confirmed: bool,
    /// The address that the container had last.
    last: Option<Ipv4Addr>,
    status: watch::Sender<Status>,
    meter: Arc<ClientMeter>,
}

impl Ipv4 {
    fn new(
        endpoint: Arc<EndpointState>,
        services: Services,
        mut config: Config,
        place: Location,
        begin: impl FnOnce(Config, Instant) -> Client<OsRandom>,
    ) -> (Self, Base) {
        let options = endpoint.options();
        // What others on this host have is declined.
        config.taken = services.book.taken(options, endpoint.id());
        config.shares_mac = facts_of(options.mode).shares_mac();
        let same_lan = options.vlan.is_none() && options.trunks.is_empty();
        let checked = options.conflict_check != landline_options::ConflictCheck::Off;
        let watch = (same_lan && checked).then(|| services.conflict_monitor.at(&options.parent));
        let (mac, client) = (config.mac, begin(config, services.clock.now()));
        let status = watch::Sender::new(Status {
            state: client.state(),
            lease: client.lease().cloned(),
            unusable: None,
            confirmed: false,
            naks: 0,
            conflicts: 0,
            troubles: Troubles::default(),
        });
        let last = client.lease().map(|lease| lease.address);
        let meter = services.meters.client(endpoint.network(), Family::V4, &services.clock);
        let machine = Self { client, mac, watch, echo: None, confirmed: false, last, status, meter };
        (machine, Base::new(endpoint, services, place))
    }

    /// Whether the packet is the claim that was just heard at the parent. A NIC hands what is for all to its macvlan
    /// children in its own time, to sockets too that were opened because of it.
    fn is_echo(&self, packet: &Packet, now: Instant) -> bool {
        self.echo.is_some_and(|(claim, until)| claim == *packet && now < until)
    }

    /// Whether this host sent the packet, or another interface in the endpoint's sandbox. Both answer for addresses that
    /// are not those of the interface they answer on; who on this host has an address is known without asking.
    fn is_ours(&self, base: &Base, packet: &Packet) -> bool {
        // Most are not, and who has sent them need not be looked up.
        self.client.is_about_address(packet) && base.location.is_local(packet.sender_mac)
    }

    /// Another cannot or must not have the address.
    fn troubled(&self, note: impl FnOnce(&mut Troubles)) {
        self.meter.conflict();
        self.status.send_modify(|status| {
            status.conflicts += 1;
            note(&mut status.troubles);
        });
    }
}

/// What was done in a sandbox.
struct Done {
    interface: IfName,
    before: Applied,
    now: Applied,
}

impl Machine for Ipv4 {
    type Client = Client<OsRandom>;
    type Sockets = Box<dyn Dhcp4>;
    type Received = Received;
    type Overheard = Packet;
    type Status = Status;
    type Applied = Done;

    const OWN_V6: bool = false;
    const WAITING: usize = 2;

    fn client(&mut self) -> &mut Client<OsRandom> {
        &mut self.client
    }

    fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    fn told(record: &EndpointRecord) -> Option<IpAddr> {
        record.applied.address.map(|net| net.addr().into())
    }

    fn opener(&self) -> Opener<Self::Sockets> {
        let meter = self.meter.clone();
        Box::new(move |sockets, place, mark| Ok(Box::new(Counted::new(sockets.dhcp4(place, mark)?, meter))))
    }

    fn send(sockets: &mut Self::Sockets, transmit: &Transmit) -> io::Result<()> {
        sockets.send(transmit)
    }

    /// A server's answer to what is sent before the move would arrive at a silent link.
    fn waits(transmit: &Transmit, open: bool) -> bool {
        !open || matches!(transmit, Transmit::Dhcp { .. })
    }

    async fn receive(sockets: &Self::Sockets) -> io::Result<Received> {
        sockets.receive().await
    }

    fn received(&mut self, base: &Base, received: Received) {
        let now = base.now();
        match received {
            Received::Datagram { from, payload } => self.client.handle_datagram(now, from, &payload),
            Received::Arp(heard) if self.is_echo(&heard.packet, now) || self.is_ours(base, &heard.packet) => {
            }
            Received::Arp(heard) => self.client.handle_arp(now, heard),
        }
    }

    async fn overhear(&mut self, _sandbox: Option<&PathBuf>) -> Packet {
        match &mut self.watch {
            Some(watch) => watch.next().await,
            None => std::future::pending().await,
        }
    }

    fn overheard(&mut self, base: &Base, claim: Packet, open: bool) -> bool {
        if !open && !self.is_ours(base, &claim) {
            self.echo = Some((claim, base.now() + ECHO));
            self.client.handle_arp(base.now(), claim);
        }
        false
    }

    fn event(&mut self, base: &mut Base, event: Event) -> bool {
        match event {
            Event::Bound(lease) => {
                if base.may_log() {
                    let (address, server) = (lease.address, lease.server);
                    tracing::info!(endpoint = base.endpoint(), %address, %server, "lease");
                }
                let kind = match self.last.replace(lease.address) {
                    Some(last) if last != lease.address => EventKind::LeaseChanged,
                    Some(_) if self.status.borrow().lease.is_some() => EventKind::LeaseRenewed,
                    Some(_) | None => EventKind::LeaseAcquired,
                };
                let from = format!("from {}", lease.server);
                base.happened(kind, |event| event.address(lease.address).because(from));
                self.confirmed = true;
                return true;
            }
            Event::Renewed(lease) => {
                tracing::debug!(endpoint = base.endpoint(), address = %lease.address, server = %lease.server, "lease renewed");
                let from = format!("from {}", lease.server);
                base.happened(EventKind::LeaseRenewed, |event| event.address(lease.address).because(from));
                self.status.send_modify(|status| status.troubles.clear());
                base.pace.want(Due::SetUp);
            }
            Event::Lost { address, reason } => {
                if base.may_log() {
                    tracing::warn!(endpoint = base.endpoint(), %address, %reason, "the address is lost and taken away");
                }
                base.happened(EventKind::LeaseLost, |event| {
                    event.address(address).because(reason.to_string())
                });
                if reason == LossReason::Nak {
                    self.status.send_modify(|status| status.naks += 1);
                }
                return true;
            }
            Event::Conflict { address, by } => {
                self.troubled(|troubles| troubles.contest(address, by));
                base.happened(EventKind::Conflict, |event| {
                    event.address(address).because(format!("{by} has it"))
                });
                if base.may_log() {
                    let mac = self.mac;
                    tracing::info!(endpoint = base.endpoint(), %address, %by, %mac, "another host uses the address");
                }
            }
            Event::Refused { address, server } => {
                let Some(why) = base.refusal(address.into()) else { return false };
                if base.may_log() {
                    tracing::warn!(endpoint = base.endpoint(), %address, %server, %why, "the server's address is declined");
                }
                let from = format!("from {server}: {why}");
                base.happened(EventKind::AddressRefused, |event| event.address(address).because(from));
                self.troubled(|troubles| troubles.refuse(Some(server), why));
            }
        }
        false
    }

    async fn remember(&mut self, base: &mut Base) {
        let services = &base.location.services;
        let lease =
            self.client.lease().map(|lease| LeaseRecord::of(lease, &services.boot, services.clock.both()));
        let written = base.location.endpoint.update(|record| {
            if let AddressRecord::Dhcp(dhcp) = &mut record.address {
                dhcp.lease = lease;
            }
        });
        if let Err(error) = written.await {
            // The lease itself is good; only a restart of the daemon would miss it.
            tracing::error!(error = %chain(&error), "a lease could not be stored");
        }
    }

    async fn job(&mut self, base: &mut Base) -> Option<Job<Done>> {
        let record = base.location.endpoint.read().await;
        let lease = self.client.lease();
        let setting_up = base.is_setting_up();
        // The address that is there may be the one Docker was told.
        let leased = lease.map(|lease| lease.address);
        if setting_up && record.applied.address.is_some_and(|net| leased != Some(net.addr())) {
            base.deferred = true;
            return None;
        }
        let target = lease.map(|lease| wanted(lease, base.location.endpoint.options(), &record));
        let shared = landline_links::mark::is_implicit(&record.network);
        Some(Box::new(move |sandbox| {
            let (before, mut now) = (record.applied.clone(), record.applied);
            let task = Task { wanted: target.as_ref(), setting_up, shared };
            let interface = sandbox.link().name.clone();
            let done = sandbox.configure(task, &mut now);
            (Done { interface, before, now }, done)
        }))
    }

    async fn applied(&mut self, base: &mut Base, done: Done) -> Result<(), StoreError> {
        let new = done.now.dropped.iter().filter(|dropped| !done.before.dropped.contains(dropped));
        for dropped in new {
            // A server may name others each time.
            if !base.may_log() {
                break;
            }
            tracing::warn!(endpoint = base.endpoint(), route = %dropped, "a route is left out");
        }
        let change = |record: &mut EndpointRecord| {
            record.interface = Some(done.interface);
            record.applied = done.now;
        };
        base.location.endpoint.update(change).await
    }

    async fn release(&mut self, base: &mut Base, sockets: &mut Option<Self::Sockets>) {
        let lease = self.client.lease().cloned();
        self.client.release(base.now());
        if sockets.is_none() {
            *sockets = base.location.open(self.opener()).await;
        }
        let Some(sockets) = sockets else { return };
        sockets.send_release(&mut self.client, self.mac, lease.as_ref()).await;
    }

    fn publish(&mut self) -> bool {
        let (state, lease, confirmed) = (self.client.state(), self.client.lease(), self.confirmed);
        let unusable = self.client.unusable();
        if let Some(watch) = &mut self.watch {
            watch.watch(lease.map(|lease| (lease.address, self.mac)));
        }
        self.status.send_if_modified(|status| {
            status.unusable = unusable;
            let changed =
                status.state != state || status.lease.as_ref() != lease || status.confirmed != confirmed;
            if changed {
                (status.confirmed, status.state, status.lease) = (confirmed, state, lease.cloned());
            }
            changed
        })
    }
}
