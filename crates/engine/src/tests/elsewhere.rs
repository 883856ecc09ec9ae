//! Another machine on the LAN with the hardware address of a container that runs.

use std::time::Duration;

use landline_kernel::{Link, LinkKind};
use landline_links::fake::link;
use landline_options::ConflictCheck;

use super::leases::address;
use super::world::{Kind, World, create, endpoint_id};
use crate::networks::CreateNetwork;

/// A container with the server's first address, on a bridge that the host's NIC is in, while something happens on the LAN; where that is
/// noticed.
async fn noticed(
    conflict_check: ConflictCheck,
    happens: impl FnOnce(&World, landline_types::Mac),
) -> Option<String> {
    let world = World::new();
    let nic = Link { mac: "02:11:22:33:44:66".parse().ok(), ..link(9, "eth7", LinkKind::Physical) };
    world.host.change(|links| links.push(Link { controller: Some(1), ..nic }));
    let engine = world.start().await;
    let network = Kind::Leased.network();
    let options = landline_options::NetworkOptions { conflict_check, ..network.options };
    engine.create_network(CreateNetwork { options, ..network }).await.unwrap();
    let answer = create(&engine, Kind::Leased.endpoint(1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    happens(&world, answer.mac.unwrap());
    tokio::time::sleep(Duration::from_secs(5)).await;
    engine.endpoint_view(&endpoint_id(1)).await.unwrap().elsewhere.map(|link| link.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_machine_with_the_same_hardware_address_and_address_is_noticed() {
    let twin = |world: &World, mac| world.lan.four(|lan| lan.twin(address(10), mac));
    assert_eq!(noticed(ConflictCheck::Fast, twin).await.as_deref(), Some("eth7"));
    assert_eq!(noticed(ConflictCheck::Off, twin).await, None);
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_by_a_loop_is_no_other_machine() {
    let comes_back = |world: &World, mac| world.lan.four(|lan| lan.hear(address(10), mac));
    assert_eq!(noticed(ConflictCheck::Fast, comes_back).await, None);
    // Another has the address: that is a conflict, and something else.
    let squats = |world: &World, mac| {
        world.lan.four(|lan| {
            lan.squat(address(10));
            lan.hear(address(10), mac);
        });
    };
    assert_eq!(noticed(ConflictCheck::Fast, squats).await, None);
}
