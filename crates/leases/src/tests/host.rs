//! Leases of the host's own, and what is heard on the parents of links.

use std::net::Ipv4Addr;

use landline_dhcp::v4::{Client, Config, ConflictCheck, Event, LossReason, Remembered};
use landline_dhcp::wire::dhcpv4::MessageType;
use landline_kernel::LinkKind;
use landline_links::fake::link;

use super::{EVER, INDEX, Lab, MAC, pass, until};
use crate::fake::Lan4;
use crate::lease::HostClient;
use crate::random::OsRandom;

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, last)
}

/// A client of the NIC, for an address that is in use or for any.
fn client(lab: &Lab, known: Option<Ipv4Addr>) -> HostClient {
    let mut config = Config::new(MAC);
    config.conflict_check = if known.is_some() { ConflictCheck::Off } else { ConflictCheck::Fast };
    let known = known.map(Remembered::Address);
    let client = Client::start(config, known, lab.services.clock.now(), OsRandom);
    HostClient::new(client, "eth0".parse().unwrap(), (INDEX, MAC), &lab.services)
}

async fn next(client: &mut HostClient) -> Event {
    tokio::time::timeout(EVER, client.next()).await.expect("something happens")
}

async fn leased(client: &mut HostClient) -> Ipv4Addr {
    match next(client).await {
        Event::Bound(lease) | Event::Renewed(lease) => lease.address,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_of_the_hosts_is_leased_and_renewed() {
    let lab = Lab::new();
    let mut client = client(&lab, None);
    for _ in 0..10 {
        assert_eq!(leased(&mut client).await, address(10));
    }
    assert_eq!(lab.lan.four(|lan| lan.sent(MessageType::Discover)), 1);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_in_use_is_asked_for_by_name() {
    let lab = Lab::new();
    // The server knows it as ours.
    assert_eq!(leased(&mut client(&lab, None)).await, address(10));
    let mut client = client(&lab, Some(address(10)));
    assert_eq!(leased(&mut client).await, address(10));
    assert_eq!(lab.lan.four(|lan| lan.sent(MessageType::Discover)), 1);
}

#[tokio::test(start_paused = true)]
async fn an_address_of_the_hosts_that_nobody_extends_is_lost() {
    let lab = Lab::new();
    let mut client = client(&lab, None);
    leased(&mut client).await;
    lab.lan.four(|lan| lan.serve(false));
    let lost = next(&mut client).await;
    assert!(matches!(lost, Event::Lost { reason: LossReason::Expired, .. }), "{lost:?}");
    assert!(client.lease().is_none());
    lab.lan.four(|lan| lan.serve(true));
    assert_eq!(leased(&mut client).await, address(10));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_another_machine_has_is_not_leased() {
    let lab = Lab::new();
    lab.lan.four(|lan| lan.squat(address(10)));
    let mut client = client(&lab, None);
    let first = next(&mut client).await;
    assert!(matches!(first, Event::Conflict { .. }), "{first:?}");
    assert_eq!(leased(&mut client).await, address(11));
}

#[tokio::test(start_paused = true)]
async fn what_another_interface_of_the_host_says_is_no_conflict() {
    let lab = Lab::new();
    let own = landline_kernel::Link {
        mac: Some(lab.lan.four(|lan| lan.squatter(10))),
        ..link(9, "eth1", LinkKind::Physical)
    };
    lab.host.change(|links| links.push(own));
    lab.lan.four(|lan| lan.squat(address(10)));
    let mut client = client(&lab, None);
    assert_eq!(leased(&mut client).await, address(10));
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_the_hosts_is_given_back() {
    let lab = Lab::new();
    let mut client = client(&lab, None);
    leased(&mut client).await;
    client.release().await;
    assert_eq!(lab.lan.four(|lan| lan.sent(MessageType::Release)), 1);
}

#[tokio::test(start_paused = true)]
async fn sockets_of_the_hosts_that_cannot_be_opened_are_tried_again() {
    let lab = Lab::new();
    lab.lan.refuse_sockets(Some(std::io::ErrorKind::NetworkDown));
    let mut client = client(&lab, None);
    assert!(tokio::time::timeout(std::time::Duration::from_mins(1), client.next()).await.is_err());
    lab.lan.refuse_sockets(None);
    assert_eq!(leased(&mut client).await, address(10));
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_is_back_has_the_hosts_lease_confirmed() {
    let lab = Lab::new();
    let mut client = client(&lab, None);
    leased(&mut client).await;
    let set = |on| {
        lab.host.change(|links| {
            for link in links {
                (link.running, link.lower_up) = (on, on);
            }
        });
    };
    let cable = async {
        pass(5).await;
        set(false);
        pass(5).await;
        set(true);
    };
    let began = lab.services.clock.now();
    let (again, ()) = tokio::join!(leased(&mut client), cable);
    assert_eq!(again, address(10));
    let took = lab.services.clock.now().since_boot().saturating_sub(began.since_boot());
    assert!(took.as_secs() < 60, "long before it is renewed: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_listener_is_enough_for_a_parent_and_ends_with_the_last() {
    let lab = Lab::new();
    let parent = "br0".parse().unwrap();
    let one = lab.services.conflict_monitor.at(&parent);
    let two = lab.services.conflict_monitor.at(&parent);
    until("somebody listens", || lab.lan.four(Lan4::listeners) == 1).await;
    drop(one);
    pass(1).await;
    assert_eq!(lab.lan.four(Lan4::listeners), 1);
    drop(two);
    until("nobody listens", || lab.lan.four(Lan4::listeners) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_is_not_there_is_listened_at_when_it_comes() {
    let lab = Lab::new();
    lab.lan.refuse_sockets(Some(std::io::ErrorKind::NotFound));
    let _watch = lab.services.conflict_monitor.at(&"br0".parse().unwrap());
    pass(60).await;
    assert_eq!(lab.lan.four(Lan4::listeners), 0);
    lab.lan.refuse_sockets(None);
    lab.host.change(|links| links.push(link(9, "br1", LinkKind::Bridge { vlan_filtering: false })));
    until("somebody listens", || lab.lan.four(Lan4::listeners) == 1).await;
}
