//! Addresses of containers that the host is given later.

use std::net::IpAddr;

use landline_dhcp::wire::dhcpv4::MessageType;
use landline_leases::fake::wait_for;
use landline_options::{Addressing, ConflictCheck};

use super::{World, address, endpoint_id};
use crate::with_host;

impl World {
    /// The host has this address now; `None`: none.
    fn host_has(&self, net: Option<&str>) {
        let on_bridge = |net: &str| ("br0".parse().unwrap(), net.parse().unwrap());
        self.shared.services.book.set_host(net.map(on_bridge).into_iter().collect());
    }

    async fn collisions(&self) -> Vec<(IpAddr, String)> {
        let found = with_host(&self.shared.services.book, &self.engine).await;
        found.iter().map(|found| (found.address, found.interface.to_string())).collect()
    }

    async fn has(&self) -> Option<IpAddr> {
        self.engine.endpoint(&endpoint_id())?.state.read().await.addresses().next()
    }
}

#[tokio::test(start_paused = true)]
async fn a_leased_address_that_the_host_is_given_is_declined() {
    let world = World::with(Addressing::Dhcp, ConflictCheck::Fast).await;
    let answer = world.start(None).await;
    assert_eq!(answer.address.map(|net| net.addr()), Some(address(10)));
    // What follows the first lease is over.
    tokio::time::sleep(std::time::Duration::from_secs(90)).await;
    world.host_has(Some("198.51.100.10/24"));
    wait_for("the address is declined", || world.machine.lan.four(|lan| lan.sent(MessageType::Decline)) == 1)
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(90)).await;
    assert!(world.has().await.is_some_and(|now| now != IpAddr::from(address(10))));
    assert_eq!(world.collisions().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_fixed_address_that_the_host_is_given_is_reported_until_it_is_gone() {
    let world = World::with(Addressing::Static, ConflictCheck::Fast).await;
    world.start(Some("198.51.100.11/24")).await;
    assert_eq!(world.collisions().await, []);
    world.host_has(Some("198.51.100.11/24"));
    assert_eq!(world.collisions().await, [(IpAddr::from(address(11)), "br0".to_owned())]);
    assert_eq!(world.has().await, Some(IpAddr::from(address(11))), "it is the administrator's to choose");
    world.host_has(None);
    assert_eq!(world.collisions().await, []);
}
