//! Containers that the host routes for, on a switch whose port takes frames of one hardware address only.

use std::collections::BTreeSet;
use std::time::Duration;

use landline_testbed::{
    BEYOND_V4, DhcpKind, Dhcpd, Frame, Kea, Lan, PEER_V4, Reservation, ServerConfig, Signal, Udhcpd, wait_for,
};

use serde_json::json;

use crate::tools::{at_once, behind_rules, names, start_daemon};
use crate::world::{Result, SOON, World, bare};

/// The host's address.
const HOST: &str = "192.0.2.10";

/// The switch drops every frame of the host's port that is not from the host's NIC.
fn secure_port(world: &World) -> Result {
    let mac = world.host.check(&["cat", "/sys/class/net/eth0/address"])?;
    let rules = format!(
        "table bridge port {{
            chain input {{
                type filter hook prerouting priority 0
                iifname \"p-host1\" ether saddr != {mac} counter drop
            }}
        }}",
    );
    world.lan.switch().sh(&format!("nft -f - <<'EOF'\n{rules}\nEOF")).map(drop)?;
    Ok(())
}

fn world() -> Result<World> {
    let world = World::nic()?;
    world.host.check(&["ip", "route", "add", "default", "via", "192.0.2.1", "dev", "eth0"])?;
    secure_port(&world)?;
    Ok(world)
}

/// The same with this server.
fn world_with(server: &(impl ServerConfig + ?Sized)) -> Result<World> {
    let lan = Lan::new()?;
    let dhcp = lan.server_on(lan.router(), server)?;
    let host = lan.docker_host("host1")?;
    host.check(&["ip", "address", "add", "192.0.2.10/24", "dev", "eth0"])?;
    let world = World::start(lan, dhcp, host)?;
    secure_port(&world)?;
    Ok(world)
}

fn ping(world: &World, container: &str, address: &str) -> Result {
    world.inside(container, &["ping", "-c1", "-W5", address]).map(drop)
}

/// The container and everybody else reach each other.
fn is_reached(world: &World, container: &str) -> Result {
    let address = world.address(container, "eth0")?;
    let address = bare(&address);
    let to = ["ping", "-c1", "-W5", address];
    world.lan.peer().check(&to)?;
    world.lan.router().check(&to)?;
    world.host.check(&to)?;
    for other in [PEER_V4, "192.0.2.1", HOST] {
        ping(world, container, other)?;
    }
    Ok(())
}

/// What the host answers for on its NIC.
fn proxies(world: &World) -> Result<Vec<String>> {
    let shown = world.host.check(&["ip", "neigh", "show", "proxy", "dev", "eth0"])?;
    Ok(shown.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

#[test]
fn a_switch_port_with_one_hardware_address() -> Result {
    let world = world()?;
    // What is to be shown: another hardware address does not get through.
    world.network("children", &["mode=macvlan", "parent=eth0", "lease_timeout=2"])?;
    let refused = world.run("child", "children", &[]).unwrap_err().to_string();
    assert!(refused.contains("no DHCP server offered an address"), "{refused}");
    world.host.docker_ok(&["rm", "-f", "child"])?;
    world.host.docker_ok(&["network", "rm", "children"])?;

    let before = world.host.check(&["cat", "/proc/sys/net/ipv4/neigh/eth0/proxy_delay"])?;
    assert_ne!(before, "0");
    world.network("lan", &["mode=routed", "parent=eth0"])?;
    let wire = world.lan.capture(world.lan.peer(), "eth0", "arp")?;
    let names = ["one", "two", "three"];
    for name in names {
        world.run(name, "lan", &[])?;
    }
    let mut addresses = Vec::new();
    for name in names {
        is_reached(&world, name)?;
        addresses.push(bare(&world.address(name, "eth0")?).to_owned());
    }
    ping(&world, "one", &addresses[1])?;
    let mut answered = proxies(&world)?;
    answered.sort();
    addresses.sort();
    addresses.dedup();
    assert_eq!((answered.len(), &answered), (3, &addresses), "each has its own, by its client identifier");
    // The host is seen with its own address, and a container with its own.
    let source = world.host.check(&["ip", "-4", "route", "get", &addresses[0]])?;
    assert!(source.contains(&format!("src {HOST}")), "{source}");
    let mac = world.host.check(&["cat", "/sys/class/net/eth0/address"])?;
    for address in &addresses {
        let announced = |frame: &Frame| {
            let arp = frame.arp()?;
            (arp.sender_ip.to_string() == *address && arp.sender_mac == mac).then_some(())
        };
        wire.wait_for("the announcement", SOON, announced)?;
    }

    // A container that ends takes all of its own along.
    world.host.docker_ok(&["rm", "-f", "one"])?;
    wait_for("its answer to be gone", SOON, || proxies(&world).is_ok_and(|left| left.len() == 2))?;
    let routes = world.host.check(&["ip", "route", "show", "proto", "76"])?;
    assert_eq!(routes.lines().count(), 2, "{routes}");
    let delay = || world.host.check(&["cat", "/proc/sys/net/ipv4/neigh/eth0/proxy_delay"]);
    assert_eq!(delay()?, "0", "the kernel answers at once");
    world.host.docker_ok(&["rm", "-f", "two", "three"])?;
    wait_for("the setting of before", SOON, || delay().is_ok_and(|delay| delay == before))?;
    Ok(())
}

#[test]
fn restarts() -> Result {
    let mut world = world()?;
    world.network("lan", &["mode=routed", "parent=eth0"])?;
    world.run("web", "lan", &["--restart=always"])?;
    let address = world.address("web", "eth0")?;
    is_reached(&world, "web")?;
    let settings = world.host.node().sh("cd /proc/sys/net/ipv4/conf/llh*
        cat rp_filter accept_redirects send_redirects ../../../ipv6/conf/llh*/disable_ipv6")?;
    assert_eq!(settings.split_whitespace().collect::<Vec<_>>(), ["1", "0", "0", "1"]);

    // The daemon is killed: nothing stops meanwhile, and the next one sends nothing.
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    is_reached(&world, "web")?;
    let wire = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or arp")?;
    world.daemon = start_daemon(&world.host)?;
    assert_eq!(world.row("web")?["state"], "BOUND");
    is_reached(&world, "web")?;
    let said = |frame: &Frame| {
        let announced = frame.arp().is_some_and(|arp| arp.sender_ip == arp.target_ip);
        announced || frame.dhcp().is_some()
    };
    let said: Vec<Frame> = wire.frames().into_iter().filter(said).collect();
    assert!(said.is_empty(), "{said:?}");

    // The kernel forgets what it answers for when the link goes down.
    world.host.check(&["ip", "link", "set", "eth0", "down"])?;
    world.host.check(&["ip", "link", "set", "eth0", "up"])?;
    world.host.check(&["ip", "route", "add", "default", "via", "192.0.2.1", "dev", "eth0"])?;
    wait_for("the host to answer again", SOON, || proxies(&world).is_ok_and(|all| all.len() == 1))?;
    is_reached(&world, "web")?;
    // And when the cable is pulled.
    world.lan.switch().check(&["ip", "link", "set", "p-host1", "down"])?;
    wait_for("the host to be silent", SOON, || proxies(&world).is_ok_and(|all| all.is_empty()))?;
    let wire = world.lan.capture(world.lan.router(), "eth0", "arp")?;
    world.lan.switch().check(&["ip", "link", "set", "p-host1", "up"])?;
    let announced = |frame: &Frame| {
        let arp = frame.arp()?;
        (arp.sender_ip == arp.target_ip && arp.sender_ip.to_string() == bare(&address)).then_some(())
    };
    wire.wait_for("the announcement", SOON, announced)?;
    is_reached(&world, "web")?;
    // Somebody removes the route.
    world.host.check(&["ip", "route", "del", &format!("{}/32", bare(&address))])?;
    wait_for("the route to be back", SOON, || is_reached(&world, "web").is_ok())?;

    world.host.dockerd_stop(Signal::TERM)?;
    world.host.dockerd_start()?;
    wait_for("Docker to start the container", SOON, || world.address("web", "eth0").is_ok())?;
    assert_eq!(world.address("web", "eth0")?, address, "it is the same container");
    is_reached(&world, "web")
}

#[test]
fn kea_tells_them_apart_renews_and_takes_an_address_back() -> Result {
    let kea = || Kea { valid_lifetime: 8, renew: Some(4), rebind: Some(6), ..Kea::default() };
    let mut world = world_with(&kea())?;
    world.network("lan", &["mode=routed", "parent=eth0"])?;
    let wire = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68")?;
    world.run("one", "lan", &[])?;
    world.run("two", "lan", &[])?;
    let (one, two) = (world.address("one", "eth0")?, world.address("two", "eth0")?);
    assert_ne!(one, two);

    // Renewals go to the server alone, from the container's address and the host's NIC.
    let mac = world.host.check(&["cat", "/sys/class/net/eth0/address"])?;
    let router = world.lan.router().mac("eth0")?;
    let renewal = |frame: &Frame| {
        let message = frame.dhcp().filter(|message| message.kind() == Some(DhcpKind::Request))?;
        (message.ciaddr.to_string() == bare(&one)).then(|| frame.clone())
    };
    let frame = wire.wait_for("a renewal", Duration::from_secs(15), renewal)?;
    assert_eq!((frame.source(), frame.destination()), (mac.trim().to_owned(), router), "{frame}");
    let udp = frame.udp().ok_or("not UDP")?;
    assert_eq!(udp.source.to_string(), format!("{}:68", bare(&one)), "{frame}");
    is_reached(&world, "one")?;

    // The addresses belong to others from now on.
    let other = |address: &String| {
        let last: u8 = bare(address).rsplit('.').next().unwrap_or_default().parse().unwrap_or_default();
        Reservation::new(format!("02:00:00:00:00:{last:02x}"), bare(address))
    };
    let reservations = [&one, &two].map(other).into();
    let moved = Kea { pool: Some("192.0.2.210-192.0.2.220".into()), reservations, ..kea() };
    world.dhcp.reconfigure(&moved)?;
    for (name, before) in [("one", &one), ("two", &two)] {
        let is_new = || world.address(name, "eth0").is_ok_and(|now| now != *before);
        wait_for(format!("another address of {name}"), 2 * SOON, is_new)?;
        wait_for("it to be reached", SOON, || is_reached(&world, name).is_ok())?;
        assert_eq!(world.row(name)?["naks"], 1);
    }
    let answered = proxies(&world)?;
    assert!(answered.len() == 2 && !answered.contains(&bare(&one).to_owned()), "{answered:?}");
    Ok(())
}

#[test]
fn isc_dhcpd_tells_them_apart_and_udhcpd_does_not() -> Result {
    let range = ("192.0.2.100".to_owned(), "192.0.2.103".to_owned());
    let dhcpd = Dhcpd { range: range.clone(), lease_time: 60, extra: String::new() };
    let world = world_with(&dhcpd)?;
    world.network("lan", &["mode=routed", "parent=eth0"])?;
    world.run("one", "lan", &[])?;
    world.run("two", "lan", &[])?;
    assert_ne!(world.address("one", "eth0")?, world.address("two", "eth0")?);
    is_reached(&world, "two")?;
    drop(world);

    // It knows hardware addresses only.
    let world = world_with(&Udhcpd { range, lease_time: 60, ..Udhcpd::default() })?;
    world.network("lan", &["mode=routed", "parent=eth0"])?;
    world.run("one", "lan", &[])?;
    is_reached(&world, "one")?;
    let refused = world.run("two", "lan", &[]).unwrap_err().to_string();
    assert!(refused.contains("set it to go by client identifier"), "{refused}");
    is_reached(&world, "one")
}

#[test]
fn dockers_firewall_is_opened_and_an_attachment_goes_the_same_way() -> Result {
    // Docker sets this when it switches forwarding on itself. Its parent is a bridge, of which no end becomes a port.
    let world = behind_rules("iptables-nft", "iptables -P FORWARD DROP", &[])?;
    let rules = || world.host.node().sh("iptables -S DOCKER-USER");
    let before = rules()?;
    let refused = world.network("shut", &["mode=routed", "parent=br0"]).unwrap_err().to_string();
    assert!(refused.contains("drops what it routes between br0 and containers (chain FORWARD"), "{refused}");
    world.network("kept", &["mode=routed", "parent=br0", "firewall=keep"])?;
    let found = world.landline("doctor").unwrap_or_else(|error| error.to_string());
    assert!(found.contains("the host's firewall drops what goes between br0 and"), "{found}");
    world.host.docker_ok(&["network", "rm", "kept"])?;

    world.network("lan", &["mode=routed", "parent=br0", "firewall=open"])?;
    world.run("web", "lan", &[])?;
    let address = world.address("web", "eth0")?;
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
    ping(&world, "web", PEER_V4)?;
    let ports = world.host.check(&["ip", "-o", "link", "show", "master", "br0"])?;
    assert!(!ports.contains("llh"), "{ports}");

    world.run("plain", "none", &[])?;
    world.landline("attach br0 plain dhcp mode=routed ifname=lan0")?;
    let second = world.address("plain", "lan0")?;
    assert_ne!(second, address);
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&second)])?;
    ping(&world, "plain", bare(&address))?;
    world.landline("detach plain lan0")?;
    let refused = world.landline("attach br0 plain 192.0.2.2/24 mode=routed").unwrap_err().to_string();
    assert!(refused.contains("192.0.2.2"), "{refused}");

    world.host.docker_ok(&["rm", "-f", "web"])?;
    world.host.docker_ok(&["network", "rm", "lan"])?;
    wait_for("the rules to be gone", SOON, || rules().is_ok_and(|now| now == before))?;
    Ok(())
}

#[test]
fn another_machine_takes_the_address() -> Result {
    let world = world()?;
    world.network("lan", &["mode=routed", "parent=eth0"])?;
    world.run("web", "lan", &[])?;
    let first = world.address("web", "eth0")?;
    is_reached(&world, "web")?;
    // It claims the address again and again, as a machine does that was given it by hand.
    let take = format!("ip address add {first} dev eth0; arping -q -U -c8 -I eth0 -s {0} {0}", bare(&first));
    let peer = world.lan.peer().spawn(&["sh", "-c", &take])?;
    let is_new = || world.address("web", "eth0").is_ok_and(|now| now != first);
    wait_for("another address", 2 * SOON, is_new)
        .map_err(|error| format!("{error}\n{}", world.daemon.log()))?;
    drop(peer);
    world.lan.peer().check(&["ip", "address", "del", &first, "dev", "eth0"])?;
    wait_for("it to be reached", SOON, || is_reached(&world, "web").is_ok())?;
    assert!(world.row("web")?["conflicts"].as_u64() >= Some(1));
    let answered = proxies(&world)?;
    assert!(!answered.contains(&bare(&first).to_owned()) && answered.len() == 1, "{answered:?}");
    Ok(())
}

#[test]
fn twenty_at_once_and_one_of_a_runtime() -> Result {
    let world = world()?;
    world.network("lan", &["mode=routed", "parent=eth0", "lease_timeout=60s"])?;
    let all = names("c", 20);
    at_once(&all, |name| world.run(name, "lan", &[]))?;
    let addresses: BTreeSet<String> =
        all.iter().map(|name| world.address(name, "eth0")).collect::<Result<_>>()?;
    assert_eq!(addresses.len(), 20);
    at_once(&all, |name| is_reached(&world, name))?;
    assert_eq!(proxies(&world)?.len(), 20);

    // A container runtime asks for it.
    world.host.check(&["ip", "netns", "add", "pod"])?;
    let call = |command: &str| {
        let variables = [
            format!("CNI_COMMAND={command}"),
            "CNI_CONTAINERID=pod".to_owned(),
            "CNI_NETNS=/run/netns/pod".to_owned(),
            "CNI_IFNAME=eth0".to_owned(),
        ];
        let config = json!({
            "cniVersion": "1.0.0", "name": "pods", "type": "landline", "parent": "eth0", "mode": "routed",
        });
        world.plugin(&variables, &[], &config.to_string())
    };
    let (success, answer) = call("ADD")?;
    assert!(success, "{answer}");
    let address = answer["ips"][0]["address"].as_str().ok_or("no address")?;
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(address)])?;
    let (success, answer) = call("DEL")?;
    assert!(success, "{answer}");
    wait_for("its answer to be gone", SOON, || proxies(&world).is_ok_and(|all| all.len() == 20))?;
    Ok(())
}

#[test]
fn fixed_addresses_are_looked_for_and_answered_for() -> Result {
    let world = world()?;
    let create = |args: &[&str]| {
        let fixed = ["network", "create", "-d", "landline", "-o", "mode=routed", "-o", "parent=eth0"];
        world.host.docker_ok(&[&fixed, args].concat())
    };
    create(&[
        "--ipam-driver",
        "landline",
        "--subnet",
        "192.0.2.0/24",
        "--ip-range",
        "192.0.2.64/28",
        "-o",
        "addressing=pool",
        "lan",
    ])?;
    world.run("web", "lan", &["--ip", "192.0.2.70"])?;
    assert_eq!(world.address("web", "eth0")?, "192.0.2.70/24");
    is_reached(&world, "web")?;
    let taken = world.run("peer", "lan", &["--ip", PEER_V4]).unwrap_err().to_string();
    assert!(taken.contains("192.0.2.2") && taken.contains("in use"), "{taken}");
    assert_eq!(proxies(&world)?, ["192.0.2.70"]);
    Ok(())
}

#[test]
fn docker_knows_the_leased_address_and_connects_running_containers() -> Result {
    let world = world()?;
    let options = ["-o", "mode=routed", "-o", "parent=eth0"];
    let create =
        ["network", "create", "-d", "landline", "--ipam-driver", "landline", "--subnet", "192.0.2.0/24"];
    world.host.docker_ok(&[&create[..], &options, &["lan"]].concat())?;
    world.run("web", "lan", &[])?;
    is_reached(&world, "web")?;
    let format = "{{.NetworkSettings.Networks.lan.IPAddress}}";
    let known = world.host.docker_ok(&["inspect", "-f", format, "web"])?;
    let address = world.address("web", "eth0")?;
    assert_eq!(known.trim(), bare(&address));

    // It is recreated and has its address again; what stood for the first one is gone meanwhile.
    world.host.docker_ok(&["rm", "-f", "web"])?;
    wait_for("its answer to be gone", SOON, || proxies(&world).is_ok_and(|left| left.is_empty()))?;
    world.run("web", "lan", &[])?;
    assert_eq!(world.address("web", "eth0")?, address);
    is_reached(&world, "web")?;

    world.run("plain", "none", &[])?;
    world.host.docker_ok(&["network", "disconnect", "none", "plain"])?;
    world.host.docker_ok(&["network", "connect", "lan", "plain"])?;
    is_reached(&world, "plain")?;
    ping(&world, "plain", bare(&address))?;
    world.host.docker_ok(&["network", "disconnect", "lan", "plain"])?;
    wait_for("its answer to be gone", SOON, || proxies(&world).is_ok_and(|left| left == [bare(&address)]))?;
    // Beyond the router, by the container's default route and the host's.
    ping(&world, "web", BEYOND_V4)
}

#[test]
fn what_routing_needs_is_said() -> Result {
    let world = World::nic()?;
    let refused = |options: &[&str]| {
        let options: Vec<&str> = [&["mode=routed", "parent=eth0"], options].concat();
        world.network("lan", &options).unwrap_err().to_string()
    };
    assert!(refused(&["ipv6=true"]).contains("mode=routed supports IPv4 only"));
    world.host.check(&["sysctl", "-w", "net.ipv4.conf.eth0.forwarding=0"])?;
    let says = refused(&[]);
    assert!(says.contains("sysctl -w net/ipv4/conf/eth0/forwarding=1"), "{says}");
    world.host.check(&["sysctl", "-w", "net.ipv4.conf.eth0.forwarding=1"])?;
    world.host.check(&["ip", "address", "flush", "dev", "eth0"])?;
    assert!(refused(&[]).contains("eth0 has no IPv4 address"), "{}", refused(&[]));
    Ok(())
}
