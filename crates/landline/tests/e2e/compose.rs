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
        let file = file.to_string_lossy();
        let mut argv = vec!["docker-compose", "--no-ansi", "-p", "shop", "-f", &file];
        argv.extend(args);
        Ok(self.world.host.check(&argv)?)
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
