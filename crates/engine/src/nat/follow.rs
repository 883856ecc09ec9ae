//! The task that keeps the kernel as records and containers want it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use landline_kernel::sysctl;
use landline_kernel::{Event, Group, Monitor, nft};
use landline_types::IfName;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::record::{NatPort, NatPorts, NatRecord, NatView};
use super::table::{Mapping, mapping, script};
use super::{Command, NatError, NatSeen, address, firewall, hairpin, stale};
use crate::blocking;
use crate::error::chain;
use crate::store::Store;

pub(crate) struct Follower {
    records: BTreeMap<String, NatRecord>,
    /// Bridges of networks that are to be let through.
    bridges: BTreeSet<IfName>,
    store: Arc<Store>,
    seen: watch::Receiver<NatSeen>,
    views: watch::Sender<Vec<NatView>>,
    /// What was loaded last.
    loaded: Option<String>,
    /// The addresses that were translated then.
    translated: BTreeSet<Ipv4Addr>,
    /// Whether there may be openings in the firewall.
    opened: bool,
}

/// Follows until `cancel`. Everything stays: containers go on being reached while the daemon restarts.
pub(super) async fn run(
    mut follower: Follower,
    mut commands: mpsc::UnboundedReceiver<Command>,
    cancel: CancellationToken,
) {
    // A NIC that comes, or loses its addresses.
    let mut monitor = Monitor::open(&[Group::Links, Group::Addresses]).ok();
    follower.pass().await;
    loop {
        let host = async {
            match &mut monitor {
                Some(monitor) => monitor.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            command = commands.recv() => match command {
                Some(command) => follower.command(command).await,
                None => return,
            },
            Ok(()) = follower.seen.changed() => follower.pass().await,
            event = host => match event {
                Ok(event) if follower.concerns(&event) => follower.pass().await,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, "events ended; addresses of containers on the host are no longer followed");
                    monitor = None;
                }
            },
        }
    }
}

impl Follower {
    pub(super) fn new(
        records: Vec<NatRecord>,
        bridges: BTreeSet<IfName>,
        store: Arc<Store>,
        seen: watch::Receiver<NatSeen>,
        views: watch::Sender<Vec<NatView>>,
    ) -> Self {
        let opened = !bridges.is_empty() || records.iter().any(|record| record.open_firewall);
        let records = records.into_iter().map(|record| (record.container.clone(), record)).collect();
        Self { records, bridges, store, seen, views, loaded: None, translated: BTreeSet::new(), opened }
    }

    fn concerns(&self, event: &Event) -> bool {
        match event {
            Event::LinkNew(link) => self.records.values().any(|record| record.interface == link.name),
            Event::AddressGone(gone) => self.records.values().any(|r| gone.net.addr() == r.address),
            Event::Overrun => !self.records.is_empty(),
            _ => false,
        }
    }

    async fn command(&mut self, command: Command) {
        // Whoever asked may have gone.
        match command {
            Command::Add(record, answer) => drop(answer.send(self.add(record).await)),
            Command::Remove(container, answer) => drop(answer.send(self.remove(&container).await)),
            Command::Bridges(bridges, answer) => {
                let before = std::mem::replace(&mut self.bridges, bridges);
                let opened = self.open().await.map_err(NatError::Firewall);
                if opened.is_err() {
                    self.bridges = before;
                }
                drop(answer.send(opened));
            }
        }
    }

    async fn add(&mut self, mut record: NatRecord) -> Result<NatView, NatError> {
        let (container, address) = (record.container.clone(), record.address);
        if self.records.contains_key(&container) {
            return Err(NatError::Exists(container));
        }
        if let Some(other) = self.records.values().find(|other| other.address == address) {
            return Err(NatError::Taken { address, container: other.container.clone() });
        }
        address::check(&record.interface, address).await?;
        record.forwarding = record.open_firewall && !forwards();
        // Stored first: what is on the NIC without a record would never be taken away.
        self.put(record.clone()).await?;
        self.records.insert(container.clone(), record.clone());
        if let Err(error) = self.apply(&record).await {
            let record = self.records.get(&container).cloned().unwrap_or(record);
            self.take_back(&record).await;
            return Err(error);
        }
        self.show(&BTreeMap::new());
        tracing::info!(container, %address, interface = %record.interface, "a container has an address on the host");
        let views = self.views.borrow();
        views.iter().find(|view| view.container == container).cloned().ok_or(NatError::Stopping)
    }

    async fn apply(&mut self, record: &NatRecord) -> Result<(), NatError> {
        self.load().await?;
        if !address::put(&record.interface, record.address, false).await? {
            return Err(NatError::Down(record.interface.clone()));
        }
        if record.forwarding {
            forward(true).map_err(|error| NatError::Firewall(error.to_string()))?;
            tracing::warn!("net.ipv4.ip_forward is 1 now, as long as a container's address needs it");
        }
        self.open().await.map_err(NatError::Firewall)?;
        self.hairpin().await;
        Ok(())
    }

    async fn remove(&mut self, container: &str) -> Result<(), NatError> {
        let Some(record) = self.records.get(container).cloned() else {
            return Err(NatError::Unknown(container.to_owned()));
        };
        self.take_back(&record).await;
        tracing::info!(container, address = %record.address, "a container's address on the host was taken back");
        Ok(())
    }

    /// Undoes everything, and never stops at a failure: it is told.
    async fn take_back(&mut self, record: &NatRecord) {
        self.records.remove(&record.container);
        let said = |what: &str, error: String| tracing::warn!(error, address = %record.address, "{what}");
        if let Err(error) = self.open().await {
            said("the firewall's opening could not be closed", error);
        }
        if let Err(error) = self.load().await {
            said("its rules could not be removed", chain(&error));
        }
        if let Some(port) = record.hairpin.clone()
            && let Err(error) = blocking(move || hairpin::forbid(&port)).await
        {
            said("its port is still in hairpin mode", error.to_string());
        }
        if let Err(error) = address::take(&record.interface, record.address).await {
            said("it could not be removed", chain(&error));
        }
        let others = self.records.values_mut().find(|other| other.open_firewall);
        match others {
            _ if !record.forwarding => {}
            // Whoever goes last puts it back.
            Some(other) => {
                other.forwarding = true;
                let other = other.clone();
                if let Err(error) = self.put(other).await {
                    said("a record could not be stored", chain(&error));
                }
            }
            None => {
                if let Err(error) = forward(false) {
                    said("net.ipv4.ip_forward could not be put back to 0", error.to_string());
                }
            }
        }
        let (store, key) = (self.store.clone(), record.container.clone());
        if let Err(error) = blocking(move || store.remove_nat(&key)).await {
            said("its record could not be removed", chain(&error));
        }
        self.show(&BTreeMap::new());
    }

    async fn put(&self, record: NatRecord) -> Result<(), NatError> {
        let store = self.store.clone();
        Ok(blocking(move || store.put_nat(&record)).await?)
    }

    /// Makes everything as it should be; what cannot be is told and shown.
    async fn pass(&mut self) {
        if self.records.is_empty() && self.loaded.is_none() && !self.opened {
            return;
        }
        let mut problems = BTreeMap::new();
        for record in self.records.values() {
            let problem = match address::put(&record.interface, record.address, true).await {
                Ok(true) => continue,
                Ok(false) => format!("{} is not there, or down", record.interface),
                Err(error) => chain(&error),
            };
            problems.insert(record.address, problem);
        }
        // After a start what was loaded before stays until it is known what runs.
        if self.loaded.is_none() && !self.seen.borrow().connected {
            self.show(&problems);
            return;
        }
        if let Err(error) = self.load().await {
            tracing::error!(error = chain(&error), "containers' addresses are not translated");
            problems.extend(self.records.values().map(|record| (record.address, chain(&error))));
        }
        if let Err(error) = self.open().await {
            tracing::warn!(error, "the host's firewall could not be opened");
        }
        self.hairpin().await;
        self.show(&problems);
    }

    /// Has the containers reach themselves, and writes down whose port was changed for it.
    async fn hairpin(&mut self) {
        let seen = self.seen.borrow().clone();
        for record in self.records.clone().into_values() {
            let Some(container) = seen.containers.get(&record.container) else { continue };
            let (Some(sandbox), inside) = (container.sandbox.clone(), container.address) else { continue };
            match blocking(move || hairpin::allow(&sandbox, inside)).await {
                Ok(None) => {}
                Ok(port) => {
                    let record = NatRecord { hairpin: port, ..record };
                    if let Err(error) = self.put(record.clone()).await {
                        tracing::warn!(error = chain(&error), "a record could not be stored");
                    }
                    self.records.insert(record.container.clone(), record);
                }
                Err(error) => {
                    tracing::debug!(%error, container = record.container, "a container's port cannot be found");
                }
            }
        }
    }

    fn mappings(&self) -> Vec<Mapping> {
        let seen = self.seen.borrow();
        self.records.values().filter_map(|record| mapping(record, &seen)).collect()
    }

    /// Loads the table, unless it is the one that was loaded last.
    async fn load(&mut self) -> Result<(), NatError> {
        let mappings = self.mappings();
        let script = script(&mappings);
        if self.loaded.as_ref() == Some(&script) {
            return Ok(());
        }
        let rules = script.clone();
        blocking(move || nft::apply(&rules)).await.map_err(NatError::Rules)?;
        self.loaded = Some(script);
        let now: BTreeSet<Ipv4Addr> = self.records.values().map(|record| record.address).collect();
        let before = std::mem::replace(&mut self.translated, now.clone());
        let addresses = now.union(&before).copied().collect();
        match blocking(move || stale::forget(&addresses, &mappings)).await {
            Ok(0) => {}
            Ok(connections) => tracing::info!(connections, "translated in another way than now; forgotten"),
            Err(error) => {
                tracing::warn!(error = chain(&error), "connections of before may go on to where they went");
            }
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<(), String> {
        let seen = self.seen.borrow().clone();
        let open = self.records.values().filter(|record| record.open_firewall);
        let mappings: Vec<Mapping> = open.filter_map(|record| mapping(record, &seen)).collect();
        let mut wanted = firewall::openings(mappings.iter());
        // Otherwise what is bridged does not meet the firewall.
        if sysctl::bridge_nf() {
            wanted.extend(self.bridges.iter().map(firewall::bridge));
        }
        if wanted.is_empty() && !self.opened {
            return Ok(());
        }
        self.opened = true;
        let nothing = wanted.is_empty();
        blocking(move || firewall::open(&wanted)).await?;
        self.opened = !nothing;
        Ok(())
    }

    fn show(&self, problems: &BTreeMap<Ipv4Addr, String>) {
        let seen = self.seen.borrow();
        let views = self.records.values().map(|record| {
            let mapping = mapping(record, &seen);
            let ports = match (&mapping, &record.ports) {
                (_, NatPorts::All) => vec!["all".to_owned()],
                (Some(Mapping { ports: Some(ports), .. }), _) => {
                    ports.iter().copied().map(port_text).collect()
                }
                (_, NatPorts::Only(ports)) => ports.iter().copied().map(port_text).collect(),
                (_, NatPorts::Exposed) => Vec::new(),
            };
            let state = match (problems.get(&record.address), &mapping) {
                (Some(problem), _) => problem.clone(),
                (None, None) => "waits for its container".into(),
                (None, Some(_)) if ports.is_empty() => "its container exposes no port; give --port".into(),
                (None, Some(_)) if !forwards() => "net.ipv4.ip_forward is 0; give --open-firewall".into(),
                (None, Some(_)) => "ready".into(),
            };
            NatView {
                container: record.container.clone(),
                address: record.address,
                interface: record.interface.clone(),
                inside: mapping.map(|mapping| mapping.inside),
                ports,
                state,
            }
        });
        self.views.send_replace(views.collect());
    }
}

fn port_text(port: NatPort) -> String {
    let NatPort { transport, outside, inside } = port;
    if outside == inside {
        format!("{outside}/{transport}")
    } else {
        format!("{outside}:{inside}/{transport}")
    }
}

/// Whether the host passes packets on. A look at `/proc` takes no time.
fn forwards() -> bool {
    sysctl::ip_forward().unwrap_or(true)
}

fn forward(on: bool) -> std::io::Result<()> {
    sysctl::set_ip_forward(on)
}
