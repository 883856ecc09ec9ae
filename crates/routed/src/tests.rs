//! The task and what Docker waits for, on a host that is a list.

use std::sync::atomic::{AtomicUsize, Ordering};

use landline_dhcp::wire::arp::Heard;
use landline_kernel::{Address, Link, LinkKind, Neighbour, Route};
use landline_leases::Present;
use landline_leases::clock::Clock;
use landline_leases::fake::FakeLan;
use landline_leases::sockets::Next;
use landline_links::fake::{FakeNamespaces, Refused, link};
use landline_links::mark::Mark;
use landline_model::{EndpointRecord, NetworkRecord};
use landline_options::{Mode, NetworkOptions};
use landline_store::Store;

use super::*;

const ADDRESS: &str = "192.0.2.50";

fn id() -> EndpointId {
    "e".repeat(64).parse().unwrap()
}

/// The host's end of the link of the endpoint with this letter.
fn end(letter: &str, index: u32) -> Link {
    let endpoint: EndpointId = letter.repeat(64).parse().unwrap();
    let alias = Some(Mark::new(&endpoint, End::Host).to_string());
    Link { alias, up: true, ..link(index, &format!("llh{letter}"), LinkKind::Veth) }
}

fn network() -> NetworkRecord {
    let options = NetworkOptions { mode: Mode::Routed, ..NetworkOptions::new("wlan0".parse().unwrap()) };
    NetworkRecord::new("a".repeat(64).parse().unwrap(), options)
}

fn endpoint(address: &str) -> EndpointRecord {
    serde_json::from_value(serde_json::json!({
        "id": id(), "network": network().id, "mac": "02:11:22:33:44:55", "link": "llc0", "prefix": "eth",
        "address": { "static": { "address": format!("{address}/24") } },
    }))
    .unwrap()
}

fn inventory(addresses: &[&str]) -> Inventory {
    Inventory::of([network()], addresses.iter().map(|address| Present::new(&endpoint(address))))
}

struct World {
    host: FakeNamespaces,
    inventory: watch::Sender<Inventory>,
    routed: Arc<Routed>,
    store: Arc<Store>,
    dir: tempfile::TempDir,
}

impl World {
    /// A host on the LAN with the link of one container.
    fn new() -> Self {
        let host = FakeNamespaces::default();
        host.host(|lists| {
            let nic = link(2, "wlan0", LinkKind::Physical);
            lists.links.push(Link { mac: "02:11:22:33:44:55".parse().ok(), up: true, ..nic });
            lists.links.push(end("e", 7));
            lists.addresses.push(Address::new(2, "192.0.2.1/24".parse().unwrap()));
        });
        let (inventory, seen) = watch::channel(Inventory::default());
        let lan = FakeLan::new(Clock::of_tokio());
        let prober = Prober { sockets: Arc::new(lan), namespaces: Arc::new(host.clone()) };
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("state.redb")).unwrap().0);
        let delays = Delays::resume(Vec::new(), store.clone());
        let routed = Routed::over(prober, seen, delays, CancellationToken::new());
        Self { host, inventory, routed, store, dir }
    }

    async fn claim(&self) -> Result<(), RoutedError> {
        self.routed.claim(&id(), want(&endpoint(ADDRESS), &network()).unwrap()).await
    }

    async fn withdraw(&self) {
        let record = endpoint(ADDRESS);
        self.routed.withdrawn(Withdrawn::Endpoint { record: &record, remembered: false }).await.unwrap();
    }

    /// Where the host routes to, and what it answers for.
    fn has(&self) -> (Vec<String>, Vec<String>) {
        self.host.host(|lists| {
            let routes = lists.routes.iter().map(|route| route.destination.addr().to_string());
            let proxies = lists.neighbours.iter().map(|proxy| proxy.address.to_string());
            (routes.collect(), proxies.collect())
        })
    }

    async fn until(&self, what: &str, wanted: &[&str]) {
        let both = (
            wanted.iter().map(ToString::to_string).collect(),
            wanted.iter().map(ToString::to_string).collect(),
        );
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        while self.has() != both {
            assert!(tokio::time::Instant::now() < deadline, "{what}: {:?}", self.has());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_is_reached_before_docker_is_answered_and_stays_so() {
    let world = World::new();
    world.claim().await.unwrap();
    world.until("its start", &[ADDRESS]).await;
    // The task starts, and the inventory does not show the endpoint yet.
    world.routed.follow_inventory(world.inventory.subscribe());
    world.routed.pass().await.unwrap();
    world.until("another look", &[ADDRESS]).await;
    world.inventory.send_replace(inventory(&[ADDRESS]));
    world.until("its start is over", &[ADDRESS]).await;
    world.inventory.send_replace(inventory(&["192.0.2.51"]));
    world.until("another lease", &["192.0.2.51"]).await;
    world.host.host(|lists| lists.neighbours.clear());
    world.host.host(|lists| lists.links[0].mtu = 1400);
    world.until("the kernel forgot, and the parent changed", &["192.0.2.51"]).await;
    world.inventory.send_replace(inventory(&[]));
    assert!(world.host.host(|lists| lists.remove_link(7)));
    world.until("its end", &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_at_any_change_is_told_and_leaves_nothing_once_it_is_withdrawn() {
    for n in 0..2 {
        let world = World::new();
        world.host.refuse(Some(Refused::Only(n)));
        let error = world.claim().await.unwrap_err();
        assert_eq!(error.to_string(), "the host cannot route to 192.0.2.50", "change {n}");
        world.host.refuse(None);
        world.withdraw().await;
        assert_eq!(world.has().1, [""; 0], "change {n}: nothing is answered for");
    }
}

#[tokio::test(start_paused = true)]
async fn another_programs_route_to_the_address_refuses_the_container_until_it_is_gone() {
    let world = World::new();
    let vpn = Route::on_link(format!("{ADDRESS}/32").parse().unwrap(), 2);
    world.host.host(|lists| lists.routes.push(vpn.clone()));
    let says = world.claim().await.unwrap_err().to_string();
    assert!(says.starts_with("the host has a route to 192.0.2.50 already"), "{says}");
    world.withdraw().await;
    assert_eq!(world.host.host(|lists| (lists.routes.clone(), lists.neighbours.len())), (vec![vpn], 0));
    // The route came while the container ran and the daemon did not.
    world.inventory.send_replace(inventory(&[ADDRESS]));
    world.routed.follow_inventory(world.inventory.subscribe());
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(world.has().1, [""; 0]);
    world.host.host(|lists| lists.routes.clear());
    world.until("the route is gone", &[ADDRESS]).await;
}

#[tokio::test]
async fn a_look_that_nobody_waits_for_any_more_keeps_its_turn() {
    let world = World::new();
    let stale = Neighbour::proxy(2, ADDRESS.parse().unwrap()).protocol(PROTOCOL);
    world.host.host(|lists| lists.neighbours.push(stale));
    let (host, begun) = (world.host.clone(), Arc::new(tokio::sync::Notify::new()));
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let has_begun = begun.clone();
    // The fake answers nobody meanwhile.
    let hold = std::thread::spawn(move || {
        host.host(|_| {
            has_begun.notify_one();
            wait.recv().ok();
        });
    });
    begun.notified().await;
    let routed = world.routed.clone();
    let look = tokio::spawn(async move { routed.pass().await.map(drop) });
    while world.routed.delays.try_lock().is_ok() {
        tokio::task::yield_now().await;
    }
    look.abort();
    assert!(look.await.unwrap_err().is_cancelled());
    assert!(world.routed.delays.try_lock().is_err(), "its changes are still being made");
    go.send(()).unwrap();
    hold.join().unwrap();
    drop(world.routed.delays.lock().await);
    assert_eq!(world.has().1, [""; 0]);
}

/// A socket that counts what is sent.
struct Counted(Arc<AtomicUsize>);

impl Arp for Counted {
    fn send(&self, packet: &Packet) -> io::Result<()> {
        assert_eq!(packet.sender_ip, packet.target_ip, "an announcement");
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn receive(&self) -> Next<'_, Heard> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_is_announced_twice_unless_it_is_given_back_meanwhile() {
    let mac = "02:11:22:33:44:55".parse().unwrap();
    let one = Announcement { index: 2, mac, address: ADDRESS.parse().unwrap() };
    for (is_kept, expected) in [(true, 2), (false, 1)] {
        let sent = Arc::new(AtomicUsize::new(0));
        let is_wanted = || is_kept || sent.load(Ordering::Relaxed) == 0;
        announce(Box::new(Counted(sent.clone())), one, is_wanted).await;
        assert_eq!(sent.load(Ordering::Relaxed), expected, "kept: {is_kept}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_of_another_routed_network_is_refused() {
    let world = World::new();
    world.claim().await.unwrap();
    world.host.host(|lists| lists.links.push(end("f", 8)));
    let other = EndpointRecord { id: "f".repeat(64).parse().unwrap(), ..endpoint(ADDRESS) };
    let wanted = Want { parent: "eth1".parse().unwrap(), ..want(&other, &network()).unwrap() };
    let says = world.routed.claim(&other.id, wanted).await.unwrap_err().to_string();
    assert!(says.starts_with("the host routes 192.0.2.50 to a container of another network"), "{says}");
    assert_eq!(world.host.host(|lists| lists.routes[0].oif), Some(7));
}

#[tokio::test(start_paused = true)]
async fn what_another_container_cannot_have_does_not_keep_one_from_starting() {
    let world = World::new();
    world.host.host(|lists| {
        lists.links.push(end("f", 8));
    });
    let other = EndpointRecord { id: "f".repeat(64).parse().unwrap(), ..endpoint("192.0.2.60") };
    world.host.refuse(Some(Refused::Only(1)));
    world.inventory.send_replace(Inventory::of([network()], [Present::new(&other)]));
    // Of the two routes that are made now, the kernel refuses the other one's.
    world.claim().await.unwrap();
    assert!(world.has().0.contains(&ADDRESS.to_owned()), "{:?}", world.has());
    assert!(!world.has().0.contains(&"192.0.2.60".to_owned()), "{:?}", world.has());
}

#[tokio::test(start_paused = true)]
async fn what_the_kernel_refused_is_tried_again() {
    let world = World::new();
    world.host.refuse(Some(Refused::From(0)));
    world.inventory.send_replace(inventory(&[ADDRESS]));
    world.routed.follow_inventory(world.inventory.subscribe());
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(world.has(), (vec![], vec![]));
    world.host.refuse(None);
    world.until("the next try", &[ADDRESS]).await;
}

#[tokio::test]
async fn the_parent_answers_at_once_as_long_as_it_has_containers() {
    let delay = |world: &World| world.host.read("wlan0", "proxy_delay").unwrap();
    let world = World::new();
    world.host.write("wlan0", "proxy_delay", "80");
    world.claim().await.unwrap();
    assert_eq!(delay(&world), "0");
    // The interface is made again, or the host was started again.
    world.host.write("wlan0", "proxy_delay", "80");
    world.routed.pass().await.unwrap();
    assert_eq!(delay(&world), "0");
    // The daemon ends, and the next one knows what it was.
    let World { routed, host, inventory, store, dir } = world;
    let prober = routed.prober.clone();
    drop((routed, store));
    let (store, mut rows) = Store::open(&dir.path().join("state.redb")).unwrap();
    let records: Vec<ProxyDelayRecord> = rows.take();
    assert_eq!(records, [ProxyDelayRecord { parent: "wlan0".parse().unwrap(), before: 80 }]);
    let store = Arc::new(store);
    let delays = Delays::resume(records, store.clone());
    let routed = Routed::over(prober, inventory.subscribe(), delays, CancellationToken::new());
    let world = World { host, inventory, routed, store, dir };
    world.routed.pass().await.unwrap();
    assert_eq!(delay(&world), "80", "no container is left");

    // Somebody else's value stays.
    world.claim().await.unwrap();
    world.host.write("wlan0", "proxy_delay", "20");
    world.routed.claims().clear();
    world.routed.pass().await.unwrap();
    assert_eq!(delay(&world), "20");
}

#[tokio::test]
async fn what_a_container_sends_is_forwarded_again_once_somebody_had_switched_it_off() {
    let world = World::new();
    world.host.host(|lists| lists.links.push(end("f", 8)));
    world.claim().await.unwrap();
    for link in ["llhe", "llhf"] {
        world.host.write(link, "forwarding", "0");
    }
    world.routed.pass().await.unwrap();
    assert_eq!(world.host.read("llhe", "forwarding").as_deref(), Some("1"));
    assert_eq!(
        world.host.read("llhf", "forwarding").as_deref(),
        Some("0"),
        "it is nobody's who is routed to"
    );
}

#[tokio::test]
async fn a_network_needs_an_address_on_its_parent_and_forwarding() {
    let world = World::new();
    let check = async |name: &str| world.routed.check(name.parse().unwrap()).await;
    check("wlan0").await.unwrap();
    world.host.write("wlan0", "forwarding", "0");
    let says = check("wlan0").await.unwrap_err().to_string();
    assert!(says.contains("sysctl -w net/ipv4/conf/wlan0/forwarding=1"), "{says}");
    world.host.write("wlan0", "forwarding", "1");
    check("wlan0").await.unwrap();
    let says = check("llhe").await.unwrap_err().to_string();
    assert!(says.starts_with("llhe has no IPv4 address"), "{says}");
}
