//! Containers on several networks, and networks that come and go while a container runs.

use std::net::Ipv4Addr;

use landline_testbed::{DhcpServer, Dnsmasq, DockerHost, Lan, Node, ServerConfig, wait_for};

use crate::kinds::Kind;
use crate::world::{Result, SOON, World, bare};

/// One of Docker's own bridge networks, away from the LAN.
fn dockers_own(world: &World) -> Result {
    world.host.docker_ok(&["network", "create", "--subnet", "198.51.100.0/24", "inner"])?;
    Ok(())
}

/// Whether the peer hears from this address, with that much patience in seconds.
fn reaches(world: &World, address: &str, patience: &str) -> bool {
    world.lan.peer().run(&["ping", "-c1", "-W", patience, bare(address)]).success()
}

#[test]
fn bridge_comes_and_goes_beside_dockers_own_network() -> Result {
    comes_and_goes(Kind::Bridge)
}

#[test]
fn macvlan_comes_and_goes_beside_dockers_own_network() -> Result {
    comes_and_goes(Kind::Macvlan)
}

fn comes_and_goes(kind: Kind) -> Result {
    let world = kind.world(&Dnsmasq::default())?;
    dockers_own(&world)?;
    world.network_of(kind, "lan", &[])?;
    world.run("web", "inner", &[])?;
    assert_eq!(world.gateways("web")?, ["198.51.100.1"]);

    // Docker counts on from the last number, so a second one has another name.
    let second = || -> Result<String> {
        let interfaces = world.interfaces("web")?;
        let mut others = interfaces.into_iter().filter(|name| name != "eth0");
        let (name, more) = (others.next().ok_or("no second interface")?, others.next());
        assert_eq!(more, None);
        Ok(name)
    };
    let prefix = kind.interface().trim_end_matches('0');
    for round in ["first", "second"] {
        world.host.docker_ok(&["network", "connect", "lan", "web"])?;
        let interface = second()?;
        assert!(interface.starts_with(prefix), "{interface}");
        let address = world.address("web", &interface)?;
        assert!(reaches(&world, &address, "5"), "{round} time");
        let mac = world.mac("web", &interface)?;
        let lease = world.lease_of(&mac)?;
        assert_eq!(lease.ip.to_string(), bare(&address));
        assert_eq!(world.row("web")?["address"], address);
        assert_eq!(world.gateways("web")?.len(), 1, "{:?}", world.routes("web")?);
        let own = world.address("web", "eth0")?;
        world.host.check(&["ping", "-c1", "-W5", bare(&own)])?;

        world.host.docker_ok(&["network", "disconnect", "lan", "web"])?;
        assert_eq!(world.interfaces("web")?, ["eth0"]);
        assert_eq!(world.gateways("web")?, ["198.51.100.1"]);
        assert_eq!(world.marked_links()?, [""; 0]);
        assert_eq!(world.ls()?["endpoints"], serde_json::json!([]));
        assert!(!reaches(&world, &address, "1"), "{round} time: it still answers for {address}");
    }

    // The other way round: Docker's own goes, and the way out is through the LAN.
    world.host.docker_ok(&["network", "connect", "lan", "web"])?;
    world.host.docker_ok(&["network", "disconnect", "inner", "web"])?;
    assert_eq!(world.gateways("web")?, ["192.0.2.1"]);
    assert!(reaches(&world, &world.address("web", &second()?)?, "5"));
    Ok(())
}

/// A second LAN with other addresses, 203.0.113.0/24, and names in `far.test`, and the host's `eth1` plugged into it.
pub(crate) struct Elsewhere {
    _dhcp: DhcpServer,
    lan: Lan,
}

const ELSEWHERE_PEER: &str = "203.0.113.2";

impl Elsewhere {
    pub(crate) fn new(host: &DockerHost) -> Result<Self> {
        let lan = Lan::new()?;
        lan.router().check(&["ip", "address", "add", "203.0.113.1/24", "dev", "eth0"])?;
        lan.peer().check(&["ip", "address", "add", &format!("{ELSEWHERE_PEER}/24"), "dev", "eth0"])?;
        let dhcp = lan.dnsmasq(Dnsmasq {
            range: ("203.0.113.100".to_owned(), "203.0.113.200".to_owned()),
            router: Some("203.0.113.1".to_owned()),
            options: vec!["option:dns-server,203.0.113.1".into(), "option:domain-name,far.test".into()],
            ..Dnsmasq::default()
        })?;
        let cable = ["ip", "link", "add", "p-host1", "type", "veth", "peer", "name", "eth1", "netns"];
        let netns = host.node().netns();
        lan.switch().check(&[&cable[..], &[&netns]].concat())?;
        lan.switch().check(&["ip", "link", "set", "p-host1", "master", "sw", "up"])?;
        host.check(&["ip", "link", "set", "eth1", "up"])?;
        Ok(Self { _dhcp: dhcp, lan })
    }

    pub(crate) fn router(&self) -> &Node {
        self.lan.router()
    }

    /// Has its router be this as well.
    pub(crate) fn router_is(&self, config: &impl ServerConfig) -> Result<DhcpServer> {
        Ok(self.lan.server_on(self.router(), config)?)
    }
}

#[test]
fn two_bridges_in_one_container() -> Result {
    two_lans(Kind::Bridge, ["br00", "br10"])
}

#[test]
fn two_macvlans_in_one_container() -> Result {
    two_lans(Kind::Macvlan, ["eth0", "eth1"])
}

fn two_lans(kind: Kind, interfaces: [&str; 2]) -> Result {
    let world = kind.world(&Dnsmasq::default())?;
    let elsewhere = Elsewhere::new(&world.host)?;
    world.network_of(kind, "lan", &[])?;
    match kind {
        Kind::Bridge => {
            let script = "ip link add br1 type bridge forward_delay 0\n\
                          ip link set eth1 master br1\nip link set br1 up";
            world.host.node().sh(script)?;
            world.network("elsewhere", &["bridge=br1"])?;
        }
        Kind::Macvlan => {
            world.network("elsewhere", &["mode=macvlan", "parent=eth1"])?;
        }
    }
    world.host.docker_ok(&[
        "create",
        "--name",
        "web",
        "--network",
        "lan",
        "--cap-add",
        "NET_ADMIN",
        "box",
        "sleep",
        "infinity",
    ])?;
    world.host.docker_ok(&["network", "connect", "elsewhere", "web"])?;
    for round in ["at first", "after a restart"] {
        world.host.docker_ok(&["restart", "-t0", "web"])?;
        assert_eq!(world.interfaces("web")?, interfaces, "{round}");
        let address_in = |net: &str| -> Result<(String, Ipv4Addr)> {
            for interface in interfaces {
                let address = world.address("web", interface)?;
                if address.starts_with(net) {
                    return Ok((interface.to_owned(), bare(&address).parse()?));
                }
            }
            Err(format!("{round}: no address in {net}").into())
        };
        let (here, near) = address_in("192.0.2.")?;
        let (there, far) = address_in("203.0.113.")?;
        if kind == Kind::Bridge {
            // Here the name says which bridge it is.
            assert_eq!([&*here, &*there], interfaces, "{round}");
        }
        world.lan.peer().check(&["ping", "-c1", "-W5", &near.to_string()])?;
        elsewhere.lan.peer().check(&["ping", "-c1", "-W5", &far.to_string()])?;
        for target in ["192.0.2.2", ELSEWHERE_PEER] {
            world.inside("web", &["ping", "-c1", "-W5", target])?;
        }
        assert_eq!(world.gateways("web")?.len(), 1, "{round}: {:?}", world.routes("web")?);
        // Both are known under the container's name, each on its own network.
        wait_for("both rows in landline ls", SOON, || {
            let listing = world.ls().ok()?;
            let rows = listing["endpoints"].as_array()?;
            let on =
                |network: &str| rows.iter().any(|row| row["network"] == network && row["container"] == "web");
            (rows.len() == 2 && on("lan") && on("elsewhere")).then_some(())
        })?;
    }
    Ok(())
}
