//! A card that moves into a container comes back as it was, whether the container or the daemon ends first.

use landline_leases::fake::wait_for;
use landline_links::fake::Refused;

use super::world::{Daemon, Seen, Way, World, request};
use crate::AttachFailure;

/// A card is in the container; what there was before.
async fn moved() -> (World, Daemon, [Seen; 2]) {
    let (world, daemon) = World::started().await;
    world.host.namespaces().write("eth1", "rp_filter", "2");
    let before = world.all();
    daemon.attach(Way::Card.request()).await.unwrap();
    assert!(!world.outside().names().contains(&"eth1"));
    (world, daemon, before)
}

#[tokio::test(start_paused = true)]
async fn a_card_whose_container_ended_is_set_up_as_it_was() {
    let (world, daemon, before) = moved().await;
    // As the kernel does with a new one.
    world.host.namespaces().write("eth1", "rp_filter", "0");
    world.end();
    wait_for("it is as it was", || world.outside() == before[1]).await;
    assert_eq!(world.host.namespaces().read("eth1", "rp_filter").as_deref(), Some("2"));
    wait_for("that is noted", || daemon.record().card.is_none()).await;
    assert!(daemon.record().inside.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_card_whose_container_ended_without_a_daemon_is_set_up_by_the_next() {
    let (world, daemon, before) = moved().await;
    world.kill(daemon).await;
    world.end();
    assert_ne!(world.outside(), before[1], "it is down, and without addresses");
    let daemon = world.start().await;
    wait_for("it is as it was", || world.outside() == before[1]).await;
    wait_for("that is noted", || daemon.record().card.is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_card_that_cannot_be_set_up_is_tried_again() {
    let (world, daemon, before) = moved().await;
    world.host.namespaces().refuse(Some(Refused::From(0)));
    world.end();
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    assert_ne!(world.outside(), before[1]);
    assert!(daemon.record().card.is_some(), "what it was is still known");
    world.host.namespaces().refuse(None);
    assert_eq!(daemon.detach().await.unwrap(), 1);
    assert_eq!(world.outside(), before[1]);
}

#[tokio::test(start_paused = true)]
async fn a_card_that_something_holds_cannot_be_detached_until_it_is_back() {
    let (world, daemon, before) = moved().await;
    let card = world.host.namespaces().sandbox(super::world::WEB, |inside| {
        let at = inside.links.iter().position(|link| link.name.as_str() == "eth1").unwrap();
        inside.links.remove(at)
    });
    world.end();
    let away = daemon.detach().await.unwrap_err();
    assert!(matches!(away, AttachFailure::CardAway { .. }), "{away}");
    assert!(away.to_string().starts_with("eth1 has not come back from netns:/run/netns/web yet"), "{away}");
    let down = landline_kernel::Link { up: false, running: false, lower_up: false, ..card };
    world.host.change(|links| links.push(down));
    daemon.detach().await.unwrap();
    assert_eq!(world.outside(), before[1]);
}

#[tokio::test(start_paused = true)]
async fn a_card_that_another_attachment_has_is_refused() {
    let (world, daemon, _) = moved().await;
    let there = world.all();
    let refused = daemon.attach(request("eth1 198.51.100.9/24 mode=nic ifname=lan1")).await.unwrap_err();
    assert!(matches!(refused, AttachFailure::Parent(_)), "{refused}");
    assert_eq!((world.all(), daemon.attach.records().len()), (there, 1));
}
