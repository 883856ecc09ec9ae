//! The supervisors of both families with servers, sandboxes and a clock of their own.

mod host;
mod ipv4;
mod ipv6;
mod starts;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use landline_dhcp::v4::Remembered;
use landline_kernel::LinkKind;
use landline_links::Sandboxes;
use landline_links::fake::{FakeHost, FakeNamespaces, FakeSandboxes, link};
use landline_links::mark::Mark;
use landline_model::{EndpointRecord, Ipv6Identity, Now};
use landline_options::NetworkOptions;
use landline_store::Store;
use landline_types::Mac;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::addressing::book::AddressBook;
use crate::addressing::dhcp;
use crate::clock::Clock;
use crate::endpoint_state::EndpointState;
use crate::fake::FakeLan;
use crate::inventory::Ledger;
use crate::ipv6::{Company, RaListeners, Status6};
use crate::lease::{ConflictMonitor, Services, Status, Supervised};
use crate::random::OsRandom;
use crate::sockets::{Location, Sockets};

/// The endpoint's link on the host.
const INDEX: u32 = 7;

const MAC: Mac = Mac::new([2, 0, 0, 0, 0, 7]);

/// More than anything here takes. No time passes meanwhile but that of the test's clock.
const EVER: Duration = Duration::from_hours(48);

/// One endpoint, with everything around it.
struct Lab {
    lan: FakeLan,
    sandboxes: FakeSandboxes,
    host: FakeHost,
    services: Services,
    endpoint: Arc<EndpointState>,
    store: Arc<Store>,
    ledger: Ledger,
    dir: TempDir,
}

impl Lab {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// One on a network with other options.
    fn with(change: impl FnOnce(&mut NetworkOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&dir.path().join("state.redb")).unwrap();
        let (store, ledger, clock) = (Arc::new(store), Ledger::default(), Clock::of_tokio());
        let lan = FakeLan::new(clock.clone());
        let sockets: Arc<dyn Sockets> = Arc::new(lan.clone());
        let sandboxes = FakeSandboxes::default();
        let bridge = link(1, "br0", LinkKind::Bridge { vlan_filtering: false });
        let host = FakeHost::with(vec![bridge, link(INDEX, "llc0", LinkKind::Veth)]);
        let link_table = host.table();
        let services = Services {
            clock,
            sockets: sockets.clone(),
            traces: Arc::default(),
            meters: Arc::default(),
            history: Arc::default(),
            sandboxes: Arc::new(sandboxes.clone()),
            namespaces: Arc::new(FakeNamespaces::default()),
            book: AddressBook::default(),
            ra_listeners: RaListeners::new(link_table.clone(), sockets.clone()),
            company: Company::default(),
            conflict_monitor: ConflictMonitor::new(link_table.clone(), sockets),
            link_table,
            boot: "this boot".into(),
            cancel: CancellationToken::new(),
        };
        let mut options = NetworkOptions::new("br0".parse().unwrap());
        change(&mut options);
        let identity = Ipv6Identity::draw(MAC, false, None, &mut OsRandom);
        let record: EndpointRecord = serde_json::from_value(serde_json::json!({
            "id": "e".repeat(64), "network": "n", "mac": MAC, "link": "llc0", "prefix": "eth",
            "address": { "dhcp": {} }, "ipv6": { "identity": identity },
        }))
        .unwrap();
        let endpoint = EndpointState::stored(record, options, store.clone(), &services.book, &ledger);
        Self { lan, sandboxes, host, services, endpoint: Arc::new(endpoint), store, ledger, dir }
    }

    /// A client that begins on the host.
    async fn start(&self, remembered: Option<Remembered>) -> Supervised {
        let config = dhcp::config(self.endpoint.options(), MAC, &self.dhcp().await, None);
        crate::ipv4::start(
            self.endpoint.clone(),
            self.services.clone(),
            config,
            remembered,
            Location::Host(INDEX),
        )
    }

    async fn start6(&self) -> Supervised<Status6> {
        let record = self.endpoint.read().await;
        let config = crate::ipv6::config(self.endpoint.options(), MAC, record.ipv6.as_ref().unwrap());
        crate::ipv6::start(self.endpoint.clone(), self.services.clone(), config, None, Location::Host(INDEX))
    }

    /// The daemon starts again, and the container has gone on.
    async fn resume(&self) -> Supervised {
        let dhcp = self.dhcp().await;
        let config = dhcp::config(self.endpoint.options(), MAC, &dhcp, None);
        let lease = dhcp.lease.and_then(|lease| lease.restore(&self.services.boot));
        crate::ipv4::resume(self.endpoint.clone(), self.services.clone(), config, lease, place())
    }

    async fn resume6(&self) -> Supervised<Status6> {
        let record = self.endpoint.read().await;
        let ipv6 = record.ipv6.unwrap();
        let config = crate::ipv6::config(self.endpoint.options(), MAC, &ipv6);
        let state = ipv6.identity.state.as_ref();
        crate::ipv6::resume(self.endpoint.clone(), self.services.clone(), config, state, place())
    }

    fn mark(&self) -> Mark {
        Mark::inside(self.endpoint.id(), self.endpoint.options().mode)
    }

    async fn dhcp(&self) -> landline_model::DhcpRecord {
        match self.endpoint.read().await.address {
            landline_model::AddressRecord::Dhcp(dhcp) => dhcp,
            other => panic!("{other:?}"),
        }
    }

    /// The address of the lease as the file has it, which is closed.
    async fn stored(self) -> Option<String> {
        let path = self.dir.path().join("state.redb");
        let Self { endpoint, store, services, .. } = self;
        drop((endpoint, services));
        until("the file is closed", || Arc::strong_count(&store) == 1).await;
        drop(store);
        let (_store, mut rows) = Store::open(&path).unwrap();
        let records: Vec<EndpointRecord> = rows.take();
        match &records.first()?.address {
            landline_model::AddressRecord::Dhcp(dhcp) => {
                dhcp.lease.as_ref().map(|lease| lease.address.to_string())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Docker was told the address and moves the link into the container.
    async fn join<S>(&self, supervised: &Supervised<S>, told: Option<IpAddr>) {
        let net = told.map(|address| ipnet::IpNet::new(address, 24).unwrap());
        self.endpoint
            .update(|record| match net {
                Some(ipnet::IpNet::V4(net)) => record.applied.address = Some(net),
                Some(ipnet::IpNet::V6(_)) | None => {}
            })
            .await
            .unwrap();
        supervised.orders.joined(Some(INDEX), sandbox());
        self.sandboxes.move_in(&sandbox(), &self.mark(), net.into_iter().collect());
        self.host.change(|links| links.retain(|link| link.index != INDEX));
    }

    /// Docker moves the link into the container, and is long in setting it up.
    fn leave<S>(&self, supervised: &Supervised<S>) {
        supervised.orders.joined(Some(INDEX), sandbox());
        self.sandboxes.move_in_down(&sandbox(), &self.mark());
        self.lan.four(crate::fake::Lan4::unplug);
        self.lan.six(crate::fake::Lan6::unplug);
        self.host.change(|links| links.retain(|link| link.index != INDEX));
    }

    /// The addresses in the container.
    fn inside(&self) -> Vec<String> {
        self.sandboxes.addresses(&sandbox(), &self.mark())
    }

    /// Waits until the container has these addresses.
    async fn until_inside(&self, addresses: &[&str]) {
        until("the container's addresses", || self.inside() == addresses).await;
    }

    fn now(&self) -> Now {
        self.services.clock.both()
    }
}

fn place() -> Location {
    Location::Sandbox(sandbox())
}

fn sandbox() -> PathBuf {
    "/run/netns/web".into()
}

/// Waits for something that is published.
async fn wait<S: Clone>(supervised: &Supervised<S>, what: &str, is: impl FnMut(&S) -> bool) -> S {
    let mut status: watch::Receiver<S> = supervised.status.clone();
    let waited = tokio::time::timeout(EVER, status.wait_for(is)).await;
    waited.unwrap_or_else(|_| panic!("never happened: {what}")).unwrap().clone()
}

/// A lease that a server has granted or confirmed.
async fn bound(supervised: &Supervised) -> Status {
    wait(supervised, "a lease", |status| status.lease.is_some() && status.confirmed).await
}

/// Waits for something that tasks bring about.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + EVER;
    while !is() {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Time passes.
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Whether the container is there.
fn lives(lab: &Lab, path: &Path) -> bool {
    lab.sandboxes.lives(path)
}
