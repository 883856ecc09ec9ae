//! An attachment from its beginning to its end, over the ends of its container and of the daemon.

use landline_types::chain;

use super::for_each_way;
use super::world::{WEB, Way, World, request};
use crate::AttachFailure;

async fn what_is_detached_leaves_everything_as_it_was(way: Way) {
    let (world, daemon) = World::started().await;
    let before = world.all();
    let view = daemon.attach(way.request()).await.unwrap();
    assert_eq!((view.attached, view.interface.as_deref()), (true, Some("eth1")));
    assert_eq!(world.inside().names(), ["eth0", "eth1"]);
    assert!(!world.addresses("eth1").is_empty());
    assert_ne!(world.inside(), before[0]);
    assert_eq!(daemon.detach().await.unwrap(), 1);
    assert_eq!(world.all(), before);
    assert!(daemon.attach.records().is_empty() && daemon.engine.endpoints().is_empty());
    assert!(daemon.engine.networks().is_empty());
    assert_eq!(world.lan.open_sockets(), 0);
    let none = daemon.detach().await.unwrap_err();
    assert!(matches!(none, AttachFailure::Unknown { .. }), "{none}");
}
for_each_way!(what_is_detached_leaves_everything_as_it_was);

async fn asked_for_again_it_stays_as_it_is(way: Way) {
    let (world, daemon) = World::started().await;
    let first = daemon.attach(way.request()).await.unwrap();
    let before = world.all();
    let again = daemon.attach(way.request()).await.unwrap();
    assert_eq!((again.id, again.interface), (first.id, first.interface));
    assert_eq!(world.all(), before);
}
for_each_way!(asked_for_again_it_stays_as_it_is);

async fn its_container_has_it_again_after_a_restart(way: Way) {
    let (world, daemon) = World::started().await;
    let before = world.all();
    daemon.attach(way.request()).await.unwrap();
    let (inside, record) = (world.inside(), daemon.record());
    for seen in [false, true] {
        world.end();
        if seen {
            daemon.attach.container_ended(&record.id).await.unwrap();
            assert_eq!(daemon.engine.endpoints().len(), 0);
            assert!(!daemon.attach.views().await[0].attached);
        }
        world.begin();
        let again = crate::AttachRequest { again: true, ..way.request() };
        daemon.attach(again).await.unwrap();
        assert_eq!(world.inside(), inside, "the same name, hardware address and address");
        assert_eq!(daemon.record().id, record.id);
        assert_ne!(daemon.record().inside.unwrap().namespace, record.inside.clone().unwrap().namespace);
    }
    daemon.detach().await.unwrap();
    assert_eq!(world.all(), before);
}
for_each_way!(its_container_has_it_again_after_a_restart);

async fn the_next_daemon_goes_on_with_it(way: Way) {
    let (world, daemon) = World::started().await;
    let before = world.all();
    daemon.attach(way.request()).await.unwrap();
    let (there, record) = (world.all(), daemon.record());
    let daemon = world.restart(daemon).await;
    assert_eq!(daemon.record(), record);
    assert_eq!(world.all(), there);
    let again = crate::AttachRequest { again: true, ..way.request() };
    daemon.attach(again).await.unwrap();
    assert_eq!(world.all(), there, "it is there already");
    daemon.detach().await.unwrap();
    assert_eq!(world.all(), before);
}
for_each_way!(the_next_daemon_goes_on_with_it);

/// The path names another namespace when the next daemon starts.
async fn a_container_that_started_again_meanwhile_has_it_again(way: Way) {
    let (world, daemon) = World::started().await;
    let before = world.all();
    daemon.attach(way.request()).await.unwrap();
    let there = world.inside();
    world.end();
    world.begin();
    let daemon = world.restart(daemon).await;
    assert_eq!(world.inside(), before[0], "nothing is done in a namespace that is another one");
    let again = crate::AttachRequest { again: true, ..way.request() };
    daemon.attach(again).await.unwrap();
    assert_eq!(world.inside(), there);
    daemon.detach().await.unwrap();
    assert_eq!(world.all(), before);
}
for_each_way!(a_container_that_started_again_meanwhile_has_it_again);

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_is_refused_with_a_better_one() {
    let (world, daemon) = World::started().await;
    let before = world.all();
    for spec in ["br0 198.51.100.7/24 ifname=eth0", "dummy 203.0.113.7/24 ifname=eth0"] {
        let taken = daemon.attach(request(spec)).await.unwrap_err();
        assert_eq!(
            chain(&taken),
            "netns:/run/netns/web has an interface eth0 already; choose another name with ifname=eth0x or -i"
        );
        assert_eq!((world.all(), daemon.attach.records().len()), (before.clone(), 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_interface_of_the_same_name_over_another_parent_is_refused() {
    let (world, daemon) = World::started().await;
    daemon.attach(request("br0 198.51.100.7/24 ifname=lan0")).await.unwrap();
    let before = world.all();
    let other = daemon.attach(request("eth0 198.51.100.8/24 ifname=lan0 mode=macvlan")).await.unwrap_err();
    assert!(chain(&other).contains("lan0 of netns:/run/netns/web is attached to br0 already"), "{other}");
    assert_eq!((world.all(), daemon.attach.records().len()), (before, 1));
}

#[tokio::test(start_paused = true)]
async fn a_further_address_is_added_to_an_interface_that_is_there() {
    let (world, daemon) = World::started().await;
    let before = world.all();
    daemon.attach(request("br0 198.51.100.7/24 ifname=lan0")).await.unwrap();
    daemon.attach(request("br0 198.51.100.8/24@198.51.100.1 ifname=lan0")).await.unwrap();
    assert_eq!(world.addresses("lan0"), ["198.51.100.7/24", "198.51.100.8/24"]);
    assert_eq!(world.inside().routes, ["0.0.0.0/0 198.51.100.1 lan0"], "with its default route");
    daemon.detach().await.unwrap();
    assert_eq!(world.all(), before);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_another_host_has_is_refused() {
    let (world, daemon) = World::started().await;
    world.lan.four(|lan| lan.squat("198.51.100.7".parse().unwrap()));
    let before = world.all();
    let refused = daemon.attach(Way::Fixed.request()).await.unwrap_err();
    assert!(matches!(refused, AttachFailure::Endpoint(_) | AttachFailure::InUse { .. }), "{refused:?}");
    assert_eq!((world.all(), daemon.attach.records().len()), (before, 0));
    daemon.attach(request("br0 198.51.100.7/24 force=true")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_hosts_namespace_and_one_that_is_gone_are_refused() {
    let (world, daemon) = World::started().await;
    let before = world.all();
    let at = |path: &str| {
        let mut request = Way::Fixed.request();
        request.place.sandbox = path.into();
        request
    };
    let hosts = daemon.attach(at("/proc/1/ns/net")).await.unwrap_err();
    assert!(matches!(hosts, AttachFailure::Host(_)), "{hosts}");
    let gone = daemon.attach(at("/run/netns/gone")).await.unwrap_err();
    assert!(matches!(gone, AttachFailure::Gone { .. }), "{gone}");
    assert_eq!((world.all(), daemon.attach.records().len()), (before, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_detached_meanwhile_is_not_made_again() {
    let (world, daemon) = World::started().await;
    let before = world.all();
    let again = crate::AttachRequest { again: true, ..Way::Fixed.request() };
    assert!(matches!(daemon.attach(again).await, Err(AttachFailure::Cancelled)));
    assert_eq!(world.all(), before);
}

#[tokio::test(start_paused = true)]
async fn a_bridge_is_made_only_for_who_may() {
    let (world, daemon) = World::started().await;
    let before = world.all();
    let may_not = crate::AttachRequest { may_make: false, ..Way::MadeBridge.request() };
    let refused = daemon.attach(may_not).await.unwrap_err();
    assert!(matches!(refused, AttachFailure::MayNotMake(_)), "{refused}");
    let missing = daemon.attach(request("br9 198.51.100.7/24")).await.unwrap_err();
    assert!(matches!(missing, AttachFailure::Parent(_)), "{missing}");
    assert_eq!(world.all(), before);
}

/// Two that want the same address at the same moment.
#[tokio::test(start_paused = true)]
async fn of_two_that_want_one_address_one_gets_it() {
    let (world, daemon) = World::started().await;
    let [a, b] = ["lan0", "lan1"].map(|name| request(&format!("br0 198.51.100.7/24 ifname={name}")));
    let (a, b) = tokio::join!(daemon.attach(a), daemon.attach(b));
    assert_eq!([a.is_ok(), b.is_ok()].iter().filter(|done| **done).count(), 1, "{a:?} {b:?}");
    assert_eq!(world.inside().names().len(), 2);
    assert_eq!(daemon.attach.records().len(), 1);
    assert_eq!(daemon.record().inside.unwrap().sandbox.to_str(), Some(WEB));
}
