//! Addresses that Docker gives on the LAN: another machine may have them already.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use landline_leases::fake::Lan4;
use landline_links::Sandboxes as _;
use landline_links::mark::{End, Mark};
use landline_options::ConflictCheck;
use tokio_util::sync::CancellationToken;

use super::world::{Kind, World, create, endpoint_id, living, wait_for};
use crate::endpoints::CreateEndpointError;
use crate::engine::Engine;

/// The address of the first endpoint.
const OWN: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);

fn nothing_left(world: &World, engine: &Engine) {
    assert!(world.ends().is_empty() && !engine.knows(&endpoint_id(1)));
    assert_eq!(world.lan.open_sockets(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_nobody_has_is_had() {
    let (world, engine) = World::with(Kind::Fixed).await;
    create(&engine, Kind::Fixed.endpoint(1)).await.unwrap();
    assert_eq!(world.lan.open_sockets(), 0, "it has been looked for");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_another_has_is_refused_and_nothing_is_left() {
    let (world, engine) = World::with(Kind::Fixed).await;
    world.lan.four(|lan| lan.squat(OWN));
    let error = create(&engine, Kind::Fixed.endpoint(1)).await.unwrap_err();
    assert!(matches!(error, CreateEndpointError::InUse { address: OWN, .. }), "{error}");
    nothing_left(&world, &engine);
    create(&engine, Kind::Fixed.endpoint(2)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_router_that_answers_for_all_is_told_from_another_user() {
    let (world, engine) = World::with(Kind::Fixed).await;
    world.lan.four(Lan4::answer_for_all);
    let error = create(&engine, Kind::Fixed.endpoint(1)).await.unwrap_err();
    assert!(matches!(error, CreateEndpointError::ProxyArp { address: OWN, .. }), "{error}");
    nothing_left(&world, &engine);
}

/// Whether a start succeeds, of an address that another has.
async fn starts_with(check: ConflictCheck) -> bool {
    let world = World::new();
    let engine = world.start().await;
    let mut network = Kind::Fixed.network();
    network.options.conflict_check = check;
    engine.create_network(network).await.unwrap();
    world.lan.four(|lan| lan.squat(OWN));
    create(&engine, Kind::Fixed.endpoint(1)).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn who_else_has_an_address_is_asked_if_that_is_wanted() {
    assert!(starts_with(ConflictCheck::Off).await);
    assert!(!starts_with(ConflictCheck::Fast).await);
    assert!(!starts_with(ConflictCheck::Wait).await);
}

#[tokio::test(start_paused = true)]
async fn not_to_have_looked_is_no_reason_not_to_start() {
    let (world, engine) = World::with(Kind::Fixed).await;
    world.lan.refuse_sockets(Some(std::io::ErrorKind::NetworkDown));
    create(&engine, Kind::Fixed.endpoint(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn docker_hangs_up_while_an_address_is_looked_for() {
    let world = World::new();
    let engine = world.start().await;
    let mut network = Kind::Fixed.network();
    network.options.conflict_check = ConflictCheck::Wait;
    engine.create_network(network).await.unwrap();
    let cancel = CancellationToken::new();
    let made = engine.create_endpoint(Kind::Fixed.endpoint(1), cancel.clone());
    let (made, ()) = tokio::join!(made, async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        cancel.cancel();
    });
    assert!(matches!(made, Err(CreateEndpointError::Cancelled)), "{made:?}");
    nothing_left(&world, &engine);
}

/// Docker puts the address there, and another one that it does not know of is on the link, too.
#[tokio::test(start_paused = true)]
async fn an_address_is_announced_once_it_is_in_the_sandbox() {
    let (world, engine) = World::with(Kind::Fixed).await;
    create(&engine, Kind::Fixed.endpoint(1)).await.unwrap();
    engine.join(&endpoint_id(1), Some(living()), None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.sandboxes.announced(&living()), [IpAddr::V4(OWN); 0], "it is not there yet");
    world.moves_in(&endpoint_id(1));
    let mark = Mark::new(&endpoint_id(1), End::Container);
    let mut inside = world.sandboxes.enter(&living(), &mark).unwrap().unwrap();
    inside.fix_v6("2001:db8::9/64".parse().unwrap(), None).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.sandboxes.announced(&living()), [IpAddr::V4(OWN); 0], "nor is it with the link");
    world.sandboxes.give(&living(), &mark, "198.51.100.11/24".parse().unwrap());
    wait_for("it is announced twice", || world.sandboxes.announced(&living()).len() == 2).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.sandboxes.announced(&living()), [IpAddr::V4(OWN); 2]);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_somebody_removed_inside_is_not_announced_again() {
    let (world, engine) = World::with(Kind::Fixed).await;
    create(&engine, Kind::Fixed.endpoint(1)).await.unwrap();
    engine.join(&endpoint_id(1), Some(living()), None).await.unwrap();
    world.moves_in(&endpoint_id(1));
    let mark = Mark::new(&endpoint_id(1), End::Container);
    world.sandboxes.give(&living(), &mark, "198.51.100.11/24".parse().unwrap());
    wait_for("it is announced", || world.sandboxes.announced(&living()).len() == 1).await;
    world.sandboxes.end(&living());
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.sandboxes.announced(&living()).len(), 1);
}
