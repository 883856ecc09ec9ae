//! The process that runs switches as a service of its own, started by whoever listens on its socket.

use landline_testbed::{Signal, wait_for};

use crate::vde::{create, foreigner, kill_switching, ping, switching};
use crate::world::{Result, SOON, World, binary};

/// As systemd does for a socket unit: listens, and starts the service when somebody connects and it does not run.
const MANAGER: &str = "\
import os, select, socket, subprocess, sys\n\
path = sys.argv[1]\n\
os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)\n\
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n\
listener.bind(path)\n\
listener.listen(64)\n\
while True:\n\
\x20select.select([listener], [], [])\n\
\x20subprocess.run(['landline', 'switches'], executable=sys.argv[2], stdin=listener)\n";

const SOCKET: &str = "/run/landline-vde.control/systemd.sock";

/// Whether the switch takes clients: after its process its sockets are there again, and somewhat later somebody listens.
fn runs(world: &World) -> bool {
    let connect = "import socket; socket.socket(socket.AF_UNIX).connect('/run/sw1/ctl')";
    world.host.exec(&["python3", "-c", connect]).success()
}

#[test]
fn the_service_manager_starts_it_and_the_daemon_finds_it() -> Result {
    let mut world = World::nic()?;
    world.daemon.kill(Signal::TERM)?;
    world.daemon.wait()?;
    let environment = [("LANDLINE_SWITCHES_SOCKET", SOCKET)];
    let binary_path = binary().to_str().ok_or("no UTF-8")?;
    let script = format!(
        "setsid python3 -c \"$1\" {SOCKET} {binary_path} </dev/null >/run/manager.log 2>&1 & echo $! >/run/manager.pid"
    );
    world.host.check(&["sh", "-c", &script, "sh", MANAGER])?;
    wait_for("its socket", SOON, || world.host.exec(&["test", "-S", SOCKET]).success())?;
    world.daemon = world.host.start_landline(binary(), &[], &environment)?;
    assert!(switching(&world.host).is_err(), "it runs before it is needed");

    create(
        &world,
        "vde1",
        &["--subnet", "198.51.100.0/24", "-o", "socket_dir=/run/sw1", "-o", "create_sockets=true"],
    )?;
    let manager = world.host.check(&["cat", "/run/manager.pid"])?;
    let started_by = |pid: &str| world.host.check(&["ps", "-o", "ppid=", "-p", pid]);
    let pid = switching(&world.host)?;
    assert_eq!(started_by(&pid)?.trim(), manager);
    world.run("one", "vde1", &["--ip", "198.51.100.2"])?;
    foreigner(&world.host, "far", "/run/sw1", "198.51.100.50/24")?;
    ping(&world, "one", "198.51.100.50")?;

    // Another daemon finds it, and when it ends it is started again.
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.daemon = world.host.start_landline(binary(), &[], &environment)?;
    assert_eq!(switching(&world.host)?, pid);
    kill_switching(&world.host)?;
    assert_eq!(started_by(&switching(&world.host)?)?.trim(), manager);
    wait_for("the switch", SOON, || runs(&world))?;
    foreigner(&world.host, "far2", "/run/sw1", "198.51.100.51/24")?;
    ping(&world, "one", "198.51.100.51")?;

    // Without a manager the daemon does without.
    world.host.check(&["kill", "-9", &manager])?;
    world.host.check(&["rm", SOCKET])?;
    kill_switching(&world.host)?;
    wait_for("the switch", SOON, || runs(&world))?;
    foreigner(&world.host, "far3", "/run/sw1", "198.51.100.52/24")?;
    ping(&world, "one", "198.51.100.52")?;
    assert!(
        world.daemon.log().contains("the service manager runs no VDE switches"),
        "{}",
        world.daemon.log()
    );
    Ok(())
}
