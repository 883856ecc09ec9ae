//! The task that owns one endpoint's DHCP machine.
//!
//! It sleeps without sockets until the machine's next deadline, opens them where the link is (host or sandbox)
//! while an exchange or a conflict check runs, writes every lease into the store before it counts, and keeps
//! the sandbox's address and routes in step with the lease.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use landline_dhcp::Instant;
use landline_dhcp::v4::{
    Client, Config, Event, Lease, LossReason, Remembered, StateName, Transmit, Unusable,
};
use landline_dhcp::wire::arp::Packet;
use landline_kernel::boottime::{self, Alarm};
use landline_links::{LinkTable, Sandbox, SandboxError, Task, facts_of};
use landline_model::{AddressRecord, EndpointRecord, LeaseRecord};
use landline_types::{Mac, chain};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::conflict_monitor::{ConflictMonitor, Watch};
use super::handle::{Command, Supervised};
use super::link_location::LinkLocation;
use super::pace::{Due, Pace, Quota, Spaced};
use super::sandbox_move::MoveOutcome;
use super::sockets::{DhcpSockets, Location, Received};
use super::troubles::Troubles;
use crate::addressing::book::AddressBook;
use crate::addressing::dhcp::wanted;
use crate::clock;
use crate::endpoint_state::EndpointState;
use crate::ipv6::{Company, RaListeners};
use crate::random::OsRandom;

/// What every supervisor shares.
#[derive(Clone)]
pub struct Services {
    /// The timers.
    pub alarm: Alarm,
    /// The host's links.
    pub present: LinkTable,
    /// Who has which address.
    pub book: AddressBook,
    /// What routers say unasked.
    pub ra_listeners: RaListeners,
    /// The links of one container, which look again together.
    pub company: Company,
    /// Who else claims the containers' addresses.
    pub conflict_monitor: ConflictMonitor,
    /// Which boot this is.
    pub boot: Arc<str>,
    /// The daemon stops.
    pub cancel: CancellationToken,
}

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

/// A supervisor that has not started.
pub struct Supervisor {
    client: Client<OsRandom>,
    seat: LinkLocation,
    wire: Option<DhcpSockets>,
    /// Hears who else claims the address while there are no sockets; `None` where that is not to be known, or the parent
    /// hears those of another VLAN.
    watch: Option<Watch>,
    /// A claim that the watch has heard, which may come by once more until then.
    echo: Option<(Packet, Duration)>,
    mac: Mac,
    outbox: VecDeque<Transmit>,
    /// The sandbox has an address of which no server has said anything yet: it stays.
    undecided: bool,
    /// A server has granted or confirmed the lease, and that is stored.
    confirmed: bool,
    /// Until when Docker may still be setting the sandbox up with the address that it was told.
    told_until: Option<Duration>,
    /// What Docker was told is to be changed once that is over.
    deferred: bool,
    /// Renewals that are stored and set up once in a while.
    pace: Pace,
    /// The name the server is to learn.
    names: Spaced<Option<String>>,
    /// How much is logged of what others do.
    quota: Quota,
    status: watch::Sender<Status>,
}

/// How long Docker may take from putting an address on a link to setting the gateway, which fails without the address;
/// and the start with it. An address that another host has turned out to have stays that long.
pub(crate) const SET_UP: Duration = Duration::from_secs(2);

/// How long the kernel may take from the parent of a link to the link. Who insists says it again after two seconds (RFC 5227
/// section 1.1).
const ECHO: Duration = Duration::from_secs(1);

/// Whether the address that is in the sandbox, which may be the one Docker was told, is no longer the lease's.
async fn replaces(cell: &EndpointState, leased: Option<Ipv4Addr>) -> bool {
    let applied = cell.read().await.applied.address;
    applied.is_some_and(|net| leased != Some(net.addr()))
}

/// The configuration of a client that declines what others on this host have.
fn guarded(mut config: Config, cell: &EndpointState, services: &Services) -> Config {
    config.taken = services.book.taken(cell.options(), cell.id());
    config.shares_mac = facts_of(cell.options().mode).shares_mac();
    config
}

fn now() -> Instant {
    Instant::from_boot(boottime::now())
}

impl Supervisor {
    /// A first lease over the link with this index on the host, or the remembered one again.
    pub fn start(
        cell: Arc<EndpointState>,
        services: Services,
        config: Config,
        remembered: Option<Remembered>,
        index: u32,
    ) -> Supervised {
        let config = guarded(config, &cell, &services);
        let (mac, client) = (config.mac, Client::start(config, remembered, now(), OsRandom));
        Self::new(cell, services, mac, client, Location::Host(index)).spawn()
    }

    /// Goes on with a lease (or with asking for one) after a restart of the daemon.
    pub fn resume(
        cell: Arc<EndpointState>,
        services: Services,
        config: Config,
        lease: Option<Lease>,
        place: Location,
    ) -> Supervised {
        let config = guarded(config, &cell, &services);
        let mac = config.mac;
        let client = match lease {
            Some(lease) => Client::resume(config, lease, now(), OsRandom),
            None => Client::start(config, None, now(), OsRandom),
        };
        Self::new(cell, services, mac, client, place).spawn()
    }

    /// Asks for an address that is in use already, of a lease nobody remembers.
    pub fn ask_again(
        cell: Arc<EndpointState>,
        services: Services,
        config: Config,
        address: Option<Ipv4Addr>,
        place: Location,
    ) -> Supervised {
        let config = guarded(config, &cell, &services);
        let mac = config.mac;
        let client = Client::start(config, address.map(Remembered::Address), now(), OsRandom);
        let mut supervisor = Self::new(cell, services, mac, client, place);
        supervisor.undecided = true;
        supervisor.spawn()
    }

    fn new(
        cell: Arc<EndpointState>,
        services: Services,
        mac: Mac,
        client: Client<OsRandom>,
        place: Location,
    ) -> Self {
        let lease = client.lease().cloned();
        let first = Status {
            state: client.state(),
            lease,
            unusable: None,
            confirmed: false,
            naks: 0,
            conflicts: 0,
            troubles: Troubles::default(),
        };
        let options = cell.options();
        let same_lan = options.vlan.is_none() && options.trunks.is_empty();
        let heeded = options.conflict_check != landline_spec::ConflictCheck::Off;
        Self {
            watch: (same_lan && heeded).then(|| services.conflict_monitor.at(&options.parent)),
            echo: None,
            mac,
            client,
            seat: LinkLocation::new(cell, services, place),
            wire: None,
            outbox: VecDeque::new(),
            undecided: false,
            confirmed: false,
            told_until: None,
            deferred: false,
            pace: Pace::default(),
            names: Spaced::default(),
            quota: Quota::default(),
            status: watch::Sender::new(first),
        }
    }

    fn spawn(self) -> Supervised {
        let status = self.status.subscribe();
        Supervised::spawn(status, |inbox| self.run(inbox))
    }

    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        let mut dhcp = vec![0; 2048];
        let mut arp = [0; 128];
        if self.seat.sandbox.is_some() && !self.undecided {
            // The daemon was away: the sandbox may have missed a change.
            self.configure().await;
        }
        loop {
            self.settle().await;
            let deadlines =
                [self.client.poll_timeout().map(Instant::since_boot), self.pace.next(), self.names.next()];
            let deadline = deadlines.into_iter().flatten().min();
            tokio::select! {
                biased;
                command = inbox.recv() => match command {
                    Some(Command::Stop { release, done }) => {
                        if self.pace.take_early().is_some() {
                            self.remember(self.client.lease().cloned().as_ref()).await;
                        }
                        if release {
                            self.release().await;
                        }
                        self.wire = None;
                        let _ = done.send(());
                        return;
                    }
                    Some(Command::Release) => {
                        self.release().await;
                        self.remember(None).await;
                        self.configure().await;
                    }
                    Some(Command::Reconnected) => {
                        self.client.restart(now());
                        // What carried the address may be a new link.
                        self.configure().await;
                    }
                    Some(command) => self.command(command).await,
                    None => return,
                },
                arrival = maybe(self.seat.motion.as_mut()) => {
                    self.arrived(arrival).await;
                }
                received = receive(self.wire.as_ref(), &mut dhcp, &mut arp) => match received {
                    Ok(Received::Datagram { from, payload }) => self.client.handle_datagram(now(), from, payload),
                    Ok(Received::Arp(heard)) if self.is_echo(&heard.packet) || self.is_ours(&heard.packet) => {}
                    Ok(Received::Arp(heard)) => self.client.handle_arp(now(), heard),
                    Err(error) => {
                        // The link went down or moved away under the socket.
                        tracing::debug!(%error, endpoint = %self.seat.cell.id().short(), "sockets lost");
                        self.wire = None;
                        self.seat.unopened = true;
                    }
                },
                claim = claimed(self.watch.as_mut()) => {
                    // Sockets of its own have heard it, too.
                    if self.wire.is_none() && !self.is_ours(&claim) {
                        self.echo = Some((claim, boottime::now() + ECHO));
                        self.client.handle_arp(now(), claim);
                    }
                }
                () = sleep(&self.seat.services.alarm, self.told_until.filter(|_| self.deferred)) => {
                    (self.told_until, self.deferred) = (None, false);
                    self.configure().await;
                }
                () = sleep(&self.seat.services.alarm, deadline) => {
                    if self.client.poll_timeout().is_some_and(|due| due <= now()) {
                        self.seat.unopened = false;
                        self.client.handle_timeout(now());
                    }
                }
            }
        }
    }

    /// Whether the packet is the claim that was just heard at the parent. A NIC hands what is for all to its macvlan
    /// children in its own time, to sockets too that were opened because of it.
    fn is_echo(&self, packet: &Packet) -> bool {
        self.echo.is_some_and(|(claim, until)| claim == *packet && boottime::now() < until)
    }

    /// Whether this host sent the packet, or another interface in the endpoint's sandbox. Both answer for addresses that
    /// are not those of the interface they answer on; who on this host has an address is known without asking.
    fn is_ours(&self, packet: &Packet) -> bool {
        // Most are not, and who has sent them need not be looked up.
        self.client.is_about_address(packet) && self.seat.is_local(packet.sender_mac)
    }

    /// Gives the address back; returns when the message has left the link.
    async fn release(&mut self) {
        let mac = self.seat.cell.read().await.mac;
        let lease = self.client.lease().cloned();
        self.client.release(now());
        if self.wire.is_none() {
            self.open().await;
        }
        let Some(wire) = &mut self.wire else { return };
        wire.send_release(&mut self.client, mac, lease.as_ref()).await;
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Joined { index, sandbox } => {
                // What Docker was told, whatever has become of the lease.
                let told = self.seat.cell.read().await.applied.address;
                self.seat.joined(index, sandbox, told.map(|net| net.addr().into()), false);
            }
            Command::Left => {
                self.wire = None;
                self.seat.left();
            }
            Command::Hostname(name) => self.names.want(name),
            // It was given back, and is wanted again.
            Command::Renew if self.client.state() == StateName::Stopped => self.client.restart(now()),
            Command::Renew => self.client.renew(now()),
            Command::LinkUp => self.client.link_up(now()),
            Command::Recheck => self.client.recheck(now()),
            Command::Release | Command::Reconnected | Command::Stop { .. } => {}
        }
    }

    async fn arrived(&mut self, arrival: MoveOutcome) {
        self.wire = None;
        if arrival == MoveOutcome::Late {
            tracing::warn!(endpoint = %self.seat.cell.id().short(), "the link was moved but not set up in time");
        }
        if self.seat.arrived(arrival) {
            self.told_until = Some(boottime::now() + SET_UP);
            self.configure().await;
        }
    }

    /// Does everything the machine wants done now.
    async fn settle(&mut self) {
        if let Some(name) = self.names.take(boottime::now()) {
            self.client.set_hostname(now(), name);
        }
        loop {
            let mut quiet = true;
            while let Some(event) = self.client.poll_event() {
                quiet = false;
                self.event(event).await;
            }
            while let Some(transmit) = self.client.poll_transmit() {
                quiet = false;
                self.outbox.push_back(transmit);
            }
            if quiet {
                break;
            }
        }
        self.keep().await;
        self.publish();
        self.transmit().await;
        if let Some(watch) = &mut self.watch {
            watch.watch(self.client.lease().map(|lease| (lease.address, self.mac)));
        }
    }

    /// Stores the lease as it was renewed, and sets the sandbox up, if that is due.
    async fn keep(&mut self) {
        if self.pace.next().is_some() && self.pace.take(boottime::now()).is_some() {
            self.remember(self.client.lease().cloned().as_ref()).await;
            self.configure().await;
        }
    }

    async fn transmit(&mut self) {
        if !self.client.wants_socket() && self.outbox.is_empty() {
            self.wire = None;
            return;
        }
        let moving = self.seat.motion.is_some();
        // Between leaving the host and being set up in the sandbox nothing can be sent: messages wait, the newest
        // overtaking older ones, and probes are repeated by the machine.
        if moving && self.wire.is_none() {
            let newest = self.outbox.drain(..).rfind(|waiting| matches!(waiting, Transmit::Dhcp { .. }));
            self.outbox.extend(newest);
            return;
        }
        if self.wire.is_none() && !self.seat.unopened {
            self.open().await;
        }
        let Some(wire) = &mut self.wire else {
            self.outbox.clear();
            return;
        };
        for transmit in std::mem::take(&mut self.outbox) {
            // An answer to what is sent before the move would arrive at a silent link: it waits as well.
            if moving && matches!(transmit, Transmit::Dhcp { .. }) {
                self.outbox.push_back(transmit);
            } else if let Err(error) = wire.send(&transmit) {
                tracing::debug!(%error, endpoint = %self.seat.cell.id().short(), "not sent");
            }
        }
        if !self.client.wants_socket() {
            self.wire = None;
        }
    }

    async fn open(&mut self) {
        self.wire = self.seat.open(DhcpSockets::open).await;
    }

    async fn event(&mut self, event: Event) {
        let endpoint = self.seat.cell.id().short().to_owned();
        match event {
            Event::Bound(lease) => {
                if self.quota.take(boottime::now(), &endpoint) {
                    let (address, server) = (lease.address, lease.server);
                    tracing::info!(endpoint, %address, %server, "lease");
                }
                self.remember(Some(&lease)).await;
                self.configure().await;
                self.confirmed = true;
            }
            Event::Renewed(lease) => {
                tracing::debug!(endpoint, address = %lease.address, server = %lease.server, "lease renewed");
                self.status.send_modify(|s| s.troubles.clear());
                self.pace.want(Due::SetUp);
            }
            Event::Lost { address, reason } => {
                if self.quota.take(boottime::now(), &endpoint) {
                    tracing::warn!(endpoint, %address, %reason, "the address is lost and taken away");
                }
                if reason == LossReason::Nak {
                    self.status.send_modify(|s| s.naks += 1);
                }
                self.remember(None).await;
                self.configure().await;
            }
            Event::Conflict { address, by } => {
                self.status.send_modify(|s| {
                    s.conflicts += 1;
                    s.troubles.contest(address, by);
                });
                if self.quota.take(boottime::now(), &endpoint) {
                    let mac = self.mac;
                    tracing::info!(endpoint, %address, %by, %mac, "another host uses the address");
                }
            }
            Event::Refused { address, server } => {
                let cell = &self.seat.cell;
                let judged = self.seat.services.book.permit_endpoint(
                    IpAddr::from(address).into(),
                    cell.options(),
                    cell.id(),
                );
                // Whoever had it may have gone since.
                let Err(why) = judged else { return };
                if self.quota.take(boottime::now(), &endpoint) {
                    tracing::warn!(endpoint, %address, %server, %why, "the server's address is declined");
                }
                self.status.send_modify(|s| {
                    s.conflicts += 1;
                    s.troubles.refuse(Some(server), why);
                });
            }
        }
    }

    async fn remember(&mut self, lease: Option<&Lease>) {
        let lease = lease.map(|lease| LeaseRecord::of(lease, &self.seat.services.boot, clock::now()));
        let written = self.seat.cell.update(|record| {
            if let AddressRecord::Dhcp(dhcp) = &mut record.address {
                dhcp.lease = lease;
            }
        });
        if let Err(error) = written.await {
            // The lease itself is good; only a restart of the daemon would miss it.
            tracing::error!(error = %chain(&error), "a lease could not be stored");
        }
    }

    /// Brings the sandbox's address and routes in line with the lease. Before the link has arrived there is
    /// nothing to do: Docker configures what it was told, and arriving looks again.
    async fn configure(&mut self) {
        let Some(Location::Sandbox(path)) = self.seat.place.clone() else { return };
        if self.told_until.is_some_and(|until| boottime::now() < until)
            && replaces(&self.seat.cell, self.client.lease().map(|lease| lease.address)).await
        {
            self.deferred = true;
            return;
        }
        let record = self.seat.cell.read().await;
        let target = self.client.lease().map(|lease| wanted(lease, self.seat.cell.options(), &record));
        let setting_up = self.told_until.is_some_and(|until| boottime::now() < until);
        let shared = landline_links::mark::is_implicit(&record.network);
        let (mark, mut now) = (self.seat.mark.clone(), record.applied.clone());
        let done = landline_links::blocking(move || {
            let Some(mut sandbox) = Sandbox::enter(&path, &mark)? else { return Ok(None) };
            let name = sandbox.link.name.clone();
            let task = Task { wanted: target.as_ref(), setting_up, shared };
            let done = sandbox.configure(task, &mut now);
            Ok(Some((name, now, done)))
        });
        let endpoint = self.seat.cell.id().short().to_owned();
        match done.await {
            Ok(Some((name, now, done))) => {
                for dropped in now.dropped.iter().filter(|dropped| !record.applied.dropped.contains(dropped))
                {
                    tracing::warn!(endpoint, route = %dropped, "a route is left out");
                }
                // What was done counts, even where something failed after it.
                match done {
                    Ok(again) => {
                        self.deferred |= again;
                        self.pace.succeeded();
                    }
                    Err(error) => {
                        tracing::error!(endpoint, error = %chain(&error), "sandbox not configured");
                        self.pace.failed(boottime::now());
                    }
                }
                let change = |record: &mut EndpointRecord| {
                    record.interface = Some(name);
                    record.applied = now;
                };
                if let Err(error) = self.seat.cell.update(change).await {
                    tracing::error!(error = %chain(&error), "a change of a sandbox could not be stored");
                }
                self.seat.cell.was_set_up();
            }
            Ok(None) => self.pace.succeeded(),
            Err::<_, SandboxError>(error) => {
                tracing::error!(endpoint, error = %chain(&error), "sandbox not configured");
                self.pace.failed(boottime::now());
            }
        }
    }

    fn publish(&self) {
        let (state, lease) = (self.client.state(), self.client.lease());
        let unusable = self.client.unusable();
        let published = self.status.send_if_modified(|status| {
            status.unusable = unusable;
            let changed =
                status.state != state || status.lease.as_ref() != lease || status.confirmed != self.confirmed;
            if changed {
                status.confirmed = self.confirmed;
                status.state = state;
                status.lease = lease.cloned();
            }
            changed
        });
        if published {
            self.seat.cell.names_changed();
        }
    }
}

pub(crate) async fn maybe<F: Future + Unpin>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Waits until then (`CLOCK_BOOTTIME`); `None`: for ever.
pub async fn sleep(alarm: &Alarm, deadline: Option<Duration>) {
    match deadline {
        Some(deadline) => alarm.sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn claimed(watch: Option<&mut Watch>) -> Packet {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for the next packet, if there are sockets. Cancel-safe.
pub async fn receive<'a>(
    wire: Option<&DhcpSockets>,
    dhcp: &'a mut [u8],
    arp: &'a mut [u8],
) -> io::Result<Received<'a>> {
    match wire {
        Some(wire) => wire.receive(dhcp, arp).await,
        None => std::future::pending().await,
    }
}
