//! A host, a LAN, a firewall and a store that can fail, and what the front end sees of containers.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use landline_kernel::{Address, Link, LinkKind};
use landline_leases::addressing::book::AddressBook;
use landline_leases::clock::Clock;
use landline_leases::fake::FakeLan;
use landline_leases::ipv6::{Company, RaListeners};
use landline_leases::{ConflictMonitor, Foundation, Ledger, Services, Sockets};
use landline_links::HostError;
use landline_links::fake::{FakeHost, FakeNamespaces, FakeSandboxes, Lists, link};
use landline_model::NatOwner;
use landline_options::LanIp;
use landline_store::Store;
use landline_types::{IfName, Mac};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::firewall::{Family, Rule};
use crate::forwarding::{Forwarding, RuleChanges};
use crate::table::Mapping;
use crate::{Nat, NatContainer, NatRecord, NatSeen};

pub(super) const NIC: u32 = 2;
pub(super) const HOST: &str = "198.51.100.5/24";

/// What the kernel and the firewall do with packets.
#[derive(Debug, Default)]
pub(super) struct Packets {
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) passed_on: bool,
    pub(super) rules: BTreeSet<Rule>,
    pub(super) refuses: bool,
    pub(super) hairpins: BTreeSet<IfName>,
    /// How often rules were asked for.
    pub(super) looks: usize,
}

impl Packets {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A firewall loads its own rules.
    pub(super) fn flush(&self) {
        self.state().rules.clear();
        self.changes.send_replace(());
    }

    /// Whether a rule has this word.
    pub(super) fn opens(&self, word: &str) -> bool {
        self.state().rules.iter().flatten().any(|part| part == word)
    }
}

impl Forwarding for Packets {
    fn is_on(&self) -> bool {
        self.state().passed_on
    }

    fn switch(&self, on: bool) -> io::Result<()> {
        let mut state = self.state();
        if state.refuses {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        state.passed_on = on;
        Ok(())
    }

    fn meets_bridged(&self) -> bool {
        false
    }

    fn forget(&self, _addresses: &BTreeSet<Ipv4Addr>, _mappings: &[Mapping]) -> Result<usize, HostError> {
        Ok(0)
    }

    fn open(&self, family: Family, wanted: &BTreeSet<Rule>, _needed: bool) -> Result<bool, String> {
        let mut state = self.state();
        state.looks += 1;
        if state.refuses {
            return Err("iptables: not now".into());
        }
        if family == crate::firewall::IPV4 {
            state.rules.clone_from(wanted);
        }
        Ok(true)
    }

    fn all_changes_are_heard(&self) -> bool {
        true
    }

    fn follow(&self) -> Box<dyn RuleChanges> {
        Box::new(self.changes.subscribe())
    }

    fn hairpin(&self, _sandbox: &Path, _inside: Ipv4Addr) -> io::Result<Option<IfName>> {
        let port: IfName = "veth1".parse().unwrap();
        Ok(self.state().hairpins.insert(port.clone()).then_some(port))
    }

    fn hairpin_port(&self, port: &IfName) -> io::Result<()> {
        self.state().hairpins.insert(port.clone());
        Ok(())
    }

    fn no_hairpin(&self, port: &IfName) -> io::Result<()> {
        self.state().hairpins.remove(port);
        Ok(())
    }
}

impl RuleChanges for watch::Receiver<()> {
    fn has_changed(&mut self) -> bool {
        watch::Receiver::has_changed(self).unwrap_or(false)
    }

    fn changed(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async { drop(watch::Receiver::changed(self).await) })
    }
}

/// All of it.
pub(super) struct World {
    dir: TempDir,
    host: Arc<FakeHost>,
    pub(super) fake: FakeNamespaces,
    pub(super) lan: FakeLan,
    clock: Clock,
    pub(super) packets: Arc<Packets>,
    /// The engine's side of the inventory, while a daemon runs.
    pub(super) ledger: Mutex<Ledger>,
}

/// A daemon that runs.
pub(super) struct Daemon {
    pub(super) nat: Arc<Nat>,
    pub(super) store: Weak<Store>,
    cancel: CancellationToken,
}

impl World {
    pub(super) fn new() -> Self {
        let clock = Clock::of_tokio();
        let fake = FakeNamespaces::default();
        fake.host(|host| plug_in(host, NIC));
        let host = FakeHost::with(fake.host(|host| host.links.clone()));
        let packets = Arc::<Packets>::default();
        packets.state().passed_on = true;
        Self {
            dir: tempfile::tempdir().unwrap(),
            host: Arc::new(host),
            fake,
            lan: FakeLan::new(clock.clone()),
            clock,
            packets,
            ledger: Mutex::default(),
        }
    }

    /// A daemon starts that does not know yet which containers run.
    pub(super) async fn start(&self) -> Daemon {
        let (store, rows) = Store::open(&self.dir.path().join("state")).unwrap();
        let (link_table, cancel) = (self.host.table(), CancellationToken::new());
        let sockets: Arc<dyn Sockets> = Arc::new(self.lan.clone());
        let services = Services {
            clock: self.clock.clone(),
            sockets: sockets.clone(),
            sandboxes: Arc::new(FakeSandboxes::default()),
            namespaces: Arc::new(self.fake.clone()),
            traces: Arc::default(),
            meters: Arc::default(),
            history: Arc::default(),
            ra_listeners: RaListeners::new(link_table.clone(), sockets.clone()),
            company: Company::default(),
            conflict_monitor: ConflictMonitor::new(link_table.clone(), sockets),
            book: AddressBook::default(),
            link_table,
            boot: "this boot".into(),
            cancel: cancel.clone(),
        };
        let mut ground = Foundation::on(self.host.clone(), store, rows, services, Arc::default());
        let nat = Nat::start_on(&mut ground, self.packets.clone()).await;
        *self.ledger.lock().unwrap() = ground.ledger.clone();
        Daemon { nat, store: Arc::downgrade(&ground.store), cancel }
    }

    /// A daemon that sees which containers run: none.
    pub(super) async fn started(&self) -> Daemon {
        let daemon = self.start().await;
        daemon.nat.see(seen(&[]));
        daemon
    }

    /// The daemon ends; what it has stored.
    pub(super) async fn kill(&self, daemon: Daemon) -> Vec<NatRecord> {
        daemon.cancel.cancel();
        drop(daemon.nat);
        *self.ledger.lock().unwrap() = Ledger::default();
        eventually("the state is closed", || daemon.store.strong_count() == 0).await;
        Store::open(&self.dir.path().join("state")).unwrap().1.take()
    }

    /// The containers' addresses on this interface.
    pub(super) fn on(&self, interface: &str) -> Vec<String> {
        let own = |host: &Lists| {
            let index = host.link(interface)?.index;
            let all = host.addresses.iter().filter(|own| own.index == index && own.net.prefix_len() == 32);
            Some(all.map(|own| own.net.addr().to_string()).collect())
        };
        self.fake.host(|host| own(host)).unwrap_or_default()
    }

    /// The rules that were loaded last.
    pub(super) fn rules(&self) -> String {
        self.fake.scripts().last().cloned().unwrap_or_default()
    }

    /// Somebody removes the address.
    pub(super) fn remove(&self, address: &str) {
        let address: IpAddr = address.parse().unwrap();
        assert!(self.fake.host(|host| host.remove_address(address)));
    }
}

/// The NIC as it is plugged in, with the host's address.
pub(super) fn plug_in(host: &mut Lists, index: u32) {
    host.links
        .push(Link { mac: Some(Mac::new([2, 0, 0, 0, 1, 9])), ..link(index, "eth0", LinkKind::Physical) });
    host.addresses.push(Address::new(index, HOST.parse().unwrap()));
}

/// These containers run, each with its address on Docker's bridge.
pub(super) fn seen(containers: &[(&str, &str)]) -> NatSeen {
    let container = |(name, address): &(&str, &str)| {
        let container = NatContainer {
            address: address.parse().unwrap(),
            subnets: vec!["203.0.113.0/24".parse().unwrap()],
            ports: BTreeSet::from([(6, 80)]),
            sandbox: Some("/sandbox/1".into()),
        };
        ((*name).to_owned(), container)
    };
    NatSeen { connected: true, containers: containers.iter().map(container).collect() }
}

pub(super) fn web() -> NatOwner {
    NatOwner::Container("web".into())
}

/// This address of the LAN stands for the container web.
pub(super) fn record(address: &str) -> NatRecord {
    NatRecord::new(web(), LanIp::Static(address.parse().unwrap()), "eth0".parse().unwrap())
}

/// The same with an address of a DHCP server.
pub(super) fn leased() -> NatRecord {
    NatRecord::new(web(), LanIp::Dhcp, "eth0".parse().unwrap())
}

/// Waits for something that the task brings about. Time passes when nothing else happens.
pub(super) async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(30);
    while !is() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything that is to happen by itself within a minute has happened.
pub(super) async fn quiet() {
    tokio::time::sleep(Duration::from_mins(1)).await;
}
