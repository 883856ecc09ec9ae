//! Which networks there may be, and how they are found, named and forgotten.

use landline_options::{Addressing, Ipv6Mode, LinkMtu, Mtu, NetworkId, NetworkOptions, PoolSource};

use super::for_each_kind;
use super::world::{Kind, World, create, endpoint_id, living, network_id, says};
use crate::forget::ForgetNetworkError;
use crate::networks::{CreateNetwork, NetworkIpam, PoolV6};

async fn a_network_is_created_once_and_deleted_with_all_that_was_made_for_it(kind: Kind) {
    let world = World::new();
    let (engine, before) = (world.start().await, world.host.names());
    engine.create_network(kind.network()).await.unwrap();
    let made = world.host.names();
    engine.create_network(kind.network()).await.unwrap();
    assert_eq!(world.host.names(), made, "asked again it is confirmed");
    let options = NetworkOptions { mtu: mtu(1280), ..kind.options() };
    let other = CreateNetwork { options, ..kind.network() };
    assert!(says(engine.create_network(other).await).contains("already with other options"));
    engine.delete_network(&network_id()).await.unwrap();
    assert_eq!(world.host.names(), before);
    assert!(engine.networks().is_empty() && world.gate.held().is_empty());
    engine.delete_network(&network_id()).await.unwrap();
}
for_each_kind!(a_network_is_created_once_and_deleted_with_all_that_was_made_for_it);

async fn a_network_survives_a_restart_with_all_that_was_made_for_it(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let (made, record) = (world.host.names(), engine.networks().get(&network_id()).cloned());
    let engine = world.restart(engine).await;
    assert_eq!((world.host.names(), engine.networks().get(&network_id()).cloned()), (made, record));
    engine.create_network(kind.network()).await.unwrap();
}
for_each_kind!(a_network_survives_a_restart_with_all_that_was_made_for_it);

async fn what_was_removed_meanwhile_is_made_again_at_the_start(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let made = world.host.names();
    world.kill(engine).await;
    let own = |name: &str| !["br0", "br1", "ovs0", "eth0", "eth1"].contains(&name);
    world.host.change(|links| links.retain(|link| !own(link.name.as_str())));
    let _engine = world.start().await;
    assert_eq!(world.host.names(), made);
}
for_each_kind!(what_was_removed_meanwhile_is_made_again_at_the_start);

/// What is said to a request that differs from a bridge's network in this.
async fn said(change: impl FnOnce(&mut CreateNetwork)) -> String {
    let mut request = Kind::Bridge.network();
    change(&mut request);
    said_to(request).await
}

async fn said_to(request: CreateNetwork) -> String {
    let world = World::new();
    let (engine, before) = (world.start().await, world.host.names());
    let said = says(engine.create_network(request).await);
    if said != "created" {
        assert_eq!(world.host.names(), before);
        assert!(engine.networks().is_empty() && world.gate.held().is_empty(), "{said}");
    }
    said
}

fn mtu(bytes: u32) -> Option<LinkMtu> {
    Mtu::try_from(bytes).ok().map(LinkMtu::Fixed)
}

fn pool() -> NetworkIpam {
    NetworkIpam::Pool { subnet: "192.0.2.0/24".parse().unwrap(), gateway: "192.0.2.1".parse().ok() }
}

fn ours(source: PoolSource) -> NetworkIpam {
    let gateway = "192.0.2.1".parse().ok();
    NetworkIpam::Landline { subnet: "192.0.2.0/24".parse().unwrap(), gateway, source: Some(source) }
}

/// A test of what is said to one request.
macro_rules! said {
    ($($name:ident: $change:expr => $words:literal;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let said = said($change).await;
                assert!(said.contains($words), "{said}");
            }
        )*
    };
}

said! {
    dhcp_without_a_pool_is_a_network:
        |n| n.options.addressing = Addressing::Dhcp => "created";
    dhcp_with_dockers_pool_is_refused:
        |n| (n.options.addressing, n.ipam) = (Addressing::Dhcp, pool()) => "add --ipam-driver landline or null";
    dhcp_with_a_pool_of_ours_is_refused:
        |n| (n.options.addressing, n.ipam) = (Addressing::Dhcp, ours(PoolSource::Pool))
        => "and --ip-range or --ipam-opt addressing=pool takes them from the subnet: leave out one of them";
    dhcp_with_a_pool_of_ours_from_the_lan_is_a_network:
        |n| (n.options.addressing, n.ipam) = (Addressing::Dhcp, ours(PoolSource::Dhcp)) => "created";
    static_without_a_pool_is_refused:
        |n| n.options.addressing = Addressing::Static => "give --subnet and --gateway";
    static_with_dockers_pool_is_a_network:
        |n| (n.options.addressing, n.ipam) = (Addressing::Static, pool()) => "created";
    static_with_a_pool_of_ours_is_a_network:
        |n| (n.options.addressing, n.ipam) = (Addressing::Static, ours(PoolSource::Pool)) => "created";
    no_addressing_with_dockers_pool_is_refused:
        |n| n.ipam = pool() => "so Docker must not either: add --ipam-driver null";
    no_addressing_with_a_pool_of_ours_is_refused:
        |n| n.ipam = ours(PoolSource::Pool) => "so Docker must not either: add --ipam-driver null";
    no_parent_of_this_name:
        |n| n.options.parent = "br9".parse().unwrap() => "there is no interface br9";
    a_parent_of_another_kind:
        |n| n.options.parent = "eth0".parse().unwrap() => "which mode=bridge cannot use";
    a_bridge_that_does_not_filter_has_no_vlans:
        |n| n.options.vlan = 12.try_into().ok() => "does not filter VLANs";
    more_bytes_than_the_parent_carries:
        |n| n.options.mtu = mtu(9000) => "mtu=9000 is more than br0 carries, which is 1500";
    as_many_bytes_as_the_parent_carries:
        |n| n.options.mtu = mtu(1500) => "created";
    ipv6_from_a_pool_beside_ipv6_from_the_lan:
        |n| {
            n.options.ipv6 = Ipv6Mode::Auto;
            n.ipam_v6 = Some(PoolV6 { subnet: "2001:db8::/64".parse().unwrap(), gateway: None, ours: false });
        } => "leave out --ipv6 and its --subnet, or -o ipv6 and DHCP";
    ipv6_from_a_pool_with_fixed_addresses:
        |n| {
            (n.options.addressing, n.ipam) = (Addressing::Static, pool());
            n.ipam_v6 = Some(PoolV6 { subnet: "2001:db8::/64".parse().unwrap(), gateway: None, ours: false });
        } => "created";
}

/// The same for a network with translated addresses.
macro_rules! said_of_nat {
    ($($name:ident: $change:expr => $words:literal;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let mut request = Kind::Nat.network();
                let change: fn(&mut CreateNetwork) = $change;
                change(&mut request);
                let said = said_to(request).await;
                assert!(said.contains($words), "{said}");
            }
        )*
    };
}

said_of_nat! {
    translated_without_a_pool: |n| n.ipam = NetworkIpam::Null => "leave out --ipam-driver null";
    translated_without_a_gateway:
        |n| n.ipam = NetworkIpam::Pool { subnet: "203.0.113.0/24".parse().unwrap(), gateway: None }
        => "add --gateway";
    translated_with_ipv6:
        |n| n.ipam_v6 = Some(PoolV6 { subnet: "2001:db8::/64".parse().unwrap(), gateway: None, ours: false })
        => "translates IPv4 only";
}

fn second(options: NetworkOptions) -> CreateNetwork {
    let id: NetworkId = "b".repeat(64).parse().unwrap();
    CreateNetwork { id, options, ..Kind::Bridge.network() }
}

#[tokio::test]
async fn a_bridge_has_one_network() {
    let (_world, engine) = World::with(Kind::Bridge).await;
    engine.network_seen(&network_id(), "lan").await;
    let said = says(engine.create_network(second(Kind::Bridge.options())).await);
    assert!(said.contains("already used by the Docker network lan"), "{said}");
    let options = NetworkOptions { ignore_conflicts: true, ..Kind::Bridge.options() };
    assert_eq!(says(engine.create_network(second(options)).await), "created");
}

#[tokio::test]
async fn a_bridge_has_a_network_for_each_vlan() {
    let (_world, engine) = World::with(Kind::BridgeVlan).await;
    let other = NetworkOptions { vlan: 13.try_into().ok(), ..Kind::BridgeVlan.options() };
    assert_eq!(says(engine.create_network(second(other)).await), "created");
    let same = CreateNetwork { id: "c".repeat(64).parse().unwrap(), ..second(Kind::BridgeVlan.options()) };
    assert!(says(engine.create_network(same).await).contains("already used"));
}

#[tokio::test]
async fn two_networks_share_the_interface_of_a_vlan_until_the_last_goes() {
    let (world, engine) = World::with(Kind::MacvlanVlan).await;
    engine.create_network(second(Kind::MacvlanVlan.options())).await.unwrap();
    let has = || world.host.names().contains(&"eth0.12".to_owned());
    engine.delete_network(&network_id()).await.unwrap();
    assert!(has());
    engine.delete_network(&"b".repeat(64).parse().unwrap()).await.unwrap();
    assert!(!has());
}

#[tokio::test]
async fn a_network_is_found_by_its_name_its_id_or_the_beginning_of_that() {
    let (_world, engine) = World::with(Kind::Bridge).await;
    engine.create_network(second(Kind::Macvlan.options())).await.unwrap();
    engine.network_seen(&network_id(), "bbb").await;
    let found = |called: &str| engine.find_network(called).map_err(|error| error.to_string());
    assert_eq!(found("aaaa"), Ok(network_id()));
    assert_eq!(found(&"a".repeat(64)), Ok(network_id()));
    assert_eq!(found("bbb"), Ok(network_id()), "a name before the beginning of an id");
    assert_eq!(found("bb"), Ok("b".repeat(64).parse().unwrap()));
    assert!(found("c").unwrap_err().contains("there is no network \"c\""));
    assert!(found("").unwrap_err().contains("there is no network"));
    engine.network_seen(&"b".repeat(64).parse().unwrap(), "bbb").await;
    assert!(found("bbb").unwrap_err().contains("several networks"));
}

#[tokio::test]
async fn a_network_that_was_created_says_when_and_one_of_before_does_not() {
    let (world, engine) = World::with(Kind::Bridge).await;
    assert!(!engine.docker_networks()[&network_id()].is_zero());
    let engine = world.restart(engine).await;
    assert!(engine.docker_networks()[&network_id()].is_zero());
}

#[tokio::test]
async fn a_networks_name_is_stored() {
    let (world, engine) = World::with(Kind::Bridge).await;
    assert_eq!(engine.network_name(&network_id()), "a".repeat(12));
    engine.network_seen(&network_id(), "lan").await;
    let engine = world.restart(engine).await;
    assert_eq!(engine.network_name(&network_id()), "lan");
}

#[tokio::test]
async fn a_network_with_a_running_container_is_not_forgotten() {
    let (world, engine) = World::with(Kind::Bridge).await;
    create(&engine, Kind::Bridge.endpoint(1)).await.unwrap();
    engine.join(&endpoint_id(1), Some(living()), None).await.unwrap();
    world.moves_in(&endpoint_id(1));
    let refused = engine.forget_network(&network_id()).await;
    assert!(matches!(refused, Err(ForgetNetworkError::InUse { .. })), "{refused:?}");
    assert!(engine.knows(&endpoint_id(1)) && engine.networks().contains_key(&network_id()));
}

async fn a_network_without_containers_is_forgotten_with_its_endpoints(kind: Kind) {
    let world = World::new();
    let (engine, before) = (world.start().await, world.host.names());
    engine.create_network(kind.network()).await.unwrap();
    create(&engine, kind.endpoint(1)).await.unwrap();
    engine.forget_network(&network_id()).await.unwrap();
    assert_eq!(world.host.names(), before);
    assert!(!engine.knows(&endpoint_id(1)) && engine.networks().is_empty() && world.gate.held().is_empty());
}
for_each_kind!(a_network_without_containers_is_forgotten_with_its_endpoints);

async fn a_network_that_only_docker_knows_is_taken_up(kind: Kind) {
    let world = World::new();
    let engine = world.start().await;
    engine.adopt_network(kind.network()).await;
    create(&engine, kind.endpoint(1)).await.unwrap();
    assert!(engine.docker_networks()[&network_id()].is_zero(), "it was not created now");
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    let engine = world.restart(engine).await;
    assert!(engine.networks().contains_key(&network_id()));
}
for_each_kind!(a_network_that_only_docker_knows_is_taken_up);

async fn a_network_that_was_taken_up_is_confirmed_when_docker_asks_for_it(kind: Kind) {
    let world = World::new();
    let engine = world.start().await;
    engine.adopt_network(kind.network()).await;
    engine.create_network(kind.network()).await.unwrap();
}
for_each_kind!(a_network_that_was_taken_up_is_confirmed_when_docker_asks_for_it);

#[tokio::test]
async fn a_gateway_on_the_lan_is_no_address_of_the_hosts() {
    let (world, gateway) = (World::new(), "192.0.2.1".parse().ok());
    let engine = world.start().await;
    let options = NetworkOptions { addressing: Addressing::Static, ..Kind::Bridge.options() };
    let ipam = NetworkIpam::Pool { subnet: "192.0.2.0/24".parse().unwrap(), gateway };
    let network = CreateNetwork { options, ipam, ..Kind::Bridge.network() };
    engine.adopt_network(network.clone()).await;
    let record = engine.networks()[&network_id()].clone();
    assert_eq!((record.bridge_address, record.ipam_gateway), (None, gateway));
    engine.create_network(network).await.unwrap();
}
