//! A start ends while the engine waits for something: Docker closes the connection, or the daemon is killed. Nothing is left of it.

use std::sync::Arc;
use std::time::Duration;

use landline_dhcp::wire::dhcpv4::MessageType;
use landline_kernel::{Link, LinkKind, PortState};
use landline_links::fake::link;
use landline_model::{ContainerRecord, SiteKey};
use landline_options::Mode;
use tokio_util::sync::CancellationToken;

use super::world::{Kind, World, candidate, create, endpoint_id, network_id};
use crate::endpoints::{CreateEndpoint, CreateEndpointError};
use crate::engine::Engine;
use crate::identities::Derivation;

/// What a start waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Whether another host uses the derived identity with the address that it had last: before there is a link.
    LastAddress,
    /// The same with the address of the new lease.
    LeasedAddress,
    /// That the bridge forwards.
    SpanningTree,
    /// The first IPv6 address.
    Ipv6,
}

impl Wait {
    const fn kind(self) -> Kind {
        match self {
            Self::Ipv6 => Kind::Leased6,
            Self::LastAddress | Self::LeasedAddress | Self::SpanningTree => Kind::Leased,
        }
    }

    /// How long after its beginning the start is at it.
    const fn after(self) -> Duration {
        match self {
            Self::LastAddress | Self::LeasedAddress => Duration::from_millis(10),
            Self::SpanningTree => Duration::from_secs(5),
            Self::Ipv6 => Duration::from_millis(100),
        }
    }
}

/// A network on which a start has to wait for this.
async fn waiting_for(wait: Wait) -> (World, Arc<Engine>) {
    let world = World::new();
    match wait {
        Wait::SpanningTree => world.host.change(|links| {
            let bridge = links.iter_mut().find(|link| link.index == 1).unwrap();
            bridge.forward_delay = Some(Duration::from_secs(15));
            let port = link(9, "eth9", LinkKind::Physical);
            links.push(Link { controller: Some(1), port_state: Some(PortState::Listening), ..port });
        }),
        Wait::Ipv6 => world.lan.six(|lan| (lan.route(false), lan.serve(false), ()).2),
        Wait::LastAddress | Wait::LeasedAddress => {}
    }
    let engine = world.start().await;
    let mut network = wait.kind().network();
    if matches!(wait, Wait::LastAddress | Wait::LeasedAddress) {
        // The parent asks from its own hardware address.
        (network.options.mode, network.options.parent) = (Mode::Macvlan, "eth0".parse().unwrap());
        engine.derive_identities(Derivation { key: Some(SiteKey::new([7; 32])), by_default: true });
    }
    engine.create_network(network).await.unwrap();
    engine.network_seen(&network_id(), "lan").await;
    if wait == Wait::LastAddress {
        create(&engine, wait.kind().endpoint(1)).await.unwrap();
        let container = ContainerRecord { id: candidate(1).id, ..ContainerRecord::named("web1") };
        engine.container_seen(&endpoint_id(1), container).await;
        engine.delete_endpoint(&endpoint_id(1)).await.unwrap();
    }
    (world, engine)
}

/// The start of the container that is given up.
fn request(wait: Wait) -> CreateEndpoint {
    CreateEndpoint { endpoint: endpoint_id(7), ..wait.kind().endpoint(1) }
}

fn sent(world: &World) -> [usize; 2] {
    world.lan.four(|lan| {
        [lan.sent(MessageType::Discover) + lan.sent(MessageType::Request), lan.sent(MessageType::Release)]
    })
}

fn nothing_left(world: &World, engine: &Engine, names: &[String]) {
    assert_eq!(world.host.names(), names, "links");
    assert!(!engine.knows(&endpoint_id(7)) && engine.ledger.read().endpoints.is_empty());
    assert!(engine.identities.all().iter().all(|known| engine.identities.holder(&known.id).is_none()));
    assert_eq!(world.gate.held(), [format!("network {}", network_id())]);
    assert_eq!(world.lan.open_sockets(), 0);
}

/// Docker closes the connection; what was sent to servers until then and afterwards.
async fn docker_gives_up(wait: Wait) -> [[usize; 2]; 2] {
    let (world, engine) = waiting_for(wait).await;
    let (names, before) = (world.host.names(), sent(&world));
    let cancel = CancellationToken::new();
    let made = engine.create_endpoint(request(wait), cancel.clone());
    let (begun, mut until) = (tokio::time::Instant::now(), before);
    let (made, ()) = tokio::join!(made, async {
        tokio::time::sleep(wait.after()).await;
        match wait {
            Wait::LastAddress => assert_eq!(world.lan.open_sockets(), 1, "it waits"),
            _ => assert!(engine.knows(&endpoint_id(7)), "it waits"),
        }
        until = sent(&world);
        cancel.cancel();
    });
    // What was leased is looked at to the end: whether it may be given back depends on that.
    let at_once = wait != Wait::LeasedAddress;
    assert!(begun.elapsed() < wait.after() + Duration::from_millis(5) || !at_once, "{:?}", begun.elapsed());
    assert!(matches!(made, Err(CreateEndpointError::Cancelled)), "{made:?}");
    nothing_left(&world, &engine, &names);
    let after = sent(&world);
    // Whoever asks again is served.
    if wait == Wait::SpanningTree {
        world.host.change(|links| links.iter_mut().for_each(|link| link.port_state = None));
    }
    create(&engine, request(wait)).await.unwrap();
    [until, after].map(|sent| [sent[0] - before[0], sent[1] - before[1]])
}

/// The daemon is killed, and the next one starts.
async fn the_daemon_is_killed(wait: Wait) {
    let (world, engine) = waiting_for(wait).await;
    let names = world.host.names();
    {
        let made = engine.create_endpoint(request(wait), CancellationToken::new());
        let given_up = tokio::time::timeout(wait.after(), made).await;
        assert!(given_up.is_err(), "it waits");
    }
    let engine = world.restart(engine).await;
    nothing_left(&world, &engine, &names);
}

#[tokio::test(start_paused = true)]
async fn docker_gives_up_while_another_host_is_asked_for_the_last_address() {
    let sent = docker_gives_up(Wait::LastAddress).await;
    assert_eq!(sent, [[0, 0], [0, 0]], "no server was asked");
}

#[tokio::test(start_paused = true)]
async fn docker_gives_up_while_another_host_is_asked_for_the_leased_address() {
    let [until, after] = docker_gives_up(Wait::LeasedAddress).await;
    assert!(until[0] > 0 && until[1] == 0, "there is a lease");
    assert_eq!(after[1], 1, "it is given back");
}

#[tokio::test(start_paused = true)]
async fn docker_gives_up_while_the_bridge_does_not_forward() {
    let sent = docker_gives_up(Wait::SpanningTree).await;
    assert_eq!(sent, [[0, 0], [0, 0]], "no server was asked");
}

#[tokio::test(start_paused = true)]
async fn docker_gives_up_while_an_ipv6_address_is_waited_for() {
    let [_, after] = docker_gives_up(Wait::Ipv6).await;
    assert_eq!(after[1], 1, "the IPv4 lease is given back");
}

#[tokio::test(start_paused = true)]
async fn the_daemon_is_killed_while_another_host_is_asked_for_the_last_address() {
    the_daemon_is_killed(Wait::LastAddress).await;
}

#[tokio::test(start_paused = true)]
async fn the_daemon_is_killed_while_another_host_is_asked_for_the_leased_address() {
    the_daemon_is_killed(Wait::LeasedAddress).await;
}

#[tokio::test(start_paused = true)]
async fn the_daemon_is_killed_while_the_bridge_does_not_forward() {
    the_daemon_is_killed(Wait::SpanningTree).await;
}

#[tokio::test(start_paused = true)]
async fn the_daemon_is_killed_while_an_ipv6_address_is_waited_for() {
    the_daemon_is_killed(Wait::Ipv6).await;
}

/// What another host uses is not given back, also if Docker no longer waits for the answer.
#[tokio::test(start_paused = true)]
async fn a_duplicates_lease_is_not_given_back_when_docker_gives_up() {
    let (world, engine) = waiting_for(Wait::LeasedAddress).await;
    let cancel = CancellationToken::new();
    let made = engine.create_endpoint(request(Wait::LeasedAddress), cancel.clone());
    let (made, ()) = tokio::join!(made, async {
        let mac = loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if let Some(endpoint) = engine.endpoint(&endpoint_id(7))
                && let Some(lease) = endpoint.status().and_then(|status| status.lease)
            {
                break (lease.address, endpoint.state.read().await.mac);
            }
        };
        world.lan.four(|lan| lan.squat_as(mac.0, mac.1));
        cancel.cancel();
    });
    assert!(made.is_err());
    assert_eq!(sent(&world)[1], 0, "it is the other host's: {made:?}");
}
