//! The command line, and what the daemon's files look like to others.

use landline_testbed::{Signal, wait_for};
use serde_json::Value;

use crate::world::{Result, SOON, World, binary};

#[test]
fn ls_shows_what_runs() -> Result {
    let world = World::bridge()?;
    wait_for("Docker's API", SOON, || world.ls().is_ok_and(|listing| listing["docker"] == true))?;
    let table = world.host.landline_ok(binary(), &["ls"])?;
    assert!(table.starts_with("NETWORK  "), "{table}");
    let header = ["NETWORK", "CONTAINER", "INTERFACE", "MAC", "ADDRESS", "SERVER", "LEASE", "LEFT", "STATE"];
    assert_eq!(table.split_whitespace().collect::<Vec<_>>(), header, "nothing yet:\n{table}");
    assert_eq!(
        world.ls()?,
        serde_json::json!({"docker": true, "networks": [], "endpoints": [], "attachments": [], "alike": [], "dropped": []}),
        "nothing yet, for programs"
    );

    let id = world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    world.run("db", "lan", &[])?;
    for name in ["web", "db"] {
        world.row(name)?;
    }
    wait_for("the interfaces' names", SOON, || {
        let listing = world.ls().unwrap_or_default();
        let rows = listing["endpoints"].as_array().cloned().unwrap_or_default();
        rows.iter().all(|row| row["interface"] == "br00")
    })?;
    let table = world.host.landline_ok(binary(), &["ls"])?;
    let rows = table.lines().skip(1).take_while(|row| !row.is_empty());
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 2, "{table}");
    assert!(table.contains("\nlan: nothing tells db, web apart"), "{table}");
    for (row, name) in rows.iter().zip(["db", "web"]) {
        let (mac, address) = (world.mac(name, "br00")?, world.address(name, "br00")?);
        let [network, container, interface, mac_shown, address_shown, server, left, state] = row[..] else {
            return Err(format!("not eight columns:\n{table}").into());
        };
        assert_eq!([network, container, interface], ["lan", name, "br00"], "{table}");
        assert_eq!([mac_shown, address_shown, server], [&*mac, &*address, "192.0.2.1"], "{table}");
        // Ten minutes were granted, less than a minute ago.
        assert!(left.starts_with("9m") || left == "10m00s", "{table}");
        assert_eq!(state, "BOUND", "{table}");
    }

    let listing = world.ls()?;
    assert_eq!(listing["docker"], true);
    let network = &listing["networks"][0];
    assert_eq!(
        [&network["id"], &network["name"], &network["mode"], &network["parent"]],
        [&Value::from(id), &"lan".into(), &"bridge".into(), &"br0".into()]
    );
    let row = world.row("web")?;
    let container = world.host.docker_ok(&["inspect", "--format", "{{.Id}}", "web"])?;
    assert_eq!(row["container_id"], container);
    assert!((530..=600).contains(&row["lease_left_s"].as_u64().unwrap_or_default()), "{row}");
    assert_eq!([&row["naks"], &row["conflicts"]], [0, 0]);

    world.host.docker_ok(&["rm", "-f", "web", "db"])?;
    assert_eq!(world.ls()?["endpoints"], serde_json::json!([]));
    Ok(())
}

/// What stopped, what is empty and what is elsewhere has a name, and is told from what there is not.
#[test]
fn what_is_not_found_is_told_apart() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.network("empty", &["bridge=br0", "ignore_conflicts=true"])?;
    world.run("web", "lan", &[])?;
    let says = |args: &[&str]| {
        let output = world.host.landline(binary(), args);
        assert_eq!(output.status.code(), Some(10), "{args:?}: {}", output.stdout);
        output.stderr.trim().to_owned()
    };
    assert_eq!(
        says(&["lease", "renew", "web", "empty"]),
        "landline: web has no lease on network empty; landline ls shows what there is"
    );
    assert!(says(&["inspect", "empty"]).starts_with("landline: no container runs on network empty;"));
    let address = world.address("web", "br00")?;
    world.host.docker_ok(&["stop", "-t0", "web"])?;
    let address = crate::world::bare(&address);
    let stopped =
        format!("landline: web does not run; on network lan it last had {address} (landline identity ls)");
    for args in [&["inspect", "web"][..], &["lease", "renew", "web"], &["lease", "renew", "web", "lan"]] {
        assert_eq!(says(args), stopped, "{args:?}");
    }
    assert!(says(&["inspect", "nobody"]).contains("nothing on a Landline network is called \"nobody\""));
    let refused = world.host.landline(binary(), &["allow", "br9", "--kind", "foo"]);
    let kinds = "\"foo\" is no kind of link; use bridge, macvlan, ipvlan, ovs, vde, nat, routed, nic, dummy";
    assert!(!refused.success() && refused.stderr.contains(kinds), "{}", refused.stderr);
    let allowed = world.host.landline(binary(), &["allow", "br9"]);
    assert!(allowed.success() && allowed.stderr.contains("there is no interface br9 on this host yet"));
    Ok(())
}

#[test]
fn one_daemon_and_only_for_root() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    let sockets = ["/run/docker/plugins/landline.sock", "/run/landline/control.sock"];

    // A second one is refused whatever it wants, and the first goes on.
    let elsewhere =
        ["daemon", "--control-socket", "/run/other/c.sock", "--plugin-socket", "/run/other/p.sock"];
    for args in [&["daemon"][..], &["daemon", "--state-dir", "/var/lib/other"], &elsewhere] {
        let output = world.host.landline(binary(), args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", output.stderr);
        let said = output.stderr.lines().last().unwrap_or_default();
        let first = world.host.pid_in_host(world.daemon.pid()?)?;
        let sentence = format!("landline: another Landline daemon (process {first}: ");
        assert!(
            said.starts_with(&sentence) && said.contains(" daemon) runs on this host's network"),
            "{said}"
        );
    }
    world.run("web", "lan", &[])?;
    world.row("web")?;

    let mode = |path: &str| world.host.check(&["stat", "-c", "%a %U", path]);
    for socket in sockets {
        assert_eq!(mode(socket)?, "600 root", "{socket}");
    }
    assert_eq!(mode("/run/landline")?, "700 root");
    assert_eq!(mode("/var/lib/landline/landline.redb")?, "600 root");

    // Others are told that they may not, in words.
    let other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let program = world.host.node().dir().join("landline");
    std::fs::copy(binary(), &program)?;
    let program = program.to_string_lossy();
    let output = world.host.exec(&[&other[..], &[&program, "ls"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("are you root?"), "{}", output.stderr);

    world.daemon.kill(Signal::TERM)?;
    assert!(world.daemon.wait()?.success());

    // A state directory that it made itself is nobody else's.
    let mut fresh = world.host.start_landline(binary(), &["--state-dir", "/var/lib/other"], &[])?;
    assert_eq!(mode("/var/lib/other")?, "700 root");
    fresh.kill(Signal::TERM)?;
    assert!(fresh.wait()?.success());

    let output = world.host.landline(binary(), &["ls"]);
    assert_eq!(output.status.code(), Some(8));
    // That it does not run is the first thing the doctor finds, with the reason if there is one.
    let doctor = |args: &[&str]| world.host.landline(binary(), &[&["doctor"][..], args].concat());
    let found = doctor(&[]);
    assert_eq!(found.status.code(), Some(1), "{}", found.stderr);
    assert!(
        found.stdout.starts_with("the daemon does not run: nothing answers at /run/landline/control.sock")
    );
    assert!(found.stdout.contains("systemctl start landline") && found.stdout.lines().count() == 1);
    let broken = world.host.node().dir().join("broken.toml");
    std::fs::write(&broken, "[defaults]\nlease_timout = \"5s\"\n")?;
    let found = doctor(&["--config", &broken.to_string_lossy()]).stdout;
    assert!(found.starts_with("the daemon does not start with its configuration: "), "{found}");
    assert!(found.contains("did you mean lease_timeout?") && found.lines().count() == 2, "{found}");
    let checked = world.host.landline_ok(binary(), &["config", "check", "--config", "/nosuch"])?;
    assert_eq!(checked.trim(), "there is no /nosuch; the daemon uses its defaults");

    let sentence = "landline: cannot reach the daemon at /run/landline/control.sock; \
                    is it running (systemctl status landline), and are you root?";
    assert!(output.stderr.starts_with(sentence) && output.stderr.lines().count() == 1, "{}", output.stderr);
    assert_eq!(output.stdout, "");
    Ok(())
}
