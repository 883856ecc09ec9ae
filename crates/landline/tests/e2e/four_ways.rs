//! One container on the LAN in each of the ways there are: who reaches whom, and under which address; and the host as it
//! was afterwards. The host is 10.12.0.76/21, the container 10.12.0.117, the router 10.12.7.254.

use landline_testbed::{
    DhcpServer, Dnsmasq, DockerHost, Dockerd, HostState, Lan, OpenVswitch, Process, wait_for,
};

use crate::tools::{saved_rules, start_daemon, use_iptables};
use crate::world::{Result, SOON, World, binary};

pub(crate) const HOST: &str = "10.12.0.76";
pub(crate) const CONTAINER: &str = "10.12.0.117";
pub(crate) const PEER: &str = "10.12.0.5";
pub(crate) const ROUTER: &str = "10.12.7.254";

/// Answers every connection with the address it comes from.
pub(crate) const WHO: &str = "
import socketserver, sys
class Who(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(self.client_address[0].encode())
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer((sys.argv[1] if len(sys.argv) > 1 else '0.0.0.0', 80), Who).serve_forever()";

/// Answers every datagram to port 53 with the name it is given.
const NAME: &str = "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 53))
while True:
    _, peer = s.recvfrom(64)
    s.sendto(sys.argv[1].encode(), peer)";

/// Asks there, always from the same port, and prints the answer.
const ASK_NAME: &str = "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 4000))
s.settimeout(1)
s.sendto(b'?', (sys.argv[1], 53))
print(s.recv(64).decode())";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Nat,
    Bridge,
    Ovs,
    Macvlan,
}

pub(crate) struct Lab {
    // Dropped in this order.
    _who: Vec<Process>,
    ovs: Option<OpenVswitch>,
    pub(crate) world: World,
}

fn lan() -> Result<(Lan, DhcpServer)> {
    let lan = Lan::new()?;
    lan.router().check(&["ip", "address", "add", "10.12.7.254/21", "dev", "eth0"])?;
    lan.peer().check(&["ip", "address", "add", "10.12.0.5/21", "dev", "eth0"])?;
    for node in [lan.router(), lan.peer()] {
        // What comes from a wire has its checksums.
        node.check(&["ethtool", "-K", "eth0", "tx", "off"])?;
    }
    let dhcp = Dnsmasq {
        range: (CONTAINER.into(), CONTAINER.into()),
        netmask: "255.255.248.0".into(),
        router: Some(ROUTER.into()),
        ..Dnsmasq::default()
    };
    let dhcp = lan.dnsmasq(dhcp)?;
    Ok((lan, dhcp))
}

impl Way {
    pub(crate) fn lab(self) -> Result<Lab> {
        self.lab_with("iptables-nft")
    }

    /// On a host with rules of this flavour.
    pub(crate) fn lab_with(self, flavour: &str) -> Result<Lab> {
        let (lan, dhcp) = lan()?;
        let host = lan.docker_host("host1")?;
        use_iptables(&host, flavour)?;
        let route = |link: &str| -> Result {
            host.check(&["ip", "address", "add", "10.12.0.76/21", "dev", link])?;
            host.check(&["ip", "route", "add", "default", "via", ROUTER, "dev", link])?;
            Ok(())
        };
        let ovs = if self == Self::Ovs {
            let ovs = host.open_vswitch()?;
            ovs.make_bridge("br-em1", "10.12.0.76/21")?;
            host.check(&["ip", "route", "add", "default", "via", ROUTER, "dev", "br-em1"])?;
            Some(ovs)
        } else {
            route("eth0")?;
            None
        };
        let mut who = Vec::new();
        for (node, address) in [(lan.router(), ROUTER), (lan.peer(), PEER), (host.node(), HOST)] {
            who.push(node.spawn(&["python3", "-c", WHO, address])?);
        }
        Ok(Lab { _who: who, ovs, world: self.world(lan, dhcp, host)? })
    }

    /// With NAT, Docker has a bridge and rules of its own.
    fn world(self, lan: Lan, dhcp: DhcpServer, mut host: DockerHost) -> Result<World> {
        let dockerd = match self {
            Self::Nat => {
                Dockerd { iptables: true, bridge: Some("198.51.100.1/24".into()), ..Dockerd::default() }
            }
            _ => Dockerd::default(),
        };
        host.dockerd(dockerd)?;
        let daemon = start_daemon(&host)?;
        Ok(World { daemon, host, dhcp, lan })
    }

    /// The options of the container's network.
    fn network(self) -> &'static [&'static str] {
        match self {
            Self::Nat => &[],
            Self::Bridge => &["bridge=br-em1"],
            Self::Ovs => &["mode=ovs", "bridge=br-em1"],
            Self::Macvlan => &["mode=macvlan", "parent=eth0", "host_access=true"],
        }
    }

    /// From whom, to whom, and the address it is seen to come from.
    fn matrix(self) -> Vec<(&'static str, &'static str, &'static str)> {
        let mut matrix = vec![
            ("peer", CONTAINER, PEER),
            ("router", CONTAINER, ROUTER),
            ("host", PEER, HOST),
            ("peer", HOST, PEER),
            ("container", PEER, CONTAINER),
            ("container", ROUTER, CONTAINER),
            ("container", CONTAINER, CONTAINER),
        ];
        matrix.extend(match self {
            // To the host's own address that is another machine's the host goes from that very address.
            Self::Nat => [("host", CONTAINER, CONTAINER), ("container", HOST, "inside")],
            _ => [("host", CONTAINER, HOST), ("container", HOST, CONTAINER)],
        });
        matrix
    }
}

impl Lab {
    pub(crate) fn ask(&self, from: &str, to: &str, pid: &str) -> String {
        let url = format!("http://{to}:80/");
        let curl = ["curl", "-sS", "--http0.9", "--max-time", "3", &url];
        let enter = ["nsenter", "--net", "-t", pid];
        let output = match from {
            "peer" => self.world.lan.peer().run(&curl),
            "router" => self.world.lan.router().run(&curl),
            "host" => self.world.host.exec(&curl),
            _ => self.world.host.exec(&[&enter[..], &curl].concat()),
        };
        if output.success() { output.stdout } else { output.stderr }
    }

    /// Everybody reaches everybody, under the right address.
    fn matrix(&self, way: Way, inside: &str) -> Result {
        self.matrix_with(way, inside, &[], "198.51.100.1")
    }

    /// With NAT there is a neighbour as well, who is started with these arguments and seen under that address.
    pub(crate) fn matrix_with(&self, way: Way, inside: &str, neighbour: &[&str], gateway: &str) -> Result {
        let pid = self.world.host.container_pid("web")?.to_string();
        let _who = self.world.host.spawn(&["nsenter", "--net", "-t", &pid, "python3", "-c", WHO])?;
        if way == Way::Nat {
            // A neighbour, for whose requests the answers would go past the host.
            let ask = ["box", "nc", "-w", "5", CONTAINER, "80"];
            let neighbour = [&["run", "--rm"], neighbour, &ask].concat();
            let answer = wait_for("a neighbour to reach it", SOON, || {
                self.world.host.docker_ok(&neighbour).ok().filter(|answer| !answer.is_empty())
            });
            assert_eq!(answer?.trim(), gateway);
        }
        for (from, to, seen) in way.matrix() {
            let seen = if seen == "inside" { inside } else { seen };
            let mut answer = String::new();
            wait_for(format!("{way:?}: {from} to {to} from {seen}"), SOON, || {
                answer = self.ask(from, to, &pid);
                answer == seen
            })
            .map_err(|error| format!("{error}: {answer}\n{}", self.world.daemon.log()))?;
        }
        Ok(())
    }

    /// The container's own address on a network.
    pub(crate) fn inside_of(&self, network: &str) -> Result<String> {
        let format = format!("{{{{.NetworkSettings.Networks.{network}.IPAddress}}}}");
        Ok(self.world.host.docker_ok(&["inspect", "-f", &format, "web"])?.trim().to_owned())
    }

    pub(crate) fn state(&self) -> Result<(HostState, String, String)> {
        let show = self.ovs.as_ref().map(|ovs| ovs.vsctl(&["show"])).transpose()?;
        Ok((self.world.host.snapshot()?, saved_rules(&self.world.host)?, show.unwrap_or_default()))
    }

    pub(crate) fn is_back(&self, before: &(HostState, String, String)) -> Result {
        let difference = || match self.state() {
            Ok(now) if now == *before => String::new(),
            Ok(now) => format!("{}\n{}\n{}", before.0.diff(&now.0), now.1, now.2),
            Err(error) => error.to_string(),
        };
        wait_for("the host to be as before", SOON, || difference().is_empty())
            .map_err(|error| format!("{error}: {}", difference()).into())
    }
}

fn on_the_lan(way: Way) -> Result {
    let lab = way.lab()?;
    let world = &lab.world;
    let untouched = lab.state()?;
    if way == Way::Bridge {
        world.host.landline_ok(binary(), &["bridge", "adopt", "eth0", "--as", "br-em1"])?;
        world.host.landline_ok(binary(), &["bridge", "confirm", "br-em1"])?;
    }
    let before = lab.state()?;
    for addressing in ["dhcp", "static"] {
        if addressing == "dhcp" {
            world.network("lan", way.network())?;
            world.run("web", "lan", &[])?;
        } else {
            let pool = ["--subnet", "10.12.0.0/21", "--gateway", ROUTER, "-o", "addressing=static"];
            let mut create = vec!["network", "create", "-d", "landline"];
            create.extend(pool);
            create.extend(way.network().iter().flat_map(|option| ["-o", option]));
            create.push("lan");
            world.host.docker_ok(&create)?;
            world.run("web", "lan", &["--ip", CONTAINER])?;
        }
        lab.matrix(way, "")?;
        world.host.docker_ok(&["rm", "-f", "web"])?;
        world.host.docker_ok(&["network", "rm", "lan"])?;
        lab.is_back(&before)?;
    }
    if way == Way::Bridge {
        world.host.landline_ok(binary(), &["bridge", "release", "br-em1"])?;
        lab.is_back(&untouched)?;
    }
    Ok(())
}

#[test]
fn with_a_linux_bridge() -> Result {
    on_the_lan(Way::Bridge)
}

#[test]
fn with_open_vswitch() -> Result {
    on_the_lan(Way::Ovs)
}

#[test]
fn with_macvlan() -> Result {
    on_the_lan(Way::Macvlan)
}

/// The row of `landline nat ls` of a container.
pub(crate) fn nat_row(host: &DockerHost, container: &str) -> Result<serde_json::Value> {
    let text = host.landline_ok(binary(), &["nat", "ls", "--json"])?;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text)?;
    let row = rows.into_iter().find(|row| row["container"] == container);
    row.ok_or_else(|| format!("{container} is not in {text}").into())
}

fn inside(world: &World) -> Result<String> {
    let format = "{{.NetworkSettings.IPAddress}}";
    Ok(world.host.docker_ok(&["inspect", "-f", format, "web"])?.trim().to_owned())
}

#[test]
fn with_nat() -> Result {
    let mut lab = Way::Nat.lab()?;
    // The host's own chains of Docker are there from its first container on.
    lab.world.host.docker_ok(&["run", "--rm", "box", "true"])?;
    let before = lab.state()?;
    let nat = |lab: &Lab, args: &[&str]| lab.world.host.landline_ok(binary(), &[&["nat"], args].concat());

    for (address, error) in [
        (PEER, "10.12.0.5 is in use on the LAN"),
        (HOST, "10.12.0.76 is an address of this host already, on eth0"),
        ("127.0.0.1", "not an address for a container"),
    ] {
        let said = nat(&lab, &["web", address, "--dev", "eth0"]).unwrap_err().to_string();
        assert!(said.contains(error), "{said}");
    }
    let said = nat(&lab, &["web", CONTAINER, "--dev", "em9"]).unwrap_err().to_string();
    assert!(said.contains("there is no interface em9"), "{said}");
    lab.is_back(&before)?;

    // The address is there before the container, which can publish on it.
    let said = nat(&lab, &["web", "10.12.0.117/21", "--dev", "eth0"])?;
    assert_eq!(said.trim(), "web is 10.12.0.117 on eth0: waits for its container");
    let said = nat(&lab, &["other", CONTAINER, "--dev", "eth0"]).unwrap_err().to_string();
    assert!(said.contains("the address of container web"), "{said}");
    let publish = format!("{CONTAINER}:80:80");
    lab.world.host.docker_ok(&["run", "-d", "--name", "web", "-p", &publish, "box", "sleep", "infinity"])?;
    lab.matrix(Way::Nat, &inside(&lab.world)?)?;
    let row = nat_row(&lab.world.host, "web")?;
    assert_eq!((&row["state"], &row["ports"]), (&"ready".into(), &serde_json::json!(["80/tcp"])));

    // A container that starts again, perhaps with another address inside; the daemon killed and started.
    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    lab.world.host.docker_ok(&["run", "-d", "--name", "first", "box", "sleep", "infinity"])?;
    lab.world.host.docker_ok(&["run", "-d", "--name", "web", "-p", &publish, "box", "sleep", "infinity"])?;
    lab.matrix(Way::Nat, &inside(&lab.world)?)?;
    lab.world.daemon.kill(landline_testbed::Signal::KILL)?;
    lab.world.daemon.wait()?;
    lab.world.host.check(&["ip", "address", "del", "10.12.0.117/32", "dev", "eth0"])?;
    lab.world.host.check(&["nft", "delete", "table", "ip", "landline"])?;
    lab.world.daemon = start_daemon(&lab.world.host)?;
    lab.matrix(Way::Nat, &inside(&lab.world)?)?;

    lab.world.host.docker_ok(&["rm", "-f", "web", "first"])?;
    nat(&lab, &["rm", "web"])?;
    lab.is_back(&before)?;
    let said = nat(&lab, &["rm", "web"]).unwrap_err().to_string();
    assert!(said.contains("has no address by landline nat"), "{said}");
    Ok(())
}

#[test]
fn nat_through_the_hosts_firewall() -> Result {
    let mut lab = Way::Nat.lab()?;
    let nat = |lab: &Lab, args: &[&str]| lab.world.host.landline_ok(binary(), &[&["nat"], args].concat());
    let run = ["run", "-d", "--name", "web", "box", "sleep", "infinity"];
    lab.world.host.docker_ok(&["run", "--rm", "box", "true"])?;
    let before = lab.state()?;
    lab.world.host.docker_ok(&run)?;

    // Docker lets nothing through to a port that was not published.
    nat(&lab, &["web", CONTAINER, "--dev", "eth0", "--port", "80"])?;
    wait_for("the container to be seen", SOON, || {
        nat_row(&lab.world.host, "web").is_ok_and(|row| row["state"] == "ready")
    })?;
    let pid = lab.world.host.container_pid("web")?.to_string();
    {
        let _who = lab.world.host.spawn(&["nsenter", "--net", "-t", &pid, "python3", "-c", WHO])?;
        wait_for("the host to reach it", SOON, || lab.ask("host", CONTAINER, &pid) == CONTAINER)?;
        let answer = lab.ask("peer", CONTAINER, &pid);
        assert!(answer.contains("timed out"), "{answer}");
    }
    nat(&lab, &["rm", "web"])?;
    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    lab.is_back(&before)?;

    lab.world.host.docker_ok(&run)?;
    nat(&lab, &["web", CONTAINER, "--dev", "eth0", "--port", "80", "--open-firewall"])?;
    lab.matrix(Way::Nat, &inside(&lab.world)?)?;
    let rules = lab.world.host.check(&["iptables", "-S", "DOCKER-USER"])?;
    assert!(rules.contains("--comment \"landline: 10.12.0.117\" -j ACCEPT"), "{rules}");

    // Docker makes its chains anew.
    lab.world.host.dockerd_stop(landline_testbed::Signal::TERM)?;
    lab.world.host.check(&["iptables", "-F", "DOCKER-USER"])?;
    lab.world.host.dockerd_start()?;
    lab.world.host.docker_ok(&["start", "web"])?;
    lab.matrix(Way::Nat, &inside(&lab.world)?)?;
    nat(&lab, &["rm", "web"])?;
    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    lab.is_back(&before)?;

    // Rules that fail to load change nothing, and nft's words are passed on.
    lab.world.host.docker_ok(&run)?;
    let broken = "#!/bin/sh\necho 'Error: this nft is broken' >&2\nexit 1\n";
    let nft = lab.world.host.check(&["sh", "-c", "command -v nft"])?;
    let (aside, path) = (lab.world.host.path("/run/nft"), lab.world.host.path(&nft));
    std::fs::write(&aside, broken)?;
    lab.world.host.check(&["chmod", "+x", "/run/nft"])?;
    lab.world.host.check(&["mount", "--bind", "/run/nft", &nft])?;
    assert!(path.exists());
    let said = nat(&lab, &["web", CONTAINER, "--dev", "eth0", "--port", "all"]).unwrap_err().to_string();
    assert!(said.contains("nothing was changed") && said.contains("this nft is broken"), "{said}");
    lab.world.host.check(&["umount", &nft])?;
    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    lab.is_back(&before)
}

#[test]
fn conversations_follow_the_container_behind_the_address() -> Result {
    let mut lab = Way::Nat.lab()?;
    let nat = |lab: &Lab, args: &[&str]| lab.world.host.landline_ok(binary(), &[&["nat"], args].concat());
    let run = |lab: &Lab, name: &str| -> Result<String> {
        lab.world.host.docker_ok(&["run", "-d", "--name", name, "box", "sleep", "infinity"])?;
        Ok(lab.world.host.container_pid(name)?.to_string())
    };
    let serve = |lab: &Lab, pid: &str, name: &str| {
        lab.world.host.spawn(&["nsenter", "--net", "-t", pid, "python3", "-c", NAME, name])
    };
    let ask = |lab: &Lab| lab.world.lan.peer().run(&["python3", "-c", ASK_NAME, CONTAINER]).stdout;
    let answers = |lab: &Lab, name: &str| {
        let mut answer = String::new();
        wait_for(format!("an answer from {name}"), SOON, || {
            answer = ask(lab);
            answer.trim() == name
        })
        .map_err(|error| format!("{error}: {answer}\n{}", lab.world.daemon.log()))
    };
    nat(&lab, &["web", CONTAINER, "--dev", "eth0", "--port", "53/udp", "--open-firewall"])?;
    // Before there is a container the host itself is asked, and goes on being asked unless that is forgotten.
    assert_eq!(ask(&lab), "");
    let pid = run(&lab, "web")?;
    let one = serve(&lab, &pid, "one")?;
    answers(&lab, "one")?;
    let before = inside(&lab.world)?;

    // A start of the daemon changes nothing for those who talk.
    lab.world.daemon.kill(landline_testbed::Signal::KILL)?;
    lab.world.daemon.wait()?;
    lab.world.daemon = start_daemon(&lab.world.host)?;
    answers(&lab, "one")?;

    // Another container gets the address behind it, and answers as well.
    lab.world.host.docker_ok(&["rm", "-f", "web"])?;
    drop(one);
    let pid = run(&lab, "other")?;
    let _other = serve(&lab, &pid, "other")?;
    let pid = run(&lab, "web")?;
    assert_ne!(inside(&lab.world)?, before);
    let _two = serve(&lab, &pid, "two")?;
    answers(&lab, "two")?;

    nat(&lab, &["rm", "web"])?;
    wait_for("silence", SOON, || ask(&lab).is_empty())?;
    Ok(())
}
