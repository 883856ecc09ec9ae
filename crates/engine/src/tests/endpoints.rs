//! Create, join, leave, delete.

use std::collections::BTreeSet;

use landline_kernel::{Link, LinkKind};
use landline_links::mark::End;
use landline_model::ContainerRecord;
use landline_options::EndpointOptions;
use tokio_util::sync::CancellationToken;

use super::for_each_kind;
use super::world::{Kind, World, candidate, create, endpoint_id, living, network_id};
use crate::endpoints::{CreateEndpoint, CreateEndpointError};
use crate::engine::Engine;
use crate::join::JoinError;

async fn an_endpoint_is_created_once(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let answer = create(&engine, kind.endpoint(1)).await.unwrap();
    let made = world.host.names();
    assert_eq!(create(&engine, kind.endpoint(1)).await.unwrap(), answer);
    assert_eq!(world.host.names(), made);
    let told = answer.mac.is_some();
    assert_eq!(
        told,
        !matches!(kind, Kind::Ipvlan | Kind::Routed),
        "on ipvlan the kernel would refuse to set it"
    );
    let inside = world.ends().into_iter().filter(|(id, end)| *id == endpoint_id(1) && *end != End::Host);
    assert_eq!(inside.count(), 1);
}
for_each_kind!(an_endpoint_is_created_once);

async fn an_endpoint_is_deleted_with_its_links(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let before = world.host.names();
    create(&engine, kind.endpoint(1)).await.unwrap();
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    assert_eq!(world.host.names(), before);
    assert!(!engine.knows(&endpoint_id(1)) && engine.ledger.read().endpoints.is_empty());
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    assert_eq!(world.gate.held(), [format!("network {}", network_id())]);
}
for_each_kind!(an_endpoint_is_deleted_with_its_links);

async fn another_endpoints_links_stay(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    create(&engine, kind.endpoint(1)).await.unwrap();
    let one = world.ends();
    create(&engine, kind.endpoint(2)).await.unwrap();
    engine.delete_endpoint(&endpoint_id(2)).await.unwrap();
    if kind != Kind::Nic {
        // Who has a card is for the attachments to say.
        assert_eq!(world.ends(), one);
    }
    assert!(engine.knows(&endpoint_id(1)));
}
for_each_kind!(another_endpoints_links_stay);

async fn a_container_keeps_its_hardware_address(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let mac = |engine: &Engine, n| engine.ledger.read().endpoints[&endpoint_id(n)].record.mac;
    create(&engine, kind.endpoint(1)).await.unwrap();
    let container = ContainerRecord { id: candidate(1).id, ..ContainerRecord::named("web1") };
    engine.container_seen(&endpoint_id(1), container).await;
    let first = mac(&engine, 1);
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    let engine = world.restart(engine).await;
    // Docker gives it another endpoint each time.
    let again = CreateEndpoint { endpoint: endpoint_id(7), ..kind.endpoint(1) };
    create(&engine, again).await.unwrap();
    assert_eq!(mac(&engine, 7), first);
    create(&engine, kind.endpoint(2)).await.unwrap();
    assert_eq!(
        mac(&engine, 2) == first,
        matches!(kind, Kind::Ipvlan | Kind::Routed),
        "another container has its own, if it can"
    );
}
for_each_kind!(a_container_keeps_its_hardware_address);

async fn join_names_the_link_that_was_made(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    create(&engine, kind.endpoint(1)).await.unwrap();
    let answer = engine.join(&endpoint_id(1), Some(living()), None).await.unwrap();
    assert!(world.host.names().contains(&answer.link.to_string()));
    let prefix = match kind {
        Kind::Bridge | Kind::Leased | Kind::Leased6 | Kind::Fixed => "br0",
        Kind::BridgeVlan => "br1",
        Kind::Ovs => "ovs0",
        Kind::Vde => "vde",
        Kind::Nic | Kind::Macvlan | Kind::MacvlanVlan | Kind::Ipvlan | Kind::Nat | Kind::Routed => "eth",
    };
    assert_eq!(answer.prefix, prefix);
    let gateway = (kind == Kind::Nat).then(|| "203.0.113.1".parse().unwrap());
    assert_eq!((answer.gateway, answer.routes), (gateway, Vec::new()));
    let record = engine.ledger.read().endpoints[&endpoint_id(1)].record.clone();
    assert_eq!(record.sandbox, Some(living()), "everybody sees where it is");
}
for_each_kind!(join_names_the_link_that_was_made);

async fn a_join_that_cannot_be_stored_is_refused(kind: Kind) {
    let (_world, engine) = World::with(kind).await;
    create(&engine, kind.endpoint(1)).await.unwrap();
    engine.store.break_after(0);
    let joined = engine.join(&endpoint_id(1), Some(living()), None).await;
    assert!(matches!(joined, Err(JoinError::Store(_))), "{joined:?}");
    engine.store.break_after(usize::MAX);
    engine.join(&endpoint_id(1), Some("/proc/self/ns/net".into()), None).await.unwrap();
}
for_each_kind!(a_join_that_cannot_be_stored_is_refused);

async fn leaving_changes_nothing_but_the_sandbox(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    create(&engine, kind.endpoint(1)).await.unwrap();
    engine.join(&endpoint_id(1), Some(living()), None).await.unwrap();
    let links = world.host.names();
    engine.leave(&endpoint_id(1)).await;
    assert_eq!(world.host.names(), links);
    assert!(engine.knows(&endpoint_id(1)));
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
}
for_each_kind!(leaving_changes_nothing_but_the_sandbox);

#[tokio::test]
async fn what_is_not_known_cannot_join_and_may_leave() {
    let (_world, engine) = World::with(Kind::Bridge).await;
    let joined = engine.join(&endpoint_id(1), Some(living()), None).await;
    assert!(matches!(joined, Err(JoinError::UnknownEndpoint(_))));
    engine.leave(&endpoint_id(1)).await;
}

#[tokio::test]
async fn a_container_that_was_taken_for_another_does_not_join() {
    let (_world, engine) = World::with(Kind::Bridge).await;
    create(&engine, Kind::Bridge.endpoint(1)).await.unwrap();
    let container = ContainerRecord { id: candidate(1).id, ..ContainerRecord::named("web1") };
    engine.container_seen(&endpoint_id(1), container).await;
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    create(&engine, CreateEndpoint { endpoint: endpoint_id(2), ..Kind::Bridge.endpoint(1) }).await.unwrap();
    let joined = engine.join(&endpoint_id(2), Some(living()), Some("another")).await;
    assert!(matches!(joined, Err(JoinError::Mistaken { taken_for }) if taken_for == "web1"));
}

/// What is said to a request that differs from a plain one in this.
async fn said(kind: Kind, change: impl FnOnce(&mut CreateEndpoint)) -> String {
    let (world, engine) = World::with(kind).await;
    let before = world.host.names();
    let mut request = kind.endpoint(1);
    change(&mut request);
    let id = request.endpoint.clone();
    let error = create(&engine, request).await.unwrap_err();
    assert_eq!(world.host.names(), before);
    assert!(!engine.knows(&id));
    landline_types::chain(&error)
}

macro_rules! said {
    ($($name:ident: $kind:ident, $change:expr => $words:literal;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let said = said(Kind::$kind, $change).await;
                assert!(said.contains($words), "{said}");
            }
        )*
    };
}

said! {
    no_hardware_address_at_all:
        Bridge, |e| e.mac = "00:00:00:00:00:00".parse().ok() => "stands for no hardware address";
    a_group_address:
        Macvlan, |e| e.mac = "03:00:00:00:00:01".parse().ok() => "is a group address";
    a_hardware_address_on_ipvlan:
        Ipvlan, |e| e.mac = "02:00:00:00:00:01".parse().ok() => "use -o mode=macvlan";
    no_address_where_addresses_are_fixed:
        Nat, |e| e.address = None => "Docker gave no address";
    a_network_that_is_not_known:
        Bridge, |e| e.network = "f".repeat(64).parse().unwrap() => "Landline does not know the network ffffffffffff";
    an_address_of_the_lan_on_a_bridge:
        Bridge, |e| e.options.lan_ip = "192.0.2.9".parse().ok().map(landline_options::LanIp::Static)
        => "lan_ip has a meaning only with mode=nat";
    an_address_of_the_lan_on_macvlan:
        Macvlan, |e| e.options.lan_ip = Some(landline_options::LanIp::Dhcp) => "lan_ip has a meaning only with mode=nat";
    an_address_of_the_lan_on_ipvlan:
        Ipvlan, |e| e.options.lan_ip = Some(landline_options::LanIp::Dhcp) => "lan_ip has a meaning only with mode=nat";
    an_address_of_the_lan_on_vde:
        Vde, |e| e.options.lan_ip = Some(landline_options::LanIp::Dhcp) => "lan_ip has a meaning only with mode=nat";
    ports_on_a_bridge:
        Bridge, |e| e.options.ports = Some(landline_options::NatPorts::All) => "ports has a meaning only with mode=nat";
}

#[tokio::test]
async fn two_containers_do_not_have_one_hardware_address() {
    let (_world, engine) = World::with(Kind::Bridge).await;
    let with = |n| CreateEndpoint { mac: "02:00:00:00:00:01".parse().ok(), ..Kind::Bridge.endpoint(n) };
    create(&engine, with(1)).await.unwrap();
    let error = create(&engine, with(2)).await.unwrap_err();
    assert!(matches!(error, CreateEndpointError::MacInUse { .. }), "{error}");
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    create(&engine, with(2)).await.unwrap();
}

#[tokio::test]
async fn two_containers_do_not_have_one_fixed_address() {
    let (world, engine) = World::with(Kind::Nat).await;
    create(&engine, Kind::Nat.endpoint(1)).await.unwrap();
    let links = world.host.names();
    let same = CreateEndpoint { address: Kind::Nat.endpoint(1).address, ..Kind::Nat.endpoint(2) };
    let error = create(&engine, same).await.unwrap_err();
    assert!(matches!(error, CreateEndpointError::NotPermitted { .. }), "{error}");
    // The one that had it has not joined, and nothing says that it is gone.
    assert_eq!(world.host.names(), links);
}

#[tokio::test]
async fn a_key_is_one_identity_whoever_shows_it() {
    let (_world, engine) = World::with(Kind::Bridge).await;
    let with = |n| {
        let options = EndpointOptions { id: Some("db".into()), ..EndpointOptions::default() };
        CreateEndpoint { options, candidates: Some(Vec::new()), ..Kind::Bridge.endpoint(n) }
    };
    let first = create(&engine, with(1)).await.unwrap();
    let other = create(&engine, with(2)).await.unwrap();
    assert_ne!(first.mac, other.mac, "never one identity on two live endpoints");
    engine.delete_endpoint(&endpoint_id(2)).await.unwrap();
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    // Which of the two that showed it is a matter of the second it was used last.
    let again = create(&engine, with(3)).await.unwrap().mac;
    assert!([first.mac, other.mac].contains(&again), "{again:?}");
}

async fn the_parent_is_gone(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let parent = engine.networks()[&network_id()].options.parent.clone();
    let nic = engine.networks()[&network_id()].nic.clone();
    let is_it = |link: &Link| link.name == parent || nic.as_ref() == Some(&link.name);
    let gone: Vec<Link> =
        landline_links::Host::links(&*world.host).unwrap().into_iter().filter(|link| is_it(link)).collect();
    let own = gone.iter().any(|link| link.alias.is_some()) && !matches!(kind, Kind::MacvlanVlan);
    world.host.change(|links| links.retain(|link| !is_it(link)));
    let made = create(&engine, kind.endpoint(1)).await;
    if own {
        made.unwrap();
        return;
    }
    let said = landline_types::chain(&made.unwrap_err());
    assert!(said.contains("has no usable parent"), "{said}");
    world.host.change(|links| links.extend(gone));
    create(&engine, kind.endpoint(1)).await.unwrap();
}
for_each_kind!(the_parent_is_gone);

async fn a_parent_that_comes_back_in_time_is_waited_for(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let parent = match kind {
        Kind::Bridge | Kind::Leased | Kind::Leased6 | Kind::Fixed => "br0",
        Kind::BridgeVlan => "br1",
        Kind::Ovs => "ovs0",
        Kind::Nic => "eth1",
        _ => "eth0",
    };
    let set = |up| {
        world.host.change(|links| {
            links.iter_mut().filter(|link| link.name.as_str() == parent).for_each(|link| link.up = up);
        });
    };
    set(false);
    let created = create(&engine, kind.endpoint(1));
    let (created, ()) = tokio::join!(created, async {
        tokio::task::yield_now().await;
        set(true);
    });
    created.unwrap();
}
for_each_kind!(a_parent_that_comes_back_in_time_is_waited_for);

#[tokio::test]
async fn whoever_waits_for_a_parent_can_be_told_to_stop() {
    let (world, engine) = World::with(Kind::Bridge).await;
    world.host.change(|links| links.retain(|link| link.kind == LinkKind::Physical));
    let cancel = CancellationToken::new();
    cancel.cancel();
    let made = engine.create_endpoint(Kind::Bridge.endpoint(1), cancel).await;
    assert!(matches!(made, Err(CreateEndpointError::Cancelled)), "{made:?}");
}

#[tokio::test]
async fn the_hosts_end_is_called_as_the_administrator_says() {
    let (world, engine) = World::with(Kind::Bridge).await;
    let request = CreateEndpoint { host_end: "web-lan".parse().ok(), ..Kind::Bridge.endpoint(1) };
    create(&engine, request).await.unwrap();
    assert!(world.host.names().contains(&"web-lan".to_owned()));
    let engine = world.restart(engine).await;
    let record = engine.ledger.read().endpoints[&endpoint_id(1)].record.clone();
    assert_eq!(record.host_end, "web-lan".parse().ok(), "also when the link is made again");
}

#[tokio::test]
async fn an_identity_whose_container_was_removed_is_marked() {
    let (_world, engine) = World::with(Kind::Bridge).await;
    create(&engine, Kind::Bridge.endpoint(1)).await.unwrap();
    let container = ContainerRecord { id: candidate(1).id, ..ContainerRecord::named("web1") };
    engine.container_seen(&endpoint_id(1), container).await;
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    let destroyed = |engine: &Engine| engine.identities.all().iter().filter(|i| i.destroyed).count();
    engine.containers_present(BTreeSet::from([candidate(1).id])).await;
    assert_eq!(destroyed(&engine), 0);
    engine.containers_present(BTreeSet::new()).await;
    assert_eq!(destroyed(&engine), 1);
    engine.containers_present(BTreeSet::from([candidate(1).id])).await;
    assert_eq!(destroyed(&engine), 0, "it was not looked at thoroughly");
}
