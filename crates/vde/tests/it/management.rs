//! The management socket, as scripts use it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::channel;

use landline_vde::{Switch, SwitchConfig};

use crate::lab::{DEADLINE, Place, frame, is_quiet, next, plug, wait_for};

const PROMPT: &str = "\nvde$ ";

struct Terminal(UnixStream);

impl Terminal {
    fn open(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut terminal = Self(stream);
        assert!(terminal.until_prompt().starts_with("VDE switch"));
        terminal
    }

    fn until_prompt(&mut self) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(PROMPT.as_bytes()) {
            if self.0.read(&mut byte).unwrap() == 0 {
                break;
            }
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    }

    /// The answer without the prompt.
    fn ask(&mut self, line: &str) -> String {
        self.0.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.until_prompt().trim_end_matches(PROMPT).to_owned()
    }
}

#[test]
fn scripts_find_what_they_expect() {
    let place = Place::new();
    let config = SwitchConfig { management: Some(place.path("mgmt")), ports: 4, ..place.config("sw") };
    let switch = Switch::start(&config, || {}).unwrap();
    let mut terminal = Terminal::open(&place.path("mgmt"));
    let (a, b) = (plug(&place.path("sw")), plug(&place.path("sw")));
    assert!(a.send(&frame(1, 0xff, 60)));
    assert_eq!(next(&b).len(), 60);

    let ok = "1000 Success\n";
    let data = |text: &str| format!("0000 DATA END WITH '.'\n{text}.\n{ok}");
    let mut ask = |line: &str| terminal.ask(line);
    assert_eq!(ask("port/showinfo"), data("Numports=4\nHUB=false\ncounters=true\n"));
    let print = ask("port/print");
    for part in [
        "Port 0001 untagged_vlan=0000 ACTIVE - Unnamed Allocatable\n Current User: 0 Access",
        " IN:  pkts          1          bytes                   60\n",
        " module unix prog   : test\n",
        "Port 0002 ",
    ] {
        assert!(print.contains(part), "{part} in {print}");
    }
    assert!(
        !print.contains("Port 0003")
            && ask("port/allprint").contains("Port 0004 untagged_vlan=0000 INACTIVE")
    );
    assert!(ask("hash/print").contains("Addr: 02:00:00:00:00:01 VLAN 0000 to port: 001  age "));
    assert!(ask("hash/find 02:00:00:00:00:01").contains("to port: 001"));
    assert_eq!(ask("hash/find 02:00:00:00:00:09"), "1006 No such device or address\n");
    assert!(ask("showinfo").contains(&format!("mgmt {}", place.path("mgmt").display())));
    assert_eq!(ask("plugin/list"), "1038 Function not implemented\n");

    // VLANs: apart, together with a tag, and gone again.
    for line in ["vlan/create 5", "port/setvlan 2 5"] {
        assert_eq!(ask(line), ok, "{line}");
    }
    assert_eq!(ask("vlan/create 5"), "1017 File exists\n");
    assert!(a.send(&frame(1, 0xff, 60)));
    assert_eq!(ask("vlan/addport 5 1"), ok);
    assert!(is_quiet(&b), "another VLAN");
    let tagged = [&frame(1, 0xff, 60)[..12], &[0x81, 0, 0, 5], &frame(1, 0xff, 60)[12..]].concat();
    assert!(a.send(&tagged));
    assert_eq!(next(&b), frame(1, 0xff, 60));
    assert!(b.send(&frame(2, 0xff, 60)));
    assert_eq!(next(&a).len(), 64);
    assert!(ask("vlan/print 5").contains("VLAN 0005\n -- Port 0001 tagged=1 active=1 status=Forwarding\n"));
    assert_eq!(ask("vlan/remove 5"), "1098 Address already in use\n");
    for line in ["vlan/delport 5 1", "port/setvlan 2 0", "vlan/remove 5"] {
        assert_eq!(ask(line), ok, "{line}");
    }
    assert_eq!(ask("port/setvlan 99 0"), "1022 Invalid argument\n");
    assert_eq!(ask("port/setnumports 1"), "1022 Invalid argument\n");
    assert_eq!(ask("port/resetcounter"), ok);
    assert!(ask("port/print 2").contains("IN:  pkts          0"));

    let id = print.split("endpoint ID ").nth(1).unwrap()[..4].to_owned();
    assert_eq!(ask(&format!("port/epclose 1 {id}")), ok);
    wait_for("it is disconnected", || a.is_gone());
    assert_eq!(switch.ports().unwrap().len(), 1);

    terminal.0.write_all(b"logout\n").unwrap();
    assert_eq!(terminal.until_prompt(), "9999 END OF SESSION");
}

#[test]
fn rude_sessions_end() {
    let place = Place::new();
    let config = SwitchConfig { management: Some(place.path("mgmt")), ..place.config("sw") };
    let switch = Switch::start(&config, || {}).unwrap();
    let mut endless = Terminal::open(&place.path("mgmt"));
    let _ = endless.0.write_all(&[b'x'; 5000]);
    let mut rest = Vec::new();
    // An end or a reset; not a wait.
    let _ = endless.0.read_to_end(&mut rest);
    // One that asks and asks and never reads.
    let mut deaf = Terminal::open(&place.path("mgmt"));
    deaf.0.set_nonblocking(true).unwrap();
    wait_for("it is thrown out", || {
        let sent = (0..1000).map(|_| deaf.0.write_all(b"help\n")).last().unwrap();
        sent.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    });
    assert!(switch.ports().is_some());
    let many: Vec<_> = (0..100).map(|_| UnixStream::connect(place.path("mgmt"))).collect();
    drop(many);
    wait_for("there is room again", || {
        let mut stream = UnixStream::connect(place.path("mgmt")).unwrap();
        stream.read(&mut [0; 10]).is_ok_and(|length| length > 0)
    });
}

#[test]
fn shutdown_ends_it_and_its_owner_is_told() {
    let place = Place::new();
    let config = SwitchConfig { management: Some(place.path("mgmt")), ..place.config("sw") };
    let (tell, ended) = channel();
    let switch = Switch::start(&config, move || tell.send(()).unwrap()).unwrap();
    let client = plug(&place.path("sw"));
    let mut terminal = Terminal::open(&place.path("mgmt"));
    assert!(terminal.ask("shutdown").starts_with("1000 Success"));
    ended.recv_timeout(DEADLINE).unwrap();
    assert!(client.is_gone() && !place.path("sw").exists() && !place.path("mgmt").exists());
    wait_for("the handle knows", || switch.has_ended());
    assert_eq!(switch.ports(), None);
}
