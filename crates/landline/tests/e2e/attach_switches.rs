//! Attachments to switches in user space: a VDE switch that somebody runs, Open vSwitch.

use landline_testbed::{OpenVswitch, Signal, wait_for};

use crate::ovs;
use crate::tools::start_daemon;
use crate::vde::{clients, foreign_switch, foreigner, kill_switch, remove};
use crate::world::{Result, SOON, World, bare, binary};

/// Where `landline exec` sees a container reach somebody.
fn reaches(world: &World, target: &str, address: &str, when: &str) -> Result {
    let ping = ["exec", target, "ping", "-c1", "-W1", address];
    wait_for(format!("{target} reaches {address} {when}"), SOON, || {
        world.host.landline(binary(), &ping).success()
    })
    .map_err(|error| format!("{error}\n{}", world.daemon.log()).into())
}

#[test]
fn a_port_of_somebodys_vde_switch() -> Result {
    let world = World::nic()?;
    let before = world.host.snapshot()?;
    let (dir, mgmt) = ("/run/theirs", "/run/theirs.mgmt");
    world.run_without("web", &["--network", "none"])?;
    let refused = world.refusal(&["attach", dir, "web", "198.51.100.60/24"])?;
    assert!(refused.contains("no VDE switch runs in /run/theirs; start one there: vde_switch"), "{refused}");
    assert!(world.attached()?.is_empty() && world.marked_links()?.is_empty());

    foreign_switch(&world.host, dir, &[])?;
    foreigner(&world.host, "far", dir, "198.51.100.50/24")?;
    world.landline("attach /run/theirs web 198.51.100.60/24@198.51.100.50 --ifname eth1")?;
    assert_eq!(world.address("web", "eth1")?, "198.51.100.60/24");
    assert_eq!(world.gateways("web")?, ["198.51.100.50"]);
    reaches(&world, "web", "198.51.100.50", "at once")?;
    assert_eq!(clients(&world.host, mgmt)?, 2);

    // The plan is a script that does the same.
    world.host.check(&["ip", "netns", "add", "run"])?;
    let script = world.landline("attach /run/theirs netns:/run/netns/run 198.51.100.61/24 --dry-run")?;
    let ran = world.host.exec(&["sh", "-c", &script]);
    assert!(ran.success(), "{script}\n{}", ran.stderr);
    reaches(&world, "netns:/run/netns/run", "198.51.100.60", "by the script")?;
    let link = world.host.check(&["ip", "-n", "run", "-d", "link", "show", "eth0"])?;
    assert!(link.contains("tun type tap"), "{link}");
    world.host.check(&["ip", "-n", "run", "link", "delete", "eth0"])?;
    world.host.check(&["ip", "netns", "delete", "run"])?;
    let bridge = script.lines().find_map(|line| line.strip_prefix("ip link add name ")).unwrap_or_default();
    let bridge = bridge.split(' ').next().unwrap_or_default();
    world.host.check(&["ip", "link", "delete", bridge])?;

    // Its switch is started again.
    kill_switch(&world.host, dir)?;
    remove(&world.host, "far")?;
    foreign_switch(&world.host, dir, &[])?;
    foreigner(&world.host, "far", dir, "198.51.100.50/24")?;
    // It is another machine for those who remember it.
    world.landline("exec web ip neigh flush dev eth1")?;
    reaches(&world, "web", "198.51.100.50", "over a switch that came back")?;

    world.landline("detach web")?;
    assert_eq!(world.interfaces("web")?, [""; 0]);
    assert!(world.marked_links()?.is_empty(), "{:?}", world.marked_links()?);
    remove(&world.host, "far")?;
    world.host.docker_ok(&["rm", "-f", "web"])?;
    assert_eq!(before.diff(&world.host.snapshot()?), "");
    Ok(())
}

/// On a switch that forgets whoever leaves, which `vde_switch` 2.3.2 does not.
#[test]
fn ports_of_a_vde_switch_come_back_with_their_container() -> Result {
    let mut world = World::nic()?;
    let (dir, create) = ("/run/ours", ["network", "create", "-d", "landline", "-o", "mode=vde"]);
    let options = ["-o", "socket_dir=/run/ours", "-o", "create_sockets=true", "--subnet", "198.51.100.0/24"];
    world.host.docker_ok(&[&create[..], &options, &["lan"]].concat())?;
    world.run("far", "lan", &["--ip", "198.51.100.50"])?;
    let far = world.host.container_pid("far")?.to_string();
    let _server = world.host.spawn(&[
        "nsenter",
        "--net",
        "--target",
        &far,
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--pid-file=",
        "--interface=vde0",
        "--bind-dynamic",
        "--dhcp-authoritative",
        "--dhcp-range=198.51.100.100,198.51.100.150,1h",
        "--dhcp-leasefile=/run/far.leases",
    ])?;
    let before = world.host.snapshot()?;
    world.run_without("web", &["--network", "none"])?;
    world.landline("attach /run/ours web 198.51.100.60/24 --ifname eth1")?;
    world.landline("attach /run/ours web dhcp --ifname eth2")?;
    let leased = world.address("web", "eth2")?;
    assert_eq!(world.row("web")?["network"], "attach:/run/ours");
    let taken = world.refusal(&["attach", dir, "web", "198.51.100.50/24", "--ifname", "eth3"])?;
    assert!(taken.contains("container far has 198.51.100.50 on the same LAN"), "{taken}");

    let same = |world: &World, when: &str| -> Result {
        assert_eq!(world.until_addressed("web", "eth1")?, "198.51.100.60/24", "{when}");
        assert_eq!(world.until_addressed("web", "eth2")?, leased, "{when}");
        for address in ["198.51.100.60", bare(&leased)] {
            reaches(world, "far", address, when)?;
        }
        assert_eq!(world.interfaces("web")?, ["eth1", "eth2"], "{when}");
        Ok(())
    };
    same(&world, "at once")?;
    world.host.docker_ok(&["restart", "-t0", "web"])?;
    same(&world, "after its restart")?;
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.daemon = start_daemon(&world.host)?;
    same(&world, "after the daemon's restart")?;
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.host.docker_ok(&["restart", "-t0", "web"])?;
    world.daemon = start_daemon(&world.host)?;
    same(&world, "after both")?;
    // Neither was taken for another machine that has the other's address.
    assert!(!world.daemon.log().contains("another host uses"), "{}", world.daemon.log());

    world.landline("detach web eth2")?;
    assert_eq!(world.interfaces("web")?, ["eth1"]);
    world.landline("detach web")?;
    world.host.docker_ok(&["rm", "-f", "web"])?;
    assert_eq!(before.diff(&world.host.snapshot()?), "");
    Ok(())
}

/// `name: tag, trunks` of the ports of a bridge but those that were there before, by the interface that is at their
/// other end; the names of their links are drawn.
fn vlans(ovs: &OpenVswitch, bridge: &str, before: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for port in ovs.vsctl(&["list-ports", bridge])?.lines().filter(|port| !before.lines().any(|b| b == *port))
    {
        let column = |name: &str| ovs.vsctl(&["get", "port", port, name]);
        let trouble = ovs.vsctl(&["get", "interface", port, "error"])?;
        assert_eq!(trouble, "[]", "{port}");
        let mark = column("external_ids:owner")?;
        found.push(format!(
            "{} {} {} {mark}",
            column("tag")?,
            column("trunks")?,
            column("other_config:transient")?
        ));
    }
    found.sort();
    Ok(found)
}

#[test]
fn a_port_of_open_vswitch() -> Result {
    let (ovs, mut world) = ovs::world()?;
    world.run_without("web", &["--network", "none", "--cap-add", "NET_ADMIN"])?;
    let before = world.host.snapshot()?;
    let ports = ovs.vsctl(&["list-ports", "ovs0"])?;
    let shown = ovs.vsctl(&["show"])?;

    world.landline("attach ovs0 web 192.0.2.60/24@192.0.2.1 --ifname eth1")?;
    ovs::fetch(&world, "web", "192.0.2.60")?;
    world.landline("attach ovs0 web none --ifname eth2 --vlan 10")?;
    world.landline("attach ovs0 web none --ifname eth3 trunks=10,20")?;
    let words = ["pipework", "ovs0", "-i", "eth4", "-l", "weblan", "web", "0/0", "02:00:00:00:00:64@30"];
    world.host.landline_ok(binary(), &words)?;
    world.landline("attach ovs0 web dhcp --ifname eth5")?;
    let leased = world.address("web", "eth5")?;
    let wanted = ["10 [] \"true\" landline", "30 [] \"true\" landline", "[] [10, 20] \"true\" landline"];
    let same = |world: &World, when: &str| -> Result {
        assert_eq!(world.until_addressed("web", "eth1")?, "192.0.2.60/24", "{when}");
        assert_eq!(world.until_addressed("web", "eth5")?, leased, "{when}");
        wait_for(format!("all interfaces {when}"), SOON, || {
            world.interfaces("web").is_ok_and(|all| all == ["eth1", "eth2", "eth3", "eth4", "eth5"])
        })?;
        let there = || vlans(&ovs, "ovs0", &ports).unwrap_or_default();
        wait_for(format!("its ports {when}"), SOON, || {
            let there = there();
            there.len() == 5 && wanted.iter().all(|port| there.iter().any(|is| is == port))
        })
        .map_err(|error| format!("{error}: {:?}\n{}", there(), world.daemon.log()))?;
        assert_eq!(ovs.vsctl(&["get", "port", "weblan", "tag"])?, "30", "{when}");
        let reach = || world.lan.peer().run(&["ping", "-c1", "-W1", "192.0.2.60"]).success();
        wait_for(format!("an answer {when}"), SOON, reach)?;
        Ok(())
    };
    same(&world, "at once")?;
    world.host.docker_ok(&["restart", "-t0", "web"])?;
    same(&world, "after its restart")?;
    ovs.vsctl(&["del-port", "weblan"])?;
    same(&world, "after its port was removed")?;
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.host.docker_ok(&["restart", "-t0", "web"])?;
    world.daemon = start_daemon(&world.host)?;
    same(&world, "after the daemon was away meanwhile")?;
    world.landline("detach web")?;
    assert_eq!(ovs.vsctl(&["show"])?, shown);
    assert_eq!(world.interfaces("web")?, [""; 0]);

    a_plan_for_a_bridge(&ovs, &world, &ports)?;

    // A bridge that is not there is made, and goes with what it was made for; one that got another port stays.
    for stays in [false, true] {
        world.host.landline_ok(binary(), &["pipework", "ovs7", "-i", "eth7", "web", "198.51.100.7/24"])?;
        assert_eq!(ovs.vsctl(&["get", "bridge", "ovs7", "datapath_type"])?, "netdev");
        assert_eq!(vlans(&ovs, "ovs7", "")?, ["[] [] \"true\" landline"]);
        assert_eq!(world.address("web", "eth7")?, "198.51.100.7/24");
        if stays {
            world.host.check(&["ip", "link", "add", "mine", "type", "veth", "peer", "name", "mine1"])?;
            ovs.vsctl(&["add-port", "ovs7", "mine"])?;
        }
        world.landline("detach web eth7")?;
        assert_eq!(ovs.vsctl(&["list-br"])?.contains("ovs7"), stays);
    }
    ovs.vsctl(&["del-br", "ovs7"])?;
    world.host.check(&["ip", "link", "delete", "mine"])?;
    assert_eq!(before.diff(&world.host.snapshot()?), "");
    Ok(())
}

/// What `--dry-run` prints, run by a shell, makes the same ports.
fn a_plan_for_a_bridge(ovs: &OpenVswitch, world: &World, ports: &str) -> Result {
    for name in ["done", "run"] {
        world.host.check(&["ip", "netns", "add", name])?;
    }
    for spec in [
        "192.0.2.61/24 mac=02:00:00:00:00:51 ifname=lan0 vlan=10",
        "none mac=02:00:00:00:00:52 ifname=lan0 trunks=10,20 host_ifname=weblan",
    ] {
        let show = |name: &str| -> Result<String> {
            let inside = world.host.check(&["ip", "-n", name, "-br", "link", "show", "dev", "lan0"])?;
            let inside = inside.replace(|c: char| c.is_whitespace(), " ");
            let addresses =
                world.host.check(&["ip", "-n", name, "-4", "-br", "address", "show", "dev", "lan0"])?;
            let offload = world.host.check(&["ip", "netns", "exec", name, "ethtool", "-k", "lan0"])?;
            let offload =
                offload.lines().find(|line| line.starts_with("tx-checksumming")).unwrap_or_default();
            let inside: Vec<&str> = inside.split(' ').filter(|word| !word.starts_with("lan0")).collect();
            let addresses: Vec<&str> = addresses.split_whitespace().skip(1).collect();
            Ok(format!("{} {addresses:?} {offload} {:?}", inside.join(" "), vlans(ovs, "ovs0", ports)?))
        };
        world.landline(&format!("attach ovs0 netns:/run/netns/done {spec}"))?;
        let script = world.landline(&format!("attach ovs0 netns:/run/netns/run {spec} --dry-run"))?;
        let wanted = show("done")?;
        world.landline("detach netns:/run/netns/done")?;
        let ran = world.host.exec(&["sh", "-c", &script]);
        assert!(ran.success(), "{script}\n{}", ran.stderr);
        assert_eq!(show("run")?, wanted, "{script}");
        assert!(wanted.contains("tx-checksumming: off"), "{wanted}");
        world.host.check(&["ip", "-n", "run", "link", "delete", "lan0"])?;
        for port in ovs.vsctl(&["list-ports", "ovs0"])?.lines() {
            if !ports.lines().any(|before| before == port) {
                ovs.vsctl(&["del-port", port])?;
            }
        }
    }
    for name in ["done", "run"] {
        world.host.check(&["ip", "netns", "delete", name])?;
    }
    Ok(())
}
