//! A host with a bridge and two cards, a container, and the daemon that attaches.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use landline_engine::{Admissions, Engine};
use landline_kernel::{Address, Link, LinkKind, Route};
use landline_leases::Shared;
use landline_leases::fake::{FakeMachine, closed, wait_for};
use landline_links::blocking;
use landline_links::fake::link;
use landline_options::Target;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{
    AttachFailure, AttachRequest, AttachmentRecord, AttachmentSlots, AttachmentView, Attachments, Origin,
    TargetSandbox,
};

/// The container's namespace.
pub(super) const WEB: &str = "/run/netns/web";

/// How an attachment is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// On a bridge, with a static address that takes the default route.
    Fixed,
    /// On a bridge, with an address of a DHCP server.
    Leased,
    /// On a card, likewise.
    Macvlan,
    /// In a VLAN of a card, for which there is an interface.
    Vlan,
    /// The card itself.
    Card,
    /// Nowhere.
    Dummy,
    /// On a bridge that is made for it.
    MadeBridge,
}

impl Way {
    pub(super) fn spec(self) -> &'static str {
        match self {
            Self::Fixed => "br0 198.51.100.7/24@198.51.100.1",
            Self::Leased => "br0 dhcp",
            Self::Macvlan => "eth0 dhcp mode=macvlan",
            Self::Vlan => "eth0 203.0.113.9/24 vlan=12 mode=macvlan",
            Self::Card => "eth1 198.51.100.8/24@198.51.100.1 mode=nic",
            Self::Dummy => "dummy 203.0.113.7/24@203.0.113.1",
            Self::MadeBridge => "br7 203.0.113.8/24 create=true",
        }
    }

    pub(super) fn request(self) -> AttachRequest {
        request(self.spec())
    }
}

/// What somebody asks for by command.
pub(super) fn request(spec: &str) -> AttachRequest {
    AttachRequest {
        target: Target::Netns(WEB.into()),
        spec: spec.parse().unwrap(),
        origin: Origin::Command,
        place: TargetSandbox { sandbox: WEB.into(), container: None },
        again: false,
        may_make: true,
    }
}

/// What there is in a namespace that people would notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Names, with marks, addresses, and whether they are up.
    pub(super) links: Vec<String>,
    pub(super) routes: Vec<String>,
}

impl Seen {
    /// The links' names.
    pub(super) fn names(&self) -> Vec<&str> {
        self.links.iter().filter_map(|link| link.split(' ').next()).collect()
    }
}

fn seen(lists: &landline_links::fake::Lists) -> Seen {
    let name = |index: u32| lists.links.iter().find(|l| l.index == index).map_or("?", |l| l.name.as_str());
    let shown = |link: &Link| {
        let own = lists.addresses.iter().filter(|address| address.index == link.index);
        let mut own: Vec<String> = own.map(|address| address.net.to_string()).collect();
        own.sort();
        let Link { name, mac, mtu, up, alias, .. } = link;
        format!("{name} {mac:?} {mtu} up={up} {alias:?} {own:?}")
    };
    let route = |route: &Route| {
        let by = route.gateway.map_or_else(|| "link".to_owned(), |gateway| gateway.to_string());
        format!("{} {by} {}", route.destination, route.oif.map_or("?", name))
    };
    let mut links: Vec<String> = lists.links.iter().map(shown).collect();
    let mut routes: Vec<String> = lists.routes.iter().map(route).collect();
    links.sort();
    routes.sort();
    Seen { links, routes }
}

/// All of it.
pub(super) struct World {
    dir: TempDir,
    machine: FakeMachine,
}

impl Deref for World {
    type Target = FakeMachine;

    fn deref(&self) -> &FakeMachine {
        &self.machine
    }
}

/// A daemon that runs.
pub(super) struct Daemon {
    pub(super) shared: Shared,
    pub(super) attach: Arc<Attachments>,
    pub(super) engine: Arc<Engine>,
}

impl Daemon {
    pub(super) async fn attach(&self, request: AttachRequest) -> Result<AttachmentView, AttachFailure> {
        self.attach.attach(request, CancellationToken::new()).await
    }

    pub(super) async fn detach(&self) -> Result<usize, AttachFailure> {
        self.attach.detach(&Target::Netns(WEB.into()), None).await
    }

    /// The only attachment.
    pub(super) fn record(&self) -> AttachmentRecord {
        let mut all = self.attach.records();
        assert_eq!(all.len(), 1);
        all.pop().unwrap()
    }
}

impl World {
    /// A machine whose container has an interface of Docker's, over which its default route goes.
    pub(super) fn new() -> Self {
        let nic =
            |index, name, mac: &str| Link { mac: mac.parse().ok(), ..link(index, name, LinkKind::Physical) };
        let machine = FakeMachine::with(vec![
            link(1, "br0", LinkKind::Bridge { vlan_filtering: false }),
            nic(2, "eth0", "02:11:22:33:44:55"),
            nic(5, "eth1", "02:11:22:33:44:66"),
        ]);
        machine.host.namespaces().host(|host| {
            host.addresses.push(Address::new(5, "192.0.2.5/24".parse().unwrap()));
            host.routes.push(Route::via("10.0.0.0/8".parse().unwrap(), "192.0.2.1".parse().unwrap()).oif(5));
        });
        let world = Self { dir: tempfile::tempdir().unwrap(), machine };
        world.begin();
        world
    }

    /// One with a daemon.
    pub(super) async fn started() -> (Self, Daemon) {
        let world = Self::new();
        let daemon = world.start().await;
        (world, daemon)
    }

    /// The container starts.
    pub(super) fn begin(&self) {
        self.host.namespaces().sandbox(WEB, |inside| {
            inside.links.push(link(2, "eth0", LinkKind::Veth));
            inside.addresses.push(Address::new(2, "172.17.0.2/16".parse().unwrap()));
            let docker = Route::via("0.0.0.0/0".parse().unwrap(), "172.17.0.1".parse().unwrap());
            inside.routes.push(docker.oif(2).protocol(3));
        });
    }

    /// The container ends.
    pub(super) fn end(&self) {
        self.host.namespaces().end(WEB);
    }

    /// What there is in the container.
    pub(super) fn inside(&self) -> Seen {
        self.host.namespaces().sandbox(WEB, |lists| seen(lists))
    }

    /// What there is on the host.
    pub(super) fn outside(&self) -> Seen {
        self.host.namespaces().host(|lists| seen(lists))
    }

    /// Both.
    pub(super) fn all(&self) -> [Seen; 2] {
        [self.inside(), self.outside()]
    }

    /// The addresses of an interface in the container.
    pub(super) fn addresses(&self, name: &str) -> Vec<String> {
        self.host.namespaces().sandbox(WEB, |lists| {
            let index = lists.link(name).map(|link| link.index);
            let own = lists.addresses.iter().filter(|address| Some(address.index) == index);
            own.map(|address| address.net.to_string()).collect()
        })
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("state.redb")
    }

    /// A daemon starts.
    pub(super) async fn start(&self) -> Daemon {
        self.start_once(|| true).await
    }

    /// A daemon starts, and does not begin with attachments before this is so.
    pub(super) async fn start_once(&self, is: impl Fn() -> bool) -> Daemon {
        let mut ground = self.machine.ground(&self.path());
        let slots = AttachmentSlots::resume(&mut ground).await;
        let engine = Engine::start(&mut ground, Arc::new(Admissions::new(Vec::new()))).await;
        wait_for("the engine is that far", is).await;
        let shared = ground.shared();
        let attach = Attachments::start(shared.clone(), engine.clone(), slots).await;
        Daemon { shared, attach, engine }
    }

    /// The daemon ends without a word to anybody, and the next one starts.
    pub(super) async fn restart(&self, daemon: Daemon) -> Daemon {
        self.kill(daemon).await;
        self.start().await
    }

    /// The daemon ends without a word to anybody.
    pub(super) async fn kill(&self, daemon: Daemon) {
        let store = Arc::downgrade(&daemon.shared.store);
        daemon.engine.shutdown().await;
        drop(daemon);
        closed(store).await;
        // What was begun on another thread ends.
        blocking(|| ()).await;
    }
}
