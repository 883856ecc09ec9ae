//! Podman's containers: by process or namespace, and by name through the socket on which Podman speaks Docker's API.

use std::time::Duration;

use landline_testbed::{Dnsmasq, LOG_IN_DETAIL, Lan, Process, wait_for};

use crate::world::{Result, SOON, World, bare, binary};

/// Where Podman's service listens; `podman system service` as its systemd unit runs it.
const SOCKET: &str = "unix:///run/podman/podman.sock";

/// `podman` with nothing of the machine's own storage and network.
const PODMAN: [&str; 9] = [
    "podman",
    "--root",
    "/var/lib/podman",
    "--runroot",
    "/run/podman/storage",
    "--storage-driver",
    "vfs",
    "--cgroup-manager",
    "cgroupfs",
];

/// `podman ARGS` on the host, which must work.
pub(crate) fn podman(world: &World, args: &[&str]) -> Result<String> {
    Ok(world.host.check(&[&PODMAN, args].concat())?)
}

/// A host that has Podman's service and no dockerd, and a daemon that watches it.
fn start() -> Result<(World, Process)> {
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    host.node().sh(
        "mkdir -p /run/podman/storage /var/lib/podman /run/box/bin && cp /bin/busybox /run/box/bin/
         for applet in sh sleep ip; do ln -s busybox /run/box/bin/$applet; done
         tar -C /run/box -cf /run/box.tar .
         printf '[containers.allow.br0]\n' > /run/landline.toml",
    )?;
    let service = host.spawn(&[&PODMAN[..], &["system", "service", "--time", "0", SOCKET]].concat())?;
    let up = ["curl", "-sf", "--unix-socket", "/run/podman/podman.sock", "http://podman/_ping"];
    wait_for("Podman's service", Duration::from_mins(1), || host.exec(&up).success())
        .map_err(|error| format!("{error}\n{}", service.stderr()))?;
    let args = ["--docker-host", SOCKET, "--config", "/run/landline.toml"];
    let daemon = host.start_landline(binary(), &args, &[LOG_IN_DETAIL])?;
    let world = World { daemon, host, dhcp, lan };
    podman(&world, &["import", "/run/box.tar", "box"])?;
    Ok((world, service))
}

impl World {
    /// The addresses of an interface of a process' network, once it has one of them.
    fn in_podman(&self, container: &str, interface: &str, wanted: &str) -> Result<String> {
        let look = || -> Result<String> {
            let pid = podman(self, &["inspect", "-f", "{{.State.Pid}}", container])?;
            let show =
                ["nsenter", "-t", pid.trim(), "-n", "ip", "-4", "-o", "addr", "show", "dev", interface];
            let text = self.host.check(&show)?;
            let mut words = text.split_whitespace().skip_while(|word| *word != "inet");
            Ok(words.nth(1).unwrap_or_default().to_owned())
        };
        wait_for(format!("{wanted} on {interface} of {container}"), SOON, || {
            look().ok().filter(|address| !address.is_empty() && address.starts_with(wanted))
        })
        .map_err(|error| format!("{error}: {:?}\n{}", look(), self.daemon.log()).into())
    }
}

#[test]
fn containers_of_podman() -> Result {
    let (world, _service) = start()?;
    podman(&world, &["run", "-d", "--name", "web", "--network", "none", "box", "sleep", "1000"])?;

    // By its process, for as long as that is there.
    let pid = podman(&world, &["inspect", "-f", "{{.State.Pid}}", "web"])?;
    world.landline(&format!("attach br0 pid:{} 192.0.2.80/24 ifname=eth7", pid.trim()))?;
    world.lan.peer().check(&["ping", "-q", "-c1", "-W5", "192.0.2.80"])?;

    // By its name: the same again after it was restarted.
    world.landline("attach br0 web dhcp ifname=eth1")?;
    let address = world.in_podman("web", "eth1", "192.0.2.")?;
    world.lan.peer().check(&["ping", "-q", "-c1", "-W5", bare(&address)])?;
    assert_eq!(world.landline("pid web")?.trim(), pid.trim());
    podman(&world, &["restart", "-t", "0", "web"])?;
    assert_eq!(world.in_podman("web", "eth1", bare(&address))?, address);
    world.lan.peer().check(&["ping", "-q", "-c1", "-W5", bare(&address)])?;

    // By what it asks for itself.
    let label = "landline.attach=br0 192.0.2.81/24 ifname=eth2";
    podman(
        &world,
        &["run", "-d", "--name", "own", "--network", "none", "--label", label, "box", "sleep", "1000"],
    )?;
    world.in_podman("own", "eth2", "192.0.2.81/24")?;
    let variable = "pipework_cmd=br0 -i eth0 @CONTAINER_NAME@ 192.0.2.82/24";
    podman(
        &world,
        &["run", "-d", "--name", "old", "--network", "none", "-e", variable, "box", "sleep", "1000"],
    )?;
    world.in_podman("old", "eth0", "192.0.2.82/24")?;
    podman(&world, &["rm", "-f", "-t", "0", "own", "old"])?;
    wait_for("theirs to be gone", SOON, || {
        world.attached().is_ok_and(|all| all.iter().all(|a| a["container"] == "web"))
    })
    .map_err(|error| format!("{error}: {:?}\n{}", world.attached(), world.daemon.log()))?;
    world.landline("detach web")?;
    podman(&world, &["rm", "-f", "-t", "0", "web"])?;
    Ok(())
}
