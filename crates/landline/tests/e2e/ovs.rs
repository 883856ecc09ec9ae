//! `mode=ovs`, on Open vSwitch's datapath in user space, which needs nothing of the kernel.

use landline_testbed::{Dnsmasq, Dockerd, Lan, OpenVswitch, Signal, wait_for};

use crate::footprint::Footprint;
use crate::tools::start_daemon;
use crate::world::{Result, SOON, World, bare, binary};

/// A LAN with checksums as on a real wire, and a host whose NIC is in the Open vSwitch bridge `ovs0` (192.0.2.10).
pub(crate) fn world() -> Result<(OpenVswitch, World)> {
    let lan = Lan::new()?;
    for node in [lan.router(), lan.peer()] {
        node.check(&["ethtool", "-K", "eth0", "tx", "off"])?;
    }
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let host = lan.docker_host("host1")?;
    let ovs = host.open_vswitch()?;
    ovs.make_bridge("ovs0", "192.0.2.10/24")?;
    Ok((ovs, World::start(lan, dhcp, host)?))
}

const OVS: [&str; 2] = ["mode=ovs", "bridge=ovs0"];

/// The port of a container, once its name is written to it.
fn port(ovs: &OpenVswitch, container: &str) -> Result<String> {
    let find = format!("external_ids:landline-container={container}");
    let port =
        || ovs.vsctl(&["--bare", "--columns=name", "find", "port", &find]).ok().filter(|p| !p.is_empty());
    Ok(wait_for(format!("the port of {container}"), SOON, port)?)
}

/// A page of 300 kB, fetched from a container by a machine and by a machine from a container.
pub(crate) fn fetch(world: &World, container: &str, address: &str) -> Result {
    let prepare = "dd if=/dev/zero of=/tmp/page bs=1000 count=300 2>/dev/null; exec httpd -p 8080 -h /tmp";
    world.host.in_container(container, &["sh", "-c", prepare])?;
    let url = format!("http://{address}:8080/page");
    let size =
        ["curl", "-sS", "--max-time", "20", "--output", "/dev/null", "--write-out", "%{size_download}"];
    let fetch: Vec<&str> = size.iter().copied().chain([url.as_str()]).collect();
    assert_eq!(world.lan.peer().check(&fetch)?, "300000", "from the peer");
    assert_eq!(world.host.check(&fetch)?, "300000", "from the host");
    Ok(())
}

#[test]
fn a_container_is_a_port_and_is_reached_like_one() -> Result {
    let (ovs, world) = world()?;
    let host_before = Footprint::of(&world)?;
    let before = ovs.vsctl(&["show"])?;

    let error = world.network("lan", &["mode=ovs", "bridge=ovs1"]).unwrap_err().to_string();
    assert!(error.contains("there is no interface ovs1; one of these would do: -o parent=ovs0"), "{error}");
    if !std::path::Path::new("/sys/module/openvswitch").exists() {
        // Its local port is not made either; a tap in its place gets it past the looks.
        ovs.vsctl(&["--no-wait", "add-br", "kernel0"])?;
        world.host.check(&["ip", "tuntap", "add", "kernel0", "mode", "tap"])?;
        let error = world.network("lan", &["mode=ovs", "bridge=kernel0"]).unwrap_err().to_string();
        assert!(error.contains("the bridge kernel0 has no datapath"), "{error}");
        world.host.check(&["ip", "link", "del", "kernel0"])?;
        ovs.vsctl(&["--no-wait", "del-br", "kernel0"])?;
    }
    world.host.check(&["ip", "tuntap", "add", "tap0", "mode", "tap"])?;
    let error = world.network("lan", &["mode=ovs", "bridge=tap0"]).unwrap_err().to_string();
    assert!(error.contains("Open vSwitch has no bridge tap0; it has ovs0"), "{error}");
    world.host.check(&["ip", "link", "del", "tap0"])?;

    let id = world.network("lan", &OVS)?;
    world.run("leased", "lan", &[])?;
    let leased = world.address("leased", "ovs00")?;
    assert_eq!(world.lease_of(&world.mac("leased", "ovs00")?)?.ip.to_string(), bare(&leased));
    fetch(&world, "leased", bare(&leased))?;

    world
        .host
        .docker_ok(&["network", "rm", &id])
        .map_or_else(|_| Ok(()), |_| Err("a network in use was removed"))?;
    let create =
        ["network", "create", "-d", "landline", "--subnet", "192.0.2.0/24", "--gateway", "192.0.2.1"];
    let options = ["-o", "addressing=static", "-o", "mode=ovs", "-o", "bridge=ovs0"];
    world.host.docker_ok(&[&create[..], &options, &["fixed"]].concat())?;
    world.run("fixed", "fixed", &["--ip", "192.0.2.50"])?;
    fetch(&world, "fixed", "192.0.2.50")?;
    for (from, to) in
        [("leased", "192.0.2.50"), ("fixed", bare(&leased)), ("fixed", "192.0.2.1"), ("leased", "192.0.2.10")]
    {
        world.host.in_container(from, &["ping", "-c1", "-W5", to])?;
    }
    let pid = world.host.container_pid("fixed")?.to_string();
    let url = format!("http://{}:8080/page", bare(&leased));
    let fetch = ["nsenter", "--net", "-t", &pid, "curl", "-sS", "--max-time", "20", "-o", "/dev/null", &url];
    world.host.check(&fetch)?;

    let name = port(&ovs, "leased")?;
    let said = world.host.landline_ok(binary(), &["inspect", "leased"])?;
    assert!(said.contains(&format!("port {name} of ovs0, forwarded in user space")), "{said}");
    let row = world.row("leased")?;
    let endpoint = row["endpoint"].as_str().ok_or("no endpoint")?;
    let ids = ovs.vsctl(&["get", "port", &name, "external_ids"])?.replace('"', "");
    let boot = world.host.check(&["cat", "/proc/sys/kernel/random/boot_id"])?;
    for id in ["owner=landline", &format!("landline-endpoint={endpoint}"), &format!("landline-boot={boot}")] {
        assert!(ids.contains(id), "{id}: {ids}");
    }

    // A container that restarts has another port, and the old one is gone.
    world.host.docker_ok(&["restart", "-t0", "leased"])?;
    assert_eq!(world.address("leased", "ovs00")?, leased);
    world.host.docker_ok(&["rm", "-f", "leased", "fixed"])?;
    world.host.docker_ok(&["network", "rm", "lan", "fixed"])?;
    assert_eq!(ovs.vsctl(&["show"])?, before);
    host_before.network_is_back(&world)
}

#[test]
fn vlans_keep_containers_apart() -> Result {
    let (ovs, world) = world()?;
    for (name, vlan, address) in [
        ("a10", "vlan=10", "192.0.2.51/24"),
        ("b10", "vlan=10", "192.0.2.52/24"),
        ("a20", "vlan=20", "192.0.2.53/24"),
        ("a0", "vlan=", "192.0.2.54/24"),
    ] {
        let options = ["mode=ovs", "bridge=ovs0", "addressing=none", "ignore_conflicts=true", vlan];
        world.network(name, &options)?;
        world.run(name, name, &["--cap-add", "NET_ADMIN"])?;
        world.host.in_container(name, &["ip", "address", "add", address, "dev", "ovs00"])?;
    }
    let reaches = |from: &str, to: &str| world.host.in_container(from, &["ping", "-c1", "-W1", to]).is_ok();
    wait_for("the two of VLAN 10 to reach each other", SOON, || reaches("a10", "192.0.2.52"))?;
    assert!(reaches("a0", "192.0.2.2"), "without a VLAN: the LAN");
    for (from, to) in
        [("a10", "192.0.2.53"), ("a10", "192.0.2.54"), ("a20", "192.0.2.51"), ("a10", "192.0.2.2")]
    {
        assert!(!reaches(from, to), "{from} reaches {to} in another VLAN");
    }

    // On the wire they have their tag: the NIC is a trunk.
    let capture = world.lan.capture(world.lan.peer(), "eth0", "vlan 20 and arp")?;
    let _ = reaches("a20", "192.0.2.99");
    wait_for("a tagged frame", SOON, || capture.lines().iter().any(|line| line.contains("192.0.2.99")))?;

    // A lease in a VLAN is asked for, and given back, in that VLAN.
    let error = world.network("trunk", &["mode=ovs", "bridge=ovs0", "trunks=10,20"]).unwrap_err().to_string();
    assert!(error.contains("add vlan=N"), "{error}");
    world.network(
        "trunk",
        &["mode=ovs", "bridge=ovs0", "trunks=10,20", "addressing=none", "ignore_conflicts=true"],
    )?;
    world.run("trunk", "trunk", &[])?;
    let trunk = port(&ovs, "trunk")?;
    assert_eq!(ovs.vsctl(&["get", "port", &trunk, "trunks"])?, "[10, 20]");
    Ok(())
}

#[test]
fn ports_come_back_whoever_was_restarted() -> Result {
    let (mut ovs, mut world) = world()?;
    world.network("lan", &OVS)?;
    world.run("web", "lan", &[])?;
    let address = world.address("web", "ovs00")?;
    let reached = |world: &World| world.lan.peer().run(&["ping", "-c1", "-W1", bare(&address)]).success();
    let back = |world: &World, what: &str| -> Result {
        wait_for(format!("the container after {what}"), 2 * SOON, || reached(world))
            .map_err(|error| format!("{error}\n{}", world.daemon.log()).into())
    };
    let web = port(&ovs, "web")?;
    assert!(reached(&world));

    // Somebody's hand, and what Open vSwitch's own start script does with transient ports.
    ovs.vsctl(&["del-port", &web])?;
    back(&world, "its port was removed")?;
    ovs.vsctl(&["add-br", "ovs9", "--", "set", "bridge", "ovs9", "datapath_type=netdev"])?;
    ovs.vsctl(&["del-port", &web, "--", "add-port", "ovs9", &web])?;
    // That port is not ours; it stays until its maker removes it. Meanwhile another container's is looked after.
    world.run("other", "lan", &[])?;
    let (other, other_address) = (port(&ovs, "other")?, world.address("other", "ovs00")?);
    ovs.vsctl(&["del-port", &other])?;
    wait_for("the other container beside one whose port was taken", 2 * SOON, || {
        world.lan.peer().run(&["ping", "-c1", "-W1", bare(&other_address)]).success()
    })?;
    ovs.vsctl(&["del-port", &web, "--", "del-port", &other, "--", "add-port", "ovs9", &other])?;
    back(&world, "its port was taken, and another's still is")?;
    world.host.docker_ok(&["rm", "-f", "other"])?;
    ovs.vsctl(&["del-br", "ovs9"])?;

    ovs.kill_switch();
    ovs.start_switch()?;
    world.host.check(&["sh", "-c", "ip link set ovs0 up; ethtool -K ovs0 tx off >/dev/null"])?;
    back(&world, "ovs-vswitchd was killed")?;

    ovs.kill_database();
    ovs.start_database()?;
    ovs.vsctl(&["del-port", &web])?;
    back(&world, "ovsdb-server was killed and the port removed")?;

    // The daemon away: its container's port is lost, a foreign one appears, and one of ours whose container is gone.
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    ovs.vsctl(&["del-port", &web])?;
    world
        .host
        .check(&["ip", "link", "add", "name", "foreign", "type", "veth", "peer", "name", "foreign1"])?;
    ovs.vsctl(&[
        "add-port",
        "ovs0",
        "foreign",
        "--",
        "set",
        "port",
        "foreign",
        "external_ids:owner=another",
    ])?;
    let stale = format!("external_ids:landline-endpoint={}", "5".repeat(64));
    ovs.vsctl(&[
        "add-port",
        "ovs0",
        "llh555555555555",
        "--",
        "set",
        "port",
        "llh555555555555",
        "external_ids:owner=landline",
        &stale,
    ])
    .or_else(|error| {
        if error.to_string().contains("No such device") { Ok(String::new()) } else { Err(error) }
    })?;
    world.daemon = start_daemon(&world.host)?;
    back(&world, "the daemon was killed")?;
    wait_for("the stale port to go", SOON, || {
        ovs.vsctl(&["list-ports", "ovs0"]).is_ok_and(|ports| !ports.contains("llh555555555555"))
    })?;
    assert!(ovs.vsctl(&["list-ports", "ovs0"])?.contains("foreign"));
    assert!(world.address("web", "ovs00")? == address);
    Ok(())
}

#[test]
fn nothing_is_left_of_before_a_reboot() -> Result {
    let (ovs, mut world) = world()?;
    world.network("lan", &OVS)?;
    world.run("web", "lan", &["--restart", "always"])?;
    let (address, old) = (world.address("web", "ovs00")?, port(&ovs, "web")?);

    drop(ovs);
    world.host.reboot()?;
    let ovs = world.host.open_vswitch()?;
    assert!(ovs.vsctl(&["list-ports", "ovs0"])?.contains(&old), "the database survives");
    wait_for("the bridge", SOON, || world.host.exec(&["ip", "link", "set", "ovs0", "up"]).success())?;
    world.host.check(&["ethtool", "-K", "ovs0", "tx", "off"])?;
    world.host.check(&["ip", "address", "add", "192.0.2.10/24", "dev", "ovs0"])?;
    world.daemon = start_daemon(&world.host)?;
    world.host.dockerd(Dockerd::default())?;
    wait_for("the container", 2 * SOON, || {
        world.lan.peer().run(&["ping", "-c1", "-W1", bare(&address)]).success()
    })
    .map_err(|error| format!("{error}\n{}", world.daemon.log()))?;
    wait_for("the old port to go", SOON, || {
        ovs.vsctl(&["list-ports", "ovs0"]).is_ok_and(|ports| !ports.contains(&old))
    })?;
    assert_ne!(port(&ovs, "web")?, old);
    Ok(())
}

/// How long the same file takes between two of each, in seconds, one after the other and in turns: what else the machine does
/// meets both alike.
fn races(world: &World, ours: [&str; 3], by_hand: [&str; 3]) -> Result<Vec<(f64, f64)>> {
    let serve = |[server, client, address]: [&str; 3]| {
        format!(
            "nsenter --net={server} busybox httpd -f -p 8081 -h /run & servers=\"$servers $!\"
             until nsenter --net={client} curl -sf -m 5 -o /dev/null -r 0-1 http://{address}:8081/page; do :; done\n"
        )
    };
    let fetch = |[_, client, address]: [&str; 3]| {
        format!(
            "nsenter --net={client} curl -sS --max-time 60 -o /dev/null -w '%{{time_total}} ' \
               http://{address}:8081/page\n"
        )
    };
    let (serve, there, back) =
        (serve(ours) + &serve(by_hand), fetch(ours) + &fetch(by_hand), fetch(by_hand) + &fetch(ours));
    let script = format!(
        "truncate -s 8M /run/page; servers=; trap 'kill $servers' EXIT
         {serve}{there}for round in $(seq 8); do {there}{back}done",
    );
    let times = world.host.node().sh(&script)?;
    let times = times.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<f64>, _>>()?;
    // The first is for everybody to have met; then every second pair is the other way round.
    let pairs = times.chunks_exact(2).skip(1).enumerate();
    Ok(pairs.map(|(n, pair)| if n % 2 == 0 { (pair[0], pair[1]) } else { (pair[1], pair[0]) }).collect())
}

#[test]
fn containers_are_as_fast_as_ports_made_by_hand() -> Result {
    let (ovs, world) = world()?;
    world.network("lan", &["mode=ovs", "bridge=ovs0", "addressing=none"])?;
    let mut ours = Vec::new();
    for (name, address) in [("one", "192.0.2.51/24"), ("two", "192.0.2.52/24")] {
        world.run(name, "lan", &["--cap-add", "NET_ADMIN"])?;
        world.host.in_container(name, &["ip", "address", "add", address, "dev", "ovs00"])?;
        ours.push(format!("/proc/{}/ns/net", world.host.container_pid(name)?));
        world.host.node().sh(&format!(
            "ip netns add {name}
             ip link add name p{name} type veth peer name eth0 netns {name}
             ip link set p{name} up
             ovs-vsctl add-port ovs0 p{name}
             ip netns exec {name} ethtool -K eth0 tx off >/dev/null
             ip -n {name} link set eth0 up
             ip -n {name} address add 198.51.100.{}/24 dev eth0",
            if name == "one" { 1 } else { 2 }
        ))?;
    }
    let ours = [&*ours[0], &*ours[1], "192.0.2.51"];
    let races = races(&world, ours, ["/run/netns/one", "/run/netns/two", "198.51.100.1"])?;
    let sorted = |values: Vec<f64>| {
        let mut values = values;
        values.sort_by(f64::total_cmp);
        values
    };
    let median = |values: &[f64]| values[values.len() / 2];
    let rate = |seconds: Vec<f64>| 8.0 * 8.388_608 / median(&sorted(seconds)) / 1000.0;
    let ratios = sorted(races.iter().map(|(container, hand)| hand / container).collect());
    let (container, hand): (Vec<f64>, Vec<f64>) = races.into_iter().unzip();
    println!(
        "medians of {}: between containers {:.2} Gbit/s, between ports made by hand {:.2} Gbit/s, ratio {:.2} (half of them \
         {:.2} to {:.2})",
        ratios.len(),
        rate(container),
        rate(hand),
        median(&ratios),
        ratios[ratios.len() / 4],
        ratios[ratios.len() * 3 / 4],
    );
    // On a busy machine the rates are far apart by chance; without the offloads set right it is a tenth, or nothing.
    assert!(median(&ratios) > 0.5, "{ratios:?}");
    assert!(ovs.vsctl(&["list-ports", "ovs0"])?.contains("pone"));
    Ok(())
}

/// A switch that was started with `userspace-tso-enable` wants offloads as they are.
#[test]
fn a_switch_that_segments_gets_whole_segments() -> Result {
    let (mut ovs, world) = world()?;
    let create = ["network", "create", "-d", "landline", "--subnet", "192.0.2.0/24"];
    let options = ["-o", "addressing=static", "-o", "mode=ovs", "-o", "bridge=ovs0"];
    world.host.docker_ok(&[&create[..], &options, &["lan"]].concat())?;
    let offloads = |name: &str| -> Result<bool> {
        let pid = world.host.container_pid(name)?.to_string();
        let shown = world.host.check(&["nsenter", "-n", "-t", &pid, "ethtool", "-k", "ovs00"])?;
        Ok(shown.contains("tx-checksumming: on") && shown.contains("tcp-segmentation-offload: on"))
    };
    world.run("before", "lan", &["--ip", "192.0.2.50"])?;
    assert!(!offloads("before")?);
    fetch(&world, "before", "192.0.2.50")?;

    ovs.vsctl(&["set", "Open_vSwitch", ".", "other_config:userspace-tso-enable=true"])?;
    ovs.kill_switch();
    ovs.start_switch()?;
    world.host.check(&["sh", "-c", "ip link set ovs0 up; ethtool -K ovs0 tx off >/dev/null"])?;
    world.run("after", "lan", &["--ip", "192.0.2.51"])?;
    assert!(offloads("after")?);
    fetch(&world, "after", "192.0.2.51")?;
    // What was there before goes on, with checksums of its own.
    let pid = world.host.container_pid("before")?.to_string();
    let fetch = ["curl", "-sS", "--max-time", "20", "-o", "/dev/null", "http://192.0.2.51:8080/page"];
    world.host.check(&[&["nsenter", "-n", "-t", &pid], &fetch[..]].concat())?;
    Ok(())
}
