//! `landline attach`: by hand, to containers, processes and namespaces.

use landline_testbed::{Signal, wait_for};
use serde_json::Value;

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
    world.daemon =
        world.host.start_landline(binary(), &[], &[("LOG_LEVEL", "info,landline_engine=debug")])?;
    same(&world)?;
    assert_eq!(world.attached()?.len(), 1);
    // While the daemon is away the container is restarted.
    world.daemon.kill(Signal::KILL)?;
    world.host.docker_ok(&["restart", "-t0", "web"])?;
    assert_eq!(world.interfaces("web")?, [""; 0]);
    world.daemon =
        world.host.start_landline(binary(), &[], &[("LOG_LEVEL", "info,landline_engine=debug")])?;
    same(&world)?;

    world.landline("detach web eth1")?;
    assert_eq!(world.interfaces("web")?, [""; 0]);
    wait_for("the lease to be given back", SOON, || world.dhcp.lease_of(&mac).is_none())?;
    let identities = world.landline("identity ls --json")?;
    assert!(!identities.contains(&mac), "{identities}");
    Ok(())
}
