//! `mode=vde` as those know it who come from docker-vde-plugin: its commands as they were, and others' machines on the
//! switch, wherever they are.

use landline_testbed::Signal;

use crate::vde::{
    HOSTS_PROGRAMS, Port, foreign_switch, foreigner, kill_switch, passes, ping, remove, simulated,
};
use crate::world::{Result, World, binary};

#[test]
fn a_network_for_virtual_machines_chains_and_containers_that_join_by_hand() -> Result {
    let mut world = World::nic()?;
    world.daemon.kill(Signal::TERM)?;
    world.daemon.wait()?;
    world.daemon = world.host.start_landline(binary(), &["--driver", "vde:mode=vde"], &[])?;
    let host = &world.host;
    host.check(&[
        "sh",
        "-ec",
        "mount -t tmpfs none /home; mkdir /home/will; echo will:x:4711: >>/etc/group",
    ])?;

    // As it is in the plugin's document.
    let create = "docker network create --driver=vde \
        -o \"socket_dir\"=\"/home/will/mynetwork\" -o \"create_sockets\"=\"true\" -o \"socket_group\"=\"will\" \
        --ip-range 192.168.123.0/24 --subnet 192.168.123.0/24 vdekvm";
    let words: Vec<&str> = create.split_whitespace().skip(1).collect();
    let words: Vec<String> = words.iter().map(|word| word.replace('"', "")).collect();
    host.docker_ok(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
    let dir = "/home/will/mynetwork";
    assert_eq!(host.check(&["stat", "-c", "%a %g", dir])?, "2770 4711");
    world.run("box1", "vdekvm", &["--ip", "192.168.123.2"])?;

    // A machine sees of a container's frames what another container does.
    foreigner(host, "far", dir, "192.168.123.50/24")?;
    ping(&world, "box1", "192.168.123.50")?;
    let (container, far) = (Port::container(&world, "box1")?, Port::foreigner("far"));
    for (what, frame) in simulated() {
        assert!(passes(&world, &container, &far, &frame)?, "{what} does not leave");
        assert!(passes(&world, &far, &container, &frame)?, "{what} does not come in");
    }

    // A cable to another switch, and one behind that.
    let mut cables = Vec::new();
    for (before, next) in [(dir, "/run/another"), ("/run/another", "/run/third")] {
        foreign_switch(host, next, &[])?;
        cables.push(host.spawn(&["dpipe", "vde_plug", before, "=", "vde_plug", next])?);
    }
    foreigner(host, "farther", "/run/third", "192.168.123.51/24")?;
    ping(&world, "box1", "192.168.123.51")?;

    // One joins from inside a container that has nothing but the directory.
    let mount = format!("{dir}:{dir}");
    let inside = ["-v", &mount, "--cap-add", "NET_ADMIN", "--device", "/dev/net/tun", "--network", "none"];
    let run = "/usr/bin/vde_plug2tap -d -s /home/will/mynetwork tap0; \
        until ip link set tap0 up; do sleep 0.1; done; ip addr add 192.168.123.52/24 dev tap0; exec sleep 1000";
    let image = ["--entrypoint", "/bin/busybox", "box", "sh", "-c", run];
    host.docker_ok(&[&["run", "-d", "--name", "joined"][..], &HOSTS_PROGRAMS, &inside, &image].concat())?;
    ping(&world, "joined", "192.168.123.2")?;
    ping(&world, "joined", "192.168.123.51")?;

    host.docker_ok(&["rm", "-f", "joined"])?;
    for name in ["far", "farther"] {
        remove(host, name)?;
    }
    for dir in ["/run/another", "/run/third"] {
        kill_switch(host, dir)?;
    }
    Ok(())
}

/// On somebody else's switch frames pass as they do there.
#[test]
fn simulations_on_a_switch_that_is_there() -> Result {
    let world = World::nic()?;
    foreign_switch(&world.host, "/run/theirs", &[])?;
    let create = ["network", "create", "-d", "landline", "-o", "mode=vde", "-o", "socket_dir=/run/theirs"];
    world.host.docker_ok(&[&create[..], &["--subnet", "198.51.100.0/24", "own"]].concat())?;
    world.run("one", "own", &["--ip", "198.51.100.2"])?;
    world.run("two", "own", &["--ip", "198.51.100.3"])?;
    ping(&world, "one", "198.51.100.3")?;
    let (one, two) = (Port::container(&world, "one")?, Port::container(&world, "two")?);
    for (what, frame) in simulated() {
        // vde_switch keeps the tags of VLANs that it was not told of.
        assert_eq!(passes(&world, &one, &two, &frame)?, what != "802.1Q", "{what}");
    }
    kill_switch(&world.host, "/run/theirs")
}
