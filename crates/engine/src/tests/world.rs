//! A host, a store and a feature that can be made to fail, and the requests that Docker would make.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landline_kernel::{Link, LinkKind};
pub(super) use landline_leases::fake::wait_for;
use landline_leases::fake::{FakeMachine, closed};
use landline_links::fake::{FakeLink, link};
use landline_links::mark::{End, Mark};
use landline_links::{Host as _, mark_of};
use landline_model::NetworkRecord;
use landline_options::{
    Addressing, ConflictCheck, EndpointId, EndpointOptions, Ipv6Mode, Mode, NetworkId, NetworkOptions,
};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::admission::{Admission, EndpointRequest, NetworkRequest, Refusal, Verdict, Withdrawn};
use crate::endpoints::{CreateEndpoint, CreateEndpointError, EndpointAddress};
use crate::engine::Engine;
use crate::identity::Candidate;
use crate::networks::{CreateNetwork, CreateNetworkError, NetworkIpam};

/// Where nothing is to be waited for.
const SHORT: Duration = Duration::from_millis(200);

/// How a network's containers are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bridge,
    BridgeVlan,
    Macvlan,
    MacvlanVlan,
    Ipvlan,
    /// A port of Open vSwitch.
    Ovs,
    /// The card itself.
    Nic,
    Vde,
    Nat,
    Routed,
    /// On a bridge, with addresses of a DHCP server.
    Leased,
    /// The same, with IPv6.
    Leased6,
    /// On a bridge, with addresses that Docker gives.
    Fixed,
}

impl Kind {
    pub(super) fn options(self) -> NetworkOptions {
        let (mode, parent, vlan) = match self {
            Self::Bridge | Self::Leased | Self::Leased6 | Self::Fixed => (Mode::Bridge, "br0", None),
            Self::BridgeVlan => (Mode::Bridge, "br1", Some(12)),
            Self::Macvlan => (Mode::Macvlan, "eth0", None),
            Self::MacvlanVlan => (Mode::Macvlan, "eth0", Some(12)),
            Self::Ipvlan => (Mode::Ipvlan, "eth0", None),
            Self::Ovs => (Mode::Ovs, "ovs0", None),
            Self::Nic => (Mode::Nic, "eth1", None),
            Self::Vde => (Mode::Vde, "vde", None),
            Self::Nat => (Mode::Nat, "eth0", None),
            Self::Routed => (Mode::Routed, "eth0", None),
        };
        let (addressing, conflict_check, patience) = match self {
            Self::Nat => (Addressing::Static, ConflictCheck::Off, SHORT),
            Self::Leased | Self::Leased6 => (Addressing::Dhcp, ConflictCheck::Fast, Duration::from_secs(10)),
            Self::Fixed => (Addressing::Static, ConflictCheck::Fast, SHORT),
            _ => (Addressing::None, ConflictCheck::Off, SHORT),
        };
        NetworkOptions {
            mode,
            vlan: vlan.map(|id: u16| id.try_into().unwrap()),
            addressing,
            conflict_check,
            lease_timeout: patience,
            ipv6: if self == Self::Leased6 { Ipv6Mode::Auto } else { Ipv6Mode::Off },
            ..NetworkOptions::new(parent.parse().unwrap())
        }
    }

    /// Where Docker's addresses are from.
    fn subnet(self) -> Option<&'static str> {
        match self {
            Self::Nat => Some("203.0.113"),
            Self::Fixed => Some("198.51.100"),
            _ => None,
        }
    }

    pub(super) fn network(self) -> CreateNetwork {
        let ipam = match self {
            Self::Nat => NetworkIpam::Pool {
                subnet: "203.0.113.0/24".parse().unwrap(),
                gateway: "203.0.113.1".parse().ok(),
            },
            Self::Fixed => NetworkIpam::Pool {
                subnet: "198.51.100.0/24".parse().unwrap(),
                gateway: "198.51.100.1".parse().ok(),
            },
            _ => NetworkIpam::Null,
        };
        CreateNetwork { id: network_id(), options: self.options(), ipam, ipam_v6: None }
    }

    pub(super) fn endpoint(self, n: u8) -> CreateEndpoint {
        CreateEndpoint {
            network: network_id(),
            endpoint: endpoint_id(n),
            mac: None,
            address: self.subnet().map(|net| format!("{net}.{}/24", 10 + n).parse().unwrap()),
            address_v6: None,
            options: EndpointOptions::default(),
            ports: BTreeSet::new(),
            published: Vec::new(),
            candidates: Some(vec![candidate(n)]),
            reservation: None,
            host_end: None,
        }
    }
}

pub(super) fn network_id() -> NetworkId {
    "a".repeat(64).parse().unwrap()
}

pub(super) fn endpoint_id(n: u8) -> EndpointId {
    format!("{n:02x}{:062}", 0).parse().unwrap()
}

/// The container that an endpoint is for.
pub(super) fn candidate(n: u8) -> Candidate {
    let (id, name) = (format!("{n:064}"), format!("web{n}"));
    Candidate { id, name, slot: None, hostname: None, ports: Some(BTreeSet::new()), address: None }
}

/// Where a feature is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Proposed,
    Unsure,
    Network,
    Endpoint,
    Withdrawn,
}

#[derive(Debug, thiserror::Error)]
#[error("the feature says no")]
struct No;

/// A feature that remembers what it did and has not taken back yet.
#[derive(Debug, Default)]
pub(super) struct Gate {
    refuses: Mutex<Option<Stage>>,
    /// Whether it is asked about an endpoint and never answers.
    pub(super) hangs: Mutex<bool>,
    /// Rings when it hangs.
    pub(super) reached: Notify,
    held: Mutex<BTreeSet<String>>,
}

impl Gate {
    pub(super) fn refuse(&self, stage: Option<Stage>) {
        *self.refuses.lock().unwrap() = stage;
    }

    /// What it has done and not taken back.
    pub(super) fn held(&self) -> Vec<String> {
        self.held.lock().unwrap().iter().cloned().collect()
    }

    /// Done by halves before it refuses.
    fn hold(&self, what: String, stage: Stage) -> Result<(), Refusal> {
        self.held.lock().unwrap().insert(what);
        self.answer(stage)
    }

    fn answer(&self, stage: Stage) -> Result<(), Refusal> {
        if *self.refuses.lock().unwrap() == Some(stage) { Err(Refusal::new(No)) } else { Ok(()) }
    }
}

impl Admission for Gate {
    fn proposed<'a>(&'a self, _network: NetworkRequest<'a>) -> Verdict<'a> {
        Box::pin(async { self.answer(Stage::Proposed) })
    }

    fn network<'a>(&'a self, network: NetworkRequest<'a>) -> Verdict<'a> {
        Box::pin(async move { self.hold(format!("network {}", network.record.id), Stage::Network) })
    }

    fn unsure<'a>(&'a self, _network: &'a NetworkRecord) -> Verdict<'a> {
        Box::pin(async { self.answer(Stage::Unsure) })
    }

    fn endpoint<'a>(&'a self, endpoint: EndpointRequest<'a>) -> Verdict<'a> {
        Box::pin(async move {
            self.hold(format!("endpoint {}", endpoint.record.id), Stage::Endpoint)?;
            if *self.hangs.lock().unwrap() {
                self.reached.notify_one();
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn withdrawn<'a>(&'a self, what: Withdrawn<'a>) -> Verdict<'a> {
        let what = match what {
            Withdrawn::Network { id, .. } => format!("network {id}"),
            Withdrawn::Endpoint { record, .. } => format!("endpoint {}", record.id),
        };
        Box::pin(async move {
            self.held.lock().unwrap().remove(&what);
            self.answer(Stage::Withdrawn)
        })
    }
}

/// All of it.
pub(super) struct World {
    dir: TempDir,
    machine: FakeMachine,
    pub(super) gate: Arc<Gate>,
}

impl Deref for World {
    type Target = FakeMachine;

    fn deref(&self) -> &FakeMachine {
        &self.machine
    }
}

impl World {
    /// A host with two bridges, one of which filters VLANs, a bridge of Open vSwitch and two NICs.
    pub(super) fn new() -> Self {
        let nic =
            |index, name, mac: &str| Link { mac: mac.parse().ok(), ..link(index, name, LinkKind::Physical) };
        let bridge = |index, name, vlan_filtering| link(index, name, LinkKind::Bridge { vlan_filtering });
        let links = vec![
            bridge(1, "br0", false),
            nic(2, "eth0", "02:11:22:33:44:55"),
            bridge(3, "br1", true),
            link(4, "ovs0", LinkKind::OpenVswitch),
            nic(5, "eth1", "02:11:22:33:44:66"),
        ];
        let (dir, machine) = (tempfile::tempdir().unwrap(), FakeMachine::with(links));
        machine.sandboxes.begin(&living());
        Self { dir, machine, gate: Arc::default() }
    }

    /// One with a network of this kind.
    pub(super) async fn with(kind: Kind) -> (Self, Arc<Engine>) {
        let world = Self::new();
        let engine = world.start().await;
        engine.create_network(kind.network()).await.unwrap();
        (world, engine)
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("state.redb")
    }

    /// A daemon starts.
    pub(super) async fn start(&self) -> Arc<Engine> {
        let mut ground = self.machine.ground(&self.path());
        Engine::start(&mut ground, self.gate.clone()).await
    }

    /// What was stored is lost.
    pub(super) fn lose_state(&self) {
        std::fs::remove_file(self.path()).unwrap();
    }

    /// The daemon ends without a word to anybody.
    pub(super) async fn kill(&self, engine: Arc<Engine>) {
        let store = Arc::downgrade(&engine.store);
        engine.shutdown().await;
        drop(engine);
        closed(store).await;
    }

    pub(super) async fn restart(&self, engine: Arc<Engine>) -> Arc<Engine> {
        self.kill(engine).await;
        self.start().await
    }

    /// The links that belong to endpoints, by which end they are.
    pub(super) fn ends(&self) -> Vec<(EndpointId, End)> {
        let links = self.host.links().unwrap();
        let mut ends: Vec<_> =
            links.iter().filter_map(own_mark).map(|mark| (mark.endpoint, mark.end)).collect();
        ends.sort_by_key(|(endpoint, end)| (endpoint.clone(), format!("{end:?}")));
        ends
    }

    /// Docker moves an endpoint's link into the container.
    pub(super) fn moves_in(&self, id: &EndpointId) {
        let inside =
            |link: &Link| own_mark(link).is_some_and(|mark| mark.endpoint == *id && mark.end != End::Host);
        let mut moved = Vec::new();
        self.host.change(|links| moved = links.extract_if(.., |link| inside(link)).collect());
        for link in moved {
            let link = Link { name: "eth0".parse().unwrap(), up: true, ..link };
            self.sandboxes.put(&living(), FakeLink { link, addresses: Vec::new() });
        }
    }

    /// The link in the container is gone, and with it the host's end of it.
    pub(super) fn loses_link(&self, id: &EndpointId) {
        self.sandboxes.end(&living());
        self.sandboxes.begin(&living());
        self.host.change(|links| links.retain(|link| mark_of(link).is_none_or(|mark| mark.endpoint != *id)));
    }

    /// The addresses in the container.
    pub(super) fn inside(&self, id: &EndpointId) -> Vec<String> {
        self.sandboxes.addresses(&living(), &Mark::new(id, End::Container))
    }
}

/// The mark of a link that belongs to an endpoint of these tests, also of a card, whose mark nobody else reads as one.
fn own_mark(link: &Link) -> Option<Mark> {
    let card = |n| Mark::new(&endpoint_id(n), End::Card);
    let is_it = |mark: &Mark| link.alias.as_deref() == Some(&*mark.to_string());
    mark_of(link).or_else(|| (1..10).map(card).find(is_it))
}

/// Requests that nobody gives up.
pub(super) async fn create(
    engine: &Engine,
    request: CreateEndpoint,
) -> Result<EndpointAddress, CreateEndpointError> {
    engine.create_endpoint(request, CancellationToken::new()).await
}

/// What `docker network create` prints.
pub(super) fn says(result: Result<(), CreateNetworkError>) -> String {
    result.map_or_else(|error| landline_types::chain(&error), |()| "created".into())
}

/// A sandbox that lives as long as the test.
pub(super) fn living() -> PathBuf {
    "/proc/self/ns/net".into()
}
