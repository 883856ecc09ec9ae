//! The machine of IPv6: the client, and what is heard of routers and of the container's other links.
//!
//! The client's state is the whole of what the link is to carry; there is nothing to add to it here.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use landline_dhcp::Instant;
use landline_dhcp::v6::{Client, Config, Event, Remembered, State6, StateName, Transmit};
use landline_links::{ParentIs, Task6, addresses_v6, facts_of};
use landline_model::{EndpointRecord, EventKind, Ipv6Record, StateRecord};
use landline_store::StoreError;
use landline_types::{Mac, chain};
use tokio::sync::watch;

use super::company::Gossip;
use super::ra_listeners::Routers;
use crate::endpoint_state::EndpointState;
use crate::lease::{Base, Due, Job, Listener, Machine, Opener, Services, Supervised, Supervisor, Troubles};
use crate::meters::{ClientMeter, Family};
use crate::random::OsRandom;
use crate::sockets::{Advertisement, Counted, Icmp6, Location, Packet6};

/// The most addresses that may be on a link as far as is stored; more than this many are not there at once.
const MOST_APPLIED: usize = 64;

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

/// Begins with first addresses over the link with this index on the host, or with the remembered ones again.
pub fn start(
    endpoint: Arc<EndpointState>,
    services: Services,
    config: Config,
    before: Option<Remembered>,
    place: Location,
) -> Supervised<Status6> {
    let begin = |config, now| Client::start(config, before, now, OsRandom);
    let (machine, base) = Ipv6::new(endpoint, services, config, place, begin);
    let remembered = !machine.client.current().addresses.is_empty();
    let mut supervised = Supervisor::spawn(machine, base);
    supervised.remembered = remembered;
    supervised
}

/// Goes on with a state after a restart of the daemon.
pub fn resume(
    endpoint: Arc<EndpointState>,
    services: Services,
    config: Config,
    state: Option<&StateRecord>,
    place: Location,
) -> Supervised<Status6> {
    let (boot, both) = (services.boot.clone(), services.clock.both());
    let begin = |config, now| match state.map(|record| (record, record.restore(&boot))) {
        Some((_, Some(state))) => Client::resume(config, state, now, OsRandom),
        Some((record, None)) => Client::start(config, Some(record.remembered(&boot, both)), now, OsRandom),
        None => Client::start(config, None, now, OsRandom),
    };
    let (machine, base) = Ipv6::new(endpoint, services, config, place, begin);
    Supervisor::spawn(machine, base)
}

/// Asks for addresses that are in use already, of a state nobody remembers.
pub fn ask_again(
    endpoint: Arc<EndpointState>,
    services: Services,
    config: Config,
    addresses: Vec<Ipv6Addr>,
    place: Location,
) -> Supervised<Status6> {
    let begin = |config, now| Client::start(config, Some(Remembered::Addresses(addresses)), now, OsRandom);
    let (machine, mut base) = Ipv6::new(endpoint, services, config, place, begin);
    base.undecided = true;
    Supervisor::spawn(machine, base)
}

struct Ipv6 {
    client: Client<OsRandom>,
    mac: Mac,
    /// What routers say to all; `None` where the parent hears those of another VLAN.
    routers: Option<Listener<Routers>>,
    /// The container's other links.
    company: Gossip,
    /// The state that was stored last.
    kept: State6,
    /// The addresses that the container had last.
    had: Vec<Ipv6Addr>,
    status: watch::Sender<Status6>,
    meter: Arc<ClientMeter>,
}

/// What is heard without a socket.
enum Overheard {
    /// A router has said something.
    Router(Advertisement),
    /// Docker is done with another link of the container.
    Settled,
}

impl Ipv6 {
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
        let same_lan = options.vlan.is_none() && options.trunks.is_empty();
        let routers = same_lan.then(|| services.ra_listeners.at(&options.parent));
        let (mac, client) = (config.mac, begin(config, services.clock.now()));
        let kept = client.current().clone();
        let status = watch::Sender::new(Status6 {
            state: client.state(),
            current: kept.clone(),
            settled: false,
            conflicts: 0,
            troubles: Troubles::default(),
        });
        let company = services.company.listen();
        let had = kept.addresses.iter().map(|own| own.net.addr()).collect();
        let meter = services.meters.client(endpoint.network(), Family::V6, &services.clock);
        let machine = Self { client, mac, routers, company, kept, had, status, meter };
        (machine, Base::new(endpoint, services, place))
    }

    /// Whether this host says in the packet that it has an address of the endpoint, or another interface in the endpoint's
    /// sandbox does. They may answer for addresses of others; who on this host has an address is known without asking.
    /// Link-local addresses are not: the neighbours decide about those.
    fn is_ours(&self, base: &Base, heard: &Packet6) -> bool {
        let claimed = self.client.claimed(heard.frame_source, &heard.packet);
        claimed.is_some_and(|address| !address.is_unicast_link_local())
            && base.location.is_local(heard.frame_source)
    }

    /// Notes which addresses are new.
    fn addresses_changed(&mut self, base: &Base, state: &State6) {
        let kind = if self.had.is_empty() { EventKind::LeaseAcquired } else { EventKind::LeaseChanged };
        let now: Vec<Ipv6Addr> = state.addresses.iter().map(|own| own.net.addr()).collect();
        for address in now.iter().filter(|address| !self.had.contains(address)) {
            base.happened(kind, |event| event.address(*address));
        }
        if !now.is_empty() {
            self.had = now;
        }
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

fn addresses(state: &State6) -> Vec<String> {
    state.addresses.iter().map(|own| own.net.to_string()).collect()
}

/// What was done in a sandbox.
struct Done {
    before: Ipv6Record,
    now: Ipv6Record,
}

impl Machine for Ipv6 {
    type Client = Client<OsRandom>;
    type Sockets = Box<dyn Icmp6>;
    type Received = Packet6;
    type Overheard = Overheard;
    type Status = Status6;
    type Applied = Done;

    const OWN_V6: bool = true;
    const WAITING: usize = 8;

    fn client(&mut self) -> &mut Client<OsRandom> {
        &mut self.client
    }

    fn status(&self) -> watch::Receiver<Status6> {
        self.status.subscribe()
    }

    /// Nobody but Docker puts the address there that is told, and it does not set up attachments.
    fn told(record: &EndpointRecord) -> Option<IpAddr> {
        let told = record.ipv6.as_ref().and_then(|ipv6| ipv6.told);
        let told = told.filter(|_| !landline_links::mark::is_implicit(&record.network));
        told.map(|net| net.addr().into())
    }

    fn opener(&self) -> Opener<Self::Sockets> {
        let (listener, meter) = (self.routers.is_some(), self.meter.clone());
        Box::new(move |sockets, place, mark| {
            Ok(Box::new(Counted::new(sockets.icmp6(place, mark, listener)?, meter)))
        })
    }

    fn send(socket: &mut Self::Sockets, transmit: &Transmit) -> io::Result<()> {
        socket.send(transmit)
    }

    fn waits(_transmit: &Transmit, open: bool) -> bool {
        !open
    }

    async fn receive(socket: &Self::Sockets) -> io::Result<Packet6> {
        socket.receive().await
    }

    fn received(&mut self, base: &Base, heard: Packet6) {
        if !self.is_ours(base, &heard) {
            self.client.handle_packet(base.now(), heard.frame_source, &heard.packet, heard.check);
        }
    }

    async fn overhear(&mut self, sandbox: Option<&PathBuf>) -> Overheard {
        let unasked = async {
            match &mut self.routers {
                Some(routers) => routers.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            said = unasked => Overheard::Router(said),
            () = self.company.about(sandbox) => Overheard::Settled,
        }
    }

    fn overheard(&mut self, base: &Base, heard: Overheard, _open: bool) -> bool {
        let Overheard::Router(said) = heard else { return true };
        // What this host says goes to its own bridge, and not to the children of its NIC.
        let child = facts_of(base.location.endpoint.options().mode).parent == ParentIs::Nic;
        if !(said.own && child) {
            self.client.handle_packet(base.now(), said.frame_source, &said.packet, said.check);
        }
        false
    }

    fn event(&mut self, base: &mut Base, event: Event) -> bool {
        match event {
            Event::Changed(state) => {
                base.undecided &= state.addresses.is_empty();
                self.addresses_changed(base, &state);
                if !state.addresses.is_empty() {
                    self.status.send_modify(|status| status.troubles.clear());
                }
                base.pace.want(Due::SetUp);
            }
            Event::Renewed(_) => {
                tracing::debug!(endpoint = base.endpoint(), "IPv6 renewed");
                if let Some(own) = self.client.current().addresses.first() {
                    base.happened(EventKind::LeaseRenewed, |event| event.address(own.net.addr()));
                }
                base.pace.want(Due::Store);
            }
            Event::Lost { address, reason } => {
                base.happened(EventKind::LeaseLost, |event| {
                    event.address(address).because(reason.to_string())
                });
                if base.may_log() {
                    tracing::warn!(endpoint = base.endpoint(), %address, %reason, "an IPv6 address is lost and taken away");
                }
            }
            Event::Refused { address } => {
                let Some(why) = base.refusal(address.into()) else { return false };
                if base.may_log() {
                    tracing::warn!(endpoint = base.endpoint(), %address, %why, "the LAN's address is not used");
                }
                base.happened(EventKind::AddressRefused, |event| {
                    event.address(address).because(why.to_string())
                });
                self.troubled(|troubles| troubles.refuse(None, why));
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
        }
        false
    }

    /// Stores with the state which addresses the link may have from now on.
    async fn remember(&mut self, base: &mut Base) {
        let current = self.client.current();
        if addresses(current) != addresses(&self.kept) && base.may_log() {
            let (addresses, routers) = (addresses(current), current.routers.len());
            tracing::info!(endpoint = base.endpoint(), ?addresses, routers, "IPv6");
        }
        self.kept.clone_from(current);
        let services = &base.location.services;
        let row = StateRecord::of(&self.kept, &services.boot, services.clock.both());
        let inside = matches!(base.location.place, Some(Location::Sandbox(_)));
        let coming: Vec<_> = addresses_v6(&self.kept).into_iter().map(|(net, _)| net).collect();
        let written = base.location.endpoint.update(|record| {
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

    async fn job(&mut self, base: &mut Base) -> Option<Job<Done>> {
        if base.undecided {
            return None;
        }
        if base.pace.take_early().is_some() || *self.client.current() != self.kept {
            self.remember(base).await;
        }
        let record = base.location.endpoint.read().await;
        let shared = landline_links::mark::is_implicit(&record.network);
        let (before, state) = (record.ipv6?, self.kept.clone());
        let skip_routes = base.location.endpoint.options().skip_routes;
        let setting_up = base.is_setting_up();
        Some(Box::new(move |sandbox| {
            let mut now = before.clone();
            let done = sandbox.configure_v6(Task6 { state: &state, skip_routes, shared }, &mut now);
            (Done { before, now }, done.map(|others| others && setting_up))
        }))
    }

    async fn applied(&mut self, base: &mut Base, done: Done) -> Result<(), StoreError> {
        let Done { before, now: Ipv6Record { applied, defaults, routes, switched_on, .. } } = done;
        // Which addresses there may be is stored already; that some of them are gone can wait.
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
        if known {
            base.location.endpoint.amend(change).await;
            return Ok(());
        }
        base.location.endpoint.update(change).await
    }

    fn settled(&self, base: &Base) {
        if let Some(sandbox) = &base.location.sandbox {
            base.location.services.company.settled(sandbox);
        }
    }

    async fn release(&mut self, base: &mut Base, socket: &mut Option<Self::Sockets>) {
        self.client.release(base.now());
        if self.client.wants_dhcp() && socket.is_none() {
            *socket = base.location.open(self.opener()).await;
        }
        if let Some(socket) = socket {
            socket.send_release(&mut self.client, &base.location.services.clock).await;
        }
    }

    fn publish(&mut self) -> bool {
        let (state, current, settled) = (self.client.state(), &self.kept, self.client.is_settled());
        self.status.send_if_modified(|status| {
            let changed = status.state != state || status.settled != settled || status.current != *current;
            if changed {
                (status.state, status.settled) = (state, settled);
                status.current.clone_from(current);
            }
            changed
        })
    }
}
