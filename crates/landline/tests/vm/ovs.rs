//! `mode=ovs` where the kernel forwards: leases and fixed addresses, VLANs and trunks, restarts of the switch, a reboot.

use landline_testbed::{Dnsmasq, Dockerd, Lan, OpenVswitch, wait_for};
use serde_json::json;

use crate::host_access::start;
use crate::ipvlan::{SLOWLY, post, step};
use crate::world::{Result, World, bare, binary};

const FIXED: &str = "192.0.2.50";

#[test]
#[ignore = "the kernel outside may have no Open vSwitch; runs in the VM"]
fn ovs_in_the_kernel() -> Result {
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let host = lan.docker_host("host1")?;
    let ovs = host.open_vswitch()?;
    ovs.make_kernel_bridge("ovs0", "192.0.2.10/24")?;
    let mut world = World::start(lan, dhcp, host)?;
    let done = cases(ovs, &mut world);
    if done.is_err() {
        println!("--- landline:\n{}", world.daemon.log());
    }
    done
}

fn cases(mut ovs: OpenVswitch, world: &mut World) -> Result {
    let before = ovs.vsctl(&["show"])?;
    step("a lease and a fixed address");
    world.network("lan", &["mode=ovs", "bridge=ovs0", "lease_timeout=30s"])?;
    let fixed = json!({
        "Name": "fixed", "Driver": "landline", "IPAM": {"Config": [{"Subnet": "192.0.2.0/24"}]},
        "Options": {"mode": "ovs", "bridge": "ovs0", "addressing": "static"},
    });
    post(world, "/networks/create", &fixed.to_string())?;
    start(world, "leased", "lan", &json!({}))?;
    start(world, "fixed", "fixed", &json!({"IPAMConfig": {"IPv4Address": FIXED}}))?;
    let leased = leased(world)?;
    for address in [leased.as_str(), FIXED] {
        let url = format!("http://{address}/");
        world.lan.peer().check(&["curl", "-sf", "-m", "30", "-o", "/dev/null", &url])?;
        world.host.check(&["curl", "-sf", "-m", "30", "-o", "/dev/null", &url])?;
    }
    ping(world, "leased", FIXED)?;
    ping(world, "fixed", "192.0.2.1")?;
    let said = world.host.landline_ok(binary(), &["inspect", "leased"])?;
    assert!(said.contains(" of ovs0, forwarded in the kernel"), "{said}");
    assert!(ovs.vsctl(&["get", "bridge", "ovs0", "datapath_version"])?.len() > 4);

    step("two ports of Landline's beside two made by hand");
    throughput(world, &leased)?;
    world.host.docker_ok(&["rm", "-f", "fixed"])?;
    world.host.docker_ok(&["network", "rm", "fixed"])?;

    step("VLANs");
    vlans(world)?;

    step("ovs-vswitchd and ovsdb-server killed");
    restarts(world, &mut ovs, &leased)?;

    step("a reboot");
    let ovs = reboot(world, ovs, &leased)?;
    world.host.docker_ok(&["rm", "-f", "leased"])?;
    world.host.docker_ok(&["network", "rm", "lan"])?;
    ovs.vsctl(&["del-port", "foreign"])?;
    assert_eq!(ovs.vsctl(&["show"])?, before);
    step("done");
    Ok(())
}

fn leased(world: &World) -> Result<String> {
    let row = wait_for("the lease", SLOWLY, || {
        let listing = world.ls().ok()?;
        let row = listing["endpoints"].as_array()?.iter().find(|row| row["container"] == "leased")?.clone();
        (row["state"] == "BOUND").then_some(row)
    })?;
    Ok(bare(row["address"].as_str().unwrap_or_default()).to_owned())
}

/// What begins a command in a container's network namespace.
fn enter(world: &World, container: &str) -> Result<String> {
    Ok(format!("nsenter -t {} -n", world.host.container_pid(container)?))
}

fn ping(world: &World, from: &str, to: &str) -> Result {
    let script = format!("{} ping -q -c1 -W5 {to}", enter(world, from)?);
    Ok(world.host.node().sh(&script).map(drop)?)
}

fn apart(world: &World, from: &str, to: &str) -> Result {
    let script = format!("! {} ping -q -c1 -W2 {to}", enter(world, from)?);
    world.host.node().sh(&script).map_err(|_| format!("{from} reaches {to}"))?;
    Ok(())
}

/// Bits per second between two of each. Emulated, only their ratio says anything.
fn throughput(world: &World, leased: &str) -> Result {
    let by_hand = [("one", 1), ("two", 2)].map(|(name, n)| {
        format!(
            "ip netns add {name}
             ip link add name p{name} type veth peer name eth0 netns {name}
             ip link set p{name} up
             ovs-vsctl add-port ovs0 p{name}
             ip -n {name} link set eth0 up
             ip -n {name} address add 198.51.100.{n}/24 dev eth0\n"
        )
    });
    world.host.node().sh(&by_hand.concat())?;
    let (server, client) = (enter(world, "leased")?, enter(world, "fixed")?);
    // Both at the same time: what else the machine does meets both alike.
    let script = format!(
        r#"{server} iperf3 -s -1 -D
        ip netns exec one iperf3 -s -1 -D
        try() {{ file=$1; shift; for i in 1 2 3 4 5 6 7 8 9; do "$@" >$file && return; sleep 0.3; done; }}
        try /run/ours {client} iperf3 -J -i 0.5 -t 3 -c {leased} & other=$!
        try /run/hands ip netns exec two iperf3 -J -i 0.5 -t 3 -c 198.51.100.1
        wait $other
        jq -c 'map(.intervals[].sum.bits_per_second / 1e6)' -s /run/ours
        jq -c 'map(.intervals[].sum.bits_per_second / 1e6)' -s /run/hands"#
    );
    // Half a second each; who came first in one of them says little.
    let (mut rates, mut ratios) = ([Vec::new(), Vec::new()], Vec::new());
    for _ in 0..3 {
        let text = world.host.node().sh(&script)?;
        let both =
            text.lines().map(serde_json::from_str).collect::<std::result::Result<Vec<Vec<f64>>, _>>()?;
        let [ours, hands] = &both[..] else { return Err(text.into()) };
        ratios.extend(ours.iter().zip(hands).map(|(ours, hands)| ours / hands));
        rates[0].extend(ours);
        rates[1].extend(hands);
    }
    ratios.sort_by(f64::total_cmp);
    let medians = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    let (count, ratio) = (ratios.len(), ratios[ratios.len() / 2]);
    println!(
        "medians of {count}: between containers {:.0} Mbit/s, between ports made by hand {:.0}, ratio {ratio:.2} (half of \
         them {:.2} to {:.2})",
        medians[0],
        medians[1],
        ratios[count / 4],
        ratios[count * 3 / 4]
    );
    assert!(ratio > 0.25, "{ratios:?}");
    // What the rate could depend on is the same.
    let made = |enter: &str, link: &str| {
        let script = format!(
            "{enter} ethtool -k {link}
             {enter} ip -j -d link show {link} | jq '.[0] | [.mtu, .num_tx_queues, .num_rx_queues, .gso_max_size, .txqlen, .qdisc]'"
        );
        world.host.node().sh(&script)
    };
    let features = |text: String| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(features(made(&server, "ovs00")?), features(made("ip netns exec one", "eth0")?));
    world.host.node().sh("for n in one two; do ovs-vsctl del-port p$n; ip netns del $n; done")?;
    Ok(())
}

/// VLAN 10 with the peer in it, VLAN 20 with the router, and a container that has both on one cable, and no third.
fn vlans(world: &World) -> Result {
    let tagged = |id: u8, address: &str| {
        format!(
            "ip link add link eth0 name eth0.{id} type vlan id {id}
             ip address add {address} dev eth0.{id}
             ip link set eth0.{id} up\n"
        )
    };
    world.lan.peer().sh(&(tagged(10, "203.0.113.2/24") + &tagged(30, "10.12.0.2/24")))?;
    world.lan.router().sh(&tagged(20, "203.0.113.1/24"))?;
    for (name, option, addresses) in [
        ("c10", "vlan=10", &["203.0.113.10/24"][..]),
        ("c20", "vlan=20", &["203.0.113.20/24", "198.51.100.20/24"]),
        ("both", "trunks=10,20", &[]),
    ] {
        world.network(
            name,
            &["mode=ovs", "bridge=ovs0", "addressing=none", "ignore_conflicts=true", option],
        )?;
        start(world, name, name, &json!({}))?;
        let enter = enter(world, name)?;
        for address in addresses {
            world.host.node().sh(&format!("{enter} ip address add {address} dev ovs00"))?;
        }
    }
    let script: String = [(10, "203.0.113.30/24"), (20, "198.51.100.30/24"), (30, "10.12.0.30/24")]
        .map(|(id, address)| tagged(id, address).replace("eth0", "ovs00"))
        .concat();
    let script = script.trim_end().replace("ip ", &format!("{} ip ", enter(world, "both")?));
    world.host.node().sh(&script)?;

    // An access port.
    ping(world, "c10", "203.0.113.2")?;
    ping(world, "c20", "203.0.113.1")?;
    for (from, to) in
        [("c10", "203.0.113.1"), ("c10", "203.0.113.20"), ("c20", "203.0.113.10"), ("c20", "203.0.113.2")]
    {
        apart(world, from, to)?;
    }
    // A trunk: its two VLANs with their tags, and no other.
    let capture = world.lan.capture(world.lan.peer(), "eth0", "vlan")?;
    for address in ["203.0.113.2", "203.0.113.10", "198.51.100.20"] {
        ping(world, "both", address)?;
    }
    apart(world, "both", "10.12.0.2")?;
    let tag = |asks: &str| {
        let frames = capture.frames();
        frames.iter().find(|f| f.arp().is_some_and(|arp| arp.sender_ip.to_string() == asks))?.vlan()
    };
    assert_eq!(wait_for("a tagged question", SLOWLY, || tag("203.0.113.30"))?, 10);
    assert_eq!(tag("10.12.0.30"), None);
    let said = world.host.landline_ok(binary(), &["inspect", "both"])?;
    assert!(said.contains(" of ovs0 trunks=10,20, forwarded in the kernel"), "{said}");
    world.host.docker_ok(&["rm", "-f", "c10", "c20", "both"])?;
    world.host.docker_ok(&["network", "rm", "c10", "c20", "both"])?;
    Ok(())
}

fn restarts(world: &World, ovs: &mut OpenVswitch, leased: &str) -> Result {
    let reached = || world.lan.peer().run(&["ping", "-q", "-c1", "-W1", leased]).success();
    let port = ports(ovs)?.pop().ok_or("no port")?;
    assert!(reached());
    ovs.kill_switch();
    assert!(reached(), "the kernel goes on with what it was told");
    ovs.start_switch()?;
    wait_for("the container after ovs-vswitchd was killed", SLOWLY, reached)?;
    ovs.kill_database();
    ovs.start_database()?;
    ovs.vsctl(&["del-port", &port])?;
    wait_for("the container after ovsdb-server was killed and its port removed", SLOWLY, reached)?;
    assert_eq!(ports(ovs)?, [port]);
    Ok(())
}

/// The ports that are Landline's.
fn ports(ovs: &OpenVswitch) -> Result<Vec<String>> {
    let find = ["--bare", "--columns=name", "find", "port", "external_ids:owner=landline"];
    Ok(ovs.vsctl(&find)?.lines().map(str::to_owned).collect())
}

fn reboot(world: &mut World, ovs: OpenVswitch, leased: &str) -> Result<OpenVswitch> {
    let old = ports(&ovs)?;
    let foreign = ["add-port", "ovs0", "foreign", "--", "set", "interface", "foreign", "type=internal"];
    ovs.vsctl(&foreign)?;
    world.host.docker_ok(&["update", "--restart=always", "leased"])?;
    drop(ovs);
    world.host.reboot()?;
    let ovs = world.host.open_vswitch()?;
    assert_eq!(ports(&ovs)?, old, "the database survives");
    wait_for("the bridge", SLOWLY, || world.host.exec(&["ip", "link", "set", "ovs0", "up"]).success())?;
    world.host.check(&["ip", "address", "add", "192.0.2.10/24", "dev", "ovs0"])?;
    world.daemon = world.host.start_landline(binary(), &[], &[])?;
    wait_for("the old port to go", SLOWLY, || ports(&ovs).is_ok_and(|ports| ports.is_empty()))?;
    world.host.dockerd(Dockerd::default())?;
    wait_for("the container", SLOWLY, || {
        world.lan.peer().run(&["ping", "-q", "-c1", "-W1", leased]).success()
    })?;
    assert_ne!(ports(&ovs)?, old);
    assert!(ovs.vsctl(&["list-ports", "ovs0"])?.contains("foreign"));
    Ok(ovs)
}
