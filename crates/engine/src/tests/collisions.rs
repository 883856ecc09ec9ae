//! Addresses of containers that the host is given later.

use std::net::IpAddr;

use landline_dhcp::wire::dhcpv4::MessageType;

use super::leases::{FIRST, address, recorded, running};
use super::world::{Kind, World, create, wait_for};
use crate::engine::Engine;

/// The host has this address now; `None`: none.
fn host_has(engine: &Engine, net: Option<&str>) {
    let on_bridge = |net: &str| ("br0".parse().unwrap(), net.parse().unwrap());
    engine.services.book.set_host(net.map(on_bridge).into_iter().collect());
}

#[tokio::test(start_paused = true)]
async fn a_leased_address_that_the_host_is_given_is_declined() {
    let (world, engine) = running().await;
    host_has(&engine, Some(FIRST));
    let has_another = || recorded(&engine, 1).is_some_and(|now| now != address(10));
    wait_for("another address", has_another).await;
    assert_eq!(world.lan.four(|lan| lan.sent(MessageType::Decline)), 1);
    assert!(engine.collisions().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_fixed_address_that_the_host_is_given_is_reported_until_it_is_gone() {
    let (world, engine) = World::with(Kind::Fixed).await;
    create(&engine, Kind::Fixed.endpoint(1)).await.unwrap();
    assert!(engine.collisions().await.is_empty());
    host_has(&engine, Some("198.51.100.11/24"));
    let found = engine.collisions().await;
    let found: Vec<_> = found.iter().map(|found| (found.address, found.interface.as_str())).collect();
    assert_eq!(found, [(IpAddr::from(address(11)), "br0")]);
    assert_eq!(world.ends().len(), 2, "its link stays");
    host_has(&engine, None);
    assert!(engine.collisions().await.is_empty());
}
