//! What becomes of shims, routes and neighbours, on namespaces that are lists.

mod requests;

use std::net::IpAddr;
use std::sync::Weak;
use std::time::Duration;

use landline_kernel::{LinkKind, Neighbour, Route};
use landline_leases::Present;
use landline_leases::clock::Clock;
use landline_leases::fake::FakeLan;
use landline_links::fake::{FakeNamespaces, Lists, Refused, link};
use landline_model::{EndpointRecord, NetworkRecord};
use landline_options::{Mode, NetworkOptions};
use landline_types::Mac;
use tempfile::TempDir;

use super::super::HostAccess;
use super::*;

const NIC: u32 = 2;
const HOST: &str = "198.51.100.10/24";

/// A host with a NIC, a LAN, a store, and what the engine and Docker say there is.
struct World {
    dir: TempDir,
    fake: FakeNamespaces,
    lan: FakeLan,
    inventory: watch::Sender<Inventory>,
}

/// A daemon that runs.
struct Daemon {
    access: HostAccess,
    store: Weak<Store>,
    cancel: CancellationToken,
}

impl World {
    fn new() -> Self {
        let (fake, lan) = (FakeNamespaces::default(), FakeLan::new(Clock::of_tokio()));
        fake.host(|host| plug_in(host, NIC));
        fake.write("all", "rp_filter", "0");
        Self { dir: tempfile::tempdir().unwrap(), fake, lan, inventory: watch::Sender::default() }
    }

    fn start(&self) -> Daemon {
        let (store, mut rows) = Store::open(&self.dir.path().join("state")).unwrap();
        let (store, cancel) = (Arc::new(store), CancellationToken::new());
        let (access, inbox) = HostAccess::new();
        let prober = Prober { sockets: Arc::new(self.lan.clone()), namespaces: Arc::new(self.fake.clone()) };
        let initial = InitialState {
            keeper: Keeper::Daemon,
            prober,
            records: rows.take(),
            loosened: rows.take(),
            store: Some(store.clone()),
            inventory: Some(self.inventory.subscribe()),
        };
        tokio::spawn(run(inbox, initial, cancel.clone()));
        Daemon { access, store: Arc::downgrade(&store), cancel }
    }

    /// A daemon that knows which containers run.
    fn started(&self) -> Daemon {
        let daemon = self.start();
        daemon.access.see(Seen { connected: true, complete: true, ..Seen::default() });
        daemon
    }

    /// The daemon ends; what it has stored.
    async fn kill(&self, daemon: Daemon) -> (Vec<Access>, Vec<RpFilterRecord>) {
        daemon.cancel.cancel();
        drop(daemon.access);
        eventually("the state is closed", || daemon.store.strong_count() == 0).await;
        let (_store, mut rows) = Store::open(&self.dir.path().join("state")).unwrap();
        (rows.take(), rows.take())
    }

    /// The engine has a network of this mode.
    fn network(&self, mode: Mode, host_access: bool) {
        let options = NetworkOptions { mode, host_access, ..NetworkOptions::new("eth0".parse().unwrap()) };
        let network = NetworkRecord { name: Some("lan".into()), ..NetworkRecord::new(network_id(), options) };
        self.inventory.send_modify(|all| drop(all.networks.insert(network_id(), network)));
    }

    /// A container of that network runs, with this address.
    fn container(&self, n: u8, address: &str) {
        let mark = format!("{n:064}");
        let record: EndpointRecord = serde_json::from_value(serde_json::json!({
            "id": mark, "network": network_id(), "mac": mac(n), "link": "llc0", "prefix": "eth",
            "address": { "static": { "address": format!("{address}/24") } },
            "sandbox": sandbox(n), "container": { "id": mark, "name": format!("web{n}") },
        }))
        .unwrap();
        self.fake.sandbox(sandbox(n), |inside| {
            *inside = Lists::default();
            inside.links.push(link(7, "eth0", LinkKind::Macvlan { mode: None }));
            inside.addresses.push(Address::new(7, format!("{address}/24").parse().unwrap()));
        });
        self.inventory.send_modify(|all| {
            let before = all.endpoints.get(&record.id).map_or(0, |present| present.set_up);
            let present = Present { set_up: before + 1, ..Present::new(&record) };
            all.endpoints.insert(record.id.clone(), present);
        });
    }

    fn container_ends(&self, n: u8) {
        self.fake.end(sandbox(n));
        let id = format!("{n:064}").parse().unwrap();
        self.inventory.send_modify(|all| drop(all.endpoints.remove(&id)));
    }

    fn shim(&self) -> Option<Link> {
        let is_shim = |link: &&Link| link.alias.as_deref().is_some_and(|a| a.starts_with("landline-shim:"));
        self.fake.host(|host| host.links.iter().find(is_shim).cloned())
    }

    /// Where routes through the shim lead, and with which source.
    fn routes(&self) -> Vec<String> {
        let index = self.shim().map(|shim| shim.index);
        let text = |route: &Route| format!("{} src {}", route.destination, route.source.unwrap());
        let mut routes: Vec<String> = self.fake.host(|host| {
            host.routes.iter().filter(|route| index.is_some() && route.oif == index).map(text).collect()
        });
        routes.sort();
        routes
    }

    /// Whom the host knows behind the shim.
    fn neighbours(&self) -> Vec<(IpAddr, Option<Mac>)> {
        let text = |neighbour: &Neighbour| (neighbour.address, neighbour.mac);
        self.fake.host(|host| host.neighbours.iter().map(text).collect())
    }

    /// Whom a container knows.
    fn known_inside(&self, n: u8) -> Vec<(IpAddr, Option<Mac>)> {
        let text = |neighbour: &Neighbour| (neighbour.address, neighbour.mac);
        self.fake.sandbox(sandbox(n), |inside| inside.neighbours.iter().map(text).collect())
    }

    /// Everything that there is on the host, apart from the order.
    fn picture(&self) -> Lists {
        self.fake.host(|host| {
            let mut all = host.clone();
            all.routes.sort_by_key(|route| format!("{route:?}"));
            all.neighbours.sort_by_key(|neighbour| format!("{neighbour:?}"));
            all.addresses.sort_by_key(|address| format!("{address:?}"));
            all
        })
    }
}

/// The NIC as it is plugged in, with the host's address.
fn plug_in(host: &mut Lists, index: u32) {
    host.links.push(Link { mac: Some(mac(9)), ..link(index, "eth0", LinkKind::Physical) });
    host.addresses.push(Address::new(index, HOST.parse().unwrap()));
}

fn network_id() -> NetworkId {
    "a".repeat(64).parse().unwrap()
}

fn sandbox(n: u8) -> String {
    format!("/sandbox/{n}")
}

const fn mac(n: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 1, n])
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Waits for something that the task brings about. Time passes when nothing else happens.
async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything that is to happen by itself has happened.
async fn quiet() {
    tokio::time::sleep(Duration::from_secs(30)).await;
}

fn state(daemon: &Daemon) -> Vec<String> {
    daemon.access.views().iter().map(|view| view.state.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_container_that_comes_is_reached_and_one_that_ends_is_not() {
    let world = World::new();
    let daemon = world.started();
    world.network(Mode::Macvlan, true);
    eventually("there is a shim", || world.shim().is_some_and(|shim| shim.up)).await;
    assert_eq!(world.shim().unwrap().parent, Some(NIC));
    assert!(!world.shim().unwrap().arp(), "it has no address, and answers for none");
    world.container(1, "198.51.100.65");
    eventually("it is reached", || world.routes() == ["198.51.100.65/32 src 198.51.100.10"]).await;
    quiet().await;
    assert_eq!(world.neighbours(), [(ip("198.51.100.65"), Some(mac(1)))]);
    assert_eq!(world.known_inside(1), [(ip("198.51.100.10"), world.shim().unwrap().mac)]);
    assert_eq!(state(&daemon), ["ready"]);
    world.container(2, "198.51.100.66");
    eventually("so is another", || world.routes().len() == 2).await;
    world.container_ends(1);
    eventually("one is left", || world.routes() == ["198.51.100.66/32 src 198.51.100.10"]).await;
    assert_eq!(world.neighbours(), [(ip("198.51.100.66"), Some(mac(2)))]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_starts_again_is_told_again() {
    let world = World::new();
    let _daemon = world.started();
    world.network(Mode::Macvlan, true);
    world.container(1, "198.51.100.65");
    eventually("it knows the host", || !world.known_inside(1).is_empty()).await;
    // Its namespace is another one, of the same name; nothing else is different.
    world.container(1, "198.51.100.65");
    eventually("it knows the host", || !world.known_inside(1).is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_networks_end_leaves_the_host_as_it_was() {
    let world = World::new();
    let before = world.picture();
    let daemon = world.started();
    world.network(Mode::Macvlan, true);
    world.container(1, "198.51.100.65");
    eventually("it is reached", || world.routes().len() == 1).await;
    world.container_ends(1);
    world.inventory.send_modify(|all| all.networks.clear());
    eventually("the shim is gone", || world.shim().is_none()).await;
    assert_eq!(world.picture(), before);
    assert!(state(&daemon).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_network_without_the_option_gets_nothing() {
    let world = World::new();
    let before = world.picture();
    let _daemon = world.started();
    world.network(Mode::Macvlan, false);
    world.container(1, "198.51.100.65");
    quiet().await;
    assert_eq!(world.picture(), before);
    assert_eq!(world.fake.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_nic_that_goes_and_comes_back_has_its_shim_again() {
    let world = World::new();
    let daemon = world.started();
    world.network(Mode::Macvlan, true);
    world.container(1, "198.51.100.65");
    eventually("it is reached", || world.routes().len() == 1).await;
    let mac = world.shim().unwrap().mac;
    world.fake.host(|host| host.remove_link(NIC));
    eventually("it is waited for", || state(&daemon) == ["waits for eth0, which is not there"]).await;
    world.fake.host(|host| plug_in(host, 40));
    eventually("it is reached", || world.routes() == ["198.51.100.65/32 src 198.51.100.10"]).await;
    let shim = world.shim().unwrap();
    assert_eq!((shim.parent, shim.mac), (Some(40), mac), "neighbours know its address");
    assert_eq!(state(&daemon), ["ready"]);
}

fn set_nic(world: &World, up: bool) {
    world.fake.host(|host| {
        let nic = host.links.iter_mut().find(|link| link.index == NIC).unwrap();
        (nic.up, nic.running, nic.lower_up) = (up, up, up);
    });
}

#[tokio::test(start_paused = true)]
async fn a_nic_that_is_down_for_a_moment_keeps_its_shim() {
    let world = World::new();
    let daemon = world.started();
    world.network(Mode::Macvlan, true);
    world.container(1, "198.51.100.65");
    eventually("it is reached", || world.routes().len() == 1).await;
    quiet().await;
    let before = world.picture();
    set_nic(&world, false);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.picture().routes, before.routes, "a network manager is being restarted");
    set_nic(&world, true);
    quiet().await;
    assert_eq!(world.picture(), before);
    set_nic(&world, false);
    eventually("it is waited for", || state(&daemon) == ["waits for eth0, which is down"]).await;
    assert_eq!(world.shim(), None);
}

#[tokio::test(start_paused = true)]
async fn routes_follow_the_hosts_address() {
    let world = World::new();
    let _daemon = world.started();
    world.network(Mode::Macvlan, true);
    world.container(1, "198.51.100.65");
    eventually("it is reached", || world.routes().len() == 1).await;
    world.fake.host(|host| {
        host.addresses.push(Address::new(NIC, "198.51.100.11/24".parse().unwrap()));
        host.remove_address(ip("198.51.100.10"));
    });
    eventually("from the new address", || world.routes() == ["198.51.100.65/32 src 198.51.100.11"]).await;
    eventually("it knows the new one", || {
        world.known_inside(1).iter().map(|(address, _)| *address).eq([ip("198.51.100.11")])
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_removes_of_a_shim_is_there_again() {
    let world = World::new();
    let _daemon = world.started();
    world.network(Mode::Macvlan, true);
    world.container(1, "198.51.100.65");
    eventually("it is reached", || world.routes().len() == 1).await;
    quiet().await;
    world.fake.host(|host| host.routes.clear());
    eventually("the route is back", || world.routes().len() == 1).await;
    let index = world.shim().unwrap().index;
    world.fake.host(|host| host.remove_link(index));
    eventually("so is the shim", || world.routes().len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_finds_nothing_to_do_changes_nothing() {
    let world = World::new();
    let _daemon = world.started();
    world.network(Mode::Macvlan, true);
    world.container(1, "198.51.100.65");
    eventually("it is reached", || world.routes().len() == 1).await;
    quiet().await;
    world.fake.refuse(None);
    // An event of a link that is none of its business, and one of its parent that changes nothing of interest.
    world.fake.host(|host| host.links.push(link(50, "eth9", LinkKind::Physical)));
    world.fake.host(|host| host.links[0].promiscuity += 1);
    world.container(1, "198.51.100.65");
    quiet().await;
    assert_eq!(world.fake.asked(), 1, "only the container, which has started again, is told");
}

#[tokio::test(start_paused = true)]
async fn a_route_of_the_users_stays_and_is_shown() {
    let world = World::new();
    let theirs = Route::on_link("198.51.100.65/32".parse().unwrap(), NIC);
    world.fake.host(|host| host.routes.push(theirs.clone()));
    let daemon = world.started();
    world.network(Mode::Macvlan, true);
    world.container(1, "198.51.100.65");
    let problem = |daemon: &Daemon| -> Option<String> {
        Some(daemon.access.views().first()?.containers.first()?.state.to_string())
    };
    eventually("it is shown", || problem(&daemon).is_some_and(|p| p.contains("not Landline's"))).await;
    quiet().await;
    assert!(world.fake.host(|host| host.routes.contains(&theirs)) && world.routes().is_empty());
    world.container_ends(1);
    world.inventory.send_modify(|all| all.networks.clear());
    eventually("the shim is gone", || world.shim().is_none()).await;
    assert!(world.fake.host(|host| host.routes.contains(&theirs)));
}

#[tokio::test(start_paused = true)]
async fn an_interface_of_the_users_that_has_the_shims_name_stays() {
    let world = World::new();
    let theirs = link(30, "lls2", LinkKind::Dummy);
    world.fake.host(|host| host.links.push(theirs.clone()));
    let before = world.picture();
    let daemon = world.started();
    world.network(Mode::Macvlan, true);
    world.container(1, "198.51.100.65");
    eventually("it is shown", || state(&daemon).iter().any(|s| s.contains("not Landline's"))).await;
    quiet().await;
    assert_eq!(world.picture(), before);
    world.fake.host(|host| host.remove_link(30));
    // A link that is none of ours is no event; the next container is one.
    world.container(2, "198.51.100.66");
    eventually("it is made then", || world.routes().len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_shim_that_the_nic_cannot_have_is_made_once_it_can() {
    let world = World::new();
    let other = Link {
        parent: Some(NIC),
        ..link(30, "ipvl0", LinkKind::Ipvlan { mode: Some(landline_kernel::IpvlanMode::L2) })
    };
    world.fake.host(|host| host.links.push(other));
    let daemon = world.started();
    world.network(Mode::Macvlan, true);
    eventually("it is shown", || state(&daemon).iter().any(|s| s.contains("cannot have macvlan"))).await;
    world.fake.host(|host| host.remove_link(30));
    world.container(1, "198.51.100.65");
    eventually("it is made then", || world.routes().len() == 1).await;
    assert_eq!(state(&daemon), ["ready"]);
}

/// What there is on the host when nothing fails, and how many changes that took.
async fn undisturbed() -> (Lists, usize) {
    let world = World::new();
    let _daemon = world.started();
    world.network(Mode::Macvlan, true);
    world.container(1, "198.51.100.65");
    quiet().await;
    (world.picture(), world.fake.asked())
}

/// The kernel refuses each change in turn: whatever else fails then, nothing of the user's is touched, and the next thing that
/// happens makes everything right.
#[tokio::test(start_paused = true)]
async fn a_change_that_is_refused_once_is_made_later() {
    let (whole, changes) = undisturbed().await;
    assert!(changes >= 5, "a shim, its settings, a route and two neighbours");
    for n in 0..changes {
        let world = World::new();
        let _daemon = world.started();
        world.fake.refuse(Some(Refused::Only(n)));
        world.network(Mode::Macvlan, true);
        world.container(1, "198.51.100.65");
        eventually("it was refused", || world.fake.asked() > n).await;
        quiet().await;
        let host: IpNet = HOST.parse().unwrap();
        assert!(world.fake.host(|host_| host_.addresses.iter().any(|own| own.net == host)), "step {n}");
        world.container(1, "198.51.100.65");
        quiet().await;
        assert_eq!(world.picture(), whole, "step {n}");
        assert_eq!(world.known_inside(1).len(), 1, "step {n}");
    }
}

/// The kernel refuses everything for a while.
#[tokio::test(start_paused = true)]
async fn a_kernel_that_refuses_everything_is_asked_again() {
    let (whole, _) = undisturbed().await;
    let world = World::new();
    let before = world.picture();
    let daemon = world.started();
    world.fake.refuse(Some(Refused::From(0)));
    world.network(Mode::Macvlan, true);
    world.container(1, "198.51.100.65");
    eventually("it is shown", || state(&daemon).iter().any(|s| s.contains("cannot make"))).await;
    quiet().await;
    assert_eq!(world.picture(), before);
    assert!(world.fake.asked() < 50, "not all the time: {}", world.fake.asked());
    world.fake.refuse(None);
    world.container(1, "198.51.100.65");
    eventually("it is reached", || world.picture() == whole).await;
}

/// A removal that fails is owed.
#[tokio::test(start_paused = true)]
async fn a_shim_that_cannot_be_removed_goes_later() {
    let world = World::new();
    let _daemon = world.started();
    world.network(Mode::Macvlan, true);
    world.container(1, "198.51.100.65");
    eventually("it is reached", || world.routes().len() == 1).await;
    quiet().await;
    world.fake.refuse(Some(Refused::From(0)));
    world.container_ends(1);
    world.inventory.send_modify(|all| all.networks.clear());
    quiet().await;
    assert!(world.shim().is_some());
    world.fake.refuse(None);
    world.network(Mode::Macvlan, false);
    eventually("it is gone", || world.shim().is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_start_removes_nothing_before_all_containers_are_seen() {
    let world = World::new();
    let daemon = world.started();
    world.network(Mode::Macvlan, true);
    world.container(1, "198.51.100.65");
    world.container(2, "198.51.100.66");
    eventually("they are reached", || world.routes().len() == 2).await;
    quiet().await;
    let before = world.picture();
    world.kill(daemon).await;
    assert_eq!(world.picture(), before, "a restart ends no connection");
    // One has ended meanwhile; whether the other one runs is not known yet.
    world.container_ends(1);
    world.fake.refuse(None);
    let daemon = world.start();
    quiet().await;
    assert_eq!(world.routes().len(), 2);
    daemon.access.see(Seen { connected: true, complete: true, ..Seen::default() });
    eventually("one is left", || world.routes() == ["198.51.100.66/32 src 198.51.100.10"]).await;
    // Docker goes away: what was seen last goes on.
    daemon.access.see(Seen { complete: true, ..Seen::default() });
    quiet().await;
    assert_eq!(world.routes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shim_that_nobody_wants_after_a_start_goes_once_all_is_seen() {
    let world = World::new();
    let daemon = world.started();
    world.network(Mode::Macvlan, true);
    eventually("there is a shim", || world.shim().is_some()).await;
    world.kill(daemon).await;
    world.network(Mode::Macvlan, false);
    let daemon = world.start();
    quiet().await;
    assert!(world.shim().is_some());
    daemon.access.see(Seen { connected: true, complete: true, ..Seen::default() });
    eventually("it is gone", || world.shim().is_none()).await;
}
