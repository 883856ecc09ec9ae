//! Default routes that attachments replace and put back, in a namespace that is lists.

use landline_kernel::LinkKind;
use landline_links::Namespaces;
use landline_links::fake::{FakeNamespaces, Refused, link};

use super::*;

const V4: &str = "0.0.0.0/0";
const V6: &str = "::/0";

/// A container with an interface of Docker's, one of an attachment's, and a tunnel.
struct Container(FakeNamespaces);

impl Container {
    fn new() -> Self {
        let fake = FakeNamespaces::default();
        fake.host(|inside| {
            inside.links.push(link(2, "eth0", LinkKind::Veth));
            inside.links.push(link(7, "eth1", LinkKind::Veth));
            inside.links.push(link(9, "tun0", LinkKind::Tun));
            inside.routes.push(Route::via(net(V4), "192.0.2.1".parse().unwrap()).oif(2).protocol(3));
        });
        Self(fake)
    }

    fn netlink(&self) -> Box<dyn Namespace> {
        Namespaces::host(&self.0).unwrap()
    }

    /// What an attachment does that comes with a default route: it writes down what is there, and sets its own.
    fn attach(&self) -> Vec<SavedRoute> {
        let replaced = defaults(&mut *self.netlink(), 7, true, true).unwrap();
        self.netlink().replace_route(&own(V4)).unwrap();
        replaced
    }

    /// Its interface goes, and what is put back then.
    fn detach(&self, replaced: Vec<SavedRoute>) -> Vec<String> {
        let held = held(&mut *self.netlink(), 7, replaced).unwrap();
        self.0.host(|inside| inside.remove_link(7));
        put_back(&mut *self.netlink(), held).unwrap();
        self.routes()
    }

    fn routes(&self) -> Vec<String> {
        self.0.host(|inside| inside.routes.iter().map(ToString::to_string).collect())
    }

    /// Somebody in the container changes its routes.
    fn change(&self, change: impl FnOnce(&mut Vec<Route>)) {
        self.0.host(|inside| change(&mut inside.routes));
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// The attachment's own default route.
fn own(to: &str) -> Route {
    Route::on_link(net(to), 7).protocol(PROTOCOL)
}

#[test]
fn a_replaced_default_route_comes_back() {
    let container = Container::new();
    let before = container.routes();
    let replaced = container.attach();
    assert_eq!(container.routes(), [own(V4).to_string()]);
    assert_eq!(container.detach(replaced), before);
}

#[test]
fn a_route_that_a_vpn_has_replaced_does_not_come_back() {
    let container = Container::new();
    let replaced = container.attach();
    let vpn = Route::on_link(net(V4), 9).protocol(3);
    container.change(|routes| *routes = vec![vpn.clone()]);
    assert_eq!(container.detach(replaced), [vpn.to_string()]);
}

#[test]
fn a_route_that_a_kill_switch_has_removed_does_not_come_back() {
    let container = Container::new();
    let replaced = container.attach();
    container.change(Vec::clear);
    assert_eq!(container.detach(replaced), [""; 0]);
}

/// One that came later, with another metric, stays the only one.
#[test]
fn a_default_route_that_somebody_set_since_then_stays_the_only_one() {
    let container = Container::new();
    let replaced = container.attach();
    let theirs = Route::on_link(net(V4), 9).protocol(3).priority(50);
    container.change(|routes| routes.push(theirs.clone()));
    assert_eq!(container.detach(replaced), [theirs.to_string()]);
}

#[test]
fn a_route_whose_interface_is_gone_stays_gone() {
    let container = Container::new();
    let replaced = container.attach();
    container.0.host(|inside| inside.remove_link(2));
    assert_eq!(container.detach(replaced), [""; 0]);
}

#[test]
fn only_what_a_new_default_route_takes_the_place_of_counts_as_replaced() {
    let container = Container::new();
    let via = |to: &str, by: &str| Route::via(net(to), by.parse().unwrap());
    container.change(|routes| {
        routes.push(via(V4, "192.0.2.2").oif(9).priority(100));
        routes.push(via(V4, "192.0.2.3").oif(9).table(7));
        routes.push(via(V6, "2001:db8::1").oif(2).priority(1024));
        routes.push(via(V6, "2001:db8::2").oif(9).priority(50));
        routes.push(via("198.51.100.0/24", "192.0.2.4").oif(2));
        routes.push(own(V4));
    });
    let replaced = |v4, v6| -> Vec<String> {
        let all = defaults(&mut *container.netlink(), 7, v4, v6).unwrap();
        all.iter().filter_map(|route| route.gateway).map(|gateway| gateway.to_string()).collect()
    };
    assert_eq!(replaced(true, true), ["192.0.2.1", "2001:db8::1"]);
    assert_eq!(replaced(true, false), ["192.0.2.1"]);
    assert_eq!(replaced(false, true), ["2001:db8::1"]);
    assert_eq!(replaced(false, false), [""; 0]);
}

#[test]
fn what_the_kernel_refuses_is_told_and_one_that_is_there_is_not() {
    let container = Container::new();
    let replaced = container.attach();
    container.0.host(|inside| inside.remove_link(7));
    container.0.refuse(Some(Refused::Only(0)));
    assert!(restore(&mut *container.netlink(), &replaced).is_err());
    container.0.refuse(None);
    for _ in 0..2 {
        restore(&mut *container.netlink(), &replaced).unwrap();
        assert_eq!(container.routes().len(), 1);
    }
}

#[test]
fn what_was_replaced_is_held_only_by_the_attachments_own() {
    let before = saved(&Route::on_link(net(V4), 2), &[]);
    assert!(is_held(&before, &[own(V4)], 7));
    // Removed; of the other family; replaced through this link or by a tunnel; in another table; blocked.
    let blocked = Route { kind: RouteKind::Unreachable, ..own(V4) };
    let by_hand = own(V4).protocol(3);
    for there in [own(V6), by_hand, Route { oif: Some(9), ..own(V4) }, own(V4).table(7), blocked] {
        assert!(!is_held(&before, std::slice::from_ref(&there), 7), "{there}");
    }
    assert!(!is_held(&before, &[], 7));
}

#[test]
fn a_free_name_is_the_first_that_nobody_has() {
    let names = |all: &[&str]| all.iter().map(|name| name.parse().unwrap()).collect::<Vec<IfName>>();
    assert_eq!(free_name(&names(&[])).as_str(), "eth0");
    assert_eq!(free_name(&names(&["lo", "eth0", "eth2"])).as_str(), "eth1");
    assert_eq!(free_name(&names(&["eth1", "eth0", "eth2"])).as_str(), "eth3");
}
