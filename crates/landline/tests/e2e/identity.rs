//! Who a container is to the LAN, across restarts and recreation.

use landline_testbed::{Dnsmasq, Dockerd, Lan, Ra, Signal, wait_for};

use crate::tools::start_daemon;
use crate::world::{Result, SOON, World};

/// Address and hardware address of a container, once its name is known to the daemon: only then will it be
/// recognised later.
fn seen(world: &World, container: &str, interface: &str) -> Result<(String, String)> {
    world.row(container)?;
    Ok((world.address(container, interface)?, world.mac(container, interface)?))
}

/// The same of a container that is on another network as well, as `eth0`.
fn connected(world: &World, container: &str) -> Result<(String, String)> {
    let interfaces = world.interfaces(container)?;
    seen(world, container, interfaces.iter().find(|name| *name != "eth0").ok_or("one interface only")?)
}

/// The containers named here are known to be stopped.
fn stop(world: &World, containers: &[&str]) -> Result {
    let mut command = vec!["stop", "-t0"];
    command.extend(containers);
    world.host.docker_ok(&command)?;
    Ok(())
}

#[test]
fn a_container_keeps_its_address_whatever_is_restarted() -> Result {
    let six = || Dnsmasq { ra: Ra::Stateful, ..Dnsmasq::default() };
    for (world, options, interface) in [
        (World::bridge_with(six())?, vec!["bridge=br0", "ipv6=true"], "br00"),
        (World::nic_with(six())?, vec!["mode=macvlan", "parent=eth0", "ipv6=true"], "eth0"),
    ] {
        world.network("lan", &options)?;
        let seen = |world: &World, container: &str, interface: &str| -> Result<_> {
            let four = seen(world, container, interface)?;
            Ok((four, world.address6(container, interface, "2001:db8:1::1")?))
        };
        // A neighbour that runs all the time must not confuse anybody.
        world.run("other", "lan", &[])?;
        seen(&world, "other", interface)?;
        world.run("web", "lan", &[])?;
        let before = seen(&world, "web", interface)?;

        world.host.docker_ok(&["restart", "-t0", "web"])?;
        assert_eq!(seen(&world, "web", interface)?, before, "restart");

        stop(&world, &["web"])?;
        world.host.docker_ok(&["start", "web"])?;
        assert_eq!(seen(&world, "web", interface)?, before, "stop, start");

        world.host.docker_ok(&["rm", "-f", "web"])?;
        world.run("web", "lan", &[])?;
        assert_eq!(seen(&world, "web", interface)?, before, "removed and made anew");
    }
    Ok(())
}

#[test]
fn a_key_is_exact_however_many_start_at_once() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    let names: Vec<String> = (0..5).map(|n| format!("c{n}")).collect();
    let start_all = |world: &World| -> Result<Vec<(String, String)>> {
        std::thread::scope(|scope| {
            let runs = names.iter().map(|name| {
                let network = format!("name=lan,driver-opt=landline.id=key-{name}");
                scope.spawn(move || world.run(name, &network, &[]).map_err(|e| e.to_string()))
            });
            runs.collect::<Vec<_>>().into_iter().try_for_each(|run| run.join().unwrap())
        })?;
        names.iter().map(|name| seen(world, name, "br00")).collect()
    };
    let before = start_all(&world)?;

    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut restart = vec!["restart", "-t0"];
    restart.extend(&all);
    world.host.docker_ok(&restart)?;
    let after: Vec<_> = names.iter().map(|name| seen(&world, name, "br00")).collect::<Result<_>>()?;
    assert_eq!(after, before, "restart");

    let mut remove = vec!["rm", "-f"];
    remove.extend(&all);
    world.host.docker_ok(&remove)?;
    assert_eq!(start_all(&world)?, before, "removed and made anew");
    Ok(())
}

#[test]
fn without_a_key_nobody_gets_anothers_identity() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    let names = ["c1", "c2", "c3", "c4"];
    for name in names {
        world.run(name, "lan", &[])?;
    }
    let before: Vec<_> = names.iter().map(|name| seen(&world, name, "br00")).collect::<Result<_>>()?;
    stop(&world, &names)?;

    // All four wait, nothing tells them apart: each may come back with its own address or a fresh one.
    std::thread::scope(|scope| {
        let starts = names.map(|name| {
            let world = &world;
            scope.spawn(move || world.host.docker_ok(&["start", name]).map_err(|e| e.to_string()))
        });
        starts.into_iter().try_for_each(|start| start.join().unwrap().map(drop))
    })?;
    let after: Vec<_> = names.iter().map(|name| seen(&world, name, "br00")).collect::<Result<_>>()?;
    for (n, (_, mac)) in after.iter().enumerate() {
        let taken = before.iter().enumerate().any(|(m, (_, old))| m != n && old == mac);
        assert!(!taken, "{} has the hardware address of another: {before:?} {after:?}", names[n]);
    }
    let mut distinct: Vec<_> = after.iter().collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), names.len(), "no identity is shared");

    // One by one each is the only one that waits.
    for (name, old) in names.iter().zip(&before) {
        world.host.docker_ok(&["restart", "-t0", name])?;
        assert_eq!(&seen(&world, name, "br00")?, old, "{name} is itself again\n{}", world.daemon.log());
    }
    Ok(())
}

#[test]
fn leases_are_given_back_when_nobody_comes_back_for_them() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0", "release_after=1s"])?;

    for (name, options) in [("runs", &[][..]), ("gone", &["--rm"]), ("kept", &[])] {
        world.run(name, "lan", options)?;
    }
    let (_, runs) = seen(&world, "runs", "br00")?;
    let (_, gone) = seen(&world, "gone", "br00")?;
    let (_, kept) = seen(&world, "kept", "br00")?;
    // The server rewrites its file now and then: a look counts when it shows the lease that is always there.
    let leased = |mac: &str| {
        let leases = world.dhcp.leases();
        leases.iter().any(|l| l.mac == runs).then(|| leases.iter().any(|l| l.mac == mac))
    };
    stop(&world, &["gone", "kept"])?;
    wait_for("the lease of the --rm container to be released", SOON, || leased(&gone) == Some(false))?;
    wait_for("a look at the leases", SOON, || leased(&kept).is_some_and(|kept| kept))
        .map_err(|e| format!("a stopped container keeps its lease: {e}"))?;

    world.host.docker_ok(&["rm", "kept"])?;
    wait_for("the lease of the removed container to be released", SOON, || leased(&kept) == Some(false))?;
    // The identity is in use for the moment of the release.
    let identities = wait_for("the identity to wait for a container", SOON, || {
        let listed = world.host.landline_ok(crate::world::binary(), &["identity", "ls"]).ok()?;
        listed.contains("container removed").then_some(listed)
    })?;
    assert!(!identities.contains(&gone), "records of --rm containers go with them: {identities}");
    assert!(identities.contains(&kept), "others stay for a container of the same name: {identities}");

    // Forgotten, the name is like new.
    let id = identities.lines().find(|l| l.contains(&kept)).and_then(|l| l.split_whitespace().next());
    let id = id.ok_or("no identity of kept")?;
    world.host.landline_ok(crate::world::binary(), &["identity", "forget", id])?;
    world.run("kept", "lan", &[])?;
    assert_ne!(seen(&world, "kept", "br00")?.1, kept);
    Ok(())
}

#[test]
fn a_key_is_forgotten_by_its_name() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    let forget = |name: &str| world.host.landline(crate::world::binary(), &["identity", "forget", name]);
    let keyed = "name=lan,driver-opt=landline.id=shop";
    world.run("web", keyed, &[])?;
    let first = seen(&world, "web", "br00")?.1;
    let refused = forget("shop");
    assert!(!refused.success() && refused.stderr.contains("is in use"), "{}", refused.stderr);
    let refused = forget("shop2");
    assert!(!refused.success() && refused.stderr.contains("there is no identity"), "{}", refused.stderr);
    world.host.docker_ok(&["rm", "-f", "web"])?;
    // It would have kept it.
    world.run("web", keyed, &[])?;
    assert_eq!(seen(&world, "web", "br00")?.1, first);
    world.host.docker_ok(&["rm", "-f", "web"])?;
    let gone = forget("shop");
    assert!(gone.success(), "{}", gone.stderr);
    let listed = world.host.landline_ok(crate::world::binary(), &["identity", "ls"])?;
    assert!(!listed.contains("shop") && !listed.contains(&first), "{listed}");
    world.run("web", keyed, &[])?;
    assert_ne!(seen(&world, "web", "br00")?.1, first);
    Ok(())
}

#[test]
fn a_start_without_a_server_may_go_on() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0", "lease_timeout=1s", "on_timeout=continue"])?;
    world.dhcp.stop()?;
    world.run("early", "lan", &[])?;
    assert!(world.address("early", "br00").is_err(), "there was nobody to give it one");
    world.dhcp.start()?;
    wait_for("the address once there is a server", 2 * SOON, || world.address("early", "br00").is_ok())?;
    let routes = world.host.docker_ok(&["exec", "early", "ip", "route"])?;
    assert!(routes.contains("default via 192.0.2.1 dev br00"), "{routes}");
    world.host.docker_ok(&["exec", "early", "ping", "-c1", "-W5", "192.0.2.2"])?;
    Ok(())
}

#[test]
fn only_what_starts_is_taken_for_what_starts() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.host.docker_ok(&["network", "create", "--subnet", "198.51.100.0/24", "inner"])?;
    for name in ["a", "b"].map(|n| format!("twin-{n}")) {
        world.run(&name, "lan", &[])?;
    }
    let twins = [seen(&world, "twin-a", "br00")?, seen(&world, "twin-b", "br00")?];
    stop(&world, &["twin-a"])?;

    // A container that runs already is connected while one that looks the same is stopped.
    world.run("other", "inner", &[])?;
    world.host.docker_ok(&["network", "connect", "lan", "other"])?;
    let other = connected(&world, "other")?;
    assert!(!twins.iter().any(|twin| twin.1 == other.1), "other has {other:?} of {twins:?}");

    // Two wait and look the same, and one of them starts.
    stop(&world, &["twin-b"])?;
    world.host.docker_ok(&["start", "twin-b"])?;
    assert_eq!(seen(&world, "twin-b", "br00")?, twins[1]);

    // One waits, and another one is made and started at once.
    for n in 0..5 {
        let name = format!("new{n}");
        world.run(&name, "lan", &[])?;
        let new = seen(&world, &name, "br00")?;
        assert!(!twins.iter().any(|twin| twin.1 == new.1), "{name} has {new:?} of {twins:?}");
    }
    world.host.docker_ok(&["start", "twin-a"])?;
    assert_eq!(seen(&world, "twin-a", "br00")?, twins[0]);
    Ok(())
}

#[test]
fn what_was_taken_for_another_does_not_join() -> Result {
    // Where Docker's storage driver mounts nothing, a start and a connection look the same at first.
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let mut host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    host.dockerd(Dockerd { extra: vec!["--storage-driver=vfs".into()], ..Dockerd::default() })?;
    let daemon = start_daemon(&host)?;
    let world = World { daemon, host, dhcp, lan };
    world.network("lan", &["bridge=br0"])?;
    world.host.docker_ok(&["network", "create", "--subnet", "198.51.100.0/24", "inner"])?;
    world.run("web", "lan", &[])?;
    let web = seen(&world, "web", "br00")?;
    stop(&world, &["web"])?;
    world.run("other", "inner", &[])?;
    let connect = ["network", "connect", "lan", "other"];
    wait_for("other to be known to run", SOON, || {
        let refused = world.host.docker(&connect);
        let known = refused.stderr.contains("took this for the start of web");
        if refused.success() {
            world.host.docker_ok(&["network", "disconnect", "lan", "other"]).ok()?;
        }
        known.then_some(())
    })?;
    assert_eq!(world.interfaces("other")?, ["eth0"]);
    world.host.docker_ok(&connect)?;
    assert_ne!(connected(&world, "other")?.1, web.1);
    Ok(())
}

#[test]
fn what_cannot_be_told_apart_is_said_and_the_line_that_ends_it() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    let landline = |words: &[&str]| world.host.landline(crate::world::binary(), words).stdout;
    world.run("one", "lan", &[])?;
    world.row("one")?;
    assert!(!landline(&["doctor"]).contains("apart"), "{}", landline(&["doctor"]));
    world.run("two", "lan", &[])?;
    world.row("two")?;
    wait_for("the two to look the same", SOON, || {
        landline(&["ls"]).contains("nothing tells one, two apart")
    })?;
    let said = landline(&["doctor"]);
    let of_two = said.lines().find(|line| line.contains("nothing tells two from one"));
    let line =
        of_two.and_then(|line| line.split("docker run ").nth(1)).ok_or_else(|| said.clone())?.to_owned();
    world.host.docker_ok(&["rm", "-f", "two"])?;
    let mut again: Vec<&str> = ["run", "-d", "--name", "two"].into();
    again.extend(line.split(' '));
    again.extend(["box", "sleep", "infinity"]);
    world.host.docker_ok(&again)?;
    world.row("two")?;
    let mac = world.mac("two", "br00")?;
    wait_for("nothing to be said any more", SOON, || !landline(&["ls"]).contains("apart"))?;
    assert!(!landline(&["doctor"]).contains("apart"));
    world.host.docker_ok(&["stop", "-t0", "one", "two"])?;
    world.host.docker_ok(&["start", "one", "two"])?;
    assert_eq!(world.mac("two", "br00")?, mac);
    Ok(())
}

/// A host is replaced: its containers run on another one, as who they were.
#[test]
fn identities_move_to_another_host() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    let keyed = "name=lan,driver-opt=landline.id=store";
    world.host.docker_ok(&["run", "-d", "--name", "db", "--network", keyed, "box", "sleep", "infinity"])?;
    let before = [seen(&world, "web", "br00")?, seen(&world, "db", "br00")?];
    let binary = crate::world::binary();
    let listed = world.host.landline_ok(binary, &["identity", "ls"])?;
    let row = |name: &str| listed.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(row(" web ").contains("seen running") || row(" web ").contains("only candidate"), "{listed}");
    assert!(row(" store ").contains(" key "), "{listed}");
    let export = world.host.landline_ok(binary, &["identity", "export"])?;

    world.host.docker_ok(&["rm", "-f", "web", "db"])?;
    world.daemon.kill(Signal::TERM)?;
    world.daemon.wait()?;
    world.host.check(&["find", "/var/lib/landline", "-mindepth", "1", "-delete"])?;
    world.daemon = world.host.start_landline(binary, &[], &[])?;
    world.row_of_network("lan")?;
    std::fs::write(world.host.path("/run/moved.json"), &export)?;
    for _ in 0..2 {
        let said = world.host.landline_ok(binary, &["identity", "import", "/run/moved.json"])?;
        assert!(said.contains("2 of 2 identities imported"), "{said}");
    }
    world.run("web", "lan", &[])?;
    world.host.docker_ok(&["run", "-d", "--name", "db", "--network", keyed, "box", "sleep", "infinity"])?;
    assert_eq!([seen(&world, "web", "br00")?, seen(&world, "db", "br00")?], before);

    // What cannot be is said, and nothing else is taken along.
    let mut odd: serde_json::Value = serde_json::from_str(&export)?;
    for (n, (id, network)) in
        [("00000000000000aa", "elsewhere"), ("00000000000000bb", "lan")].iter().enumerate()
    {
        odd["identities"][n]["id"] = (*id).into();
        odd["identities"][n]["network"] = (*network).into();
    }
    std::fs::write(world.host.path("/run/odd.json"), odd.to_string())?;
    let refused = world.host.landline(binary, &["identity", "import", "/run/odd.json"]);
    assert!(!refused.success() && refused.stdout.contains("0 of 2"), "{}", refused.stdout);
    for why in ["there is no network elsewhere here; create it first", "has an identity here already"] {
        assert!(refused.stdout.contains(why), "{}", refused.stdout);
    }
    let newer = export.replace("\"version\": 1", "\"version\": 2");
    std::fs::write(world.host.path("/run/newer.json"), newer)?;
    let refused = world.host.landline(binary, &["identity", "import", "/run/newer.json"]);
    assert!(refused.stderr.contains("version 2"), "{}", refused.stderr);
    Ok(())
}
