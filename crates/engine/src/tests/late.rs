//! Endpoints whose container is told late: Docker is told nothing that is not known, and nobody gets what is another's.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use landline_dhcp::wire::dhcpv4::MessageType;
use landline_links::fake::FakeLink;
use landline_links::mark::{End, Mark};
use landline_model::{ContainerRecord, EndpointRecord, Ipv6Record, SiteKey};
use landline_options::{ConflictCheck, Mode, NetworkOptions, OnDuplicate, WhenUnsure};
use landline_types::Mac;

use super::leases::{address, recorded};
use super::world::{Kind, World, candidate, create, endpoint_id, living, network_id, wait_for};
use crate::endpoints::CreateEndpoint;
use crate::engine::Engine;
use crate::identities::Derivation;
use crate::identity::Candidate;
use crate::networks::CreateNetwork;

async fn world(when_unsure: WhenUnsure) -> (World, Arc<Engine>) {
    let network = Kind::Leased.network();
    world_of(CreateNetwork { options: NetworkOptions { when_unsure, ..network.options }, ..network }).await
}

async fn world_of(network: CreateNetwork) -> (World, Arc<Engine>) {
    let world = World::new();
    let engine = world.start().await;
    engine.create_network(network).await.unwrap();
    (world, engine)
}

/// A network on a NIC whose identities are derived, and whose containers may be told late.
async fn deriving(on_duplicate: OnDuplicate) -> (World, Arc<Engine>) {
    let network = Kind::Leased.network();
    let (mode, parent) = (Mode::Macvlan, "eth0".parse().unwrap());
    let options =
        NetworkOptions { mode, parent, on_duplicate, when_unsure: WhenUnsure::Late, ..network.options };
    let (world, engine) = world_of(CreateNetwork { options, ..network }).await;
    derive(&engine).await;
    (world, engine)
}

async fn derive(engine: &Engine) {
    engine.derive_identities(Derivation { key: Some(SiteKey::new([7; 32])), by_default: true });
    engine.network_seen(&network_id(), "lan").await;
}

/// The hardware address that is derived for a container.
fn derived(engine: &Engine, n: u8) -> Mac {
    let network = engine.networks().get(&network_id()).cloned().unwrap();
    engine.identities.derived(&network, &candidate(n).name).unwrap().mac
}

/// The request for endpoint `n`, which may be for either of two containers.
fn either(n: u8) -> CreateEndpoint {
    CreateEndpoint { candidates: Some(vec![candidate(1), candidate(2)]), ..Kind::Leased.endpoint(n) }
}

async fn record(engine: &Engine, n: u8) -> EndpointRecord {
    engine.endpoint(&endpoint_id(n)).unwrap().state.read().await
}

/// What a container had that ran here once, alone.
struct Before {
    record: EndpointRecord,
    address: Option<Ipv4Addr>,
}

async fn ran(world: &World, engine: &Arc<Engine>, n: u8) -> Before {
    create(engine, Kind::Leased.endpoint(n)).await.unwrap();
    let container = ContainerRecord { id: candidate(n).id, ..ContainerRecord::named(&candidate(n).name) };
    engine.container_seen(&endpoint_id(n), container).await;
    engine.join(&endpoint_id(n), Some(living()), None).await.unwrap();
    world.moves_in(&endpoint_id(n));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = Before { record: record(engine, n).await, address: recorded(engine, n) };
    ends(world, engine, n).await;
    before
}

/// The link of an endpoint in its sandbox.
fn inside(world: &World, n: u8) -> FakeLink {
    world.sandboxes.link(&living(), &Mark::new(&endpoint_id(n), End::Container)).unwrap()
}

/// Its sandbox tells which container an endpoint is for.
async fn told(engine: &Arc<Engine>, n: u8, container: &Candidate) {
    let container = ContainerRecord { id: container.id.clone(), ..ContainerRecord::named(&container.name) };
    engine.container_seen(&endpoint_id(n), container).await;
}

/// The container that ends is gone.
async fn ends(world: &World, engine: &Arc<Engine>, n: u8) {
    world.loses_link(&endpoint_id(n));
    engine.delete_endpoint(&endpoint_id(n)).await.unwrap();
}

/// Endpoint `n` starts, and its sandbox tells that it is for this container.
async fn starts(world: &World, engine: &Arc<Engine>, n: u8, container: Option<Candidate>) {
    let answer = create(engine, either(n)).await.unwrap();
    assert_eq!((answer.mac, answer.address, answer.address_v6), (None, None, None), "nothing is told");
    let joined = engine.join(&endpoint_id(n), Some(living()), None).await.unwrap();
    assert_eq!((joined.gateway, joined.routes), (None, Vec::new()));
    if let Some(container) = &container {
        world.sandboxes.occupy(&living(), &container.id);
    }
    // Docker is not kept waiting before it has moved the link.
    engine.until_settled(&endpoint_id(n)).await;
    world.moves_in(&endpoint_id(n));
    let told = engine.late_arrival(&endpoint_id(n)).await;
    assert_eq!(told, Some(container.as_ref().map(|container| container.id.clone())));
    let id = endpoint_id(n);
    tokio::join!(engine.settle_late(&id, container), engine.until_settled(&id));
}

#[tokio::test(start_paused = true)]
async fn the_container_in_the_sandbox_has_its_own_lease_again() {
    let (world, engine) = world(WhenUnsure::Late).await;
    let before = [ran(&world, &engine, 1).await, ran(&world, &engine, 2).await];
    starts(&world, &engine, 3, Some(candidate(2))).await;
    let now = record(&engine, 3).await;
    assert_eq!((now.mac, &now.identity), (before[1].record.mac, &before[1].record.identity));
    assert_eq!(recorded(&engine, 3), before[1].address);
    let inside = inside(&world, 3);
    assert_eq!(inside.link.mac, Some(before[1].record.mac), "on the link");
    assert_eq!(inside.addresses.len(), 1, "{:?}", inside.addresses);
    assert_eq!(engine.identities.all().len(), 2, "what was drawn for it is gone");
    // Nobody waits for what is done, and it is done once.
    engine.until_settled(&endpoint_id(3)).await;
    assert_eq!(engine.late_arrival(&endpoint_id(3)).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_container_without_an_identity_keeps_what_was_drawn_for_it() {
    let (world, engine) = world(WhenUnsure::Late).await;
    let before = ran(&world, &engine, 1).await;
    starts(&world, &engine, 3, Some(candidate(2))).await;
    let now = record(&engine, 3).await;
    assert_ne!(now.mac, before.record.mac);
    assert!(recorded(&engine, 3).is_some_and(|address| Some(address) != before.address));
    assert_eq!(engine.identities.all().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_is_never_told_has_an_address_of_its_own() {
    let (world, engine) = world(WhenUnsure::Late).await;
    let before = [ran(&world, &engine, 1).await, ran(&world, &engine, 2).await];
    starts(&world, &engine, 3, None).await;
    let now = record(&engine, 3).await;
    assert!(before.iter().all(|before| before.record.mac != now.mac));
    assert!(recorded(&engine, 3).is_some());
}

#[tokio::test(start_paused = true)]
async fn who_can_be_told_is_not_late() {
    for when_unsure in [WhenUnsure::Late, WhenUnsure::Fresh] {
        let (world, engine) = world(when_unsure).await;
        let before = ran(&world, &engine, 1).await;
        let answer = create(&engine, Kind::Leased.endpoint(1)).await.unwrap();
        assert_eq!(answer.mac, Some(before.record.mac), "{when_unsure:?}");
        assert!(answer.address.is_some());
        // The first one runs.
        let others = Some(vec![candidate(2), candidate(3)]);
        let unsure = CreateEndpoint { candidates: others, ..Kind::Leased.endpoint(3) };
        let unsure = create(&engine, unsure).await.unwrap();
        assert_eq!(unsure.address.is_none(), when_unsure == WhenUnsure::Late);
        let fresh = create(&engine, CreateEndpoint { mac: "02:00:00:00:00:09".parse().ok(), ..either(4) });
        assert!(fresh.await.unwrap().address.is_some(), "a hardware address tells it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_meanwhile_leaves_nothing() {
    let (world, engine) = world(WhenUnsure::Late).await;
    create(&engine, either(3)).await.unwrap();
    engine.join(&endpoint_id(3), Some(living()), None).await.unwrap();
    let id = endpoint_id(3);
    let (told, deleted) = tokio::join!(engine.late_arrival(&id), engine.delete_endpoint(&id));
    deleted.unwrap();
    assert_eq!(told, None);
    engine.settle_late(&endpoint_id(3), Some(candidate(1))).await;
    assert!(world.ends().is_empty() && !engine.knows(&endpoint_id(3)));
    assert_eq!(world.lan.open_sockets(), 0);
    wait_for("the end of what was drawn for it", || engine.identities.all().is_empty()).await;
}

/// A network with IPv6 on which nobody asks whether an address is in use.
fn late6() -> CreateNetwork {
    let network = Kind::Leased6.network();
    let (when_unsure, conflict_check) = (WhenUnsure::Late, ConflictCheck::Off);
    CreateNetwork { options: NetworkOptions { when_unsure, conflict_check, ..network.options }, ..network }
}

#[tokio::test(start_paused = true)]
async fn docker_waits_for_ipv6_as_long_as_is_worth_while() {
    let (world, engine) = world_of(late6()).await;
    world.lan.six(|lan| (lan.route(false), lan.serve(false)));
    let before = tokio::time::Instant::now();
    starts(&world, &engine, 3, Some(candidate(2))).await;
    assert!((400..900).contains(&before.elapsed().as_millis()), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn both_families_are_there_when_docker_goes_on() {
    let (world, engine) = world_of(late6()).await;
    let before = [ran(&world, &engine, 1).await, ran(&world, &engine, 2).await];
    starts(&world, &engine, 3, Some(candidate(2))).await;
    let (now, was) = (record(&engine, 3).await, &before[1].record);
    assert_eq!(now.mac, was.mac);
    let six = |record: &EndpointRecord| record.ipv6.clone().unwrap();
    let (now, was) = (six(&now), six(was));
    let who = |six: &Ipv6Record| (six.identity.duid.clone(), six.identity.iaid);
    assert_eq!(who(&now), who(&was));
    // Of both of its sources, and what the server leased is what it leased before.
    assert!(!was.applied.is_empty() && was.applied.iter().all(|net| now.applied.contains(net)), "{now:?}");
    assert_eq!(inside(&world, 3).addresses.len(), now.applied.len() + 1);
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_cannot_be_stored_is_not_on_the_link() {
    let (world, engine) = world(WhenUnsure::Late).await;
    let before = ran(&world, &engine, 1).await;
    create(&engine, either(3)).await.unwrap();
    engine.join(&endpoint_id(3), Some(living()), None).await.unwrap();
    world.sandboxes.occupy(&living(), &candidate(1).id);
    world.moves_in(&endpoint_id(3));
    let drawn = record(&engine, 3).await;
    engine.late_arrival(&endpoint_id(3)).await.unwrap();
    engine.store.break_after(0);
    engine.settle_late(&endpoint_id(3), Some(candidate(1))).await;
    let now = record(&engine, 3).await;
    assert_eq!((now.mac, &now.identity), (drawn.mac, &drawn.identity));
    assert_eq!(inside(&world, 3).link.mac, Some(drawn.mac), "on the link");
    assert_eq!(engine.identities.holder(before.record.identity.as_ref().unwrap()), None);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_never_ran_here_has_what_is_derived_for_it() {
    let (world, engine) = deriving(OnDuplicate::Fail).await;
    starts(&world, &engine, 3, Some(candidate(2))).await;
    let now = record(&engine, 3).await;
    assert_eq!((now.mac, now.used_elsewhere), (derived(&engine, 2), None));
    assert_eq!(inside(&world, 3).addresses, [format!("{}/24", address(10)).parse().unwrap()]);
}

/// Docker tells of the container before its link is in the sandbox.
#[tokio::test(start_paused = true)]
async fn what_docker_says_meanwhile_does_not_make_what_was_drawn_its_own() {
    let (world, engine) = deriving(OnDuplicate::Fail).await;
    create(&engine, either(3)).await.unwrap();
    told(&engine, 3, &candidate(2)).await;
    engine.join(&endpoint_id(3), Some(living()), None).await.unwrap();
    world.sandboxes.occupy(&living(), &candidate(2).id);
    world.moves_in(&endpoint_id(3));
    engine.late_arrival(&endpoint_id(3)).await.unwrap();
    engine.settle_late(&endpoint_id(3), Some(candidate(2))).await;
    let now = record(&engine, 3).await;
    assert_eq!(now.mac, derived(&engine, 2));
    let identity = engine.identities.get(now.identity.as_ref().unwrap()).unwrap();
    let container = identity.container.map(|container| container.name);
    assert_eq!((container.as_deref(), identity.temporary), (Some("web2"), false));
}

/// Whether another host uses the identity shows with the lease: the container has never run here.
#[tokio::test(start_paused = true)]
async fn what_runs_elsewhere_has_no_address_here() {
    let (world, engine) = deriving(OnDuplicate::Fail).await;
    world.lan.four(|lan| lan.squat_as(address(10), derived(&engine, 2)));
    starts(&world, &engine, 3, Some(candidate(2))).await;
    told(&engine, 3, &candidate(2)).await;
    lacks_its_address(&world, &engine).await;
    assert_eq!(world.lan.four(|lan| lan.sent(MessageType::Release)), 0, "it is the other host's");
    // A daemon that takes it up does not forget that.
    let engine = world.restart(engine).await;
    derive(&engine).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    lacks_its_address(&world, &engine).await;

    // The other one has ended.
    world.lan.four(|lan| lan.leave(address(10)));
    ends(&world, &engine, 3).await;
    starts(&world, &engine, 4, Some(candidate(2))).await;
    assert_eq!(record(&engine, 4).await.mac, derived(&engine, 2));
    assert_eq!(inside(&world, 4).addresses.len(), 1);
}

async fn lacks_its_address(world: &World, engine: &Arc<Engine>) {
    let now = record(engine, 3).await;
    assert_ne!(now.mac, derived(engine, 2));
    assert_eq!(now.used_elsewhere, Some(address(10)));
    let inside = inside(world, 3);
    assert_eq!((inside.link.mac, &inside.addresses[..]), (Some(now.mac), &[][..]));
    assert_eq!(world.lan.open_sockets(), 0);
    let view = engine.endpoint_view(&endpoint_id(3)).await.unwrap();
    assert_eq!((view.address, view.held.as_deref()), (None, Some("another host uses its identity")));
}

#[tokio::test(start_paused = true)]
async fn what_runs_elsewhere_has_a_fresh_identity_here_for_one_run() {
    let (world, engine) = deriving(OnDuplicate::Fresh).await;
    world.lan.four(|lan| lan.squat_as(address(10), derived(&engine, 2)));
    starts(&world, &engine, 3, Some(candidate(2))).await;
    told(&engine, 3, &candidate(2)).await;
    let now = record(&engine, 3).await;
    assert_ne!(now.mac, derived(&engine, 2));
    assert_eq!((inside(&world, 3).link.mac, now.used_elsewhere), (Some(now.mac), None));
    let fresh = recorded(&engine, 3).unwrap();
    assert_ne!(fresh, address(10));
    assert_eq!(inside(&world, 3).addresses, [format!("{fresh}/24").parse().unwrap()]);
    world.lan.four(|lan| lan.leave(address(10)));
    ends(&world, &engine, 3).await;
    starts(&world, &engine, 4, Some(candidate(2))).await;
    assert_eq!(record(&engine, 4).await.mac, derived(&engine, 2));
}

/// The other host speaks while the LAN is asked about it here. Later it is not said of the endpoint, which has another hardware address then.
#[tokio::test(start_paused = true)]
async fn who_is_found_out_in_time_is_not_noticed_afterwards() {
    let (world, engine) = deriving(OnDuplicate::Fresh).await;
    let (mac, id) = (derived(&engine, 2), endpoint_id(3));
    let speaks = async {
        let leased = || async {
            let status = engine.endpoint(&id)?.status()?;
            let lease = status.lease?;
            (record(&engine, 3).await.mac == mac).then_some(lease.address)
        };
        for _ in 0..2000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if let Some(address) = leased().await {
                return world.lan.four(|lan| lan.twin(address, mac));
            }
        }
        panic!("it was never asked");
    };
    create(&engine, either(3)).await.unwrap();
    engine.join(&id, Some(living()), None).await.unwrap();
    world.sandboxes.occupy(&living(), &candidate(2).id);
    // What is listened for changes at once afterwards.
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.moves_in(&id);
    engine.late_arrival(&id).await.unwrap();
    tokio::join!(engine.settle_late(&id, Some(candidate(2))), speaks);
    assert_ne!(record(&engine, 3).await.mac, mac);
    assert_eq!(engine.endpoint_view(&id).await.unwrap().elsewhere, None);
}

/// It ran here before, so it is known which address to ask about, before anything is put on the link.
#[tokio::test(start_paused = true)]
async fn what_has_moved_on_is_found_before_the_link_has_its_hardware_address() {
    for on_duplicate in [OnDuplicate::Fail, OnDuplicate::Fresh] {
        let (world, engine) = deriving(on_duplicate).await;
        let before = ran(&world, &engine, 2).await;
        assert_eq!((before.record.mac, before.address), (derived(&engine, 2), Some(address(10))));
        world.lan.four(|lan| lan.squat_as(address(10), derived(&engine, 2)));
        starts(&world, &engine, 3, Some(candidate(2))).await;
        let now = record(&engine, 3).await;
        assert_ne!(now.mac, before.record.mac);
        assert_eq!(now.used_elsewhere, Some(address(10)).filter(|_| on_duplicate == OnDuplicate::Fail));
        assert_eq!(inside(&world, 3).addresses.len(), usize::from(on_duplicate == OnDuplicate::Fresh));
        // What is known of it stays.
        let known = engine.identities.get(before.record.identity.as_ref().unwrap()).unwrap();
        assert_eq!((known.mac, known.temporary), (before.record.mac, false));
    }
}

/// The same where the container is told beforehand: what it has because another host uses its identity, it has for one run.
#[tokio::test(start_paused = true)]
async fn a_fresh_identity_of_who_is_told_beforehand_is_for_one_run() {
    let (world, engine) = deriving(OnDuplicate::Fresh).await;
    world.lan.four(|lan| lan.squat_as(address(10), derived(&engine, 2)));
    let answer = create(&engine, Kind::Leased.endpoint(2)).await.unwrap();
    assert_ne!(answer.mac, Some(derived(&engine, 2)));
    told(&engine, 2, &candidate(2)).await;
    world.lan.four(|lan| lan.leave(address(10)));
    ends(&world, &engine, 2).await;
    let answer = create(&engine, Kind::Leased.endpoint(2)).await.unwrap();
    assert_eq!(answer.mac, Some(derived(&engine, 2)));
}
