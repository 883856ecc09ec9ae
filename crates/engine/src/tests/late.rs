//! Endpoints whose container is told late: Docker is told nothing that is not known, and nobody gets what is another's.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use landline_links::mark::{End, Mark};
use landline_model::{ContainerRecord, EndpointRecord};
use landline_options::WhenUnsure;

use super::leases::recorded;
use super::world::{Kind, World, candidate, create, endpoint_id, living, wait_for};
use crate::endpoints::CreateEndpoint;
use crate::engine::Engine;
use crate::identity::Candidate;
use crate::networks::CreateNetwork;

async fn world(when_unsure: WhenUnsure) -> (World, Arc<Engine>) {
    let world = World::new();
    let engine = world.start().await;
    let network = Kind::Leased.network();
    let options = landline_options::NetworkOptions { when_unsure, ..network.options };
    engine.create_network(CreateNetwork { options, ..network }).await.unwrap();
    (world, engine)
}

/// The request for endpoint `n`, which may be for either of two containers.
fn either(n: u8) -> CreateEndpoint {
    CreateEndpoint { candidates: Some(vec![candidate(1), candidate(2)]), ..Kind::Leased.endpoint(n) }
}

async fn record(engine: &Engine, n: u8) -> EndpointRecord {
    engine.endpoint(&endpoint_id(n)).unwrap().state.read().await
}

/// What a container had that ran here once, alone.
struct Before {
    record: EndpointRecord,
    address: Option<Ipv4Addr>,
}

async fn ran(world: &World, engine: &Arc<Engine>, n: u8) -> Before {
    create(engine, Kind::Leased.endpoint(n)).await.unwrap();
    let container = ContainerRecord { id: candidate(n).id, ..ContainerRecord::named(&candidate(n).name) };
    engine.container_seen(&endpoint_id(n), container).await;
    engine.join(&endpoint_id(n), Some(living()), None).await.unwrap();
    world.moves_in(&endpoint_id(n));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = Before { record: record(engine, n).await, address: recorded(engine, n) };
    world.loses_link(&endpoint_id(n));
    engine.delete_endpoint(&endpoint_id(n)).await.unwrap();
    before
}

/// Endpoint `n` starts, and its sandbox tells that it is for this container.
async fn starts(world: &World, engine: &Arc<Engine>, n: u8, container: Option<Candidate>) {
    let answer = create(engine, either(n)).await.unwrap();
    assert_eq!((answer.mac, answer.address, answer.address_v6), (None, None, None), "nothing is told");
    let joined = engine.join(&endpoint_id(n), Some(living()), None).await.unwrap();
    assert_eq!((joined.gateway, joined.routes), (None, Vec::new()));
    if let Some(container) = &container {
        world.sandboxes.occupy(&living(), &container.id);
    }
    // Docker is not kept waiting before it has moved the link.
    engine.until_settled(&endpoint_id(n)).await;
    world.moves_in(&endpoint_id(n));
    let told = engine.late_arrival(&endpoint_id(n)).await;
    assert_eq!(told, Some(container.as_ref().map(|container| container.id.clone())));
    let id = endpoint_id(n);
    tokio::join!(engine.settle_late(&id, container), engine.until_settled(&id));
}

#[tokio::test(start_paused = true)]
async fn the_container_in_the_sandbox_has_its_own_lease_again() {
    let (world, engine) = world(WhenUnsure::Late).await;
    let before = [ran(&world, &engine, 1).await, ran(&world, &engine, 2).await];
    starts(&world, &engine, 3, Some(candidate(2))).await;
    let now = record(&engine, 3).await;
    assert_eq!((now.mac, &now.identity), (before[1].record.mac, &before[1].record.identity));
    assert_eq!(recorded(&engine, 3), before[1].address);
    let inside = world.sandboxes.link(&living(), &Mark::new(&endpoint_id(3), End::Container)).unwrap();
    assert_eq!(inside.link.mac, Some(before[1].record.mac), "on the link");
    assert_eq!(inside.addresses.len(), 1, "{:?}", inside.addresses);
    assert_eq!(engine.identities.all().len(), 2, "what was drawn for it is gone");
    // Nobody waits for what is done, and it is done once.
    engine.until_settled(&endpoint_id(3)).await;
    assert_eq!(engine.late_arrival(&endpoint_id(3)).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_container_without_an_identity_keeps_what_was_drawn_for_it() {
    let (world, engine) = world(WhenUnsure::Late).await;
    let before = ran(&world, &engine, 1).await;
    starts(&world, &engine, 3, Some(candidate(2))).await;
    let now = record(&engine, 3).await;
    assert_ne!(now.mac, before.record.mac);
    assert!(recorded(&engine, 3).is_some_and(|address| Some(address) != before.address));
    assert_eq!(engine.identities.all().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_is_never_told_has_an_address_of_its_own() {
    let (world, engine) = world(WhenUnsure::Late).await;
    let before = [ran(&world, &engine, 1).await, ran(&world, &engine, 2).await];
    starts(&world, &engine, 3, None).await;
    let now = record(&engine, 3).await;
    assert!(before.iter().all(|before| before.record.mac != now.mac));
    assert!(recorded(&engine, 3).is_some());
}

#[tokio::test(start_paused = true)]
async fn who_can_be_told_is_not_late() {
    for when_unsure in [WhenUnsure::Late, WhenUnsure::Fresh] {
        let (world, engine) = world(when_unsure).await;
        let before = ran(&world, &engine, 1).await;
        let answer = create(&engine, Kind::Leased.endpoint(1)).await.unwrap();
        assert_eq!(answer.mac, Some(before.record.mac), "{when_unsure:?}");
        assert!(answer.address.is_some());
        // The first one runs.
        let others = Some(vec![candidate(2), candidate(3)]);
        let unsure = CreateEndpoint { candidates: others, ..Kind::Leased.endpoint(3) };
        let unsure = create(&engine, unsure).await.unwrap();
        assert_eq!(unsure.address.is_none(), when_unsure == WhenUnsure::Late);
        let fresh = create(&engine, CreateEndpoint { mac: "02:00:00:00:00:09".parse().ok(), ..either(4) });
        assert!(fresh.await.unwrap().address.is_some(), "a hardware address tells it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_meanwhile_leaves_nothing() {
    let (world, engine) = world(WhenUnsure::Late).await;
    create(&engine, either(3)).await.unwrap();
    engine.join(&endpoint_id(3), Some(living()), None).await.unwrap();
    let id = endpoint_id(3);
    let (told, deleted) = tokio::join!(engine.late_arrival(&id), engine.delete_endpoint(&id));
    deleted.unwrap();
    assert_eq!(told, None);
    engine.settle_late(&endpoint_id(3), Some(candidate(1))).await;
    assert!(world.ends().is_empty() && !engine.knows(&endpoint_id(3)));
    assert_eq!(world.lan.open_sockets(), 0);
    wait_for("the end of what was drawn for it", || engine.identities.all().is_empty()).await;
}
