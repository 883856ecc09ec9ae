//! What monitoring systems see: metrics that agree with the DHCP server, and health that comes back by itself.

use landline_testbed::wait_for;
use serde_json::Value;

use crate::world::{Result, SOON, World, bare, binary};

const CONTROL: [&str; 4] = ["curl", "-sS", "--unix-socket", "/run/landline/control.sock"];

/// The values of this metric, by their labels.
fn series(text: &str, name: &str) -> Vec<(String, f64)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
    lines
        .filter(|(labels, _)| labels.is_empty() || labels.starts_with('{'))
        .filter_map(|(labels, value)| Some((labels.to_owned(), value.parse().ok()?)))
        .collect()
}

/// The one value of this metric with all these labels.
fn value(text: &str, name: &str, labels: &[&str]) -> Result<f64> {
    let found = series(text, name);
    let found: Vec<_> =
        found.iter().filter(|(own, _)| labels.iter().all(|label| own.contains(label))).collect();
    match found[..] {
        [(_, value)] => Ok(*value),
        _ => Err(format!("{} series {name} {labels:?}:\n{text}", found.len()).into()),
    }
}

fn health(world: &World) -> Result<Value> {
    let health = world.host.check(&[&CONTROL[..], &["http://localhost/health"]].concat())?;
    Ok(serde_json::from_str(&health)?)
}

/// Waits until a check has this level, and says why.
fn wait_for_check(world: &World, check: &str, level: &str) -> Result<String> {
    let why = wait_for(format!("{check} to be {level}"), 4 * SOON, || {
        let health = health(world).ok()?;
        let found = health["checks"].as_array()?.iter().find(|found| found["check"] == check)?.clone();
        (found["level"] == level).then(|| found["reason"].as_str().unwrap_or_default().to_owned())
    })?;
    Ok(why)
}

#[test]
fn metrics_agree_with_the_dhcp_server() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    wait_for("the interface's name", SOON, || world.row("web").is_ok_and(|row| row["interface"] == "br00"))?;
    let text = world.host.landline_ok(binary(), &["metrics"])?;

    let lease = world.dhcp.lease_of(&world.mac("web", "br00")?).ok_or("no lease")?;
    assert_eq!(lease.ip.to_string(), bare(&world.address("web", "br00")?));
    let web = ["network=\"lan\"", "container=\"web\"", "interface=\"br00\"", "family=\"ipv4\""];
    let ends = value(&text, "landline_lease_expires_timestamp_seconds", &web)?;
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
    let off = (ends - lease.expiry as f64).abs();
    assert!(off <= 2.0, "the server says {}, the metric {ends}", lease.expiry);
    assert!(
        (value(&text, "landline_lease_state", &[&web[..], &["state=\"BOUND\""]].concat())? - 1.0).abs() < 0.1
    );
    let count = |kind: &str, direction: &str| {
        let labels =
            [&*format!("type=\"{kind}\""), &*format!("direction=\"{direction}\""), "network=\"lan\""];
        value(&text, "landline_dhcp_messages_total", &labels)
    };
    for (kind, direction) in
        [("discover", "sent"), ("offer", "received"), ("request", "sent"), ("ack", "received")]
    {
        assert!(count(kind, direction)? >= 1.0, "{kind} {direction}");
    }
    assert!(value(&text, "landline_dhcp_exchange_seconds_count", &["family=\"ipv4\""])? >= 1.0);
    assert!(
        value(&text, "landline_docker_request_seconds_count", &["verb=\"NetworkDriver.CreateEndpoint\""])?
            >= 1.0
    );
    assert!(value(&text, "landline_store_commits_total", &[])? >= 2.0);

    world.host.docker_ok(&["rm", "-f", "web"])?;
    let text = world.host.check(&[&CONTROL[..], &["http://localhost/metrics"]].concat())?;
    assert_eq!(series(&text, "landline_lease_state"), [], "it has ended");
    assert!((value(&text, "landline_endpoints", &["network=\"lan\""])?).abs() < 0.1);
    Ok(())
}

#[test]
fn health_comes_back_with_what_was_gone() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    world.row("web")?;
    for check in ["docker", "store", "parents", "leases", "starts"] {
        wait_for_check(&world, check, "ok")?;
    }
    world.host.check(&["ip", "link", "set", "br0", "down"])?;
    let why = wait_for_check(&world, "parents", "fail")?;
    assert!(why.starts_with("br0 (lan) is down"), "{why}");
    let failed =
        [&CONTROL[..], &["-o", "/dev/null", "-w", "%{http_code}", "http://localhost/health"]].concat();
    assert_eq!(world.host.check(&failed)?, "503");
    world.host.check(&["ip", "link", "set", "br0", "up"])?;
    wait_for_check(&world, "parents", "ok")?;
    assert_eq!(world.host.check(&failed)?, "200");
    world.host.check(&["ip", "link", "set", "eth0", "down"])?;
    let why = wait_for_check(&world, "parents", "fail")?;
    assert!(why.starts_with("eth0, the port of br0 (lan), is down"), "{why}");
    world.host.check(&["ip", "link", "set", "eth0", "up"])?;
    wait_for_check(&world, "parents", "ok")?;

    world.host.dockerd_stop(landline_testbed::Signal::TERM)?;
    wait_for_check(&world, "docker", "fail")?;
    world.host.dockerd_start()?;
    wait_for_check(&world, "docker", "ok")?;
    let status = world.host.landline_ok(binary(), &["status"])?;
    assert!(status.contains("\nhealth       ok\n"), "{status}");
    Ok(())
}

#[test]
fn http_is_off_unless_configured_and_answers_to_its_own_names_only() -> Result {
    let world = World::bridge()?;
    let get = |args: &[&str]| {
        let code = [&["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"], args].concat();
        world.host.exec(&code).stdout
    };
    let url = "http://127.0.0.1:9732/metrics";
    assert_eq!(get(&[url]), "000", "nothing listens");
    let write = |text: &str| {
        world.host.check(&[
            "sh",
            "-c",
            &format!("mkdir -p /etc/landline && printf '{text}' >/etc/landline/landline.toml"),
        ])
    };
    write("[http]\\nlisten = \"127.0.0.1:9732\"\\n")?;
    world.reload()?;
    wait_for("metrics over TCP", SOON, || get(&[url]) == "200")?;
    assert_eq!(get(&["-H", "Host: evil.example", url]), "421");
    assert_eq!(get(&["-X", "POST", url]), "405");
    assert_eq!(get(&["http://127.0.0.1:9732/secret"]), "404");
    assert_eq!(get(&["http://127.0.0.1:9732/health"]), "200");

    // An address that another program has is tried again whenever the configuration is read.
    write("")?;
    world.reload()?;
    wait_for("nothing to listen", SOON, || get(&[url]) == "000")?;
    let other = "python3 -c 'import socket, signal; s = socket.create_server((\"127.0.0.1\", 9732)); signal.pause()' >/dev/null 2>&1 & echo $!";
    let other = world.host.check(&["sh", "-c", other])?;
    wait_for("another program to listen", SOON, || {
        world.host.check(&["ss", "-Hltn"]).is_ok_and(|text| text.contains("127.0.0.1:9732"))
    })?;
    write("[http]\\nlisten = \"127.0.0.1:9732\"\\n")?;
    world.reload()?;
    let status = || world.host.landline(binary(), &["status"]).stdout;
    let why = "the HTTP server cannot listen on 127.0.0.1:9732";
    wait_for("the reason in landline status", SOON, || status().contains(why))?;
    world.host.check(&["kill", other.trim()])?;
    wait_for("metrics over TCP again", SOON, || world.reload().is_ok() && get(&[url]) == "200")?;
    assert!(!status().contains(why));
    write("")?;
    world.reload()?;
    wait_for("nothing to listen", SOON, || get(&[url]) == "000")?;
    Ok(())
}

#[test]
fn events_tell_a_containers_life_also_after_a_restart() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    let address = bare(&world.address("web", "br00")?).to_owned();
    let events = |args: &[&str]| -> Result<Vec<Value>> {
        let text = world_events(&world.host, args)?;
        Ok(text.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?)
    };
    let of_web = || events(&["--filter", "container=web"]).unwrap_or_default();
    wait_for("the name of the container", SOON, || !of_web().is_empty())?;
    let first = &of_web()[0];
    assert_eq!(first["kind"], "lease-acquired", "{first}");
    assert_eq!(
        [&first["network"], &first["address"]],
        [&Value::from("lan"), &address.clone().into()],
        "{first}"
    );
    let line = world.host.landline_ok(binary(), &["events", "--since", "1h", "--filter", "kind=lease-*"])?;
    assert!(line.contains(" lease-acquired  lan        web ") && line.contains(&address), "{line}");
    assert_eq!(world_events(&world.host, &["--filter", "container=nobody"])?, "");

    world.host.dockerd_stop(landline_testbed::Signal::TERM)?;
    wait_for("Docker to be gone", SOON, || {
        world_events(&world.host, &["--filter", "kind=docker-gone"]).is_ok_and(|text| !text.is_empty())
    })?;
    world.daemon.kill(landline_testbed::Signal::TERM)?;
    world.daemon.wait()?;
    world.daemon = world.host.start_landline(binary(), &[], &[])?;
    let kinds = world_events(&world.host, &[])?;
    for kind in ["lease-acquired", "docker-gone"] {
        assert!(kinds.contains(&format!("\"kind\":\"{kind}\"")), "{kind} was not kept:\n{kinds}");
    }
    Ok(())
}

#[test]
fn the_picture_has_what_there_is() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    wait_for("the interface's name", SOON, || world.row("web").is_ok_and(|row| row["interface"] == "br00"))?;
    let address = world.address("web", "br00")?;
    let tree = world.host.landline_ok(binary(), &["graph"])?;
    let trunk = "\n└─ NIC eth0\n   └─ bridge br0 (192.0.2.10/24)\n      └─ network lan (bridge)\n         └─ container web (br00 ";
    assert!(tree.starts_with("host host1") && tree.contains(trunk) && tree.contains(&address), "{tree}");
    let svg = world.host.check(&[&CONTROL[..], &["http://localhost/graph.svg"]].concat())?;
    assert!(svg.starts_with("<svg ") && svg.contains(&address), "{svg}");
    world.host.check(&["ip", "link", "set", "br0", "down"])?;
    wait_for("br0 to be down in the picture", SOON, || {
        world
            .host
            .landline_ok(binary(), &["graph"])
            .is_ok_and(|tree| tree.contains("bridge br0 (192.0.2.10/24, down) [!!]"))
    })?;
    Ok(())
}

#[test]
fn the_page_is_told_of_changes_while_somebody_looks() -> Result {
    let world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    let head = world.host.check(&[&CONTROL[..], &["-i", "http://localhost/"]].concat())?;
    assert!(head.contains("content-security-policy: default-src 'none'; script-src 'nonce-"), "{head}");
    assert!(head.contains("<!doctype html>"), "{head}");

    let listen =
        "curl -sN --unix-socket /run/landline/control.sock http://localhost/changes >/run/changes & echo $!";
    let pid = world.host.check(&["sh", "-c", listen])?;
    let notices = || world.host.check(&["cat", "/run/changes"]).unwrap_or_default();
    wait_for("the first notice", SOON, || notices().trim() == "data: 1")?;
    world.run("web", "lan", &[])?;
    wait_for("a notice of the container", SOON, || notices().contains("data: 2"))?;
    world.row("web")?;
    let state = world.host.check(&[&CONTROL[..], &["http://localhost/state.json"]].concat())?;
    let state: Value = serde_json::from_str(&state)?;
    let row = &state["endpoints"][0];
    assert_eq!([&row["container"], &row["lease_length_s"]], [&Value::from("web"), &600.into()], "{row}");
    assert_eq!(state["status"]["health"]["level"], "ok", "{state}");
    let kinds: Vec<_> =
        state["events"].as_array().ok_or("no events")?.iter().map(|event| &event["kind"]).collect();
    assert!(kinds.contains(&&Value::from("lease-acquired")), "{kinds:?}");
    world.host.check(&["kill", pid.trim()])?;
    Ok(())
}

fn world_events(host: &landline_testbed::DockerHost, args: &[&str]) -> Result<String> {
    Ok(host.landline_ok(binary(), &[&["events", "--json"], args].concat())?)
}
