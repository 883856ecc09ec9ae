//! `mode=vde`: containers on VDE2 switches, Landline's own and others'.

use std::time::{Duration, Instant};

use landline_testbed::{DockerHost, Signal, Vm, wait_for};

use crate::tools::start_daemon;
use crate::world::{Result, SOON, World, binary};

/// `docker network create -d landline -o mode=vde ARGS NAME`.
pub(crate) fn create(world: &World, name: &str, args: &[&str]) -> Result {
    let mut command = vec!["network", "create", "-d", "landline", "-o", "mode=vde"];
    command.extend(args);
    command.push(name);
    world.host.docker_ok(&command)?;
    Ok(())
}

pub(crate) fn ping(world: &World, container: &str, target: &str) -> Result {
    wait_for(format!("{container} reaches {target}"), SOON, || {
        world.host.in_container(container, &["ping", "-c1", "-W1", target]).ok()
    })?;
    Ok(())
}

/// A machine on the host that is no container: a namespace with `vde_plug2tap`, which has this address.
pub(crate) fn foreigner(host: &DockerHost, name: &str, dir: &str, address: &str) -> Result {
    host.check(&["ip", "netns", "add", name])?;
    let inside = |argv: &[&str]| host.check(&[&["ip", "netns", "exec", name], argv].concat());
    inside(&["vde_plug2tap", "-s", dir, "-d", "tap0"])?;
    wait_for("its tap", SOON, || inside(&["ip", "link", "set", "tap0", "up"]).ok())?;
    inside(&["ip", "address", "add", address, "dev", "tap0"])?;
    Ok(())
}

pub(crate) fn remove(host: &DockerHost, foreigner: &str) -> Result {
    host.check(&["sh", "-c", &format!("kill -9 $(ip netns pids {foreigner}); ip netns del {foreigner}")])?;
    Ok(())
}

/// Debian's switch on the host.
pub(crate) fn foreign_switch(host: &DockerHost, dir: &str, args: &[&str]) -> Result {
    let pid = format!("{dir}.pid");
    host.check(&[&["vde_switch", "-s", dir, "-d", "-p", &pid, "-M", &format!("{dir}.mgmt")], args].concat())?;
    wait_for("vde_switch", SOON, || host.check(&["test", "-S", &format!("{dir}/ctl")]).ok())?;
    Ok(())
}

pub(crate) fn kill_switch(host: &DockerHost, dir: &str) -> Result {
    host.check(&["sh", "-c", &format!("kill -9 $(cat {dir}.pid); rm -rf {dir} {dir}.mgmt {dir}.pid")])?;
    Ok(())
}

/// What a switch says to a command on its management socket.
fn manage(host: &DockerHost, socket: &str, line: &str) -> Result<String> {
    let script = "import socket,sys\n\
        s=socket.socket(socket.AF_UNIX);s.settimeout(10);s.connect(sys.argv[1])\n\
        def prompt():\n\
        \x20b=b''\n\
        \x20while not b.endswith(b'vde$ '):\n\
        \x20 d=s.recv(4096)\n\
        \x20 if not d: break\n\
        \x20 b+=d\n\
        \x20return b.decode()\n\
        prompt(); s.sendall(sys.argv[2].encode()+b'\\n'); print(prompt())";
    Ok(host.check(&["/usr/bin/python3", "-c", script, socket, line])?)
}

/// Who is on the switch, a line each: its number, how it came, what it says of itself.
fn endpoints(host: &DockerHost, socket: &str) -> Result<Vec<String>> {
    let print = manage(host, socket, "port/print")?;
    Ok(print.lines().filter(|line| line.contains("endpoint ID")).map(str::to_owned).collect())
}

/// How many clients the switch has.
pub(crate) fn clients(host: &DockerHost, socket: &str) -> Result<usize> {
    Ok(endpoints(host, socket)?.iter().filter(|line| line.contains("module unix")).count())
}

/// How many ports of a switch a process has, by its own end of the cables: `vde_switch` 2.3.2 may go on listing those whose
/// other end has gone.
fn cables(host: &DockerHost, dir: &str, pid: &str) -> Result<usize> {
    let (listed, ctl) = (host.check(&["ss", "-Hxpn"])?, format!("{dir}/ctl"));
    // Type, state, two queues, and path and number of either end.
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    let ends = rows.iter().filter(|row| row.get(4) == Some(&&*ctl)).filter_map(|row| row.get(7));
    let is_own = |end: &&&str| {
        let user = format!("pid={pid},");
        rows.iter()
            .any(|row| row.get(5) == Some(end) && row.last().is_some_and(|users| users.contains(&user)))
    };
    Ok(ends.filter(is_own).count())
}

/// The pid, on the host, of the process that runs our switches.
pub(crate) fn switching(host: &DockerHost) -> Result<String> {
    Ok(host.check(&["pgrep", "-fx", "landline switches"])?)
}

pub(crate) fn kill_switching(host: &DockerHost) -> Result {
    let pid = switching(host)?;
    host.check(&["kill", "-9", &pid])?;
    wait_for("its successor", SOON, || switching(host).is_ok_and(|next| next != pid))?;
    Ok(())
}

/// A machine's interface: how to run something where it is, and its name there.
pub(crate) struct Port {
    place: Vec<String>,
    device: &'static str,
}

impl Port {
    pub(crate) fn container(world: &World, name: &str) -> Result<Self> {
        let pid = world.host.container_pid(name)?.to_string();
        Ok(Self { place: ["nsenter", "-t", &pid, "-n"].map(str::to_owned).to_vec(), device: "vde0" })
    }

    pub(crate) fn foreigner(name: &str) -> Self {
        Self { place: ["ip", "netns", "exec", name].map(str::to_owned).to_vec(), device: "tap0" }
    }

    fn python(&self, script: &str, frame: &str) -> Vec<String> {
        let rest = ["/usr/bin/python3", "-c", script, frame, self.device].map(str::to_owned);
        self.place.iter().cloned().chain(rest).collect()
    }
}

/// Sends a raw frame from one machine to another; whether it arrives.
pub(crate) fn passes(world: &World, from: &Port, to: &Port, frame: &str) -> Result<bool> {
    let listen = "import socket,sys\n\
        f=bytes.fromhex(sys.argv[1]); dev=sys.argv[2]\n\
        s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3))\n\
        s.setsockopt(263,1,socket.if_nametoindex(dev).to_bytes(4,'little')+(1).to_bytes(2,'little')+bytes(10))\n\
        s.setsockopt(263,8,1)\n\
        s.bind((dev,3)); s.settimeout(3); print('ready',flush=True)\n\
        import time; end=time.time()+3\n\
        while time.time()<end:\n\
        \x20try: d,c,_,_=s.recvmsg(10000,200)\n\
        \x20except TimeoutError: break\n\
        \x20t=b''\n\
        \x20for l,k,v in c:\n\
        \x20 n=int.from_bytes(v[16:18],'little'); st=int.from_bytes(v[:4],'little')\n\
        \x20 if st&16: t=b'\\x81\\0'+n.to_bytes(2,'big')\n\
        \x20if d[:12]+t+d[12:]==f: print('heard',flush=True); break";
    let send = "import socket,sys\n\
        s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\n\
        s.bind((sys.argv[2],0)); s.send(bytes.fromhex(sys.argv[1]))";
    let listening = to.python(listen, frame);
    let mut listener = world.host.spawn(&listening.iter().map(String::as_str).collect::<Vec<_>>())?;
    wait_for("the listener", SOON, || listener.stdout().contains("ready"))?;
    let sending = from.python(send, frame);
    world.host.check(&sending.iter().map(String::as_str).collect::<Vec<_>>())?;
    listener.wait()?;
    Ok(listener.stdout().contains("heard"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// A frame of this many bytes; what is behind the addresses is `rest` and then filler.
fn frame(destination: [u8; 6], rest: &[u8], length: usize) -> String {
    let mut frame = destination.to_vec();
    frame.extend([2, 0, 0, 0, 0, 9]);
    frame.extend(rest);
    frame.resize(length, 0x5a);
    hex(&frame)
}

/// What a bridge usually keeps to itself, or sorts.
pub(crate) fn simulated() -> Vec<(&'static str, String)> {
    let group = |last| [0x01, 0x80, 0xc2, 0, 0, last];
    vec![
        ("STP", frame(group(0), &[0, 0x26, 0x42, 0x42, 3], 60)),
        ("LACP", frame(group(2), &[0x88, 0x09, 1], 124)),
        ("LLDP", frame(group(0x0e), &[0x88, 0xcc], 60)),
        ("802.1Q", frame([0xff; 6], &[0x81, 0, 0, 5, 0x88, 0xb5], 100)),
        ("1514 bytes", frame([0xff; 6], &[0x88, 0xb5], 1514)),
    ]
}

#[test]
fn containers_and_foreign_ports_on_a_switch_of_their_own() -> Result {
    let world = World::nic()?;
    let before = world.host.snapshot()?;
    create(&world, "vdetest", &["--ip-range", "192.168.123.0/24", "--subnet", "192.168.123.0/24"])?;
    for (name, address) in [("one", "192.168.123.2"), ("two", "192.168.123.3")] {
        world.run(name, "vdetest", &["--ip", address])?;
        assert_eq!(world.address(name, "vde0")?, format!("{address}/24"));
    }
    ping(&world, "one", "192.168.123.3")?;

    // The directory is the network's; a machine that is no container joins.
    let dir = world.host.check(&["sh", "-c", "ls -d /run/landline-vde/*[0-9a-f]"])?;
    foreigner(&world.host, "far", &dir, "192.168.123.50/24")?;
    ping(&world, "one", "192.168.123.50")?;
    let mgmt = format!("{dir}.mgmt.sock");
    let hash = manage(&world.host, &mgmt, "hash/print")?;
    assert!(hash.contains("to port: 000") && hash.contains("to port: 001"), "{hash}");
    // A few megabytes over TCP each way: what the kernel would have segmented later arrives in frames that fit.
    let serve = "mkdir -p /tmp/www; head -c 3000000 /dev/zero > /tmp/www/x; busybox httpd -p 80 -h /tmp/www";
    world.host.in_container("one", &["sh", "-c", serve])?;
    world.host.check(&["ip", "netns", "exec", "far", "sh", "-c", serve])?;
    let fetch = |address: &str| format!("busybox wget -q -O - http://{address}/x | wc -c");
    let got = world.host.in_container("one", &["sh", "-c", &fetch("192.168.123.50")])?;
    assert_eq!(got.trim(), "3000000", "from the foreign port");
    let got = world.host.check(&["ip", "netns", "exec", "far", "sh", "-c", &fetch("192.168.123.2")])?;
    assert_eq!(got.trim(), "3000000", "to the foreign port");

    // What a bridge usually keeps to itself, and what is larger than usual.
    for name in ["one", "two"] {
        let pid = world.host.container_pid(name)?.to_string();
        world.host.check(&["nsenter", "-t", &pid, "-n", "ip", "link", "set", "vde0", "mtu", "9000"])?;
    }
    let (one, two) = (Port::container(&world, "one")?, Port::container(&world, "two")?);
    let large = [
        ("9000 bytes", frame([0xff; 6], &[0x88, 0xb5], 9000)),
        ("9000 bytes with a tag", frame([0xff; 6], &[0x81, 0, 0, 5, 0x88, 0xb5], 9000)),
    ];
    for (what, frame) in simulated().into_iter().chain(large) {
        assert!(passes(&world, &one, &two, &frame)?, "{what} does not pass");
    }

    world.host.docker_ok(&["rm", "-f", "one", "two"])?;
    world.host.docker_ok(&["network", "rm", "vdetest"])?;
    remove(&world.host, "far")?;
    assert!(!world.host.exec(&["test", "-e", &dir]).success(), "the directory is left");
    assert_eq!(before.diff(&world.host.snapshot()?), "");
    // What a user asked for is no fault.
    let alarming = world.daemon.log().lines().any(|line| line.contains(" WARN ") || line.contains(" ERROR "));
    assert!(!alarming, "{}", world.daemon.log());
    Ok(())
}

#[test]
fn a_switch_of_its_own_survives_the_daemon() -> Result {
    let mut world = World::nic()?;
    let dir = "/run/mynetwork";
    let subnet = ["--subnet", "198.51.100.0/24"];
    let options =
        ["-o", "socket_dir=/run/mynetwork", "-o", "create_sockets=true", "-o", "socket_group_=nogroup"];
    let more = ["-o", "management_socket=/run/mgmt", "-o", "num_switchports=1"];
    create(&world, "vdekvm", &[&subnet[..], &options, &more].concat())?;
    assert_eq!(world.host.check(&["stat", "-c", "%a %G", dir])?, "2770 nogroup");
    assert_eq!(world.host.check(&["stat", "-c", "%a %G", "/run/mynetwork/ctl"])?, "660 nogroup");
    world.run("one", "vdekvm", &["--ip", "198.51.100.2"])?;
    world.run("two", "vdekvm", &["--ip", "198.51.100.3"])?;
    foreigner(&world.host, "far", dir, "198.51.100.50/24")?;
    ping(&world, "one", "198.51.100.50")?;
    assert_eq!(clients(&world.host, "/run/mgmt")?, 1, "containers take no port");
    let name = format!("/proc/{}/comm", switching(&world.host)?);
    assert_eq!(world.host.check(&["cat", &name])?, "landline-switch");

    let there = endpoints(&world.host, "/run/mgmt")?;
    for signal in [Signal::KILL, Signal::TERM] {
        world.daemon.kill(signal)?;
        world.daemon.wait()?;
        // Nobody notices.
        for target in ["198.51.100.3", "198.51.100.50"] {
            world.host.in_container("one", &["ping", "-c3", "-i0.1", "-W5", target])?;
        }
        world.daemon = start_daemon(&world.host)?;
        ping(&world, "two", "198.51.100.50")?;
        assert_eq!(endpoints(&world.host, "/run/mgmt")?, there, "after {signal:?}");
    }
    world.run("three", "vdekvm", &["--ip", "198.51.100.4"])?;
    ping(&world, "three", "198.51.100.2")?;

    // One that was told to end runs again with the next container.
    manage(&world.host, "/run/mgmt", "shutdown")?;
    wait_for("its end", SOON, || !world.host.exec(&["test", "-e", dir]).success())?;
    ping(&world, "three", "198.51.100.2")?;
    world.run("four", "vdekvm", &["--ip", "198.51.100.5"])?;
    foreigner(&world.host, "far4", dir, "198.51.100.53/24")?;
    ping(&world, "four", "198.51.100.53")?;

    // With the process that switches go its clients' cables, and nothing else for longer than a moment.
    kill_switching(&world.host)?;
    ping(&world, "three", "198.51.100.2")?;
    foreigner(&world.host, "far5", dir, "198.51.100.54/24")?;
    ping(&world, "one", "198.51.100.54")?;
    // Somebody removes the containers' bridge: it is made again, and they are back in it.
    let links = world.host.check(&["ip", "-o", "link", "show", "type", "bridge"])?;
    let bridge = links.split(": ").nth(1).ok_or("no bridge")?.to_owned();
    let index = || world.host.exec(&["cat", &format!("/sys/class/net/{bridge}/ifindex")]).stdout;
    let before = index();
    world.host.check(&["ip", "link", "delete", &bridge])?;
    wait_for("another bridge", SOON, || !index().is_empty() && index() != before)?;
    for target in ["198.51.100.3", "198.51.100.54"] {
        ping(&world, "one", target)?;
    }
    // Nothing is left of it when nobody needs it.
    world.host.docker_ok(&["rm", "-f", "one", "two", "three", "four"])?;
    world.host.docker_ok(&["network", "rm", "vdekvm"])?;
    world.daemon.kill(Signal::TERM)?;
    world.daemon.wait()?;
    wait_for("its end", SOON, || switching(&world.host).is_err())?;
    Ok(())
}

/// Scripts of old name a driver of their own.
#[test]
fn another_driver_name_comes_with_options() -> Result {
    let mut world = World::nic()?;
    world.daemon.kill(Signal::TERM)?;
    world.daemon.wait()?;
    let args = ["--driver", "vde:mode=vde"];
    world.daemon = world.host.start_landline(binary(), &args, &[])?;
    world.host.docker_ok(&[
        "network",
        "create",
        "--driver",
        "vde",
        "--ip-range",
        "192.168.123.0/24",
        "--subnet",
        "192.168.123.0/24",
        "vdetest",
    ])?;
    world.run("one", "vdetest", &["--ip", "192.168.123.2"])?;
    world.run("two", "vdetest", &["--ip", "192.168.123.3"])?;
    ping(&world, "one", "192.168.123.3")?;
    // With its state lost, the network is known again by the driver's name.
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    world.host.check(&["sh", "-c", "rm -rf /var/lib/landline/*"])?;
    world.daemon = world.host.start_landline(binary(), &args, &[])?;
    world.row("one")?;
    world.run("three", "vdetest", &["--ip", "192.168.123.4"])?;
    ping(&world, "three", "192.168.123.2")?;
    world.daemon.kill(Signal::TERM)?;
    world.daemon.wait()?;
    assert!(!world.host.exec(&["test", "-e", "/run/docker/plugins/vde.sock"]).success());
    Ok(())
}

#[test]
fn containers_join_a_switch_that_is_there() -> Result {
    let mut world = World::nic()?;
    let before = world.host.snapshot()?;
    let (dir, mgmt) = ("/run/theirs", "/run/theirs.mgmt");
    let refused = create(&world, "early", &["--subnet", "198.51.100.0/24", "-o", "socket_dir=/run/theirs"]);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("no VDE switch runs in /run/theirs"), "{refused}");
    assert!(refused.contains("create_sockets=true"), "{refused}");

    foreign_switch(&world.host, dir, &["-n", "8"])?;
    create(&world, "own", &["--subnet", "198.51.100.0/24", "-o", "socket_dir=/run/theirs"])?;
    foreigner(&world.host, "far", dir, "198.51.100.50/24")?;
    for (name, address) in [("one", "198.51.100.2"), ("two", "198.51.100.3")] {
        world.run(name, "own", &["--ip", address])?;
        ping(&world, name, "198.51.100.50")?;
    }
    ping(&world, "one", "198.51.100.3")?;
    assert_eq!(clients(&world.host, mgmt)?, 3, "a port each");

    // Containers on one port.
    create(
        &world,
        "shared",
        &["--subnet", "203.0.113.0/24", "-o", "socket_dir=/run/theirs", "-o", "vde_ports=shared"],
    )?;
    world.run("three", "shared", &["--ip", "203.0.113.2"])?;
    world.run("four", "shared", &["--ip", "203.0.113.3"])?;
    world.host.check(&["ip", "-n", "far", "address", "add", "203.0.113.50/24", "dev", "tap0"])?;
    ping(&world, "three", "203.0.113.3")?;
    ping(&world, "four", "203.0.113.50")?;
    assert_eq!(clients(&world.host, mgmt)?, 4, "one for both");

    // The daemon may go, and comes back to all of them.
    let there = endpoints(&world.host, mgmt)?;
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    ping(&world, "one", "198.51.100.50")?;
    world.daemon = start_daemon(&world.host)?;
    assert_eq!(endpoints(&world.host, mgmt)?, there, "the switch noticed");
    // As the process that switches does.
    kill_switching(&world.host)?;
    for (name, target) in [("one", "198.51.100.50"), ("two", "198.51.100.2"), ("three", "203.0.113.50")] {
        ping(&world, name, target)?;
    }
    // vde_switch 2.3.2 may keep a ghost when several leave in one moment, so only the living are counted.
    let pid = switching(&world.host)?;
    let print = manage(&world.host, mgmt, "port/print")?;
    assert_eq!(print.matches(&format!("pid={pid}\n")).count(), 3, "{print}");

    // And so does a switch, also for one whose daemon is restarted meanwhile.
    kill_switch(&world.host, dir)?;
    ping(&world, "three", "203.0.113.3")?;
    foreign_switch(&world.host, dir, &["-n", "8"])?;
    ping(&world, "one", "198.51.100.3")?;
    kill_switch(&world.host, dir)?;
    world.daemon.kill(Signal::TERM)?;
    world.daemon.wait()?;
    world.daemon = start_daemon(&world.host)?;
    foreign_switch(&world.host, dir, &["-n", "5"])?;
    ping(&world, "one", "198.51.100.3")?;
    foreigner(&world.host, "far2", dir, "203.0.113.51/24")?;
    ping(&world, "three", "203.0.113.51")?;

    // All ports are taken: 2.3.2 has one less than it was told, and says nothing.
    let full = world.run("five", "own", &["--ip", "198.51.100.5"]).unwrap_err().to_string();
    assert!(full.contains("perhaps all its ports are taken"), "{full}");
    world.host.docker_ok(&["rm", "-f", "five", "two"])?;
    let own = switching(&world.host)?;
    wait_for("its port to be given back", SOON, || cables(&world.host, dir, &own).is_ok_and(|all| all == 2))?;

    world.host.docker_ok(&["rm", "-f", "one", "three", "four"])?;
    world.host.docker_ok(&["network", "rm", "own", "shared"])?;
    for name in ["far", "far2"] {
        remove(&world.host, name)?;
    }
    assert_eq!(before.diff(&world.host.snapshot()?), "");
    assert!(world.host.exec(&["test", "-e", "/run/theirs/ctl"]).success(), "theirs was removed");
    Ok(())
}

/// Everything a member of a switch's group can do wrong, so many times: silence, another protocol, a socket that is not there,
/// a port that is not there, a plug that is pulled at once, a console that is talked nonsense to.
const WRONG: &str = "
import os, socket, struct, sys
directory, console, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
def request(port, path):
    return struct.pack('=IIIH108s', 0xfeedface, 3, port << 8, 1, path) + b'somebody'
def say(path, words, answered=True):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(path)
        s.sendall(words)
        return s.recv(4096) if answered else b''
ctl, own = directory + '/ctl', directory + '/.somebody'
data = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
data.bind(own)
for _ in range(times):
    say(ctl, b'', False)
    assert say(ctl, b'GET / HTTP/1.1\\r\\n\\r\\n') == b''
    assert say(ctl, request(0, b'/run/nobody')) == b''
    assert say(ctl, request(999, own.encode())) == b''
    assert len(say(ctl, request(0, own.encode()))) == 110
    say(console, b'port/print nonsense\\n\\x1b[31m\\xff\\n', False)
    data.close()
    data = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    os.unlink(own)
    data.bind(own)
";

/// How often each of it is done.
const WRONGS: usize = 2000;

#[test]
fn what_its_clients_do_wrong_fills_no_log() -> Result {
    let world = World::nic()?;
    let (dir, console) = ("/run/flooded", "/run/flooded.mgmt");
    let options = ["socket_dir=/run/flooded", "create_sockets=true", "management_socket=/run/flooded.mgmt"];
    let options = options.iter().flat_map(|option| ["-o", option]);
    create(&world, "lan", &["--subnet", "198.51.100.0/24"].into_iter().chain(options).collect::<Vec<_>>())?;
    world.run("one", "lan", &["--ip", "198.51.100.2"])?;
    world.run("two", "lan", &["--ip", "198.51.100.3"])?;
    let before = (world.daemon.log().lines().count(), Instant::now());
    world.host.check(&["python3", "-c", WRONG, dir, console, &WRONGS.to_string()])?;
    ping(&world, "one", "198.51.100.3")?;
    let log = world.daemon.log();
    let said: Vec<&str> = log.lines().skip(before.0).collect();
    assert!(said.iter().any(|line| line.contains("not a VDE client")), "{said:#?}");
    // Whatever it was, once a minute.
    let most = 1 + before.1.elapsed().as_secs() / 60;
    println!("{} errors: {} lines", 6 * WRONGS, said.len());
    assert!(said.len() as u64 <= most, "{} lines: {:#?}", said.len(), &said[..20.min(said.len())]);
    Ok(())
}

/// The programs of the host in a container.
pub(crate) const HOSTS_PROGRAMS: [&str; 8] =
    ["-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro", "-v", "/etc:/etc:ro"];

/// A network on a switch of its own in `/run/mynetwork`, and a container `dhcp` on it that serves the switch.
pub(crate) fn serves_itself(world: &World) -> Result {
    let options = ["-o", "socket_dir=/run/mynetwork", "-o", "create_sockets=true"];
    create(world, "vdekvm", &[&["--subnet", "198.51.100.0/24"][..], &options].concat())?;
    let serve = [
        "--keep-in-foreground",
        "--port=0",
        "--interface=vde0",
        "--bind-interfaces",
        "--no-ping",
        "--user=root",
        "--dhcp-range=198.51.100.100,198.51.100.150,1h",
        "--dhcp-leasefile=/tmp/leases",
        "--conf-file=/dev/null",
        "--log-facility=-",
        "--pid-file",
    ];
    let head = ["run", "-d", "--name", "dhcp", "--network", "vdekvm", "--ip", "198.51.100.2"];
    let more = ["--cap-add", "NET_ADMIN", "--entrypoint", "/usr/sbin/dnsmasq"];
    world.host.docker_ok(&[&head[..], &HOSTS_PROGRAMS, &more, &["box"], &serve].concat())?;
    Ok(())
}

#[test]
fn a_dhcp_server_in_a_container_serves_containers_and_a_virtual_machine() -> Result {
    let mut world = World::nic()?;
    let dir = "/run/mynetwork";
    serves_itself(&world)?;
    world.run("web", "vdekvm", &["--ip", "198.51.100.3"])?;
    let www = "mkdir -p /tmp/www; head -c 3000000 /dev/zero > /tmp/www/x; busybox httpd -p 80 -h /tmp/www";
    world.host.in_container("web", &["sh", "-c", www])?;

    // Another network on the same switch, whose containers have their addresses from that server.
    let options = ["addressing=dhcp", "release_after=1s", "socket_dir=/run/mynetwork"];
    let options = options.iter().flat_map(|option| ["-o", option]);
    create(&world, "leased", &["--ipam-driver", "null"].into_iter().chain(options).collect::<Vec<_>>())?;
    world.run("client", "leased", &[])?;
    let address = world.address("client", "vde0")?;
    assert!(address.starts_with("198.51.100.1"), "{address}");
    ping(&world, "client", "198.51.100.3")?;

    // The port of one that is removed is gone when its lease is given back.
    world.run("brief", "leased", &[])?;
    let brief = world.address("brief", "vde0")?;
    world.host.docker_ok(&["rm", "-f", "brief"])?;
    let released = format!("DHCPRELEASE(vde0) {} ", brief.split('/').next().unwrap_or_default());
    wait_for("its lease to be released", SOON, || {
        let log = world.host.docker(&["logs", "dhcp"]);
        (log.stdout + &log.stderr).contains(&released)
    })?;

    // The same subnet elsewhere is none of their business.
    create(&world, "apart", &["--ipam-driver", "landline", "--subnet", "198.51.100.0/24"])?;
    world.run("other", "apart", &["--ip", "198.51.100.2"])?;
    world.run("another", "apart", &["--ip", "198.51.100.3"])?;
    ping(&world, "other", "198.51.100.3")?;
    assert_ne!(world.mac("another", "vde0")?, world.mac("web", "vde0")?);
    let neighbour = world.host.in_container("other", &["ip", "neigh", "show", "198.51.100.3"])?;
    assert!(neighbour.contains(&world.mac("another", "vde0")?), "{neighbour}");

    let Some(vm) = Vm::prepare_or_skip()? else { return Ok(()) };
    let task =
        "udhcpc -i eth0 -q -t 20 -n\nwget -q -O - http://198.51.100.3/x | wc -c | sed 's/^/guest: got /'\n";
    let guest = world.host.vde_guest(&vm, dir, task)?;
    wait_for("the virtual machine", Duration::from_mins(2), || guest.stdout().contains("guest: done"))?;
    let said = guest.stdout();
    assert!(said.contains("guest: got 3000000"), "{said}");
    let lease = said.split("guest: lease ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let lease = lease.ok_or(format!("no lease: {said}"))?.to_owned();
    ping(&world, "web", &lease)?;
    ping(&world, "client", &lease)?;

    // None of them notices that the daemon goes.
    world.daemon.kill(Signal::KILL)?;
    world.daemon.wait()?;
    ping(&world, "web", &lease)?;
    world.daemon = start_daemon(&world.host)?;
    ping(&world, "web", &lease)?;
    ping(&world, "client", &lease)?;
    ping(&world, "client", "198.51.100.3")?;
    Ok(())
}
