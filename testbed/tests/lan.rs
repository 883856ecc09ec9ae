//! The LAN itself: its machines reach each other, its servers hand out leases.

use std::time::Duration;

use landline_testbed::{
    BEYOND_V4, DhcpRelay, Dhcpd, Dnsmasq, FAR_V4, Kea, Lan, PEER_V4, ROUTER_V4, Ra, Reservation, Result,
    Udhcpd, wait_for,
};

#[test]
fn machines_reach_each_other_and_what_lies_beyond() -> Result<()> {
    let lan = Lan::new()?;
    let extra = lan.add_node("peer2", "192.0.2.3/24")?;
    for target in [ROUTER_V4, PEER_V4] {
        extra.check(&["ping", "-c1", "-W2", target])?;
    }
    lan.router().check(&["ping", "-c1", "-W2", "2001:db8:1::2"])?;
    extra.check(&["ip", "route", "add", "default", "via", ROUTER_V4])?;
    extra.check(&["ping", "-c1", "-W2", BEYOND_V4])?;
    lan.set_cable(&extra, false)?;
    assert!(!extra.run(&["ping", "-c1", "-W1", PEER_V4]).success());
    Ok(())
}

#[test]
fn a_jumbo_lan_without_ipv6() -> Result<()> {
    let lan = Lan::builder().mtu(9000).no_ipv6().build()?;
    lan.peer().check(&["ping", "-c1", "-W2", "-M", "do", "-s", "8972", ROUTER_V4])?;
    assert!(lan.peer().addresses("eth0")?.iter().all(|net| net.addr().is_ipv4()));
    Ok(())
}

#[test]
fn dnsmasq_gives_a_lease_and_keeps_it_over_a_restart() -> Result<()> {
    let lan = Lan::new()?;
    let mut server = lan.dnsmasq(Dnsmasq::default())?;
    let client = lan.add_node_without_address("client")?;
    let address = client.dhcp("eth0")?;
    let mac = client.mac("eth0")?;
    assert_eq!(server.lease_of(&mac).map(|row| row.ip), Some(address.into()), "{}", server.log_tail());
    client.check(&["ping", "-c1", "-W2", PEER_V4])?;

    server.stop()?;
    assert_eq!(server.pid(), None);
    server.start()?;
    assert_eq!(client.dhcp("eth0")?, address);
    assert!(server.log().matches("DHCPDISCOVER").count() >= 2, "the log covers both runs");
    server.forget_leases()?;
    assert_eq!(server.leases(), []);
    Ok(())
}

#[test]
fn dnsmasq_announces_a_prefix() -> Result<()> {
    let lan = Lan::new()?;
    let _server = lan.dnsmasq(Dnsmasq { ra: Ra::Slaac, ..Dnsmasq::default() })?;
    let client = lan.add_node_without_address("client")?;
    wait_for("a SLAAC address", Duration::from_secs(15), || {
        client
            .addresses("eth0")
            .is_ok_and(|list| list.iter().any(|net| net.to_string().starts_with("2001:db8:1:")))
    })
}

#[test]
fn kea_gives_a_short_lease_and_honours_reservations() -> Result<()> {
    let lan = Lan::new()?;
    let client = lan.add_node_without_address("client")?;
    let mac = client.mac("eth0")?;
    let mut server = lan.kea(Kea { valid_lifetime: 20, ..Kea::default() })?;
    let address = client.dhcp("eth0")?;
    let lease = server.lease_of(&mac).expect("a lease");
    assert_eq!(lease.ip, address);

    let reservations = vec![Reservation::new(mac.clone(), "192.0.2.77")];
    server.reconfigure(&Kea { reservations, ..Kea::default() })?;
    server.forget_leases()?;
    assert_eq!(client.dhcp("eth0")?.to_string(), "192.0.2.77");
    Ok(())
}

#[test]
fn isc_dhcpd_gives_a_lease_and_keeps_it_over_a_restart() -> Result<()> {
    let lan = Lan::new()?;
    let mut server = lan.server_on(lan.router(), &Dhcpd::default())?;
    let client = lan.add_node_without_address("client")?;
    let address = client.dhcp("eth0")?;
    let mac = client.mac("eth0")?;
    assert_eq!(server.lease_of(&mac).map(|row| row.ip), Some(address.into()), "{}", server.log_tail());
    server.stop()?;
    server.start()?;
    assert_eq!(client.dhcp("eth0")?, address);
    server.forget_leases()?;
    assert_eq!(server.leases(), []);
    Ok(())
}

#[test]
fn udhcpd_gives_a_lease_and_honours_reservations() -> Result<()> {
    let lan = Lan::new()?;
    let client = lan.add_node_without_address("client")?;
    let mac = client.mac("eth0")?;
    let mut server = lan.server_on(lan.router(), &Udhcpd { arp_wait: 100, ..Udhcpd::default() })?;
    let address = client.dhcp("eth0")?;
    let lease = wait_for("the lease on disk", Duration::from_secs(10), || server.lease_of(&mac))?;
    assert_eq!(lease.ip, address);
    let hosts = vec![Reservation::new(mac, "192.0.2.77")];
    server.reconfigure(&Udhcpd { hosts, ..Udhcpd::default() })?;
    server.forget_leases()?;
    assert_eq!(client.dhcp("eth0")?.to_string(), "192.0.2.77");
    Ok(())
}

#[test]
fn a_relay_asks_a_server_elsewhere() -> Result<()> {
    let lan = Lan::new()?;
    let far = lan.add_far_node("far")?;
    let server = lan.server_on(&far, &Kea::default())?;
    let relay = lan.server_on(lan.router(), &DhcpRelay::default())?;
    let client = lan.add_node_without_address("client")?;
    let address = client.dhcp("eth0")?;
    let row = server.lease_at(address);
    assert_eq!(
        row.map(|row| row.mac),
        Some(client.mac("eth0")?),
        "{}{}",
        relay.log_tail(),
        server.log_tail()
    );
    client.check(&["ping", "-c1", "-W2", FAR_V4])?;
    Ok(())
}
