//! pipework's forms, one by one: what each leaves in the container, and that nothing is left of it afterwards.
//!
//! Expectations are what pipework itself does where it works (veth into a bridge, macvlan in bridge mode on a card, `eth1`
//! unless `-i` says otherwise, the default route replaced when there is a gateway), and what its manual says where it
//! does not: static IPv6, a second address, long names, DHCP.

use landline_testbed::{Dnsmasq, Dockerd, Lan, wait_for};
use serde_json::Value;

use crate::tools::{second_nic, start_daemon};
use crate::world::{Result, SOON, World, binary};

/// A form, and what the container has then.
struct Form {
    words: &'static [&'static str],
    interface: &'static str,
    kind: Option<&'static str>,
    addresses: &'static [&'static str],
    default: &'static [&'static str],
    mac: Option<&'static str>,
    /// A link of this name on the host.
    host_end: Option<&'static str>,
    leased: bool,
}

const FORM: Form = Form {
    words: &[],
    interface: "eth1",
    kind: Some("veth"),
    addresses: &[],
    default: &[],
    mac: None,
    host_end: None,
    leased: false,
};

/// The hardware address of the second card, which `mac:` names.
const CARD: &str = "02:00:00:00:05:01";

const FORMS: &[Form] = &[
    Form { words: &["br0", "web", "192.0.2.60/24"], addresses: &["192.0.2.60/24"], ..FORM },
    Form {
        words: &["br0", "web", "192.0.2.60/24@192.0.2.1"],
        addresses: &["192.0.2.60/24"],
        default: &["192.0.2.1"],
        ..FORM
    },
    // The router need not be in the address's network.
    Form {
        words: &["br0", "web", "192.0.2.60/32@192.0.2.1"],
        addresses: &["192.0.2.60/32"],
        default: &["192.0.2.1"],
        ..FORM
    },
    Form {
        words: &["br0", "-i", "lan0", "web", "192.0.2.60/24"],
        interface: "lan0",
        addresses: &["192.0.2.60/24"],
        ..FORM
    },
    Form {
        words: &["br0", "-l", "weblan", "web", "192.0.2.60/24"],
        addresses: &["192.0.2.60/24"],
        host_end: Some("weblan"),
        ..FORM
    },
    Form {
        words: &["br0", "-i", "lan0", "-l", "weblan", "-a", "4", "web", "192.0.2.60/24"],
        interface: "lan0",
        addresses: &["192.0.2.60/24"],
        host_end: Some("weblan"),
        ..FORM
    },
    // pipework fails at these three: IPv6 where the host has busybox, and names it makes too long others of.
    Form {
        words: &["br0", "-a", "6", "web", "2001:db8:1::60/64@2001:db8:1::1"],
        addresses: &["2001:db8:1::60/64"],
        default: &["2001:db8:1::1"],
        ..FORM
    },
    Form {
        words: &["br0", "-i", "container-lan-0", "web", "192.0.2.60/24"],
        interface: "container-lan-0",
        addresses: &["192.0.2.60/24"],
        ..FORM
    },
    Form { words: &["br0", "web", "0/0"], ..FORM },
    Form {
        words: &["br0", "web", "192.0.2.60/24", "02:00:00:00:00:60"],
        addresses: &["192.0.2.60/24"],
        mac: Some("02:00:00:00:00:60"),
        ..FORM
    },
    Form {
        words: &["br0", "web", "dhcp", "U:myhost.foo.com"],
        default: &["192.0.2.1"],
        mac: Some("02:72:6c:cd:9b:8d"),
        leased: true,
        ..FORM
    },
    Form { words: &["br0", "web", "udhcpc"], default: &["192.0.2.1"], leased: true, ..FORM },
    Form {
        words: &["br0", "-i", "eth7", "web", "udhcpc-f"],
        interface: "eth7",
        default: &["192.0.2.1"],
        leased: true,
        ..FORM
    },
    Form { words: &["br0", "web", "dhclient:-v -H shop"], default: &["192.0.2.1"], leased: true, ..FORM },
    Form {
        words: &["eth1", "web", "dhcpcd:-t 5"],
        kind: Some("macvlan"),
        default: &["192.0.2.1"],
        leased: true,
        ..FORM
    },
    Form {
        words: &["eth1", "web", "192.0.2.61/24@192.0.2.1", "02:00:00:00:00:61"],
        kind: Some("macvlan"),
        addresses: &["192.0.2.61/24"],
        default: &["192.0.2.1"],
        mac: Some("02:00:00:00:00:61"),
        ..FORM
    },
    Form {
        words: &["mac:02:00:00:00:05:01", "-i", "lan0", "web", "192.0.2.61/24"],
        interface: "lan0",
        kind: Some("macvlan"),
        addresses: &["192.0.2.61/24"],
        ..FORM
    },
    Form {
        words: &["eth1", "web", "0/0", "U:myhost.foo.com"],
        kind: Some("macvlan"),
        mac: Some("02:72:6c:cd:9b:8d"),
        ..FORM
    },
    Form {
        words: &["eth1", "web", "dhclient-f"],
        kind: Some("macvlan"),
        default: &["192.0.2.1"],
        leased: true,
        ..FORM
    },
    Form {
        words: &["eth1", "-a", "6", "web", "2001:db8:1::61/64@2001:db8:1::1"],
        kind: Some("macvlan"),
        addresses: &["2001:db8:1::61/64"],
        default: &["2001:db8:1::1"],
        ..FORM
    },
    // The card itself moves in, and comes back as it was.
    Form { words: &["--direct-phys", "eth1", "web", "0/0"], mac: Some(CARD), ..FORM },
    Form {
        words: &["--direct-phys", "eth1", "-a", "6", "web", "2001:db8:1::62/64@2001:db8:1::1"],
        addresses: &["2001:db8:1::62/64"],
        default: &["2001:db8:1::1"],
        mac: Some(CARD),
        ..FORM
    },
    Form {
        words: &["--direct-phys", "eth1", "-i", "lan0", "web", "192.0.2.62/24@192.0.2.1"],
        interface: "lan0",
        addresses: &["192.0.2.62/24"],
        default: &["192.0.2.1"],
        mac: Some(CARD),
        ..FORM
    },
    Form {
        words: &["--direct-phys", "eth1", "web", "dhcp"],
        default: &["192.0.2.1"],
        mac: Some(CARD),
        leased: true,
        ..FORM
    },
    Form {
        words: &[
            "--direct-phys",
            "mac:02:00:00:00:05:01",
            "-i",
            "eth0",
            "web",
            "udhcpc",
            "02:00:00:00:00:63",
        ],
        interface: "eth0",
        default: &["192.0.2.1"],
        mac: Some("02:00:00:00:00:63"),
        leased: true,
        ..FORM
    },
];

fn world() -> Result<World> {
    let world = World::bridge()?;
    second_nic(&world.lan, &world.host)?;
    // Down and up: its link-local address is made of the new one then.
    world.host.check(&["ip", "link", "set", "eth1", "down", "address", CARD])?;
    world.host.check(&["ip", "link", "set", "eth1", "up"])?;
    world.run_without("web", &["--network", "none", "--cap-add", "NET_ADMIN"])?;
    Ok(world)
}

impl World {
    /// `landline exec web ip -j ARGS` as JSON.
    fn ip_inside(&self, args: &[&str]) -> Result<Vec<Value>> {
        let command = [&["exec", "web", "ip", "-j"], args].concat();
        let listed: Value = serde_json::from_str(self.host.landline_ok(binary(), &command)?.trim())?;
        Ok(listed.as_array().cloned().unwrap_or_default())
    }

    fn pipework(&self, words: &[&str]) -> Result<String> {
        Ok(self.host.landline_ok(binary(), &[&["pipework"], words].concat())?)
    }
}

#[test]
fn every_form_of_pipework() -> Result {
    let world = world()?;
    let before = world.host.snapshot()?;
    for form in FORMS {
        let checked = world.pipework(form.words).and_then(|_| check(&world, form));
        checked.map_err(|error| format!("{:?}: {error}\n{}", form.words, world.daemon.log()))?;
        world.host.landline_ok(binary(), &["detach", "web"])?;
        assert_eq!(world.interfaces("web")?, [""; 0], "{:?}", form.words);
    }
    let after = world.host.snapshot()?;
    assert_eq!(before.diff(&after), "", "the host is not as it was");
    Ok(())
}

fn check(world: &World, form: &Form) -> Result {
    let links = world.ip_inside(&["-d", "link", "show"])?;
    let link = links.iter().find(|link| link["ifname"] == form.interface).ok_or("no such interface")?;
    assert!(link["flags"].as_array().is_some_and(|flags| flags.contains(&"LOWER_UP".into())), "{link}");
    assert_eq!(link["mtu"], 1500);
    if let Some(kind) = form.kind {
        assert_eq!(link["linkinfo"]["info_kind"], kind);
    }
    if form.kind == Some("macvlan") {
        assert_eq!(link["linkinfo"]["info_data"]["mode"], "bridge");
    }
    if let Some(mac) = form.mac {
        assert_eq!(link["address"], mac);
    }
    let addresses = world.ip_inside(&["address", "show", "dev", form.interface])?;
    let infos = addresses.iter().filter_map(|link| link["addr_info"].as_array()).flatten();
    let mut found: Vec<String> = infos
        .filter(|info| info["scope"] == "global")
        .map(|info| format!("{}/{}", info["local"].as_str().unwrap_or_default(), info["prefixlen"]))
        .collect();
    if form.leased {
        assert_eq!(found.len(), 1, "{found:?}");
        let lease = world.lease_of(link["address"].as_str().unwrap_or_default())?;
        assert_eq!(found.remove(0), format!("{}/24", lease.ip));
    }
    assert_eq!(found, form.addresses);
    let mut gateways = Vec::new();
    for family in ["-4", "-6"] {
        let routes = world.ip_inside(&[family, "route", "show", "default"])?;
        gateways.extend(routes.iter().filter_map(|route| route["gateway"].as_str().map(str::to_owned)));
    }
    assert_eq!(gateways, form.default);
    let peer = if found.iter().any(|address| address.contains(':')) { "2001:db8:1::2" } else { "192.0.2.2" };
    // Who is alone in a network reaches its router, which would send it on to the LAN by itself.
    let target = form.default.first().copied().unwrap_or(peer);
    if !form.default.is_empty() || !form.addresses.is_empty() {
        world.host.landline_ok(binary(), &["exec", "web", "ping", "-c1", "-W5", target])?;
    }
    if let Some(name) = form.host_end {
        let port = world.host.check(&["ip", "-o", "link", "show", "dev", name])?;
        assert!(port.contains("master br0"), "{port}");
    }
    Ok(())
}

#[test]
fn what_else_pipework_does() -> Result {
    let world = world()?;
    // A second address for one interface, where pipework says that it exists and is up.
    world.pipework(&["br0", "web", "192.0.2.60/24"])?;
    world.pipework(&["br0", "web", "192.0.2.61/24"])?;
    assert!(world.landline("exec web ip -o addr show dev eth1")?.contains("192.0.2.61/24"));

    // Routes, rules and queues, and what is none of them.
    world.pipework(&["route", "web", "add", "198.51.100.0/24", "via", "192.0.2.1"])?;
    world.pipework(&["route", "web", "replace", "default", "via", "192.0.2.1", "dev", "eth1"])?;
    world.pipework(&["rule", "web", "add", "from", "192.0.2.60", "table", "7", "priority", "100"])?;
    world.pipework(&["route", "web", "add", "default", "via", "192.0.2.1", "table", "7"])?;
    let routes = world.landline("exec web ip route show table all")?;
    for route in [
        "198.51.100.0/24 via 192.0.2.1",
        "default via 192.0.2.1 dev eth1",
        "default via 192.0.2.1 dev eth1 table 7",
    ] {
        assert!(routes.contains(route), "{route}: {routes}");
    }
    let rules = world.landline("exec web ip rule")?;
    assert!(rules.contains("100:\tfrom 192.0.2.60 lookup 7"), "{rules}");
    world.pipework(&["route", "web", "del", "198.51.100.0/24"])?;
    world.pipework(&["rule", "web", "del", "from", "192.0.2.60", "table", "7"])?;
    assert!(!world.landline("exec web ip route")?.contains("198.51.100.0/24"));
    assert!(!world.landline("exec web ip rule")?.contains("lookup 7"));
    world.pipework(&[
        "tc", "web", "qdisc", "add", "dev", "eth1", "root", "tbf", "rate", "1mbit", "burst", "32kb",
        "latency", "400ms",
    ])?;
    let queue = world.landline("exec web tc qdisc show dev eth1")?;
    assert!(queue.contains("tbf") && queue.contains("rate 1Mbit burst 32Kb lat 400ms"), "{queue}");
    world.pipework(&["tc", "web", "qdisc", "del", "dev", "eth1", "root"])?;
    let refused =
        world.refusal(&["pipework", "tc", "web", "exec", "bpf", "import", "/x", "run", "touch", "/x"])?;
    assert!(refused.contains("not what tc can be asked here"), "{refused}");

    // A bridge that is not there is made, and goes with what it was made for.
    world.pipework(&["br7", "-i", "eth7", "web", "192.0.2.70/24"])?;
    world.host.check(&["ip", "-d", "link", "show", "br7", "type", "bridge"])?;
    world.host.landline_ok(binary(), &["detach", "web", "eth7"])?;
    assert!(!world.host.exec(&["ip", "link", "show", "br7"]).success());

    // A kind this kernel does not have is an error, and leaves nothing.
    if world.host.exec(&["ip", "link", "add", "probe0", "type", "dummy"]).success() {
        world.host.check(&["ip", "link", "delete", "probe0"])?;
        world.pipework(&["dummy", "-i", "d0", "web", "198.51.100.5/24"])?;
        assert!(world.landline("exec web ip -o addr show dev d0")?.contains("198.51.100.5/24"));
    } else {
        world.refusal(&["pipework", "dummy", "-i", "d0", "web", "198.51.100.5/24"])?;
        assert_eq!(world.interfaces("web")?, ["eth1"]);
    }

    // Waiting ends when there is an address, and not before.
    let waiting = ["exec", "web", binary().to_str().unwrap_or_default(), "pipework", "--wait", "-i", "eth3"];
    let mut waiter = world.host.spawn(&[&[binary().to_str().unwrap_or_default()], &waiting[..]].concat())?;
    world.pipework(&["br0", "-i", "eth3", "web", "0/0"])?;
    assert!(waiter.try_status().is_none(), "it waits although there is no address");
    world.landline("attach br0 web 192.0.2.63/24 ifname=eth3")?;
    assert!(waiter.wait_within(SOON)?.success());

    // The program is pipework when it is called so.
    let directory = tempfile::tempdir()?;
    let called = directory.path().join("pipework");
    std::os::unix::fs::symlink(binary(), &called)?;
    world.host.check(&[called.to_str().unwrap_or_default(), "br0", "-i", "eth4", "web", "192.0.2.64/24"])?;
    assert!(world.landline("ip web")?.contains("192.0.2.64"));
    Ok(())
}

#[test]
fn a_replaced_default_route_comes_back() -> Result {
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let mut host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    host.dockerd(Dockerd { bridge: Some("198.51.100.1/24".into()), ..Dockerd::default() })?;
    let daemon = start_daemon(&host)?;
    let world = World { daemon, host, dhcp, lan };
    world.run_without("nat", &[])?;
    let dockers = world.routes("nat")?;
    assert!(dockers.iter().any(|route| route.starts_with("default via ")), "{dockers:?}");
    world.landline("attach br0 nat 192.0.2.50/24@192.0.2.1 ifname=eth1")?;
    assert_eq!(world.gateways("nat")?, ["192.0.2.1"]);
    world.landline("attach br0 nat dhcp ifname=eth2")?;
    assert_eq!(world.gateways("nat")?, ["192.0.2.1"]);
    // The one that came first goes first: what it replaced is the other's to put back.
    world.landline("detach nat eth1")?;
    assert!(world.routes("nat")?.iter().any(|route| route.starts_with("default via 192.0.2.1 dev eth2")));
    world.landline("detach nat")?;
    assert_eq!(world.routes("nat")?, dockers);
    Ok(())
}

#[test]
fn a_plan_is_a_script_that_does_the_same() -> Result {
    let world = world()?;
    for name in ["done", "run"] {
        world.host.check(&["ip", "netns", "add", name])?;
    }
    let specs = [
        "192.0.2.50/24@192.0.2.1 2001:db8:1::50/64@2001:db8:1::1 mac=02:00:00:00:00:50 ifname=lan0 force=true",
        "192.0.2.51/32@192.0.2.1 mac=02:00:00:00:00:51 ifname=lan1 mtu=1400 force=true",
        "none mac=02:00:00:00:00:52 ifname=lan2",
    ];
    for (number, spec) in specs.iter().enumerate() {
        for parent in ["br0", "eth1"] {
            let attach = format!("attach {parent} netns:/run/netns/done {spec}");
            world.landline(&attach)?;
            let script = world.landline(&format!("attach {parent} netns:/run/netns/run {spec} --dry-run"))?;
            let shown = |name: &str| -> Result<String> {
                let mut shown = String::new();
                for what in [&["-d", "link"][..], &["address"], &["-4", "route"], &["-6", "route"]] {
                    let command = [&["ip", "-n", name][..], what].concat();
                    shown += &world.host.check(&command)?;
                }
                Ok(plain(&shown))
            };
            wait_for("duplicate address detection", SOON, || {
                world
                    .host
                    .check(&["ip", "-n", "done", "-6", "addr", "show", "tentative"])
                    .is_ok_and(|t| t.is_empty())
            })?;
            let wanted = shown("done")?;
            world.landline("detach netns:/run/netns/done")?;
            let ran = world.host.exec(&["sh", "-c", &script]);
            assert!(ran.success(), "{script}\n{}", ran.stderr);
            wait_for("the same state", SOON, || shown("run").is_ok_and(|is| is == wanted)).map_err(
                |error| {
                    format!(
                        "{number} {parent}: {error}\n{script}\n{wanted}\n{}",
                        shown("run").unwrap_or_default()
                    )
                },
            )?;
            for lan in ["lan0", "lan1", "lan2"] {
                world.host.exec(&["ip", "-n", "run", "link", "delete", lan]);
            }
        }
    }
    Ok(())
}

/// Without what differs by nature: numbers of links, whose mark it is, and what iproute2 cannot write.
fn plain(shown: &str) -> String {
    let words = shown.lines().map(|line| {
        let line = line.split_once(": ").filter(|(number, _)| number.bytes().all(|b| b.is_ascii_digit()));
        line.map_or("", |(_, rest)| rest).to_owned()
    });
    let numbered: Vec<String> = words.collect();
    let lines =
        shown.lines().zip(numbered).map(|(line, rest)| if rest.is_empty() { line.to_owned() } else { rest });
    lines
        .filter(|line| !line.contains("alias landline:"))
        .map(|line| {
            let mut kept = Vec::new();
            let mut words = line.split_whitespace();
            while let Some(word) = words.next() {
                match word {
                    "proto" | "link-netnsid" | "promiscuity" | "qlen" | "state" | "pref" => {
                        words.next();
                    }
                    word => kept.push(word.split("@if").next().unwrap_or(word).to_owned()),
                }
            }
            kept.join(" ")
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_card_that_moves_in_leases_an_address_and_comes_back_as_it_was() -> Result {
    let mut world = world()?;
    for command in [
        "ip address add 203.0.113.9/24 dev eth1 metric 1024",
        "ip address add 10.12.0.76/21 dev eth1 noprefixroute",
        "ip -6 address add 2001:db8:5::9/64 dev eth1",
        "ip route add 198.51.100.0/24 via 203.0.113.1 metric 50",
        "ip route add 203.0.113.128/25 dev eth1",
        "ip link set eth1 mtu 1400 alias uplink",
        "sysctl -q -w net/ipv4/conf/eth1/arp_ignore=1 net/ipv4/conf/eth1/rp_filter=2",
    ] {
        world.host.check(&command.split(' ').collect::<Vec<_>>())?;
    }
    let shown = |world: &World| -> Result<String> {
        let settings =
            "sysctl net/ipv4/conf/eth1/arp_ignore net/ipv4/conf/eth1/rp_filter net/ipv6/conf/eth1/accept_ra";
        let link = world.host.check(&["ip", "-o", "link", "show", "eth1"])?;
        let (_, link) = link.split_once(": ").ok_or("no link")?;
        Ok(format!(
            "{link}{}{}",
            world.host.check(&["ip", "route"])?,
            world.host.check(&settings.split(' ').collect::<Vec<_>>())?
        ))
    };
    let (before, listed) = (world.host.snapshot()?, shown(&world)?);

    // Nobody answers where it is: it never leaves, and its address answers all the time.
    let changes = world.host.check(&["cat", "/sys/class/net/eth1/carrier_changes"])?;
    world.dhcp.stop()?;
    let refused = world.refusal(&[
        "attach",
        "eth1",
        "web",
        "dhcp",
        "--mode",
        "nic",
        "lease_timeout=1s",
        "ifname=lan0",
    ])?;
    assert!(refused.contains("no DHCP server offered an address"), "{refused}");
    assert_eq!(world.host.check(&["cat", "/sys/class/net/eth1/carrier_changes"])?, changes);
    assert_eq!(shown(&world)?, listed);
    assert_eq!(before.diff(&world.host.snapshot()?), "");
    world.dhcp.start()?;

    // Its name here is taken there, and that there is taken here.
    world.landline("attach eth1 web dhcp mode=nic ifname=eth0")?;
    let row = world.row("web")?;
    assert_eq!(
        (row["network"].as_str(), row["state"].as_str()),
        (Some("attach:eth1"), Some("BOUND")),
        "{row}"
    );
    world.landline("attach br0 web 192.0.2.64/24 ifname=eth1")?;
    let address = world.address("web", "eth0")?;
    assert_eq!(world.lease_of(CARD)?.ip.to_string(), crate::world::bare(&address));
    assert!(!world.host.exec(&["ip", "link", "show", "eth1"]).success(), "it is on the host still");

    // The lease is the endpoint's like any other: renewed, and gone on with by the next daemon.
    world.landline("lease renew web").map(drop)?;
    world.daemon.kill(landline_testbed::Signal::KILL)?;
    world.daemon.wait()?;
    world.daemon = start_daemon(&world.host)?;
    let bound = || world.landline("ls").is_ok_and(|all| all.contains("BOUND"));
    wait_for("the lease to go on", SOON, bound)?;
    assert_eq!(world.address("web", "eth0")?, address);
    world.lan.peer().check(&["ping", "-c1", "-W5", crate::world::bare(&address)])?;

    world.landline("detach web eth0")?;
    assert_eq!(shown(&world)?, listed);
    wait_for("the lease to be given back", SOON, || world.dhcp.lease_of(CARD).is_none())?;
    world.landline("detach web")?;
    assert_eq!(before.diff(&world.host.snapshot()?), "", "the host is not as it was");

    // What does not go with it is said.
    for (words, part) in [
        (&["attach", "br0", "web", "dhcp", "mode=nic"][..], "a bridge"),
        (&["attach", "lo", "web", "none", "mode=nic"], "loopback"),
        (&["attach", "eth1", "web", "dhcp", "mode=nic", "vlan=12"], "vlan"),
        (&["attach", "eth1", "web", "dhcp", "mode=nic", "ipv6=true"], "ipv6"),
        (&["pipework", "--direct-phys", "eth1", "-l", "x", "web", "dhcp"], "-l"),
        (&["pipework", "--direct-phys", "eth9", "web", "dhcp"], "no interface eth9"),
    ] {
        let refused = world.refusal(words)?;
        assert!(refused.contains(part), "{words:?}: {refused}");
    }
    assert_eq!(shown(&world)?, listed);
    Ok(())
}

#[test]
fn a_parent_that_is_gone_is_missed_at_once_and_a_plan_names_the_address_a_bridge_keeps() -> Result {
    let world = world()?;
    world.host.check(&["ip", "netns", "add", "one"])?;
    world.host.check(&["ip", "link", "add", "br5", "type", "bridge"])?;
    world.host.check(&["ip", "link", "set", "br5", "up"])?;
    let script = world.landline("attach br5 netns:/run/netns/one none --dry-run")?;
    let kept = format!("ip link set br5 address {}", world.host.node().mac("br5")?);
    assert!(script.contains(&kept), "{kept} in\n{script}");
    world.host.check(&["ip", "link", "del", "br5"])?;
    let began = std::time::Instant::now();
    let refused = world.refusal(&["attach", "br5", "netns:/run/netns/one", "dhcp"])?;
    assert!(refused.contains("there is no interface br5"), "{refused}");
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(world.marked_links()?.is_empty());
    Ok(())
}
