//! Addresses, routes, neighbours, rules.

use std::net::IpAddr;

use ipnet::IpNet;
use landline_kernel::{Address, LinkChange, Neighbour, NeighbourState, Route, RouteKind};

use crate::lab::{give, lab, mac, pair};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn addresses_come_and_go() {
    let (_ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    let v4 =
        Address::new(a.index, net("192.0.2.7/24")).protocol(70).broadcast("192.0.2.255".parse().unwrap());
    let v6 = Address::new(a.index, net("2001:db8::7/64")).protocol(70).no_dad();
    for address in [&v4, &v6] {
        netlink.add_address(address).unwrap();
        assert!(netlink.add_address(address).unwrap_err().exists());
        netlink.replace_address(address).unwrap();
    }
    let have = netlink.addresses().unwrap();
    assert_eq!(have.len(), 2);
    for (have, asked) in have.iter().zip([&v4, &v6]) {
        assert_eq!((have.index, have.net, have.protocol), (a.index, asked.net, 70));
        assert_eq!((have.peer, have.broadcast), (None, asked.broadcast));
        assert!(have.is_permanent() && !have.is_tentative() && !have.is_duplicate());
        assert!(netlink.delete_address(have).unwrap());
        assert!(!netlink.delete_address(have).unwrap());
    }
    assert_eq!(netlink.addresses().unwrap(), []);
    // No link, no address.
    assert!(!netlink.delete_address(&Address::new(4711, net("192.0.2.7/24"))).unwrap());
    assert!(netlink.add_address(&Address::new(4711, net("192.0.2.7/24"))).unwrap_err().gone());
}

#[test]
fn an_address_that_is_set_again_keeps_the_metric_of_its_route() {
    let (_ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    netlink.set_link(a.index, &LinkChange::new().up()).unwrap();
    let own = Address { metric: Some(1024), ..Address::new(a.index, net("192.0.2.7/24")) };
    netlink.add_address(&own).unwrap();
    let read = netlink.addresses().unwrap().into_iter().find(|read| read.net == own.net).unwrap();
    assert_eq!(read.metric, Some(1024));
    netlink.replace_address(&read).unwrap();
    let routes = netlink.routes().unwrap();
    let to_network = |route: &&Route| route.destination == net("192.0.2.0/24");
    let metrics: Vec<_> = routes.iter().filter(to_network).map(|route| route.priority).collect();
    assert_eq!(metrics, [Some(1024)]);
}

#[test]
fn an_address_may_be_deprecated_and_preferred_again() {
    let (_ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    let plain = Address::new(a.index, net("2001:db8::7/64")).protocol(70).no_dad();
    for address in [plain.clone().deprecated(), plain.clone(), plain.clone().deprecated()] {
        netlink.replace_address(&address).unwrap();
        let have = netlink.addresses().unwrap();
        assert_eq!(have.len(), 1, "{have:?}");
        assert_eq!((have[0].net, have[0].is_deprecated()), (plain.net, address.is_deprecated()));
        assert!(have[0].is_permanent());
    }
}

#[test]
fn an_address_may_come_without_its_route() {
    let (_ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    netlink.add_address(&Address::new(a.index, net("192.0.2.7/24")).no_prefix_route()).unwrap();
    let routes = netlink.routes().unwrap();
    assert!(routes.iter().all(|route| route.destination != net("192.0.2.0/24")), "{routes:?}");
    give(&mut netlink, a.index, "198.51.100.7/24");
    let routes = netlink.routes().unwrap();
    let prefix = routes.iter().find(|route| route.destination == net("198.51.100.0/24")).unwrap();
    assert_eq!((prefix.oif, prefix.gateway, prefix.protocol), (Some(a.index), None, 2));
    assert_eq!(prefix.source, Some(ip("198.51.100.7")));
    let local = routes.iter().find(|route| route.destination == net("198.51.100.7/32")).unwrap();
    assert_eq!((local.kind, local.table, local.scope), (RouteKind::Local, 255, 254));
}

#[test]
fn routes_come_and_go() {
    let (_ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    give(&mut netlink, a.index, "192.0.2.7/24");
    netlink.add_address(&Address::new(a.index, net("2001:db8::7/64")).no_dad()).unwrap();

    let mut v4 = Route::via(net("0.0.0.0/0"), ip("192.0.2.1")).protocol(70).priority(50).oif(a.index);
    v4.mtu = Some(1400);
    v4.source = Some(ip("192.0.2.7"));
    let v6 = Route::via(net("::/0"), ip("2001:db8::1")).protocol(70).priority(50).oif(a.index);
    let far = Route::on_link(net("203.0.113.0/24"), a.index).protocol(70).table(1000);
    let odd = Route::via(net("198.51.100.0/24"), ip("192.0.2.200")).onlink().oif(a.index).protocol(70);
    let six = Route::via(net("198.51.100.0/28"), ip("2001:db8::1")).oif(a.index).protocol(70);
    for route in [&v4, &v6, &far, &odd, &six] {
        netlink.add_route(route).unwrap();
        assert!(netlink.add_route(route).unwrap_err().exists(), "{route}");
        let have = netlink.routes().unwrap();
        let ours: Vec<_> = have.iter().filter(|have| have.protocol == 70).collect();
        assert_eq!(ours.len(), 1, "{ours:?}");
        // IPv4 reports no priority of zero.
        let expected = Route { priority: route.priority, ..route.clone() };
        assert_eq!(*ours[0], expected);
        assert!(netlink.delete_route(ours[0]).unwrap());
        assert!(!netlink.delete_route(route).unwrap());
    }
}

#[test]
fn replacing_a_route_leaves_one() {
    let (_ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    give(&mut netlink, a.index, "192.0.2.7/24");
    netlink.add_address(&Address::new(a.index, net("2001:db8::7/64")).no_dad()).unwrap();
    for (to, gateways) in
        [("0.0.0.0/0", ["192.0.2.1", "192.0.2.2"]), ("::/0", ["2001:db8::1", "2001:db8::2"])]
    {
        for gateway in gateways {
            netlink.replace_route(&Route::via(net(to), ip(gateway)).priority(7)).unwrap();
        }
        let routes = netlink.routes().unwrap();
        let defaults: Vec<_> = routes
            .iter()
            .filter(|route| route.is_default() && route.destination == net(to) && route.priority == Some(7))
            .collect();
        assert_eq!(defaults.len(), 1, "{defaults:?}");
        assert_eq!((defaults[0].gateway, defaults[0].multipath), (Some(ip(gateways[1])), false));
    }
}

#[test]
fn a_route_of_another_owner_is_not_deleted() {
    let (_ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    let theirs = Route::on_link(net("203.0.113.0/24"), a.index).protocol(4);
    netlink.add_route(&theirs).unwrap();
    assert!(!netlink.delete_route(&theirs.clone().protocol(70)).unwrap());
    assert!(netlink.routes().unwrap().contains(&theirs));
}

#[test]
fn neighbours_come_and_go() {
    let (_ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    for address in ["192.0.2.9", "2001:db8::9"].map(ip) {
        let neighbour = Neighbour::permanent(a.index, address, mac(9)).protocol(70);
        netlink.add_neighbour(&neighbour).unwrap();
        assert!(netlink.add_neighbour(&neighbour).unwrap_err().exists());
        let have = netlink.neighbours().unwrap();
        let have: Vec<_> = have.iter().filter(|have| have.state == NeighbourState::Permanent).collect();
        assert_eq!(have, [&neighbour]);

        let moved = Neighbour { mac: Some(mac(8)), ..neighbour };
        netlink.replace_neighbour(&moved).unwrap();
        assert!(netlink.neighbours().unwrap().contains(&moved));
        assert!(netlink.delete_neighbour(&moved).unwrap());

        let proxy = Neighbour::proxy(a.index, address).protocol(70);
        netlink.add_neighbour(&proxy).unwrap();
        assert_eq!(netlink.proxy_neighbours().unwrap(), std::slice::from_ref(&proxy));
        assert!(netlink.delete_neighbour(&proxy).unwrap());
        assert!(!netlink.delete_neighbour(&proxy).unwrap());
    }
}

#[test]
fn the_rules_every_namespace_has_are_read() {
    let (_ns, mut netlink) = lab();
    let rules = netlink.rules().unwrap();
    let local = rules.iter().find(|rule| !rule.v6 && rule.priority == 0).unwrap();
    assert_eq!((local.table, local.action, local.from), (255, 1, None));
    assert!(rules.iter().any(|rule| rule.v6 && rule.priority == 32766 && rule.table == 254));
}
