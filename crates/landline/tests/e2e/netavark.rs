//! The netavark plugin: with the requests that netavark sent, and with the Podman of another suite.

use landline_testbed::Signal;
use serde_json::{Value, json};

use crate::world::{Result, World, bare, binary};

/// The arguments and standard input of setup, teardown and create, as netavark 1.14, 1.17 and 2.0 sent them.
const RECORDED: &str = include_str!("../../../runtimes/tests/recordings/netavark.jsonl");

#[test]
fn what_netavark_sent() -> Result {
    let mut world = World::nic()?;
    world.host.check(&["ip", "netns", "add", "econs"])?;
    let interface =
        |world: &World| world.host.exec(&["ip", "-n", "econs", "-4", "-o", "address", "show", "eth0"]);
    let mut addresses = Vec::new();
    for line in RECORDED.lines() {
        let line: Value = serde_json::from_str(line)?;
        let words: Vec<&str> =
            line["argv"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let (success, answer) = world.plugin(&[], &words[1..], line["stdin"].as_str().unwrap_or_default())?;
        assert!(success, "{words:?}: {answer}\n{}", world.daemon.log());
        match words[1] {
            "create" => assert_eq!(answer["ipam_options"]["driver"], "dhcp"),
            "setup" => {
                let eth0 = &answer["interfaces"]["eth0"];
                assert_eq!(eth0["mac_address"], "aa:bb:cc:dd:aa:00", "{answer}");
                assert_eq!(eth0["subnets"][0]["gateway"], "192.0.2.1");
                let address = eth0["subnets"][0]["ipnet"].as_str().unwrap_or_default().to_owned();
                assert!(interface(&world).stdout.contains(&address), "{address}");
                world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
                addresses.push(address);
            }
            _ => assert!(answer.is_null() && !interface(&world).success()),
        }
    }
    addresses.dedup();
    assert_eq!(addresses.len(), 1, "{addresses:?}");
    assert_eq!(world.row("web")?["network"], "netavark:lan");

    let info = world.plugin(&[], &["info"], "")?;
    assert_eq!((info.0, &info.1["api_version"]), (true, &json!("1.0.0")));
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    let last: Value = serde_json::from_str(RECORDED.lines().last().unwrap_or_default())?;
    let input = last["stdin"].as_str().unwrap_or_default();
    let (success, refused) = world.plugin(&[], &["teardown", "/run/netns/econs"], input)?;
    let said = refused["error"].as_str().unwrap_or_default();
    assert!(!success && said.contains("cannot reach the daemon"), "{refused}");
    Ok(())
}

/// A container engine in a file system of its own, on the host: `LANDLINE_TEST_PODMAN` is a directory into which Podman 5,
/// netavark and what they need were unpacked. It stays as it is.
fn unpack(world: &World, root: &str) -> Result {
    world.host.node().sh(&format!(
        r#"mount --make-rshared /run
        mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work /mnt/root
        mount -t overlay -o lowerdir={root},upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
        for tree in proc sys dev run; do mkdir -p /mnt/root/$tree; mount --rbind /$tree /mnt/root/$tree; done
        cd /mnt/root && mkdir -p usr/lib/netavark etc/containers var/lib/podman tmp var/tmp /run/podman/storage
        # The one that runs on this machine's control groups.
        cp /usr/sbin/runc usr/bin/runc
        cp {} usr/lib/netavark/landline
        cp /etc/passwd /etc/group etc/
        echo '{{"default":[{{"type":"insecureAcceptAnything"}}]}}' > etc/containers/policy.json
        mkdir -p /run/box/bin && cp /bin/busybox /run/box/bin/
        for applet in sh sleep ip; do ln -s busybox /run/box/bin/$applet; done
        tar -C /run/box -cf /run/box.tar ."#,
        binary().display()
    ))?;
    Ok(())
}

#[test]
#[ignore = "needs LANDLINE_TEST_PODMAN, a directory with an unpacked Podman 5 and netavark"]
fn the_podman_of_another_suite() -> Result {
    let world = World::bridge()?;
    unpack(&world, &std::env::var("LANDLINE_TEST_PODMAN")?)?;
    let podman = |words: &str| {
        let start = "env PODMAN_IGNORE_CGROUPSV1_WARNING=1 chroot /mnt/root podman --root /var/lib/podman --runroot \
                     /run/podman/storage --storage-driver vfs --cgroup-manager cgroupfs --runtime /usr/bin/runc";
        world.host.exec(&start.split_whitespace().chain(words.split_whitespace()).collect::<Vec<_>>())
    };
    let ok = |words: &str| -> Result<String> {
        let output = podman(words);
        if output.success() { Ok(output.stdout) } else { Err(format!("{words}: {output:?}").into()) }
    };
    let address = |name: &str| -> Result<String> {
        let row = world.row(name)?;
        let address = row["address"].as_str().ok_or_else(|| format!("no address: {row}"))?.to_owned();
        assert!(ok(&format!("exec {name} ip -o address"))?.contains(&address), "{address}");
        world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
        Ok(address)
    };
    ok("import /run/box.tar box")?;
    let refused = podman("network create -d landline -o parnet=br0 lan").stderr;
    assert!(refused.contains("did you mean parent?"), "{refused}");
    ok("network create -d landline -o parent=br0 lan")?;
    ok("run -d --name web --network lan box sleep 1000")?;
    let first = address("web")?;
    ok("restart -t 0 web")?;
    assert_eq!(address("web")?, first);
    ok("network reload web")?;
    assert_eq!(address("web")?, first);
    ok("rm -f -t 0 web")?;
    assert!(world.attached()?.is_empty());
    ok("run -d --name web --network lan box sleep 1000")?;
    assert_eq!(address("web")?, first);

    ok("network create -d landline -o parent=br0 --subnet 192.0.2.0/24 --gateway 192.0.2.1 fixed")?;
    ok("run -d --name two --network fixed:ip=192.0.2.77,mac=02:00:00:00:00:77 box sleep 1000")?;
    assert_eq!(address("two")?, "192.0.2.77/24");
    assert_eq!(world.row("two")?["mac"], "02:00:00:00:00:77");
    ok("run -d --name both --network lan --network fixed:ip=192.0.2.78 box sleep 1000")?;
    assert_eq!(ok("exec both ip -o link")?.lines().count(), 3);
    assert_eq!(ok("exec both ip route show default")?.lines().count(), 1);
    ok("rm -f -t 0 web two both")?;
    assert!(world.attached()?.is_empty() && world.marked_links()?.is_empty());
    Ok(())
}
