//! Docker Compose: on a network that exists, and on one it makes and removes itself.

use std::path::PathBuf;

use landline_testbed::{Dnsmasq, wait_for};

use crate::kinds::Kind;
use crate::world::{Result, SOON, World, bare};

/// A project: a directory with a Compose file, seen alike from the host and from outside.
struct Project<'a> {
    world: &'a World,
    directory: tempfile::TempDir,
}

impl<'a> Project<'a> {
    fn new(world: &'a World, networks: &str) -> Result<Self> {
        Self::with(world, "3.5", "[lan]", networks)
    }

    /// As the versions of the file format allow it, and with the service's own words about its networks.
    fn with(world: &'a World, version: &str, own: &str, networks: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let text = format!(
            "version: '{version}'\n\
             services:\n\
             \x20 web:\n\
             \x20   image: box\n\
             \x20   command: httpd -f -h /www\n\
             \x20   hostname: webhost\n\
             \x20   container_name: web\n\
             \x20   networks: {own}\n\
             networks:\n\
             \x20 lan:\n{networks}"
        );
        std::fs::write(directory.path().join("compose.yaml"), text)?;
        Ok(Self { world, directory })
    }

    fn compose(&self, args: &[&str]) -> Result<String> {
        let file: PathBuf = self.directory.path().join("compose.yaml");
        Ok(self.world.host.compose("shop", &file.to_string_lossy(), args)?)
    }

    /// Up, on the LAN under its name, down, and nothing left.
    fn lives_and_goes(&self, kind: Kind) -> Result {
        let world = self.world;
        self.compose(&["up", "-d"])?;
        let address = world.address("web", kind.interface())?;
        let page =
            world.lan.peer().check(&["curl", "-sS", "-m", "5", &format!("http://{}/", bare(&address))])?;
        assert!(page.contains("A container on the LAN."), "{page}");
        wait_for("the host name at the server", SOON, || {
            let leases = world.dhcp.leases();
            leases.iter().any(|lease| {
                lease.ip.to_string() == bare(&address) && lease.hostname.as_deref() == Some("webhost")
            })
        })?;
        self.compose(&["down"])?;
        assert_eq!(world.ls()?["endpoints"], serde_json::json!([]));
        assert_eq!(world.marked_links()?, [""; 0]);
        Ok(())
    }
}

#[test]
fn bridge_network_made_by_compose() -> Result {
    let opts = "    driver: landline\n    driver_opts:\n      bridge: br0\n    ipam:\n      driver: 'null'\n";
    made_by_compose(Kind::Bridge, opts)
}

#[test]
fn macvlan_network_made_by_compose() -> Result {
    let opts = "    driver: landline\n    driver_opts: {mode: macvlan, parent: eth0, skip_routes: 'true', gateway: ''}\n    \
                ipam: {driver: 'null'}\n";
    made_by_compose(Kind::Macvlan, opts)
}

fn made_by_compose(kind: Kind, network: &str) -> Result {
    let world = kind.world(&Dnsmasq::default())?;
    Project::new(&world, network)?.lives_and_goes(kind)?;
    assert_eq!(world.ls()?["networks"], serde_json::json!([]), "compose down removes its network");
    Ok(())
}

#[test]
fn network_that_compose_finds() -> Result {
    let kind = Kind::Bridge;
    let world = kind.world(&Dnsmasq::default())?;
    world.network_of(kind, "home", &[])?;
    Project::new(&world, "    external: true\n    name: home\n")?.lives_and_goes(kind)?;
    let networks = world.ls()?["networks"].clone();
    assert_eq!(networks[0]["name"], "home", "compose leaves it alone: {networks}");
    Ok(())
}

/// Compose renames the old container before it makes the new one.
#[test]
fn a_container_that_compose_recreates_has_its_address_again() -> Result {
    let kind = Kind::Bridge;
    let world = kind.world(&Dnsmasq::default())?;
    let network = "    driver: landline\n    driver_opts: {bridge: br0}\n    ipam: {driver: 'null'}\n";
    let project = Project::new(&world, network)?;
    project.compose(&["up", "-d"])?;
    let address = world.address("web", kind.interface())?;
    let mac = world.mac("web", kind.interface())?;
    for _ in 0..2 {
        world.row("web")?;
        project.compose(&["up", "-d", "--force-recreate"])?;
        assert_eq!(world.mac("web", kind.interface())?, mac, "{}", world.daemon.log());
        assert_eq!(world.address("web", kind.interface())?, address);
    }
    Ok(())
}

/// What Swarm does: each task has a new name, and its labels say which one of its service's it is.
#[test]
fn a_task_of_swarm_has_the_address_of_its_slot() -> Result {
    let kind = Kind::Bridge;
    let world = kind.world(&Dnsmasq::default())?;
    world.network_of(kind, "lan", &[])?;
    let task = |slot: u8, task: &str, options: &str| -> Result<(String, String)> {
        let name = format!("shop_web.{slot}.{task}");
        let label = |name: &str, value: &str| format!("com.docker.swarm.{name}={value}");
        let (service, own, node) =
            (label("service.name", "shop_web"), label("task.name", &name), label("node.id", "n0"));
        let network = format!("name=lan{options}");
        let words = ["--name", &name, "--network", &network, "-l", &service, "-l", &own, "-l", &node];
        world.host.docker_ok(&[&["create"], &words[..], &["box", "sleep", "infinity"]].concat())?;
        world.host.docker_ok(&["start", &name])?;
        world.row(&name)?;
        Ok((name.clone(), world.mac(&name, kind.interface())?))
    };
    for options in ["", ",driver-opt=landline.id={service}/{slot}"] {
        let ((one, first), (two, second)) = (task(1, "aaaa", options)?, task(2, "bbbb", options)?);
        assert_ne!(first, second);
        world.host.docker_ok(&["rm", "-f", &one])?;
        let (again, mac) = task(1, "cccc", options)?;
        assert_eq!(mac, first, "{options} {}", world.daemon.log());
        // An update that starts the next one first.
        let (next, other) = task(1, "dddd", options)?;
        assert!(other != first && other != second);
        world.host.docker_ok(&["rm", "-f", &again, &next])?;
        let (last, mac) = task(1, "eeee", options)?;
        assert_eq!(mac, first, "{options} {}", world.daemon.log());
        world.host.docker_ok(&["rm", "-f", &last, &two])?;
    }
    let identities = world.host.landline_ok(crate::world::binary(), &["identity", "ls", "--json"])?;
    assert!(identities.contains("shop_web/1") && identities.contains("shop_web/2"), "{identities}");
    Ok(())
}

/// Compose's words for Landline's IPAM driver: the service's address is the one that the server is asked for.
#[test]
fn an_address_that_compose_names() -> Result {
    let kind = Kind::Bridge;
    let world = kind.world(&Dnsmasq::default())?;
    // Compose 2 passes on no options of the IPAM driver.
    let network = "    driver: landline\n    driver_opts: {bridge: br0, addressing: dhcp}\n    ipam:\n      driver: landline\n      \
                   config: [{subnet: 192.0.2.0/24}]\n";
    let project = Project::with(&world, "2.4", "{lan: {ipv4_address: 192.0.2.177}}", network)?;
    project.compose(&["up", "-d"])?;
    assert_eq!(world.address("web", kind.interface())?, "192.0.2.177/24");
    let mac = world.mac("web", kind.interface())?;
    assert_eq!(world.lease_of(&mac)?.ip.to_string(), "192.0.2.177");
    project.compose(&["up", "-d", "--force-recreate"])?;
    assert_eq!(world.address("web", kind.interface())?, "192.0.2.177/24");
    assert_eq!(world.mac("web", kind.interface())?, mac, "who had the address has it again");
    project.lives_and_goes(kind)
}
