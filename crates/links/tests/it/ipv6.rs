//! The IPv6 side of a link in a sandbox.

use ipnet::IpNet;
use landline_dhcp::Random;
use landline_dhcp::v6::{Address as Held, OnLink, Origin, Preference, Router, State6};
use landline_kernel::sysctl::{self, Family};
use landline_kernel::{Address, Netlink, Netns, Route};
use landline_links::mark::{End, Mark, PROTOCOL};
use landline_links::{Sandbox, Task6};
use landline_model::{Defaults6, Ipv6Identity, Ipv6Record};
use landline_options::EndpointId;
use landline_types::Mac;

use crate::lab::{enter, pair};

/// Nothing here depends on what is drawn.
struct Sevens;

impl Random for Sevens {
    fn next_u32(&mut self) -> u32 {
        7
    }
}

struct Lab {
    netns: Netns,
    mark: Mark,
}

impl Lab {
    /// A link that Docker has set up without an IPv6 address.
    fn new() -> Self {
        let netns = Netns::create().unwrap();
        let endpoint: EndpointId = "6".repeat(64).parse().unwrap();
        let mark = Mark::new(&endpoint, End::Container);
        pair(&mut Netlink::open_in(&netns).unwrap(), "eth0", Some(mark.to_string()));
        let lab = Self { netns, mark };
        lab.switch("1");
        lab
    }

    fn sandbox(&self) -> Sandbox {
        enter(&self.netns, &self.mark)
    }

    /// Somebody writes `disable_ipv6`.
    fn switch(&self, value: &str) {
        assert!(self.sandbox().set_v6("disable_ipv6", value));
    }

    fn is_off(&self) -> bool {
        let name = self.sandbox().link.name;
        self.netns.run(|| sysctl::get(Family::V6, &name, "disable_ipv6")).unwrap().unwrap() == "1"
    }

    fn configure(&self, state: &State6, now: &mut Ipv6Record) {
        let task = Task6 { state, skip_routes: false, shared: false };
        self.sandbox().configure_v6(task, now).unwrap();
    }

    fn addresses(&self) -> Vec<String> {
        let all = self.sandbox().addresses_v6().unwrap();
        let mut nets: Vec<String> = all.into_iter().map(|address| address.net.to_string()).collect();
        nets.sort();
        nets
    }

    /// The link's routes that nobody but Landline sets here.
    fn routes(&self) -> Vec<String> {
        let mut sandbox = self.sandbox();
        let index = sandbox.link.index;
        let all = sandbox.netlink.routes().unwrap().into_iter();
        let marked = all.filter(|route| route.oif == Some(index) && route.protocol == PROTOCOL);
        let mut routes: Vec<String> = marked
            .map(|route| match route.gateway {
                Some(gateway) => format!("{} {gateway}", route.destination),
                None => format!("{} link", route.destination),
            })
            .collect();
        routes.sort();
        routes
    }
}

/// A state with this address and this default router.
fn state(address: &str, router: &str) -> State6 {
    let held = Held {
        net: address.parse().unwrap(),
        origin: Origin::Router,
        deprecated: false,
        preferred_until: None,
        valid_until: None,
    };
    State6 {
        addresses: vec![held],
        routers: vec![Router {
            address: router.parse().unwrap(),
            preference: Preference::default(),
            until: None,
        }],
        ..State6::default()
    }
}

fn record() -> Ipv6Record {
    let mac = Mac::new([2, 0, 0, 0, 0, 6]);
    Ipv6Record {
        identity: Ipv6Identity::draw(mac, false, None, &mut Sevens),
        hostname: None,
        hostname_given: false,
        told: None,
        applied: Vec::new(),
        defaults: Defaults6::default(),
        routes: Vec::new(),
        switched_on: false,
    }
}

const A: &str = "2001:db8:a::60/64";
const B: &str = "2001:db8:b::60/64";
const ROUTER: &str = "fe80::1";

#[test]
fn ipv6_is_switched_on_once_and_not_when_somebody_inside_has_switched_it_off() {
    let (lab, mut now) = (Lab::new(), record());
    lab.configure(&state(A, ROUTER), &mut now);
    assert_eq!((lab.is_off(), lab.addresses()), (false, vec![A.to_owned()]));
    assert_eq!(lab.routes(), ["::/0 fe80::1"]);

    lab.switch("1");
    for address in [A, B, A, B] {
        let state = State6 { mtu: Some(1400), ..state(address, ROUTER) };
        lab.configure(&state, &mut now);
        assert!(lab.is_off(), "it was switched on again");
        assert_eq!((lab.addresses(), lab.routes()), (Vec::new(), Vec::new()));
        assert!(now.defaults.foreign, "{now:?}");
    }

    // Somebody inside wants it again. Its default routes are theirs from now on.
    lab.switch("0");
    lab.configure(&state(B, ROUTER), &mut now);
    assert_eq!((lab.addresses(), lab.routes()), (vec![B.to_owned()], Vec::new()));
}

/// `landline attach br0 web dhcp ADDRESS@GATEWAY ipv6=true`.
#[test]
fn what_an_attachment_has_set_itself_stays_and_what_the_state_had_goes() {
    let (lab, mut now) = (Lab::new(), record());
    lab.switch("0");
    let (own, gateway, index) = ("2001:db8:5::77/64", "2001:db8:5::2", lab.sandbox().link.index);
    let mut netlink = Netlink::open_in(&lab.netns).unwrap();
    let address = Address::new(index, own.parse().unwrap()).protocol(PROTOCOL).no_dad();
    netlink.add_address(&address).unwrap();
    let everywhere: IpNet = "::/0".parse().unwrap();
    let default = Route::via(everywhere, gateway.parse().unwrap()).oif(index).protocol(PROTOCOL);
    netlink.add_route(&default).unwrap();

    let on_link = |prefix: &str, state: State6| {
        let on_link = OnLink { prefix: prefix.parse().unwrap(), until: None };
        State6 { on_link: vec![on_link], ..state }
    };
    let configure = |state: &State6, now: &mut Ipv6Record| {
        let task = Task6 { state, skip_routes: false, shared: true };
        lab.sandbox().configure_v6(task, now).unwrap();
    };
    let own_default = format!("::/0 {gateway}");
    for _ in 0..2 {
        configure(&on_link("2001:db8:c::/64", state(A, ROUTER)), &mut now);
        assert_eq!(lab.addresses(), [own, A]);
        assert_eq!(lab.routes(), ["2001:db8:c::/64 link", &*own_default, "::/0 fe80::1"]);
    }
    configure(&on_link("2001:db8:d::/64", state(B, "fe80::9")), &mut now);
    assert_eq!(lab.addresses(), [own, B]);
    assert_eq!(lab.routes(), ["2001:db8:d::/64 link", &*own_default, "::/0 fe80::9"]);
    assert!(!now.defaults.foreign);
    configure(&State6::default(), &mut now);
    assert_eq!((lab.addresses(), lab.routes()), (vec![own.to_owned()], vec![own_default]));
    assert_eq!((now.applied, now.routes), (Vec::new(), Vec::new()));
}
