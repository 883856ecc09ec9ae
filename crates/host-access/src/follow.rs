//! The task that holds host access: what wakes it up, and what it does then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use landline_kernel::{Address, Event, Group, Link, NetlinkError};
use landline_leases::Inventory;
use landline_leases::probe::Prober;
use landline_links::mark::PROTOCOL;
use landline_links::{Events, blocking};
use landline_options::{Access, NetworkId};
use landline_store::{Store, StoreError};
use landline_types::{IfName, chain};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::enable::{AccessError, Situation, Unfit, check};
use super::executor::{Executor, HostSnapshot, Outcome, is_strict};
use super::own::{Own, own_networks};
use super::plan::{Facts, Wanted, plan};
use super::record::RpFilterRecord;
use super::seen::{Seen, SeenNetwork, Wire, find};
use super::settle::{Burst, Settling, is_loss};
use super::view::{AccessOrigin, AccessState, AccessView};
use super::{Command, Inbox, InitialState, Keeper};

/// Follows until `cancel`. Shims stay: containers go on being reached while the daemon restarts.
pub(super) async fn run(inbox: Inbox, initial: InitialState, cancel: CancellationToken) {
    let Inbox { mut commands, seen, declared, views } = inbox;
    let executor = match Executor::new(initial.prober.namespaces.clone(), initial.keeper.clone()) {
        Ok(executor) => executor,
        Err(error) => {
            tracing::error!(%error, "there is no host access without a netlink socket");
            return;
        }
    };
    let mut follower = Follower {
        keeper: initial.keeper,
        prober: initial.prober,
        work: Some(Work { executor, loosened: initial.loosened, store: initial.store.clone() }),
        records: initial.records,
        store: initial.store,
        inventory: initial.inventory,
        own: BTreeMap::new(),
        seen,
        declared,
        admitted: Vec::new(),
        held: BTreeMap::new(),
        views,
        settled: false,
        monitor: None,
        parents: BTreeSet::new(),
        snapshot: HostSnapshot::default(),
    };
    let (mut settling, mut burst) = (Settling::default(), Burst::default());
    follower.pass().await;
    loop {
        let reason = tokio::select! {
            () = cancel.cancelled() => return,
            Some(command) = commands.recv() => Reason::Command(command),
            reason = follower.reason() => reason,
            loss = burst.due() => Reason::Looks { loss },
            () = settling.over() => Reason::Settled,
        };
        match reason {
            Reason::Command(command) => follower.command(command).await,
            // Looked at once the host has settled.
            Reason::Containers | Reason::Inventory if settling.is_on() => {}
            Reason::Containers | Reason::Inventory | Reason::Settled if follower.is_idle() => {}
            Reason::Inventory if !follower.look_at_own() => {}
            Reason::Containers | Reason::Inventory | Reason::Settled => drop(follower.pass().await),
            Reason::Host(event) => {
                if follower.concerns(&event) {
                    let shims = &follower.snapshot.shims;
                    burst.add(is_loss(&event, |index| shims.contains(&index)));
                }
            }
            Reason::Looks { loss } => {
                if follower.differs().await && settling.note(loss, Instant::now()) {
                    follower.pass().await;
                }
            }
        }
    }
}

/// What woke the task up.
enum Reason {
    Command(Command),
    /// Networks or containers may be others now.
    Containers,
    /// The same of the engine's.
    Inventory,
    /// Something happened to the host.
    Host(Event),
    /// It is time to look at what did. `loss`: the host may have less than before.
    Looks {
        loss: bool,
    },
    /// What the host had lost a while ago has had its time to come back.
    Settled,
}

struct Follower {
    keeper: Keeper,
    prober: Prober,
    /// Away while a pass runs on a thread that may block.
    work: Option<Work>,
    records: Vec<Access>,
    store: Option<Arc<Store>>,
    inventory: Option<watch::Receiver<Inventory>>,
    /// The engine's networks, as they were when they were last looked at.
    own: BTreeMap<NetworkId, Own>,
    seen: watch::Receiver<Seen>,
    /// What the administrator wrote down.
    declared: watch::Receiver<Vec<Access>>,
    /// Those of them whose addresses were looked for on the LAN.
    admitted: Vec<Access>,
    /// Why the others of them, by network, were not.
    held: BTreeMap<String, Unfit>,
    views: watch::Sender<Vec<AccessView>>,
    /// Whether everything was seen once: from then on what is not seen is not there.
    settled: bool,
    /// Open while there is anything to look after.
    monitor: Option<Box<dyn Events>>,
    /// The parents there are or should be.
    parents: BTreeSet<IfName>,
    /// The host as the last pass left it.
    snapshot: HostSnapshot,
}

/// What a pass works with.
struct Work {
    executor: Executor,
    loosened: Vec<RpFilterRecord>,
    store: Option<Arc<Store>>,
}

/// What a pass came to.
#[derive(Default)]
struct Done {
    views: Vec<AccessView>,
    parents: BTreeSet<IfName>,
    snapshot: HostSnapshot,
}

impl Follower {
    /// Waits for the next reason to look. Cancel safe.
    async fn reason(&mut self) -> Reason {
        let event = async {
            match &mut self.monitor {
                Some(monitor) => monitor.next().await,
                None => std::future::pending().await,
            }
        };
        let inventory = async {
            match &mut self.inventory {
                Some(inventory) => inventory.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok(()) = inventory => Reason::Inventory,
            Ok(()) = self.seen.changed() => Reason::Containers,
            Ok(()) = self.declared.changed() => Reason::Containers,
            event = event => Reason::Host(event),
        }
    }

    /// Whether containers do not matter: no network has host access, and nothing is left of one that had.
    fn is_idle(&self) -> bool {
        let has_option = |inventory: &watch::Receiver<Inventory>| {
            inventory.borrow().networks.values().any(|network| network.options.host_access)
        };
        let wanted = !self.records.is_empty()
            || !self.declared.borrow().is_empty()
            || self.inventory.as_ref().is_some_and(has_option);
        self.settled && !wanted && self.snapshot.shims.is_empty()
    }

    /// Whether an event may be about something of ours.
    fn concerns(&self, event: &Event) -> bool {
        let ours = |index: &u32| self.snapshot.links.contains_key(index);
        match event {
            Event::LinkNew(link) => ours(&link.index) || self.parents.contains(&link.name),
            Event::LinkGone { index, .. } => ours(index),
            Event::AddressNew(address) | Event::AddressGone(address) => ours(&address.index),
            Event::RouteGone(route) => {
                route.protocol == PROTOCOL && route.oif.is_some_and(|oif| self.snapshot.shims.contains(&oif))
            }
            Event::Overrun => true,
            _ => false,
        }
    }

    /// Whether the host is not as the last pass left it. Most events are echoes of our own doing.
    async fn differs(&mut self) -> bool {
        let Some(mut work) = self.work.take() else { return true };
        let parents = self.parents.clone();
        let (work, snapshot) = blocking(move || {
            let snapshot = work.executor.snapshot(&parents);
            (work, snapshot)
        })
        .await;
        self.work = Some(work);
        snapshot.map_or(true, |snapshot| snapshot != self.snapshot)
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Enable(record, answer) => {
                let enabled = self.enable(record).await;
                // Whoever asked may have gone.
                let _ = answer.send(enabled);
            }
            Command::Disable(network, answer) => {
                let disabled = self.disable(&network).await;
                let _ = answer.send(disabled);
            }
        }
    }

    async fn enable(&mut self, mut record: Access) -> Result<AccessView, AccessError> {
        let connected = self.seen.borrow().connected;
        let (networks, _) = self.networks();
        let id = match find(&networks, &record.network) {
            Some((id, network)) => {
                record.network.clone_from(&network.name);
                id.clone()
            }
            None if !connected => return Err(AccessError::Docker(record.network)),
            None => return Err(Unfit::NoNetwork(record.network).into()),
        };
        self.check(&record, &id, &networks).await?;

        let before = self.records.clone();
        self.records.retain(|other| other.network != record.network);
        self.records.push(record.clone());
        let done = match self.pass().await.into_iter().find(|view| view.network == record.network) {
            Some(view) if view.state == AccessState::Ready => {
                self.keep(&record).await.map(|()| view).map_err(Into::into)
            }
            Some(view) => Err(AccessError::Failed(view.state.into())),
            None => Err(Unfit::NoNetwork(record.network).into()),
        };
        if done.is_err() {
            self.records = before;
            self.pass().await;
        }
        done
    }

    /// Whether a request for this network can be served.
    async fn check(
        &self,
        record: &Access,
        id: &NetworkId,
        networks: &BTreeMap<NetworkId, SeenNetwork>,
    ) -> Result<(), Unfit> {
        let namespaces = self.prober.namespaces.clone();
        let look = blocking(move || -> Result<(Vec<Link>, Vec<Address>), Unfit> {
            let mut host = namespaces.host().map_err(|error| Unfit::Unseen(chain(&error)))?;
            let unseen = |error: NetlinkError| Unfit::Unseen(chain(&error));
            Ok((host.links().map_err(unseen)?, host.addresses().map_err(unseen)?))
        });
        let (links, addresses) = look.await?;
        let shims: BTreeSet<u32> =
            links.iter().filter(|link| self.is_shim_of(link, id)).map(|link| link.index).collect();
        let held: Vec<IpNet> = addresses.iter().filter(|a| shims.contains(&a.index)).map(|a| a.net).collect();
        let names = links.iter().map(|link| link.name.clone());
        let strict = names.filter(|name| is_strict(&*self.prober.namespaces, name)).collect();
        let situation =
            Situation { networks, links: &links, addresses: &addresses, strict: &strict, held: &held };
        check(record, &situation, &self.prober).await
    }

    fn is_shim_of(&self, link: &Link, network: &NetworkId) -> bool {
        self.keeper.key(link) == Some(network.as_str())
    }

    async fn disable(&mut self, network: &str) -> Result<(), AccessError> {
        let (networks, own) = self.networks();
        let name =
            find(&networks, network).map_or_else(|| network.to_owned(), |(_, network)| network.name.clone());
        let Some(at) = self.records.iter().position(|record| record.network == name) else {
            return Err(match find(&networks, network) {
                found if self.is_declared(found.map(|(id, _)| id), &name, &networks) => {
                    AccessError::Declared(name)
                }
                Some((id, _)) if own.contains(id) => AccessError::Option(name),
                _ => AccessError::NotEnabled(name),
            });
        };
        if let Some(store) = self.store.clone() {
            store.remove::<Access>(&name).await?;
        }
        self.records.remove(at);
        // With nothing left there is nothing that might have been overlooked.
        self.settled |= self.records.is_empty() && own.is_empty() && self.declared.borrow().is_empty();
        self.pass().await;
        Ok(())
    }

    async fn keep(&self, record: &Access) -> Result<(), StoreError> {
        let Some(store) = self.store.clone() else { return Ok(()) };
        store.put(record).await
    }

    /// Looks at the engine's networks; whether they are others than before.
    fn look_at_own(&mut self) -> bool {
        let Some(inventory) = &mut self.inventory else { return false };
        let own = own_networks(&inventory.borrow_and_update());
        let changed = own != self.own;
        self.own = own;
        changed
    }

    /// All networks, and which of them have host access among their options.
    fn networks(&mut self) -> (BTreeMap<NetworkId, SeenNetwork>, BTreeSet<NetworkId>) {
        let mut networks = self.seen.borrow().networks.clone();
        let mut wanted = BTreeSet::new();
        self.look_at_own();
        for (id, own) in &self.own {
            if own.wanted {
                wanted.insert(id.clone());
            }
            let mut network = own.network.clone();
            if let Some(seen) = networks.remove(id) {
                network.name = seen.name;
                network.subnets = seen.subnets;
            }
            networks.insert(id.clone(), network);
        }
        (networks, wanted)
    }

    /// Whether the administrator wrote this network down, by name or id.
    fn is_declared(
        &self,
        id: Option<&NetworkId>,
        name: &str,
        networks: &BTreeMap<NetworkId, SeenNetwork>,
    ) -> bool {
        self.declared.borrow().iter().any(|access| {
            access.network == name
                || id.is_some() && find(networks, &access.network).map(|(other, _)| other) == id
        })
    }

    /// What was asked for: by command, by the configuration file, by an option of the network; each network once.
    async fn wanted(
        &mut self,
        networks: &BTreeMap<NetworkId, SeenNetwork>,
        by_option: BTreeSet<NetworkId>,
    ) -> Vec<Wanted> {
        let mut all: Vec<Wanted> = Vec::new();
        let declared = self.declared.borrow_and_update().clone();
        self.admitted.retain(|access| declared.contains(access));
        self.held.retain(|network, _| declared.iter().any(|access| access.network == *network));
        let by_command = self.records.iter().map(|record| (record.clone(), AccessOrigin::Command));
        let by_file = declared.into_iter().map(|access| (access, AccessOrigin::Configuration));
        let by_option = by_option.into_iter().map(|id| (Access::new(id.as_str()), AccessOrigin::Option));
        let everything: Vec<_> = by_command.chain(by_file).chain(by_option).collect();
        for (access, by) in everything {
            let id = |access: &Access| find(networks, &access.network).map(|(id, _)| id);
            let found = id(&access);
            let same = |other: &Wanted| {
                other.access.network == access.network || found.is_some() && id(&other.access) == found
            };
            if all.iter().any(same) {
                continue;
            }
            let mut held = None;
            if by == AccessOrigin::Configuration && !self.admitted.contains(&access) {
                held = match found {
                    Some(id) => self.check(&access, id, networks).await.err(),
                    None => Some(Unfit::NoNetwork(access.network.clone())),
                };
                let before = match &held {
                    None => {
                        self.admitted.push(access.clone());
                        self.held.remove(&access.network)
                    }
                    Some(why) => self.held.insert(access.network.clone(), why.clone()),
                };
                if let Some(why) = held.as_ref().filter(|why| self.settled && before.as_ref() != Some(why)) {
                    tracing::warn!(network = access.network, %why, "no host access as configured yet");
                }
            }
            all.push(Wanted { access, by, held });
        }
        all
    }

    /// Looks at everything and does what is to be done.
    async fn pass(&mut self) -> Vec<AccessView> {
        let complete = self.seen.borrow_and_update().complete;
        self.settled |= complete;
        let (networks, wanted) = self.networks();
        let accesses = self.wanted(&networks, wanted).await;
        self.follow_events(!accesses.is_empty());
        let Some(mut work) = self.work.take() else { return Vec::new() };
        let keep = !self.settled;
        let (work, done) = blocking(move || {
            let done = work.pass(&accesses, &networks, keep);
            (work, done)
        })
        .await;
        self.work = Some(work);
        match done {
            Ok(done) => {
                self.parents = done.parents;
                self.snapshot = done.snapshot;
                self.views.send_replace(done.views.clone());
                done.views
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "host access cannot look at the host");
                Vec::new()
            }
        }
    }

    fn follow_events(&mut self, wanted: bool) {
        if !wanted {
            self.monitor = None;
        } else if self.monitor.is_none() {
            self.monitor =
                Some(self.prober.namespaces.follow(&[Group::Links, Group::Addresses, Group::Routes]));
        }
    }
}

impl Work {
    /// Looks and acts until that changes nothing any more: what others do while it acts would else be taken for its own
    /// doing when the event comes.
    fn pass(
        &mut self,
        accesses: &[Wanted],
        networks: &BTreeMap<NetworkId, SeenNetwork>,
        keep: bool,
    ) -> Result<Done, NetlinkError> {
        // Somebody who changes the host all the time is followed by events.
        const ROUNDS: usize = 8;
        let mut done = self.round(accesses, networks, keep)?;
        for _ in 1..ROUNDS {
            let again = self.round(accesses, networks, keep)?;
            let still = again.snapshot == done.snapshot;
            done = again;
            if still {
                break;
            }
        }
        Ok(done)
    }

    fn round(
        &mut self,
        accesses: &[Wanted],
        networks: &BTreeMap<NetworkId, SeenNetwork>,
        keep: bool,
    ) -> Result<Done, NetlinkError> {
        let (links, addresses) = self.executor.look()?;
        let of_ipvlan: BTreeSet<&IfName> =
            networks.values().filter(|n| n.wire == Wire::Ipvlan).filter_map(|n| n.parent.as_ref()).collect();
        let strict = self.executor.strict(links.iter().filter(|link| of_ipvlan.contains(&link.name)));
        let target =
            plan(accesses, networks, &Facts { links: &links, addresses: &addresses, strict: &strict });
        self.filter(&target.loosen, &strict, keep);
        let outcome = self.executor.apply(&target, keep)?;
        let snapshot = self.executor.snapshot(&target.parents)?;
        let views =
            target.views.into_iter().map(|(key, view)| finish(key.as_deref(), view, &outcome)).collect();
        Ok(Done { views, parents: target.parents, snapshot })
    }

    /// Sets reverse path filters to loose as the user allowed, and back.
    fn filter(&mut self, loosen: &BTreeSet<IfName>, strict: &BTreeSet<IfName>, keep: bool) {
        for parent in loosen.intersection(strict) {
            if let Err(error) = self.loosen(parent) {
                tracing::warn!(%parent, error, "rp_filter was not set");
            }
        }
        if keep {
            return;
        }
        for record in std::mem::take(&mut self.loosened) {
            if loosen.contains(&record.parent) {
                self.loosened.push(record);
            } else if let Err(error) = self.restore(&record) {
                tracing::warn!(parent = %record.parent, error, "rp_filter was not set back");
                self.loosened.push(record);
            }
        }
    }

    fn loosen(&mut self, parent: &IfName) -> Result<(), String> {
        let before = self.executor.filter(parent).unwrap_or(0);
        if !self.loosened.iter().any(|record| record.parent == *parent) {
            let record = RpFilterRecord { parent: parent.clone(), before };
            if let Some(store) = &self.store {
                store.put(&record).wait().map_err(|error| chain(&error))?;
            }
            self.loosened.push(record);
        }
        tracing::info!(%parent, before, "rp_filter set to 2, until host access is disabled");
        self.executor.set_filter(parent, 2).map_err(|error| chain(&error))
    }

    fn restore(&mut self, record: &RpFilterRecord) -> Result<(), String> {
        let parent = &record.parent;
        // Whoever has set it to something else meanwhile meant it.
        if self.executor.filter(parent) == Some(2) {
            tracing::info!(%parent, value = record.before, "rp_filter set back");
            self.executor.set_filter(parent, record.before).map_err(|error| chain(&error))?;
        }
        match &self.store {
            Some(store) => store.remove::<RpFilterRecord>(parent).wait().map_err(|error| chain(&error)),
            None => Ok(()),
        }
    }
}

/// Puts what could not be done into what is shown.
fn finish(key: Option<&str>, mut view: AccessView, outcome: &Outcome) -> AccessView {
    let Some(key) = key else { return view };
    if let Some(why) = outcome.failed.get(key) {
        view.state = AccessState::Trouble(why.clone());
        view.interface = None;
    }
    if let Some(problems) = outcome.problems.get(key) {
        for container in &mut view.containers {
            let problem = container.addresses.iter().find_map(|address| problems.get(&IpNet::from(*address)));
            if let Some(problem) = problem {
                container.state = AccessState::Trouble(problem.clone());
            }
        }
        if let Some(problem) = view.routes.iter().find_map(|route| problems.get(route)) {
            view.state = AccessState::Trouble(problem.clone());
        }
    }
    view
}

#[cfg(test)]
mod tests;
