//! Answered means stored: killed at any write, the next daemon has what was answered, and nothing by halves.

use landline_links::mark::End;
use landline_model::ContainerRecord;

use super::numbered;
use super::world::{Kind, World, candidate, create, endpoint_id, living, network_id};

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Network,
    Endpoint,
    Joined,
}

/// A container starts and ends on a new network, while only this many writes reach the disk; then the daemon is killed.
async fn killed_after(kind: Kind, writes: usize) {
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
    let engine = world.restart(engine).await;

    assert_eq!(engine.networks().contains_key(&network_id()), told >= Told::Network, "{told:?}");
    assert_eq!(engine.knows(&id), told >= Told::Endpoint, "{told:?}");
    let known = engine.ledger.read().endpoints.get(&id).map(|present| present.record.clone());
    assert_eq!(known.as_ref().map(|record| record.mac), mac, "the same one");
    assert_eq!(known.is_some_and(|record| record.sandbox.is_some()), told == Told::Joined, "{told:?}");
    let strays =
        world.ends().into_iter().filter(|(owner, end)| *end == End::Container && !engine.knows(owner));
    assert_eq!(strays.count(), 0, "{told:?}");

    // The end of it likewise.
    engine.store.break_after(writes);
    engine.delete_endpoint(&id).await.unwrap();
    let deleted = engine.delete_network(&network_id()).await.is_ok();
    let engine = world.restart(engine).await;
    assert!(!engine.knows(&id), "{told:?}");
    if deleted {
        assert!(engine.networks().is_empty(), "{told:?}");
    }
}

numbered! { killed_after:
    bridge_after_0 = Bridge, 0;
    bridge_after_1 = Bridge, 1;
    bridge_after_2 = Bridge, 2;
    bridge_after_3 = Bridge, 3;
    bridge_after_4 = Bridge, 4;
    bridge_after_5 = Bridge, 5;
    bridge_in_a_vlan_after_0 = BridgeVlan, 0;
    bridge_in_a_vlan_after_1 = BridgeVlan, 1;
    bridge_in_a_vlan_after_2 = BridgeVlan, 2;
    bridge_in_a_vlan_after_3 = BridgeVlan, 3;
    bridge_in_a_vlan_after_4 = BridgeVlan, 4;
    bridge_in_a_vlan_after_5 = BridgeVlan, 5;
    macvlan_after_0 = Macvlan, 0;
    macvlan_after_1 = Macvlan, 1;
    macvlan_after_2 = Macvlan, 2;
    macvlan_after_3 = Macvlan, 3;
    macvlan_after_4 = Macvlan, 4;
    macvlan_after_5 = Macvlan, 5;
    macvlan_in_a_vlan_after_0 = MacvlanVlan, 0;
    macvlan_in_a_vlan_after_1 = MacvlanVlan, 1;
    macvlan_in_a_vlan_after_2 = MacvlanVlan, 2;
    macvlan_in_a_vlan_after_3 = MacvlanVlan, 3;
    ipvlan_after_0 = Ipvlan, 0;
    ipvlan_after_1 = Ipvlan, 1;
    ipvlan_after_2 = Ipvlan, 2;
    ipvlan_after_3 = Ipvlan, 3;
    ipvlan_after_4 = Ipvlan, 4;
    ipvlan_after_5 = Ipvlan, 5;
    vde_after_0 = Vde, 0;
    vde_after_1 = Vde, 1;
    vde_after_2 = Vde, 2;
    vde_after_3 = Vde, 3;
    nat_after_0 = Nat, 0;
    nat_after_1 = Nat, 1;
    nat_after_2 = Nat, 2;
    nat_after_3 = Nat, 3;
    nat_after_4 = Nat, 4;
    nat_after_5 = Nat, 5;
}
