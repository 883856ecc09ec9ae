//! The IPv4 side of a link in a sandbox.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use landline_kernel::{Address, Link, Netlink, Netns, Route};
use landline_links::mark::{End, Mark, PROTOCOL};
use landline_links::routes::{Offer, plan};
use landline_links::{Sandbox, Task, Wanted};
use landline_model::{Applied, DefaultRecord, Holding};
use landline_options::EndpointId;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::lab::{enter, pair};
use crate::routes::cases;

struct Lab {
    netns: Netns,
    netlink: Netlink,
    mark: Mark,
    link: Link,
    tunnel: Link,
}

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

impl Lab {
    fn new() -> Self {
        let netns = Netns::create().unwrap();
        let mut netlink = Netlink::open_in(&netns).unwrap();
        let endpoint: EndpointId = "5".repeat(64).parse().unwrap();
        let mark = Mark::new(&endpoint, End::Container);
        let link = pair(&mut netlink, "eth0", Some(mark.to_string()));
        let tunnel = pair(&mut netlink, "tun0", None);
        Self { netns, netlink, mark, link, tunnel }
    }

    fn sandbox(&self) -> Sandbox {
        enter(&self.netns, &self.mark)
    }

    fn configure(&self, wanted: Option<&Wanted>, now: &mut Applied) -> bool {
        let task = Task { wanted, setting_up: false, shared: false };
        self.sandbox().configure(task, now).unwrap()
    }

    /// What Docker does at a start.
    fn docker_sets(&mut self, address: &str, gateway: &str) {
        let address = Address::new(self.link.index, net(address).into());
        self.netlink.add_address(&address).unwrap();
        let route = self.default(gateway, 3);
        self.netlink.add_route(&route).unwrap();
    }

    fn default(&self, gateway: &str, protocol: u8) -> Route {
        Route::via(Ipv4Net::default().into(), ip(gateway).into()).oif(self.link.index).protocol(protocol)
    }

    fn replace_by_tunnel(&mut self) -> Route {
        let route = Route::on_link(Ipv4Net::default().into(), self.tunnel.index).protocol(3);
        self.netlink.replace_route(&route).unwrap();
        self.defaults().remove(0)
    }

    fn defaults(&mut self) -> Vec<Route> {
        self.netlink.routes().unwrap().into_iter().filter(Route::is_default).collect()
    }

    fn addresses(&mut self) -> Vec<IpNet> {
        let all = self.netlink.addresses().unwrap();
        all.into_iter().filter(|a| a.index == self.link.index).map(|a| a.net).collect()
    }

    fn routes(&mut self) -> Vec<String> {
        let index = self.link.index;
        let all = self.netlink.routes().unwrap().into_iter();
        let here = all.filter(|r| r.oif == Some(index) && r.table == Route::MAIN_TABLE && r.protocol != 2);
        let text = |route: Route| match route.gateway {
            Some(gateway) => format!("{} {gateway}", route.destination),
            None => format!("{} link", route.destination),
        };
        let mut routes: Vec<String> = here.map(text).collect();
        routes.sort();
        routes
    }
}

fn wanted(address: &str, gateway: Option<&str>, routes: &[(&str, &str)]) -> Wanted {
    let address = net(address);
    let offer = Offer {
        gateway: None,
        defaults: gateway.map(ip).map(Some).into_iter().collect(),
        routes: routes.iter().map(|(to, by)| (net(to), Some(ip(by)))).collect(),
    };
    Wanted { address, routing: plan(address, &offer), mtu: None }
}

fn told(address: &str, gateway: &str) -> Applied {
    let gateway = Some(ip(gateway));
    let default = DefaultRecord { holding: Holding::Told, told: gateway, set: gateway };
    Applied { address: Some(net(address)), default, ..Applied::default() }
}

const A: &str = "192.0.2.60/24";
const ROUTER: &str = "192.0.2.1";

#[test]
fn a_route_that_the_kernel_refuses_stops_nothing() {
    let mut lab = Lab::new();
    let mut now = Applied::default();
    let mut one = wanted("10.5.0.61/24", Some("10.5.0.1"), &[("203.0.113.0/24", "10.5.0.2")]);
    // As the planner would never leave it.
    one.routing.routes.insert(0, (net("198.51.100.0/24"), Some(ip("172.31.0.1"))));
    now.default.holding = Holding::Open;
    lab.configure(Some(&one), &mut now);
    assert_eq!(lab.routes(), ["0.0.0.0/0 10.5.0.1", "203.0.113.0/24 10.5.0.2"]);
    assert_eq!(now.address, Some(one.address));
    assert_eq!(now.routes, [(net("203.0.113.0/24"), Some(ip("10.5.0.2")))]);
    let dropped: Vec<String> = now.dropped.iter().map(ToString::to_string).collect();
    assert!(dropped[0].starts_with("198.51.100.0/24 via 172.31.0.1: the kernel refused it: "), "{dropped:?}");
    lab.configure(None, &mut now);
    assert_eq!((lab.addresses().len(), lab.routes().len(), now.address), (0, 0, None));
}

#[test]
fn what_is_marked_is_removed_whatever_the_record_says() {
    let mut lab = Lab::new();
    let one = wanted(A, Some(ROUTER), &[("203.0.113.0/24", "192.0.2.2")]);
    lab.configure(Some(&one), &mut Applied::default());
    // Somebody else's address and route on the same link stay.
    let theirs = Address::new(lab.link.index, net("198.51.100.9/24").into());
    lab.netlink.add_address(&theirs).unwrap();
    let route = Route::via(net("10.0.0.0/8").into(), ip("198.51.100.1").into()).oif(lab.link.index);
    lab.netlink.add_route(&route).unwrap();
    lab.configure(None, &mut Applied::default());
    assert_eq!(lab.addresses(), [theirs.net]);
    assert_eq!(lab.routes(), ["10.0.0.0/8 198.51.100.1"]);
}

#[test]
fn dockers_default_route_is_taken_over_and_follows_the_server() {
    let mut lab = Lab::new();
    lab.docker_sets(A, ROUTER);
    let mut now = told(A, ROUTER);
    for gateway in [ROUTER, "192.0.2.2", "192.0.2.3"] {
        lab.configure(Some(&wanted(A, Some(gateway), &[])), &mut now);
        let there = lab.defaults();
        assert_eq!(there.len(), 1, "{there:?}");
        assert_eq!((there[0].gateway, there[0].protocol), (Some(ip(gateway).into()), PROTOCOL));
        assert!(now.default_route && now.default.holding == Holding::Ours);
    }
    lab.configure(Some(&wanted(A, None, &[])), &mut now);
    assert_eq!((lab.defaults().len(), now.default_route), (0, false));
    lab.configure(Some(&wanted(A, Some(ROUTER), &[])), &mut now);
    assert_eq!(lab.defaults().len(), 1);
}

#[test]
fn a_vpns_default_route_stays_through_all_that_happens() {
    for at_the_start in [true, false] {
        let mut lab = Lab::new();
        lab.docker_sets(A, ROUTER);
        let mut now = told(A, ROUTER);
        if !at_the_start {
            lab.configure(Some(&wanted(A, Some(ROUTER), &[])), &mut now);
        }
        let vpn = lab.replace_by_tunnel();
        for gateway in [Some(ROUTER), Some("192.0.2.2"), None, Some(ROUTER)] {
            lab.configure(Some(&wanted(A, gateway, &[])), &mut now);
            assert_eq!(lab.defaults(), std::slice::from_ref(&vpn));
        }
        // The address is lost, and another one comes.
        lab.configure(None, &mut now);
        lab.configure(Some(&wanted("192.0.2.61/24", Some(ROUTER), &[])), &mut now);
        assert_eq!(lab.defaults(), std::slice::from_ref(&vpn));
        // The tunnel goes: nothing leaks past it.
        assert!(lab.netlink.delete_route(&vpn).unwrap());
        lab.configure(Some(&wanted("192.0.2.61/24", Some(ROUTER), &[])), &mut now);
        assert_eq!(lab.defaults(), []);
    }
}

#[test]
fn a_kill_switch_holds_whatever_address_comes_next() {
    for expired_between in [true, false] {
        let mut lab = Lab::new();
        lab.docker_sets(A, ROUTER);
        let mut now = told(A, ROUTER);
        lab.configure(Some(&wanted(A, Some(ROUTER), &[])), &mut now);
        // Nobody has looked since when the address changes.
        let route = lab.defaults().remove(0);
        assert!(lab.netlink.delete_route(&route).unwrap());
        if expired_between {
            lab.configure(None, &mut now);
        }
        for address in ["192.0.2.61/24", "10.5.0.9/24"] {
            lab.configure(Some(&wanted(address, Some("10.5.0.1"), &[])), &mut now);
            assert_eq!(lab.defaults(), [], "{address}, expired between: {expired_between}");
        }
    }
}

#[test]
fn a_default_route_goes_and_comes_with_its_address() {
    let mut lab = Lab::new();
    lab.docker_sets(A, ROUTER);
    let mut now = told(A, ROUTER);
    lab.configure(Some(&wanted(A, Some(ROUTER), &[])), &mut now);
    // Another address in the same network, none, another network.
    lab.configure(Some(&wanted("192.0.2.61/24", Some(ROUTER), &[])), &mut now);
    assert_eq!(lab.routes(), ["0.0.0.0/0 192.0.2.1"]);
    lab.configure(None, &mut now);
    assert_eq!(lab.defaults(), []);
    lab.configure(Some(&wanted("10.5.0.9/24", Some("10.5.0.1"), &[])), &mut now);
    assert_eq!(lab.routes(), ["0.0.0.0/0 10.5.0.1"]);
    assert_eq!(lab.addresses(), [IpNet::V4(net("10.5.0.9/24"))]);
}

#[test]
fn a_late_default_route_gives_way_to_dockers() {
    let mut lab = Lab::new();
    let mut now = Applied::default();
    now.default.holding = Holding::Open;
    let on_link = Wanted { address: net(A), ..wanted(A, Some("192.0.2.60"), &[]) };
    lab.configure(Some(&on_link), &mut now);
    assert_eq!(lab.routes(), ["0.0.0.0/0 link"]);
    // Docker adds its own for a network that is connected, and fails where there is one like it.
    let others = Route::on_link(Ipv4Net::default().into(), lab.tunnel.index).protocol(3);
    lab.netlink.add_route(&others).unwrap();
    let best = lab.defaults().into_iter().min_by_key(|route| route.priority.unwrap_or(0)).unwrap();
    assert_eq!(best.oif, Some(lab.tunnel.index));
}

#[test]
fn docker_has_its_time_to_set_what_it_was_told() {
    let mut lab = Lab::new();
    lab.netlink.add_address(&Address::new(lab.link.index, net(A).into())).unwrap();
    let mut now = told(A, ROUTER);
    let one = wanted(A, Some(ROUTER), &[]);
    let task = Task { wanted: Some(&one), setting_up: true, shared: false };
    assert!(lab.sandbox().configure(task, &mut now).unwrap(), "it is to be looked at again");
    assert_eq!(lab.defaults(), []);
    lab.netlink.add_route(&lab.default(ROUTER, 3)).unwrap();
    assert!(!lab.sandbox().configure(task, &mut now).unwrap());
    assert_eq!(lab.defaults()[0].protocol, PROTOCOL);
}

#[test]
fn a_route_that_somebody_removed_stays_removed() {
    let mut lab = Lab::new();
    let mut now = Applied::default();
    let one = wanted(A, None, &[("203.0.113.0/24", "192.0.2.2")]);
    lab.configure(Some(&one), &mut now);
    let route = Route::via(net("203.0.113.0/24").into(), ip("192.0.2.2").into()).oif(lab.link.index);
    assert!(lab.netlink.delete_route(&Route { protocol: 0, ..route }).unwrap());
    lab.configure(Some(&one), &mut now);
    assert_eq!(lab.routes(), [""; 0]);
    // One to the same destination through a tunnel is not replaced either.
    let tunnel = Route::on_link(net("10.0.0.0/8").into(), lab.tunnel.index);
    lab.netlink.add_route(&tunnel).unwrap();
    lab.configure(Some(&wanted(A, None, &[("10.0.0.0/8", "192.0.2.2")])), &mut now);
    assert_eq!(
        now.dropped[0].to_string(),
        "10.0.0.0/8 via 192.0.2.2: the container has another route to the same destination"
    );
}

/// Whatever a server says at the start and at each renewal: everything that is planned is set, nothing is left of before, and
/// nothing raises an error.
#[test]
fn a_sandbox_takes_whatever_a_server_says_next() {
    const CASES: u32 = 100;
    let with_routes = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let lives = prop::collection::vec((cases(), any::<bool>()), 1..4);
    let tried = runner.run(&lives, |life| {
        // As when a container has started and Docker was told of no default route.
        let default = DefaultRecord { holding: Holding::Open, ..DefaultRecord::default() };
        let (mut lab, mut now) = (Lab::new(), Applied { default, ..Applied::default() });
        for (case, ends) in life {
            let wanted = Wanted { address: case.own, routing: case.routing(), mtu: None };
            // As it is when it comes, and when nothing has changed since.
            for _ in 0..2 {
                takes(&mut lab, &wanted, &mut now)?;
            }
            with_routes.set(with_routes.get() + u32::from(!wanted.routing.routes.is_empty()));
            if ends {
                let task = Task { wanted: None, setting_up: false, shared: false };
                let done = lab.sandbox().configure(task, &mut now);
                prop_assert!(done.is_ok(), "{done:?} after {wanted:?}");
                prop_assert_eq!((lab.addresses(), lab.routes()), (vec![], vec![]));
            }
        }
        Ok(())
    });
    tried.unwrap_or_else(|error| panic!("{error}"));
    assert!(with_routes.get() > CASES / 2, "the cases have hardly any routes");
}

fn takes(lab: &mut Lab, wanted: &Wanted, now: &mut Applied) -> Result<(), TestCaseError> {
    let done = lab.sandbox().configure(Task { wanted: Some(wanted), setting_up: false, shared: false }, now);
    prop_assert!(done.is_ok(), "{done:?} of {wanted:?}");
    prop_assert_eq!(&now.dropped, &wanted.routing.dropped, "the kernel refuses some of {:?}", wanted);
    prop_assert_eq!(lab.addresses(), [IpNet::V4(wanted.address)]);
    let text = |(to, hop): (Ipv4Net, Option<Ipv4Addr>)| match hop {
        Some(hop) => format!("{to} {hop}"),
        None => format!("{to} link"),
    };
    let default = wanted.routing.default.map(|hop| (Ipv4Net::default(), hop.router()));
    let mut routes: Vec<String> = wanted.routing.routes.iter().copied().chain(default).map(text).collect();
    routes.sort();
    prop_assert_eq!(lab.routes(), routes, "of {:?}, {:?}", wanted, now);
    Ok(())
}
