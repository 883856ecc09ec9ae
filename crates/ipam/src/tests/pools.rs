//! Pools: what is refused, whose they are, and what becomes of them.

use landline_engine::{AddressNews, Admission as _};
use landline_options::{Addressing, PoolSource};
use landline_types::chain;

use super::world::{LAN, World, ip, net, network};
use crate::PoolId;

const POOL: Option<PoolSource> = Some(PoolSource::Pool);
const DHCP: Option<PoolSource> = Some(PoolSource::Dhcp);

#[tokio::test(start_paused = true)]
async fn what_does_not_go_together_is_refused() {
    let (_world, daemon) = World::started().await;
    for (source, subnet, range, says) in [
        (
            POOL,
            None,
            None,
            "addressing=pool takes addresses from a subnet: give --subnet, or use addressing=dhcp",
        ),
        (DHCP, Some(LAN), Some("198.51.100.64/26"), "leave out --ip-range, or use addressing=pool"),
        (
            DHCP,
            Some("2001:db8::/64"),
            None,
            "leave out --ipv6, or give an IPv6 --subnet with -o addressing=pool",
        ),
        (
            POOL,
            Some(LAN),
            Some("192.0.2.0/26"),
            "the range 192.0.2.0/26 is not within the subnet 198.51.100.0/24",
        ),
    ] {
        let refused = daemon.pool(source, subnet, range).await.unwrap_err();
        assert!(chain(&refused).contains(says), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_addresses_come_from_follows_from_what_is_given() {
    let (_world, daemon) = World::started().await;
    for (source, subnet, range, is) in [
        (None, None, None, DHCP),
        (None, Some("203.0.113.0/24"), None, None),
        (None, Some("203.0.113.0/25"), Some("203.0.113.64/26"), POOL),
        (None, Some("2001:db8::/64"), None, POOL),
        (DHCP, Some("203.0.113.0/26"), None, DHCP),
    ] {
        let (id, _) = daemon.pool(source, subnet, range).await.unwrap();
        assert_eq!(daemon.pools.look(&id, |record| record.source), Some(is), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_has_the_pool_that_was_made_for_it() {
    let (world, daemon) = World::started().await;
    let unknown = daemon.create(1, Addressing::Static, PoolSource::Pool, net(LAN)).await.unwrap_err();
    assert_eq!(
        chain(&unknown),
        "Landline's IPAM driver knows no pool 198.51.100.0/24 that waits for a network; try again"
    );
    let pool = daemon.alone(LAN).await;
    assert_eq!(daemon.ipam.network_of_pool(&pool), None);
    daemon.create(1, Addressing::Static, PoolSource::Pool, net(LAN)).await.unwrap();
    let daemon = world.restart(daemon).await;
    assert_eq!(daemon.ipam.network_of_pool(&pool), Some(network(1)));
    assert!(daemon.ipam.serves(&network(1)) && !daemon.ipam.serves(&network(2)));
    // It is nobody else's.
    daemon.create(2, Addressing::Static, PoolSource::Pool, net(LAN)).await.unwrap_err();
}

/// Docker does not say which pool a network has.
#[tokio::test(start_paused = true)]
async fn of_two_pools_with_one_subnet_the_second_waits_for_the_firsts_network() {
    let (_world, daemon) = World::started().await;
    let first = daemon.alone(LAN).await;
    let (second, ()) = tokio::join!(daemon.alone(LAN), async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        daemon.create(1, Addressing::Static, PoolSource::Pool, net(LAN)).await.unwrap();
    });
    daemon.create(2, Addressing::Static, PoolSource::Pool, net(LAN)).await.unwrap();
    let of = |pool: &PoolId| daemon.ipam.network_of_pool(pool);
    assert_eq!([of(&first), of(&second)], [Some(network(1)), Some(network(2))]);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_cannot_be_stored_is_none() {
    let (world, daemon) = World::started().await;
    daemon.store.break_after(0);
    daemon.pool(POOL, Some(LAN), None).await.unwrap_err();
    daemon.store.break_after(usize::MAX);
    daemon.create(1, Addressing::Static, PoolSource::Pool, net(LAN)).await.unwrap_err();
    let daemon = world.restart(daemon).await;
    daemon.alone(LAN).await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_goes_when_docker_lets_go_of_it() {
    let (world, daemon) = World::started().await;
    let pool = daemon.alone(LAN).await;
    daemon.create(1, Addressing::Static, PoolSource::Pool, net(LAN)).await.unwrap();
    daemon.engine.delete_network(&network(1)).await.unwrap();
    assert!(daemon.pools.look(&pool, |_| ()).is_some(), "Docker says that by name");
    daemon.ipam.release_pool(&pool).await.unwrap();
    daemon.ipam.release_pool(&pool).await.unwrap();
    assert!(daemon.pools.look(&pool, |_| ()).is_none());
    let daemon = world.restart(daemon).await;
    assert!(daemon.pools.look(&pool, |_| ()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_gateway_is_the_one_that_is_named_or_the_first_address() {
    let (_world, daemon) = World::started().await;
    let pool = daemon.alone(LAN).await;
    assert_eq!(daemon.ipam.request_gateway(&pool, None).await.unwrap(), net("198.51.100.1/24"));
    let named = daemon.ipam.request_gateway(&pool, Some(ip("198.51.100.254"))).await.unwrap();
    assert_eq!(named, net("198.51.100.254/24"));
    for (gateway, says) in [
        ("192.0.2.1", "192.0.2.1 is not within the subnet 198.51.100.0/24"),
        ("198.51.100.255", "198.51.100.255 is no machine's address in the subnet 198.51.100.0/24"),
    ] {
        let refused = daemon.ipam.request_gateway(&pool, Some(ip(gateway))).await.unwrap_err();
        assert_eq!(chain(&refused), says);
    }
    let (lan, _) = daemon.pool(DHCP, None, None).await.unwrap();
    let none = daemon.ipam.request_gateway(&lan, None).await.unwrap_err();
    assert!(chain(&none).contains("create it again with --subnet, or with --gateway"), "{none}");
    let unknown = daemon.ipam.request_gateway(&PoolId::from("x".to_owned()), None).await.unwrap_err();
    assert!(chain(&unknown).starts_with("Landline does not know the pool x"), "{unknown}");
}

#[tokio::test(start_paused = true)]
async fn whose_an_address_turns_out_to_be_is_noted() {
    let (_world, daemon) = World::started().await;
    let pool = daemon.alone(LAN).await;
    daemon.create(1, Addressing::Static, PoolSource::Pool, net(LAN)).await.unwrap();
    assert_eq!(daemon.says(&pool, None, None).await, "198.51.100.1/24");
    let address = ip("198.51.100.1");
    daemon.pools.address(&network(1), AddressNews::Of(address, "web")).await;
    assert_eq!(daemon.says(&pool, Some("198.51.100.1"), None).await, "198.51.100.1 is in use by web");
    // A machine outside has it: whoever had it does not get it back.
    daemon.pools.address(&network(1), AddressNews::Contested(address)).await;
    daemon.ipam.release_address(&pool, address).await.unwrap();
    assert_eq!(daemon.says(&pool, None, Some("web")).await, "198.51.100.2/24");
}
