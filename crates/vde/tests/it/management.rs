//! The management socket, as scripts use it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
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
        // Byte by byte: what comes behind the prompt is the next answer's.
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
    // One that asks and asks and never reads is not listened to.
    let mut deaf = Terminal::open(&place.path("mgmt"));
    deaf.0.set_nonblocking(true).unwrap();
    wait_for("it cannot ask for more", || {
        let sent = (0..1000).map(|_| deaf.0.write_all(b"help\n")).last().unwrap();
        sent.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert!(switch.ports().is_some());
    // And when there are too many, the one goes that has said nothing for the longest.
    let _others: Vec<_> = (0..16).map(|_| Terminal::open(&place.path("mgmt"))).collect();
    wait_for("it is thrown out", || {
        deaf.0.write_all(b"help\n").is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    });
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

/// The most memory this process has had so far, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Answers of a gigabyte in all are asked for with one write of two kilobytes.
#[test]
fn a_flood_of_questions_takes_no_memory_and_holds_up_nobody() {
    let place = Place::new();
    let config = SwitchConfig { management: Some(place.path("mgmt")), ..place.config("sw") };
    let switch = Switch::start(&config, || {}).unwrap();
    let (a, b) = (plug(&place.path("sw")), plug(&place.path("sw")));
    let mut terminal = Terminal::open(&place.path("mgmt"));
    let before = peak();
    let flood = format!("port/setnumports 65535\n{}", "port/allprint\n".repeat(73));
    terminal.0.write_all(flood.as_bytes()).unwrap();
    assert_eq!(terminal.until_prompt(), format!("1000 Success\n{PROMPT}"));
    // While the first answer comes, and nobody reads the others, frames go on.
    let answer = BufReader::new(terminal.0.try_clone().unwrap());
    let (mut ports, mut bytes) = (0, 0);
    for line in answer.lines().map(Result::unwrap).take_while(|line| !line.starts_with("1000 ")) {
        bytes += line.len() + 1;
        if let Some(port) = line.strip_prefix("Port ") {
            ports += 1;
            assert_eq!(port.split_whitespace().next().unwrap().parse(), Ok(ports));
            if ports % 10_000 == 0 {
                assert!(a.send(&frame(1, 0xff, 60)));
                assert_eq!(next(&b).len(), 60);
            }
        }
    }
    assert_eq!(ports, 65_535);
    assert!(switch.ports().is_some());
    let grown = peak() - before;
    assert!(bytes > 10 << 20 && grown < 8 << 20, "an answer of {bytes} bytes takes {grown} bytes of memory");

    // VLANs with all ports in them, asked for from elsewhere while the first still does not read.
    let mut other = Terminal::open(&place.path("mgmt"));
    for vlan in 1..=40 {
        assert_eq!(other.ask(&format!("vlan/create {vlan}")), "1000 Success\n");
    }
    let mut asks = other.0.try_clone().unwrap();
    let asking = std::thread::spawn(move || {
        for vlan in 1..=40 {
            let lines: Vec<_> = (1..=2000).map(|port| format!("vlan/addport {vlan} {port}\n")).collect();
            asks.write_all(lines.concat().as_bytes()).unwrap();
        }
    });
    let told = BufReader::new(other.0.try_clone().unwrap()).lines().map(Result::unwrap);
    // Behind the prompt, but for the first.
    let told = told.filter(|line| line.contains('1')).take(40 * 2000);
    let taken = told.filter(|answer| answer.contains("1000 ")).count();
    asking.join().unwrap();
    assert_eq!(taken, 1 << 16, "more than there is room for");
    let mut other = Terminal::open(&place.path("mgmt"));
    assert!(other.ask("vlan/addport 1 65535").starts_with("1012 "));
    other.0.write_all(b"vlan/allprint\n").unwrap();
    let answer = BufReader::new(other.0.try_clone().unwrap()).lines().map(Result::unwrap);
    let (mut vlans, mut tagged) = (0, 0);
    for line in answer.take_while(|line| !line.starts_with("1000 ")) {
        vlans += usize::from(line.starts_with("VLAN "));
        tagged += usize::from(line.contains("tagged=1"));
    }
    assert_eq!((vlans, tagged), (41, taken));
    let grown = peak() - before;
    assert!(grown < 16 << 20, "{grown} bytes");
}

/// Scripts write their questions, close their side, and read until the end.
#[test]
fn who_has_asked_everything_gets_all_answers() {
    let place = Place::new();
    let config = SwitchConfig { management: Some(place.path("mgmt")), ..place.config("sw") };
    let _switch = Switch::start(&config, || {}).unwrap();
    let mut stream = UnixStream::connect(place.path("mgmt")).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let questions = format!("port/setnumports 2000\n{}", "port/allprint\n".repeat(49));
    stream.write_all(questions.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("1000 Success").count(), 50);
}
