//! What a new daemon makes of what it finds, and what is put right.

use landline_kernel::{Link, LinkKind};
use landline_links::fake::link;
use landline_links::mark::{End, Mark};
use landline_links::{Host as _, mark_of};

use super::for_each_kind;
use super::world::{Kind, Stage, World, create, endpoint_id, living, network_id, wait_for};

/// A container runs on the network.
async fn running(kind: Kind) -> (World, std::sync::Arc<crate::Engine>) {
    let (world, engine) = World::with(kind).await;
    create(&engine, kind.endpoint(1)).await.unwrap();
    engine.join(&endpoint_id(1), Some(living()), None).await.unwrap();
    world.moves_in(&endpoint_id(1));
    (world, engine)
}

async fn a_running_container_is_taken_up(kind: Kind) {
    let (world, engine) = running(kind).await;
    let record = engine.ledger.read().endpoints[&endpoint_id(1)].record.clone();
    let engine = world.restart(engine).await;
    assert!(engine.knows(&endpoint_id(1)));
    assert_eq!(engine.ledger.read().endpoints[&endpoint_id(1)].record.mac, record.mac);
    let identity = record.identity.clone().unwrap();
    assert_eq!(engine.identities.holder(&identity), Some(endpoint_id(1)), "nobody else gets its identity");
    assert_eq!(world.gate.held().len(), 2, "nothing of it was taken back");
}
for_each_kind!(a_running_container_is_taken_up);

async fn an_endpoint_that_has_not_joined_is_taken_up(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    create(&engine, kind.endpoint(1)).await.unwrap();
    let links = world.host.names();
    let engine = world.restart(engine).await;
    assert_eq!(world.host.names(), links);
    engine.join(&endpoint_id(1), Some(living()), None).await.unwrap();
}
for_each_kind!(an_endpoint_that_has_not_joined_is_taken_up);

async fn a_container_that_ended_meanwhile_is_forgotten(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    create(&engine, kind.endpoint(1)).await.unwrap();
    engine.join(&endpoint_id(1), Some("/nowhere/ns/net".into()), None).await.unwrap();
    world.moves_in(&endpoint_id(1));
    let engine = world.restart(engine).await;
    assert!(!engine.knows(&endpoint_id(1)) && engine.ledger.read().endpoints.is_empty());
    assert_eq!(world.gate.held().len(), 1, "features have heard of it");
    let engine = world.restart(engine).await;
    assert!(!engine.knows(&endpoint_id(1)));
}
for_each_kind!(a_container_that_ended_meanwhile_is_forgotten);

async fn a_sandbox_that_ends_is_closed(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    create(&engine, kind.endpoint(1)).await.unwrap();
    engine.join(&endpoint_id(1), Some("/nowhere/ns/net".into()), None).await.unwrap();
    world.moves_in(&endpoint_id(1));
    engine.endpoint(&endpoint_id(1)).unwrap().state.sandbox_lost();
    wait_for("it is closed", || !engine.knows(&endpoint_id(1))).await;
    wait_for("its links are gone", || world.ends().is_empty()).await;
}
for_each_kind!(a_sandbox_that_ends_is_closed);

async fn a_sandbox_that_is_only_out_of_sight_stays(kind: Kind) {
    let (_world, engine) = running(kind).await;
    engine.endpoint(&endpoint_id(1)).unwrap().state.sandbox_lost();
    engine.close_dead().await;
    assert!(engine.knows(&endpoint_id(1)));
}
for_each_kind!(a_sandbox_that_is_only_out_of_sight_stays);

async fn a_link_that_belongs_to_no_endpoint_is_removed(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let before = world.host.names();
    create(&engine, kind.endpoint(1)).await.unwrap();
    let links = world.host.links().unwrap();
    engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    world.kill(engine).await;
    // As if the daemon had been killed between the link and the store.
    world.host.change(|all| *all = links);
    let engine = world.start().await;
    assert!(!engine.knows(&endpoint_id(1)));
    assert_eq!(world.host.names(), before);
}
for_each_kind!(a_link_that_belongs_to_no_endpoint_is_removed);

async fn the_links_of_a_network_that_nobody_knows_are_removed(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let links = world.host.links().unwrap();
    engine.delete_network(&network_id()).await.unwrap();
    let bare = world.host.names();
    world.kill(engine).await;
    // As if the daemon had been killed between the host and the store.
    world.host.change(|all| *all = links);
    let _engine = world.start().await;
    assert_eq!(world.host.names(), bare);
}
for_each_kind!(the_links_of_a_network_that_nobody_knows_are_removed);

async fn a_network_keeps_its_links_though_the_state_is_lost(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    let links = world.host.names();
    world.kill(engine).await;
    world.lose_state();
    // Docker says later which networks there are, and their containers run.
    let _engine = world.start().await;
    assert_eq!(world.host.names(), links);
}
for_each_kind!(a_network_keeps_its_links_though_the_state_is_lost);

async fn the_links_of_a_network_go_although_a_feature_fails(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    world.gate.refuse(Some(Stage::Withdrawn));
    engine.delete_network(&network_id()).await.unwrap_err();
    let own = |link: &Link| link.alias.as_deref().is_some_and(|alias| alias.starts_with("landline:"));
    assert!(!world.host.links().unwrap().iter().any(own), "{:?}", world.host.names());
}
for_each_kind!(the_links_of_a_network_go_although_a_feature_fails);

/// A start finds this link beside what there is; whether it is there afterwards.
async fn survives(found: Link) -> bool {
    let (world, engine) = World::with(Kind::Bridge).await;
    world.kill(engine).await;
    let name = found.name.to_string();
    world.host.change(|links| links.push(found));
    let _engine = world.start().await;
    world.host.names().contains(&name)
}

#[tokio::test]
async fn a_link_that_was_not_finished_is_removed() {
    let name = Mark::new(&endpoint_id(9), End::Container).link_name();
    let half = Link { up: false, ..link(9, name.as_str(), LinkKind::Veth) };
    assert!(!survives(half).await);
}

#[tokio::test]
async fn a_link_of_our_name_that_is_up_is_anothers() {
    let name = Mark::new(&endpoint_id(9), End::Container).link_name();
    assert!(survives(link(9, name.as_str(), LinkKind::Veth)).await);
}

#[tokio::test]
async fn a_link_of_our_name_with_anothers_mark_is_anothers() {
    let name = Mark::new(&endpoint_id(9), End::Container).link_name();
    let theirs = Link { up: false, alias: Some("mine".into()), ..link(9, name.as_str(), LinkKind::Veth) };
    assert!(survives(theirs).await);
}

#[tokio::test]
async fn the_hosts_end_of_a_link_that_is_not_known_stays_until_its_container_ends() {
    let mark = Mark::new(&endpoint_id(9), End::Host);
    let end = Link { alias: Some(mark.to_string()), ..link(9, "llh9", LinkKind::Veth) };
    assert!(survives(end).await, "a container may be using it");
}

/// The host's end of the endpoint.
fn port(world: &World) -> Option<Link> {
    let is_it = |link: &Link| mark_of(link).is_some_and(|mark| mark.end == End::Host);
    world.host.links().unwrap().into_iter().find(is_it)
}

/// The host's end was changed while no daemon ran.
async fn put_right(kind: Kind, change: impl Fn(&mut Link)) {
    let (world, engine) = running(kind).await;
    let before = port(&world);
    world.kill(engine).await;
    let is_it = |link: &Link| mark_of(link).is_some_and(|mark| mark.end == End::Host);
    world.host.change(|links| links.iter_mut().filter(|link| is_it(link)).for_each(&change));
    let _engine = world.start().await;
    let same = |port: Option<Link>| port.map(|port| (port.controller, port.up));
    wait_for("the port is as it was", || same(port(&world)) == same(before.clone())).await;
}

async fn a_port_that_was_taken_out_of_its_bridge_is_put_back(kind: Kind) {
    put_right(kind, |link| link.controller = None).await;
}
for_each_kind!(a_port_that_was_taken_out_of_its_bridge_is_put_back);

async fn a_port_that_was_set_down_is_set_up(kind: Kind) {
    put_right(kind, |link| (link.up, link.running) = (false, false)).await;
}
for_each_kind!(a_port_that_was_set_down_is_set_up);

async fn what_docker_forgot_makes_way_for_its_container(kind: Kind) {
    let (world, engine) = World::with(kind).await;
    create(&engine, kind.endpoint(1)).await.unwrap();
    let container = landline_model::ContainerRecord {
        id: super::world::candidate(1).id,
        ..landline_model::ContainerRecord::named("web1")
    };
    engine.container_seen(&endpoint_id(1), container).await;
    engine.join(&endpoint_id(1), Some("/nowhere/ns/net".into()), None).await.unwrap();
    let engine = world.restart(engine).await;
    assert!(engine.knows(&endpoint_id(1)), "its link was left on the host");
    let mac = engine.ledger.read().endpoints[&endpoint_id(1)].record.mac;
    let again = crate::CreateEndpoint { endpoint: endpoint_id(2), ..kind.endpoint(1) };
    create(&engine, again).await.unwrap();
    assert!(!engine.knows(&endpoint_id(1)));
    assert_eq!(engine.ledger.read().endpoints[&endpoint_id(2)].record.mac, mac, "with its identity");
}
for_each_kind!(what_docker_forgot_makes_way_for_its_container);
