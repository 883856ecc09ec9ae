//! Servers whose routes no kernel takes as they are: the container starts, has what can be had, and people can read what
//! it does not have, and why.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use landline_testbed::{DhcpKind, DhcpMessage, FakeServer, Reply, wait_for};

use crate::world::{Result, SOON, World};

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const FIRST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 60);

pub(crate) type Options = Vec<(u8, Vec<u8>)>;

/// What the server says next.
#[derive(Debug, Clone)]
pub(crate) struct Says {
    pub(crate) address: Ipv4Addr,
    pub(crate) seconds: u32,
    pub(crate) options: Options,
    /// What is refused, if anything.
    pub(crate) refused: Option<Ipv4Addr>,
    silent: bool,
}

/// A server that says what the test wants at the moment.
pub(crate) struct Moody {
    says: Arc<Mutex<Says>>,
    _server: FakeServer,
}

impl Moody {
    pub(crate) fn on(world: &mut World) -> Result<Self> {
        world.dhcp.stop()?;
        let first = Says { address: FIRST, seconds: 600, options: Vec::new(), refused: None, silent: false };
        let says = Arc::new(Mutex::new(first));
        let script = says.clone();
        let server = FakeServer::start(world.lan.router(), ROUTER, move |message| {
            let says = script.lock().unwrap_or_else(PoisonError::into_inner).clone();
            answer(message, &says)
        })?;
        Ok(Self { says, _server: server })
    }

    pub(crate) fn now(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.says.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn answer(message: &DhcpMessage, says: &Says) -> Vec<Reply> {
    let asked = message.address_option(50).unwrap_or(message.ciaddr);
    let kind = match message.kind() {
        _ if says.silent => return Vec::new(),
        Some(DhcpKind::Discover) => DhcpKind::Offer,
        Some(DhcpKind::Request) if says.refused == Some(asked) => {
            return vec![Reply::now(&DhcpMessage::answer(message, DhcpKind::Nak, ROUTER))];
        }
        Some(DhcpKind::Request) => DhcpKind::Ack,
        _ => return Vec::new(),
    };
    let grant = DhcpMessage::grant(message, kind, ROUTER, says.address, says.seconds);
    let grant = says.options.iter().fold(grant, |grant, (code, value)| grant.with(*code, value));
    vec![Reply::now(&grant)]
}

/// Option 121 (RFC 3442).
fn classless(routes: &[(&str, [u8; 4])]) -> (u8, Vec<u8>) {
    let mut value = Vec::new();
    for (destination, hop) in routes {
        let net: ipnet::Ipv4Net = destination.parse().unwrap_or_default();
        value.push(net.prefix_len());
        value.extend(&net.network().octets()[..usize::from(net.prefix_len().div_ceil(8))]);
        value.extend(hop);
    }
    (121, value)
}

#[test]
fn an_address_with_an_unusable_route_ends_with_its_lease() -> Result {
    let mut world = World::bridge()?;
    let server = Moody::on(&mut world)?;
    server.now(|says| {
        says.seconds = 12;
        says.options = vec![(3, ROUTER.octets().to_vec())];
    });
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    let is = |address: Option<&str>| world.address("web", "br00").ok().as_deref() == address;
    assert!(is(Some("192.0.2.60/24")));

    // Refused, and given another one with a route that cannot be set.
    server.now(|says| {
        says.refused = Some(FIRST);
        says.address = Ipv4Addr::new(192, 0, 2, 61);
        says.options.push(classless(&[
            ("10.5.0.0/16", [198, 51, 100, 1]),
            ("203.0.113.0/24", [192, 0, 2, 2]),
            ("0.0.0.0/0", ROUTER.octets()),
        ]));
    });
    world.landline("lease renew web")?;
    wait_for("the other address", SOON, || is(Some("192.0.2.61/24")))?;
    wait_for("the route that can be had", SOON, || {
        world.routes("web").is_ok_and(|all| all.iter().any(|r| r.starts_with("203.0.113.0/24 via 192.0.2.2")))
    })?;
    wait_for("the default route", SOON, || world.gateways("web").is_ok_and(|all| all == ["192.0.2.1"]))?;

    server.now(|says| says.silent = true);
    wait_for("the end of the address with its lease", 2 * SOON, || is(None)).map_err(|error| {
        format!("{error}\n{:?}\n{}", world.inside("web", &["ip", "addr"]), world.daemon.log())
    })?;
    assert_eq!(world.row("web")?["address"], serde_json::Value::Null);

    // And comes back with everything once the server does.
    server.now(|says| says.silent = false);
    wait_for("the address again", 2 * SOON, || is(Some("192.0.2.61/24")))?;
    wait_for("the default route again", SOON, || {
        world.gateways("web").is_ok_and(|all| all == ["192.0.2.1"])
    })?;
    Ok(())
}

/// What a server says, the routes (each the beginning of a line) and what `landline inspect` says is left out.
struct Case {
    name: &'static str,
    network: &'static str,
    options: Options,
    routes: &'static [&'static str],
    dropped: &'static [&'static str],
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    let router = || (3, ROUTER.octets().to_vec());
    vec![
        Case {
            name: "router-is-the-container",
            network: "lan",
            options: vec![(3, vec![192, 0, 2, 60])],
            routes: &["default dev br00"],
            dropped: &[],
        },
        Case {
            name: "router-is-the-container-or-another",
            network: "lan",
            options: vec![(3, vec![192, 0, 2, 60, 192, 0, 2, 1])],
            routes: &["default via 192.0.2.1 dev br00"],
            dropped: &[],
        },
        Case {
            name: "router-is-the-broadcast-address",
            network: "lan",
            options: vec![(3, vec![192, 0, 2, 255])],
            routes: &[],
            dropped: &["0.0.0.0/0 via 192.0.2.255: no host can have that address"],
        },
        Case {
            name: "router-elsewhere",
            network: "lan",
            options: vec![(3, vec![198, 51, 100, 1])],
            routes: &["default via 198.51.100.1 dev br00", "198.51.100.1 dev br00"],
            dropped: &[],
        },
        Case {
            name: "next-hop-elsewhere",
            network: "lan",
            options: vec![classless(&[
                ("203.0.113.0/24", [198, 51, 100, 1]),
                ("0.0.0.0/0", ROUTER.octets()),
            ])],
            routes: &["default via 192.0.2.1 dev br00"],
            dropped: &["203.0.113.0/24 via 198.51.100.1: the next hop is not on this network"],
        },
        Case {
            name: "next-hop-is-the-container",
            network: "lan",
            options: vec![
                classless(&[("203.0.113.0/24", [192, 0, 2, 60]), ("0.0.0.0/0", ROUTER.octets())]),
                router(),
            ],
            routes: &["default via 192.0.2.1 dev br00", "203.0.113.0/24 dev br00"],
            dropped: &[],
        },
        Case {
            name: "route-to-its-own-next-hop",
            network: "lan",
            options: vec![classless(&[
                ("10.1.0.0/16", [10, 1, 1, 1]),
                ("192.0.2.0/28", [192, 0, 2, 1]),
                ("0.0.0.0/0", ROUTER.octets()),
            ])],
            routes: &["default via 192.0.2.1 dev br00", "192.0.2.0/28 via 192.0.2.1 dev br00"],
            dropped: &["10.1.0.0/16 via 10.1.1.1: the next hop is reached by this very route"],
        },
        Case {
            name: "next-hops-of-next-hops",
            network: "lan",
            options: vec![classless(&[
                ("10.0.0.0/8", [10, 1, 1, 1]),
                ("10.1.1.1/32", [192, 0, 2, 1]),
                ("203.0.113.0/24", [198, 51, 100, 7]),
                ("198.51.100.0/24", [0, 0, 0, 0]),
            ])],
            routes: &[
                "10.0.0.0/8 via 192.0.2.1 dev br00",
                "10.1.1.1 via 192.0.2.1 dev br00",
                "203.0.113.0/24 via 198.51.100.7 dev br00",
                "198.51.100.0/24 dev br00",
            ],
            dropped: &[],
        },
        Case {
            name: "static-routes",
            network: "lan",
            options: vec![
                router(),
                (33, vec![203, 0, 113, 0, 198, 51, 100, 1, 198, 51, 100, 9, 192, 0, 2, 3]),
            ],
            routes: &["default via 192.0.2.1 dev br00", "198.51.100.9 via 192.0.2.3 dev br00"],
            dropped: &["203.0.113.0/24 via 198.51.100.1: the next hop is not on this network"],
        },
        Case {
            name: "everything-is-on-the-link",
            network: "lan",
            options: vec![classless(&[("0.0.0.0/0", [0, 0, 0, 0])])],
            routes: &["default dev br00"],
            dropped: &[],
        },
        Case {
            name: "a-network-of-one",
            network: "lan",
            options: vec![(1, vec![255; 4]), router()],
            routes: &["default via 192.0.2.1 dev br00", "192.0.2.1 dev br00"],
            dropped: &[],
        },
        Case {
            name: "half-of-the-internet",
            network: "lan",
            options: vec![(1, vec![128, 0, 0, 0]), router()],
            routes: &["default via 192.0.2.1 dev br00"],
            dropped: &[],
        },
        Case {
            name: "gateway-of-the-network",
            network: "odd",
            options: vec![router()],
            routes: &["default via 192.0.2.1 dev br00"],
            dropped: &["0.0.0.0/0 via 192.0.2.255: no host can have that address"],
        },
    ]
}

#[test]
fn containers_start_whatever_routes_a_server_gives() -> Result {
    let mut world = World::bridge()?;
    let server = Moody::on(&mut world)?;
    world.network("lan", &["bridge=br0"])?;
    world.network("odd", &["bridge=br0", "ignore_conflicts=true", "gateway=192.0.2.255"])?;
    let mut wrong = Vec::new();
    for case in cases() {
        server.now(|says| says.options.clone_from(&case.options));
        if let Err(error) = comes_out_as(&world, &case) {
            wrong.push(format!("{}: {error}", case.name));
        }
        // The one address is for the next one.
        world.host.docker_ok(&["rm", "-f", case.name])?;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn comes_out_as(world: &World, case: &Case) -> Result {
    world.run(case.name, case.network, &[])?;
    let right = |lines: &[String]| {
        let of_server = lines.iter().filter(|line| line.starts_with("default"));
        let defaults = case.routes.iter().filter(|route| route.starts_with("default")).count();
        of_server.count() == defaults
            && case.routes.iter().all(|route| lines.iter().any(|line| line.starts_with(route)))
    };
    wait_for("the routes", SOON, || world.routes(case.name).is_ok_and(|lines| right(&lines)))
        .map_err(|error| format!("{error}: {:?}", world.routes(case.name)))?;
    world.row(case.name)?;
    let said = world.landline(&format!("inspect {}", case.name))?;
    let listed: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("route left out")).collect();
    let listed: Vec<&str> = listed.into_iter().map(str::trim).collect();
    assert_eq!(listed, case.dropped, "{said}");
    for dropped in case.dropped {
        assert!(world.daemon.log().contains(dropped), "{dropped}\n{}", world.daemon.log());
    }
    Ok(())
}

#[test]
fn a_renewal_with_bad_routes_brings_the_good_ones() -> Result {
    let mut world = World::bridge()?;
    let server = Moody::on(&mut world)?;
    server.now(|says| says.options = vec![(3, ROUTER.octets().to_vec())]);
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    server.now(|says| {
        says.options = vec![classless(&[
            ("10.0.0.0/8", [198, 51, 100, 1]),
            ("203.0.113.0/24", [192, 0, 2, 255]),
            ("198.51.100.64/26", [192, 0, 2, 2]),
            ("0.0.0.0/0", [192, 0, 2, 3]),
        ])];
    });
    world.landline("lease renew web")?;
    wait_for("the good route and the other router", SOON, || {
        let good = |all: Vec<String>| all.iter().any(|r| r.starts_with("198.51.100.64/26 via 192.0.2.2"));
        world.routes("web").is_ok_and(good) && world.gateways("web").is_ok_and(|all| all == ["192.0.2.3"])
    })
    .map_err(|error| format!("{error}: {:?}\n{}", world.routes("web"), world.daemon.log()))?;
    let said = wait_for("the others in landline inspect", SOON, || {
        let said = world.landline("inspect web").ok()?;
        said.contains("route left out").then_some(said)
    })?;
    for dropped in ["10.0.0.0/8 via 198.51.100.1: ", "203.0.113.0/24 via 192.0.2.255: "] {
        assert!(said.contains(dropped), "{said}");
    }
    // Said once, not with every renewal.
    let warned = || world.daemon.log().matches("10.0.0.0/8 via 198.51.100.1").count();
    let before = warned();
    assert!(before > 0, "{}", world.daemon.log());
    renewed(&world, "web")?;
    renewed(&world, "web")?;
    assert_eq!(warned(), before);
    Ok(())
}

/// Has a lease renewed and waits until that was said.
pub(crate) fn renewed(world: &World, container: &str) -> Result {
    let said = || world.daemon.log().matches("lease renewed").count();
    let before = said();
    world.landline(&format!("lease renew {container}"))?;
    wait_for("a renewal", SOON, || said() > before)?;
    Ok(())
}
