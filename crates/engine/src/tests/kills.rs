//! Answered means stored: killed at any write, the next daemon has what was answered, and nothing by halves.

use landline_links::mark::End;
use landline_model::ContainerRecord;

use super::for_each_kind;
use super::world::{Kind, World, candidate, create, endpoint_id, living, network_id};

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Network,
    Endpoint,
    Joined,
}

/// A container starts and ends on a new network, while only this many writes reach the disk; then the daemon is killed. Returns
/// how many writes the longer half of that takes.
async fn killed_after(kind: Kind, writes: usize) -> usize {
    let world = World::new();
    let engine = world.start().await;
    engine.store.break_after(writes);
    let (id, mut told) = (endpoint_id(1), Told::Nothing);
    if engine.create_network(kind.network()).await.is_ok() {
        told = Told::Network;
    }
    if told == Told::Network && create(&engine, kind.endpoint(1)).await.is_ok() {
        told = Told::Endpoint;
    }
    if told == Told::Endpoint && engine.join(&id, Some(living()), None).await.is_ok() {
        told = Told::Joined;
        world.moves_in(&id);
        let container = ContainerRecord { id: candidate(1).id, ..ContainerRecord::named("web1") };
        engine.container_seen(&id, container).await;
    }
    let mac = engine.ledger.read().endpoints.get(&id).map(|present| present.record.mac);
    let begun = engine.store.written();
    let engine = world.restart(engine).await;

    assert_eq!(engine.networks().contains_key(&network_id()), told >= Told::Network, "{told:?}");
    assert_eq!(engine.knows(&id), told >= Told::Endpoint, "{told:?}");
    let known = engine.ledger.read().endpoints.get(&id).map(|present| present.record.clone());
    assert_eq!(known.as_ref().map(|record| record.mac), mac, "the same one");
    assert_eq!(known.is_some_and(|record| record.sandbox.is_some()), told == Told::Joined, "{told:?}");
    let strays = world.ends().into_iter().filter(|(owner, end)| *end != End::Host && !engine.knows(owner));
    assert_eq!(strays.count(), 0, "{told:?}");

    // The end of it likewise.
    engine.store.break_after(writes);
    engine.delete_endpoint(&id).await.unwrap();
    let deleted = engine.delete_network(&network_id()).await.is_ok();
    let ended = engine.store.written();
    let engine = world.restart(engine).await;
    assert!(!engine.knows(&id), "{told:?}");
    if deleted {
        assert!(engine.networks().is_empty(), "{told:?}");
    }
    begun.max(ended)
}

/// After every write of a start and of an end, as many as there are.
async fn killed_after_each_write(kind: Kind) {
    let all = killed_after(kind, usize::MAX).await;
    assert!(all > 0);
    for writes in 0..=all {
        killed_after(kind, writes).await;
    }
}
for_each_kind!(killed_after_each_write);
