//! A NIC becomes the port of a bridge and comes back, and the host can be reached all the time.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landline_testbed::{
    DhcpKind, DhcpMessage, DockerHost, FakeServer, Kea, Lan, Output, Reply, Signal, wait_for,
};

use crate::adopted::{HOST, conversation, host, is_moved, reachable};
use crate::world::{Result, SOON, bare, binary};

fn adopt(host: &DockerHost, within: &str) -> Output {
    host.landline(binary(), &["bridge", "adopt", "eth0", "--as", "br-eth0", "--confirm-within", within])
}

#[test]
fn a_nic_goes_under_a_bridge_and_comes_back_under_a_conversation() -> Result {
    let (lan, host) = host()?;
    let before = host.snapshot()?;
    let (_server, mut client) = conversation(&lan, &host)?;

    let plan = host.landline_ok(binary(), &["bridge", "adopt", "eth0", "--as", "br-eth0", "--dry-run"])?;
    assert!(plan.contains("ip link set eth0 master br-eth0"), "{plan}");
    assert_eq!(before.diff(&host.snapshot()?), "", "a dry run changes nothing");

    let output = adopt(&host, "30s");
    assert!(output.success(), "{output:?}");
    assert!(output.stdout.contains("landline bridge confirm br-eth0"), "{output:?}");
    host.landline_ok(binary(), &["bridge", "confirm", "br-eth0"])?;
    is_moved(&before, &host.snapshot()?, "confirmed");
    reachable(&lan)?;
    let again = host.landline(binary(), &["bridge", "confirm", "br-eth0"]);
    assert!(!again.success() && again.stderr.contains("nothing waits for a confirmation"), "{again:?}");
    // The plan, typed into a shell, would have done the same.
    let links = host.check(&["ip", "-d", "link", "show", "br-eth0"])?;
    assert!(links.contains(&host.node().mac("eth0")?), "the bridge has the NIC's hardware address: {links}");

    // Somebody else's port keeps it.
    host.node().sh("ip link add v0 type veth peer name v1; ip link set v0 master br-eth0")?;
    let refused = host.landline(binary(), &["bridge", "release", "br-eth0"]);
    assert!(!refused.success() && refused.stderr.contains("other ports (v0)"), "{refused:?}");
    host.check(&["ip", "link", "delete", "v0"])?;
    host.landline_ok(binary(), &["bridge", "release", "br-eth0"])?;
    assert_eq!(before.diff(&host.snapshot()?), "");
    reachable(&lan)?;

    client.signal(Signal::TERM)?;
    assert!(client.wait()?.success(), "{}", client.stderr());
    println!("there and back: {}", client.stdout().lines().last().unwrap_or_default());
    Ok(())
}

#[test]
fn unless_somebody_confirms_everything_is_put_back() -> Result {
    let (lan, host) = host()?;
    let before = host.snapshot()?;
    assert!(adopt(&host, "1s").success());
    is_moved(&before, &host.snapshot()?, "not confirmed yet");
    let back = || host.snapshot().is_ok_and(|now| before.diff(&now).is_empty());
    wait_for("everything to be as it was", SOON, back).map_err(|error| {
        format!("{error}\n{}", host.snapshot().map_or_else(|e| e.to_string(), |s| before.diff(&s)))
    })?;
    reachable(&lan)?;
    let late = host.landline(binary(), &["bridge", "confirm", "br-eth0"]);
    assert!(!late.success(), "{late:?}");

    // Asked to end, the guard goes back at once.
    assert!(adopt(&host, "5m").success());
    let guard = host.check(&["pgrep", "-f", "bridge guard br-eth0"])?;
    host.check(&["kill", guard.trim()])?;
    wait_for("everything to be as it was", SOON, back)?;
    Ok(())
}

/// What systemd-networkd notes of a NIC that it has configured.
fn by_networkd(host: &DockerHost) -> Result {
    let index = host.check(&["cat", "/sys/class/net/eth0/ifindex"])?;
    host.node().sh(&format!(
        "mkdir -p /run/systemd/netif/links /etc/systemd/network
        echo ADMIN_STATE=configured > /run/systemd/netif/links/{0}
        echo NETWORK_FILE=/etc/systemd/network/lan.network >> /run/systemd/netif/links/{0}
        printf '[Match]\\nName=eth0\\n[Network]\\nAddress={HOST}/24\\n' > /etc/systemd/network/lan.network",
        index.trim()
    ))?;
    Ok(())
}

/// What systemd does with the directory of a service that stops, unless its unit says that it is to be kept.
fn restart(host: &DockerHost, daemon: &mut landline_testbed::Daemon) -> Result {
    daemon.kill(Signal::TERM)?;
    daemon.wait()?;
    host.check(&["rm", "-rf", "/run/landline"])?;
    *daemon = host.start_landline(binary(), &[], &[])?;
    Ok(())
}

#[test]
fn a_restart_of_the_service_loses_no_guard() -> Result {
    let (lan, host) = host()?;
    let mut daemon = host.start_landline(binary(), &[], &[])?;
    let before = host.snapshot()?;
    by_networkd(&host)?;
    let unmanaged = || host.exec(&["test", "-e", "/run/systemd/network/04-landline-eth0.network"]).success();

    assert!(adopt(&host, "5m").success());
    assert!(unmanaged());
    restart(&host, &mut daemon)?;
    host.landline_ok(binary(), &["bridge", "confirm", "br-eth0"])?;
    is_moved(&before, &host.snapshot()?, "confirmed after a restart");
    restart(&host, &mut daemon)?;
    host.landline_ok(binary(), &["bridge", "release", "br-eth0"])?;
    assert!(!unmanaged(), "the manager has the NIC back");
    assert_eq!(before.diff(&host.snapshot()?), "");
    reachable(&lan)?;
    Ok(())
}

/// Kills the guard without a word.
fn kill_guard(host: &DockerHost) -> Result {
    let guard = host.check(&["pgrep", "-f", "bridge guard br-eth0"])?;
    host.check(&["kill", "-9", guard.trim()])?;
    let gone = || !host.exec(&["pgrep", "-f", "bridge guard br-eth0"]).success();
    wait_for("the guard's end", SOON, gone)?;
    Ok(())
}

#[test]
fn the_daemon_takes_the_place_of_a_guard_that_is_killed() -> Result {
    let (lan, host) = host()?;
    let before = host.snapshot()?;
    let back = || host.snapshot().is_ok_and(|now| before.diff(&now).is_empty());
    let mut daemon = host.start_landline(binary(), &[], &[])?;
    let took_over = |daemon: &landline_testbed::Daemon| {
        wait_for("the daemon to take its place", SOON, || daemon.log().contains("takes its place"))
    };

    // Nobody confirms: the deadline is the guard's.
    assert!(adopt(&host, "6s").success());
    kill_guard(&host)?;
    took_over(&daemon)?;
    is_moved(&before, &host.snapshot()?, "the deadline is ahead");
    wait_for("everything to be as it was", SOON, back)
        .map_err(|error| format!("{error}\n{}", daemon.log()))?;
    let late = host.landline(binary(), &["bridge", "confirm", "br-eth0"]);
    assert!(!late.success() && late.stderr.contains("nothing waits"), "{late:?}");

    // Somebody confirms to the daemon, also to its successor.
    assert!(adopt(&host, "5m").success());
    kill_guard(&host)?;
    restart(&host, &mut daemon)?;
    took_over(&daemon)?;
    host.landline_ok(binary(), &["bridge", "confirm", "br-eth0"])?;
    wait_for("the daemon to know", SOON, || daemon.log().contains("was confirmed and stays"))?;
    is_moved(&before, &host.snapshot()?, "confirmed");
    host.landline_ok(binary(), &["bridge", "release", "br-eth0"])?;
    assert_eq!(before.diff(&host.snapshot()?), "");

    // With nobody there it can be confirmed in time, and later it says why not.
    daemon.kill(Signal::TERM)?;
    daemon.wait()?;
    for (within, confirmed) in [("5m", true), ("2s", false)] {
        assert!(adopt(&host, within).success());
        kill_guard(&host)?;
        if !confirmed {
            wait_for("the deadline to pass", SOON, || {
                let old = "find /run/landline-bridge -name '*.guard' -not -newermt '-3 seconds'";
                host.node().sh(old).is_ok_and(|files| !files.is_empty())
            })?;
        }
        let said = host.landline(binary(), &["bridge", "confirm", "br-eth0"]);
        assert_eq!(said.success(), confirmed, "{said:?}");
        assert!(confirmed || said.stderr.contains("landline bridge release br-eth0"), "{said:?}");
        host.landline_ok(binary(), &["bridge", "release", "br-eth0"])?;
        assert_eq!(before.diff(&host.snapshot()?), "");
    }

    // A daemon that starts after the deadline does at once what the guard would have done.
    assert!(adopt(&host, "1s").success());
    kill_guard(&host)?;
    let _daemon = host.start_landline(binary(), &[], &[])?;
    wait_for("everything to be as it was", SOON, back)?;
    reachable(&lan)?;
    Ok(())
}

#[test]
fn what_lasts_is_written_when_it_is_confirmed() -> Result {
    let (_lan, host) = host()?;
    by_networkd(&host)?;
    let files = || host.node().sh("cd /etc/systemd/network; grep -s . 05-landline* || :");
    let adopt = ["bridge", "adopt", "eth0", "--as", "br-eth0", "--persist"];
    let shown = host.landline_ok(binary(), &adopt)?;
    assert!(shown.contains("/etc/systemd/network/05-landline-br-eth0.network (new)"), "{shown}");
    assert_eq!(files()?, "", "nothing is written before it is confirmed");
    let said = host.landline_ok(binary(), &["bridge", "confirm", "br-eth0"])?;
    assert!(said.contains("networkctl reload"), "{said}");
    let written = files()?;
    for line in
        ["br-eth0.netdev:Kind=bridge", "br-eth0.network:Address=192.0.2.10/24", "eth0.network:Bridge=br-eth0"]
    {
        assert!(written.contains(line), "{line} is missing in\n{written}");
    }
    host.landline_ok(binary(), &["bridge", "release", "br-eth0"])?;
    assert_eq!(files()?, "");
    Ok(())
}

#[test]
fn an_address_from_a_server_goes_on_being_renewed() -> Result {
    const SECONDS: u32 = 8;
    let lan = Lan::new()?;
    let kea = Kea { valid_lifetime: SECONDS, renew: Some(4), rebind: Some(6), ..Kea::default() };
    let dhcp = lan.kea(kea)?;
    let host = lan.docker_host("host1")?;
    // A manager with an identifier of its own, which is gone once the NIC is not its any more.
    let id = "ff:11:22:33:44:00:04:0a:0b";
    host.node().sh(&format!(
        "printf 'send dhcp-client-identifier {id};\\n' > /etc/dhclient.conf; mkdir -p /var/lib/dhcp"
    ))?;
    let leases = "/var/lib/dhcp/dhclient.eth0.leases";
    let mut manager = host.spawn(&["dhclient", "-d", "-cf", "/etc/dhclient.conf", "-lf", leases, "eth0"])?;
    manager
        .wait_for_text("bound to", SOON)
        .map_err(|error| format!("{error}\n{}\n{}", manager.stdout(), manager.stderr()))?;
    manager.signal(Signal::KILL)?;
    manager.wait()?;
    let addresses = host.node().addresses("eth0")?;
    let address = addresses.iter().find(|net| net.addr().is_ipv4()).ok_or("no address")?.to_string();
    // With the metrics that systemd-networkd sets.
    let own = bare(&address);
    host.node().sh(&format!(
        "ip address change {address} broadcast + dev eth0 metric 1024 valid_lft 600 preferred_lft 600
        while ip route del default 2>/dev/null; do :; done
        ip route add default via 192.0.2.1 dev eth0 proto dhcp src {own} metric 1024
        ip route add 192.0.2.1 dev eth0 proto dhcp scope link src {own} metric 1024"
    ))?;
    let routes = |of: &str| -> Result<Vec<String>> {
        let routes = host.node().sh("ip -4 route show")?;
        Ok(routes.lines().map(|line| line.trim().replace(of, "NIC")).collect())
    };
    let before = routes("eth0")?;
    assert!(before.iter().all(|route| route.contains("metric 1024")) && before.len() == 3, "{before:?}");
    let mut daemon = host.start_landline(binary(), &[], &[])?;
    let capture = lan.capture(lan.router(), "eth0", "udp port 67 or udp port 68")?;
    assert!(adopt(&host, "30s").success());
    let said = host.landline_ok(binary(), &["bridge", "confirm", "br-eth0"])?;
    assert!(said.contains("renews"), "{said}");
    let granted = || {
        let acks = capture.dhcp().into_iter().map(|(_, message)| message);
        acks.filter(|m| m.kind() == Some(DhcpKind::Ack)).map(|m| m.yiaddr.to_string()).collect::<Vec<_>>()
    };
    let is_kept = |times: usize| -> Result {
        wait_for(format!("{times} grants"), 6 * SOON, || granted().len() >= times)
            .map_err(|error| format!("{error}\n{}", capture.lines().join("\n")))?;
        assert!(granted().iter().all(|given| *given == bare(&address)), "{:?}", granted());
        let now = host.check(&["ip", "-4", "address", "show", "dev", "br-eth0"])?;
        assert!(now.contains(&format!("inet {address}")) && now.contains("valid_lft forever"), "{now}");
        assert_eq!(routes("br-eth0")?, before);
        lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
        Ok(())
    };
    is_kept(3)?;
    for (_, message) in capture.dhcp().iter().filter(|(_, m)| m.op == 1) {
        assert_eq!(message.options.get(&61), Some(&vec![0xff, 0x11, 0x22, 0x33, 0x44, 0, 4, 0xa, 0xb]));
    }
    daemon.kill(Signal::KILL)?;
    daemon.wait()?;
    let times = granted().len();
    let _daemon = host.start_landline(binary(), &[], &[])?;
    is_kept(times + 2)?;

    // Another server gives another address: the routes are from that one now, and otherwise as they were.
    drop(dhcp);
    let gives = Arc::new(Mutex::new(NEXT));
    let given = gives.clone();
    let _server = FakeServer::start(lan.router(), ROUTER, move |message| {
        given.lock().map(|address| grant(message, *address)).unwrap_or_default()
    })?;
    let moved: Vec<String> = before.iter().map(|route| route.replace(own, NEXT)).collect();
    wait_for("the host to have moved", 6 * SOON, || routes("br-eth0").is_ok_and(|now| now == moved))
        .map_err(|error| format!("{error}\n{moved:?}\n{:?}", routes("br-eth0")))?;
    lan.peer().check(&["ping", "-c1", "-W5", NEXT])?;

    // A default route that is another's, or that another removed, is none of the lease's business.
    let default = || host.node().sh("ip -4 route show default");
    let moves_to = |address: &'static str| -> Result {
        *gives.lock().map_err(|error| error.to_string())? = address;
        let there = || host.check(&["ip", "-4", "address", "show", "dev", "br-eth0"]);
        wait_for("the host to have moved", 6 * SOON, || {
            there().is_ok_and(|now| {
                now.contains(&format!("inet {address}/")) && now.matches("inet ").count() == 1
            })
        })?;
        lan.peer().check(&["ping", "-c1", "-W5", address])?;
        Ok(())
    };
    host.node()
        .sh("ip link add wg0 type veth peer name wg1; ip link set wg1 up; ip link set wg0 up; ip route replace default dev wg0 metric 1024")?;
    let tunnel = default()?;
    assert!(tunnel.contains("dev wg0") && tunnel.lines().count() == 1, "{tunnel}");
    moves_to("192.0.2.178")?;
    assert_eq!(default()?, tunnel);
    host.node().sh("ip route del default; ip link del wg0")?;
    moves_to(NEXT)?;
    assert_eq!(default()?, "");
    host.node()
        .sh(&format!("ip route add default via 192.0.2.1 dev br-eth0 proto dhcp src {NEXT} metric 1024"))?;
    assert_eq!(routes("br-eth0")?, moved);

    host.landline_ok(binary(), &["bridge", "release", "br-eth0"])?;
    let back = host.check(&["ip", "-4", "address", "show", "dev", "eth0"])?;
    assert!(back.contains(&format!("inet {NEXT}/24")) && !back.contains(own), "{back}");
    assert_eq!(routes("eth0")?, moved);
    Ok(())
}

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// What the other server gives.
const NEXT: &str = "192.0.2.177";

/// What a server says that has this address only, and gives it for some seconds.
fn grant(message: &DhcpMessage, address: &str) -> Vec<Reply> {
    let Ok(address) = address.parse::<Ipv4Addr>() else { return Vec::new() };
    let grant = |kind| {
        let grant = DhcpMessage::grant(message, kind, ROUTER, address, 8);
        vec![Reply::now(&grant.with(3, ROUTER.octets()))]
    };
    let asked = message.address_option(50).unwrap_or(message.ciaddr);
    match message.kind() {
        Some(DhcpKind::Discover) => grant(DhcpKind::Offer),
        Some(DhcpKind::Request) if asked == address => grant(DhcpKind::Ack),
        Some(DhcpKind::Request) => vec![Reply::now(&DhcpMessage::answer(message, DhcpKind::Nak, ROUTER))],
        _ => Vec::new(),
    }
}

#[test]
fn killed_at_any_step_the_host_is_reachable() -> Result {
    let (lan, host) = host()?;
    let undone = killed_at_any(&lan, &host, "bridge")?;
    assert!(undone > 20, "only {undone} requests were seen");
    Ok(())
}

/// Kills the command at each of its requests, there and back: how often on the way there. To the kernel as to Open vSwitch's
/// database each is one `sendto`. The guard, a program of its own, is not followed.
pub(crate) fn killed_at_any(lan: &Lan, host: &DockerHost, kind: &str) -> Result<usize> {
    let before = host.snapshot()?;
    let program = binary().display().to_string();
    let kind = format!("--kind={kind}");
    let killed = |step: usize, command: &[&str]| {
        let inject = format!("inject=sendto:signal=KILL:when={step}");
        let strace =
            ["strace", "-f", "-b", "execve", "-qq", "-o", "/dev/null", "-e", "trace=sendto", "-e", &inject];
        host.exec(&[&strace[..], &[&program, "bridge"], command].concat())
    };
    let adopt = ["adopt", "eth0", "--as", "br-eth0", &kind, "--confirm-within", "5m"];
    let adopted = || host.landline_ok(binary(), &[&["bridge"][..], &adopt].concat());
    let confirm = || host.landline_ok(binary(), &["bridge", "confirm", "br-eth0"]);
    let guard_ended = || {
        wait_for("the guard to have ended", SOON, || !host.exec(&["pgrep", "-f", "bridge guard"]).success())
    };
    // Open vSwitch lets go of a NIC a moment after it was told to.
    let is_old = || host.snapshot().is_ok_and(|now| before.diff(&now).is_empty());
    let mut undone = 0;
    loop {
        let output = killed(undone + 1, &adopt);
        if output.success() {
            break;
        }
        undone += 1;
        guard_ended()?;
        wait_for(format!("the state before, killed at request {undone}"), SOON, is_old)?;
        reachable(lan).map_err(|error| format!("killed at request {undone}: {error}"))?;
        assert!(undone < 200, "it never ends: {output:?}");
    }
    println!("killed at each of {undone} requests, and as before each time");
    is_moved(&before, &host.snapshot()?, "not killed");
    confirm()?;

    // The way back as well: what was begun is finished.
    for step in 1.. {
        let whole = killed(step, &["release", "br-eth0"]).success();
        guard_ended()?;
        let gone = || !host.exec(&["ip", "link", "show", "br-eth0"]).success();
        let old = gone();
        if old {
            wait_for("everything to be as it was", SOON, is_old)?;
        } else {
            is_moved(&before, &host.snapshot()?, &format!("killed at request {step} of the release"));
        }
        reachable(lan).map_err(|error| format!("killed at request {step} of the release: {error}"))?;
        if whole {
            assert!(old, "released, and br-eth0 is still there");
            break;
        }
        if old {
            adopted()?;
            confirm()?;
        }
    }
    Ok(undone)
}

#[test]
fn what_cannot_be_adopted_is_refused_with_a_reason() -> Result {
    let (_lan, host) = host()?;
    let before = host.snapshot()?;
    let refused = |nic: &str, bridge: &str, reason: &str| -> Result {
        let output = host.landline(binary(), &["bridge", "adopt", nic, "--as", bridge]);
        assert!(!output.success() && output.stderr.contains(reason), "{nic}: {output:?}");
        assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
        Ok(())
    };
    refused("eth7", "br-eth7", "there is no interface eth7")?;
    refused("lo", "br-lo", "lo is the loopback interface")?;
    refused("eth0", "lo", "there is an interface lo already")?;
    let with = |set_up: &str, nic: &str, reason: &str, take_down: &str| -> Result {
        host.node().sh(set_up)?;
        refused(nic, "br-new", reason)?;
        host.node().sh(take_down)?;
        Ok(())
    };
    with(
        "ip link add link eth0 name mv0 type macvlan mode bridge",
        "eth0",
        "the macvlan or ipvlan links mv0",
        "ip link delete mv0",
    )?;
    // A container's is not to be seen from here, and the kernel's word comes when the bridge is there already.
    with(
        "ip netns add x; ip link add link eth0 name mv0 type macvlan mode bridge; ip link set mv0 netns x",
        "eth0",
        "macvlan or ipvlan links in containers",
        "ip netns delete x",
    )?;
    with(
        "ip link add br9 type bridge; ip link add v0 type veth peer name v1; ip link set v0 master br9",
        "v0",
        "v0 is a port of br9 already",
        "ip link delete v0; ip link delete br9",
    )?;
    with("ip link add br9 type bridge", "br9", "a bridge itself", "ip link delete br9")?;
    with("ip link add v0 type veth peer name v1", "v0", "v0 is down", "ip link delete v0")?;
    with(
        "ip route add 203.0.113.128/25 nexthop via 192.0.2.1 dev eth0 nexthop via 192.0.2.2 dev eth0",
        "eth0",
        "several next hops",
        "ip route delete 203.0.113.128/25",
    )?;
    with(
        "ip address add 192.0.2.13/24 dev eth0 valid_lft 900 preferred_lft 600",
        "eth0",
        "start the daemon, which can",
        "ip address delete 192.0.2.13/24 dev eth0",
    )?;
    let foreign = host.node().sh("ip link add br9 type bridge").and_then(|_| {
        let output = host.landline(binary(), &["bridge", "release", "br9"]);
        assert!(!output.success() && output.stderr.contains("not a bridge that landline"), "{output:?}");
        host.check(&["ip", "link", "delete", "br9"])
    });
    foreign?;
    // The guard of an adoption that did not come to pass, and a bridge that somebody else has made meanwhile.
    host.node().sh("ip link add br9 address 02:00:00:00:00:99 type bridge; ip link set br9 up; ip address add 192.0.2.77/24 dev br9")?;
    let left = host.snapshot()?;
    host.landline_ok(binary(), &["bridge", "guard", "br9", "eth0", "--within", "1s"])?;
    assert_eq!(left.diff(&host.snapshot()?), "", "another's bridge was touched");
    host.check(&["ip", "link", "delete", "br9"])?;
    wait_for("the host to be as it was", Duration::from_secs(20), || {
        host.snapshot().is_ok_and(|now| before.diff(&now).is_empty())
    })?;
    Ok(())
}
