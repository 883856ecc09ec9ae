//! All or nothing: whatever fails, and whenever, nothing is left of what was asked for, and it can be asked for again.

use landline_model::ContainerRecord;
use landline_options::EndpointId;
use tokio_util::sync::CancellationToken;

use super::for_each_kind;
use super::world::{Kind, Stage, World, candidate, create, endpoint_id, network_id};
use crate::endpoints::{CreateEndpoint, CreateEndpointError};
use crate::engine::Engine;

/// Nothing is left of an endpoint.
fn nothing_left(world: &World, engine: &Engine, before: &[String], id: &EndpointId) {
    assert_eq!(world.host.names(), before, "links");
    assert!(world.ends().is_empty(), "marks");
    assert!(!engine.knows(id), "the engine has forgotten it");
    assert!(engine.ledger.read().endpoints.is_empty(), "nobody sees it");
    assert!(!world.gate.held().contains(&format!("endpoint {id}")), "features have taken back what they did");
    assert!(
        engine.identities.all().iter().all(|i| engine.identities.holder(&i.id).is_none()),
        "nobody is held"
    );
}

/// The host refuses each step of an endpoint's creation, as many as there are.
async fn an_endpoint_fails_at_each_step(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    world.host.fail_at(None);
    create(&engine, kind.endpoint(1)).await.unwrap();
    let steps = world.host.taken();
    assert!(steps > 0);
    for step in 0..steps {
        let (world, engine) = World::with(kind).await;
        let before = world.host.names();
        world.host.fail_at(Some(step));
        let made = create(&engine, kind.endpoint(1)).await;
        assert!(made.is_err(), "step {step} of {steps}");
        nothing_left(&world, &engine, &before, &endpoint_id(1));
        world.host.fail_at(None);
        create(&engine, kind.endpoint(1)).await.unwrap();
    }
}
for_each_kind!(an_endpoint_fails_at_each_step);

/// The host refuses each step of a network's creation, as many as there are.
async fn a_network_fails_at_each_step(kind: Kind) {
    let world = World::new();
    let engine = world.start().await;
    world.host.fail_at(None);
    engine.create_network(kind.network()).await.unwrap();
    let steps = world.host.taken();
    assert_eq!(steps > 0, matches!(kind, Kind::MacvlanVlan | Kind::Ovs | Kind::Vde | Kind::Nat));
    for step in 0..steps {
        let world = World::new();
        let (engine, before) = (world.start().await, world.host.names());
        world.host.fail_at(Some(step));
        assert!(engine.create_network(kind.network()).await.is_err(), "step {step} of {steps}");
        no_network(&world, &engine, &before);
        world.host.fail_at(None);
        engine.create_network(kind.network()).await.unwrap();
    }
}
for_each_kind!(a_network_fails_at_each_step);

async fn a_feature_refuses_the_endpoint(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let before = world.host.names();
    world.gate.refuse(Some(Stage::Endpoint));
    let error = create(&engine, kind.endpoint(1)).await.unwrap_err();
    assert!(landline_types::chain(&error).ends_with("the feature says no"), "{error}");
    nothing_left(&world, &engine, &before, &endpoint_id(1));
    world.gate.refuse(None);
    create(&engine, kind.endpoint(1)).await.unwrap();
}
for_each_kind!(a_feature_refuses_the_endpoint);

async fn docker_hangs_up(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let before = world.host.names();
    *world.gate.hangs.lock().unwrap() = true;
    let cancel = CancellationToken::new();
    let made = engine.create_endpoint(kind.endpoint(1), cancel.clone());
    let (made, ()) = tokio::join!(made, async {
        world.gate.reached.notified().await;
        cancel.cancel();
    });
    assert!(matches!(made, Err(CreateEndpointError::Cancelled)), "{made:?}");
    nothing_left(&world, &engine, &before, &endpoint_id(1));
    *world.gate.hangs.lock().unwrap() = false;
    create(&engine, kind.endpoint(1)).await.unwrap();
}
for_each_kind!(docker_hangs_up);

async fn the_endpoint_cannot_be_stored(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let before = world.host.names();
    engine.store.break_after(0);
    let made = create(&engine, kind.endpoint(1)).await;
    assert!(matches!(made, Err(CreateEndpointError::Store(_))), "{made:?}");
    nothing_left(&world, &engine, &before, &endpoint_id(1));
    engine.store.break_after(usize::MAX);
    create(&engine, kind.endpoint(1)).await.unwrap();
}
for_each_kind!(the_endpoint_cannot_be_stored);

fn no_network(world: &World, engine: &Engine, before: &[String]) {
    assert_eq!(world.host.names(), before);
    assert!(engine.networks().is_empty() && engine.docker_networks().is_empty());
    assert_eq!(world.gate.held(), Vec::<String>::new());
}

async fn a_feature_refuses_the_proposal(kind: Kind) {
    refused(kind, Stage::Proposed).await;
}
for_each_kind!(a_feature_refuses_the_proposal);

async fn a_feature_refuses_the_network(kind: Kind) {
    refused(kind, Stage::Network).await;
}
for_each_kind!(a_feature_refuses_the_network);

async fn refused(kind: Kind, stage: Stage) {
    let world = World::new();
    let (engine, before) = (world.start().await, world.host.names());
    world.gate.refuse(Some(stage));
    let error = engine.create_network(kind.network()).await.unwrap_err();
    assert_eq!(error.to_string(), "the feature says no", "the sentence reaches Docker as it is");
    no_network(&world, &engine, &before);
    world.gate.refuse(None);
    engine.create_network(kind.network()).await.unwrap();
    assert_eq!(world.gate.held(), [format!("network {}", network_id())]);
}

async fn the_network_cannot_be_stored(kind: Kind) {
    let world = World::new();
    let (engine, before) = (world.start().await, world.host.names());
    engine.store.break_after(0);
    assert!(engine.create_network(kind.network()).await.is_err());
    no_network(&world, &engine, &before);
    engine.store.break_after(usize::MAX);
    engine.create_network(kind.network()).await.unwrap();
}
for_each_kind!(the_network_cannot_be_stored);

/// While Docker cannot be seen, one of two containers that look the same starts.
#[tokio::test]
async fn a_feature_may_refuse_a_start_that_nothing_tells_from_another() {
    let (world, engine) = World::with(Kind::Bridge).await;
    for n in [1, 2] {
        create(&engine, Kind::Bridge.endpoint(n)).await.unwrap();
        let container = ContainerRecord { id: candidate(n).id, ..ContainerRecord::named(&candidate(n).name) };
        engine.container_seen(&endpoint_id(n), container).await;
    }
    for n in [1, 2] {
        engine.delete_endpoint(&endpoint_id(n)).await.unwrap();
    }
    let (unseen, before) =
        (|n| CreateEndpoint { candidates: None, ..Kind::Bridge.endpoint(n) }, world.host.names());
    world.gate.refuse(Some(Stage::Unsure));
    let error = create(&engine, unseen(3)).await.unwrap_err();
    assert!(matches!(error, CreateEndpointError::Unsure(_)), "{error}");
    assert_eq!(error.to_string(), "the feature says no", "the sentence reaches Docker as it is");
    nothing_left(&world, &engine, &before, &endpoint_id(3));
    create(&engine, Kind::Bridge.endpoint(1)).await.unwrap();
    create(&engine, unseen(2)).await.unwrap();
}
