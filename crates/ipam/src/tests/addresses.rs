//! Addresses from a subnet.

use landline_options::{Addressing, PoolSource};

use super::world::{LAN, World, ip, net};
use crate::PoolId;

#[tokio::test(start_paused = true)]
async fn a_container_has_its_address_back_and_another_has_another() {
    let (world, daemon) = World::started().await;
    let pool = daemon.alone(LAN).await;
    daemon.ipam.request_gateway(&pool, None).await.unwrap();
    assert_eq!(daemon.says(&pool, None, Some("web")).await, "198.51.100.2/24", "not the gateway's");
    assert_eq!(daemon.says(&pool, None, Some("db")).await, "198.51.100.3/24");
    daemon.ipam.release_address(&pool, ip("198.51.100.2")).await.unwrap();
    let daemon = world.restart(daemon).await;
    assert_eq!(daemon.says(&pool, None, Some("new")).await, "198.51.100.4/24", "never used");
    assert_eq!(daemon.says(&pool, None, Some("web")).await, "198.51.100.2/24");
    assert_eq!(daemon.says(&pool, Some("198.51.100.3"), None).await, "198.51.100.3 is in use by db");
    daemon.ipam.release_address(&pool, ip("198.51.100.200")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_is_refused() {
    let (_world, daemon) = World::started().await;
    let pool = daemon.alone("198.51.100.0/30").await;
    for (named, says) in [
        ("192.0.2.7", "192.0.2.7 is not within the subnet 198.51.100.0/30"),
        ("198.51.100.3", "198.51.100.3 is no machine's address in the subnet 198.51.100.0/30"),
        ("198.51.100.2", "198.51.100.2/30"),
        ("198.51.100.2", "198.51.100.2 is in use by another container"),
    ] {
        assert_eq!(daemon.says(&pool, Some(named), None).await, says);
    }
    assert_eq!(daemon.says(&pool, None, None).await, "198.51.100.1/30");
    assert_eq!(
        daemon.says(&pool, None, None).await,
        "all addresses of 198.51.100.0/30 are in use; remove containers, or create the network again with a larger range"
    );
    let unknown = daemon.says(&PoolId::from("x".to_owned()), None, None).await;
    assert!(unknown.starts_with("Landline does not know the pool x: its state was lost"), "{unknown}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_cannot_be_stored_is_not_given() {
    let (world, daemon) = World::started().await;
    let pool = daemon.alone(LAN).await;
    daemon.store.break_after(0);
    let refused = daemon.says(&pool, None, Some("web")).await;
    assert!(refused.starts_with("cannot store the address"), "{refused}");
    daemon.store.break_after(usize::MAX);
    assert_eq!(daemon.says(&pool, None, Some("db")).await, "198.51.100.1/24");
    daemon.store.break_after(0);
    daemon.ipam.release_address(&pool, ip("198.51.100.1")).await.unwrap_err();
    daemon.store.break_after(usize::MAX);
    let daemon = world.restart(daemon).await;
    assert_eq!(daemon.says(&pool, Some("198.51.100.1"), None).await, "198.51.100.1 is in use by db");
}

#[tokio::test(start_paused = true)]
async fn without_a_network_on_a_lan_nobody_can_be_asked() {
    let (_world, daemon) = World::started().await;
    let (pool, _) = daemon.pool(Some(PoolSource::Dhcp), Some(LAN), None).await.unwrap();
    let refused = daemon.says(&pool, None, None).await;
    assert!(
        refused.starts_with("addressing=dhcp asks the DHCP server on the LAN of a network of"),
        "{refused}"
    );
    // What is named (`--aux-address`) needs nobody.
    assert_eq!(daemon.says(&pool, Some("198.51.100.77"), None).await, "198.51.100.77/24");
}

#[tokio::test(start_paused = true)]
async fn a_network_that_asks_nobody_takes_only_addresses_that_are_named() {
    let (_world, daemon) = World::started().await;
    let (pool, _) = daemon.pool(Some(PoolSource::Dhcp), Some(LAN), None).await.unwrap();
    daemon.create(1, Addressing::Static, PoolSource::Dhcp, net(LAN)).await.unwrap();
    let refused = daemon.says(&pool, None, None).await;
    assert!(refused.contains("every container names its own with --ip"), "{refused}");
    assert_eq!(daemon.says(&pool, Some("198.51.100.77"), None).await, "198.51.100.77/24");
}

/// Its user gave no subnet, and the parent has no address that would say one.
#[tokio::test(start_paused = true)]
async fn a_named_address_needs_a_subnet() {
    let (_world, daemon) = World::started().await;
    let (pool, subnet) = daemon.pool(Some(PoolSource::Dhcp), None, None).await.unwrap();
    daemon.create(1, Addressing::Static, PoolSource::Dhcp, subnet).await.unwrap();
    assert_eq!(
        daemon.says(&pool, Some("198.51.100.77"), None).await,
        "which subnet 198.51.100.77 is in was not said; create the network again with --subnet"
    );
}
