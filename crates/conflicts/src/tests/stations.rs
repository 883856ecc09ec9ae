//! Another machine on the LAN with the hardware address of a container that runs.

use std::time::Duration;

use landline_options::{Addressing, ConflictCheck};
use landline_types::Mac;

use super::{World, address, endpoint_id};

/// A container with the server's first address while something happens on the LAN; where that is noticed.
async fn noticed(conflict_check: ConflictCheck, happens: impl FnOnce(&World, Mac)) -> Option<String> {
    let world = World::with(Addressing::Dhcp, conflict_check).await;
    let answer = world.start(None).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    happens(&world, answer.mac.unwrap());
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.engine.endpoint_view(&endpoint_id()).await.unwrap().elsewhere.map(|link| link.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_machine_with_the_same_hardware_address_and_address_is_noticed() {
    let twin = |world: &World, mac| world.machine.lan.four(|lan| lan.twin(address(10), mac));
    assert_eq!(noticed(ConflictCheck::Fast, twin).await.as_deref(), Some("eth7"));
    assert_eq!(noticed(ConflictCheck::Off, twin).await, None);
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_by_a_loop_is_no_other_machine() {
    let comes_back = |world: &World, mac| world.machine.lan.four(|lan| lan.hear(address(10), mac));
    assert_eq!(noticed(ConflictCheck::Fast, comes_back).await, None);
    // Another has the address: that is a conflict, and something else.
    let squats = |world: &World, mac| {
        world.machine.lan.four(|lan| {
            lan.squat(address(10));
            lan.hear(address(10), mac);
        });
    };
    assert_eq!(noticed(ConflictCheck::Fast, squats).await, None);
}
