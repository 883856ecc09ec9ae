//! The CNI plugin: called by hand as container runtimes do, by containerd and by Podman.

use std::time::Duration;

use landline_testbed::{LOG_IN_DETAIL, Signal, wait_for};
use serde_json::{Value, json};

use crate::tools::{at_once, names};
use crate::world::{Result, SOON, World, bare, binary};

/// A network on `br0`, in this version, with further keys.
pub(crate) fn network(version: &str, more: Value) -> Value {
    let mut config = json!({"cniVersion": version, "name": "lan", "type": "landline", "parent": "br0"});
    if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
        config.extend(more);
    }
    config
}

impl World {
    /// Runs the program as a runtime's plugin. What it prints, and whether it succeeds; nothing printed is null.
    pub(crate) fn plugin(&self, variables: &[String], words: &[&str], input: &str) -> Result<(bool, Value)> {
        let script = r#"input=$1; shift; printf %s "$input" | exec env "$@""#;
        let program = binary().display().to_string();
        let mut argv = vec!["sh", "-c", script, "sh", input];
        argv.extend(variables.iter().map(String::as_str));
        argv.push(&program);
        argv.extend(words);
        let output = self.host.exec(&argv);
        let text = if output.stdout.trim().is_empty() { "null" } else { &output.stdout };
        let answer = serde_json::from_str(text).map_err(|error| format!("{error}: {output:?}"))?;
        Ok((output.success(), answer))
    }
}

/// A network namespace of the host's that a container is in.
struct Pod<'a> {
    world: &'a World,
    id: String,
    arguments: String,
}

impl<'a> Pod<'a> {
    fn new(world: &'a World, id: &str, arguments: &str) -> Result<Self> {
        world.host.check(&["ip", "netns", "add", id])?;
        Ok(Self { world, id: id.to_owned(), arguments: arguments.to_owned() })
    }

    fn call(&self, command: &str, interface: &str, config: &Value) -> Result<(bool, Value)> {
        let netns = if command == "DEL" { String::new() } else { format!("/run/netns/{}", self.id) };
        let variables = [
            format!("CNI_COMMAND={command}"),
            format!("CNI_CONTAINERID={}", self.id),
            format!("CNI_NETNS={netns}"),
            format!("CNI_IFNAME={interface}"),
            format!("CNI_ARGS={}", self.arguments),
        ];
        self.world.plugin(&variables, &[], &config.to_string())
    }

    fn ok(&self, command: &str, interface: &str, config: &Value) -> Result<Value> {
        let (success, answer) = self.call(command, interface, config)?;
        if success {
            return Ok(answer);
        }
        Err(format!("{command} for {}: {answer}\n{}", self.id, self.world.daemon.log()).into())
    }

    /// The code of a failure.
    fn code(&self, command: &str, interface: &str, config: &Value) -> Result<u64> {
        let (success, answer) = self.call(command, interface, config)?;
        match answer["code"].as_u64() {
            Some(code) if !success => Ok(code),
            _ => Err(format!("{command} did not fail: {answer}").into()),
        }
    }

    fn ip(&self, args: &[&str]) -> Result<String> {
        Ok(self.world.host.check(&[&["ip", "-n", &self.id], args].concat())?)
    }
}

/// The first address of a result.
fn address(result: &Value) -> Result<String> {
    Ok(result["ips"][0]["address"].as_str().ok_or_else(|| format!("no address: {result}"))?.to_owned())
}

/// A configuration with what ADD said.
fn after(config: &Value, result: &Value) -> Value {
    let mut config = config.clone();
    config["prevResult"] = result.clone();
    config
}

#[test]
fn from_add_to_del() -> Result {
    let mut world = World::bridge()?;
    let config = network("1.1.0", json!({}));
    let arguments = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0";
    let links = world.marked_links()?;
    let (result, first) = {
        let pod = Pod::new(&world, "a", arguments)?;
        assert_eq!(pod.ok("STATUS", "", &config)?, Value::Null);
        let result = pod.ok("ADD", "eth0", &config)?;
        let first = address(&result)?;
        assert!(first.ends_with("/24"), "{result}");
        assert_eq!(result["ips"][0]["gateway"], "192.0.2.1");
        assert_eq!(result["interfaces"][0]["sandbox"], "/run/netns/a");
        assert_eq!(result["routes"], json!([{"dst": "0.0.0.0/0", "gw": "192.0.2.1"}]));
        assert!(result["dns"]["nameservers"].is_array(), "{result}");
        world.lan.peer().check(&["ping", "-c1", "-W5", bare(&first)])?;
        let row = world.row("shop/web-0")?;
        assert_eq!((row["network"].as_str(), row["state"].as_str()), (Some("cni:lan"), Some("BOUND")));
        let lease = world.lease_of(row["mac"].as_str().unwrap_or_default())?;
        assert_eq!(lease.hostname.as_deref(), Some("web-0"));
        assert_eq!(pod.ok("CHECK", "eth0", &after(&config, &result))?, Value::Null);
        // Asked again for what is there, it says the same.
        assert_eq!(pod.ok("ADD", "eth0", &config)?, result);
        (result, first)
    };

    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    let checked = after(&config, &result);
    {
        let pod = Pod { world: &world, id: "a".into(), arguments: arguments.into() };
        for command in ["ADD", "CHECK", "DEL"] {
            assert_eq!(pod.code(command, "eth0", &checked)?, 11, "{command}");
        }
        assert_eq!(pod.code("STATUS", "", &config)?, 50);
        assert_eq!(pod.ok("VERSION", "", &config)?["cniVersion"], "1.1.0");
    }
    world.daemon = world.host.start_landline(binary(), &[], &[LOG_IN_DETAIL])?;
    let pod = Pod { world: &world, id: "a".into(), arguments: arguments.into() };
    pod.ok("CHECK", "eth0", &checked)?;
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&first)])?;
    // Somebody takes its address away.
    pod.ip(&["address", "delete", &first, "dev", "eth0"])?;
    assert_eq!(pod.code("CHECK", "eth0", &checked)?, 103);

    pod.ok("DEL", "eth0", &checked)?;
    pod.ok("DEL", "eth0", &checked)?;
    assert_eq!(pod.code("CHECK", "eth0", &checked)?, 103);
    assert!(!pod.ip(&["-o", "link"])?.contains("eth0"));
    assert_eq!(world.marked_links()?, links);
    assert!(world.attached()?.is_empty());
    // The pod that has its name next has its address.
    let next = Pod::new(&world, "b", arguments)?;
    assert_eq!(address(&next.ok("ADD", "eth0", &config)?)?, first);
    let other = Pod::new(&world, "c", "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1")?;
    assert_ne!(address(&other.ok("ADD", "eth0", &config)?)?, first);
    Ok(())
}

#[test]
fn every_version_and_what_is_refused() -> Result {
    let world = World::bridge()?;
    for (number, version) in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"].into_iter().enumerate() {
        let pod = Pod::new(&world, &format!("v{number}"), "")?;
        let config = network(version, json!({"addressing": "static", "gateway": "192.0.2.1"}));
        let ips = json!({"runtimeConfig": {"ips": [format!("192.0.2.{}/24", 50 + number)]}});
        let mut add = config.clone();
        add["runtimeConfig"] = ips["runtimeConfig"].clone();
        let result = pod.ok("ADD", "net1", &add)?;
        assert_eq!(result["cniVersion"], version);
        assert_eq!(address(&result)?, format!("192.0.2.{}/24", 50 + number));
        assert_eq!(result["ips"][0].get("version").is_some(), number < 3, "{result}");
        world.lan.peer().check(&["ping", "-c1", "-W5", &format!("192.0.2.{}", 50 + number)])?;
        if number >= 2 {
            pod.ok("CHECK", "net1", &after(&config, &result))?;
        }
        if version != "1.1.0" {
            pod.ok("DEL", "net1", &config)?;
        }
    }
    let pod = Pod::new(&world, "bad", "")?;
    let config = |more| network("1.1.0", more);
    pod.ip(&["link", "add", "eth9", "type", "veth", "peer", "name", "eth8"])?;
    for (interface, config, code) in [
        ("eth0", config(json!({"parent": "br7"})), 11),
        ("eth0", config(json!({"mode": "macvlan", "parent": "lo"})), 7),
        ("eth0", config(json!({"runtimeConfig": {"deviceID": "0000:03:00.0"}})), 7),
        ("eth0", config(json!({"addressing": "static", "args": {"cni": {"ips": ["192.0.2.2/24"]}}})), 101),
        ("eth9", config(json!({})), 102),
    ] {
        assert_eq!(pod.code("ADD", interface, &config)?, code, "{config}");
    }
    let gone = Pod { world: &world, id: "gone".into(), arguments: String::new() };
    assert_eq!(gone.code("ADD", "eth0", &config(json!({})))?, 3);
    assert_eq!(pod.ip(&["-o", "link"])?.lines().count(), 3);

    // Only what is not listed ends, and only on this network.
    let kept = Pod::new(&world, "kept", "")?;
    let result = kept.ok("ADD", "eth0", &config(json!({})))?;
    let other = Pod::new(&world, "other", "")?;
    other.ok("ADD", "eth0", &config(json!({"name": "other"})))?;
    assert_eq!(world.attached()?.len(), 3);
    let list = json!([{"containerID": "kept", "ifname": "eth0"}]);
    kept.ok("GC", "", &config(json!({"cni.dev/valid-attachments": list})))?;
    let left: Vec<Value> = world.attached()?.iter().map(|one| one["container"].clone()).collect();
    assert_eq!(left, ["kept", "other"]);
    kept.ok("CHECK", "eth0", &after(&config(json!({})), &result))?;
    Ok(())
}

#[test]
fn the_first_network_has_the_default_route() -> Result {
    let world = World::bridge()?;
    let pod = Pod::new(&world, "a", "")?;
    pod.ip(&["link", "add", "eth0", "type", "veth", "peer", "name", "far"])?;
    for link in ["eth0", "far"] {
        pod.ip(&["link", "set", link, "up"])?;
    }
    pod.ip(&["address", "add", "198.51.100.9/24", "dev", "eth0"])?;
    pod.ip(&["route", "add", "default", "via", "198.51.100.1"])?;
    let before = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "eth0", "sandbox": "/run/netns/a"}],
        "ips": [{"interface": 0, "address": "198.51.100.9/24"}],
    });
    // The second plugin of a list.
    let result = pod.ok("ADD", "net1", &after(&network("1.0.0", json!({})), &before))?;
    assert_eq!(result["interfaces"].as_array().map(Vec::len), Some(2), "{result}");
    assert_eq!(result["ips"][1]["interface"], 1);
    assert!(result["ips"][1].get("gateway").is_none() && result["routes"] == json!([]), "{result}");
    assert_eq!(pod.ip(&["route", "show", "default"])?.trim(), "default via 198.51.100.1 dev eth0");
    let own = result["ips"][1]["address"].as_str().unwrap_or_default();
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(own)])?;
    Ok(())
}

#[test]
fn a_container_that_ends_without_a_word() -> Result {
    let mut world = World::bridge()?;
    let config = network("1.0.0", json!({}));
    let first = address(&Pod::new(&world, "a", "K8S_POD_NAME=web")?.ok("ADD", "eth0", &config)?)?;
    // While the daemon is away, too.
    world.daemon.kill(Signal::KILL)?;
    world.host.node().sh("ip netns delete a; ip netns add a")?;
    world.daemon = world.host.start_landline(binary(), &[], &[LOG_IN_DETAIL])?;
    wait_for("its attachment to end", SOON, || world.attached().is_ok_and(|all| all.is_empty()))
        .map_err(|error| format!("{error}\n{}", world.daemon.log()))?;
    let pod = Pod { world: &world, id: "a".into(), arguments: "K8S_POD_NAME=web".into() };
    assert_eq!(address(&pod.ok("ADD", "eth0", &config)?)?, first);
    world.host.check(&["ip", "netns", "delete", "a"])?;
    wait_for("its attachment to end", SOON, || world.attached().is_ok_and(|all| all.is_empty()))
        .map_err(|error| format!("{error}\n{}", world.daemon.log()))?;
    assert!(world.marked_links()?.is_empty(), "{:?}", world.marked_links()?);
    pod.ok("DEL", "eth0", &config)?;
    world.host.check(&["ip", "netns", "add", "a"])?;
    assert_eq!(address(&pod.ok("ADD", "eth0", &config)?)?, first);
    // Another namespace under the same path, before anything could be seen.
    world.host.node().sh("ip netns delete a; ip netns add a")?;
    assert_eq!(address(&pod.ok("ADD", "eth0", &config)?)?, first);
    assert_eq!(world.attached()?.len(), 1);
    Ok(())
}

#[test]
fn fifty_at_once() -> Result {
    let world = World::bridge()?;
    let names = names("c", 50);
    let config = network("1.1.0", json!({"lease_timeout": "30s"}));
    for name in &names {
        Pod::new(&world, name, "")?;
    }
    let pod = |name: &str| Pod { world: &world, id: name.to_owned(), arguments: String::new() };
    let started = std::time::Instant::now();
    at_once(&names, |name| pod(name).ok("ADD", "eth0", &config).map(drop))?;
    eprintln!("50 ADDs took {:?}", started.elapsed());
    let addresses: std::collections::BTreeSet<String> = world.ls()?["endpoints"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| Some(row["address"].as_str()?.to_owned()))
        .collect();
    assert_eq!(addresses.len(), 50);
    at_once(&names, |name| pod(name).ok("DEL", "eth0", &config).map(drop))?;
    assert!(world.attached()?.is_empty() && world.marked_links()?.is_empty());
    Ok(())
}

/// Puts the program and a network where runtimes look for them, and a file system for containers into `/run/box`.
fn install(world: &World, config: &Value) -> Result {
    let list = json!({"cniVersion": config["cniVersion"], "name": config["name"], "plugins": [config]});
    let list = list.to_string().replace('\'', "");
    world.host.node().sh(&format!(
        "mount -t tmpfs tmpfs /opt && mkdir -p /opt/cni/bin /etc/cni/net.d && rm -f /etc/cni/net.d/*
         ln -s {} /opt/cni/bin/landline
         printf %s '{list}' > /etc/cni/net.d/10-lan.conflist
         mkdir -p /run/box/bin /run/box/proc /run/box/dev /run/box/sys /run/box/etc && cp /bin/busybox /run/box/bin/
         for applet in sh sleep ip; do ln -s busybox /run/box/bin/$applet; done",
        binary().display()
    ))?;
    Ok(())
}

/// What may be declared and is not asked for.
fn capabilities() -> Value {
    json!({"capabilities": {"ips": true, "mac": true, "dns": true, "portMappings": true, "aliases": true}})
}

#[test]
fn a_container_of_containerd() -> Result {
    let world = World::bridge()?;
    install(&world, &network("1.0.0", capabilities()))?;
    let ctr = ["ctr", "-a", "/run/docker/containerd/containerd.sock"];
    let run = ["run", "--rm", "--cni", "--cgroup", "", "--rootfs", "/run/box", "web", "/bin/sleep", "1000"];
    let mut container = world.host.spawn(&[&ctr[..], &run].concat())?;
    let address = wait_for("its address", SOON, || {
        let row = world.row("default-web").ok()?;
        row["address"].as_str().map(str::to_owned)
    })
    .map_err(|error| format!("{error}\n{}", container.stderr()))?;
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
    wait_for("the task", SOON, || {
        world.host.exec(&[&ctr[..], &["task", "kill", "-s", "SIGKILL", "web"]].concat()).success()
    })?;
    container.wait_within(Duration::from_secs(30))?;
    assert!(!container.stderr().contains("cni"), "{}", container.stderr());
    assert!(world.attached()?.is_empty());
    Ok(())
}

#[test]
fn a_container_of_podman() -> Result {
    let world = World::bridge()?;
    install(&world, &network("0.4.0", capabilities()))?;
    world.host.node().sh(
        "mkdir -p /etc/containers /run/podman/storage /var/lib/podman && tar -C /run/box -cf /run/box.tar .
         printf '[network]\nnetwork_backend = \"cni\"\ncni_plugin_dirs = [\"/opt/cni/bin\"]\n' \
             > /etc/containers/containers.conf",
    )?;
    let podman = |args: &[&str]| crate::podman::podman(&world, args);
    podman(&["import", "/run/box.tar", "box"])?;
    podman(&["run", "-d", "--name", "web", "--network", "lan", "box", "sleep", "1000"])?;
    let address = || -> Result<String> {
        let row = world.row("web")?;
        let address = row["address"].as_str().ok_or("no address")?.to_owned();
        assert!(podman(&["exec", "web", "ip", "-o", "address"])?.contains(&address), "{address}");
        world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
        Ok(address)
    };
    let first = address()?;
    podman(&["restart", "-t", "0", "web"])?;
    assert_eq!(address()?, first);
    podman(&["rm", "-f", "-t", "0", "web"])?;
    assert!(world.attached()?.is_empty());
    // It is recreated under its name.
    podman(&["run", "-d", "--name", "web", "--network", "lan", "box", "sleep", "1000"])?;
    assert_eq!(address()?, first);
    podman(&["rm", "-f", "-t", "0", "web"])?;
    Ok(())
}
