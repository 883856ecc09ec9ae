//! The commands that show how everything is, and those that scripts use.

use landline_testbed::{Dnsmasq, wait_for};
use serde_json::Value;

use crate::world::{Result, SOON, World, bare, binary};

#[test]
fn status_shows_the_daemon_its_networks_and_its_problems() -> Result {
    let mut world = World::bridge_with(Dnsmasq::default())?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    wait_for("Docker's API", SOON, || world.ls().is_ok_and(|listing| listing["docker"] == true))?;

    let output = world.host.landline(binary(), &["status"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", output.stdout, output.stderr);
    let engine = world.host.docker_ok(&["version", "--format", "{{.Server.Version}}"])?;
    let text = output.stdout;
    for line in [
        &format!("docker       version {}", engine.trim()),
        "drivers      landline, landline-dhcp (IPAM only)",
        "lan      bridge  br0     1",
        "no problems",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}:\n{text}");
    }
    assert!(text.starts_with("daemon       version 0.") && text.lines().count() < 24, "{text}");
    let json = |code: i32| -> Result<Value> {
        let output = world.host.landline(binary(), &["status", "--json"]);
        assert_eq!(output.status.code(), Some(code), "{}{}", output.stdout, output.stderr);
        Ok(serde_json::from_str(&output.stdout)?)
    };
    let status = json(0)?;
    assert_eq!(
        (&status["networks"][0]["name"], &status["networks"][0]["endpoints"]),
        (&"lan".into(), &1.into())
    );
    assert_eq!((&status["docker"]["connected"], &status["problems"]), (&true.into(), &serde_json::json!([])));

    world.host.check(&["ip", "link", "set", "br0", "down"])?;
    let status = json(1)?;
    let says = |status: &Value| {
        let problems = status["problems"].as_array().cloned().unwrap_or_default();
        problems
            .iter()
            .map(|problem| problem["says"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(says(&status).iter().any(|says| says.contains("br0 is down")), "{status}");
    let text = world.host.landline(binary(), &["status"]).stdout;
    assert!(text.contains(" problem") && text.contains("\n- "), "{text}");

    world.daemon.kill(landline_testbed::Signal::TERM)?;
    world.daemon.wait()?;
    let output = world.host.landline(binary(), &["status"]);
    assert_eq!(output.status.code(), Some(8), "{}", output.stderr);
    assert!(
        output.stdout.starts_with("daemon       not running\n\n1 problem:\n- the daemon does not run"),
        "{}",
        output.stdout
    );
    Ok(())
}

#[test]
fn listings_are_filtered_and_printed_by_templates() -> Result {
    let world = World::bridge()?;
    let id = world.network("lan", &["bridge=br0"])?;
    for name in ["web", "db"] {
        world.run(name, "lan", &[])?;
        world.row(name)?;
    }
    let address = world.address("web", "br00")?;
    let says = |args: &[&str]| world.host.landline_ok(binary(), args).map(|text| text.trim_end().to_owned());
    assert_eq!(says(&["ls", "-q"])?, "db\nweb");
    assert_eq!(says(&["ls", "-q", "--filter", &format!("address={}", bare(&address))])?, "web");
    let template = ["ls", "--filter", "container=web", "--format", "{{.Container}} {{.address}} {{.state}}"];
    assert_eq!(says(&template)?, format!("web {address} BOUND"));
    let table = says(&["ls", "--filter", "container=db"])?;
    assert!(table.lines().count() == 2 && table.contains("\nlan      db "), "{table}");
    let filtered: Value =
        serde_json::from_str(&says(&["ls", "--format", "json", "--filter", "container=db"])?)?;
    assert_eq!(
        (filtered["endpoints"].as_array().map(Vec::len), &filtered["docker"]),
        (Some(1), &true.into())
    );

    assert_eq!(says(&["network", "ls", "--format", "{{.name}} {{.in_docker}}"])?, "lan true");
    assert!(says(&["network", "ls", "--no-trunc"])?.contains(&id));
    assert!(!says(&["network", "ls"])?.contains(&id));
    assert_eq!(says(&["identity", "ls", "-q"])?.lines().count(), 2);
    assert_eq!(says(&["nat", "ls", "-q"])?, "");

    for (args, sentence) in [
        (&["ls", "--filter", "sate=BOUND"][..], "no row has a field \"sate\"; the fields are: address, "),
        (&["ls", "--format", "{{.sate}}"], "no row has a field \"sate\""),
        (&["ls", "--format", "tabel"], "\"tabel\" is no format"),
        (&["ls", "--filter", "web"], "write KEY=VALUE, like state=BOUND"),
    ] {
        let refused = world.host.landline(binary(), args);
        assert!(
            refused.status.code() == Some(2) && refused.stderr.contains(sentence),
            "{args:?}: {}",
            refused.stderr
        );
    }
    Ok(())
}

#[test]
fn wait_returns_with_the_address_and_no_sooner() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0", "lease_timeout=1s", "on_timeout=continue"])?;
    let wait = |args: &[&str]| world.host.landline(binary(), &[&["wait"][..], args].concat());

    let none = wait(&["web", "--timeout", "200ms"]);
    assert_eq!(none.status.code(), Some(3), "{}", none.stdout);
    assert!(
        none.stderr.starts_with("landline: web has no Landline interface after 200ms;"),
        "{}",
        none.stderr
    );

    // It is asked before there is a container, and answers as soon as that has its address.
    let early = std::thread::scope(|scope| -> Result<_> {
        let waiting = ["address", "bound", "reachable"]
            .map(|what| scope.spawn(move || wait(&["web", "--timeout", "60s", "--for", what])));
        world.run("web", "lan", &[])?;
        Ok(waiting.map(std::thread::ScopedJoinHandle::join))
    })?;
    let address = world.address("web", "br00")?;
    for found in early {
        let found = found.map_err(|_| "panicked")?;
        assert_eq!((found.status.code(), found.stdout.trim()), (Some(0), bare(&address)), "{}", found.stderr);
    }
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
    let json = wait(&["web", "--json"]).stdout;
    assert_eq!(serde_json::from_str::<Value>(&json)?, serde_json::json!([bare(&address)]));

    // Nobody answers: it runs without an address, and gets one when the server is back.
    world.dhcp.stop()?;
    world.run("late", "lan", &[])?;
    let none = wait(&["late", "--timeout", "1s"]);
    assert_eq!(none.status.code(), Some(3), "{}", none.stdout);
    assert!(none.stderr.starts_with("landline: late has no address after 1s: "), "{}", none.stderr);
    assert!(none.stderr.contains(" on network lan; landline inspect late shows more"), "{}", none.stderr);
    world.dhcp.start()?;
    let found = wait(&["late", "--for", "reachable", "--timeout", "60s"]);
    assert_eq!(found.stdout.trim(), bare(&world.address("late", "br00")?), "{}", found.stderr);
    Ok(())
}

#[test]
fn a_network_is_created_by_its_name_alone() -> Result {
    let world = World::bridge()?;
    let says = |args: &[&str]| world.host.landline_ok(binary(), &[&["network"][..], args].concat());
    world.host.check(&["ip", "route", "del", "default"])?;
    let refused = world.host.landline(binary(), &["network", "create", "lan"]);
    assert!(refused.stderr.contains("this host has no default route"), "{}", refused.stderr);
    assert!(refused.stderr.contains("--parent NIC (one of: br0)"), "{}", refused.stderr);

    world.host.check(&["ip", "route", "add", "default", "via", "192.0.2.1"])?;
    let command =
        "docker network create -d landline --ipam-driver landline --subnet 192.0.2.0/24 -o bridge=br0 lan";
    assert_eq!(says(&["create", "lan", "--dry-run"])?, command);
    assert_eq!(says(&["ls", "-q"])?, "", "nothing was created");
    let said = says(&["create", "lan"])?;
    assert!(said.starts_with(command) && said.contains("\ncreated network lan ("), "{said}");
    world.run("web", "lan", &[])?;
    let address = world.host.landline_ok(binary(), &["wait", "web", "--timeout", "60s"])?;
    assert_eq!(address.trim(), bare(&world.address("web", "br00")?));

    let shown = says(&["inspect", "lan"])?;
    for line in [
        "parent                  br0",
        "in docker               yes",
        &format!("container               web {}/24 BOUND", address.trim()),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}:\n{shown}");
    }

    // What Docker refuses is said in its words, those of the driver among them.
    let again = world.host.landline(binary(), &["network", "create", "lan2"]);
    assert!(
        again.status.code() == Some(1) && again.stderr.contains("cannot create network lan2: "),
        "{}",
        again.stderr
    );
    assert!(again.stderr.contains("br0"), "{}", again.stderr);
    let busy = world.host.landline(binary(), &["network", "rm", "lan"]);
    assert!(
        busy.stderr.contains("cannot remove network lan: ") && busy.stderr.contains("active endpoints"),
        "{}",
        busy.stderr
    );
    world.host.docker_ok(&["rm", "-f", "web"])?;
    assert_eq!(says(&["rm", "lan"])?, "removed network lan");
    assert_eq!(says(&["ls", "-q"])?, "");
    Ok(())
}

#[test]
fn a_report_has_everything_but_keys() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    let (row, address) = (world.row("web")?, world.address("web", "br00")?);
    let mac = row["mac"].as_str().unwrap_or_default().to_owned();
    let config = world.host.node().dir().join("report.toml");
    std::fs::write(&config, "[containers]\nkey = \"geheim\"\nhost_routes = true\n")?;
    let report = |args: &[&str]| {
        let config = config.to_string_lossy();
        world.host.landline_ok(binary(), &[&["bugreport", "--config", &config][..], args].concat())
    };
    let text = report(&[])?;
    for title in [
        "versions",
        "status",
        "doctor",
        "interfaces",
        "networks",
        "identities",
        "inspect",
        "configuration",
        "log",
    ] {
        assert!(text.contains(&format!("== {title} ==\n")), "{title}:\n{text}");
    }
    for said in
        [&*mac, &*address, "lease-time (51)", "key = (redacted)", "host_routes = true", "no trouble found"]
    {
        assert!(text.contains(said), "{said}:\n{text}");
    }
    assert!(!text.contains("geheim"), "{text}");
    let text = report(&["--redact"])?;
    assert!(text.contains("mac-1") && text.contains("ipv4-1/24"), "{text}");
    assert!(!text.contains(&mac) && !text.contains(bare(&address)), "{text}");
    Ok(())
}

#[test]
fn a_group_may_look_and_nothing_else() -> Result {
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("landline.toml");
    let world = World::bridge_named(&["--config", &config.to_string_lossy()])?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    let program = world.host.node().dir().join("landline");
    std::fs::copy(binary(), &program)?;
    let program = program.to_string_lossy().into_owned();
    let by = |groups: &str, args: &[&str]| {
        let groups = format!("--groups={groups}");
        let user = ["setpriv", "--reuid=65534", "--regid=65534", &groups, &program];
        world.host.exec(&[&user[..], args].concat())
    };
    assert!(by("4242", &["ls"]).stderr.contains("are you root?"), "nobody may unless it is said");

    std::fs::write(&config, "[control]\ngroup = \"4242\"\n")?;
    world.reload()?;
    let mode = |path: &str| world.host.check(&["stat", "-c", "%a %U %g", path]);
    wait_for("the group to be let in", SOON, || {
        mode("/run/landline/control.sock").is_ok_and(|mode| mode.trim() == "660 root 4242")
    })?;
    assert_eq!(mode("/run/landline")?.trim(), "710 root 4242");
    for args in
        [&["ls"][..], &["status"], &["inspect", "web"], &["doctor"], &["wait", "web"], &["identity", "ls"]]
    {
        let output = by("4242", args);
        assert!(output.success(), "{args:?}: {}", output.stderr);
    }
    for args in [
        &["lease", "release", "web"][..],
        &["doctor", "--fix"],
        &["identity", "key"],
        &["identity", "export"],
        &["network", "forget", "lan"],
        &["detach", "web"],
    ] {
        let output = by("4242", args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", output.stdout);
        assert!(
            output.stderr.contains("only root may do this; members of the group 4242 may"),
            "{}",
            output.stderr
        );
    }
    assert!(by("4243", &["ls"]).stderr.contains("are you root?"), "another group");
    assert_eq!(world.row("web")?["state"], "BOUND");

    std::fs::remove_file(&config)?;
    world.reload()?;
    wait_for("the group to be shut out", SOON, || {
        mode("/run/landline/control.sock").is_ok_and(|mode| mode.trim() == "600 root 0")
    })?;
    assert!(by("4242", &["ls"]).stderr.contains("are you root?"));
    Ok(())
}

#[test]
fn trace_shows_what_was_said_on_the_lan() -> Result {
    let world = World::bridge_with(Dnsmasq { ra: landline_testbed::Ra::Stateful, ..Dnsmasq::default() })?;
    world.network("lan", &["bridge=br0", "ipv6=true"])?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    let address = world.address("web", "br00")?;
    let trace = |args: &[&str]| world.host.landline_ok(binary(), &[&["trace", "web"][..], args].concat());
    let text = wait_for("the router's advertisement and both leases", SOON, || {
        let text = trace(&[]).ok()?;
        (text.contains("DHCPv6 REPLY") && text.contains("router advertisement from fe80::")).then_some(text)
    })?;
    let at = |said: &str| text.find(said).ok_or_else(|| format!("no {said}:\n{text}"));
    assert!(at(" lan -> DHCP DISCOVER ")? < at(" lan <- DHCP OFFER ")?, "{text}");
    assert!(at(" lan -> DHCP REQUEST ")? < at(" lan <- DHCP ACK ")?, "{text}");
    assert!(text.contains(&format!(" address={} lease-time=600 s", bare(&address))), "{text}");

    let file = world.host.node().dir().join("web.pcap");
    let said = trace(&["--pcap", &file.to_string_lossy()])?;
    assert!(said.starts_with("wrote ") && said.contains("messages to "), "{said}");
    let read = world.host.check(&["tcpdump", "-Z", "root", "-n", "-r", &file.to_string_lossy()])?;
    assert!(read.contains("BOOTP/DHCP, Request from") && read.contains("router advertisement"), "{read}");

    // What comes later is followed, until nobody reads on; each message is an object for programs.
    let count = trace(&[])?.lines().count() + 1;
    let script = format!("'{}' trace web --follow --json | head -n {count}", binary().display());
    std::thread::scope(|scope| -> Result {
        let following = scope.spawn(|| world.host.exec(&["timeout", "60", "sh", "-c", &script]).stdout);
        world.host.landline_ok(binary(), &["lease", "renew", "web"])?;
        let followed = following.join().map_err(|_| "panicked")?;
        let numbers: Vec<u64> = followed
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).map(|message| message["number"].as_u64().unwrap_or(0))
            })
            .collect::<std::result::Result<_, _>>()?;
        assert!(numbers.len() == count && numbers.is_sorted() && numbers[0] > 0, "{followed}");
        Ok(())
    })?;
    let none = world.host.landline(binary(), &["trace", "nobody"]);
    assert_eq!(none.status.code(), Some(10), "{}", none.stderr);
    Ok(())
}
