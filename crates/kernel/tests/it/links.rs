//! Links: what one request makes, what moving and deleting do.

use landline_kernel::sysctl::{self, Family};
use landline_kernel::{
    Event, Group, IpvlanMode, LinkChange, LinkKind, MacvlanMode, Monitor, Netlink, Netns, NewLink,
    NewLinkKind, PeerLink,
};
use landline_types::Mac;
use tokio::time::timeout;

use crate::lab::{DEADLINE, lab, link, mac, name, pair};

fn macvlan(text: &str, parent: u32, mac: Mac) -> NewLink {
    let mut new = NewLink::new(name(text), NewLinkKind::Macvlan { parent, mode: MacvlanMode::Bridge });
    new.mac = Some(mac);
    new.up = true;
    new
}

fn bridge(netlink: &mut Netlink) -> u32 {
    netlink.add_link(&NewLink::new(name("br0"), NewLinkKind::Bridge)).unwrap();
    link(netlink, "br0").index
}

fn setting(ns: &Netns, family: Family, text: &str, key: &str) -> String {
    ns.run(|| sysctl::get(family, &name(text), key)).unwrap().unwrap()
}

#[test]
fn a_veth_is_made_whole() {
    let (ns, mut netlink) = lab();
    let port_of = bridge(&mut netlink);
    let host = Mac::new([0xfe, 0, 0, 0, 0, 1]);
    let peer = PeerLink {
        mac: Some(mac(7)),
        mtu: Some(1400),
        alias: Some("landline peer".into()),
        arp_ignore: Some(8),
        addr_gen_none: true,
        up: true,
        ..PeerLink::new(name("peer"))
    };
    let mut new = NewLink::new(name("host"), NewLinkKind::Veth { peer });
    new.mac = Some(host);
    new.mtu = Some(1400);
    new.controller = Some(port_of);
    new.alias = Some("landline host".into());
    new.addr_gen_none = true;
    new.up = true;
    netlink.add_link(&new).unwrap();

    let (host_end, peer_end) = (link(&mut netlink, "host"), link(&mut netlink, "peer"));
    assert_eq!((host_end.mac, host_end.mtu), (Some(host), 1400));
    assert_eq!((peer_end.mac, peer_end.mtu), (Some(mac(7)), 1400));
    assert_eq!((&host_end.kind, host_end.controller), (&LinkKind::Veth, Some(port_of)));
    assert_eq!(host_end.alias.as_deref(), Some("landline host"));
    assert_eq!(peer_end.alias.as_deref(), Some("landline peer"));
    assert!(host_end.up && peer_end.up && peer_end.lower_up && peer_end.running && peer_end.ethernet);
    assert_eq!((host_end.parent, peer_end.parent), (Some(peer_end.index), Some(host_end.index)));
    assert_eq!(setting(&ns, Family::V4, "peer", "arp_ignore"), "8");
    assert_eq!(setting(&ns, Family::V4, "host", "arp_ignore"), "0");
    assert_eq!(setting(&ns, Family::V6, "host", "addr_gen_mode"), "1");
    assert_eq!(setting(&ns, Family::V6, "peer", "addr_gen_mode"), "1");
    assert_eq!(netlink.link_by_index(peer_end.index).unwrap(), Some(peer_end));
}

/// Not every kernel has every kind; what it has is made as asked, and the rest is refused as unsupported.
#[test]
fn the_kinds_this_kernel_has_are_made() {
    let (_ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    let on = |kind| NewLink::new(name("x"), kind);
    let kinds = [
        (on(NewLinkKind::Dummy), LinkKind::Dummy, None),
        (on(NewLinkKind::Bridge), LinkKind::Bridge { vlan_filtering: false }, None),
        (on(NewLinkKind::Vlan { parent: a.index, id: 42 }), LinkKind::Vlan { id: 42 }, Some(a.index)),
        (
            on(NewLinkKind::Ipvlan { parent: a.index, mode: IpvlanMode::L2 }),
            LinkKind::Ipvlan { mode: Some(IpvlanMode::L2) },
            Some(a.index),
        ),
        (
            on(NewLinkKind::Macvlan { parent: a.index, mode: MacvlanMode::Private }),
            LinkKind::Macvlan { mode: Some(MacvlanMode::Private) },
            Some(a.index),
        ),
    ];
    let mut made = Vec::new();
    for (new, kind, parent) in kinds {
        if let Err(error) = netlink.add_link(&new) {
            assert!(error.unsupported(), "{error:?}");
            continue;
        }
        let link = link(&mut netlink, "x");
        assert_eq!((&link.kind, link.parent, link.up), (&kind, parent, false));
        netlink.delete_link(link.index).unwrap();
        made.push(kind);
    }
    assert!(made.contains(&LinkKind::Bridge { vlan_filtering: false }), "only {made:?}");
}

#[test]
fn nothing_is_left_of_a_link_that_cannot_be_finished() {
    let (_ns, mut netlink) = lab();
    let mut new = NewLink::new(name("a"), NewLinkKind::Veth { peer: PeerLink::new(name("b")) });
    new.alias = Some("x".repeat(256));
    let error = netlink.add_link(&new).unwrap_err();
    assert_eq!(error.asked(), "change link a (set alias)");
    assert_eq!(netlink.links().unwrap().len(), 1);
}

#[test]
fn errors_say_what_was_asked_and_what_the_kernel_thinks() {
    let (_ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    let error = netlink.add_link(&macvlan("b", a.index, mac(1))).unwrap_err();
    assert!(error.exists(), "{error:?}");
    assert_eq!(error.asked(), format!("create macvlan b on link number {}", a.index));

    let error = netlink.add_link(&macvlan("m", 4711, mac(1))).unwrap_err();
    assert!(error.gone(), "{error:?}");

    let error = netlink.set_link(4711, &LinkChange::new().up()).unwrap_err();
    assert!(error.gone(), "{error:?}");
    assert_eq!(error.to_string(), "cannot change link number 4711 (bring up)");

    // The kernel's own words: a bridge cannot be a port of a bridge.
    let port_of = bridge(&mut netlink);
    netlink.add_link(&NewLink::new(name("br1"), NewLinkKind::Bridge)).unwrap();
    let inner = link(&mut netlink, "br1").index;
    let error = netlink.set_link(inner, &LinkChange::new().controller(Some(port_of))).unwrap_err();
    assert!(error.said_by_kernel().is_some_and(|said| said.contains("bridge")), "{error}");
}

#[test]
fn two_macvlans_cannot_be_up_with_one_hardware_address() {
    let (_ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    netlink.add_link(&macvlan("m1", a.index, mac(1))).unwrap();
    let first = link(&mut netlink, "m1");
    assert_eq!((first.mac, first.mtu, first.parent), (Some(mac(1)), a.mtu, Some(a.index)));
    assert_eq!(first.kind, LinkKind::Macvlan { mode: Some(MacvlanMode::Bridge) });

    let error = netlink.add_link(&macvlan("m2", a.index, mac(1))).unwrap_err();
    assert!(error.addr_in_use(), "{error:?}");
    assert_eq!(netlink.link_by_name(&name("m2")).unwrap(), None, "left behind");

    // Deleting waits until the link is gone, so the successor can be up at once.
    for _ in 0..10 {
        let index = link(&mut netlink, "m1").index;
        assert!(netlink.delete_link(index).unwrap());
        netlink.add_link(&macvlan("m1", a.index, mac(1))).unwrap();
    }
}

#[test]
fn a_port_cannot_carry_macvlans() {
    let (_ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    let port_of = bridge(&mut netlink);
    netlink.set_link(a.index, &LinkChange::new().controller(Some(port_of))).unwrap();
    let error = netlink.add_link(&macvlan("m", a.index, mac(1))).unwrap_err();
    assert!(error.busy(), "{error:?}");
    netlink.set_link(a.index, &LinkChange::new().controller(None)).unwrap();
    netlink.add_link(&macvlan("m", a.index, mac(1))).unwrap();
}

#[test]
fn deleting_is_over_when_it_returns_and_takes_the_peer_along() {
    let (_ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    assert!(netlink.delete_link(a.index).unwrap());
    assert_eq!(netlink.link_by_index(a.index).unwrap(), None);
    assert_eq!(netlink.link_by_index(b.index).unwrap(), None);
    assert!(!netlink.delete_link(a.index).unwrap());
    pair(&mut netlink);
}

#[test]
fn a_moved_link_keeps_index_address_and_mtu_but_not_its_settings() {
    let (_ns, mut netlink) = lab();
    let (elsewhere, mut there) = lab();
    let (a, _) = pair(&mut netlink);
    let marked = LinkChange::new().alias("landline").arp_ignore(8).mtu(1400);
    netlink.set_link(a.index, &marked).unwrap();

    let moved = LinkChange::new().netns(&elsewhere).name(name("eth7"));
    netlink.set_link(a.index, &moved).unwrap();
    assert_eq!(netlink.link_by_index(a.index).unwrap(), None);
    let arrived = link(&mut there, "eth7");
    assert_eq!((arrived.index, arrived.mac, arrived.mtu), (a.index, a.mac, 1400));
    assert!(!arrived.up);
    assert_eq!(arrived.alias.as_deref(), Some("landline"));
    assert!(arrived.parent_netns.is_some(), "its peer is elsewhere");
    assert_eq!(setting(&elsewhere, Family::V4, "eth7", "arp_ignore"), "0");
}

#[test]
fn a_taken_index_is_replaced_by_another() {
    let (_ns, mut netlink) = lab();
    let (elsewhere, mut there) = lab();
    let (a, _) = pair(&mut netlink);
    pair(&mut there);
    netlink.set_link(a.index, &LinkChange::new().netns(&elsewhere).name(name("c"))).unwrap();
    assert_ne!(link(&mut there, "c").index, a.index);
}

#[test]
fn a_link_may_move_and_come_up_in_one_request() {
    let (_ns, mut netlink) = lab();
    let (elsewhere, mut there) = lab();
    let (a, _) = pair(&mut netlink);
    netlink.set_link(a.index, &LinkChange::new().netns(&elsewhere).up()).unwrap();
    assert!(link(&mut there, "a").up);
}

#[test]
fn settings_that_must_precede_up_do_not_go_with_a_move() {
    let (_ns, mut netlink) = lab();
    let (elsewhere, _) = lab();
    let (a, _) = pair(&mut netlink);
    let both = LinkChange::new().netns(&elsewhere).arp_ignore(8).up();
    assert_eq!(netlink.set_link(a.index, &both).unwrap_err().errno(), None);
    assert!(netlink.link_by_index(a.index).unwrap().is_some(), "moved all the same");
}

#[test]
fn changes_change_and_the_empty_one_does_not() {
    let (_ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    netlink.set_link(a.index, &LinkChange::new()).unwrap();
    assert_eq!(netlink.link_by_index(a.index).unwrap().unwrap(), a);

    let change = LinkChange::new().down().mac(mac(3)).mtu(1300).alias("x").arp(false);
    netlink.set_link(a.index, &change).unwrap();
    let changed = netlink.link_by_index(a.index).unwrap().unwrap();
    assert_eq!((changed.up, changed.mac, changed.mtu), (false, Some(mac(3)), 1300));
    assert_eq!(changed.alias.as_deref(), Some("x"));
    assert_ne!(changed.flags & libc::IFF_NOARP.cast_unsigned(), 0);

    let change = LinkChange { promiscuous: Some(true), ..LinkChange::new().up().arp(true).alias("") };
    netlink.set_link(a.index, &change).unwrap();
    let changed = netlink.link_by_index(a.index).unwrap().unwrap();
    assert_eq!((changed.up, changed.alias, changed.promiscuity), (true, None, 1));
    assert_eq!(changed.flags & libc::IFF_NOARP.cast_unsigned(), 0);
}

#[tokio::test]
async fn addrgenmode_none_keeps_a_link_without_address() {
    let (ns, mut netlink) = lab();
    let mut events = Monitor::open_in(&ns, &[Group::Addresses]).unwrap();
    let new = NewLink::new(name("a"), NewLinkKind::Veth { peer: PeerLink::new(name("b")) });
    netlink.add_link(&new).unwrap();
    let (a, b) = (link(&mut netlink, "a").index, link(&mut netlink, "b").index);
    netlink.set_link(a, &LinkChange::new().addr_gen_none().up()).unwrap();
    netlink.set_link(b, &LinkChange::new().up()).unwrap();
    // The other end gets its address once both have carrier; this one then would have had its own.
    loop {
        if let Event::AddressNew(address) = timeout(DEADLINE, events.next()).await.unwrap() {
            assert_eq!(address.index, b);
            break;
        }
    }
    assert!(netlink.addresses().unwrap().iter().all(|have| have.index == b));
}
