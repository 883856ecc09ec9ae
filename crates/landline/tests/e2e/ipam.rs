//! `--ipam-driver landline` with pools of its own.

use landline_testbed::{Dnsmasq, Frame, Signal, wait_for};

use crate::kinds::Kind;
use crate::world::{Result, SOON, World, bare, binary};

impl World {
    /// `docker network create -d landline --ipam-driver landline IPAM -o bridge=br0 -o ignore_conflicts=true NAME`, with
    /// addresses from the subnet unless it has words of its own about that.
    pub(crate) fn pool(&self, name: &str, ipam: &[&str]) -> Result<String> {
        let mut command = vec!["network", "create", "-d", "landline", "--ipam-driver", "landline"];
        command.extend(ipam);
        if !ipam.iter().any(|word| word.starts_with("addressing=")) {
            command.extend(["-o", "addressing=pool"]);
        }
        command.extend(["-o", "bridge=br0", "-o", "ignore_conflicts=true", name]);
        Ok(self.host.docker_ok(&command)?.trim().to_owned())
    }

    /// What `docker run` prints when it fails.
    pub(crate) fn run_fails(&self, name: &str, network: &str, args: &[&str]) -> String {
        let mut command = vec!["run", "-d", "--name", name, "--network", network];
        command.extend(args);
        command.extend(["box", "sleep", "infinity"]);
        let output = self.host.docker(&command);
        assert!(!output.success(), "{name} runs: {}", output.stdout);
        self.host.docker(&["rm", "-f", name]);
        output.stderr
    }

    /// A Go template's value of `docker inspect`.
    pub(crate) fn inspect(&self, what: &str, template: &str) -> Result<String> {
        Ok(self.host.docker_ok(&["inspect", "-f", template, what])?.trim().to_owned())
    }
}

#[test]
fn gateway_rules_one_by_one() -> Result {
    let world = World::bridge()?;
    // The gateway is far from the range.
    world.pool(
        "lan",
        &["--subnet", "192.0.2.0/24", "--ip-range", "192.0.2.64/29", "--gateway", "192.0.2.250"],
    )?;
    world.run("first", "lan", &[])?;
    assert_eq!(world.address("first", "br00")?, "192.0.2.64/24");
    assert_eq!(world.gateways("first")?, ["192.0.2.250"]);
    assert_eq!(world.interfaces("first")?, ["br00"], "no interface of Docker's own");

    // Whoever names the gateway has it: once, and without a way through itself.
    world.run("router", "lan", &["--ip", "192.0.2.250"])?;
    assert_eq!(world.address("router", "br00")?, "192.0.2.250/24");
    assert_eq!(world.gateways("router")?, [""; 0]);
    assert_eq!(world.interfaces("router")?, ["br00"], "no interface of Docker's own");
    let error = world.run_fails("other", "lan", &["--ip", "192.0.2.250"]);
    assert!(error.contains("192.0.2.250 is in use by router"), "{error}");
    world.inside("first", &["ping", "-c1", "-W5", "192.0.2.250"])?;

    // The one with another network has its default route from that.
    world.pool("uplink", &["--subnet", "198.51.100.0/24", "--gateway", "198.51.100.1"])?;
    world.host.docker_ok(&["rm", "-f", "router"])?;
    world.run("router", "uplink", &[])?;
    world.host.docker_ok(&["network", "connect", "--ip", "192.0.2.250", "lan", "router"])?;
    assert_eq!(world.gateways("router")?, ["198.51.100.1"]);
    // One that has not known the router before.
    world.run("second", "lan", &[])?;
    world.inside("second", &["ping", "-c1", "-W5", "192.0.2.250"])?;

    // A gateway within the range is never given to anybody, however short addresses are.
    world.pool("small", &["--subnet", "203.0.113.0/29", "--gateway", "203.0.113.3"])?;
    for n in 0..5 {
        let name = format!("small{n}");
        world.run(&name, "small", &[])?;
        assert_ne!(world.address(&name, "br00")?, "203.0.113.3/29");
    }
    let error = world.run_fails("small5", "small", &[]);
    assert!(error.contains("all addresses of 203.0.113.0/29 are in use"), "{error}");
    world.run("claims", "small", &["--ip", "203.0.113.3"])?;

    // It is optional, and must be in the subnet.
    world.pool("island", &["--subnet", "203.0.113.64/29"])?;
    world.run("robinson", "island", &[])?;
    assert_eq!(world.address("robinson", "br00")?, "203.0.113.65/29");
    assert_eq!(world.gateways("robinson")?, [""; 0]);
    assert_eq!(world.interfaces("robinson")?, ["br00"]);
    let outside = world.pool("no", &["--subnet", "203.0.113.128/29", "--gateway", "192.0.2.1"]);
    assert!(outside.is_err());
    Ok(())
}

#[test]
fn two_networks_with_one_subnet() -> Result {
    let world = World::bridge()?;
    world.host.make_bridge("br1", None)?;
    world.host.docker_ok(&[
        "network",
        "create",
        "-d",
        "landline",
        "--ipam-driver",
        "landline",
        "--subnet",
        "203.0.113.0/24",
        "-o",
        "bridge=br1",
        "-o",
        "addressing=pool",
        "other",
    ])?;
    world.pool("lan", &["--subnet", "203.0.113.0/24", "--ip-range", "203.0.113.0/25"])?;
    for (name, network) in [("a1", "lan"), ("b1", "other"), ("a3", "lan"), ("b3", "other")] {
        world.run(name, network, &[])?;
    }
    assert_eq!(world.address("a1", "br00")?, "203.0.113.1/24");
    assert_eq!(world.address("b1", "br10")?, "203.0.113.1/24");
    assert_eq!(world.address("a3", "br00")?, "203.0.113.2/24");
    assert_eq!(world.address("b3", "br10")?, "203.0.113.2/24");
    // Each is on its own wire.
    let seen = |container: &str, link: &str| -> Result<String> {
        world.inside(container, &["ping", "-c1", "-W5", "203.0.113.2"])?;
        world.inside(container, &["ip", "neigh", "show", "203.0.113.2", "dev", link])
    };
    assert!(seen("a1", "br00")?.contains(&world.mac("a3", "br00")?));
    assert!(seen("b1", "br10")?.contains(&world.mac("b3", "br10")?));
    // Nobody asked the LAN's server.
    assert!(!world.dhcp.log().contains("DHCPDISCOVER"), "{}", world.dhcp.log_tail());
    Ok(())
}

#[test]
fn addresses_stay_with_their_containers_and_are_not_reused_at_once() -> Result {
    let mut world = World::bridge()?;
    world.pool("lan", &["--subnet", "203.0.113.0/28", "--gateway", "203.0.113.14"])?;
    let address = |world: &World, name: &str| world.address(name, "br00");
    world.run("web", "lan", &[])?;
    world.run("db", "lan", &[])?;
    assert_eq!(address(&world, "web")?, "203.0.113.1/28");
    assert_eq!(world.inspect("web", "{{.NetworkSettings.Networks.lan.IPAddress}}")?, "203.0.113.1");
    let mac = world.mac("web", "br00")?;

    // What was freed comes last, except for whoever had it.
    world.host.docker_ok(&["rm", "-f", "db"])?;
    world.run("next", "lan", &[])?;
    assert_eq!(address(&world, "next")?, "203.0.113.3/28");
    world.row("web")?;
    world.host.docker_ok(&["restart", "-t0", "web"])?;
    assert_eq!(address(&world, "web")?, "203.0.113.1/28");
    assert_eq!(world.mac("web", "br00")?, mac);
    world.run("db", "lan", &[])?;
    assert_eq!(address(&world, "db")?, "203.0.113.2/28", "recreated under its name");

    // The daemon killed: it knows what is taken. Docker killed and started again: it asks for nothing again.
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.daemon = world.host.start_landline(binary(), &[], &[])?;
    world.run("after", "lan", &[])?;
    assert_eq!(address(&world, "after")?, "203.0.113.4/28");
    world.host.dockerd_stop(Signal::TERM)?;
    world.host.dockerd_start()?;
    // Nothing but Docker's API tells them apart: once it is followed again, new names are known.
    world.network("seen", &["bridge=br0", "ignore_conflicts=true"])?;
    world.row_of_network("seen")?;
    for name in ["web", "next"] {
        world.host.docker_ok(&["start", name])?;
    }
    assert_eq!(bare(&address(&world, "web")?), "203.0.113.1");
    assert_eq!(bare(&address(&world, "next")?), "203.0.113.3");
    let taken = world.run_fails("thief", "lan", &["--ip", "203.0.113.1"]);
    assert!(taken.contains("203.0.113.1 is in use by web"), "{taken}");

    // A network that is gone leaves nothing, and its subnet is free.
    world.host.docker_ok(&["rm", "-f", "web", "db", "next", "after"])?;
    world.host.docker_ok(&["network", "rm", "lan"])?;
    world.pool("lan", &["--subnet", "203.0.113.0/28"])?;
    world.run("web", "lan", &[])?;
    assert_eq!(address(&world, "web")?, "203.0.113.1/28");
    Ok(())
}

/// On a busy host word of a container comes later than Docker's request for its address, and until the container has
/// started Docker says no more of it than its name.
#[test]
fn a_container_made_anew_has_its_address_however_late_word_of_it_comes() -> Result {
    let mut world = World::bridge()?;
    world.pool("lan", &["--subnet", "203.0.113.0/28"])?;
    for name in ["web", "db", "next"] {
        world.run(name, "lan", &[])?;
        world.row(name)?;
    }
    world.host.docker_ok(&["rm", "-f", "db"])?;
    let roots = || -> Result<usize> {
        let mounts = world.host.check(&["cat", "/proc/self/mountinfo"])?;
        Ok(mounts.lines().filter(|line| line.contains(" - overlay ")).count())
    };
    let before = roots()?;
    world.daemon.kill(Signal::STOP)?;
    let mut run = world.host.docker_spawn(&[
        "run",
        "-d",
        "--name",
        "db",
        "--network",
        "lan",
        "box",
        "sleep",
        "infinity",
    ])?;
    wait_for("db to be started", SOON, || roots().is_ok_and(|now| now > before))?;
    world.daemon.kill(Signal::CONT)?;
    assert!(run.wait_within(SOON)?.success(), "{}", run.stderr());
    assert_eq!(world.address("db", "br00")?, "203.0.113.2/28", "{}", world.daemon.log());
    Ok(())
}

#[test]
fn an_address_is_announced_when_it_moves_and_not_taken_from_others() -> Result {
    let world = World::bridge()?;
    let peer = world.lan.peer();
    peer.check(&["ip", "address", "add", "2001:db8:7::2/64", "dev", "eth0", "nodad"])?;
    let v4 = ["--subnet", "192.0.2.0/24", "--ip-range", "192.0.2.64/29"];
    world.pool("lan", &[&v4[..], &["--ipv6", "--subnet", "2001:db8:7::/64"]].concat())?;
    let (four, six) = ("192.0.2.80", "2001:db8:7::80");
    let remembered = |address: &str| peer.check(&["ip", "neigh", "show", address]).unwrap_or_default();
    world.run("before", "lan", &["--ip", four, "--ip6", six])?;
    for address in [four, six] {
        peer.check(&["ping", "-c1", "-W5", address])?;
    }
    let before = world.mac("before", "br00")?;
    assert!(remembered(four).contains(&before), "{}", remembered(four));
    world.host.docker_ok(&["rm", "-f", "before"])?;

    // Nobody asks, and whoever has the address now has nothing to say.
    let capture = world.lan.capture(peer, "eth0", "arp or icmp6")?;
    world.run("after", "lan", &["--ip", four, "--ip6", six])?;
    let mac = world.mac("after", "br00")?;
    assert_ne!(mac, before);
    let announced = |frame: &Frame| {
        let arp = frame.arp()?;
        let own =
            arp.sender_mac == mac && arp.sender_ip.to_string() == four && arp.sender_ip == arp.target_ip;
        own.then_some(())
    };
    capture.wait_for("an ARP announcement", SOON, announced)?;
    capture.wait_for("an unsolicited Neighbour Advertisement", SOON, |frame| {
        let (from, to, protocol, message) = frame.ip()?;
        let own = frame.source() == mac && from.to_string() == six && to.to_string() == "ff02::1";
        // Not solicited, and it counts for more than what is remembered.
        (own && protocol == 58 && message.first() == Some(&136) && message.get(4) == Some(&0x20))
            .then_some(())
    })?;
    for address in [four, six] {
        wait_for(format!("the peer to know where {address} is"), SOON, || remembered(address).contains(&mac))
            .map_err(|error| format!("{error}: {}", remembered(address)))?;
    }

    // Another machine has the first of the range. Whoever is given it does not start, and the next one has another.
    peer.check(&["ip", "address", "add", "192.0.2.64/24", "dev", "eth0"])?;
    let error = world.run_fails("web", "lan", &[]);
    let by = format!("network lan: 192.0.2.64 is in use on the LAN by {}", peer.mac("eth0")?);
    assert!(error.contains(&by), "{error}");
    world.run("web", "lan", &[])?;
    assert_eq!(world.address("web", "br00")?, "192.0.2.65/24");
    world.pool("careless", &[&v4[..], &["-o", "conflict_check=off"]].concat())?;
    world.run("careless", "careless", &["--ip", "192.0.2.64"])?;
    Ok(())
}

#[test]
fn set_aside_and_refused() -> Result {
    let world = Kind::Bridge.world(&Dnsmasq::default())?;
    world.pool("lan", &["--subnet", "203.0.113.0/28", "--aux-address", "nas=203.0.113.1"])?;
    world.run("web", "lan", &["--mac-address", "02:42:c0:00:02:0a"])?;
    assert_eq!(world.address("web", "br00")?, "203.0.113.2/28");
    assert_eq!(world.mac("web", "br00")?, "02:42:c0:00:02:0a");
    for (ip, why) in [
        ("203.0.113.1", "203.0.113.1 is in use by another container"),
        ("203.0.113.15", "203.0.113.15 is no machine's address in the subnet 203.0.113.0/28"),
    ] {
        let error = world.run_fails("thief", "lan", &["--ip", ip]);
        assert!(error.contains(why), "{error}");
    }

    // Docker 29 says what the endpoint is called, and then several may be starting.
    let log = world.daemon.log();
    let pool = log.split("pool created pool=").nth(1).and_then(|rest| rest.split(' ').next());
    let pool = pool.ok_or("no pool in the log")?;
    let ask = |verb: &str, body: serde_json::Value| -> Result<String> {
        let (_, answer) = world.daemon.request(&format!("/IpamDriver.{verb}"), &body.to_string())?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        assert!(answer["Error"].as_str().is_none_or(str::is_empty), "{answer}");
        Ok(answer["Address"].as_str().unwrap_or_default().to_owned())
    };
    let given = |name: &str| {
        let options = serde_json::json!({"com.docker.network.endpoint.name": name});
        ask("RequestAddress", serde_json::json!({"PoolID": pool, "Address": "", "Options": options}))
    };
    for order in [["one", "two"], ["two", "one"]] {
        for name in order {
            assert_eq!(given(name)?, if name == "one" { "203.0.113.3/28" } else { "203.0.113.4/28" });
        }
        for address in ["203.0.113.3", "203.0.113.4"] {
            ask("ReleaseAddress", serde_json::json!({"PoolID": pool, "Address": address}))?;
        }
    }

    let create = |ipam: &[&str]| {
        let mut command = vec!["network", "create", "-d", "landline", "--ipam-driver", "landline"];
        command.extend(ipam);
        command.extend(["-o", "bridge=br0", "-o", "ignore_conflicts=true", "no"]);
        let output = world.host.docker(&command);
        assert!(!output.success(), "{ipam:?}");
        output.stderr
    };
    for (ipam, why) in [
        (&["--ipam-opt", "addressing=pool"][..], "give --subnet, or use addressing=dhcp"),
        (&["-o", "addressing=pool"], "takes addresses from a subnet: give --subnet"),
        (&["--ipam-opt", "adressing=pool"], "did you mean addressing"),
        (
            &["--subnet", "203.0.113.0/28", "--ip-range", "203.0.113.0/29", "-o", "addressing=dhcp"],
            "leave out one of them",
        ),
        (
            &["--subnet", "203.0.113.0/28", "--ipam-opt", "addressing=dhcp", "-o", "addressing=pool"],
            "leave out one of them",
        ),
        (&["--subnet", "203.0.113.0/28", "-o", "addressing=none"], "addressing=none gives no addresses"),
        (
            &["--subnet", "192.0.2.0/24", "--ip-range", "192.0.2.0/25", "--ipam-opt", "addressing=dhcp"],
            "leave out --ip-range",
        ),
    ] {
        let error = create(ipam);
        assert!(error.contains(why), "{ipam:?}: {error}");
    }
    Ok(())
}

/// Scripts of old: names of drivers, and networks whose subnets clash, each a switch of its own.
#[test]
fn names_of_old_and_clashing_subnets_on_vde_switches() -> Result {
    let world = World::bridge_named(&["--driver", "vde:mode=vde", "--ipam-name", "vde-ipam"])?;
    let subnet = ["--ip-range", "203.0.113.0/24", "--subnet", "203.0.113.0/24"];
    for (network, driver, ipam) in [("one", "vde", "vde-ipam"), ("two", "vde", "landline")] {
        let create =
            ["network", "create", "--driver", driver, "--ipam-driver", ipam, "--gateway", "203.0.113.9"];
        world.host.docker_ok(&[&create[..], &subnet, &[network]].concat())?;
        let (named, any) = (format!("{network}-named"), format!("{network}-any"));
        world.run(&named, network, &["--ip", "203.0.113.2"])?;
        world.run(&any, network, &[])?;
        assert_eq!(world.address(&named, "vde0")?, "203.0.113.2/24");
        assert_eq!(world.address(&any, "vde0")?, "203.0.113.1/24");
        assert_eq!(world.gateways(&any)?, ["203.0.113.9"]);
        wait_for("the two to reach each other", SOON, || {
            world.inside(&any, &["ping", "-c1", "-W1", "203.0.113.2"]).ok()
        })?;
    }
    let macs = [world.mac("one-named", "vde0")?, world.mac("two-named", "vde0")?];
    for (container, mac) in ["one-any", "two-any"].into_iter().zip(&macs) {
        let neighbours = world.inside(container, &["ip", "neigh", "show", "203.0.113.2"])?;
        assert!(neighbours.contains(mac.as_str()), "{container}: {neighbours}");
    }
    Ok(())
}

#[test]
fn ipv6_addresses_from_a_pool() -> Result {
    let world = World::bridge()?;
    // Engines before 28 heed an IPv6 gateway only beside an IPv4 one.
    let v4 = ["--subnet", "203.0.113.0/28", "--gateway", "203.0.113.14"];
    let both = [&v4[..], &["--ipv6", "--subnet", "2001:db8:7::/64", "--gateway", "2001:db8:7::fe"]];
    world.pool("lan", &both.concat())?;
    let v6 = |name: &str| -> Result<String> {
        world.inside(name, &["ip", "-6", "-o", "addr", "show", "dev", "br00", "scope", "global"])
    };
    let default = |name: &str| world.inside(name, &["ip", "-6", "route", "show", "default"]);
    world.run("web", "lan", &[])?;
    assert!(v6("web")?.contains(" 2001:db8:7::1/64 "), "{}", v6("web")?);
    assert!(default("web")?.contains("via 2001:db8:7::fe"), "{}", default("web")?);
    assert_eq!(world.inspect("web", "{{.NetworkSettings.Networks.lan.GlobalIPv6Address}}")?, "2001:db8:7::1");
    // The gateway rules hold here as well.
    world.run("router", "lan", &["--ip6", "2001:db8:7::fe"])?;
    assert!(v6("router")?.contains(" 2001:db8:7::fe/64 "), "{}", v6("router")?);
    assert!(!default("router")?.contains("br00"), "{}", default("router")?);
    world.inside("web", &["ping", "-6", "-c1", "-W5", "2001:db8:7::fe"])?;
    let taken = world.run_fails("thief", "lan", &["--ip6", "2001:db8:7::fe"]);
    assert!(taken.contains("2001:db8:7::fe is in use by router"), "{taken}");

    // An IPv6 pool is for static addresses.
    let refused =
        world.pool("mixed", &["--ipv6", "--subnet", "2001:db8:8::/64", "--ipam-opt", "addressing=dhcp"]);
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("do not come through an IPAM driver"), "{error}");
    Ok(())
}
