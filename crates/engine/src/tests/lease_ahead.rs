//! Leases that are made before there is an endpoint, because an IPAM driver is asked first.

use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use landline_dhcp::wire::dhcpv4::MessageType;
use landline_model::{IdentityId, NetworkRecord};
use tokio_util::sync::CancellationToken;

use super::leases::{FIRST, address, recorded, released};
use super::world::{Kind, World, candidate, create, endpoint_id, network_id, wait_for};
use crate::endpoints::CreateEndpoint;
use crate::engine::Engine;
use crate::lease_ahead::LeaseAheadError;
use crate::starting::Starting;

/// What Docker says of a container when it asks for its address.
fn named(n: u8) -> Starting {
    let candidate = candidate(n);
    Starting { name: Some(candidate.name), candidates: Some(Vec::new()), ..Starting::default() }
}

fn network(engine: &Engine) -> NetworkRecord {
    engine.networks()[&network_id()].clone()
}

async fn lease(engine: &Engine, who: &Starting) -> Result<(IdentityId, Ipv4Net), LeaseAheadError> {
    lease_within(engine, who, IpNet::default()).await
}

async fn lease_within(
    engine: &Engine,
    who: &Starting,
    subnet: IpNet,
) -> Result<(IdentityId, Ipv4Net), LeaseAheadError> {
    engine.lease_ahead(&network(engine), who, None, subnet, &CancellationToken::new()).await
}

/// Nothing is on the host, and nobody holds an identity.
fn nothing_held(world: &World, engine: &Arc<Engine>) {
    assert!(world.ends().is_empty() && engine.endpoints().is_empty());
    assert_eq!(world.lan.open_sockets(), 0);
    let held = |id: &IdentityId| engine.identities.holder(id).is_some();
    assert!(!engine.identities.all().iter().any(|identity| held(&identity.id)));
}

#[tokio::test(start_paused = true)]
async fn the_endpoint_that_comes_for_a_lease_has_its_address_and_identity() {
    let (world, engine) = World::with(Kind::Leased).await;
    let (identity, leased) = lease(&engine, &named(1)).await.unwrap();
    assert_eq!(leased.to_string(), FIRST);
    assert!(world.ends().is_empty() && released(&world) == 0, "the link is gone, the lease is not");
    let comes = CreateEndpoint {
        address: Some(leased),
        reservation: Some(identity.clone()),
        ..Kind::Leased.endpoint(1)
    };
    create(&engine, comes).await.unwrap();
    assert_eq!(recorded(&engine, 1), Some(address(10)));
    assert_eq!(engine.identities.holder(&identity), Some(endpoint_id(1)));
}

/// What has been asked on the LAN: of the server, and who has an address.
fn asked(world: &World) -> (usize, usize) {
    world.lan.four(|lan| (lan.sent(MessageType::Request), lan.probes()))
}

#[tokio::test(start_paused = true)]
async fn the_server_is_asked_once_if_the_endpoint_comes_at_once() {
    for (pause, again) in [(Duration::ZERO, false), (Duration::from_secs(20), true)] {
        let (world, engine) = World::with(Kind::Leased).await;
        let (identity, leased) = lease(&engine, &named(1)).await.unwrap();
        let before = asked(&world);
        assert!(before.0 == 1 && before.1 > 0, "{before:?}");
        tokio::time::sleep(pause).await;
        let comes =
            CreateEndpoint { address: Some(leased), reservation: Some(identity), ..Kind::Leased.endpoint(1) };
        create(&engine, comes).await.unwrap();
        assert_eq!(recorded(&engine, 1), Some(address(10)));
        let after = asked(&world);
        assert_eq!((after.0 > before.0, after.1 > before.1), (again, again), "{before:?} {after:?}");
        assert_eq!(world.lan.open_sockets() > 0, again, "nothing is waited for");
    }
}

#[tokio::test(start_paused = true)]
async fn two_that_start_at_once_have_two_leases() {
    let (_world, engine) = World::with(Kind::Leased).await;
    let (one, two) = (named(1), named(2));
    let (one, two) = tokio::join!(lease(&engine, &one), lease(&engine, &two));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.0 != two.0 && one.1 != two.1);
}

#[tokio::test(start_paused = true)]
async fn an_address_outside_the_subnet_is_given_back() {
    let (world, engine) = World::with(Kind::Leased).await;
    let refused = lease_within(&engine, &named(1), "192.0.2.0/24".parse().unwrap()).await;
    assert!(matches!(refused, Err(LeaseAheadError::OtherSubnet { .. })), "{refused:?}");
    assert_eq!(released(&world), 1);
    nothing_held(&world, &engine);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_stored_is_given_back() {
    let (world, engine) = World::with(Kind::Leased).await;
    engine.store.break_after(0);
    lease(&engine, &named(1)).await.unwrap_err();
    engine.store.break_after(usize::MAX);
    assert_eq!(released(&world), 1);
    nothing_held(&world, &engine);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_leaves_nothing() {
    for step in 0..3 {
        let (world, engine) = World::with(Kind::Leased).await;
        world.host.fail_at(Some(step));
        lease(&engine, &named(1)).await.unwrap_err();
        nothing_held(&world, &engine);
        world.host.fail_at(None);
        lease(&engine, &named(1)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_nothing() {
    let (world, engine) = World::with(Kind::Leased).await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let left = engine.lease_ahead(&network(&engine), &named(1), None, IpNet::default(), &cancel).await;
    left.unwrap_err();
    nothing_held(&world, &engine);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_can_come_for_goes_back_to_the_server() {
    let (world, engine) = World::with(Kind::Leased).await;
    let nameless = Starting { name: None, ..named(1) };
    let (identity, _) = lease(&engine, &nameless).await.unwrap();
    engine.release_unused(&identity);
    wait_for("the lease is given back", || released(&world) == 1).await;
    wait_for("its identity is forgotten", || engine.identities.get(&identity).is_none()).await;
    assert!(world.ends().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_container_that_comes_again_has_the_lease_that_it_did_not_come_for() {
    let (_world, engine) = World::with(Kind::Leased).await;
    let first = lease(&engine, &named(1)).await.unwrap();
    engine.release_unused(&first.0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(lease(&engine, &named(1)).await.unwrap(), first);
}

#[tokio::test]
async fn an_address_belongs_to_whoever_can_be_told_to_start() {
    let (_world, engine) = World::with(Kind::Leased).await;
    let network = network(&engine);
    let owner = |who: Starting| {
        let (engine, network) = (engine.clone(), network.clone());
        async move { engine.owner_to_be(&network, &who, true).await.unwrap() }
    };
    assert_eq!(owner(named(1)).await, Some(candidate(1).name), "Docker says its name");
    let only = Starting { name: None, candidates: Some(vec![candidate(2)]), ..named(2) };
    assert_eq!(owner(only.clone()).await, Some(candidate(2).name), "nobody else can be");
    let several = Starting { candidates: Some(vec![candidate(2), candidate(3)]), ..only };
    assert_eq!(owner(several).await, None);
}
