//! In the place of other programs, by their Compose files and with their environment variables.

use landline_testbed::{Dnsmasq, DockerHost, Dockerd, Lan, wait_for};

use crate::images::{compose, image, log};
use crate::tools::second_nic;
use crate::world::{Result, SOON, World, binary};

/// `docker run` of a container without a network that asks for something.
fn ask(host: &DockerHost, name: &str, environment: &[&str]) -> Result {
    let mut command = vec!["run", "-d", "--name", name, "--network", "none"];
    command.extend(environment.iter().flat_map(|variable| ["-e", variable]));
    command.extend(["box", "sleep", "infinity"]);
    host.docker_ok(&command)?;
    Ok(())
}

/// The IPv4 addresses of a container.
fn addresses(host: &DockerHost, container: &str) -> String {
    host.docker(&["exec", container, "ip", "-4", "-o", "addr", "show", "scope", "global"]).stdout
}

fn until(host: &DockerHost, container: &str, address: &str) -> Result {
    wait_for(format!("{address} on {container}"), SOON, || addresses(host, container).contains(address))
        .map_err(|error| {
            format!("{error}: {}\n{}", addresses(host, container), log(host, "pipework", "pipework"))
        })?;
    Ok(())
}

/// Waits until the program in the container has seen another container, and one that was started after it: what it
/// would have done for the first it has begun by then.
fn seen(host: &DockerHost, container: &str) -> Result {
    let mark = format!("after-{container}");
    ask(host, &mark, &[])?;
    let look = ["exec", "pipework_pipework_1", "landline", "pid", &mark];
    wait_for(format!("word of {mark}"), SOON, || host.docker(&look).success())?;
    Ok(())
}

/// Waits until the program in the container has begun: what starts from then on is later.
fn begun(host: &DockerHost) -> Result {
    let logs = ["logs", "pipework_pipework_1"];
    wait_for("the program in the container", SOON, || {
        let said = host.docker(&logs);
        said.success() && (said.stdout.contains("ready") || said.stderr.contains("ready"))
    })?;
    Ok(())
}

#[test]
fn docker_pipework_by_its_compose_file() -> Result {
    let lan = Lan::new()?;
    let _dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let mut host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    second_nic(&lan, &host)?;
    host.check(&["ip", "address", "add", "203.0.113.10/24", "dev", "eth1"])?;
    host.dockerd(Dockerd::default())?;
    image(&host, "pipework")?;
    let up = |settings: &[&str]| compose(&host, "pipework", settings, &["up", "-d"]);

    // As it stands: those that run already, and those that start later.
    ask(&host, "first", &["pipework_cmd=br0 -i eth0 @CONTAINER_NAME@ 192.0.2.70/24"])?;
    up(&[])?;
    until(&host, "first", "192.0.2.70/24")?;
    ask(&host, "leased", &["pipework_cmd=br0 -i eth0 @CONTAINER_NAME@ udhcpc"])?;
    until(&host, "leased", "192.0.2.")?;

    // What is attached stays while it is made anew with other settings.
    ask(&host, "idle", &[])?;
    ask(&host, "early", &["pipework_cmd=br0 -i eth0 @CONTAINER_NAME@ 192.0.2.71/24", "pipework_key=other"])?;
    until(&host, "early", "192.0.2.71/24")?;
    compose(&host, "pipework", &[], &["stop"])?;
    ask(&host, "between", &["pipework_cmd=br0 -i eth0 @CONTAINER_NAME@ 192.0.2.72/24"])?;

    // Only later ones.
    up(&["run_mode=daemon"])?;
    begun(&host)?;
    ask(&host, "later", &["pipework_cmd=br0 -i eth0 @CONTAINER_NAME@ 192.0.2.73/24"])?;
    until(&host, "later", "192.0.2.73/24")?;
    assert_eq!(addresses(&host, "between"), "", "it ran before");
    assert!(addresses(&host, "first").contains("192.0.2.70/24"), "{}", addresses(&host, "first"));

    // Only what runs at the start.
    up(&["run_mode=batch"])?;
    until(&host, "between", "192.0.2.72/24")?;
    ask(&host, "too-late", &["pipework_cmd=br0 -i eth0 @CONTAINER_NAME@ 192.0.2.74/24"])?;
    seen(&host, "too-late")?;
    assert_eq!(addresses(&host, "too-late"), "");

    // Only its own command.
    up(&["run_mode=manual", "cmd=br0 -i eth7 idle 192.0.2.75/24"])?;
    until(&host, "idle", "192.0.2.75/24")?;
    assert_eq!(addresses(&host, "too-late"), "");

    // Only those with its key; the host reaches those on a NIC.
    up(&["run_mode=batch,daemon", "key=lan", "allow=br0,eth1", "host_routes=true", "debug=1"])?;
    ask(&host, "keyed", &["pipework_cmd=eth1 -i eth0 @CONTAINER_NAME@ 203.0.113.76/24", "pipework_key=lan"])?;
    until(&host, "keyed", "203.0.113.76/24")?;
    assert_eq!(addresses(&host, "too-late"), "", "it has another key");
    assert!(log(&host, "pipework", "pipework").contains(" DEBUG "));
    let route = || host.check(&["ip", "route", "show", "203.0.113.76"]).unwrap_or_default();
    wait_for("a route to it", SOON, || route().contains("dev lls"))
        .map_err(|error| format!("{error}\n{}", log(&host, "pipework", "pipework")))?;
    let ping = ["ping", "-q", "-c1", "-W1", "203.0.113.76"];
    wait_for("the host to reach it", SOON, || host.exec(&ping).success())
        .map_err(|error| format!("{error}\n{}", log(&host, "pipework", "pipework")))?;
    Ok(())
}

#[test]
fn what_is_hostile_in_the_environment_is_an_error_and_nothing_else() -> Result {
    let mut world = World::nic()?;
    world.daemon.kill(landline_testbed::Signal::TERM)?;
    world.daemon.wait()?;
    let directory = tempfile::tempdir()?;
    let marker = directory.path().join("was-run");
    let touch = marker.to_str().ok_or("no path")?;
    let state = format!("LANDLINE_STATE_DIR={}", directory.path().join("state").display());
    let program = binary().to_str().ok_or("no path")?;
    let before = world.host.snapshot()?;
    let values = [
        format!("$(touch {touch})"),
        format!("`touch {touch}`"),
        format!("eth0\ntouch {touch}"),
        format!("eth0; touch {touch}"),
        "../../etc/passwd".to_owned(),
        "a/b".to_owned(),
        "1".repeat(10_000),
        "é".repeat(5_000),
    ];
    let refused = |settings: &[String], words: &[&str]| -> Result {
        let mut argv = vec!["env", &state, "DOCKER_HOST=unix:///run/docker.sock"];
        argv.extend(settings.iter().map(String::as_str));
        argv.extend(["timeout", "20", program]);
        argv.extend(words);
        let output = world.host.exec(&argv);
        let what = || format!("{settings:.200?} {words:?}: {}{}", output.stdout, output.stderr);
        let said = output.stderr.trim();
        // `timeout` would say 124: it has begun.
        assert!(!output.success() && output.status.code() != Some(124), "{}", what());
        assert!(
            said.lines().count() == 1 && said.starts_with("landline: ") && said.len() < 700,
            "{}",
            what()
        );
        Ok(())
    };
    for value in &values {
        for variable in ["run_mode", "pipework_run_mode", "allow", "cmd", "x_pipework_cmd_1", "DOCKER_HOST"] {
            let mut settings = vec![format!("{variable}={value}")];
            if variable == "x_pipework_cmd_1" {
                settings.push("run_mode=manual".into());
            }
            refused(&settings, &["pipework-daemon"])?;
        }
        let settings = [
            ("MACVLAN_DOCKER_NETWORK", "lan"),
            ("MACVLAN_BRIDGE_IP", "192.0.2.50"),
            ("MACVLAN_BRIDGE_INTERFACE_NAME", "lan0"),
            ("ADDITIONAL_ROUTES", ""),
            ("CLEANUP_ON_EXIT", ""),
            ("DEBUG", ""),
        ];
        for (variable, _) in settings {
            // A name that a network could have is waited for.
            if variable == "MACVLAN_DOCKER_NETWORK" && !value.contains(['/', '\n']) && value.len() < 255 {
                continue;
            }
            let given = |(name, good): &(&str, &str)| {
                format!("{name}={}", if *name == variable { value.as_str() } else { good })
            };
            let given: Vec<String> = settings.iter().map(given).collect();
            refused(&given, &["host-access", "run"])?;
        }
    }
    for (settings, words) in
        [(&["MACVLAN_BRIDGE_IP=192.0.2.50"][..], "not set"), (&["MACVLAN_DOCKER_NETWORK=lan"], "not set")]
    {
        let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
        refused(&settings, &["host-access", "run"]).map_err(|error| format!("{words}: {error}"))?;
    }
    assert!(!marker.exists(), "something was run");
    assert_eq!(before.diff(&world.host.snapshot()?), "");
    Ok(())
}
