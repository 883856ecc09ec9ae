//! `--ipam-driver landline` with addresses from the LAN's DHCP server.

use landline_testbed::{Dnsmasq, Signal, wait_for};

use crate::kinds::Kind;
use crate::world::{Result, SOON, World, bare, binary};

/// The LAN as the user describes it.
const LAN: [&str; 4] = ["--subnet", "192.0.2.0/24", "--ipam-opt", "addressing=dhcp"];

impl World {
    /// `docker network create -d landline --ipam-driver landline IPAM -o KIND NAME`.
    fn leased(&self, kind: Kind, name: &str, ipam: &[&str]) -> Result {
        let mut command = vec!["network", "create", "-d", "landline", "--ipam-driver", "landline"];
        command.extend(ipam);
        command.extend(kind.options().iter().flat_map(|option| ["-o", option]));
        command.push(name);
        self.host.docker_ok(&command)?;
        Ok(())
    }
}

#[test]
fn bridge_inspect_shows_the_truth() -> Result {
    inspect_shows_the_truth(Kind::Bridge)
}

#[test]
fn macvlan_inspect_shows_the_truth() -> Result {
    inspect_shows_the_truth(Kind::Macvlan)
}

fn inspect_shows_the_truth(kind: Kind) -> Result {
    let world = kind.world(&Dnsmasq::default())?;
    world.leased(kind, "lan", &LAN)?;
    assert_eq!(world.inspect("lan", "{{(index .IPAM.Config 0).Subnet}}")?, "192.0.2.0/24");
    let docker = |name: &str, field: &str| {
        world.inspect(name, &format!("{{{{.NetworkSettings.Networks.lan.{field}}}}}"))
    };

    world.run("web", "lan", &[])?;
    let address = world.address("web", kind.interface())?;
    let mac = world.mac("web", kind.interface())?;
    assert_eq!(docker("web", "IPAddress")?, bare(&address));
    assert_eq!(docker("web", "IPPrefixLen")?, "24");
    assert_eq!(docker("web", "Gateway")?, "192.0.2.1");
    assert_eq!(docker("web", "MacAddress")?, mac);
    assert_eq!(world.gateways("web")?, ["192.0.2.1"]);
    assert_eq!(world.lease_of(&mac)?.ip.to_string(), bare(&address));
    assert_eq!(world.dhcp.leases().len(), 1, "{:?}", world.dhcp.leases());
    assert_eq!(world.marked_links()?.iter().filter(|link| link.contains("ipam-")).count(), 0);
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
    let row = world.row("web")?;
    assert_eq!((row["state"].as_str(), row["address"].as_str()), (Some("BOUND"), Some(address.as_str())));

    // An address that is named is asked for, and is the container's again.
    world.run("fixed", "lan", &["--ip", "192.0.2.177"])?;
    assert_eq!(world.address("fixed", kind.interface())?, "192.0.2.177/24");
    assert_eq!(docker("fixed", "IPAddress")?, "192.0.2.177");
    let fixed = world.mac("fixed", kind.interface())?;
    assert_eq!(world.lease_of(&fixed)?.ip.to_string(), "192.0.2.177");
    world.row("fixed")?;
    world.host.docker_ok(&["restart", "-t0", "fixed", "web"])?;
    assert_eq!(world.address("fixed", kind.interface())?, "192.0.2.177/24");
    assert_eq!(world.mac("fixed", kind.interface())?, fixed);
    assert_eq!(world.address("web", kind.interface())?, address);
    assert_eq!(world.mac("web", kind.interface())?, mac);
    Ok(())
}

#[test]
fn what_cannot_be_had_is_refused_and_given_back() -> Result {
    let world = World::bridge()?;
    world.leased(Kind::Bridge, "lan", &LAN)?;
    world.run("web", "lan", &["--ip", "192.0.2.177"])?;

    // Another container's, one that the server has not, and one that is not of the LAN.
    let error = world.run_fails("thief", "lan", &["--ip", "192.0.2.177"]);
    assert!(error.contains("the DHCP server gave") && error.contains("instead of 192.0.2.177"), "{error}");
    let error = world.run_fails("stranger", "lan", &["--ip", "192.0.2.5"]);
    assert!(error.contains("instead of 192.0.2.5"), "{error}");
    for args in [
        &["--mac-address", "02:00:00:00:00:0a"][..],
        &["--network", "name=lan,driver-opt=landline.id=me"],
        &["--network", "name=lan,driver-opt=ip=192.0.2.178"],
    ] {
        let network = if args[0] == "--network" { "none" } else { "lan" };
        let error = if network == "none" {
            let mut command = vec!["run", "-d", "--name", "late"];
            command.extend(args);
            command.extend(["box", "sleep", "infinity"]);
            let output = world.host.docker(&command);
            assert!(!output.success());
            world.host.docker(&["rm", "-f", "late"]);
            output.stderr
        } else {
            world.run_fails("late", network, args)
        };
        assert!(error.contains("--ipam-driver null"), "{error}");
    }
    // Nothing of theirs is left, neither at the server nor here.
    let left = || (world.dhcp.leases(), world.marked_links());
    wait_for(
        "the end of what failed",
        SOON,
        || matches!(left(), (leases, Ok(links)) if leases.len() == 1 && links.len() == 1),
    )
    .map_err(|error| format!("{error}: {:?}", left()))?;
    assert_eq!(world.dhcp.leases()[0].ip.to_string(), "192.0.2.177");

    // A subnet that is not the LAN's.
    world.host.docker_ok(&["rm", "-f", "web"])?;
    world.host.docker_ok(&["network", "rm", "lan"])?;
    let other = ["--subnet", "203.0.113.0/24", "--ipam-opt", "addressing=dhcp"];
    world.leased(Kind::Bridge, "lan", &other)?;
    let error = world.run_fails("web", "lan", &[]);
    assert!(error.contains("which is not within --subnet 203.0.113.0/24"), "{error}");
    Ok(())
}

#[test]
fn without_a_subnet_docker_is_told_of_all_addresses() -> Result {
    let mut world = World::bridge()?;
    world.leased(Kind::Bridge, "lan", &[])?;
    world.run("web", "lan", &[])?;
    world.run("db", "lan", &[])?;
    let seen = |world: &World, name: &str| -> Result<(String, String)> {
        let address = world.address(name, "br00")?;
        let docker = world.inspect(name, "{{.NetworkSettings.Networks.lan.IPAddress}}")?;
        assert_eq!(docker, bare(&address));
        assert!(address.ends_with("/24"), "{address}");
        Ok((address, world.mac(name, "br00")?))
    };
    let before = (seen(&world, "web")?, seen(&world, "db")?);
    assert_ne!(before.0, before.1);
    world.row("web")?;
    world.row("db")?;

    // The daemon killed, then Docker, with both containers: each comes back as itself.
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.daemon = world.host.start_landline(binary(), &[], &[])?;
    world.host.docker_ok(&["restart", "-t0", "web", "db"])?;
    assert_eq!((seen(&world, "web")?, seen(&world, "db")?), before);
    world.host.dockerd_stop(Signal::TERM)?;
    world.host.dockerd_start()?;
    // Nothing but Docker's API tells the two apart: once it is followed again, new names are known.
    world.network_of(Kind::Bridge, "seen", &[])?;
    world.row_of_network("seen")?;
    world.host.docker_ok(&["start", "db"])?;
    world.host.docker_ok(&["start", "web"])?;
    assert_eq!((seen(&world, "web")?, seen(&world, "db")?), before);

    // Removed and made anew under its name.
    world.host.docker_ok(&["rm", "-f", "web"])?;
    world.run("web", "lan", &[])?;
    assert_eq!(seen(&world, "web")?, before.0);
    Ok(())
}

#[test]
fn without_a_server_nobody_starts_and_nobody_is_asked_for_static_addresses() -> Result {
    let mut world = World::bridge()?;
    world.dhcp.stop()?;
    let ipam = [&LAN[..], &["-o", "lease_timeout=1s"]].concat();
    world.leased(Kind::Bridge, "lan", &ipam)?;
    let error = world.run_fails("web", "lan", &[]);
    assert!(error.contains("no DHCP server offered an address on br0 within 1 s"), "{error}");
    assert_eq!(world.marked_links()?, [""; 0]);

    let ipam =
        [&LAN[..], &["--gateway", "192.0.2.1", "-o", "addressing=static", "-o", "ignore_conflicts=true"]];
    world.leased(Kind::Bridge, "named", &ipam.concat())?;
    world.run("named", "named", &["--ip", "192.0.2.60"])?;
    assert_eq!(world.address("named", "br00")?, "192.0.2.60/24");
    assert_eq!(world.gateways("named")?, ["192.0.2.1"]);
    let error = world.run_fails("web", "named", &[]);
    assert!(error.contains("every container names its own with --ip"), "{error}");
    let error = world.run_fails("web", "named", &["--ip", "192.0.2.60"]);
    assert!(error.contains("192.0.2.60 is in use by named"), "{error}");
    Ok(())
}
