//! Addresses that a DHCP server gives.

use std::net::Ipv4Addr;
use std::time::Duration;

use landline_dhcp::wire::dhcpv4::MessageType;
use landline_kernel::Address;
use landline_links::fake::Refused;

use super::world::{Daemon, NIC, World, eventually, leased, seen, web};
use crate::{NatError, NatState, NatView};

fn address(daemon: &Daemon) -> Option<Ipv4Addr> {
    daemon.nat.views().get(&web())?.address
}

/// Asks for an address and has it.
async fn has_leased(daemon: &Daemon) -> NatView {
    daemon.nat.add(leased()).await.unwrap()
}

fn trouble(daemon: &Daemon) -> String {
    match &daemon.nat.views()[&web()].state {
        NatState::Trouble(why) => why.clone(),
        other => other.to_string(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_leased_address_is_on_the_nic_as_long_as_its_lease_lives() {
    let world = World::new();
    let daemon = world.started().await;
    let view = has_leased(&daemon).await;
    let first = view.address.unwrap();
    assert_eq!(world.on("eth0"), [first.to_string()]);
    daemon.nat.see(seen(&[("web", "203.0.113.7")]));
    eventually("it is behind it", || world.rules().contains("203.0.113.7")).await;
    // Nobody renews it.
    world.lan.four(|lan| lan.serve(false));
    eventually("it is over", || world.on("eth0").is_empty()).await;
    assert!(trouble(&daemon).starts_with("it is lost"), "{}", trouble(&daemon));
    assert!(!world.rules().contains("203.0.113.7"), "nothing is passed on");
    world.lan.four(|lan| lan.serve(true));
    eventually("it is back", || world.on("eth0") == [first.to_string()]).await;
    assert!(world.rules().contains("203.0.113.7"));
}

#[tokio::test(start_paused = true)]
async fn another_address_takes_the_place_of_the_one_before() {
    let world = World::new();
    let daemon = world.started().await;
    let first = has_leased(&daemon).await.address.unwrap();
    daemon.nat.see(seen(&[("web", "203.0.113.7")]));
    world.lan.four(|lan| lan.renumber(40));
    eventually("it is another", || address(&daemon).is_some_and(|now| now != first)).await;
    eventually("that alone is there", || world.on("eth0") == [address(&daemon).unwrap().to_string()]).await;
    assert!(world.rules().contains(&address(&daemon).unwrap().to_string()));
    assert!(!world.rules().contains(&first.to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_a_failure_that_leaves_nothing() {
    let world = World::new();
    world.lan.four(|lan| lan.serve(false));
    let daemon = world.started().await;
    let failed = daemon.nat.add(leased()).await;
    assert!(matches!(failed, Err(NatError::NoLease { .. })), "{failed:?}");
    assert!(daemon.nat.views().is_empty() && world.kill(daemon).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_given_back_with_its_address() {
    let world = World::new();
    let daemon = world.started().await;
    has_leased(&daemon).await;
    daemon.nat.remove(&web()).await.unwrap();
    assert!(world.on("eth0").is_empty());
    assert_eq!(world.lan.four(|lan| lan.sent(MessageType::Release)), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_the_lease_there_was() {
    let world = World::new();
    let daemon = world.started().await;
    let first = has_leased(&daemon).await.address.unwrap();
    let stored = world.kill(daemon).await;
    assert!(stored[0].dhcp.as_ref().is_some_and(|dhcp| dhcp.lease.is_some() && dhcp.client_id.is_some()));
    let asked = world.lan.four(|lan| lan.sent(MessageType::Discover) + lan.sent(MessageType::Request));
    let daemon = world.started().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((address(&daemon), world.on("eth0")), (Some(first), vec![first.to_string()]));
    let now = world.lan.four(|lan| lan.sent(MessageType::Discover) + lan.sent(MessageType::Request));
    assert_eq!(now, asked, "without a packet");
}

/// The lease has ended while no daemon ran: the address is somebody else's by now, perhaps.
#[tokio::test(start_paused = true)]
async fn an_address_whose_lease_ended_meanwhile_is_taken_off_the_nic() {
    let world = World::new();
    let daemon = world.started().await;
    has_leased(&daemon).await;
    world.kill(daemon).await;
    world.lan.four(|lan| lan.serve(false));
    tokio::time::sleep(Duration::from_hours(2)).await;
    let daemon = world.started().await;
    eventually("it is gone", || world.on("eth0").is_empty()).await;
    assert_eq!(address(&daemon), None);
    world.lan.four(|lan| lan.serve(true));
    eventually("it has one again", || address(&daemon).is_some()).await;
}

/// A server that tells its clients apart by hardware address gives the host's own.
#[tokio::test(start_paused = true)]
async fn the_hosts_address_is_not_taken_for_a_containers() {
    let world = World::new();
    let daemon = world.started().await;
    let own: Vec<Address> =
        (10..60).map(|last| Address::new(NIC, format!("198.51.100.{last}/24").parse().unwrap())).collect();
    world.fake.host(|host| host.addresses.extend(own.clone()));
    let failed = daemon.nat.add(leased()).await;
    assert!(
        matches!(&failed, Err(NatError::NoLease { why: Some(why), .. }) if why.contains("the host has")),
        "{failed:?}"
    );
    assert!(world.on("eth0").is_empty());
    assert_eq!(world.lan.four(|lan| lan.sent(MessageType::Release)), 0, "it is not ours to give back");
    // An address that is the host's already is asked for again later, and less and less often.
    daemon.nat.adopt(leased()).await.unwrap();
    eventually("it is shown", || trouble(&daemon).contains("the host has")).await;
    world.fake.host(|host| host.addresses.retain(|address| !own.contains(address)));
    eventually("it has one", || address(&daemon).is_some()).await;
    assert_eq!(world.on("eth0").len(), 1);
}

/// What cannot be done on the host is done later, and the lease is kept meanwhile.
#[tokio::test(start_paused = true)]
async fn a_kernel_that_takes_no_address_gets_it_later() {
    let world = World::new();
    let daemon = world.started().await;
    daemon.nat.adopt(leased()).await.unwrap();
    world.fake.refuse(Some(Refused::From(0)));
    eventually("it is leased", || address(&daemon).is_some()).await;
    eventually("it is shown", || trouble(&daemon).contains("the kernel refused")).await;
    assert!(world.on("eth0").is_empty());
    world.fake.refuse(None);
    daemon.nat.see(seen(&[("web", "203.0.113.7")]));
    eventually("it is there", || world.on("eth0").len() == 1).await;
    eventually("all is well", || trouble(&daemon) == "ready").await;
}
