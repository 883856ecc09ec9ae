//! Endpoints of `mode=nat` networks, and the addresses they claim.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use landline_engine::{Admission as _, CreateEndpoint, EndpointRequest, Published, Withdrawn};
use landline_links::fake::Refused;
use landline_model::{EndpointRecord, IdentityRecord, NatOwner, NetworkRecord};
use landline_options::{EndpointOptions, LanIp, Mode, NetworkId, NetworkOptions};

use super::world::{Daemon, World, eventually, quiet};
use crate::claim::all_bound;
use crate::nat_bridge::nat_bridges_of;

const A: &str = "198.51.100.100";
const B: &str = "198.51.100.101";

fn network_id() -> NetworkId {
    "a".repeat(64).parse().unwrap()
}

/// A network whose containers have this address, if it is the network's.
fn network(lan_ip: Option<&str>) -> NetworkRecord {
    let mut options = NetworkOptions { mode: Mode::Nat, ..NetworkOptions::new("llb0".parse().unwrap()) };
    options.nat.lan_ip = lan_ip.map_or(LanIp::Dhcp, |address| LanIp::Static(address.parse().unwrap()));
    options.lease_timeout = Duration::from_secs(10);
    NetworkRecord {
        nic: "eth0".parse().ok(),
        bridge_address: "203.0.113.1/24".parse().ok(),
        ..NetworkRecord::new(network_id(), options)
    }
}

fn identity(n: u8) -> IdentityRecord {
    serde_json::from_value(serde_json::json!({
        "id": format!("{n:032x}"), "network": network_id(), "parent": "llb0", "mode": "nat",
        "mac": format!("02:00:00:00:02:{n:02x}"),
    }))
    .unwrap()
}

/// What Docker asks for: the n-th container, with an address of its own.
fn request(n: u8, lan_ip: Option<&str>) -> CreateEndpoint {
    CreateEndpoint {
        network: network_id(),
        endpoint: format!("{n:064}").parse().unwrap(),
        mac: None,
        address: format!("203.0.113.{n}/24").parse().ok(),
        address_v6: None,
        options: EndpointOptions {
            lan_ip: lan_ip.map(|address| LanIp::Static(address.parse().unwrap())),
            ..EndpointOptions::default()
        },
        ports: BTreeSet::from([(6, 80)]),
        published: Vec::new(),
        candidates: None,
        reservation: None,
        host_end: None,
    }
}

/// The endpoint's record, bound as the engine has it bound.
fn bound(daemon: &Daemon, request: &CreateEndpoint, network: &NetworkRecord, n: u8) -> EndpointRecord {
    let mut record: EndpointRecord = serde_json::from_value(serde_json::json!({
        "id": request.endpoint, "network": network_id(), "mac": "02:00:00:00:02:01", "link": "llc0",
        "prefix": "eth", "address": { "static": { "address": request.address } },
    }))
    .unwrap();
    daemon.nat.annotate(request, network, &mut identity(n), &mut record);
    record
}

/// Docker starts the n-th container; what it is told if that fails, and its record.
async fn starts(
    daemon: &Daemon,
    network: &NetworkRecord,
    request: &CreateEndpoint,
    n: u8,
) -> (Result<(), String>, EndpointRecord) {
    let (record, identity) = (bound(daemon, request, network, n), identity(n));
    let endpoint =
        EndpointRequest { request, record: &record, network, identity: &identity, name: None, again: false };
    let claimed = daemon.nat.endpoint(endpoint).await.map_err(|refusal| landline_types::chain(&refusal));
    (claimed, record)
}

async fn ends(daemon: &Daemon, record: &EndpointRecord, remembered: bool) {
    daemon.nat.withdrawn(Withdrawn::Endpoint { record, remembered }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_container_is_behind_its_own_address_before_it_runs() {
    let world = World::new();
    let (daemon, network) = (world.started().await, network(None));
    let (claimed, record) = starts(&daemon, &network, &request(7, Some(A)), 7).await;
    claimed.unwrap();
    assert_eq!(world.on("eth0"), [A]);
    assert!(world.rules().contains("203.0.113.7") && world.rules().contains("80"));
    // It stops, and may come back: its address stays, with nothing behind it.
    ends(&daemon, &record, true).await;
    assert_eq!(world.on("eth0"), [A]);
    assert!(!world.rules().contains("203.0.113.7"));
    let (claimed, _) = starts(&daemon, &network, &request(8, Some(A)), 7).await;
    claimed.unwrap();
    assert!(world.rules().contains("203.0.113.8"));
}

#[tokio::test(start_paused = true)]
async fn what_did_not_come_about_leaves_nothing() {
    let world = World::new();
    let (daemon, network) = (world.started().await, network(None));
    let (claimed, record) = starts(&daemon, &network, &request(7, Some(A)), 7).await;
    claimed.unwrap();
    ends(&daemon, &record, false).await;
    assert!(world.on("eth0").is_empty() && daemon.nat.views().is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_address_than_before_takes_its_place() {
    let world = World::new();
    let (daemon, network) = (world.started().await, network(None));
    let (claimed, record) = starts(&daemon, &network, &request(7, Some(A)), 7).await;
    claimed.unwrap();
    ends(&daemon, &record, true).await;
    let (claimed, _) = starts(&daemon, &network, &request(7, Some(B)), 7).await;
    claimed.unwrap();
    assert_eq!(world.on("eth0"), [B]);
}

#[tokio::test(start_paused = true)]
async fn a_networks_address_is_one_containers_at_a_time() {
    let world = World::new();
    let (daemon, network) = (world.started().await, network(Some(A)));
    daemon.nat.open_nat_bridge(&network, false).await.unwrap();
    assert_eq!(world.on("eth0"), [A]);
    let (claimed, first) = starts(&daemon, &network, &request(7, None), 7).await;
    claimed.unwrap();
    let (refused, _) = starts(&daemon, &network, &request(8, None), 8).await;
    assert!(refused.unwrap_err().contains("a container on this network has its address"));
    assert!(world.rules().contains("203.0.113.7") && !world.rules().contains("203.0.113.8"));
    // With an address of its own it may run beside the other one.
    starts(&daemon, &network, &request(8, Some(B)), 8).await.0.unwrap();
    ends(&daemon, &first, true).await;
    starts(&daemon, &network, &request(9, None), 9).await.0.unwrap();
    daemon.nat.close_nat_bridge(&network).await;
    assert!(world.on("eth0").is_empty() && !world.rules().contains("203.0.113"));
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_published_at_another_address_is_refused() {
    let world = World::new();
    let (daemon, network) = (world.started().await, network(None));
    let publish = |address: &str| {
        let address: Option<Ipv4Addr> = address.parse().ok();
        let published = vec![Published { protocol: 6, inside: 80, outside: Some(8080), address }];
        CreateEndpoint { published, ..request(7, Some(A)) }
    };
    let (refused, _) = starts(&daemon, &network, &publish(B), 7).await;
    assert!(refused.unwrap_err().contains("names another address"));
    assert!(world.on("eth0").is_empty() && daemon.nat.views().is_empty());
    for named in [A, "0.0.0.0"] {
        let (claimed, record) = starts(&daemon, &network, &publish(named), 7).await;
        claimed.unwrap();
        ends(&daemon, &record, false).await;
    }
}

/// Whatever the kernel refuses, a start that fails leaves nothing.
#[tokio::test(start_paused = true)]
async fn a_claim_that_fails_leaves_nothing() {
    for n in 0.. {
        let world = World::new();
        let (daemon, network) = (world.started().await, network(None));
        let before = world.fake.host(|host| host.clone());
        world.fake.refuse(Some(Refused::Only(n)));
        let (claimed, _) = starts(&daemon, &network, &request(7, Some(A)), 7).await;
        let refused = world.fake.asked() > n;
        quiet().await;
        assert_eq!(claimed.is_err(), refused, "step {n}: {claimed:?}");
        if !refused {
            assert!(n >= 2, "an address and rules: {n}");
            break;
        }
        assert_eq!(world.fake.host(|host| host.clone()), before, "step {n}");
        assert!(!world.rules().contains("203.0.113.7") && daemon.nat.views().is_empty(), "step {n}");
    }
}

/// Its container was removed: the address goes after a while, unless it is there again by then.
#[tokio::test(start_paused = true)]
async fn a_removed_containers_address_is_kept_for_a_while() {
    let world = World::new();
    let (daemon, network) = (world.started().await, network(None));
    let (claimed, record) = starts(&daemon, &network, &request(7, Some(A)), 7).await;
    claimed.unwrap();
    // As long as it runs, nothing is over.
    daemon.nat.identity_over(&identity(7), Duration::from_secs(30));
    quiet().await;
    assert_eq!(world.on("eth0"), [A]);
    ends(&daemon, &record, true).await;
    daemon.nat.identity_over(&identity(7), Duration::from_secs(30));
    tokio::time::sleep(Duration::from_secs(20)).await;
    let (claimed, record) = starts(&daemon, &network, &request(8, Some(A)), 7).await;
    claimed.unwrap();
    quiet().await;
    assert_eq!(world.on("eth0"), [A], "it was made again in time");
    ends(&daemon, &record, true).await;
    daemon.nat.identity_over(&identity(7), Duration::from_secs(30));
    eventually("it is over", || daemon.nat.views().is_empty()).await;
    assert!(world.on("eth0").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_leased_address_is_the_identitys_and_comes_back_with_it() {
    let world = World::new();
    let (daemon, network) = (world.started().await, network(None));
    let (claimed, record) = starts(&daemon, &network, &request(7, None), 7).await;
    claimed.unwrap();
    let first = world.on("eth0");
    assert_eq!(first.len(), 1);
    ends(&daemon, &record, true).await;
    starts(&daemon, &network, &request(8, None), 8).await.0.unwrap();
    assert_eq!(world.on("eth0").len(), 2, "another container has another one");
    starts(&daemon, &network, &request(9, None), 7).await.0.unwrap();
    assert_eq!(world.on("eth0").len(), 2);
    let views = daemon.nat.views();
    let owner = NatOwner::Identity { network: network_id(), identity: identity(7).id };
    assert_eq!(views[&owner].address.unwrap().to_string(), first[0]);
}

#[tokio::test(start_paused = true)]
async fn after_the_state_was_lost_a_running_container_keeps_its_address() {
    let world = World::new();
    let (daemon, network) = (world.started().await, network(None));
    starts(&daemon, &network, &request(7, Some(A)), 7).await.0.unwrap();
    let other = World::new();
    other.fake.host(|host| *host = world.fake.host(|host| host.clone()));
    let daemon = other.start().await;
    let (request, identity) = (request(7, Some(A)), identity(7));
    let record = bound(&daemon, &request, &network, 7);
    let endpoint = EndpointRequest {
        request: &request,
        record: &record,
        network: &network,
        identity: &identity,
        name: None,
        again: true,
    };
    daemon.nat.endpoint(endpoint).await.unwrap();
    daemon.nat.see(super::world::seen(&[]));
    quiet().await;
    assert_eq!(other.on("eth0"), [A]);
    assert!(other.rules().contains("203.0.113.7"));
}

#[tokio::test(start_paused = true)]
async fn what_is_bound_is_found_in_the_records_after_a_start() {
    let world = World::new();
    let (daemon, network) = (world.started().await, network(None));
    let with = bound(&daemon, &request(7, Some(A)), &network, 7);
    let without = EndpointRecord { nat: None, ..with.clone() };
    let unaddressed = EndpointRecord { address: landline_model::AddressRecord::None, ..with.clone() };
    assert!(all_bound([&without, &unaddressed].into_iter()).is_empty());
    let all = all_bound([&with].into_iter());
    let owner = NatOwner::Identity { network: network_id(), identity: identity(7).id };
    let found = &all[&owner];
    assert_eq!(
        (found.inside.to_string(), found.subnet.to_string()),
        ("203.0.113.7".into(), "203.0.113.0/24".into())
    );
    assert_eq!(found.ports.as_ref().map(BTreeSet::len), Some(1));
    // The bridges of such networks, and of no others.
    let bridged = NetworkRecord::new(network_id(), NetworkOptions::new("br0".parse().unwrap()));
    assert!(nat_bridges_of([&bridged].into_iter(), &BTreeSet::new()).is_empty());
    let exceptions = BTreeSet::from(["llb0".parse().unwrap()]);
    for (exceptions, open) in [(BTreeSet::new(), false), (exceptions, true)] {
        let all = nat_bridges_of([&network].into_iter(), &exceptions);
        assert!(all.iter().all(|bridge| bridge.open == open) && all.len() == 1);
    }
}
