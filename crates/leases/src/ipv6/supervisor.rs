//! The task that owns one endpoint's IPv6 machine.
//!
//! As the one for IPv4 it sleeps without a socket until the machine's next deadline, and stores what the machine says
//! before it counts. The machine's state is the whole of what the link is to carry; there is nothing to add to it here.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use landline_dhcp::Instant;
use landline_dhcp::v6::{Client, Config, Event, Remembered, State6, StateName, Transmit};
use landline_kernel::boottime;
use landline_links::{ParentIs, Sandbox, SandboxError, Task6, addresses_v6, facts_of};
use landline_model::{EndpointRecord, Ipv6Record, StateRecord};
use landline_types::chain;
use tokio::sync::{mpsc, watch};

use super::company::Gossip;
use super::ra_listeners::{Advertisement, Listener};
use super::socket::{Heard, Icmp6Socket, now};
use crate::clock;
use crate::endpoint_state::EndpointState;
use crate::lease::{
    Command, Due, LinkLocation, Location, MoveOutcome, Pace, Quota, SET_UP, Services, Spaced, Supervised,
    Troubles, maybe, sleep,
};
use crate::random::OsRandom;

/// The most addresses that may be on a link as far as is stored; more than this many are not there at once.
const MOST_APPLIED: usize = 64;

/// The most messages that wait for a socket; the machine repeats what is lost.
const OUTBOX: usize = 8;

/// What is known of IPv6 from outside its task.
#[derive(Debug, Clone)]
pub struct Status6 {
    /// What the machine does about `DHCPv6`.
    pub state: StateName,
    /// What the link is to carry; it is stored.
    pub current: State6,
    /// Whether nothing more is to be expected soon.
    pub settled: bool,
    /// Address conflicts since the daemon started.
    pub conflicts: u32,
    /// What went wrong since there was an address.
    pub troubles: Troubles,
}

impl Status6 {
    /// Whether there is an address that others than neighbours can reach.
    pub fn has_address(&self) -> bool {
        !self.current.addresses.is_empty()
    }
}

/// A supervisor that has not started.
pub struct Supervisor6 {
    client: Client<OsRandom>,
    seat: LinkLocation,
    wire: Option<Icmp6Socket>,
    /// What routers say to all; `None` where the parent hears those of another VLAN.
    routers: Option<Listener>,
    outbox: VecDeque<Transmit>,
    /// What is stored and set up once in a while.
    pace: Pace,
    /// The name the server is to learn.
    names: Spaced<Option<String>>,
    /// How much is logged of what others do.
    quota: Quota,
    /// The state that was stored last.
    kept: State6,
    /// The sandbox has addresses of which nobody has said anything yet: they stay until there are some.
    undecided: bool,
    /// Until when Docker may still be setting the sandbox up and choosing a default route.
    told_until: Option<Duration>,
    /// The routes are to be looked at again once that is over.
    deferred: bool,
    /// The container's other links.
    company: Gossip,
    status: watch::Sender<Status6>,
}

impl Supervisor6 {
    /// First addresses over the link with this index on the host, or the remembered ones again.
    pub fn start(
        cell: Arc<EndpointState>,
        services: Services,
        config: Config,
        before: Option<Remembered>,
        index: u32,
    ) -> Supervised<Status6> {
        let config = guarded(config, &cell, &services);
        let client = Client::start(config, before, now(), OsRandom);
        let remembered = !client.current().addresses.is_empty();
        let mut supervised = Self::new(cell, services, client, Location::Host(index)).spawn();
        supervised.remembered = remembered;
        supervised
    }

    /// Goes on with a state after a restart of the daemon.
    pub fn resume(
        cell: Arc<EndpointState>,
        services: Services,
        config: Config,
        state: Option<&StateRecord>,
        place: Location,
    ) -> Supervised<Status6> {
        let config = guarded(config, &cell, &services);
        let client = match state.map(|record| (record, record.restore(&services.boot))) {
            Some((_, Some(state))) => Client::resume(config, state, now(), OsRandom),
            Some((record, None)) => {
                let remembered = record.remembered(&services.boot, clock::now());
                Client::start(config, Some(remembered), now(), OsRandom)
            }
            None => Client::start(config, None, now(), OsRandom),
        };
        Self::new(cell, services, client, place).spawn()
    }

    /// Asks for addresses that are in use already, of a state nobody remembers.
    pub fn ask_again(
        cell: Arc<EndpointState>,
        services: Services,
        config: Config,
        addresses: Vec<Ipv6Addr>,
        place: Location,
    ) -> Supervised<Status6> {
        let config = guarded(config, &cell, &services);
        let client = Client::start(config, Some(Remembered::Addresses(addresses)), now(), OsRandom);
        let mut supervisor = Self::new(cell, services, client, place);
        supervisor.undecided = true;
        supervisor.spawn()
    }

    fn new(cell: Arc<EndpointState>, services: Services, client: Client<OsRandom>, place: Location) -> Self {
        let first = Status6 {
            state: client.state(),
            current: client.current().clone(),
            settled: false,
            conflicts: 0,
            troubles: Troubles::default(),
        };
        let options = cell.options();
        let same_lan = options.vlan.is_none() && options.trunks.is_empty();
        let routers = same_lan.then(|| services.ra_listeners.listen(&options.parent));
        Self {
            routers,
            client,
            company: services.company.listen(),
            seat: LinkLocation::new(cell, services, place),
            wire: None,
            outbox: VecDeque::new(),
            pace: Pace::default(),
            names: Spaced::default(),
            quota: Quota::default(),
            kept: first.current.clone(),
            undecided: false,
            told_until: None,
            deferred: false,
            status: watch::Sender::new(first),
        }
    }

    fn spawn(self) -> Supervised<Status6> {
        let status = self.status.subscribe();
        Supervised::spawn(status, |inbox| self.run(inbox))
    }

    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        // The daemon was away: the sandbox may have missed a change.
        self.configure().await;
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
                            self.remember().await;
                        }
                        if release {
                            self.release().await;
                        }
                        self.wire = None;
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.command(command).await,
                    None => return,
                },
                arrival = maybe(self.seat.motion.as_mut()) => {
                    self.arrived(arrival).await;
                }
                received = receive(self.wire.as_ref(), self.routers.is_some()) => match received {
                    Ok(heard) if self.is_ours(&heard) => {}
                    Ok(heard) => self.client.handle_packet(now(), heard.frame_source, &heard.packet, heard.check),
                    Err(error) => {
                        // The link went down or moved away under the socket.
                        tracing::debug!(%error, endpoint = %self.seat.cell.id().short(), "IPv6 socket lost");
                        self.wire = None;
                        self.seat.unopened = true;
                    }
                },
                said = unasked(self.routers.as_mut()) => {
                    // What this host says goes to its own bridge, and not to the children of its NIC.
                    let child = facts_of(self.seat.cell.options().mode).parent == ParentIs::Nic;
                    if !(said.own && child) {
                        self.client.handle_packet(now(), said.frame_source, &said.packet, said.check);
                    }
                }
                () = sleep(&self.seat.services.alarm, self.told_until.filter(|_| self.deferred)) => {
                    (self.told_until, self.deferred) = (None, false);
                    self.configure().await;
                    if let Some(sandbox) = &self.seat.sandbox {
                        self.seat.services.company.settled(sandbox);
                    }
                }
                () = self.company.about(self.seat.sandbox.as_ref()) => self.configure().await,
                () = sleep(&self.seat.services.alarm, deadline) => {
                    if self.client.poll_timeout().is_some_and(|due| due <= now()) {
                        self.seat.unopened = false;
                        self.client.handle_timeout(now());
                    }
                }
            }
        }
    }

    /// Whether this host says in the packet that it has an address of the endpoint, or another interface in the endpoint's
    /// sandbox does. They may answer for addresses of others; who on this host has an address is known without asking.
    /// Link-local addresses are not: the neighbours decide about those.
    fn is_ours(&self, heard: &Heard) -> bool {
        let claimed = self.client.claimed(heard.frame_source, &heard.packet);
        claimed.is_some_and(|address| !address.is_unicast_link_local())
            && self.seat.is_local(heard.frame_source)
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Joined { index, sandbox } => {
                let record = self.seat.cell.read().await;
                // Nobody but Docker puts the address there that is told, and it does not set up attachments.
                let told = record
                    .ipv6
                    .and_then(|ipv6| ipv6.told)
                    .filter(|_| !landline_links::mark::is_implicit(&record.network));
                self.seat.joined(index, sandbox, told.map(|net| net.addr().into()), true);
            }
            Command::Left => {
                self.wire = None;
                self.seat.left();
            }
            Command::Hostname(name) => self.names.want(name),
            // Given back, and wanted again.
            Command::Renew if self.client.state() == StateName::Stopped => self.client.restart(now()),
            Command::Renew => self.client.renew(now()),
            Command::LinkUp => self.client.link_up(now()),
            Command::Recheck => self.client.recheck(now()),
            Command::Release => {
                self.release().await;
                self.remember().await;
                self.configure().await;
            }
            Command::Reconnected => {
                self.client.restart(now());
                // What carried the addresses may be a new link.
                self.configure().await;
            }
            Command::Stop { .. } => {}
        }
    }

    async fn arrived(&mut self, arrival: MoveOutcome) {
        self.wire = None;
        if self.seat.arrived(arrival) {
            self.told_until = Some(boottime::now() + SET_UP);
            self.configure().await;
        }
    }

    /// Gives leased addresses back; returns when the server has heard it, or had time to.
    async fn release(&mut self) {
        self.client.release(now());
        if self.client.wants_dhcp() && self.wire.is_none() {
            self.open().await;
        }
        if let Some(wire) = &self.wire {
            wire.send_release(&mut self.client, &self.seat.services.alarm).await;
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
    }

    /// Stores the state, and sets the link up, if that is due. Before the endpoint is stored nothing is on disk or in a
    /// sandbox, and its start waits for the addresses: then all of it is done at once.
    async fn keep(&mut self) {
        if self.pace.next().is_none() {
            return;
        }
        let stored = self.seat.cell.is_stored().await;
        let due = if stored { self.pace.take(now().since_boot()) } else { self.pace.take_early() };
        let Some(due) = due else { return };
        self.remember().await;
        if due == Due::SetUp {
            let state = &self.kept;
            let addresses: Vec<String> = state.addresses.iter().map(|a| a.net.to_string()).collect();
            let endpoint = self.seat.cell.id().short();
            tracing::info!(endpoint, ?addresses, routers = state.routers.len(), "IPv6");
            self.configure().await;
        }
    }

    async fn transmit(&mut self) {
        if self.client.wants_socket() || !self.outbox.is_empty() {
            // Between leaving the host and being set up in the sandbox nothing can be sent.
            let moving = self.seat.motion.is_some();
            if self.wire.is_none() && !self.seat.unopened && !moving {
                self.open().await;
            }
            match &self.wire {
                Some(wire) => {
                    for transmit in self.outbox.drain(..) {
                        if let Err(error) = wire.send(&transmit) {
                            tracing::debug!(%error, endpoint = %self.seat.cell.id().short(), "not sent");
                        }
                    }
                }
                None if moving => {
                    self.outbox.retain(|transmit| matches!(transmit, Transmit::Dhcp { .. }));
                    let excess = self.outbox.len().saturating_sub(OUTBOX);
                    self.outbox.drain(..excess);
                }
                None => self.outbox.clear(),
            }
        }
        if !self.client.wants_socket() {
            self.wire = None;
        }
    }

    async fn open(&mut self) {
        self.wire = self.seat.open(Icmp6Socket::open).await;
    }

    async fn event(&mut self, event: Event) {
        let endpoint = self.seat.cell.id().short().to_owned();
        match event {
            Event::Changed(state) => {
                self.undecided &= state.addresses.is_empty();
                if !state.addresses.is_empty() {
                    self.status.send_modify(|s| s.troubles.clear());
                }
                self.pace.want(Due::SetUp);
            }
            Event::Renewed(_) => {
                tracing::debug!(endpoint, "IPv6 renewed");
                self.pace.want(Due::Store);
            }
            Event::Lost { address, reason } => {
                if self.quota.take(now().since_boot(), &endpoint) {
                    tracing::warn!(endpoint, %address, %reason, "an IPv6 address is lost and taken away");
                }
            }
            Event::Refused { address } => {
                let cell = &self.seat.cell;
                let judged = self.seat.services.book.permit_endpoint(
                    IpAddr::from(address).into(),
                    cell.options(),
                    cell.id(),
                );
                // Whoever had it may have gone since.
                let Err(why) = judged else { return };
                if self.quota.take(now().since_boot(), &endpoint) {
                    tracing::warn!(endpoint, %address, %why, "the LAN's address is not used");
                }
                self.status.send_modify(|s| {
                    s.conflicts += 1;
                    s.troubles.refuse(None, why);
                });
            }
            Event::Conflict { address, by } => {
                self.status.send_modify(|s| {
                    s.conflicts += 1;
                    s.troubles.contest(address, by);
                });
                if self.quota.take(now().since_boot(), &endpoint) {
                    let mac = self.seat.cell.read().await.mac;
                    tracing::info!(endpoint, %address, %by, %mac, "another host uses the address");
                }
            }
        }
    }

    /// Stores the machine's state, and with it which addresses the link may have from now on.
    async fn remember(&mut self) {
        self.kept.clone_from(self.client.current());
        let row = StateRecord::of(&self.kept, &self.seat.services.boot, clock::now());
        let inside = matches!(self.seat.place, Some(Location::Sandbox(_)));
        let coming: Vec<_> = addresses_v6(&self.kept).into_iter().map(|(net, _)| net).collect();
        let written = self.seat.cell.update(|record| {
            let Some(ipv6) = &mut record.ipv6 else { return };
            ipv6.identity.state = Some(row);
            if inside && ipv6.applied.len() < MOST_APPLIED {
                let new: Vec<_> = coming.into_iter().filter(|net| !ipv6.applied.contains(net)).collect();
                ipv6.applied.extend(new);
            }
        });
        if let Err(error) = written.await {
            // The state itself is good; only a restart of the daemon would miss it.
            tracing::error!(error = %chain(&error), "IPv6 addresses could not be stored");
        }
    }

    /// Brings the sandbox's link in line with the machine's state. Before the link has arrived there is nothing to do:
    /// Docker configures what it was told, and arriving looks again.
    async fn configure(&mut self) {
        let Some(Location::Sandbox(path)) = self.seat.place.clone() else { return };
        if self.undecided {
            return;
        }
        if self.pace.take_early().is_some() || *self.client.current() != self.kept {
            self.remember().await;
        }
        let record = self.seat.cell.read().await;
        let shared = landline_links::mark::is_implicit(&record.network);
        let Some(mut ipv6) = record.ipv6 else { return };
        let before = ipv6.clone();
        let (mark, state) = (self.seat.mark.clone(), self.kept.clone());
        let skip_routes = self.seat.cell.options().skip_routes;
        let done = landline_links::blocking(move || {
            let Some(mut sandbox) = Sandbox::enter(&path, &mark)? else { return Ok(None) };
            let task = Task6 { state: &state, skip_routes, shared };
            let done = sandbox.configure_v6(task, &mut ipv6);
            Ok(Some((ipv6, done)))
        });
        match done.await {
            Ok(Some((now_there, done))) => {
                // What was done counts, even where something failed after it.
                match done {
                    Ok(others) => {
                        let setting_up = self.told_until.is_some_and(|until| boottime::now() < until);
                        self.deferred = others && setting_up;
                        self.pace.succeeded();
                    }
                    Err(error) => {
                        tracing::error!(endpoint = %self.seat.cell.id().short(), error = %chain(&error), "IPv6 not configured");
                        self.pace.failed(now().since_boot());
                    }
                }
                // Which addresses there may be is stored already; that some of them are gone can wait.
                let Ipv6Record { applied, defaults, routes, switched_on, .. } = now_there;
                let known = defaults == before.defaults
                    && routes == before.routes
                    && switched_on == before.switched_on
                    && applied.iter().all(|net| before.applied.contains(net));
                let change = |record: &mut EndpointRecord| {
                    if let Some(ipv6) = &mut record.ipv6 {
                        (ipv6.applied, ipv6.defaults) = (applied, defaults);
                        (ipv6.routes, ipv6.switched_on) = (routes, switched_on);
                    }
                };
                let written = async {
                    if known {
                        self.seat.cell.amend(change).await;
                        return Ok(());
                    }
                    self.seat.cell.update(change).await
                };
                if let Err(error) = written.await {
                    tracing::error!(error = %chain(&error), "a change of a sandbox could not be stored");
                }
                self.seat.cell.was_set_up();
            }
            Ok(None) => self.pace.succeeded(),
            Err::<_, SandboxError>(error) => {
                tracing::error!(endpoint = %self.seat.cell.id().short(), error = %chain(&error), "IPv6 not configured");
                self.pace.failed(now().since_boot());
            }
        }
    }

    fn publish(&self) {
        let (state, current, settled) = (self.client.state(), &self.kept, self.client.is_settled());
        let published = self.status.send_if_modified(|status| {
            let changed = status.state != state || status.settled != settled || status.current != *current;
            if changed {
                (status.state, status.settled) = (state, settled);
                status.current.clone_from(current);
            }
            changed
        });
        if published {
            self.seat.cell.names_changed();
        }
    }
}

/// The configuration of a client that declines what others on this host have.
fn guarded(mut config: Config, cell: &EndpointState, services: &Services) -> Config {
    config.taken = services.book.taken(cell.options(), cell.id());
    config
}

async fn unasked(routers: Option<&mut Listener>) -> Advertisement {
    match routers {
        Some(routers) => routers.next().await,
        None => std::future::pending().await,
    }
}

async fn receive(wire: Option<&Icmp6Socket>, eared: bool) -> io::Result<Heard> {
    match wire {
        Some(wire) => wire.receive(eared).await,
        None => std::future::pending().await,
    }
}
