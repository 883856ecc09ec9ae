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
    let world = kind.world(&Dnsmasq { sequential: true, ..Dnsmasq::default() })?;
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
        &["--network", "name=lan,driver-opt=ip=192.0.2.5"],
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

    // Removed and recreated under its name.
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

/// The words that Compose 2 passes on say it all, and a subnet alone is no pool on a LAN.
#[test]
fn a_subnet_says_what_the_lan_is_and_not_whose_addresses_are_free() -> Result {
    let mut world = World::bridge()?;
    let subnet = ["--subnet", "192.0.2.0/24"];
    let bridge = ["-o", "bridge=br0", "-o", "ignore_conflicts=true"];
    let forms: [(&str, &str, &[&str]); 3] = [
        ("bare", "landline", &[]),
        ("worded", "landline", &["-o", "addressing=dhcp"]),
        ("named", "landline-dhcp", &[]),
    ];
    for (network, ipam, words) in forms {
        let create = ["network", "create", "-d", "landline", "--ipam-driver", ipam];
        world.host.docker_ok(&[&create[..], &subnet, &bridge, words, &[network]].concat())?;
        let container = format!("on-{network}");
        world.run(&container, network, &[])?;
        let mac = world.mac(&container, "br00")?;
        assert_eq!(world.lease_of(&mac)?.ip.to_string(), bare(&world.address(&container, "br00")?));
    }
    // The IPAM driver's name says it without a subnet too, and contradictions are none of these.
    let create = ["network", "create", "-d", "landline", "--ipam-driver", "landline-dhcp"];
    world.host.docker_ok(&[&create[..], &bridge, &["short"]].concat())?;
    world.run("on-short", "short", &[])?;
    let refused = world.host.docker(&[&create[..], &["--ipam-opt", "addressing=pool", "no"]].concat());
    assert!(refused.stderr.contains("landline-dhcp takes addresses from the LAN's"), "{}", refused.stderr);
    let named =
        ["network", "create", "-d", "landline", "--ipam-driver", "landline", "-o", "addressing=static"];
    world.host.docker_ok(&[&named[..], &subnet, &bridge, &["fixed"]].concat())?;
    let error = world.run_fails("any", "fixed", &[]);
    assert!(error.contains("every container names its own with --ip"), "{error}");
    world.run("fixed", "fixed", &["--ip", "192.0.2.60"])?;
    assert_eq!(world.address("fixed", "br00")?, "192.0.2.60/24");

    // That is known again after the state was lost. Pools of several networks could not be told from each other then.
    world.host.docker_ok(&["rm", "-f", "on-worded", "on-named", "fixed"])?;
    world.host.docker_ok(&["network", "rm", "worded", "named", "fixed"])?;
    let before = world.address("on-bare", "br00")?;
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.host.check(&["find", "/var/lib/landline", "-mindepth", "1", "-delete"])?;
    world.daemon = world.host.start_landline(binary(), &[], &[])?;
    wait_for("on-bare to be known", SOON, || world.row("on-bare").is_ok_and(|row| row["state"] == "BOUND"))?;
    world.run("next", "bare", &[])?;
    let mac = world.mac("next", "br00")?;
    assert_eq!(world.lease_of(&mac)?.ip.to_string(), bare(&world.address("next", "br00")?));
    assert_eq!(world.address("on-bare", "br00")?, before);
    Ok(())
}

/// Docker 29 names the container when it asks for the address, so all is known that its user said; here as its requests look.
#[test]
fn the_containers_name_leads_to_all_that_is_known_of_it() -> Result {
    let world = World::bridge()?;
    world.leased(Kind::Bridge, "lan", &["--subnet", "192.0.2.0/24"])?;
    let network = world.inspect("lan", "{{.Id}}")?;
    let log = world.daemon.log();
    let pool = log.split("pool created pool=").nth(1).and_then(|rest| rest.split(' ').next());
    let pool = pool.ok_or("no pool in the log")?.to_owned();
    let asked = |verb: &str, body: serde_json::Value| -> Result<serde_json::Value> {
        let (_, answer) = world.daemon.request(&format!("/{verb}"), &body.to_string())?;
        Ok(serde_json::from_str(&answer)?)
    };
    let address = |name: &str| {
        let options = serde_json::json!({"com.docker.network.endpoint.name": name});
        asked(
            "IpamDriver.RequestAddress",
            serde_json::json!({"PoolID": pool, "Address": "", "Options": options}),
        )
    };
    let endpoint = |id: char, address: &str, mac: &str, options: serde_json::Value| {
        let interface = serde_json::json!({"Address": address, "AddressIPv6": "", "MacAddress": mac});
        let id = id.to_string().repeat(64);
        let request = serde_json::json!(
            {"NetworkID": network, "EndpointID": id, "Interface": interface, "Options": options}
        );
        asked("NetworkDriver.CreateEndpoint", request)
    };
    let mac = "02:42:c0:00:02:0a";
    let options = serde_json::json!({"landline.id": "shop", "client_id": "till", "ip": "192.0.2.177"});
    let settings = serde_json::json!({"MacAddress": mac, "DriverOpts": options});
    let create = serde_json::json!({"Image": "box", "HostConfig": {"NetworkMode": "lan"},
        "NetworkingConfig": {"EndpointsConfig": {"lan": settings}}});
    world.host.check(&[
        "curl",
        "-sSf",
        "--unix-socket",
        "/run/docker.sock",
        "-H",
        "Content-Type: application/json",
        "-d",
        &create.to_string(),
        "http://docker/containers/create?name=web",
    ])?;

    let given = address("web")?;
    assert_eq!(given["Address"], "192.0.2.177/24", "{given} {}", world.daemon.log());
    let made = endpoint('a', "192.0.2.177/24", mac, options)?;
    assert!(made["Err"].as_str().is_none_or(str::is_empty), "{made}");
    let identities = world.host.landline_ok(binary(), &["identity", "ls", "--json"])?;
    let identities: serde_json::Value = serde_json::from_str(&identities)?;
    let keyed = identities.as_array().and_then(|all| all.iter().find(|i| i["key"] == "shop"));
    let keyed = keyed.ok_or("no identity shop")?;
    assert_eq!((keyed["mac"].as_str(), keyed["container"].as_str()), (Some(mac), Some("web")), "{keyed}");

    // What the watcher could not know yet is heeded where it can be, and else Docker is asked to do it again.
    let given = address("new")?;
    let given = given["Address"].as_str().ok_or("no address")?.to_owned();
    let refused = endpoint('b', &given, "", serde_json::json!({"client_id": "other"}))?;
    assert!(refused["Err"].as_str().is_some_and(|text| text.contains("docker start new")), "{refused}");
    let made = endpoint('b', &given, "", serde_json::json!({"landline.id": "late"}))?;
    assert!(made["Err"].as_str().is_none_or(str::is_empty), "{made}");
    Ok(())
}
