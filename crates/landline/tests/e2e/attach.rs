//! `landline attach`: by hand, to containers, processes and namespaces.

use landline_testbed::{Dnsmasq, LOG_IN_DETAIL, Ra, Signal, wait_for};
use serde_json::Value;

use crate::sockets::advertise_mtu;
use crate::tools::start_daemon;
use crate::world::{Result, SOON, World, bare, binary};

impl World {
    /// `landline WORDS`.
    pub(crate) fn landline(&self, words: &str) -> Result<String> {
        let words: Vec<&str> = words.split_whitespace().collect();
        Ok(self.host.landline_ok(binary(), &words)?)
    }

    /// What a `landline WORDS` that must fail says.
    pub(crate) fn refusal(&self, words: &[&str]) -> Result<String> {
        let output = self.host.landline(binary(), words);
        if output.success() {
            return Err(format!("{words:?} did not fail: {}", output.stdout).into());
        }
        Ok(output.stderr)
    }

    /// `docker run -d --name NAME ARGS box sleep infinity`.
    pub(crate) fn run_without(&self, name: &str, args: &[&str]) -> Result {
        let mut command = vec!["run", "-d", "--name", name];
        command.extend(args);
        command.extend(["box", "sleep", "infinity"]);
        Ok(self.host.docker_ok(&command).map(drop)?)
    }

    /// The attachments as `landline attach --list` has them.
    pub(crate) fn attached(&self) -> Result<Vec<Value>> {
        let listed: Value = serde_json::from_str(&self.landline("attach --list --json")?)?;
        Ok(listed.as_array().cloned().unwrap_or_default())
    }

    /// Waits until a container has an interface with an IPv4 address, and returns it.
    pub(crate) fn until_addressed(&self, container: &str, interface: &str) -> Result<String> {
        let found = wait_for(format!("an address on {interface} of {container}"), SOON, || {
            self.address(container, interface).ok()
        });
        Ok(found.map_err(|error| format!("{error}\n{}", self.daemon.log()))?)
    }
}

#[test]
fn a_static_address_by_hand() -> Result {
    let world = World::bridge()?;
    world.run_without("web", &["--network", "none"])?;
    world.landline("attach br0 web 192.0.2.50/24@192.0.2.1 ifname=eth1")?;
    assert_eq!(world.address("web", "eth1")?, "192.0.2.50/24");
    assert_eq!(world.gateways("web")?, ["192.0.2.1"]);
    world.lan.peer().check(&["ping", "-c1", "-W5", "192.0.2.50"])?;
    assert_eq!(world.landline("ip web")?.trim(), "192.0.2.50");
    assert_eq!(
        world.landline("pid web")?.trim(),
        world.host.docker_ok(&["inspect", "-f", "{{.State.Pid}}", "web"])?.trim()
    );
    assert!(world.landline("exec web ip -4 -o addr show dev eth1")?.contains("192.0.2.50/24"));

    // Again is the same; another address comes beside the first.
    world.landline("attach br0 web 192.0.2.50/24@192.0.2.1 ifname=eth1")?;
    world.landline("attach br0 web 192.0.2.51/24 2001:db8:1::50/64 ifname=eth1")?;
    world.lan.peer().check(&["ping", "-c1", "-W5", "192.0.2.51"])?;
    let listed = world.landline("exec web ip -o addr show dev eth1")?;
    for address in ["192.0.2.50/24", "192.0.2.51/24", "2001:db8:1::50/64"] {
        assert!(listed.contains(address), "{listed}");
    }
    assert_eq!(world.attached()?.len(), 1);

    // What another machine has is not taken, unless somebody insists.
    let refused = world.refusal(&["attach", "br0", "web", "192.0.2.2/24", "ifname=eth2"])?;
    assert!(refused.contains("192.0.2.2 is used by"), "{refused}");
    assert_eq!(world.interfaces("web")?, ["eth1"]);
    world.landline("attach br0 web 192.0.2.2/24 ifname=eth2 --force")?;
    world.landline("detach web eth2")?;
    assert_eq!(world.interfaces("web")?, ["eth1"]);

    // Restarted, killed, the daemon killed: it is there again.
    let mac = world.mac("web", "eth1")?;
    world.host.docker_ok(&["restart", "-t0", "web"])?;
    assert_eq!(world.until_addressed("web", "eth1")?, "192.0.2.50/24");
    assert_eq!(world.mac("web", "eth1")?, mac);
    world.landline("detach web")?;
    assert_eq!(world.interfaces("web")?, [""; 0]);
    assert!(world.attached()?.is_empty());
    assert!(world.marked_links()?.is_empty(), "{:?}", world.marked_links()?);
    Ok(())
}

#[test]
fn a_static_ipv6_address_stays_beside_those_from_the_lan() -> Result {
    let world = World::bridge_with(Dnsmasq { ra: Ra::Slaac, ..Dnsmasq::default() })?;
    world.run_without("web", &["--network", "none"])?;
    world.landline("attach br0 web dhcp 2001:db8:1::77/64@2001:db8:1::2 ipv6=true --ifname eth1")?;
    for mtu in [1400, 1401] {
        wait_for("the router's words to count", SOON, || {
            advertise_mtu(&world.lan.router().netns_path(), "eth0", mtu).ok()?;
            let now = world.inside("web", &["cat", "/proc/sys/net/ipv6/conf/eth1/mtu"]).ok()?;
            (now.trim() == mtu.to_string()).then_some(())
        })?;
        let addresses = world.addresses6("web", "eth1")?;
        assert!(
            addresses.iter().any(|net| net == "2001:db8:1::77/64") && addresses.len() == 2,
            "{addresses:?}"
        );
        let gateways = world.gateways6("web")?;
        assert!(gateways.iter().any(|hop| hop == "2001:db8:1::2") && gateways.len() == 2, "{gateways:?}");
    }
    Ok(())
}

#[test]
fn a_leased_address_by_hand_lives_as_long_as_the_attachment() -> Result {
    let mut world = World::bridge()?;
    world.run_without("web", &["--network", "none", "--hostname", "shop"])?;
    world.landline("attach br0 web dhcp --ifname eth1")?;
    let address = world.address("web", "eth1")?;
    let mac = world.mac("web", "eth1")?;
    let lease = world.lease_of(&mac)?;
    assert_eq!((lease.ip.to_string(), lease.hostname.as_deref()), (bare(&address).to_owned(), Some("shop")));
    assert_eq!(world.gateways("web")?, ["192.0.2.1"]);
    let row = world.row("web")?;
    assert_eq!((row["network"].as_str(), row["state"].as_str()), (Some("attach:br0"), Some("BOUND")));

    let same = |world: &World| -> Result {
        assert_eq!(world.until_addressed("web", "eth1")?, address);
        assert_eq!(world.mac("web", "eth1")?, mac);
        world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
        Ok(())
    };
    world.host.docker_ok(&["restart", "-t0", "web"])?;
    same(&world)?;
    world.daemon.kill(Signal::KILL)?;
    same(&world)?;
    world.daemon = world.host.start_landline(binary(), &[], &[LOG_IN_DETAIL])?;
    same(&world)?;
    assert_eq!(world.attached()?.len(), 1);
    // While the daemon is away the container is restarted.
    world.daemon.kill(Signal::KILL)?;
    world.host.docker_ok(&["restart", "-t0", "web"])?;
    assert_eq!(world.interfaces("web")?, [""; 0]);
    world.daemon = world.host.start_landline(binary(), &[], &[LOG_IN_DETAIL])?;
    same(&world)?;

    world.landline("detach web eth1")?;
    assert_eq!(world.interfaces("web")?, [""; 0]);
    wait_for("the lease to be given back", SOON, || world.dhcp.lease_of(&mac).is_none())?;
    let identities = world.landline("identity ls --json")?;
    assert!(!identities.contains(&mac), "{identities}");
    Ok(())
}

/// An address in a namespace that has a path.
fn has(world: &World, name: &str, address: &str, when: &str) -> Result {
    let shown = || world.host.exec(&["ip", "-n", name, "-o", "address"]).stdout;
    wait_for(format!("{address} in {name} {when}"), SOON, || shown().contains(address))
        .map_err(|error| format!("{error}: {}\n{}", shown(), world.daemon.log()).into())
}

#[test]
fn processes_and_namespaces_of_which_docker_knows_nothing() -> Result {
    let mut world = World::bridge()?;
    let before = world.host.snapshot()?;
    world.host.check(&["ip", "netns", "add", "blue"])?;
    world.landline("attach br0 netns:/run/netns/blue 192.0.2.51/24 --ifname lan0")?;
    let sleeper = ["unshare", "--net", "sleep", "infinity"];
    let mut process = world.host.spawn(&sleeper)?;
    let pid = world.host.pid_in_host(process.pid().ok_or("it has ended")?)?;
    let target = format!("pid:{pid}");
    wait_for("its namespace", SOON, || {
        world.host.landline(binary(), &["attach", "br0", &target, "192.0.2.52/24"]).success()
    })?;
    world.lan.peer().check(&["ping", "-c1", "-W5", "192.0.2.52"])?;

    // The little helpers, for whatever names a container.
    world.run_without("web", &["--network", "none"])?;
    world.landline("attach br0 web 192.0.2.53/24")?;
    let id = world.host.docker_ok(&["inspect", "-f", "{{.Id}} {{.State.Pid}}", "web"])?;
    let (id, inside) = id.trim().split_once(' ').ok_or("no process")?;
    let of_pid = format!("pid:{inside}");
    let of_path = format!("netns:/proc/{inside}/ns/net");
    for name in ["web", id, &id[..12], &of_pid, &of_path] {
        assert_eq!(world.landline(&format!("ip {name}"))?.trim(), "192.0.2.53", "{name}");
        let shown = world.landline(&format!("exec {name} ip -4 -o address show dev eth0"))?;
        assert!(shown.contains("192.0.2.53/24"), "{name}: {shown}");
        if name != of_path {
            assert_eq!(world.landline(&format!("pid {name}"))?.trim(), inside, "{name}");
        }
    }
    assert_eq!(world.landline("ip netns:/run/netns/blue")?.trim(), "192.0.2.51");
    let refused = world.refusal(&["pid", "netns:/run/netns/blue"])?;
    assert!(refused.contains("ip netns pids"), "{refused}");
    let failed = world.host.landline(binary(), &["exec", "netns:/run/netns/blue", "sh", "-c", "exit 7"]);
    assert_eq!(failed.status.code(), Some(7));
    assert!(world.refusal(&["ip", "nobody"])?.contains("no running container is called nobody"));
    assert!(world.refusal(&["ip", "netns:/run/netns/red"])?.contains("no network namespace at"));

    // The namespace goes, and one of its path comes: nobody has to ask for it.
    for when in ["made anew", "made anew once more"] {
        world.host.check(&["ip", "netns", "delete", "blue"])?;
        world.host.check(&["ip", "netns", "add", "blue"])?;
        has(&world, "blue", "192.0.2.51/24", when)?;
    }
    world.host.check(&["ip", "netns", "delete", "blue"])?;
    wait_for("word of its end", SOON, || {
        let all = world.attached().unwrap_or_default();
        all.iter().any(|one| one["target"] == "netns:/run/netns/blue" && one["attached"] == false)
    })
    .map_err(|error| format!("{error}: {:?}\n{}", world.attached(), world.daemon.log()))?;
    assert_eq!(world.marked_links()?.len(), 2, "{:?}", world.marked_links()?);
    // The same while nobody looks, and while Docker is away.
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.host.check(&["ip", "netns", "add", "blue"])?;
    world.host.dockerd_stop(Signal::TERM)?;
    world.daemon = start_daemon(&world.host)?;
    has(&world, "blue", "192.0.2.51/24", "after a start without Docker")?;
    world.host.check(&["ip", "netns", "delete", "blue"])?;
    world.host.check(&["ip", "netns", "add", "blue"])?;
    has(&world, "blue", "192.0.2.51/24", "made anew without Docker")?;
    world.lan.peer().check(&["ping", "-c1", "-W5", "192.0.2.52"])?;

    // With the process its attachment is over, and that is said until somebody has read it.
    process.signal(Signal::KILL)?;
    process.wait()?;
    wait_for("the end of its attachment", SOON, || {
        world.attached().is_ok_and(|all| all.iter().all(|one| one["target"] != *target))
    })
    .map_err(|error| format!("{error}\n{}", world.daemon.log()))?;
    let listing = world.landline("ls")?;
    assert!(listing.contains(&format!("{target} has exited")) && listing.contains("ended"), "{listing}");
    world.landline(&format!("detach {target}"))?;
    assert!(!world.landline("ls")?.contains(&target));
    assert!(world.refusal(&["detach", &target])?.contains("no such attachment"));

    world.landline("detach netns:/run/netns/blue")?;
    world.host.check(&["ip", "netns", "delete", "blue"])?;
    world.host.dockerd_start()?;
    world.landline("detach web")?;
    world.host.docker_ok(&["rm", "-f", "web"])?;
    assert!(world.attached()?.is_empty());
    assert_eq!(before.diff(&world.host.snapshot()?), "");
    Ok(())
}
