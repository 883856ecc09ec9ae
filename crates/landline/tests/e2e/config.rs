//! The configuration file: defaults of networks, and what is wrong in it.

use crate::kinds::Kind;
use crate::world::{Result, World};

/// The MTU of a container's interface.
fn mtu(world: &World, container: &str) -> Result<String> {
    let path = format!("/sys/class/net/{}/mtu", Kind::Bridge.interface());
    Ok(world.host.docker_ok(&["exec", container, "cat", &path])?.trim().to_owned())
}

#[test]
fn defaults_are_for_networks_made_from_then_on() -> Result {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("landline.toml");
    let file = path.to_str().ok_or("no path")?;
    // Where there is no DHCP its timeout has no meaning, and is none.
    let text =
        "[defaults]\nmtu = 1400\nlease_timeout = \"20s\"\nignore_conflicts = true\nhost_access = true\n";
    std::fs::write(&path, text)?;
    let world = World::bridge_named(&["--config", file])?;
    world.landline(&format!("config check --config {file}"))?;
    world.network("lan", &["bridge=br0"])?;
    world.network("own", &["bridge=br0", "mtu=1300", "ignore_conflicts="])?;
    world.network("bare", &["bridge=br0", "addressing=none"])?;
    for (container, network, wanted) in [("c0", "lan", "1400"), ("c1", "own", "1300"), ("c2", "bare", "1400")]
    {
        world.run(container, network, &[])?;
        assert_eq!(mtu(&world, container)?, wanted, "{network}");
    }

    // Another default is for others; those there are keep what they were made with.
    std::fs::write(&path, "[defaults]\nmtu = 1350\nignore_conflicts = true\n")?;
    world.reload()?;
    world.network("new", &["bridge=br0"])?;
    world.run("c3", "new", &[])?;
    world.host.docker_ok(&["restart", "-t0", "c0"])?;
    assert_eq!((mtu(&world, "c3")?.as_str(), mtu(&world, "c0")?.as_str()), ("1350", "1400"));

    // What is wrong has its place, is said before and after, and changes nothing.
    let before = world.host.snapshot()?;
    let long = format!("[host_access.\"{}\"]\n", "n".repeat(10_000));
    for (text, place, part) in [
        ("[defaults]\nmtu = 1400\nbrigde = \"br0\"\n", ":3:1: ", "unknown option `brigde`"),
        ("[defaults]\nlease_timeout = \"$(touch x)\"\n", ":2:17: ", "write a time"),
        ("[defaults]\nuser_class = \"a\\nb\"\n", ":2:14: ", "printable ASCII"),
        ("[host_access.\"../../x\"]\n", ":1:14: ", "cannot be the name of a Docker network"),
        (&long, ":1:14: ", "cannot be the name of a Docker network"),
        ("[host_access.lan]\nip = [\"`id`\"]\n", ":2:6: ", "is not an address of a machine"),
        (
            "[host_access.lan]\nip = [\"192.0.2.50\"]\ninterface = \"a/../b\"\n",
            ":3:13: ",
            "name of an interface",
        ),
        ("[[attach]]\ncontainer = \"../x\"\ninterface = \"br0\"\n", ":2:13: ", "not a container"),
        ("[[attach]]\ncontainer = \"c0\"\ninterface = \"br0; touch x\"\n", ":3:13: ", ""),
        ("[contaners]\n", ":1:2: ", "unknown field `contaners`"),
    ] {
        std::fs::write(&path, text)?;
        let said = world.refusal(&["config", "check", "--config", file])?;
        let said = said.trim();
        assert!(said.contains(&format!("landline.toml{place}")) && said.contains(part), "{said}");
        assert!(said.lines().count() == 1 && said.len() < 800, "{said}");
        world.reload()?;
        assert!(world.daemon.log().lines().last().is_some_and(|line| line.contains(place.trim())), "{said}");
    }
    let found = world.host.landline(crate::world::binary(), &["doctor"]).stdout;
    assert!(
        found.contains("the daemon goes on with its old configuration") && found.contains(":1:2: "),
        "{found}"
    );
    world.network("last", &["bridge=br0"])?;
    world.run("c4", "last", &[])?;
    assert_eq!(mtu(&world, "c4")?, "1350", "the last good file counts");
    world.host.docker_ok(&["rm", "-f", "c4"])?;
    world.host.docker_ok(&["network", "rm", "last"])?;
    assert_eq!(before.diff(&world.host.snapshot()?), "");
    Ok(())
}
