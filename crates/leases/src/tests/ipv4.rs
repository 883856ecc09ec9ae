//! DHCP leases, from the first to the last.

use std::io::ErrorKind;
use std::net::Ipv4Addr;

use landline_dhcp::v4::StateName;
use landline_dhcp::wire::dhcpv4::MessageType;
use landline_options::{ConflictCheck, Mode};

use super::{Lab, bound, pass, sandbox, until, wait};
use crate::lease::{Status, Supervised};
use crate::meters::Direction;
use crate::sockets::Location;

/// The first address that the server gives.
const FIRST: &str = "198.51.100.10/24";

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, last)
}

/// A container that runs with its first lease.
async fn running() -> (Lab, Supervised) {
    running_with(Lab::new()).await
}

async fn running_with(lab: Lab) -> (Lab, Supervised) {
    let supervised = lab.start(None).await;
    let first = bound(&supervised).await.lease.unwrap().address;
    lab.join(&supervised, Some(first.into())).await;
    lab.until_inside(&[FIRST]).await;
    // Docker is done with it.
    pass(10).await;
    (lab, supervised)
}

async fn lost(supervised: &Supervised) -> Status {
    wait(supervised, "the end of the lease", |status| status.lease.is_none()).await
}

#[tokio::test(start_paused = true)]
async fn a_first_lease_is_stored_before_it_is_known() {
    let lab = Lab::new();
    let supervised = lab.start(None).await;
    assert_eq!(bound(&supervised).await.lease.unwrap().address, address(10));
    assert_eq!(lab.dhcp().await.lease.unwrap().address, address(10));
    supervised.stop(false).await;
    assert_eq!(lab.stored().await.as_deref(), Some("198.51.100.10"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_in_a_sandbox_before_the_link_is_there() {
    let lab = Lab::new();
    let supervised = lab.start(None).await;
    bound(&supervised).await;
    pass(5).await;
    assert_eq!(lab.inside(), [""; 0]);
    assert_eq!(lab.endpoint.read().await.interface, None);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_runs_has_no_socket_open() {
    let (lab, _supervised) = running().await;
    until("it is quiet", || lab.lan.open_sockets() == 0).await;
    assert_eq!(lab.endpoint.read().await.interface.unwrap().as_str(), "eth0");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_in_time_again_and_again() {
    let (lab, supervised) = running().await;
    pass(3600).await;
    let status = supervised.status.borrow().clone();
    assert_eq!(status.lease.unwrap().address, address(10));
    assert_eq!(lab.inside(), [FIRST]);
    let asked = lab.lan.four(|lan| lan.sent(MessageType::Request));
    assert!((12..20).contains(&asked), "{asked} requests in an hour, of a lease of ten minutes");
    assert_eq!(lab.lan.four(|lan| lan.sent(MessageType::Discover)), 1);
}

#[tokio::test(start_paused = true)]
async fn a_probe_waits_for_a_link_that_is_being_moved() {
    let lab = Lab::new();
    let supervised = lab.start(None).await;
    let first = bound(&supervised).await.lease.unwrap().address;
    let before = lab.lan.four(|lan| lan.probes());
    lab.leave(&supervised);
    pass(5).await;
    assert_eq!(lab.lan.four(|lan| lan.probes()), before);
    let net = ipnet::Ipv4Net::new(first, 24).unwrap().into();
    lab.sandboxes.set_up(&sandbox(), &lab.mark(), vec![net]);
    pass(10).await;
    assert_eq!(lab.lan.four(|lan| lan.probes()), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_stored() {
    let (lab, supervised) = running().await;
    let first = lab.dhcp().await.lease;
    supervised.orders.renew();
    pass(5).await;
    assert_ne!(lab.dhcp().await.lease, first);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_extends_ends_and_its_address_goes() {
    let (lab, supervised) = running().await;
    lab.lan.four(|lan| lan.serve(false));
    lost(&supervised).await;
    lab.until_inside(&[]).await;
    assert_eq!(lab.dhcp().await.lease, None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_in_time_extends_the_lease() {
    let (lab, supervised) = running().await;
    lab.lan.four(|lan| lan.serve(false));
    wait(&supervised, "others are asked", |status| status.state == StateName::Rebinding).await;
    lab.lan.four(|lan| lan.serve(true));
    wait(&supervised, "it is extended", |status| status.state == StateName::Bound).await;
    assert_eq!((lab.inside(), supervised.status.borrow().naks), (vec![FIRST.to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_too_late_gives_another_lease() {
    let (lab, supervised) = running().await;
    lab.lan.four(|lan| lan.serve(false));
    lost(&supervised).await;
    lab.lan.four(|lan| lan.serve(true));
    bound(&supervised).await;
    lab.until_inside(&[FIRST]).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_address_is_replaced() {
    let (lab, supervised) = running().await;
    lab.lan.four(|lan| lan.renumber(100));
    wait(&supervised, "another address", |status| {
        status.lease.as_ref().is_some_and(|lease| lease.address == address(100))
    })
    .await;
    lab.until_inside(&["198.51.100.100/24"]).await;
    assert_eq!(supervised.status.borrow().naks, 1);
    assert_eq!(lab.dhcp().await.lease.unwrap().address, address(100));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_another_has_is_declined() {
    let lab = Lab::new();
    lab.lan.four(|lan| lan.squat(address(10)));
    let supervised = lab.start(None).await;
    let status = bound(&supervised).await;
    assert_eq!((status.lease.unwrap().address, status.conflicts), (address(11), 1));
    assert_eq!(lab.lan.four(|lan| lan.sent(MessageType::Decline)), 1);
}

#[tokio::test(start_paused = true)]
async fn an_address_is_not_looked_for_where_that_is_not_wanted() {
    let lab = Lab::with(|options| options.conflict_check = ConflictCheck::Off);
    lab.lan.four(|lan| lan.squat(address(10)));
    let supervised = lab.start(None).await;
    assert_eq!(bound(&supervised).await.lease.unwrap().address, address(10));
}

#[tokio::test(start_paused = true)]
async fn a_later_claim_is_heard_without_a_socket_and_challenged_once() {
    let (lab, supervised) = running().await;
    until("it is quiet", || lab.lan.open_sockets() == 0).await;
    lab.lan.four(|lan| lan.squat(address(10)));
    wait(&supervised, "the claim is heard", |status| status.conflicts == 1).await;
    pass(60).await;
    assert_eq!(lab.inside(), [FIRST], "it is defended");
    assert_eq!(supervised.status.borrow().conflicts, 1);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_claimed_again_is_given_up() {
    let (lab, supervised) = running().await;
    lab.lan.four(|lan| lan.squat(address(10)));
    pass(3).await;
    lab.lan.four(|lan| lan.squat(address(10)));
    wait(&supervised, "another address", |status| {
        status.lease.as_ref().is_some_and(|lease| lease.address == address(11))
    })
    .await;
    lab.until_inside(&["198.51.100.11/24"]).await;
    assert_eq!(lab.lan.four(|lan| lan.sent(MessageType::Decline)), 1);
}

#[tokio::test(start_paused = true)]
async fn claims_are_not_heard_where_that_is_not_wanted() {
    let off = Lab::with(|options| options.conflict_check = ConflictCheck::Off);
    let (lab, supervised) = running_with(off).await;
    for _ in 0..3 {
        lab.lan.four(|lan| lan.squat(address(10)));
        pass(3).await;
    }
    assert_eq!((lab.inside(), supervised.status.borrow().conflicts), (vec![FIRST.to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_is_back_has_the_lease_confirmed() {
    let (lab, supervised) = running().await;
    let asked = lab.lan.four(|lan| lan.sent(MessageType::Request));
    supervised.orders.link_up();
    pass(5).await;
    assert_eq!(lab.lan.four(|lan| lan.sent(MessageType::Request)), asked + 1);
    assert_eq!(lab.inside(), [FIRST]);
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_is_back_on_another_lan_brings_another_address() {
    let (lab, supervised) = running().await;
    lab.lan.four(|lan| (lan.forget(), lan.be_strict(), lan.renumber(100)));
    supervised.orders.link_up();
    lab.until_inside(&["198.51.100.100/24"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_flapping_link_does_not_flood_the_server() {
    let (lab, supervised) = running().await;
    let asked = lab.lan.four(|lan| lan.sent(MessageType::Request));
    for _ in 0..100 {
        supervised.orders.link_up();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let asked = lab.lan.four(|lan| lan.sent(MessageType::Request)) - asked;
    assert!((2..=6).contains(&asked), "{asked} in ten seconds");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_was_cut_off_is_set_up_again() {
    let (lab, supervised) = running().await;
    // Another link carries the mark now.
    lab.sandboxes.end(&sandbox());
    lab.sandboxes.move_in(&sandbox(), &lab.mark(), Vec::new());
    supervised.orders.reconnected();
    lab.until_inside(&[FIRST]).await;
}

#[tokio::test(start_paused = true)]
async fn a_released_address_is_taken_away_until_it_is_wanted() {
    let (lab, supervised) = running().await;
    supervised.orders.release();
    lab.until_inside(&[]).await;
    assert_eq!(lab.lan.four(|lan| lan.sent(MessageType::Release)), 1);
    assert_eq!(lab.dhcp().await.lease, None);
    pass(3600).await;
    assert_eq!(lab.inside(), [""; 0], "it stays away");
    supervised.orders.renew();
    lab.until_inside(&[FIRST]).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_endpoint_gives_its_lease_back_if_it_is_to() {
    for release in [false, true] {
        let (lab, supervised) = running().await;
        supervised.stop(release).await;
        assert_eq!(lab.lan.four(|lan| lan.sent(MessageType::Release)), usize::from(release));
        assert_eq!(lab.lan.open_sockets(), 0);
        assert_eq!(lab.inside(), [FIRST], "its link goes with its sandbox");
    }
}

/// The host routes to the link, so what the client says does not depend on where that is.
#[tokio::test(start_paused = true)]
async fn the_host_speaks_for_a_link_that_it_routes_to() {
    let (lab, supervised) = running_with(Lab::with(|options| options.mode = Mode::Routed)).await;
    let parent = Some(Location::Parent("br0".parse().unwrap()));
    assert_eq!(lab.lan.place(), parent);
    pass(2 * 3600).await;
    assert_eq!(
        (lab.lan.place(), lab.inside()),
        (parent.clone(), vec![FIRST.to_owned()]),
        "it is renewed there"
    );
    // Docker has taken the link away, and asks for the end only then.
    supervised.orders.left();
    supervised.stop(true).await;
    assert_eq!(lab.lan.four(|lan| lan.sent(MessageType::Release)), 1);
    assert_eq!(lab.lan.place(), parent);

    let other = running().await.0;
    assert!(!matches!(other.lan.place(), Some(Location::Parent(_))), "others speak for themselves");
}

#[tokio::test(start_paused = true)]
async fn a_name_is_told_once_however_often_it_changes() {
    let (lab, supervised) = running().await;
    let asked = lab.lan.four(|lan| lan.sent(MessageType::Request));
    for n in 0..50 {
        supervised.orders.hostname(Some(format!("web{n}")));
        tokio::task::yield_now().await;
    }
    pass(5).await;
    let asked = lab.lan.four(|lan| lan.sent(MessageType::Request)) - asked;
    assert!((1..=2).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_the_host_is_given_is_given_up() {
    let (lab, supervised) = running().await;
    let own = lab.endpoint.options().parent.clone();
    lab.services.book.set_host(vec![(own, FIRST.parse().unwrap())]);
    supervised.orders.recheck();
    wait(&supervised, "another address", |status| {
        status.lease.as_ref().is_some_and(|lease| lease.address == address(11))
    })
    .await;
    lab.until_inside(&["198.51.100.11/24"]).await;
    assert!(supervised.status.borrow().conflicts > 0);
}

#[tokio::test(start_paused = true)]
async fn sockets_that_cannot_be_opened_are_tried_again() {
    let lab = Lab::new();
    lab.lan.refuse_sockets(Some(ErrorKind::OutOfMemory));
    let supervised = lab.start(None).await;
    pass(30).await;
    assert!(supervised.status.borrow().lease.is_none());
    lab.lan.refuse_sockets(None);
    bound(&supervised).await;
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_is_gone_is_told() {
    let (lab, supervised) = running().await;
    let before = lab.ledger.read().clone();
    lab.lan.refuse_sockets(Some(ErrorKind::NotFound));
    supervised.orders.renew();
    pass(2).await;
    let lost = |inventory: &crate::Inventory| inventory.endpoints[lab.endpoint.id()].lost;
    assert_ne!(lost(&lab.ledger.read()), lost(&before));
}

#[tokio::test(start_paused = true)]
async fn a_setup_that_fails_is_tried_again() {
    let (lab, supervised) = running().await;
    lab.sandboxes.break_all(true);
    lab.lan.four(|lan| lan.renumber(100));
    wait(&supervised, "another address", |status| {
        status.lease.as_ref().is_some_and(|lease| lease.address == address(100))
    })
    .await;
    pass(5).await;
    assert_eq!(lab.inside(), [FIRST]);
    lab.sandboxes.break_all(false);
    lab.until_inside(&["198.51.100.100/24"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_stored_is_used() {
    let lab = Lab::new();
    lab.store.break_after(0);
    let supervised = lab.start(None).await;
    bound(&supervised).await;
    assert_eq!(lab.dhcp().await.lease.unwrap().address, address(10), "in memory");
}

#[tokio::test(start_paused = true)]
async fn what_docker_was_told_stays_until_docker_is_done() {
    let lab = Lab::new();
    let supervised = lab.start(None).await;
    bound(&supervised).await;
    // The server has given another address meanwhile.
    lab.join(&supervised, Some(address(50).into())).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(lab.inside(), ["198.51.100.50/24"]);
    lab.until_inside(&[FIRST]).await;
}

#[tokio::test(start_paused = true)]
async fn leaving_lets_go_of_the_sandbox() {
    let (lab, supervised) = running().await;
    supervised.orders.left();
    pass(1).await;
    lab.lan.four(|lan| lan.renumber(100));
    pass(3600).await;
    assert_eq!(lab.inside(), [FIRST], "nothing is done in it any more");
}

#[tokio::test(start_paused = true)]
async fn messages_and_exchanges_are_counted_for_the_network() {
    let (lab, supervised) = running().await;
    pass(3600).await;
    let meter = lab.services.meters.network(lab.endpoint.network());
    let count = |direction, kind: MessageType| meter.v4.messages(direction, kind.code());
    for kind in [MessageType::Discover, MessageType::Request, MessageType::Release] {
        let sent = lab.lan.four(|lan| lan.sent(kind));
        assert_eq!(count(Direction::Sent, kind), sent as u64, "{kind:?}");
    }
    let acks = count(Direction::Received, MessageType::Ack);
    assert_eq!(acks, count(Direction::Sent, MessageType::Request), "each was answered");
    // Discovery and the request after it are one exchange.
    assert_eq!(meter.v4.exchanges().read().count(), acks);
    assert_eq!(count(Direction::Received, MessageType::Discover), 0);
    supervised.stop(true).await;
    assert!(count(Direction::Sent, MessageType::Release) >= 1, "what is sent past the kernel, too");
    assert_eq!(meter.v6.messages(Direction::Sent, 1), 0);
}

#[tokio::test(start_paused = true)]
async fn answers_to_other_clients_are_not_counted() {
    let lab = Lab::new();
    let meter =
        lab.services.meters.client(lab.endpoint.network(), crate::meters::Family::V4, &lab.services.clock);
    let ack = |xid| landline_dhcp::wire::dhcpv4::Repr::from_client(MessageType::Ack, xid, super::MAC).emit();
    let request = landline_dhcp::wire::dhcpv4::Repr::from_client(MessageType::Request, 7, super::MAC).emit();
    meter.dhcp4(Direction::Received, &ack(7));
    meter.dhcp4(Direction::Sent, &request);
    pass(2).await;
    meter.dhcp4(Direction::Received, &ack(8));
    let network = lab.services.meters.network(lab.endpoint.network());
    assert_eq!(network.v4.messages(Direction::Received, MessageType::Ack.code()), 0);
    meter.dhcp4(Direction::Received, &ack(7));
    assert_eq!(network.v4.messages(Direction::Received, MessageType::Ack.code()), 1);
    let seen = network.v4.exchanges().read();
    assert_eq!((seen.count(), seen.sum), (1, 2.0));
}

/// What happened to the endpoint, in order: the kind, the address and the reason.
fn events(lab: &Lab) -> Vec<String> {
    let said = |noted: crate::history::Noted| {
        let event = noted.event;
        assert_eq!(event.endpoint.as_ref(), Some(lab.endpoint.id()));
        format!("{} {} {}", event.kind, event.address.unwrap(), event.detail.unwrap_or_default())
    };
    let mut all = lab.services.history.read(None, &lab.ledger);
    all.sort_by(|a, b| a.event.number.cmp(&b.event.number));
    all.into_iter().map(said).collect()
}

#[tokio::test(start_paused = true)]
async fn the_life_of_a_lease_is_a_history() {
    let lab = Lab::new();
    lab.lan.four(|lan| lan.squat(address(10)));
    let (lab, supervised) = {
        let supervised = lab.start(None).await;
        bound(&supervised).await;
        lab.join(&supervised, Some(address(11).into())).await;
        pass(10).await;
        (lab, supervised)
    };
    pass(700).await;
    lab.lan.four(|lan| lan.renumber(100));
    wait(&supervised, "another address", |status| {
        status.lease.as_ref().is_some_and(|lease| lease.address == address(100))
    })
    .await;
    lab.lan.four(|lan| lan.serve(false));
    lost(&supervised).await;
    lab.lan.four(|lan| lan.serve(true));
    bound(&supervised).await;
    wait(&supervised, "the lease", |status| status.lease.is_some()).await;
    let seen = events(&lab);
    let kinds: Vec<&str> = seen.iter().map(|event| event.split(' ').next().unwrap()).collect();
    let expected = [
        "conflict",
        "lease-acquired",
        "lease-renewed",
        "lease-lost",
        "lease-changed",
        "lease-lost",
        "lease-acquired",
    ];
    assert_eq!(kinds, expected, "{seen:#?}");
    assert!(seen[0].starts_with("conflict 198.51.100.10 ") && seen[0].ends_with(" has it"), "{seen:#?}");
    assert!(seen[1].starts_with("lease-acquired 198.51.100.11 from 198.51.100."), "{seen:#?}");
    assert!(seen[4].starts_with("lease-changed 198.51.100.100 "), "{seen:#?}");
}
