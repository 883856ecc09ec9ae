//! Leases that are remembered: of a container that starts again, and of a daemon that does.

use std::net::Ipv4Addr;

use landline_dhcp::v4::{Remembered, StateName};
use landline_dhcp::wire::dhcpv4::MessageType;

use super::{Lab, bound, lives, pass, place, sandbox, wait};
use crate::lease::Supervised;

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, last)
}

/// A daemon was killed while its container ran.
async fn killed() -> Lab {
    let lab = Lab::new();
    let supervised = lab.start(None).await;
    let first = bound(&supervised).await.lease.unwrap().address;
    lab.join(&supervised, Some(first.into())).await;
    lab.until_inside(&["198.51.100.10/24"]).await;
    pass(10).await;
    supervised.stop(false).await;
    lab
}

fn asked(lab: &Lab) -> usize {
    lab.lan.four(|lan| lan.sent(MessageType::Request) + lan.sent(MessageType::Discover))
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_starts_again_sends_nothing() {
    let lab = killed().await;
    let before = asked(&lab);
    let supervised = lab.resume().await;
    pass(60).await;
    assert_eq!((asked(&lab), lab.lan.open_sockets()), (before, 0));
    assert_eq!(supervised.status.borrow().state, StateName::Bound);
    pass(600).await;
    assert!(asked(&lab) > before, "it renews in time");
}

#[tokio::test(start_paused = true)]
async fn what_the_sandbox_has_missed_is_made_up_for() {
    let lab = killed().await;
    lab.sandboxes.end(&sandbox());
    lab.sandboxes.move_in(&sandbox(), &lab.mark(), Vec::new());
    let _supervised = lab.resume().await;
    lab.until_inside(&["198.51.100.10/24"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ended_meanwhile_is_asked_for_again() {
    let lab = killed().await;
    pass(3600).await;
    let before = asked(&lab);
    let supervised = lab.resume().await;
    pass(3).await;
    assert_eq!(asked(&lab), before + 1, "by name");
    assert_eq!(supervised.status.borrow().state, StateName::Bound);
    assert_eq!(lab.inside(), ["198.51.100.10/24"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ended_meanwhile_goes_if_nobody_gives_it_again() {
    let lab = killed().await;
    pass(3600).await;
    lab.lan.four(|lan| lan.serve(false));
    let _supervised = lab.resume().await;
    lab.until_inside(&[]).await;
}

#[tokio::test(start_paused = true)]
async fn an_address_that_nobody_remembers_stays_until_a_server_has_said_something() {
    let lab = killed().await;
    lab.lan.four(|lan| lan.serve(false));
    let config = crate::addressing::dhcp::config(lab.endpoint.options(), super::MAC, &lab.dhcp().await, None);
    let (endpoint, services) = (lab.endpoint.clone(), lab.services.clone());
    let supervised: Supervised =
        crate::ipv4::ask_again(endpoint, services, config, Some(address(10)), place());
    pass(30).await;
    assert_eq!(lab.inside(), ["198.51.100.10/24"]);
    lab.lan.four(|lan| lan.serve(true));
    assert_eq!(bound(&supervised).await.lease.unwrap().address, address(10));
}

#[tokio::test(start_paused = true)]
async fn a_remembered_lease_is_used_at_once_and_confirmed() {
    let lab = killed().await;
    let lease = lab.dhcp().await.lease.unwrap().restore(&lab.services.boot).unwrap();
    let supervised = lab.start(Some(lease.into())).await;
    assert!(supervised.status.borrow().lease.is_some());
    assert!(!supervised.status.borrow().confirmed);
    bound(&supervised).await;
    assert_eq!(lab.lan.four(|lan| lan.sent(MessageType::Discover)), 1, "for the first one");
}

#[tokio::test(start_paused = true)]
async fn a_remembered_lease_is_used_while_its_server_is_away() {
    let lab = killed().await;
    lab.lan.four(|lan| lan.serve(false));
    let lease = lab.dhcp().await.lease.unwrap().restore(&lab.services.boot).unwrap();
    let supervised = lab.start(Some(lease.into())).await;
    pass(60).await;
    let status = supervised.status.borrow().clone();
    assert_eq!(status.lease.map(|lease| lease.address), Some(address(10)));
    wait(&supervised, "its end", |status| status.lease.is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_remembered_address_that_another_has_got_is_replaced() {
    let lab = killed().await;
    lab.lan.four(|lan| (lan.forget(), lan.be_strict()));
    lab.lan.four(|lan| lan.renumber(100));
    let supervised = lab.start(Some(Remembered::Address(address(10)))).await;
    assert_eq!(bound(&supervised).await.lease.unwrap().address, address(100));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_never_arrives_is_nowhere() {
    let lab = Lab::new();
    let supervised = lab.start(None).await;
    bound(&supervised).await;
    supervised.orders.joined(Some(super::INDEX), sandbox());
    lab.host.change(|links| links.retain(|link| link.index != super::INDEX));
    pass(3600).await;
    assert!(!lives(&lab, &sandbox()));
    assert_eq!(lab.lan.open_sockets(), 0, "there is nothing to open one on");
    supervised.stop(true).await;
}

#[tokio::test(start_paused = true)]
async fn times_of_another_boot_are_good_for_a_while() {
    let lab = killed().await;
    let record = lab.dhcp().await.lease.unwrap();
    assert!(record.restore("another boot").is_none());
    assert!(record.restore_across_boots(lab.now()).is_some());
    pass(3600).await;
    // The wall clock does not follow the test's; what it says counts.
    assert!(record.restore_across_boots(lab.now()).is_some());
}
