//! A kernel that removes nothing, or says nothing: what is left is owed, and removed later; what is the user's stays.

use std::time::Duration;

use landline_links::mark::{End, Mark};
use landline_options::EndpointId;

use super::for_each_kind;
use super::world::{Kind, World, create, endpoint_id, living, network_id, wait_for};
use crate::delete::DeleteEndpointError;
use crate::join::JoinError;

/// The links that are on the host before Landline makes any.
const OF_THE_USER: [&str; 5] = ["br0", "eth0", "br1", "ovs0", "eth1"];

fn has_users_links(world: &World) {
    let names = world.host.names();
    assert!(OF_THE_USER.iter().all(|name| names.iter().any(|own| own == name)), "{names:?}");
}

/// Whether links of this endpoint are on the host.
fn has_links(world: &World, id: &EndpointId) -> bool {
    world.ends().iter().any(|(endpoint, _)| endpoint == id)
}

async fn a_link_that_cannot_be_removed_is_removed_when_that_is_asked_for_again(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let before = world.host.names();
    create(&engine, kind.endpoint(1)).await.unwrap();
    world.host.keep_links(true);
    if kind == Kind::Nic {
        engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
        assert_eq!(world.host.names(), before, "nothing of a card may be removed");
        return;
    }
    for _ in 0..2 {
        let deleted = engine.delete_endpoint(&endpoint_id(1)).await;
        assert!(matches!(deleted, Err(DeleteEndpointError::Link(_))), "{deleted:?}");
        assert!(engine.knows(&endpoint_id(1)), "what it owns is not forgotten");
    }
    world.host.keep_links(false);
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    assert_eq!(world.host.names(), before);
    assert!(!engine.knows(&endpoint_id(1)));
    assert_eq!(world.gate.held(), [format!("network {}", network_id())]);
}
for_each_kind!(a_link_that_cannot_be_removed_is_removed_when_that_is_asked_for_again);

async fn a_host_that_cannot_be_looked_at_deletes_nothing(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    create(&engine, kind.endpoint(1)).await.unwrap();
    let made = world.host.names();
    world.host.be_blind(true);
    let deleted = engine.delete_endpoint(&endpoint_id(1)).await;
    assert!(matches!(deleted, Err(DeleteEndpointError::Link(_))), "{deleted:?}");
    world.host.be_blind(false);
    assert_eq!(world.host.names(), made);
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    has_users_links(&world);
    assert!(
        kind == Kind::Nic || !has_links(&world, &endpoint_id(1)),
        "a card keeps its mark until it is given back"
    );
}
for_each_kind!(a_host_that_cannot_be_looked_at_deletes_nothing);

async fn a_join_that_cannot_look_at_the_host_changes_nothing(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    create(&engine, kind.endpoint(1)).await.unwrap();
    let record = engine.ledger.read().endpoints[&endpoint_id(1)].record.clone();
    world.host.be_blind(true);
    let joined = engine.join(&endpoint_id(1), Some(living()), None).await;
    assert!(matches!(joined, Err(JoinError::Host(_))), "{joined:?}");
    assert_eq!(engine.ledger.read().endpoints[&endpoint_id(1)].record, record);
    world.host.be_blind(false);
    engine.join(&endpoint_id(1), Some(living()), None).await.unwrap();
}
for_each_kind!(a_join_that_cannot_look_at_the_host_changes_nothing);

async fn leaving_asks_nothing_of_the_kernel(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    create(&engine, kind.endpoint(1)).await.unwrap();
    engine.join(&endpoint_id(1), Some(living()), None).await.unwrap();
    world.moves_in(&endpoint_id(1));
    world.host.be_blind(true);
    world.host.keep_links(true);
    engine.leave(&endpoint_id(1)).await;
    assert!(engine.knows(&endpoint_id(1)), "Docker asks for its end next");
    world.host.be_blind(false);
    world.host.keep_links(false);
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    assert!(world.inside(&endpoint_id(1)).is_empty() && !has_links(&world, &endpoint_id(1)));
}
for_each_kind!(leaving_asks_nothing_of_the_kernel);

async fn what_a_failed_creation_could_not_take_back_is_removed_by_the_next_start(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let before = world.host.names();
    // The last step there is: everything else is made by then, and nothing can be taken back.
    world.host.fail_at(None);
    create(&engine, kind.endpoint(2)).await.unwrap();
    let mut step = world.host.taken();
    engine.delete_endpoint(&endpoint_id(2)).await.unwrap();
    loop {
        step = step.checked_sub(1).expect("there is a step that can fail");
        world.host.fail_at(Some(step));
        world.host.keep_links(true);
        if create(&engine, kind.endpoint(1)).await.is_err() {
            break;
        }
        // It takes fewer steps than the first one on its bridge.
        world.host.keep_links(false);
        engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    }
    assert!(has_links(&world, &endpoint_id(1)), "nothing could be taken back");
    assert!(!engine.knows(&endpoint_id(1)) && engine.ledger.read().endpoints.is_empty());
    world.host.fail_at(None);
    world.host.keep_links(false);
    let engine = world.restart(engine).await;
    assert_eq!(world.host.names(), before);
    create(&engine, kind.endpoint(1)).await.unwrap();
}
for_each_kind!(what_a_failed_creation_could_not_take_back_is_removed_by_the_next_start);

async fn a_networks_own_links_that_cannot_be_removed_go_with_the_next_start(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let made = world.host.names();
    world.host.keep_links(true);
    engine.delete_network(&network_id()).await.unwrap();
    assert_eq!(world.host.names(), made);
    assert!(engine.networks().is_empty() && world.gate.held().is_empty());
    world.host.keep_links(false);
    let engine = world.restart(engine).await;
    assert_eq!(world.host.names(), OF_THE_USER);
    engine.create_network(kind.network()).await.unwrap();
}
for_each_kind!(a_networks_own_links_that_cannot_be_removed_go_with_the_next_start);

async fn a_network_is_made_again_with_what_was_left_of_it(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let made = world.host.names();
    world.host.keep_links(true);
    engine.delete_network(&network_id()).await.unwrap();
    world.host.keep_links(false);
    engine.create_network(kind.network()).await.unwrap();
    assert_eq!(world.host.names(), made, "nothing is there twice");
    engine.delete_network(&network_id()).await.unwrap();
    assert_eq!(world.host.names(), OF_THE_USER);
}
for_each_kind!(a_network_is_made_again_with_what_was_left_of_it);

/// Docker forgets an endpoint whether its end was answered or not. A start later nobody can ask for it any more.
async fn what_docker_forgot_and_the_kernel_kept_is_removed_after_a_start(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let before = world.host.names();
    create(&engine, kind.endpoint(1)).await.unwrap();
    world.host.keep_links(true);
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap_err();
    let engine = world.restart(engine).await;
    assert!(engine.knows(&endpoint_id(1)), "Docker may still come back to it");
    world.host.keep_links(false);
    tokio::time::sleep(Duration::from_secs(41)).await;
    wait_for("it is closed", || !engine.knows(&endpoint_id(1))).await;
    assert_eq!(world.host.names(), before);
}

#[tokio::test(start_paused = true)]
async fn what_docker_forgot_and_the_kernel_kept_on_a_bridge_is_removed_after_a_start() {
    what_docker_forgot_and_the_kernel_kept_is_removed_after_a_start(Kind::Bridge).await;
}

#[tokio::test(start_paused = true)]
async fn what_docker_forgot_and_the_kernel_kept_on_a_nic_is_removed_after_a_start() {
    what_docker_forgot_and_the_kernel_kept_is_removed_after_a_start(Kind::Macvlan).await;
}

/// The container loses its link, and its endpoint is deleted before the link is made again.
async fn a_deleted_endpoint_gets_no_new_link(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let id = endpoint_id(1);
    create(&engine, kind.endpoint(1)).await.unwrap();
    engine.join(&id, Some(living()), None).await.unwrap();
    world.moves_in(&id);
    let endpoint = engine.endpoint(&id).unwrap();
    world.loses_link(&id);
    let (deleted, made) = tokio::join!(engine.delete_endpoint(&id), engine.make_link_again(&endpoint));
    deleted.unwrap();
    made.unwrap();
    // A card is there, whoever had it.
    assert!(world.ends().iter().all(|(_, end)| *end == End::Card), "{:?}", world.ends());
    let mark = Mark::new(&id, End::Container);
    assert!(world.sandboxes.link(&living(), &mark).is_none(), "nothing is made in the container");
}
for_each_kind!(a_deleted_endpoint_gets_no_new_link);
