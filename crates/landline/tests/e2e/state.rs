//! Many endpoints, long absences, bad disks, and a Docker that does not answer.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use landline_testbed::{DhcpKind, Dnsmasq, Kea, Lan, Signal, wait_for};
use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::tools::{at_once, names, start_daemon};
use crate::world::{Result, SOON, World, bare, binary};

/// How many endpoints one host has to be able to take up at once.
const MANY: usize = 100;

/// Leases so short that renewals are seen in no time.
fn short() -> Kea {
    Kea { valid_lifetime: 8, renew: Some(2), rebind: Some(5), ..Kea::default() }
}

#[test]
fn a_hundred_leases_are_taken_up_in_a_second() -> Result {
    let mut world = World::bridge()?;
    let network = world.network("lan", &["bridge=br0"])?;
    let all = names("", MANY);
    let sandboxes = all.iter().map(|n| format!("netns add s{n}\n")).collect::<Vec<_>>().concat();
    let batch = |lines: &str| -> Result {
        Ok(world.host.node().sh(&format!("ip -batch - <<'END'\n{lines}END\n")).map(drop)?)
    };
    batch(&sandboxes)?;
    // What Docker asks for, without a hundred containers: endpoints that join sandboxes of the test's own.
    let ask = |verb: &str, body: &Value| -> Result<Value> {
        let (status, answer) = world.daemon.request(&format!("/NetworkDriver.{verb}"), &body.to_string())?;
        let json: Value = serde_json::from_str(&answer)?;
        if status == 200 && json["Err"].is_null() { Ok(json) } else { Err(answer.into()) }
    };
    for ten in all.chunks(10) {
        at_once(ten, |n| {
            let id = format!("{n:0>3}{}", "e".repeat(61));
            let create = json!({"NetworkID": network, "EndpointID": id, "Interface": {}, "Options": {}});
            ask("CreateEndpoint", &create)?;
            let sandbox = format!("/run/netns/s{n}");
            let join = json!({"NetworkID": network, "EndpointID": id, "SandboxKey": sandbox, "Options": {}});
            let joined = ask("Join", &join)?;
            let link = joined["InterfaceName"]["SrcName"].as_str().ok_or_else(|| format!("{joined}"))?;
            batch(&format!("link set {link} netns s{n}\n"))?;
            batch(&format!("-n s{n} link set {link} up\n")).or_else(|_| {
                Ok(world.host.check(&["ip", "-n", &format!("s{n}"), "link", "set", link, "up"]).map(drop)?)
            })
        })?;
    }
    let all_bound = |world: &World| {
        let listing = world.ls().unwrap_or_default();
        let rows = listing["endpoints"].as_array().cloned().unwrap_or_default();
        rows.len() == MANY && rows.iter().all(|row| row["state"] == "BOUND")
    };
    wait_for("all leases", 2 * SOON, || all_bound(&world))?;
    assert_eq!(world.dhcp.leases().len(), MANY);

    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68")?;
    // The machine may be busy with something else for a moment, but not three times in a row.
    let mut best = Duration::MAX;
    for _ in 0..3 {
        world.daemon.kill(Signal::KILL)?;
        world.daemon.wait()?;
        let start = Instant::now();
        world.daemon = start_daemon(&world.host)?;
        wait_for("all leases to be supervised again", 2 * SOON, || all_bound(&world))?;
        best = best.min(start.elapsed());
    }
    println!("{MANY} leases are supervised again after {best:?}");
    assert!(best < Duration::from_secs(1), "{best:?}");
    let asked = capture.dhcp();
    assert!(asked.is_empty(), "nothing was due:\n{}", capture.lines().join("\n"));
    Ok(())
}

#[test]
fn a_lease_that_expired_meanwhile_is_asked_for_again() -> Result {
    let lan = Lan::new()?;
    let dhcp = lan.kea(short())?;
    let host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    let mut world = World::start(lan, dhcp, host)?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    let (address, mac) = (world.address("web", "br00")?, world.mac("web", "br00")?);

    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    let lease = world.dhcp.lease_of(&mac).ok_or("no lease")?;
    wait_for("the end of the lease", 2 * SOON, || {
        SystemTime::now().duration_since(UNIX_EPOCH).is_ok_and(|now| now.as_secs() > lease.expiry + 1)
    })?;
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68")?;
    world.daemon = start_daemon(&world.host)?;
    let first = capture.wait_for("a request", SOON, |frame| frame.dhcp().filter(|m| m.op == 1))?;
    assert_eq!(first.kind(), Some(DhcpKind::Request), "{}", capture.lines().join("\n"));
    assert_eq!(first.address_option(50).map(|ip| ip.to_string()).as_deref(), Some(bare(&address)));
    wait_for("the lease", SOON, || world.row("web").is_ok_and(|row| row["state"] == "BOUND"))?;
    assert_eq!(world.row("web")?["address"], address);
    assert_eq!(world.address("web", "br00")?, address);
    let routes = world.routes("web")?;
    assert!(routes.iter().any(|route| route.starts_with("default via 192.0.2.1 ")), "{routes:?}");
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
    Ok(())
}

#[test]
fn bad_disks_cost_no_lease() -> Result {
    const STATE: &str = "/var/lib/landline";
    let lan = Lan::new()?;
    let dhcp = lan.kea(short())?;
    let host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    host.check(&["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", STATE])?;
    let mut world = World::start(lan, dhcp, host)?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    let (address, mac) = (world.address("web", "br00")?, world.mac("web", "br00")?);
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68")?;
    let goes_on = |world: &World, what: &str| -> Result {
        let from = SystemTime::now();
        wait_for(format!("a renewal with {what}"), SOON, || {
            capture.dhcp().iter().any(|(frame, message)| {
                message.kind() == Some(DhcpKind::Ack) && message.client_mac() == mac && frame.time > from
            })
        })
        .map_err(|error| format!("{error}\n{}", world.daemon.log()))?;
        assert_eq!(world.address("web", "br00")?, address, "{what}");
        world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
        assert_eq!(world.row("web")?["address"], address, "{what}");
        Ok(())
    };
    let restart = |world: &mut World| -> Result {
        world.daemon.kill(Signal::KILL)?;
        world.daemon.wait()?;
        world.daemon = start_daemon(&world.host)?;
        Ok(())
    };
    // What the file has room for is stored, so some may start; each needs a little more.
    let refused = |world: &World, what: &str| -> Result {
        let mut started = Vec::new();
        let output = (0..40).find_map(|n| {
            let name = format!("more{n}");
            let run = ["run", "-d", "--name", &name, "--network", "lan", "box", "sleep", "3600"];
            let output = world.host.docker(&run);
            started.push(name);
            (!output.success()).then_some(output)
        });
        let mut remove = vec!["rm", "-f"];
        remove.extend(started.iter().map(String::as_str));
        let output = output.ok_or_else(|| format!("forty more started with {what}"))?;
        assert!(output.stderr.contains("remote: cannot store the endpoint"), "{what}: {}", output.stderr);
        world.host.docker_ok(&remove)?;
        Ok(())
    };

    world.host.node().sh(&format!("dd if=/dev/zero of={STATE}/fill bs=4k 2>/dev/null || :"))?;
    goes_on(&world, "a full disk")?;
    refused(&world, "a full disk")?;
    restart(&mut world)?;
    goes_on(&world, "a full disk after a restart")?;
    world.host.check(&["rm", &format!("{STATE}/fill")])?;
    world.host.docker_ok(&["run", "--rm", "--network", "lan", "box", "true"])?;

    // The kernel makes no file system read-only under an open file, but for errors of the disk.
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.host.check(&["mount", "-o", "remount,ro", STATE])?;
    world.daemon = start_daemon(&world.host)?;
    goes_on(&world, "a read-only disk")?;
    refused(&world, "a read-only disk")?;
    world.host.check(&["mount", "-o", "remount,rw", STATE])?;
    world.host.docker_ok(&["run", "--rm", "--network", "lan", "box", "true"])?;

    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.host.node().sh(&format!(
        "for f in {STATE}/*.redb; do tr '\\0-\\377' '\\52' <$f >$f.x; cat $f.x >$f; rm $f.x; done"
    ))?;
    world.daemon = start_daemon(&world.host)?;
    wait_for("the container to be taken up without the file", SOON, || {
        world.row("web").is_ok_and(|row| row["state"] == "BOUND" && row["address"] == address)
    })
    .map_err(|error| format!("{error}\n{}", world.daemon.log()))?;
    goes_on(&world, "a damaged file")?;
    let kept = world.host.check(&["ls", STATE])?;
    assert!(kept.lines().count() > 1, "the damaged file was not kept: {kept}");
    world.host.docker_ok(&["run", "--rm", "--network", "lan", "box", "true"])?;
    Ok(())
}

#[test]
fn a_silent_docker_api_delays_no_start() -> Result {
    let mut world = Kind::Bridge.world(&Dnsmasq::default())?;
    world.network("lan", &["bridge=br0"])?;
    let median = |world: &World| -> Result<Duration> {
        let mut times = Vec::new();
        for _ in 0..5 {
            let start = Instant::now();
            world.host.docker_ok(&["run", "--rm", "--network", "lan", "box", "true"])?;
            times.push(start.elapsed());
        }
        times.sort();
        Ok(times[2])
    };
    let usual = median(&world)?;
    let deaf = "import socket,sys,time\ns=socket.socket(socket.AF_UNIX)\ns.bind('/run/deaf.sock')\ns.listen(9)\n\
                print('listening', flush=True)\nkept=[]\nwhile True: kept.append(s.accept())";
    let mut listener = world.host.spawn(&["python3", "-c", deaf])?;
    listener.wait_for_text("listening", SOON)?;
    for address in ["unix:///run/deaf.sock", "unix:///run/nobody.sock"] {
        world.daemon.kill(Signal::TERM)?;
        world.daemon.wait()?;
        world.daemon = world.host.start_landline(binary(), &["--docker-host", address], &[])?;
        let now = median(&world)?;
        assert!(now < usual * 2 + Duration::from_millis(500), "{address}: {now:?} instead of {usual:?}");
        let table = world.host.landline_ok(binary(), &["ls"])?;
        assert!(table.contains("Docker's API cannot be reached"), "{address}: {table}");
        world.run("web", "lan", &[])?;
        let ip = world.address("web", "br00")?;
        world.lan.peer().check(&["ping", "-c1", "-W5", bare(&ip)])?;
        world.host.docker_ok(&["rm", "-f", "web"])?;
    }
    Ok(())
}
