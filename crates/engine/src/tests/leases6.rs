//! Endpoints with IPv6 beside IPv4.

use std::sync::Arc;
use std::time::Duration;

use landline_dhcp::wire::dhcpv6::MessageType;

use super::world::{Kind, Stage, World, create, endpoint_id, living, wait_for};
use crate::engine::Engine;

/// The address that the server gives first.
const LEASED: &str = "2001:db8:0:1::1:1";

fn leased(world: &World) -> bool {
    world.inside(&endpoint_id(1)).iter().any(|net| net.starts_with(LEASED))
}

/// A container that runs with all that it can have.
async fn running() -> (World, Arc<Engine>) {
    let (world, engine) = World::with(Kind::Leased6).await;
    create(&engine, Kind::Leased6.endpoint(1)).await.unwrap();
    engine.join(&endpoint_id(1), Some(living()), None).await.unwrap();
    world.moves_in(&endpoint_id(1));
    pass(90).await;
    (world, engine)
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn docker_is_told_an_address_of_each_family() {
    let (_world, engine) = World::with(Kind::Leased6).await;
    let answer = create(&engine, Kind::Leased6.endpoint(1)).await.unwrap();
    assert!(answer.address.is_some() && answer.address_v6.is_some(), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn without_ipv6_on_the_lan_a_container_starts() {
    let (world, engine) = World::with(Kind::Leased6).await;
    world.lan.six(|lan| (lan.route(false), lan.serve(false)));
    let answer = create(&engine, Kind::Leased6.endpoint(1)).await.unwrap();
    assert!(answer.address.is_some() && answer.address_v6.is_none(), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn addresses_of_both_families_arrive_in_the_container_and_stay() {
    let (world, _engine) = running().await;
    assert!(leased(&world));
    pass(3600).await;
    assert!(leased(&world) && world.inside(&endpoint_id(1)).contains(&"198.51.100.10/24".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_leases_of_a_start_that_fails_are_given_back() {
    let (world, engine) = World::with(Kind::Leased6).await;
    world.gate.refuse(Some(Stage::Endpoint));
    create(&engine, Kind::Leased6.endpoint(1)).await.unwrap_err();
    assert!(world.ends().is_empty() && !engine.knows(&endpoint_id(1)));
    assert!(world.lan.six(|lan| lan.sent(MessageType::Release)) > 0);
    assert_eq!(world.lan.open_sockets(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_starts_again_goes_on() {
    let (world, engine) = running().await;
    let solicited = world.lan.six(|lan| lan.sent(MessageType::Solicit));
    let _engine = world.restart(engine).await;
    pass(3600).await;
    assert!(leased(&world));
    assert_eq!(world.lan.six(|lan| lan.sent(MessageType::Solicit)), solicited);
}

#[tokio::test(start_paused = true)]
async fn without_the_state_a_running_container_keeps_its_addresses() {
    let (world, engine) = running().await;
    world.kill(engine).await;
    world.lose_state();
    let engine = world.start().await;
    engine.create_network(Kind::Leased6.network()).await.unwrap();
    let before = world.inside(&endpoint_id(1)).len();
    assert!(engine.adopt_endpoint(&Kind::Leased6.endpoint(1), living()).await);
    assert_eq!(world.inside(&endpoint_id(1)).len(), before, "until somebody has said something");
    pass(60).await;
    assert!(world.inside(&endpoint_id(1)).iter().any(|net| net.starts_with("2001:db8:")));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_its_sandbox_has_lost_is_made_again_with_its_addresses() {
    let (world, engine) = running().await;
    world.loses_link(&endpoint_id(1));
    let endpoint = engine.endpoint(&endpoint_id(1)).unwrap();
    engine.make_link_again(&endpoint).await.unwrap();
    wait_for("its addresses", || leased(&world)).await;
}
