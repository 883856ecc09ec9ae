//! The task that keeps the kernel as records and containers want it.

mod again;
mod filter;
mod heard;
mod looks;
mod owed;
mod routers;
mod ruleset;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use landline_kernel::{Event, Group};
use landline_leases::addressing::dhcp::drawn_client_id;
use landline_leases::addressing::permit::{Asker, Lan, NotPermitted};
use landline_leases::probe::Prober;
use landline_leases::{OsRandom, Services, Troubles};
use landline_links::blocking;
use landline_model::NatOwner;
use landline_options::{EndpointId, NetworkId};
use landline_store::Store;
use landline_types::{IfName, chain};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::OpenBridges;
use super::forwarding::Forwarding;
use super::lease::{Heard, Leaser, live};
use super::place::Places;
use super::record::{ForwardingRecord, NatRecord, NatView};
use super::table::NatBridge;
use super::{Bound, Command, InitialState, NatError, NatSeen, address};

use again::Again;
use looks::Looks;
pub(crate) use looks::Waiter;
use owed::Owed;
pub(crate) use routers::Routers;
use ruleset::Ruleset;

type Words<T> = mpsc::UnboundedSender<(NatOwner, T)>;

pub(crate) struct Follower {
    records: BTreeMap<NatOwner, NatRecord>,
    /// The endpoints that have them now, of those on networks of ours.
    bound: BTreeMap<NatOwner, Bound>,
    /// The bridges of such networks.
    nat_bridges: BTreeSet<NatBridge>,
    /// Bridges of networks that are to be let through.
    bridges: OpenBridges,
    /// The subnets of the host's on those of them over which it routes.
    subnets: BTreeSet<(IfName, Ipv4Net)>,
    /// DHCP clients, of addresses that have one.
    leasers: BTreeMap<NatOwner, Leaser>,
    /// DHCP clients that have ended and begin again.
    again: Again,
    /// Whose container was removed, and which are taken back unless it is recreated.
    expiring: BTreeSet<NatOwner>,
    /// What is wrong with an address until it is another.
    troubles: BTreeMap<NatOwner, String>,
    /// The addresses that others have answered for.
    contests: BTreeMap<NatOwner, Troubles>,
    /// Where the host is on the NICs' LANs.
    places: Places,
    /// Whether it was looked what nobody knows of.
    swept: bool,
    services: Services,
    prober: Prober,
    forwarding: Arc<dyn Forwarding>,
    /// That forwarding is to be switched off once no network needs it.
    forwarding_owed: Option<ForwardingRecord>,
    routers: Routers,
    heard: Words<Heard>,
    due: Words<()>,
    store: Arc<Store>,
    seen: watch::Receiver<NatSeen>,
    views: watch::Sender<BTreeMap<NatOwner, NatView>>,
    looks: Looks,
    ruleset: Ruleset,
    /// What was loaded last.
    loaded: Option<String>,
    /// The addresses that were translated then.
    translated: BTreeSet<Ipv4Addr>,
    /// Whether there may be exceptions in the firewall.
    opened: bool,
    /// Addresses that are over and could not be removed yet.
    owed: Owed,
}

/// Follows until `cancel`. Everything stays: containers go on being reached while the daemon restarts.
pub(super) async fn run(
    initial: InitialState,
    mut commands: mpsc::UnboundedReceiver<Command>,
    waiters: mpsc::UnboundedReceiver<Waiter>,
    seen: watch::Receiver<NatSeen>,
    views: watch::Sender<BTreeMap<NatOwner, NatView>>,
    cancel: CancellationToken,
) {
    let (heard, mut leases) = mpsc::unbounded_channel();
    let (due, mut removals) = mpsc::unbounded_channel();
    let mut follower = Follower::new(initial, heard, due, seen, views, Looks::new(waiters));
    // A NIC that comes, or loses its addresses; a container's port that is put back into its bridge.
    let mut monitor = follower.prober.namespaces.follow(&[Group::Links, Group::Addresses]);
    follower.begin().await;
    loop {
        // Where something is to be let through, others may close it, or begin to: a firewall that loads its rules, a dockerd.
        let open = !follower.wanted().is_nothing();
        if follower.ruleset.listen(open, &*follower.forwarding) {
            follower.reopen().await;
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            command = commands.recv() => match command {
                Some(command) => follower.command(command).await,
                None => return,
            },
            () = follower.looks.asked() => follower.reopen().await,
            Some((owner, heard)) = leases.recv() => follower.hear(&owner, heard).await,
            Some((owner, ())) = removals.recv() => follower.due(&owner).await,
            () = follower.again.due() => follower.lease_again(),
            () = follower.owed.due() => follower.owed.settle(&follower.prober).await,
            Ok(()) = follower.seen.changed() => follower.pass().await,
            () = follower.routers.changed(), if follower.forwarding_owed.is_some() => follower.pay_forwarding().await,
            () = follower.ruleset.changed() => follower.reopen().await,
            event = monitor.next() => if follower.concerns(&event) {
                follower.pass().await;
            } else if follower.is_of_subnets(&event) {
                follower.reopen().await;
            },
        }
    }
}

impl Follower {
    fn new(
        initial: InitialState,
        heard: Words<Heard>,
        due: Words<()>,
        seen: watch::Receiver<NatSeen>,
        views: watch::Sender<BTreeMap<NatOwner, NatView>>,
        looks: Looks,
    ) -> Self {
        let InitialState { records, bound, nat_bridges, bridges, store, services, .. } = initial;
        let InitialState { forwarding, forwarding_owed, routers, .. } = initial;
        let opened = bridges.any() || records.iter().any(|record| record.open_firewall);
        Self {
            records: records.into_iter().map(|record| (record.owner.clone(), record)).collect(),
            bound,
            nat_bridges,
            bridges,
            subnets: BTreeSet::new(),
            leasers: BTreeMap::new(),
            again: Again::default(),
            expiring: BTreeSet::new(),
            troubles: BTreeMap::new(),
            contests: BTreeMap::new(),
            places: Places::default(),
            swept: false,
            prober: services.prober(),
            services,
            forwarding,
            forwarding_owed,
            routers,
            heard,
            due,
            store,
            seen,
            views,
            looks,
            ruleset: Ruleset::unknown(),
            loaded: None,
            translated: BTreeSet::new(),
            opened,
            owed: Owed::default(),
        }
    }

    /// Goes on where the last run ended.
    async fn begin(&mut self) {
        self.look(None).await;
        for mut record in self.records.values().cloned().collect::<Vec<_>>() {
            let Some(dhcp) = record.dhcp.clone() else { continue };
            // An address is used as long as its lease lives, and it may have ended meanwhile.
            let lives = dhcp.lease.as_ref().is_some_and(|lease| live(lease, &self.services).is_some());
            if let (Some(address), false) = (record.address, lives) {
                record.address = None;
                self.owed.take(&self.prober, &self.places.of(&record.interface), address).await;
                self.records.insert(record.owner.clone(), record.clone());
            }
            self.lease(&record);
        }
        self.pay_forwarding().await;
        self.pass().await;
    }

    fn lease(&mut self, record: &NatRecord) {
        let Some(dhcp) = &record.dhcp else { return };
        let (owner, interface) = (record.owner.clone(), self.places.of(&record.interface));
        let leaser = Leaser::start(owner, interface, dhcp, self.services.clone(), self.heard.clone());
        self.leasers.insert(record.owner.clone(), leaser);
    }

    /// Starts the DHCP clients again whose time has come.
    fn lease_again(&mut self) {
        for owner in self.again.begin() {
            if let Some(record) = self.records.get(&owner).cloned() {
                self.lease(&record);
            }
        }
    }

    fn concerns(&self, event: &Event) -> bool {
        let own = match event {
            Event::LinkNew(link) => self.bound.values().any(|bound| bound.port == link.name),
            Event::AddressGone(gone) => {
                self.records.values().any(|r| r.address.is_some_and(|own| gone.net.addr() == IpAddr::V4(own)))
            }
            Event::Overrun => !self.records.is_empty() || !self.nat_bridges.is_empty(),
            _ => false,
        };
        own || self.places.concerns(event)
    }

    /// Whether the subnets in which the host routes to containers may be others now.
    fn is_of_subnets(&self, event: &Event) -> bool {
        let changed = match event {
            Event::AddressNew(own) | Event::AddressGone(own) => own.net.addr().is_ipv4(),
            Event::Overrun => true,
            _ => false,
        };
        changed && !self.bridges.routed.is_empty()
    }

    /// Looks where the host is on the LANs, that of `also` included; a DHCP client goes there. Where it was before, for the
    /// NICs for which that has changed.
    async fn look(&mut self, also: Option<&IfName>) -> BTreeMap<IfName, IfName> {
        let nics = self.records.values().map(|record| &record.interface);
        let nics = nics.chain(self.nat_bridges.iter().map(|nat_bridge| &nat_bridge.nic)).chain(also);
        let nics: BTreeSet<IfName> = nics.cloned().collect();
        let before = self.places.look(&self.prober.namespaces, nics.into_iter().collect()).await;
        for (nic, before) in &before {
            tracing::info!(%nic, %before, now = %self.places.of(nic), "the host is elsewhere on a LAN; so are containers' addresses");
        }
        let moved = self.records.values().filter(|record| before.contains_key(&record.interface));
        for record in moved.cloned().collect::<Vec<_>>() {
            // It goes on with the lease that is stored.
            if self.leasers.remove(&record.owner).is_some() {
                self.lease(&record);
            }
        }
        before
    }

    async fn command(&mut self, command: Command) {
        // Whoever asked may have gone.
        match command {
            Command::Add(record, answer) => drop(answer.send(self.add(*record, false).await)),
            Command::Adopt(record, answer) => drop(answer.send(self.add(*record, true).await)),
            Command::Remove(owner, answer) => drop(answer.send(self.remove(&owner).await)),
            Command::RemoveNetwork(network, answer) => {
                self.remove_network(&network).await;
                drop(answer.send(Ok(())));
            }
            Command::Bind(owner, bound, answer) => drop(answer.send(self.bind(owner, *bound).await)),
            Command::Unbind(endpoint, answer) => {
                self.unbind(&endpoint).await;
                drop(answer.send(Ok(())));
            }
            Command::Expire(owner, after) => self.expire(owner, after).await,
            Command::Bridges(bridges, answer) => {
                let before = std::mem::replace(&mut self.bridges, bridges);
                let opened = self.open().await.map_err(NatError::Firewall);
                if opened.is_err() {
                    self.bridges = before;
                    // What was opened of it is closed again.
                    self.reopen().await;
                }
                drop(answer.send(opened));
            }
            Command::Open(owners, answer) => drop(answer.send(self.open_also(&owners).await)),
            Command::Close(answer) => drop(answer.send(self.close_again().await)),
            Command::NatBridges(nat_bridges, answer) => {
                drop(answer.send(self.nat_bridges(nat_bridges).await));
            }
        }
    }

    async fn nat_bridges(&mut self, nat_bridges: BTreeSet<NatBridge>) -> Result<(), NatError> {
        let before = std::mem::replace(&mut self.nat_bridges, nat_bridges);
        let changed = match self.load().await {
            Ok(()) => self.open().await.map_err(NatError::Firewall),
            failed => failed,
        };
        if changed.is_err() {
            self.nat_bridges = before;
            if let Err(error) = self.load().await {
                tracing::warn!(error = chain(&error), "the rules of before could not be loaded");
            }
            self.reopen().await;
        }
        changed
    }

    /// `again`: its address may be there, from before the state was lost.
    async fn add(&mut self, mut record: NatRecord, again: bool) -> Result<NatView, NatError> {
        let owner = record.owner.clone();
        if let NatOwner::Container(name) = &owner
            && self.records.contains_key(&owner)
        {
            return Err(NatError::Exists(name.clone()));
        }
        self.look(Some(&record.interface)).await;
        let place = self.places.of(&record.interface);
        match record.address {
            Some(address) => {
                self.may_have(address, &owner, &place)?;
                if !(again && address::is_there(&self.prober, &place, address).await?) {
                    address::check(&self.prober, &place, address).await?;
                }
            }
            None => address::check_nic(&self.prober, &place).await.map(drop)?,
        }
        if let Some(dhcp) = &mut record.dhcp {
            dhcp.client_id.get_or_insert_with(|| drawn_client_id(&mut OsRandom));
        }
        record.forwarding = record.open_firewall && !self.forwarding.is_on();
        // Stored first: what is on the NIC without a record would never be taken away.
        self.put(record.clone()).await?;
        self.records.insert(owner.clone(), record.clone());
        if let Err(error) = self.apply(&record).await {
            let record = self.records.get(&owner).cloned().unwrap_or(record);
            self.take_back(&record).await;
            return Err(error);
        }
        self.lease(&record);
        self.show(&BTreeMap::new());
        tracing::info!(%owner, address = record.address.map(tracing::field::display), interface = %place, "an address on the host for a container");
        self.views.borrow().get(&owner).cloned().ok_or(NatError::Stopping)
    }

    /// Two containers cannot have one address, and some addresses nobody. Whether the host has it otherwise is looked at
    /// where it is: what is at that place may have been put there for this owner.
    fn may_have(&self, address: Ipv4Addr, owner: &NatOwner, place: &IfName) -> Result<(), NatError> {
        let lan = Lan::Parent(place.clone(), None);
        let asker = Asker { lan: &lan, endpoint: None, interface: Some(place), routed: false };
        match self.services.book.permit(IpAddr::from(address).into(), &asker) {
            Ok(()) => {}
            Err(NotPermitted::Host { interface, .. }) => {
                return Err(NatError::OwnAddress { address, interface: interface.to_string() });
            }
            Err(NotPermitted::Endpoint { holder, .. }) => {
                return Err(NatError::Taken { address, user: holder });
            }
            Err(other) => return Err(NatError::NotPermitted(other)),
        }
        let other =
            self.records.values().find(|other| other.address == Some(address) && other.owner != *owner);
        match other {
            Some(other) => Err(NatError::Taken { address, user: user(&other.owner) }),
            None => Ok(()),
        }
    }

    async fn apply(&mut self, record: &NatRecord) -> Result<(), NatError> {
        self.load().await?;
        let place = self.places.of(&record.interface);
        if let Some(address) = record.address
            && !address::put(&self.prober, &place, address, false).await?
        {
            return Err(NatError::Down(place));
        }
        if record.forwarding {
            self.forward()?;
        }
        self.open().await.map_err(NatError::Firewall)?;
        self.hairpin().await;
        Ok(())
    }

    async fn remove(&mut self, owner: &NatOwner) -> Result<(), NatError> {
        let Some(record) = self.records.get(owner).cloned() else {
            return Err(NatError::Unknown(owner.to_string()));
        };
        self.take_back(&record).await;
        tracing::info!(%owner, address = record.address.map(tracing::field::display), "a container's address on the host was taken back");
        Ok(())
    }

    async fn remove_network(&mut self, network: &NetworkId) {
        self.bound.retain(|owner, _| owner.network() != Some(network));
        let gone: Vec<NatRecord> =
            self.records.values().filter(|r| r.owner.network() == Some(network)).cloned().collect();
        for record in gone {
            self.take_back(&record).await;
        }
    }

    /// Undoes everything, and never stops at a failure: it is told.
    async fn take_back(&mut self, record: &NatRecord) {
        let owner = &record.owner;
        self.again.over(owner);
        if let Some(leaser) = self.leasers.remove(owner) {
            leaser.release().await;
        }
        self.records.remove(owner);
        self.troubles.remove(owner);
        self.contests.remove(owner);
        self.expiring.remove(owner);
        let said = |what: &str, error: String| tracing::warn!(error, %owner, "{what}");
        if let Err(error) = self.open().await {
            said("the exception in the firewall could not be removed", error);
        }
        if let Err(error) = self.load().await {
            said("its rules could not be removed", chain(&error));
        }
        let forwarding = self.forwarding.clone();
        if let Some(port) = record.hairpin.clone()
            && let Err(error) = blocking(move || forwarding.no_hairpin(&port)).await
        {
            said("its port is still in hairpin mode", error.to_string());
        }
        if let Some(address) = record.address {
            self.owed.take(&self.prober, &self.places.of(&record.interface), address).await;
        }
        if record.forwarding
            && let Err(error) = self.forward_no_more().await
        {
            said("net.ipv4.ip_forward could not be put back to 0", chain(&error));
        }
        if let Err(error) = self.store.remove::<NatRecord>(owner).await {
            said("its record could not be removed", chain(&error));
        }
        self.show(&BTreeMap::new());
    }

    /// The container behind an address is there.
    async fn bind(&mut self, owner: NatOwner, bound: Bound) -> Result<(), NatError> {
        let Some(record) = self.records.get(&owner) else {
            return Err(NatError::Unknown(owner.to_string()));
        };
        if let (Some(other), Some(address)) = (self.bound.get(&owner), record.address)
            && other.endpoint != bound.endpoint
        {
            return Err(NatError::Occupied { address });
        }
        self.expiring.remove(&owner);
        self.bound.insert(owner.clone(), bound);
        if let Err(error) = self.load().await {
            self.bound.remove(&owner);
            return Err(error);
        }
        self.hairpin().await;
        self.show(&BTreeMap::new());
        Ok(())
    }

    async fn unbind(&mut self, endpoint: &EndpointId) {
        let before = self.bound.len();
        self.bound.retain(|_, bound| bound.endpoint != *endpoint);
        if self.bound.len() != before {
            self.pass().await;
        }
    }

    /// The container was removed: so will its address be, unless it is recreated before.
    async fn expire(&mut self, owner: NatOwner, after: Duration) {
        if !self.records.contains_key(&owner) || self.bound.contains_key(&owner) {
            return;
        }
        self.expiring.insert(owner.clone());
        if after.is_zero() {
            return self.due(&owner).await;
        }
        let (clock, due) = (self.services.clock.clone(), self.due.clone());
        let deadline = (clock.now() + after).since_boot();
        tokio::spawn(async move {
            tokio::select! {
                () = clock.sleep_until(Some(deadline)) => drop(due.send((owner, ()))),
                () = due.closed() => {}
            }
        });
    }

    async fn due(&mut self, owner: &NatOwner) {
        if self.expiring.remove(owner)
            && let Some(record) = self.records.get(owner).cloned()
        {
            self.take_back(&record).await;
            tracing::info!(%owner, "its container was removed; its address on the host was taken back");
        }
    }

    async fn put(&self, record: NatRecord) -> Result<(), NatError> {
        Ok(self.store.put(&record).await?)
    }

    /// Makes everything as it should be; what cannot be is told and shown.
    async fn pass(&mut self) {
        if self.records.is_empty() && self.nat_bridges.is_empty() && self.loaded.is_none() && !self.opened {
            return;
        }
        let before = self.look(None).await;
        if !self.swept && self.seen.borrow().connected {
            self.swept = true;
            self.sweep().await;
        }
        let mut problems = BTreeMap::new();
        for record in self.records.values() {
            let Some(address) = record.address else { continue };
            let place = self.places.of(&record.interface);
            // Whether a leased address is free is for its DHCP client to find out.
            self.owed.keep(&place, address);
            let problem = match address::put(&self.prober, &place, address, record.dhcp.is_none()).await {
                Ok(true) => None,
                Ok(false) => Some(format!("{place} is not there, or down")),
                Err(error) => Some(chain(&error)),
            };
            problems.extend(problem.map(|problem| (record.owner.clone(), problem)));
            if let Some(before) = before.get(&record.interface) {
                self.owed.take(&self.prober, before, address).await;
            }
        }
        // After a start what was loaded before stays until it is known what runs.
        let known =
            self.seen.borrow().connected || self.records.keys().all(|owner| owner.network().is_some());
        if self.loaded.is_none() && !known {
            self.show(&problems);
            return;
        }
        if self.records.values().any(|record| record.forwarding)
            && !self.forwarding.is_on()
            && let Err(error) = self.forward()
        {
            tracing::error!(error = chain(&error), "nothing is passed on to containers");
        }
        if let Err(error) = self.load().await {
            tracing::error!(error = chain(&error), "containers' addresses are not translated");
            problems.extend(self.records.keys().map(|owner| (owner.clone(), chain(&error))));
        }
        self.reopen().await;
        self.hairpin().await;
        self.show(&problems);
    }

    /// Removes what is left on the NICs of networks from before the state was lost.
    async fn sweep(&self) {
        let known: BTreeSet<Ipv4Addr> = self.records.values().filter_map(|record| record.address).collect();
        let nics: BTreeSet<&IfName> = self.nat_bridges.iter().map(|nat_bridge| &nat_bridge.nic).collect();
        for nic in nics {
            if let Err(error) = address::sweep(&self.prober, &self.places.of(nic), &known).await {
                tracing::warn!(%nic, error = chain(&error), "addresses of before could not be removed");
            }
        }
    }

    /// Has the containers reach themselves, and writes down whose port was changed for it.
    async fn hairpin(&mut self) {
        let seen = self.seen.borrow().clone();
        for record in self.records.clone().into_values() {
            let forwarding = self.forwarding.clone();
            if let Some(bound) = self.bound.get(&record.owner) {
                // Its port goes with it, and the setting with the port.
                let port = bound.port.clone();
                if let Err(error) = blocking(move || forwarding.hairpin_port(&port)).await {
                    tracing::debug!(%error, owner = %record.owner, "a container's port cannot be found");
                }
                continue;
            }
            let NatOwner::Container(name) = &record.owner else { continue };
            let Some(container) = seen.containers.get(name) else { continue };
            let (Some(sandbox), inside) = (container.sandbox.clone(), container.address) else { continue };
            match blocking(move || forwarding.hairpin(&sandbox, inside)).await {
                Ok(None) => {}
                Ok(port) => {
                    let record = NatRecord { hairpin: port, ..record };
                    if let Err(error) = self.put(record.clone()).await {
                        tracing::warn!(error = chain(&error), "a record could not be stored");
                    }
                    self.records.insert(record.owner.clone(), record);
                }
                Err(error) => {
                    tracing::debug!(%error, container = name, "a container's port cannot be found");
                }
            }
        }
    }
}

/// How messages call whoever has an address.
fn user(owner: &NatOwner) -> String {
    match owner {
        NatOwner::Container(name) => format!("container {name}"),
        NatOwner::Network(network) | NatOwner::Identity { network, .. } => {
            format!("a container on network {}", network.short())
        }
    }
}
