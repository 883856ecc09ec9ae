//! Our switch, with clients of all kinds.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Instant;

use landline_types::Mac;
use landline_vde::{
    DirError, Plug, PlugError, REPLY_LEN, Request, Switch, SwitchError, Version, parse_reply,
};

use crate::lab::{
    DEADLINE, ForeignPlug, Place, Program, client_socket, frame, is_quiet, next, plug, text, wait_for,
};

fn ports(switch: &Switch) -> Vec<u16> {
    switch.ports().unwrap().iter().map(|port| port.number).collect()
}

#[test]
fn vde_plugs_hear_each_other_and_frames_go_where_they_belong() {
    let place = Place::new();
    let switch = place.switch("sw");
    let mut a = ForeignPlug::start(&place.path("sw"));
    wait_for("the first is there", || ports(&switch) == [1]);
    let mut b = ForeignPlug::start(&place.path("sw"));
    wait_for("the second is there", || ports(&switch) == [1, 2]);
    let c = plug(&place.path("sw"));
    wait_for("all are there", || ports(&switch) == [1, 2, 3]);

    a.send(&frame(1, 0xff, 60));
    assert_eq!(b.next(), frame(1, 0xff, 60));
    assert_eq!(next(&c), frame(1, 0xff, 60));
    // What vde_plug can carry, and b's answers go to a alone.
    for length in [14, 15, 59, 60, 64, 1514, 1518] {
        b.send(&frame(2, 1, length));
        assert_eq!(a.next(), frame(2, 1, length), "{length}");
    }
    assert!(is_quiet(&c), "c hears what is not for it");
    let view = switch.ports().unwrap();
    assert_eq!((view[1].counters.frames_in, view[0].counters.frames_out), (7, 7));
    assert!(view[0].endpoints[0].contains("user=root"), "{view:?}");

    // One that is killed gives its port back, and its address is forgotten.
    a.program.kill();
    wait_for("its port is free", || ports(&switch) == [2, 3]);
    b.send(&frame(2, 1, 60));
    assert_eq!(next(&c), frame(2, 1, 60));
}

#[test]
fn frames_of_all_sizes_pass() {
    let place = Place::new();
    let _switch = place.switch("sw");
    let (a, b) = (plug(&place.path("sw")), plug(&place.path("sw")));
    assert!(b.send(&frame(2, 0xff, 60)));
    assert_eq!(next(&a), frame(2, 0xff, 60));
    for length in (0..100).chain((100..9000).step_by(97)).chain([1514, 1518, 1519, 4096, 9000]) {
        let sent = frame(1, 2, 9000)[..length].to_vec();
        assert!(a.send(&sent));
        if length >= 14 {
            assert_eq!(next(&b), sent, "{length}");
        }
    }
    for too_long in [9235, 65_000] {
        assert!(a.send(&frame(1, 2, too_long)));
    }
    assert!(a.send(&frame(1, 2, 9234)));
    assert_eq!(next(&b).len(), 9234, "and longer ones are dropped");
}

#[test]
fn a_full_switch_says_so() {
    let place = Place::new();
    let switch =
        Switch::start(&landline_vde::SwitchConfig { ports: 2, ..place.config("sw") }, || {}).unwrap();
    let first = plug(&place.path("sw"));
    let _second = plug(&place.path("sw"));
    let started = Instant::now();
    let third = Plug::connect(&place.path("sw"), "one too many", DEADLINE);
    assert!(matches!(third, Err(PlugError::Refused(_))), "{third:?}");
    assert!(started.elapsed() < DEADLINE);
    let mut foreign = Program::start(&["vde_plug", text(&place.path("sw"))]);
    wait_for("vde_plug gives up", || foreign.child.try_wait().unwrap().is_some());
    drop(first);
    wait_for("a port is free", || ports(&switch) == [2]);
    let _third = plug(&place.path("sw"));
    assert_eq!(ports(&switch), [1, 2]);
}

#[test]
fn half_open_clients_and_garbage_harm_nobody() {
    let place = Place::new();
    let switch = place.switch("sw");
    let connect = || UnixStream::connect(place.path("sw").join("ctl")).unwrap();
    let silent: Vec<UnixStream> = (0..40).map(|_| connect()).collect();
    let mut half = connect();
    let request = Request::new(place.path("nobody"), "x").to_bytes();
    half.write_all(&request[..60]).unwrap();
    // Others are served meanwhile.
    let (a, b) = (plug(&place.path("sw")), plug(&place.path("sw")));
    assert!(a.send(&frame(1, 0xff, 60)));
    assert_eq!(next(&b), frame(1, 0xff, 60));

    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 5000], &request] {
        let mut stream = connect();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let _ = stream.write_all(garbage);
        // Closed: end, or reset if there was more to read. The last names a socket that is not there.
        assert!(!matches!(stream.read(&mut [0; 200]), Ok(1..)), "{garbage:?}");
    }
    // Who says nothing is not waited for.
    for mut stream in silent.into_iter().chain([half]) {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_eq!(stream.read(&mut [0; 200]).unwrap(), 0);
    }
    assert_eq!(ports(&switch), [1, 2]);
}

#[test]
fn the_old_handshake_and_a_slow_one_are_understood() {
    let place = Place::new();
    let switch = place.switch("sw");
    let socket = client_socket(&place.path("sw/client"));
    let old = Request {
        version: Version::One { mac: Mac::new([2, 0, 0, 0, 0, 9]) },
        ..Request::new(place.path("sw/client"), "")
    };
    let mut ctl = UnixStream::connect(place.path("sw").join("ctl")).unwrap();
    let bytes = old.to_bytes();
    ctl.write_all(&bytes[..50]).unwrap();
    wait_for("the first half is read", || switch.ports().is_some());
    ctl.write_all(&bytes[50..]).unwrap();
    let mut answer = [0; REPLY_LEN];
    ctl.read_exact(&mut answer).unwrap();
    let port = parse_reply(&answer).unwrap();
    assert_eq!(port.parent(), Some(&*place.path("sw")));
    socket.connect(&port).unwrap();
    let other = plug(&place.path("sw"));
    socket.send(&frame(1, 0xff, 60)).unwrap();
    assert_eq!(next(&other), frame(1, 0xff, 60));
    // A client's goodbye.
    socket.send(&[]).unwrap();
    drop(ctl);
    wait_for("the cable is out", || ports(&switch) == [2]);
    assert!(!port.exists());
}

#[test]
fn a_port_by_number_is_shared_by_one_user_only() {
    let place = Place::new();
    let switch = place.switch("sw");
    let mut ctls = Vec::new();
    for name in ["x", "y"] {
        let socket = client_socket(&place.path("sw").join(name));
        let mut ctl = UnixStream::connect(place.path("sw").join("ctl")).unwrap();
        let request = Request { port: 7, ..Request::new(place.path("sw").join(name), name) };
        ctl.write_all(&request.to_bytes()).unwrap();
        let mut answer = [0; REPLY_LEN];
        ctl.read_exact(&mut answer).unwrap();
        ctls.push((ctl, socket));
    }
    let view = switch.ports().unwrap();
    assert_eq!((view[0].number, view[0].endpoints.len()), (7, 2));
    let other = plug(&place.path("sw"));
    assert!(other.send(&frame(1, 0xff, 60)));
    for (_, socket) in &ctls {
        let mut buffer = [0; 100];
        assert_eq!(socket.recv(&mut buffer).unwrap(), 60);
    }
}

/// A switch of root's must not be made to talk to root's sockets on behalf of somebody else.
#[test]
fn a_client_cannot_name_the_socket_of_another_user() {
    let place = Place::new();
    std::fs::set_permissions(place.path(""), Permissions::from_mode(0o1777)).unwrap();
    let _switch = place.switch("sw");
    let dir = place.path("sw");
    std::fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
    std::fs::set_permissions(dir.join("ctl"), Permissions::from_mode(0o777)).unwrap();
    for victim in ["victim", "vde.victim", "sw/victim"] {
        drop(client_socket(&place.path(victim)));
        std::fs::set_permissions(place.path(victim), Permissions::from_mode(0o777)).unwrap();
    }
    let script = "import socket,struct,sys\n\
        path,own=sys.argv[2],sys.argv[3]\n\
        if own: d=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); d.bind(path)\n\
        s=socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(sys.argv[1]+'/ctl')\n\
        s.send(struct.pack('=IIIH108s',0xfeedface,3,0,1,path.encode()))\n\
        print(len(s.recv(200)))";
    let answer = |path: &str, own: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", script]);
        let output = command.args([text(&dir), text(&place.path(path)), own]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    for victim in ["victim", "vde.victim", "sw/victim", "vde.own/../vde.victim"] {
        assert_eq!(answer(victim, ""), "0", "{victim}");
    }
    assert_eq!(answer("own", "yes"), "0", "its user's, but not for VDE");
    for own in ["vde.00017-00001", "sw/.00017-00001"] {
        assert_eq!(answer(own, "yes"), REPLY_LEN.to_string(), "{own}");
    }
}

/// Root in a container that has the directory is root to the kernel, and the paths it names are the host's.
#[test]
fn roots_sockets_elsewhere_are_out_of_reach_for_root_too() {
    let place = Place::new();
    let _switch = place.switch("sw");
    let answer = |path: &str| {
        let _victim = client_socket(&place.path(path));
        let mut ctl = UnixStream::connect(place.path("sw").join("ctl")).unwrap();
        ctl.set_read_timeout(Some(DEADLINE)).unwrap();
        ctl.write_all(&Request::new(place.path(path), "").to_bytes()).unwrap();
        ctl.read(&mut [0; REPLY_LEN]).unwrap()
    };
    assert_eq!((answer("notify"), answer("vde.notify"), answer("sw/.0001-1")), (0, 0, REPLY_LEN));
    std::os::unix::fs::symlink(place.path("notify"), place.path("sw/link")).unwrap();
    let mut ctl = UnixStream::connect(place.path("sw").join("ctl")).unwrap();
    ctl.set_read_timeout(Some(DEADLINE)).unwrap();
    ctl.write_all(&Request::new(place.path("sw/link"), "").to_bytes()).unwrap();
    assert_eq!(ctl.read(&mut [0; REPLY_LEN]).unwrap(), 0);
}

#[test]
fn one_that_never_reads_holds_up_nobody() {
    let place = Place::new();
    let switch = place.switch("sw");
    let (a, _deaf, c) = (plug(&place.path("sw")), plug(&place.path("sw")), plug(&place.path("sw")));
    let deaf = |switch: &Switch| switch.ports().unwrap()[1].counters;
    let mut heard = 0;
    wait_for("the deaf one's queue is full", || {
        for _ in 0..100 {
            a.send(&frame(1, 0xff, 1514));
            let mut buffer = [0; 2000];
            while c.receive(&mut buffer).is_some() {
                heard += 1;
            }
        }
        deaf(&switch).dropped > 1000
    });
    let last = frame(3, 0xff, 77);
    wait_for("the other one still hears", || {
        a.send(&last);
        let mut buffer = [0; 2000];
        std::iter::from_fn(|| c.receive(&mut buffer)).any(|length| length == 77)
    });
    assert!(heard > 1000);
}

#[test]
fn what_was_there_before_is_found_out() {
    let place = Place::new();
    let switch = place.switch("sw");
    let second = Switch::start(&place.config("sw"), || {}).unwrap_err();
    assert!(matches!(second, SwitchError::Dir(DirError::InUse(_))), "{second}");
    let client = plug(&place.path("sw"));
    drop(switch);
    wait_for("the client sees it", || client.is_gone());
    assert_eq!(std::fs::read_dir(place.path("sw")).unwrap().count(), 0, "sockets are left");

    // As a killed one leaves it.
    for name in ["ctl", "001.4"] {
        drop(std::os::unix::net::UnixListener::bind(place.path("sw").join(name)).unwrap());
    }
    let switch = place.switch("sw");
    assert!(!place.path("sw").join("001.4").exists());
    let _client = plug(&place.path("sw"));
    switch.remove();
    assert!(!place.path("sw").exists());

    std::fs::create_dir(place.path("sw")).unwrap();
    std::fs::write(place.path("sw").join("ctl"), "mine").unwrap();
    let refused = Switch::start(&place.config("sw"), || {}).unwrap_err();
    assert!(matches!(refused, SwitchError::Dir(DirError::InTheWay(_))), "{refused}");
    assert_eq!(std::fs::read(place.path("sw").join("ctl")).unwrap(), b"mine");
}

#[test]
fn a_group_is_let_in() {
    let place = Place::new();
    let config = landline_vde::SwitchConfig {
        group: Some(65_534),
        management: Some(place.path("mgmt")),
        ..place.config("sw")
    };
    let _switch = Switch::start(&config, || {}).unwrap();
    let looks = |path: &str| {
        let meta = std::fs::metadata(place.path(path)).unwrap();
        (meta.mode() & 0o7777, meta.gid())
    };
    assert_eq!(looks("sw"), (0o2770, 65_534));
    assert_eq!(looks("sw/ctl"), (0o660, 65_534));
    assert_eq!(looks("mgmt"), (0o660, 65_534));
    let alone = Place::new();
    let _switch = alone.switch("sw");
    assert_eq!(std::fs::metadata(alone.path("sw")).unwrap().mode() & 0o7777, 0o2700);
    assert_eq!(std::fs::metadata(alone.path("sw/ctl")).unwrap().mode() & 0o7777, 0o600);
}

/// Two machines with `vde_plug2tap`, each a network namespace, ping through our switch.
#[test]
fn vde_plug2tap_pings_through_it() {
    let place = Place::new();
    let switch = place.switch("sw");
    let machine = |last: u8| {
        let script = format!(
            "vde_plug2tap -s {} -d tap0\n\
             until ip link set tap0 up 2>/dev/null; do sleep 0.01; done\n\
             ip addr add 192.0.2.{last}/24 dev tap0; exec sleep 1000",
            text(&place.path("sw"))
        );
        Program::start(&["unshare", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", &script])
    };
    let a = machine(1);
    let _b = machine(2);
    wait_for("both are there", || ports(&switch).len() == 2);
    let pid = a.child.id().to_string();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let inner = children.split_whitespace().next().unwrap().to_owned();
    wait_for("a ping comes back", || {
        let argv = ["-t", &inner, "-n", "ping", "-q", "-c", "3", "-i", "0.2", "-W", "1", "192.0.2.2"];
        Command::new("nsenter").args(argv).output().unwrap().status.success()
    });
}
