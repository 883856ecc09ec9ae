//! Whatever a server says, a kernel takes the routes that come out of it, all of them.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landline_dhcp::Instant;
use landline_dhcp::v4::{Lease, LeaseOptions, is_host};
use landline_kernel::{Address, Netlink, Netns, Route};
use landline_links::routes::{NextHop, Route4, Routing, for_docker, of_lease};
use landline_options::NetworkOptions;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::lab::pair;

/// How many servers' answers are tried.
const CASES: u32 = 3000;

/// A namespace with a link that is up.
struct Lab {
    _netns: Netns,
    netlink: Netlink,
    index: u32,
}

impl Lab {
    fn new() -> Self {
        let netns = Netns::create().unwrap();
        let mut netlink = Netlink::open_in(&netns).unwrap();
        let index = pair(&mut netlink, "a", None).index;
        Self { _netns: netns, netlink, index }
    }

    /// Sets the address and then these routes in this order, and removes them again. Says what was refused.
    fn takes(&mut self, address: Ipv4Net, routes: &[Route4], default: Option<NextHop>) -> Result<(), String> {
        let mut own = Address::new(self.index, address.into());
        if address.prefix_len() < 31 {
            own = own.broadcast(address.broadcast());
        }
        self.netlink.add_address(&own).map_err(|error| format!("{address}: {error:?}"))?;
        let default = default.map(|hop| (Ipv4Net::default(), hop.router()));
        let refused = routes.iter().copied().chain(default).find_map(|(destination, hop)| {
            let route = match hop {
                Some(hop) => Route::via(destination.into(), hop.into()).oif(self.index),
                None => Route::on_link(destination.into(), self.index),
            };
            self.netlink.add_route(&route).err().map(|error| format!("{route}: {error:?}"))
        });
        // With its last address a link loses its routes.
        self.netlink.delete_address(&own).map_err(|error| format!("{address}: {error:?}"))?;
        refused.map_or(Ok(()), Err)
    }
}

/// An address that means something to the one that is leased more often than not.
fn near(own: Ipv4Net) -> impl Strategy<Value = Ipv4Addr> {
    let bits = u32::from(own.addr());
    prop_oneof![
        4 => any::<u8>().prop_map(move |last| Ipv4Addr::from(bits & !0xff | u32::from(last))),
        2 => any::<u16>().prop_map(move |last| Ipv4Addr::from(bits & !0xffff | u32::from(last))),
        4 => (0u32..12).prop_map(|n| Ipv4Addr::from(0x0a01_0101 + n % 4 + ((n / 4) << 16))),
        1 => Just(own.addr()),
        1 => Just(own.broadcast()),
        1 => Just(own.network()),
        1 => Just(Ipv4Addr::UNSPECIFIED),
        2 => any::<u32>().prop_map(Ipv4Addr::from),
    ]
}

fn prefix() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(32u8), 3 => 8u8..=32, 1 => 0u8..=32]
}

fn leased() -> impl Strategy<Value = Ipv4Net> {
    let mask = prop_oneof![4 => Just(24u8), 1 => Just(32), 1 => Just(31), 1 => Just(1), 3 => 1u8..=32];
    let usable = |net: &Ipv4Net| {
        let special = net.addr() == net.network() || net.addr() == net.broadcast();
        is_host(net.addr()) && (net.prefix_len() >= 31 || !special)
    };
    (any::<u32>(), mask)
        .prop_map(|(bits, len)| Ipv4Net::new_assert(bits.into(), len))
        .prop_filter("an address that the client takes", usable)
}

/// What a server says, as the options it says it with.
fn options(own: Ipv4Net) -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let routers = prop::collection::vec(near(own), 0..4)
        .prop_map(|all| (3, all.iter().flat_map(Ipv4Addr::octets).collect::<Vec<u8>>()));
    let statics = prop::collection::vec((near(own), near(own)), 0..6).prop_map(|all| {
        (33, all.iter().flat_map(|(to, by)| [to.octets(), by.octets()].concat()).collect::<Vec<u8>>())
    });
    let classless = |code| {
        prop::collection::vec((near(own), prefix(), near(own)), 0..10).prop_map(move |all| {
            let mut value = Vec::new();
            for (to, len, by) in all {
                value.push(len);
                value.extend(&to.octets()[..usize::from(len.div_ceil(8))]);
                value.extend(by.octets());
            }
            (code, value)
        })
    };
    let noise = (prop::sample::select(vec![3u8, 33, 121, 249]), prop::collection::vec(any::<u8>(), 0..60));
    let some = |one: BoxedStrategy<(u8, Vec<u8>)>| prop::option::weighted(0.7, one);
    let one_kind = (
        some(routers.boxed()),
        some(statics.boxed()),
        some(classless(121).boxed()),
        prop::option::weighted(0.2, classless(249)),
        prop::option::weighted(0.1, noise),
    );
    one_kind.prop_map(|(a, b, c, d, e)| [a, b, c, d, e].into_iter().flatten().collect())
}

fn lease(own: Ipv4Net, options: Vec<(u8, Vec<u8>)>) -> Lease {
    Lease {
        address: own.addr(),
        prefix_len: own.prefix_len(),
        server: Ipv4Addr::new(192, 0, 2, 1),
        obtained: Instant::from_boot(std::time::Duration::ZERO),
        t1: None,
        t2: None,
        expires: None,
        options: LeaseOptions::from_raw(options),
    }
}

/// Everything that decides on a container's routes.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The leased address.
    pub(crate) own: Ipv4Net,
    options: Vec<(u8, Vec<u8>)>,
    gateway: Option<Ipv4Addr>,
    copied: Vec<(Ipv4Addr, u8, Option<Ipv4Addr>)>,
}

impl Case {
    pub(crate) fn routing(&self) -> Routing {
        let mut network = NetworkOptions::new("br0".parse().unwrap());
        network.gateway = self.gateway;
        let copied = self.copied.iter().map(|&(to, len, by)| (Ipv4Net::new_assert(to, len).trunc(), by));
        let copied: Vec<Route4> = copied.filter(|(to, _)| to.prefix_len() != 0).collect();
        of_lease(&lease(self.own, self.options.clone()), &network, &copied)
    }
}

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    leased().prop_flat_map(|own| {
        let copied = prop::collection::vec((near(own), prefix(), prop::option::of(near(own))), 0..3);
        let all = (Just(own), options(own), prop::option::weighted(0.2, near(own)), copied);
        all.prop_map(|(own, options, gateway, copied)| Case { own, options, gateway, copied })
    })
}

#[test]
fn a_kernel_takes_what_comes_out_of_any_options() {
    let mut lab = Lab::new();
    let mut kinds = [0u32; 4];
    // All cases share the namespace, and so a thread.
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let lab = std::cell::RefCell::new(&mut lab);
    let count = std::cell::RefCell::new(&mut kinds);
    let tried = runner.run(&cases(), |case| {
        let (own, routing) = (case.own, case.routing());
        let Routing { default, routes, dropped } = &routing;
        let taken = lab.borrow_mut().takes(own, routes, *default);
        prop_assert!(taken.is_ok(), "{taken:?} of {routing:?}");

        // And so what Docker gets of it, which it sets in this order.
        let (gateway, told) = for_docker(own, &routing, &[]);
        let taken = lab.borrow_mut().takes(own, &told, gateway.map(NextHop::Router));
        prop_assert!(taken.is_ok(), "Docker: {taken:?} of {told:?} {gateway:?}");

        let mut count = count.borrow_mut();
        count[0] += u32::from(!routes.is_empty());
        count[1] += u32::from(!dropped.is_empty());
        count[2] += u32::from(*default == Some(NextHop::Link));
        count[3] += u32::from(routes.iter().any(|(_, hop)| hop.is_some_and(|hop| !own.contains(&hop))));
        Ok(())
    });
    tried.unwrap_or_else(|error| panic!("{error}"));
    // The cases are worth something.
    let [set, dropped, on_link, elsewhere] = kinds;
    assert!(set > CASES / 2 && dropped > CASES / 2 && on_link > CASES / 100, "{kinds:?}");
    assert!(elsewhere > CASES / 50, "{kinds:?}");
}
