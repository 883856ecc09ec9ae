//! Endpoints whose addresses a DHCP server gives: nothing of a start that fails is left with the server, and nothing that was
//! answered is lost.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use landline_dhcp::wire::dhcpv4::MessageType;
use landline_links::mark::{End, Mark};
use landline_model::{AddressRecord, ContainerRecord};
use landline_options::{OnTimeout, Release};
use tokio_util::sync::CancellationToken;

use super::world::{Kind, Stage, World, candidate, create, endpoint_id, living, network_id, wait_for};
use crate::endpoints::{CreateEndpoint, CreateEndpointError};
use crate::engine::Engine;

/// The first address that the server gives.
pub(super) const FIRST: &str = "198.51.100.10/24";

pub(super) fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, last)
}

pub(super) fn released(world: &World) -> usize {
    world.lan.four(|lan| lan.sent(MessageType::Release))
}

fn asked(world: &World) -> usize {
    world.lan.four(|lan| lan.sent(MessageType::Discover) + lan.sent(MessageType::Request))
}

/// The lease as the endpoint's record has it.
pub(super) fn recorded(engine: &Engine, n: u8) -> Option<Ipv4Addr> {
    let present = engine.ledger.read().endpoints.get(&endpoint_id(n))?.record.clone();
    match &present.address {
        AddressRecord::Dhcp(dhcp) => dhcp.lease.as_ref().map(|lease| lease.address),
        other => panic!("{other:?}"),
    }
}

/// A container that runs with its first lease.
pub(super) async fn running() -> (World, Arc<Engine>) {
    let (world, engine) = World::with(Kind::Leased).await;
    start(&world, &engine, 1).await;
    (world, engine)
}

async fn start(world: &World, engine: &Arc<Engine>, n: u8) {
    create(engine, Kind::Leased.endpoint(n)).await.unwrap();
    let container = ContainerRecord { id: candidate(n).id, ..ContainerRecord::named(&candidate(n).name) };
    engine.container_seen(&endpoint_id(n), container).await;
    engine.join(&endpoint_id(n), Some(living()), None).await.unwrap();
    world.moves_in(&endpoint_id(n));
    pass(90).await;
}

/// Time passes.
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Nothing is left of an endpoint on the host.
fn nothing_left(world: &World, engine: &Engine) {
    assert!(world.ends().is_empty() && !engine.knows(&endpoint_id(1)));
    assert_eq!(world.lan.open_sockets(), 0);
    assert!(engine.identities.all().iter().all(|known| engine.identities.holder(&known.id).is_none()));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_answered_with_its_lease() {
    let (_world, engine) = World::with(Kind::Leased).await;
    let answer = create(&engine, Kind::Leased.endpoint(1)).await.unwrap();
    assert_eq!(answer.address.unwrap().to_string(), FIRST);
    assert_eq!(recorded(&engine, 1), Some(address(10)), "stored");
}

#[tokio::test(start_paused = true)]
async fn two_endpoints_have_two_leases() {
    let (_world, engine) = World::with(Kind::Leased).await;
    let (one, two) = (Kind::Leased.endpoint(1), Kind::Leased.endpoint(2));
    let (one, two) = tokio::join!(create(&engine, one), create(&engine, two));
    assert_ne!(one.unwrap().address, two.unwrap().address);
}

#[tokio::test(start_paused = true)]
async fn the_address_arrives_in_the_container() {
    let (world, engine) = running().await;
    assert_eq!(world.inside(&endpoint_id(1)), [FIRST]);
    let record = engine.ledger.read().endpoints[&endpoint_id(1)].record.clone();
    assert_eq!(record.applied.address.unwrap().to_string(), FIRST);
    pass(3600).await;
    assert_eq!(world.inside(&endpoint_id(1)), [FIRST], "renewed");
}

#[tokio::test(start_paused = true)]
async fn without_a_server_nothing_is_left() {
    let (world, engine) = World::with(Kind::Leased).await;
    world.lan.four(|lan| lan.serve(false));
    let error = create(&engine, Kind::Leased.endpoint(1)).await.unwrap_err();
    assert!(matches!(error, CreateEndpointError::NoLease { .. }), "{error}");
    nothing_left(&world, &engine);
    world.lan.four(|lan| lan.serve(true));
    create(&engine, Kind::Leased.endpoint(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_server_a_container_may_start_and_gets_its_lease_later() {
    let world = World::new();
    let engine = world.start().await;
    let mut network = Kind::Leased.network();
    network.options.on_timeout = OnTimeout::Continue;
    engine.create_network(network).await.unwrap();
    world.lan.four(|lan| lan.serve(false));
    let answer = create(&engine, Kind::Leased.endpoint(1)).await.unwrap();
    assert_eq!(answer.address, None);
    engine.join(&endpoint_id(1), Some(living()), None).await.unwrap();
    world.moves_in(&endpoint_id(1));
    world.lan.four(|lan| lan.serve(true));
    pass(180).await;
    assert_eq!(world.inside(&endpoint_id(1)), [FIRST]);
}

#[tokio::test(start_paused = true)]
async fn docker_hangs_up_while_a_lease_is_waited_for() {
    let (world, engine) = World::with(Kind::Leased).await;
    world.lan.four(|lan| lan.serve(false));
    let cancel = CancellationToken::new();
    let made = engine.create_endpoint(Kind::Leased.endpoint(1), cancel.clone());
    let (made, ()) = tokio::join!(made, async {
        pass(2).await;
        cancel.cancel();
    });
    assert!(matches!(made, Err(CreateEndpointError::Cancelled)), "{made:?}");
    nothing_left(&world, &engine);
}

/// What went wrong after the lease was there; it is given back.
fn given_back(world: &World, engine: &Engine) {
    nothing_left(world, engine);
    assert_eq!(released(world), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_a_start_that_a_feature_refuses_is_given_back() {
    let (world, engine) = World::with(Kind::Leased).await;
    world.gate.refuse(Some(Stage::Endpoint));
    create(&engine, Kind::Leased.endpoint(1)).await.unwrap_err();
    given_back(&world, &engine);
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_a_start_that_cannot_be_stored_is_given_back() {
    let (world, engine) = World::with(Kind::Leased).await;
    engine.store.break_after(0);
    create(&engine, Kind::Leased.endpoint(1)).await.unwrap_err();
    given_back(&world, &engine);
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_a_start_that_docker_gave_up_is_given_back() {
    let (world, engine) = World::with(Kind::Leased).await;
    *world.gate.hangs.lock().unwrap() = true;
    let cancel = CancellationToken::new();
    let made = engine.create_endpoint(Kind::Leased.endpoint(1), cancel.clone());
    let (made, ()) = tokio::join!(made, async {
        world.gate.reached.notified().await;
        cancel.cancel();
    });
    made.unwrap_err();
    given_back(&world, &engine);
}

#[tokio::test(start_paused = true)]
async fn another_address_than_was_wanted_is_given_back() {
    let (world, engine) = World::with(Kind::Leased).await;
    let wanted = CreateEndpoint { address: "198.51.100.200/24".parse().ok(), ..Kind::Leased.endpoint(1) };
    let error = create(&engine, wanted).await.unwrap_err();
    assert!(matches!(error, CreateEndpointError::OtherAddress { .. }), "{error}");
    given_back(&world, &engine);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_was_wanted_is_had() {
    let (_world, engine) = World::with(Kind::Leased).await;
    let wanted = CreateEndpoint { address: "198.51.100.33/24".parse().ok(), ..Kind::Leased.endpoint(1) };
    create(&engine, wanted).await.unwrap();
    assert_eq!(recorded(&engine, 1), Some(address(33)));
}

#[tokio::test(start_paused = true)]
async fn a_container_that_stops_keeps_its_lease_and_has_it_again() {
    let (world, engine) = running().await;
    engine.leave(&endpoint_id(1)).await;
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    pass(60).await;
    assert_eq!(released(&world), 0);
    let again = CreateEndpoint { endpoint: endpoint_id(7), ..Kind::Leased.endpoint(1) };
    let discovered = world.lan.four(|lan| lan.sent(MessageType::Discover));
    let answer = create(&engine, again).await.unwrap();
    assert_eq!(answer.address.unwrap().to_string(), FIRST);
    assert_eq!(world.lan.four(|lan| lan.sent(MessageType::Discover)), discovered, "it was asked for by name");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_given_back_when_its_container_stops_if_it_is_to() {
    let world = World::new();
    let engine = world.start().await;
    let mut network = Kind::Leased.network();
    (network.options.release, network.options.release_after) = (Release::OnStop, Duration::ZERO);
    engine.create_network(network).await.unwrap();
    start(&world, &engine, 1).await;
    engine.leave(&endpoint_id(1)).await;
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    wait_for("it is given back", || released(&world) == 1).await;
    wait_for("the link for that is gone", || world.ends().is_empty()).await;
    let ended = |lease: &landline_model::LeaseRecord| lease.expires == Some(lease.obtained);
    let known = || engine.identities.all().iter().any(|known| known.lease.as_ref().is_some_and(ended));
    wait_for("its address is only requested", known).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_given_back_some_time_after_its_container_was_removed() {
    let world = World::new();
    let engine = world.start().await;
    let mut network = Kind::Leased.network();
    (network.options.release, network.options.release_after) = (Release::OnRemove, Duration::from_secs(100));
    engine.create_network(network).await.unwrap();
    start(&world, &engine, 1).await;
    engine.leave(&endpoint_id(1)).await;
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    engine.containers_present(std::collections::BTreeSet::new()).await;
    pass(90).await;
    assert_eq!(released(&world), 0);
    pass(20).await;
    wait_for("it is given back", || released(&world) == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_starts_again_asks_nobody() {
    let (world, engine) = running().await;
    let before = asked(&world);
    let engine = world.restart(engine).await;
    pass(60).await;
    assert_eq!((asked(&world), recorded(&engine, 1)), (before, Some(address(10))));
    assert_eq!(world.inside(&endpoint_id(1)), [FIRST]);
    pass(3600).await;
    assert!(asked(&world) > before, "it renews in time");
    assert_eq!(world.inside(&endpoint_id(1)), [FIRST]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ended_while_no_daemon_ran_goes() {
    let (world, engine) = running().await;
    world.kill(engine).await;
    world.lan.four(|lan| lan.serve(false));
    pass(3600).await;
    let engine = world.start().await;
    pass(10).await;
    assert_eq!(recorded(&engine, 1), None);
    assert_eq!(world.inside(&endpoint_id(1)), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn without_the_state_a_running_container_keeps_its_address() {
    let (world, engine) = running().await;
    world.kill(engine).await;
    world.lose_state();
    let engine = world.start().await;
    engine.create_network(Kind::Leased.network()).await.unwrap();
    assert!(engine.adopt_endpoint(&Kind::Leased.endpoint(1), living()).await);
    pass(10).await;
    assert_eq!(recorded(&engine, 1), Some(address(10)));
    assert_eq!(world.inside(&endpoint_id(1)), [FIRST]);
}

#[tokio::test(start_paused = true)]
async fn without_the_state_and_the_server_a_running_container_keeps_its_address_for_now() {
    let (world, engine) = running().await;
    world.kill(engine).await;
    world.lose_state();
    world.lan.four(|lan| lan.serve(false));
    let engine = world.start().await;
    engine.create_network(Kind::Leased.network()).await.unwrap();
    assert!(engine.adopt_endpoint(&Kind::Leased.endpoint(1), living()).await);
    pass(600).await;
    assert_eq!(world.inside(&endpoint_id(1)), [FIRST]);
}

#[tokio::test(start_paused = true)]
async fn a_container_of_which_nothing_is_there_is_not_taken_up() {
    let (_world, engine) = World::with(Kind::Leased).await;
    assert!(!engine.adopt_endpoint(&Kind::Leased.endpoint(1), living()).await);
    assert!(!engine.knows(&endpoint_id(1)));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_its_sandbox_has_lost_is_made_again_with_its_lease() {
    let (world, engine) = running().await;
    let before = asked(&world);
    world.loses_link(&endpoint_id(1));
    let endpoint = engine.endpoint(&endpoint_id(1)).unwrap();
    engine.make_link_again(&endpoint).await.unwrap();
    wait_for("its address", || world.inside(&endpoint_id(1)) == [FIRST]).await;
    pass(5).await;
    assert_eq!(asked(&world), before + 1, "the server was asked whether it is still good");
    let mark = Mark::new(&endpoint_id(1), End::Container);
    let link = world.sandboxes.link(&living(), &mark).unwrap().link;
    assert!(link.up && link.name.as_str() == "eth0", "{link:?}");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_cannot_be_made_again_leaves_nothing_and_is_tried_again() {
    let (world, engine) = running().await;
    world.loses_link(&endpoint_id(1));
    let (endpoint, before) = (engine.endpoint(&endpoint_id(1)).unwrap(), world.host.names());
    for step in 0..3 {
        world.host.fail_at(Some(step));
        assert!(engine.make_link_again(&endpoint).await.is_err(), "there is a step {step}");
        assert_eq!(world.host.names(), before);
    }
    world.host.fail_at(None);
    engine.make_link_again(&endpoint).await.unwrap();
    wait_for("its address", || world.inside(&endpoint_id(1)) == [FIRST]).await;
}

/// A container starts with a lease and ends, while only this many writes reach the disk; then the daemon is killed. What the
/// server has and what the container has is what the next daemon goes on with. Returns how many writes there were.
async fn killed_after(writes: usize) -> usize {
    let (world, engine) = World::with(Kind::Leased).await;
    engine.store.break_after(writes);
    let id = endpoint_id(1);
    let created = create(&engine, Kind::Leased.endpoint(1)).await;
    let joined = created.is_ok() && engine.join(&id, Some(living()), None).await.is_ok();
    if joined {
        world.moves_in(&id);
        pass(90).await;
    }
    let written = engine.store.written();
    let engine = world.restart(engine).await;
    assert_eq!(engine.knows(&id), created.is_ok());
    if created.is_ok() {
        pass(5).await;
        assert_eq!(recorded(&engine, 1), Some(address(10)));
    } else {
        assert_eq!(released(&world), 1, "nobody has it");
    }
    if joined {
        assert_eq!(world.inside(&id), [FIRST]);
    }
    assert_eq!(engine.networks().len(), 1);
    assert!(engine.networks().contains_key(&network_id()));
    written
}

#[tokio::test(start_paused = true)]
async fn killed_after_each_write() {
    let all = killed_after(usize::MAX).await;
    assert!(all > 0);
    for writes in 0..=all {
        killed_after(writes).await;
    }
}
