//! What is refused, and that the words say what to do instead.

use landline_testbed::wait_for;

use crate::world::{Result, SOON, World};

/// `docker network create -d landline ARGS NAME` is refused with exactly this sentence, and no network is left.
fn refused(world: &World, args: &[&str], sentence: &str) -> Result {
    let output = create(world, "refused", args);
    assert!(!output.success(), "{args:?} was not refused");
    assert_eq!(
        output.stderr.trim_end(),
        format!("Error response from daemon: remote: {sentence}"),
        "{args:?}"
    );
    let networks = world.host.docker_ok(&["network", "ls", "--format", "{{.Name}}"])?;
    assert!(!networks.contains("refused"), "{networks}");
    Ok(())
}

fn create(world: &World, name: &str, args: &[&str]) -> landline_testbed::Output {
    let mut command = vec!["network", "create", "-d", "landline"];
    command.extend(args);
    command.push(name);
    world.host.docker(&command)
}

/// The arguments for options on a network without Docker's addresses.
fn options<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["--ipam-driver", "null"];
    args.extend(options.iter().flat_map(|option| ["-o", option]));
    args
}

#[test]
fn options_that_make_no_sense() -> Result {
    let world = World::bridge()?;
    for (given, sentence) in [
        (
            &["bridge=br0", "lease-timeout=5s"] as &[&str],
            r#"there is no option "lease-timeout"; did you mean lease_timeout?"#,
        ),
        (&["brigde=br0"], r#"there is no option "brigde"; did you mean bridge?"#),
        (
            &["bridge=br0", "lease_timeout=soon"],
            r#"lease_timeout="soon" cannot be used; write a time from 500ms to 10m, like 10s or 1m30s"#,
        ),
        (
            &[],
            "a bridge is missing: name an existing Linux bridge on the LAN, for example -o bridge=br0, \
             or use a network card directly with -o mode=macvlan -o parent=eth0",
        ),
        (
            &["mode=macvlan"],
            "a parent is missing: name the network card on the LAN, for example -o parent=eth0 (ip link lists them)",
        ),
        (
            &["bridge=br0", "parent=br1"],
            r#"parent="br1" and bridge="br0" mean the same option; give only one of them"#,
        ),
        (
            &["bridge=br0", "client_id=web"],
            "client_id=\"web\" would give every container the same address; put {mac} or {hostname} into it, \
             or give it to one container with --driver-opt client_id=web",
        ),
        (
            &["bridge=br0", "addressing=static"],
            "addressing=static takes the addresses that Docker's IPAM gives, but this network has none: \
             give --subnet and --gateway and leave out --ipam-driver null",
        ),
        (
            &["mode=nat", "parent=br0"],
            "with mode=nat containers have private addresses of their own: leave out --ipam-driver null, \
             and give --subnet if they are to be of your choice",
        ),
    ] {
        refused(&world, &options(given), sentence)?;
    }
    // Nothing is near this one, so all are listed.
    let output = create(&world, "refused", &options(&["bridge=br0", "colour=red"]));
    assert!(
        output.stderr.contains(r#"remote: there is no option "colour"; there are mode, parent, bridge, "#)
    );

    refused(
        &world,
        &options(&["bridge=br0", "mtu=1501"]),
        "mtu=1501 is more than br0 carries, which is 1500; leave it out, \
         or raise the MTU of br0 and all that is connected to it",
    )?;

    // Planned, and never silently ignored.
    let output = create(&world, "refused", &options(&["bridge=br0", "warm=true"]));
    let begin = "Error response from daemon: remote: warm is not available in this version; ";
    assert!(output.stderr.starts_with(begin), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);

    refused(
        &world,
        &["-o", "bridge=br0"],
        "addresses come from the LAN's DHCP server, so Docker must not give any: add --ipam-driver landline \
         or null (to use Docker's addresses, add -o addressing=static)",
    )?;
    refused(
        &world,
        &["--subnet", "192.0.2.0/24", "-o", "bridge=br0", "-o", "addressing=none"],
        "addressing=none gives no addresses, so Docker must not either: add --ipam-driver null",
    )?;
    refused(
        &world,
        &["--ipv6", "--subnet", "2001:db8:1::/64", "-o", "bridge=br0"],
        "--ipv6 asks Docker for IPv6 addresses, and Landline's come from the LAN; leave it out and add -o ipv6=true \
         (or dhcp, slaac)",
    )?;
    refused(
        &world,
        &["--ipam-driver", "null", "--internal", "-o", "bridge=br0"],
        "--internal would cut containers off from the LAN, which is what Landline connects them to; leave it out",
    )?;
    Ok(())
}

#[test]
fn parents_that_will_not_do() -> Result {
    let world = World::bridge()?;
    world.host.check(&["ip", "link", "add", "br9", "type", "bridge"])?;
    for (given, sentence) in [
        (&["bridge=br7"] as &[&str], "there is no interface br7; one of these would do: -o parent=br0"),
        (
            &["bridge=eth0"],
            "eth0 is a veth, which mode=bridge cannot use; use that bridge: -o mode=bridge -o bridge=br0",
        ),
        (
            &["mode=macvlan", "parent=eth0"],
            "eth0 is a port of another interface, which mode=macvlan cannot use; \
             use that bridge: -o mode=bridge -o bridge=br0",
        ),
        (
            &["mode=macvlan", "parent=lo"],
            "lo is the loopback interface, which mode=macvlan cannot use; \
             name the NIC that is plugged into the LAN",
        ),
        (&["bridge=br9"], "br9 is down; bring it up first: ip link set br9 up"),
        (&["mode=macvlan", "parent=br9"], "br9 is down; bring it up first: ip link set br9 up"),
    ] {
        refused(&world, &options(given), sentence)?;
    }
    Ok(())
}

#[test]
fn a_bridge_that_has_an_owner() -> Result {
    let world = World::bridge()?;
    let in_use = |bridge: &str, other: &str| {
        format!(
            "the bridge {bridge} is already used by the Docker network {other}; use that network, \
             name another bridge, or add -o ignore_conflicts=true (if Docker no longer has {other}: \
             landline network forget {other})"
        )
    };
    // One of Landline's own.
    world.network("first", &["bridge=br0"])?;
    await_refusal(&world, "br0", &in_use("br0", "first"))?;
    world.network("second", &["bridge=br0", "ignore_conflicts=true"])?;
    // Macvlan does not share the bridge itself.
    world.network("child", &["mode=macvlan", "parent=br0"])?;

    // One of Docker's.
    let name = "com.docker.network.bridge.name=br5";
    world.host.docker_ok(&["network", "create", "-o", name, "--subnet", "198.51.100.0/24", "dockers"])?;
    await_refusal(&world, "br5", &in_use("br5", "dockers"))?;
    world.network("third", &["bridge=br5", "ignore_conflicts=true"])?;

    // Both gone, the bridge is free again.
    world.host.docker_ok(&["network", "rm", "first", "second"])?;
    world.network("fourth", &["bridge=br0"])?;
    Ok(())
}

/// Landline learns of Docker's networks and of all names from events, so the refusal may take a moment.
fn await_refusal(world: &World, bridge: &str, sentence: &str) -> Result {
    let given = format!("bridge={bridge}");
    let mut said = String::new();
    wait_for(format!("refusal of {bridge}"), SOON, || {
        let output = create(world, "refused", &options(&[&given]));
        if output.success() {
            world.host.docker(&["network", "rm", "refused"]);
        }
        said = output.stderr;
        said.trim_end() == format!("Error response from daemon: remote: {sentence}")
    })
    .map_err(|error| format!("{error}; it said {said:?}"))?;
    Ok(())
}

#[test]
fn a_parent_that_is_gone_when_a_container_starts() -> Result {
    let world = World::bridge()?;
    world.host.node().sh("ip link add br6 type bridge\nip link set br6 up")?;
    world.network("lan", &["bridge=br6", "lease_timeout=1s"])?;
    world.row_of_network("lan")?;

    let start = || world.host.docker(&["run", "--rm", "--network", "lan", "box", "true"]).stderr;
    world.host.check(&["ip", "link", "set", "br6", "down"])?;
    let said = start();
    let down = "network lan has no usable parent: br6 is down; bring it up first: ip link set br6 up";
    assert!(said.contains(down), "{said}");

    world.host.check(&["ip", "link", "del", "br6"])?;
    let said = start();
    let gone =
        "network lan has no usable parent: there is no interface br6; one of these would do: -o parent=br0";
    assert!(said.contains(gone), "{said}");

    assert_eq!(world.marked_links()?, [""; 0]);
    assert_eq!(world.ls()?["endpoints"], serde_json::json!([]));
    // A network whose parent is gone can still be removed.
    world.host.docker_ok(&["network", "rm", "lan"])?;
    Ok(())
}
