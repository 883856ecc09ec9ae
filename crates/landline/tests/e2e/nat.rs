//! Networks whose containers are reached under addresses of the LAN that are on the host; and such addresses from a DHCP
//! server. The LAN is that of the four ways.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use landline_testbed::{DhcpKind, DhcpMessage, Dockerd, FakeServer, Process, Reply, Signal, wait_for};

use crate::adopted::conversation_with;
use crate::four_ways::{CONTAINER, HOST, Lab, PEER, ROUTER, WHO, Way, nat_row};
use crate::tools::{behind_rules, start_daemon};
use crate::world::{Result, SOON, binary};

/// Of the containers' network.
const SUBNET: &str = "203.0.113.0/24";
const GATEWAY: &str = "203.0.113.1";

fn create(lab: &Lab, options: &[&str]) -> Result {
    let fixed =
        ["network", "create", "-d", "landline", "-o", "mode=nat", "-o", "parent=eth0", "-o", "firewall=open"];
    let options = options.iter().flat_map(|option| ["-o", option]);
    let command: Vec<&str> = fixed.into_iter().chain(options).chain(["--subnet", SUBNET, "lan"]).collect();
    Ok(lab.world.host.docker_ok(&command).map(drop)?)
}

fn run(lab: &Lab, args: &[&str]) -> Result {
    let command = [
        &["run", "-d", "--name", "web", "--restart=always", "--network", "lan"],
        args,
        &["box", "sleep", "infinity"],
    ];
    Ok(lab.world.host.docker_ok(&command.concat()).map(drop)?)
}

/// The container's own address.
fn inside(lab: &Lab) -> Result<String> {
    lab.inside_of("lan")
}

fn matrix(lab: &Lab) -> Result {
    let neighbour = ["--network", "name=lan,driver-opt=lan_ip=10.12.0.118"];
    lab.matrix_with(Way::Nat, &inside(lab)?, &neighbour, GATEWAY)
}

fn is_on_the_nic(lab: &Lab, address: &str) -> Result<bool> {
    is_on(lab, "eth0", address)
}

fn is_on(lab: &Lab, interface: &str, address: &str) -> Result<bool> {
    let shown = lab.world.host.check(&["ip", "-o", "-4", "address", "show", "dev", interface])?;
    Ok(shown.contains(&format!(" {address}/32 ")))
}

/// The NIC goes under a bridge.
fn adopt(lab: &Lab, kind: &str) -> Result {
    let landline = |args: &[&str]| lab.world.host.landline_ok(binary(), &[&["bridge"], args].concat());
    landline(&["adopt", "eth0", "--as", "br-eth0", "--kind", kind])?;
    landline(&["confirm", "br-eth0"])?;
    Ok(())
}

fn release(lab: &Lab) -> Result {
    Ok(lab.world.host.landline_ok(binary(), &["bridge", "release", "br-eth0"]).map(drop)?)
}

/// That the address is on this interface only, and the rules are about it.
fn is_at(lab: &Lab, address: &str, interface: &str, not: &str) -> Result {
    let rule = format!("oifname \"{interface}\" snat to {address}");
    let rules = || lab.world.host.check(&["nft", "list", "table", "ip", "landline"]);
    wait_for(format!("{address} to be on {interface}"), SOON, || {
        let there = is_on(lab, interface, address).unwrap_or(false);
        there
            && !is_on(lab, not, address).unwrap_or(false)
            && rules().is_ok_and(|rules| rules.contains(&rule))
    })
    .map_err(|error| format!("{error}: {:?}\n{}", rules(), lab.world.daemon.log()).into())
}

/// Somebody removes the network's bridge under a running container.
fn bridge_is_removed(lab: &Lab) -> Result {
    let bridge = lab.world.host.node().sh("ip -br link show type bridge | grep -o '^llb[^ ]*'")?;
    lab.world.host.check(&["ip", "link", "delete", bridge.trim()])?;
    // Before anything else is started there.
    let pid = lab.world.host.container_pid("web")?.to_string();
    let who = lab.world.host.spawn(&["nsenter", "--net", "-t", &pid, "python3", "-c", WHO])?;
    wait_for("the container to be reached again", SOON, || lab.ask("peer", CONTAINER, &pid) == PEER)?;
    drop(who);
    matrix(lab)
}

/// The daemon and Docker are killed, the host is switched off: everything is there again. What answers on the host does
/// as long as the process lives.
fn survives(lab: &mut Lab) -> Result<Process> {
    lab.world.daemon.kill(Signal::KILL)?;
    lab.world.daemon.wait()?;
    lab.world.host.check(&["ip", "address", "del", &format!("{CONTAINER}/32"), "dev", "eth0"])?;
    lab.world.host.check(&["nft", "delete", "table", "ip", "landline"])?;
    lab.world.daemon = start_daemon(&lab.world.host)?;
    matrix(lab)?;

    lab.world.host.dockerd_stop(Signal::TERM)?;
    lab.world.host.dockerd_start()?;
    wait_for("Docker to start the container", SOON, || inside(lab).is_ok_and(|inside| !inside.is_empty()))?;
    matrix(lab)?;

    lab.world.host.reboot()?;
    lab.world.host.check(&["ip", "address", "add", "10.12.0.76/21", "dev", "eth0"])?;
    lab.world.host.check(&["ip", "route", "add", "default", "via", ROUTER, "dev", "eth0"])?;
    lab.world.daemon = start_daemon(&lab.world.host)?;
    lab.world.host.dockerd(Dockerd {
        iptables: true,
        bridge: Some("198.51.100.1/24".into()),
        ..Dockerd::default()
    })?;
    let who = lab.world.host.spawn(&["python3", "-c", WHO, HOST])?;
    wait_for("Docker to start the container", SOON, || inside(lab).is_ok_and(|inside| !inside.is_empty()))?;
    matrix(lab)?;
    Ok(who)
}

#[test]
fn a_network_with_an_address_of_the_lan() -> Result {
    let mut lab = Way::Nat.lab()?;
    lab.world.host.docker_ok(&["run", "--rm", "box", "true"])?;
    let before = lab.state()?;
    let refused = |lab: &Lab, options: &[&str]| create(lab, options).unwrap_err().to_string();
    for (options, error) in [
        (&["lan_ip=10.12.0.5"][..], "10.12.0.5 is in use on the LAN"),
        (&["lan_ip=10.12.0.76"], "10.12.0.76 is an address of this host already, on eth0"),
        (&["ipv6=true"], "mode=nat translates IPv4 only"),
        (&["addressing=dhcp"], "lan_ip=dhcp asks the LAN's DHCP server"),
    ] {
        let said = refused(&lab, options);
        assert!(said.contains(error), "{said}");
    }
    let overlap = ["network", "create", "-d", "landline", "-o", "mode=nat", "-o", "parent=eth0"];
    let docker =
        |args: &[&str]| lab.world.host.docker_ok(&[&overlap, args].concat()).unwrap_err().to_string();
    let said = docker(&["--subnet", "10.12.4.0/24", "lan"]);
    assert!(said.contains("the host has 10.12.0.76/21 already, on eth0"), "{said}");
    let said = docker(&["--ipam-driver", "null", "lan"]);
    assert!(said.contains("leave out --ipam-driver null"), "{said}");
    lab.is_back(&before)?;

    // What the host does not pass on it passes on as long as that is needed, if the user says so.
    lab.world.host.check(&["sysctl", "-w", "net.ipv4.ip_forward=0"])?;
    let closed = lab.state()?;
    let said = docker(&["--subnet", SUBNET, "lan"]);
    assert!(said.contains("net.ipv4.ip_forward is 0") && said.contains("-o firewall=open"), "{said}");
    create(&lab, &["lan_ip=10.12.0.117"])?;
    assert_eq!(lab.world.host.check(&["sysctl", "-n", "net.ipv4.ip_forward"])?.trim(), "1");
    lab.world.host.docker_ok(&["network", "rm", "lan"])?;
    lab.is_back(&closed)?;
    lab.world.host.check(&["sysctl", "-w", "net.ipv4.ip_forward=1"])?;

    // The address is there before any container, also for Docker's own.
    create(&lab, &["lan_ip=10.12.0.117", "ports=80,443/tcp"])?;
    assert!(is_on_the_nic(&lab, CONTAINER)?);
    lab.world.host.docker_ok(&["run", "--rm", "-p", "10.12.0.117:8081:80", "box", "true"])?;
    run(&lab, &[])?;
    matrix(&lab)?;
    let row = nat_row(&lab.world.host, "web")?;
    assert_eq!((&row["state"], &row["network"]), (&"ready".into(), &"lan".into()));
    assert_eq!(row["ports"], serde_json::json!(["80/tcp", "443/tcp"]));
    bridge_is_removed(&lab)?;

    // One container at a time; nothing by a port that is not passed on, nor by the container's own address.
    let second = ["run", "--rm", "--network", "lan", "box", "true"];
    let said = lab.world.host.docker_ok(&second).unwrap_err().to_string();
    assert!(said.contains("a container on this network has its address 10.12.0.117"), "{said}");
    let own = inside(&lab)?;
    let pid = lab.world.host.container_pid("web")?.to_string();
    let _who = lab.world.host.spawn(&["nsenter", "--net", "-t", &pid, "python3", "-c", WHO])?;
    lab.world.lan.peer().check(&["ip", "route", "add", SUBNET, "via", HOST])?;
    // Docker's firewall would keep everybody out.
    lab.world.host.check(&["iptables", "-P", "FORWARD", "ACCEPT"])?;
    wait_for("the host to reach it by its own address", SOON, || lab.ask("host", &own, &pid) == GATEWAY)?;
    let answer = lab.ask("peer", &own, &pid);
    assert!(answer.contains("timed out"), "{answer}");
    lab.world.host.check(&["iptables", "-P", "FORWARD", "DROP"])?;
    lab.world.lan.peer().check(&["ip", "route", "del", SUBNET, "via", HOST])?;

    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    assert!(is_on_the_nic(&lab, CONTAINER)?, "it is the network's");
    lab.world.host.docker_ok(&["network", "rm", "lan"])?;
    lab.is_back(&before)?;

    create(&lab, &["lan_ip=10.12.0.117", "ports=all"])?;
    run(&lab, &[])?;
    let _who = survives(&mut lab)?;
    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    lab.world.host.docker_ok(&["network", "rm", "lan"])?;
    assert!(!is_on_the_nic(&lab, CONTAINER)?);
    Ok(())
}

/// A second NIC on the LAN on which the host has its address, as many hosts have: what is sent to the container comes in by the
/// one, and its answers go out by the other, because that is where the host's routes lead.
#[test]
fn an_address_on_a_second_nic_on_the_same_lan() -> Result {
    let prepare = "iptables -P FORWARD DROP
        echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables
        ip link add eth1 type veth peer name port1
        ip link set port1 master br0 up
        ip link set eth1 up";
    let world = behind_rules("iptables-nft", prepare, &[])?;
    let options = ["mode=nat", "parent=eth1", "lan_ip=192.0.2.117", "ports=all", "firewall=open"];
    let options = options.iter().flat_map(|option| ["-o", option]);
    let create: Vec<&str> =
        ["network", "create", "-d", "landline", "--subnet", SUBNET].into_iter().chain(options).collect();
    world.host.docker_ok(&[&create[..], &["lan"]].concat())?;
    world.run("web", "lan", &[])?;
    world.host.docker_ok(&["exec", "-d", "web", "httpd", "-p", "80", "-h", "/etc"])?;
    let ask = ["curl", "-sSf", "-m", "5", "http://192.0.2.117/hostname"];
    let asked = |limit| wait_for("an answer", limit, || world.lan.peer().check(&ask).ok());
    asked(SOON)?;
    let found = world.host.landline(binary(), &["doctor"]).stdout;
    assert!(found.contains("the host's route to 192.0.2.117 leads through br0, not eth1"), "{found}");
    world.host.check(&["ip", "address", "add", "192.0.2.11/24", "dev", "eth1", "metric", "1"])?;
    world.host.check(&["ip", "route", "del", "192.0.2.0/24", "dev", "br0"])?;
    let found = world.host.landline(binary(), &["doctor"]).stdout;
    assert!(!found.contains("192.0.2.117"), "{found}");
    asked(SOON)?;
    Ok(())
}

#[test]
fn addresses_go_where_the_nic_goes() -> Result {
    let mut lab = Way::Nat.lab()?;
    // As on a real wire: what the switch in user space forwards has its checksums.
    for node in [lab.world.lan.router(), lab.world.lan.peer()] {
        node.check(&["ethtool", "-K", "eth0", "tx", "off"])?;
    }
    let ovs = lab.world.host.open_vswitch()?;
    lab.world.host.check(&["mkdir", "-p", "/run/systemd/system"])?;
    lab.world.host.docker_ok(&["run", "--rm", "box", "true"])?;
    let untouched = lab.state()?;
    create(&lab, &["lan_ip=10.12.0.117", "ports=all"])?;
    run(&lab, &[])?;
    let before = lab.world.host.snapshot()?;
    let pid = lab.world.host.container_pid("web")?.to_string();
    let enter = ["nsenter", "--net", "-t", &pid];
    let (_server, mut client) = conversation_with(&lab.world.lan, &lab.world.host, &enter, CONTAINER)?;
    for kind in ["bridge", "ovs-netdev"] {
        adopt(&lab, kind)?;
        is_at(&lab, CONTAINER, "br-eth0", "eth0")?;
        wait_for("it to be shown there", SOON, || {
            nat_row(&lab.world.host, "web").is_ok_and(|row| row["interface"] == "br-eth0")
        })?;
        matrix(&lab)?;
        release(&lab)?;
        is_at(&lab, CONTAINER, "eth0", "lo")?;
        wait_for("the host to be as before", SOON, || {
            lab.world.host.snapshot().is_ok_and(|now| before.diff(&now).is_empty())
        })?;
    }
    client.signal(Signal::TERM)?;
    assert!(client.wait()?.success(), "{}", client.stderr());
    println!("under bridges and back: {}", client.stdout().lines().last().unwrap_or_default());
    assert_eq!(ovs.vsctl(&["list-br"])?, "");

    // While the daemon is away; and a NIC that is freed by hand has the address again.
    lab.world.daemon.kill(Signal::KILL)?;
    lab.world.daemon.wait()?;
    adopt(&lab, "bridge")?;
    lab.world.daemon = start_daemon(&lab.world.host)?;
    matrix(&lab)?;
    is_at(&lab, CONTAINER, "br-eth0", "eth0")?;
    lab.world.host.check(&["ip", "link", "set", "eth0", "nomaster"])?;
    is_at(&lab, CONTAINER, "eth0", "br-eth0")?;
    lab.world.host.check(&["ip", "link", "set", "eth0", "master", "br-eth0"])?;
    is_at(&lab, CONTAINER, "br-eth0", "eth0")?;
    release(&lab)?;
    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    lab.world.host.docker_ok(&["network", "rm", "lan"])?;
    lab.is_back(&untouched)
}

#[test]
fn containers_with_leased_addresses() -> Result {
    let mut lab = Way::Nat.lab()?;
    lab.world.host.docker_ok(&["run", "--rm", "box", "true"])?;
    let before = lab.state()?;
    create(&lab, &[])?;
    let said = run(&lab, &["-p", "10.12.0.99:80:80"]).unwrap_err().to_string();
    assert!(said.contains("-p 10.12.0.99:... names another address"), "{said}");
    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    assert!(!is_on_the_nic(&lab, CONTAINER)?, "nobody has it");

    // The server has that address only, so whoever has it had it before.
    run(&lab, &["-p", "80:80"])?;
    matrix(&lab)?;
    let row = nat_row(&lab.world.host, "web")?;
    assert_eq!((&row["address"], &row["server"]), (&CONTAINER.into(), &ROUTER.into()));
    // It is the container's as long as there is a container, and its successor's.
    lab.world.host.docker_ok(&["stop", "web"])?;
    assert!(is_on_the_nic(&lab, CONTAINER)?);
    lab.world.host.docker_ok(&["rm", "web"])?;
    run(&lab, &["-p", "80:80"])?;
    matrix(&lab)?;
    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    lab.world.host.docker_ok(&["network", "rm", "lan"])?;
    lab.is_back(&before)?;

    // Who goes away by himself leaves nothing, and the server can give it to the next.
    create(&lab, &[])?;
    let command = ["run", "--rm", "--name", "once", "--network", "lan", "box", "true"];
    lab.world.host.docker_ok(&command)?;
    wait_for("the address to go", SOON, || is_on_the_nic(&lab, CONTAINER).is_ok_and(|there| !there))?;
    run(&lab, &["-p", "80:80"])?;
    let _who = survives(&mut lab)?;
    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    lab.world.host.docker_ok(&["network", "rm", "lan"])?;
    assert!(!is_on_the_nic(&lab, CONTAINER)?);
    Ok(())
}

/// A server on the router that gives the container this last octet, for so short that it is asked again soon.
fn fickle(lab: &Lab, last: Arc<AtomicU8>) -> Result<FakeServer> {
    let server: Ipv4Addr = ROUTER.parse()?;
    let script = move |message: &DhcpMessage| {
        let address = Ipv4Addr::new(10, 12, 0, last.load(Ordering::SeqCst));
        let grant = |kind| {
            let grant = DhcpMessage::grant(message, kind, server, address, 6);
            vec![Reply::now(&grant.with(1, [255, 255, 248, 0]))]
        };
        let asked = message.address_option(50).unwrap_or(message.ciaddr);
        match message.kind() {
            Some(DhcpKind::Discover) => grant(DhcpKind::Offer),
            Some(DhcpKind::Request) if asked == address => grant(DhcpKind::Ack),
            Some(DhcpKind::Request) => {
                vec![Reply::now(&DhcpMessage::answer(message, DhcpKind::Nak, server))]
            }
            _ => Vec::new(),
        }
    };
    Ok(FakeServer::start(lab.world.lan.router(), server, script)?)
}

/// The daemon is killed, and all it knows is lost with it.
fn state_is_lost(lab: &mut Lab) -> Result {
    lab.world.daemon.kill(Signal::KILL)?;
    lab.world.daemon.wait()?;
    lab.world.host.check(&["find", "/var/lib/landline", "-mindepth", "1", "-delete"])?;
    lab.world.daemon = start_daemon(&lab.world.host)?;
    Ok(())
}

#[test]
fn without_its_state_the_daemon_takes_up_what_is_translated() -> Result {
    let mut lab = Way::Nat.lab()?;
    lab.world.host.docker_ok(&["run", "--rm", "box", "true"])?;
    let before = lab.state()?;
    // The network's own address, and one that the container was given; ports that are published elsewhere.
    create(&lab, &["lan_ip=10.12.0.117"])?;
    let publish = ["-p", "80:80", "-p", "8080:80"];
    run(&lab, &publish)?;
    let other = ["run", "-d", "--name", "other", "--network", "name=lan,driver-opt=lan_ip=10.12.0.119"];
    lab.world.host.docker_ok(&[&other[..], &["-p", "81:80", "box", "sleep", "infinity"]].concat())?;
    let ports = |lab: &Lab, name: &str| -> Result<serde_json::Value> {
        let row = wait_for(format!("{name} to be taken up"), SOON, || {
            nat_row(&lab.world.host, name).ok().filter(|row| row["state"] == "ready")
        });
        Ok(row.map_err(|error| format!("{error}\n{}", lab.world.daemon.log()))?["ports"].clone())
    };
    let had = (ports(&lab, "web")?, ports(&lab, "other")?);
    state_is_lost(&mut lab)?;
    assert_eq!((ports(&lab, "web")?, ports(&lab, "other")?), had);
    assert_eq!(had.1, serde_json::json!(["81:80/tcp"]));
    matrix(&lab)?;
    assert_eq!(nat_row(&lab.world.host, "other")?["address"], "10.12.0.119");
    lab.world.host.docker_ok(&["rm", "-f", "web", "other"])?;
    lab.world.host.docker_ok(&["network", "rm", "lan"])?;
    lab.is_back(&before)?;

    // A leased one is another's in the eyes of the server, as what it was known by is lost.
    lab.world.dhcp.stop()?;
    let last = Arc::new(AtomicU8::new(117));
    let _server = fickle(&lab, last.clone())?;
    create(&lab, &[])?;
    run(&lab, &publish)?;
    last.store(118, Ordering::SeqCst);
    state_is_lost(&mut lab)?;
    ports(&lab, "web")?;
    is_at(&lab, "10.12.0.118", "eth0", "lo")?;
    assert!(!is_on_the_nic(&lab, CONTAINER)?, "nobody renews it");
    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    lab.world.host.docker_ok(&["network", "rm", "lan"])?;
    lab.is_back(&before)
}

/// A server takes the container for the host once. What it had goes, and it is asked again.
#[test]
fn a_server_that_gave_the_hosts_address_is_asked_again() -> Result {
    const PATIENCE: Duration = Duration::from_secs(40);
    let mut lab = Way::Nat.lab()?;
    lab.world.dhcp.stop()?;
    let last = Arc::new(AtomicU8::new(117));
    let _server = fickle(&lab, last.clone())?;
    lab.world.host.docker_ok(&["run", "-d", "--name", "web", "box", "sleep", "infinity"])?;
    lab.world.host.landline_ok(binary(), &["nat", "web", "dhcp", "--dev", "eth0", "--port", "80"])?;
    assert!(is_on_the_nic(&lab, CONTAINER)?);
    let row = || nat_row(&lab.world.host, "web");
    last.store(76, Ordering::SeqCst);
    wait_for("the host's address to be refused", PATIENCE, || {
        row().is_ok_and(|row| row["state"].to_string().contains("gave an address that is taken"))
    })?;
    assert!(!is_on_the_nic(&lab, CONTAINER)?, "nobody renews it");
    last.store(118, Ordering::SeqCst);
    wait_for("another address", PATIENCE, || {
        row().is_ok_and(|row| row["address"] == "10.12.0.118" && row["state"] == "ready")
    })?;
    is_at(&lab, "10.12.0.118", "eth0", "lo")
}

#[test]
fn a_leased_address_is_renewed_and_when_it_changes_everything_moves() -> Result {
    let mut lab = Way::Nat.lab()?;
    lab.world.dhcp.stop()?;
    lab.world.host.docker_ok(&["run", "--rm", "box", "true"])?;
    let before = lab.state()?;
    let nat = |lab: &Lab, args: &[&str]| lab.world.host.landline_ok(binary(), &[&["nat"], args].concat());
    let said = nat(&lab, &["web", "dhcp", "--dev", "eth0"]).unwrap_err().to_string();
    assert!(said.contains("no DHCP server on eth0 gave an address within 10 s"), "{said}");
    lab.is_back(&before)?;

    // A server that takes it for the host.
    let last = Arc::new(AtomicU8::new(76));
    let server = fickle(&lab, last.clone())?;
    let said = nat(&lab, &["web", "dhcp", "--dev", "eth0"]).unwrap_err().to_string();
    assert!(said.contains("tells clients apart by hardware address"), "{said}");
    lab.is_back(&before)?;

    last.store(117, Ordering::SeqCst);
    lab.world.host.docker_ok(&["run", "-d", "--name", "web", "box", "sleep", "infinity"])?;
    let said = nat(&lab, &["web", "dhcp", "--dev", "eth0", "--port", "80", "--open-firewall"])?;
    assert!(said.contains("web is 10.12.0.117 on eth0"), "{said}");
    let pid = lab.world.host.container_pid("web")?.to_string();
    let _who = lab.world.host.spawn(&["nsenter", "--net", "-t", &pid, "python3", "-c", WHO])?;
    let reached = |lab: &Lab, address: &str| {
        wait_for(format!("the container at {address}"), SOON, || lab.ask("peer", address, &pid) == PEER)?;
        wait_for(format!("the container to be {address}"), SOON, || {
            lab.ask("container", PEER, &pid) == address
        })
    };
    reached(&lab, CONTAINER)?;
    // Known by an identifier of its own, the same each time; renewed.
    let requests =
        || server.seen().into_iter().filter(|(_, m)| m.kind() == Some(DhcpKind::Request)).collect::<Vec<_>>();
    let heard = requests().len();
    wait_for("it to be renewed twice", 2 * SOON, || requests().len() >= heard + 2)?;
    let hardware: Vec<String> = requests().iter().map(|(_, message)| message.client_mac()).collect();
    let nic = lab.world.host.check(&["cat", "/sys/class/net/eth0/address"])?;
    assert!(hardware.iter().all(|mac| *mac == nic.trim()), "{hardware:?} {nic}");
    let identifiers: Vec<_> = requests().iter().map(|(_, message)| message.text_option(61)).collect();
    assert!(identifiers.last().is_some_and(Option::is_some), "{identifiers:?}");
    assert!(is_on_the_nic(&lab, CONTAINER)?);

    // Under a bridge its client goes on there, with the lease it has, and is given another address.
    adopt(&lab, "bridge")?;
    is_at(&lab, CONTAINER, "br-eth0", "eth0")?;
    reached(&lab, CONTAINER)?;
    let heard = requests().len();
    wait_for("it to be renewed under the bridge", 2 * SOON, || requests().len() > heard)?;
    last.store(118, Ordering::SeqCst);
    reached(&lab, "10.12.0.118")?;
    is_at(&lab, "10.12.0.118", "br-eth0", "eth0")?;
    assert!(!is_on(&lab, "br-eth0", CONTAINER)?);
    release(&lab)?;

    last.store(119, Ordering::SeqCst);
    reached(&lab, "10.12.0.119")?;
    assert!(is_on_the_nic(&lab, "10.12.0.119")? && !is_on_the_nic(&lab, CONTAINER)?);
    let rules = lab.world.host.check(&["nft", "list", "table", "ip", "landline"])?;
    assert!(rules.contains("10.12.0.119") && !rules.contains(CONTAINER), "{rules}");

    nat(&lab, &["rm", "web"])?;
    let released = |message: &DhcpMessage| message.kind() == Some(DhcpKind::Release);
    wait_for("it to be given back", SOON, || server.seen().iter().any(|(_, message)| released(message)))?;
    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    lab.is_back(&before)
}
