//! The host's own leases: what becomes of addresses and routes, on a host that is lists.

use std::sync::Weak;

use landline_kernel::LinkKind;
use landline_leases::addressing::book::AddressBook;
use landline_leases::clock::Clock;
use landline_leases::fake::FakeLan;
use landline_leases::ipv6::{Company, RaListeners};
use landline_leases::{ConflictMonitor, Sockets};
use landline_links::fake::{FakeHost, FakeNamespaces, FakeSandboxes, Refused, link};
use landline_types::Mac;
use tempfile::TempDir;

use super::*;

const BRIDGE: u32 = 3;
const ROUTER: &str = "198.51.100.1";

/// A host whose address is on a bridge, and the LAN.
struct World {
    dir: TempDir,
    fake: FakeNamespaces,
    lan: FakeLan,
    host: FakeHost,
    clock: Clock,
}

/// A daemon that runs.
struct Daemon {
    leases: HostLeases,
    store: Weak<Store>,
}

impl World {
    /// The host has this address, a default route with it, and an address of its user's.
    fn new(address: &str) -> Self {
        let clock = Clock::of_tokio();
        let bridge = link(BRIDGE, "br0", LinkKind::Bridge { vlan_filtering: false });
        let bridge = Link { mac: Some(Mac::new([2, 0, 0, 0, 1, 9])), ..bridge };
        let fake = FakeNamespaces::default();
        fake.host(|host| {
            host.links.push(bridge.clone());
            for net in [&format!("{address}/24"), "203.0.113.5/24"] {
                host.addresses.push(Address::new(BRIDGE, net.parse().unwrap()));
            }
            host.routes.push(default().source(address.parse().unwrap()));
        });
        let (lan, host) = (FakeLan::new(clock.clone()), FakeHost::with(vec![bridge]));
        Self { dir: tempfile::tempdir().unwrap(), fake, lan, host, clock }
    }

    fn start(&self) -> Daemon {
        let (store, mut rows) = Store::open(&self.dir.path().join("state")).unwrap();
        let link_table = self.host.table();
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
            cancel: CancellationToken::new(),
        };
        let store = Arc::new(store);
        let daemon = Daemon {
            store: Arc::downgrade(&store),
            leases: HostLeases { services, store, running: Mutex::default() },
        };
        for lease in rows.take() {
            daemon.leases.renew(lease);
        }
        daemon
    }

    /// The daemon ends; what it has stored.
    async fn kill(&self, daemon: Daemon) -> Vec<HostLease> {
        drop(daemon.leases);
        eventually("the state is closed", || daemon.store.strong_count() == 0).await;
        Store::open(&self.dir.path().join("state")).unwrap().1.take()
    }

    fn addresses(&self) -> Vec<String> {
        self.fake.host(|host| host.addresses.iter().map(|own| own.net.to_string()).collect())
    }

    fn routes(&self) -> Vec<Route> {
        self.fake.host(|host| host.routes.clone())
    }
}

/// The default route that came with the lease.
fn default() -> Route {
    Route::via("0.0.0.0/0".parse().unwrap(), ROUTER.parse().unwrap()).oif(BRIDGE).protocol(Route::BY_DHCP)
}

/// What is to be renewed.
fn lease(address: &str) -> HostLease {
    HostLease {
        interface: "br0".parse().unwrap(),
        address: address.parse().unwrap(),
        client_id: None,
        hostname: None,
        router: None,
    }
}

/// Waits for something that the task brings about. Time passes when nothing else happens.
async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_hours(2);
    while !is() {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const A: &str = "198.51.100.10";

/// A host that keeps the address that its server knows it by.
async fn kept() -> (World, Daemon) {
    let world = World::new(A);
    let daemon = world.start();
    daemon.leases.keep(lease(A)).await.unwrap();
    tokio::time::sleep(Duration::from_mins(1)).await;
    (world, daemon)
}

#[tokio::test(start_paused = true)]
async fn an_address_that_the_server_extends_stays_as_it_is() {
    let (world, daemon) = kept().await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(world.addresses(), ["203.0.113.5/24", "198.51.100.10/24"]);
    assert_eq!(world.routes(), [default().source(A.parse().unwrap())]);
    let stored = world.kill(daemon).await;
    assert_eq!(stored[0].address.to_string(), A);
}

/// The host's default route is a VPN's by then.
#[tokio::test(start_paused = true)]
async fn an_address_that_is_lost_goes_with_its_routes_and_no_others() {
    let (world, _daemon) = kept().await;
    let vpn = Route::on_link("0.0.0.0/0".parse().unwrap(), 9).priority(50);
    world.fake.host(|host| {
        host.links.push(link(9, "tun0", LinkKind::Tun));
        host.routes.push(vpn.clone());
    });
    world.lan.four(|lan| lan.serve(false));
    eventually("it is gone", || world.addresses() == ["203.0.113.5/24"]).await;
    assert_eq!(world.routes(), std::slice::from_ref(&vpn));
    world.lan.four(|lan| lan.serve(true));
    eventually("it is back", || world.addresses() == ["203.0.113.5/24", "198.51.100.10/24"]).await;
    eventually("so is its route", || world.routes().len() == 2).await;
    assert!(world.routes().contains(&vpn));
}

/// A kill switch has removed the default route: it does not come back with another address.
#[tokio::test(start_paused = true)]
async fn a_default_route_that_somebody_removed_stays_removed() {
    let (world, daemon) = kept().await;
    world.fake.host(|host| host.routes.clear());
    world.lan.four(|lan| lan.renumber(40));
    eventually("it is another", || !world.addresses().contains(&"198.51.100.10/24".into())).await;
    assert_eq!(world.addresses().len(), 2);
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(world.routes(), []);
    assert_ne!(world.kill(daemon).await[0].address.to_string(), A);
}

#[tokio::test(start_paused = true)]
async fn another_address_takes_the_routes_of_the_one_before() {
    let (world, _daemon) = kept().await;
    let theirs = Route::on_link("10.12.0.0/21".parse().unwrap(), BRIDGE);
    let ours = Route::on_link("203.0.113.64/32".parse().unwrap(), BRIDGE).source(A.parse().unwrap());
    world.fake.host(|host| host.routes.extend([theirs.clone(), ours]));
    world.lan.four(|lan| lan.renumber(40));
    eventually("the one before is gone", || !world.addresses().contains(&"198.51.100.10/24".into())).await;
    let now: IpAddr = world.fake.host(|host| host.addresses.last().unwrap().net.addr());
    eventually("they are from the new one", || {
        let routes = world.routes();
        routes.iter().filter(|route| route.source == Some(now)).count() == 2 && routes.len() == 3
    })
    .await;
    assert!(world.routes().contains(&theirs));
}

/// An address that is lost and cannot be removed is owed, and tried again after 1, 2, 4 … seconds.
#[tokio::test(start_paused = true)]
async fn an_address_that_cannot_be_removed_goes_when_it_can() {
    let (world, _daemon) = kept().await;
    world.fake.refuse(Some(Refused::From(0)));
    world.lan.four(|lan| lan.serve(false));
    eventually("it was tried", || world.fake.asked() > 0).await;
    let tried = world.fake.asked();
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert!((3..=5).contains(&(world.fake.asked() - tried)), "{} tries", world.fake.asked() - tried);
    assert_eq!(world.addresses().len(), 2);
    world.fake.refuse(None);
    eventually("it is gone", || world.addresses() == ["203.0.113.5/24"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_the_address_there_was() {
    let (world, daemon) = kept().await;
    world.kill(daemon).await;
    let before = (world.addresses(), world.routes());
    let daemon = world.start();
    tokio::time::sleep(Duration::from_mins(30)).await;
    assert_eq!((world.addresses(), world.routes()), before);
    assert_eq!(world.kill(daemon).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_interface_that_is_gone_at_a_start_is_forgotten() {
    let (world, daemon) = kept().await;
    world.kill(daemon).await;
    world.fake.host(|host| host.remove_link(BRIDGE));
    let daemon = world.start();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.kill(daemon).await, []);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_left_to_somebody_else_stays() {
    let (world, daemon) = kept().await;
    daemon.leases.leave(&"br0".parse().unwrap()).await.unwrap();
    world.lan.four(|lan| lan.serve(false));
    tokio::time::sleep(Duration::from_hours(3)).await;
    assert_eq!(world.addresses().len(), 2);
    assert_eq!(world.kill(daemon).await, []);
}

#[tokio::test]
async fn an_address_that_cannot_be_removed_is_tried_again_less_and_less_often() {
    let now = tokio::time::Instant::now();
    let mut owed = Owed { address: Ipv4Addr::new(192, 0, 2, 9), pause: PAUSE, next: now };
    due(Some(&owed)).await;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        owed = owed.later(now);
        pauses.push((owed.next - now).as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    for never in [None, Some(&owed)] {
        assert!(tokio::time::timeout(Duration::from_millis(10), due(never)).await.is_err());
    }
}

#[test]
fn routes_go_along_as_they_were() {
    let v4 = |text: &str| text.parse::<Ipv4Addr>().unwrap();
    let (old, new) = (v4("192.0.2.9"), "198.51.100.7/24".parse().unwrap());
    let (gateway, said) = (Some(v4("198.51.100.1")), Some(v4("192.0.2.1")));
    let mut address = Address::new(3, "192.0.2.9/24".parse().unwrap());
    address.metric = Some(1024);
    let by_dhcp = |route: Route| route.oif(3).protocol(Route::BY_DHCP).priority(1024).source(old.into());
    let routes = vec![
        by_dhcp(Route::via("0.0.0.0/0".parse().unwrap(), v4("192.0.2.1").into())),
        by_dhcp(Route::on_link("192.0.2.0/24".parse().unwrap(), 3)).protocol(Route::BY_KERNEL),
        by_dhcp(Route::on_link("203.0.113.1/32".parse().unwrap(), 3)),
        // Somebody's own.
        Route::on_link("10.12.0.0/21".parse().unwrap(), 3),
    ];
    let held = Held { address: Some(address.clone()), routes: routes.clone(), ..Held::default() };
    assert_eq!(held.address_like_it(3, new).metric, Some(1024));
    let moved = held.routes_from(new, (gateway, said), 3);
    let shown: Vec<_> = moved.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "203.0.113.1/32 on link number 3 metric 1024",
            "0.0.0.0/0 via 198.51.100.1 on link number 3 metric 1024"
        ]
    );
    assert!(moved.iter().all(|r| r.source == Some(new.addr().into()) && r.protocol == Route::BY_DHCP));
    // Where the kernel makes no route to the network, it goes along too.
    let held = Held { address: Some(address.clone().no_prefix_route()), routes, ..Held::default() };
    let moved = held.routes_from(new, (None, said), 3);
    assert_eq!(moved.len(), 3);
    assert_eq!(moved[0].destination, new.trunc().into());
    // Nothing is known of before.
    let moved = Held::default().routes_from(new, (gateway, None), 3);
    assert_eq!(moved.len(), 1);
    // A default that another has removed, or set in its place, is none of the lease's.
    for there in [Vec::new(), vec![Route::via("0.0.0.0/0".parse().unwrap(), v4("192.0.2.77").into()).oif(3)]]
    {
        let held = Held { address: Some(address.clone()), routes: there, ..Held::default() };
        assert_eq!(held.routes_from(new, (gateway, said), 3), []);
    }
}
