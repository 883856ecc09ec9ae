//! An address that the server offers and another host uses (RFC 5227): found before it is used, or found later and then
//! defended or given up. What was sent is held against the RFCs.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use landline_testbed::{
    ArpAudit, DhcpAudit, DhcpKind, DhcpMessage, Dnsmasq, Dockerd, FakeServer, Frame, PEER_V4, Purpose, Reply,
    Reservation, Squatter, Squatting, wait_for,
};

use crate::kinds::Kind;
use crate::tools::{answers_for_all, at_once, names, start_daemon};
use crate::world::{Result, SOON, World, bare};

const MAC: &str = "02:42:c0:00:02:96";
const TAKEN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 150);

/// A server that has an address for each of these hardware addresses, and others besides.
fn reserving(reservations: impl IntoIterator<Item = (String, Ipv4Addr)>) -> Dnsmasq {
    let hosts = reservations.into_iter().map(|(mac, ip)| Reservation::new(mac, ip.to_string())).collect();
    Dnsmasq { hosts, ..Dnsmasq::default() }
}

#[test]
fn an_address_that_a_squatter_has_is_declined() -> Result {
    let world = World::bridge_with(reserving([(MAC.to_owned(), TAKEN)]))?;
    world.lan.peer().check(&["ip", "address", "add", &format!("{TAKEN}/24"), "dev", "eth0"])?;
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68 or arp")?;
    world.network("lan", &["bridge=br0"])?;
    world.network("careful", &["bridge=br0", "conflict_check=wait", "ignore_conflicts=true"])?;
    at_once(&names("c", 2), |name| match name {
        "c0" => world.run(name, "lan", &["--mac-address", MAC]),
        _ => world.run(name, "careful", &[]),
    })?;

    let address: Ipv4Addr = bare(&world.address("c0", "br00")?).parse()?;
    assert_ne!(address, TAKEN);
    let decline = wait_for("a DHCPDECLINE at the server", SOON, || {
        let mut messages = capture.dhcp().into_iter().map(|(_, message)| message);
        messages.find(|m| m.kind() == Some(DhcpKind::Decline) && m.client_mac() == MAC)
    })?;
    assert_eq!(decline.address_option(50), Some(TAKEN));
    assert_eq!(world.row("c0")?["conflicts"], 1);
    // Whoever reads the log at its usual level learns which address it was, who has it, and what it became.
    let log = world.daemon.log();
    let line = |what: &str| log.lines().find(|line| line.contains(what) && !line.contains(" DEBUG "));
    let declined = line("another host uses the address").ok_or("no line for the conflict")?;
    let squatter = world.lan.peer().mac("eth0")?;
    for known in
        [" INFO ".to_owned(), format!("address={TAKEN}"), format!("by={squatter}"), format!("mac={MAC}")]
    {
        assert!(declined.contains(&known), "{declined}");
    }
    assert!(line(&format!("address={address}")).is_some(), "{log}");
    let listed = world.host.landline_ok(crate::world::binary(), &["ls"])?;
    assert!(listed.contains(&address.to_string()) && !listed.contains(&TAKEN.to_string()), "{listed}");
    world.lan.router().check(&["ping", "-c1", "-W5", &address.to_string()])?;

    // Nobody contested the addresses they have now: what they sent for those is all there is to be sent.
    let careful: Ipv4Addr = bare(&world.address("c1", "br00")?).parse()?;
    let careful_mac = world.mac("c1", "br00")?;
    let audits = wait_for("both to have said everything", SOON, || {
        let frames = capture.frames();
        let audits = [ArpAudit::of(&frames, MAC, address), ArpAudit::of(&frames, &careful_mac, careful)];
        audits.iter().all(|audit| audit.announcements.len() >= 2).then_some(audits)
    })?;
    let [fast, full] = audits;
    assert_eq!(fast.wrong().iter().chain(full.wrong()).collect::<Vec<_>>(), [""; 0]);
    // The clock of the capture and the daemon's are not the same; RFC 5227 section 1.1 in full.
    let slack = Duration::from_millis(20);
    assert_eq!((full.probes.len(), full.announcements.len()), (3, 2));
    assert!(full.probe_gaps().iter().all(|gap| *gap + slack >= Duration::from_secs(1)), "{full:?}");
    assert!(full.announcement_gaps()[0] + slack >= Duration::from_secs(2), "{full:?}");
    let waited = full.announcements[0].duration_since(full.probes[2])?;
    assert!(waited + slack >= Duration::from_secs(2), "{full:?}");
    // The same number of each, with less time before the first announcement.
    assert_eq!((fast.probes.len(), fast.announcements.len()), (3, 2));
    assert!(fast.announcement_gaps()[0] + slack >= Duration::from_secs(2), "{fast:?}");
    let window = fast.announcements[0].duration_since(fast.probes[0])?;
    assert!(window + slack >= Duration::from_millis(25), "{fast:?}");
    for mac in [MAC, &careful_mac] {
        let audit = DhcpAudit::of(&capture.frames(), mac);
        audit.assert_clean();
        assert_eq!(audit.sent(Purpose::Decline), usize::from(mac == MAC));
    }
    Ok(())
}

/// How soon an answer has to come to be heard in time, with something left for a busy machine: it is listened for 25 ms.
const IN_TIME: Duration = Duration::from_millis(21);

#[test]
fn whoever_answers_within_twenty_milliseconds_is_found_before_the_container_starts() -> Result {
    const TRIES: u8 = 12;
    let mac = |n: u8| format!("02:42:c0:00:02:{n:02x}");
    let address = |n: u8| Ipv4Addr::new(192, 0, 2, 150 + n);
    let world = World::bridge_with(reserving((0..TRIES).map(|n| (mac(n), address(n)))))?;
    // Every other one takes its time.
    let slow = Squatting {
        delay: (Duration::from_millis(5), Duration::from_millis(20)),
        addresses: (address(TRIES / 2), address(TRIES)),
        ..Squatting::on(TAKEN)
    };
    let quick = Squatting { addresses: (address(0), address(TRIES / 2 - 1)), ..Squatting::on(TAKEN) };
    let other = world.lan.add_node("other", "192.0.2.3/24")?;
    let _squatters = [Squatter::start(world.lan.peer(), &quick)?, Squatter::start(&other, &slow)?];
    let capture = world.lan.capture(world.lan.switch(), "sw", "arp")?;
    world.network("lan", &["bridge=br0"])?;
    let (mut counted, mut late) = (0, Vec::new());
    for n in 0..TRIES {
        let (mac, taken) = (mac(n), address(n));
        // What the container's first process sees.
        let command = ["run", "--rm", "--network", "lan", "--mac-address", &mac, "box"];
        let seen = world.host.docker_ok(&[&command[..], &["ip", "-4", "-o", "addr"]].concat())?;
        let took = answered_after(&capture.frames(), &mac, taken);
        if took.is_some_and(|took| took <= IN_TIME) {
            counted += 1;
            assert!(!seen.contains(&format!("{taken}/")) && seen.contains("192.0.2."), "{taken} in:\n{seen}");
        } else {
            late.push(took);
        }
    }
    assert!(counted >= TRIES / 2, "too busy a machine to tell: {counted} answered in time, others {late:?}");
    println!("found {counted} of {counted} that answered in time, {} were late", late.len());
    Ok(())
}

/// From the first probe for an address to the first answer.
fn answered_after(frames: &[Frame], mac: &str, address: Ipv4Addr) -> Option<Duration> {
    let probe = frames.iter().find(|frame| {
        frame.arp().is_some_and(|arp| arp.sender_mac == mac && arp.target_ip == address && arp.operation == 1)
    })?;
    let answer = frames
        .iter()
        .find(|frame| frame.arp().is_some_and(|arp| arp.sender_mac != mac && arp.sender_ip == address))?;
    answer.time.duration_since(probe.time).ok()
}

#[test]
fn whoever_comes_later_is_told_off_and_if_that_does_not_help_has_the_address() -> Result {
    const STUBBORN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 151);
    let other = "02:42:c0:00:02:97";
    let world = World::bridge_with(reserving([(MAC.to_owned(), TAKEN), (other.to_owned(), STUBBORN)]))?;
    // The probes before the address is used are not answered; the one afterwards is.
    let polite = Squatting { late: true, ..Squatting::on(TAKEN) };
    let stubborn = Squatting { late: true, insists: true, ..Squatting::on(STUBBORN) };
    let second = world.lan.add_node("second", "192.0.2.3/24")?;
    let _squatters = [Squatter::start(world.lan.peer(), &polite)?, Squatter::start(&second, &stubborn)?];
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68 or arp")?;
    world.network("lan", &["bridge=br0"])?;
    at_once(&names("c", 2), |name| {
        world.run(name, "lan", &["--mac-address", if name == "c0" { MAC } else { other }])
    })?;

    wait_for("the conflict of the one that is defended", SOON, || {
        world.row("c0").is_ok_and(|row| row["conflicts"] == 1)
    })?;
    let replaced = wait_for("another address for the other", SOON, || {
        let address: Ipv4Addr = bare(&world.address("c1", "br00").ok()?).parse().ok()?;
        (address != STUBBORN).then_some(address)
    })?;
    assert_eq!(world.address("c0", "br00")?, format!("{TAKEN}/24"));
    // It may be telling the server its name at this moment.
    let row = wait_for("the other to have it for good", SOON, || {
        world.row("c1").ok().filter(|row| row["state"] == "BOUND")
    })?;
    assert_eq!(row["address"].as_str(), Some(&*format!("{replaced}/24")));
    assert!(row["conflicts"].as_u64() >= Some(2), "{row}");
    world.lan.router().check(&["ping", "-c1", "-W5", &replaced.to_string()])?;
    for (mac, declines) in [(MAC, 0), (other, 1)] {
        let audit = DhcpAudit::of(&capture.frames(), mac);
        audit.assert_clean();
        assert_eq!(audit.sent(Purpose::Decline), declines, "{mac}");
    }
    Ok(())
}

#[test]
fn bridge_a_claim_is_noticed_while_everything_is_at_rest() -> Result {
    a_claim_is_noticed_while_everything_is_at_rest(Kind::Bridge)
}

#[test]
fn macvlan_a_claim_is_noticed_while_everything_is_at_rest() -> Result {
    a_claim_is_noticed_while_everything_is_at_rest(Kind::Macvlan)
}

fn a_claim_is_noticed_while_everything_is_at_rest(kind: Kind) -> Result {
    let world = kind.world(&reserving([(MAC.to_owned(), TAKEN)]))?;
    world.network_of(kind, "lan", &[])?;
    world.run("web", "lan", &["--mac-address", MAC])?;
    world.run("other", "lan", &[])?;
    world.row("web")?;
    let other = world.address("other", kind.interface())?;
    assert_eq!(world.address("web", kind.interface())?, format!("{TAKEN}/24"));
    let sockets = || world.inside("web", &["cat", "/proc/net/packet"]).map(|table| table.lines().count() - 1);
    let at_rest = || sockets().is_ok_and(|sockets| sockets == 0);
    wait_for("the container to be at rest", SOON, at_rest)?;

    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68 or arp")?;
    // What others say of their own addresses wakes nobody.
    let switches = || -> Result<u64> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", world.daemon.pid()?))?;
        let of = |task: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
            let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        Ok(tasks.filter_map(of).sum())
    };
    // The daemon may have other things to do meanwhile, but not each time.
    let mut woken = Vec::new();
    for _ in 0..3 {
        let before = switches()?;
        world
            .lan
            .peer()
            .sh("for n in $(seq 60); do arping -q -U -c1 -I eth0 -s 192.0.2.2 192.0.2.2 & done; wait")?;
        woken.push(switches()? - before);
    }
    println!("60 announcements of others' addresses, three times: woken {woken:?} times");
    assert!(woken.iter().any(|times| *times < 30), "{woken:?}");

    let taken = TAKEN.to_string();
    world.lan.peer().check(&["ip", "address", "add", &format!("{taken}/32"), "dev", "eth0"])?;
    let claim = ["arping", "-q", "-U", "-c1", "-I", "eth0", "-s", &taken, &taken];
    world.lan.peer().check(&claim)?;
    capture.wait_for("the container to defend its address", SOON, |frame| {
        let arp = frame.arp()?;
        (arp.sender_mac == MAC && arp.sender_ip == TAKEN && arp.target_ip == TAKEN).then_some(())
    })?;
    wait_for("the conflict to be counted", SOON, || {
        world.row("web").is_ok_and(|row| row["conflicts"] == 1 && row["state"] == "BOUND")
    })?;
    assert_eq!(world.address("web", kind.interface())?, format!("{TAKEN}/24"), "it keeps it");

    // Whoever insists within ten seconds has it.
    std::thread::sleep(Duration::from_secs(1));
    world.lan.peer().check(&claim)?;
    wait_for("another address", SOON, || {
        world.address("web", kind.interface()).is_ok_and(|address| address != format!("{TAKEN}/24"))
    })?;
    assert_eq!(world.row("other")?["conflicts"], 0);
    assert_eq!(world.address("other", kind.interface())?, other);
    DhcpAudit::of(&capture.frames(), MAC).assert_clean();
    Ok(())
}

/// A machine that asks with the sender 0.0.0.0, as soon as it hears somebody probe for an address (RFC 5227 section 2.1.1). For
/// what depends on the last octet of the address: 150: the one after it, which is another machine's; 151: that very one, in a
/// frame to whoever probes, as switches do that keep track of hosts; 152: that very one, in the name of another, as those do
/// that have no address in the VLAN; 153: that very one, as whoever is about to use it.
const PROBER: &str = "
import socket, struct
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
link.bind(('eth0', 0x0806))
mac = link.getsockname()[4]
everybody, other = b'\\xff' * 6, bytes.fromhex('024200000099')
def probe(to, sender, address):
    head = to + mac + struct.pack('!HHHBBH', 0x0806, 1, 0x0800, 6, 4, 1)
    link.send((head + sender + bytes(4) + bytes(6) + address).ljust(60, b'\\0'))
print('probing', flush=True)
while True:
    frame = link.recv(2048)
    who, sender_ip, address = frame[22:28], frame[28:32], frame[38:42]
    if who == mac or sender_ip != bytes(4):
        continue
    if address[3] == 150: probe(everybody, mac, address[:3] + bytes([154]))
    if address[3] == 151: probe(who, mac, address)
    if address[3] == 152: probe(everybody, other, address)
    if address[3] == 153: probe(everybody, mac, address)
";

#[test]
fn gear_that_probes_with_no_sender_has_nothing_declined_unless_it_wants_the_address() -> Result {
    const CONTENDED: u8 = 3;
    let mac = |n: u8| format!("02:42:c0:00:02:{:02x}", 0x96 + n);
    let address = |n: u8| Ipv4Addr::new(192, 0, 2, 150 + n);
    let world = World::bridge_with(reserving((0..=CONTENDED).map(|n| (mac(n), address(n)))))?;
    let mut gear = world.lan.peer().spawn(&["python3", "-c", PROBER])?;
    gear.wait_for_text("probing", SOON)?;
    let gears = world.lan.peer().mac("eth0")?;
    let capture = world.lan.capture(world.lan.switch(), "sw", "udp port 67 or udp port 68 or arp")?;
    world.network("lan", &["bridge=br0", "conflict_check=wait", "lease_timeout=40s"])?;
    at_once(&names("", usize::from(CONTENDED) + 1), |name| {
        let n: u8 = name.parse()?;
        world.run(&format!("c{n}"), "lan", &["--mac-address", &mac(n)])
    })?;
    for n in 0..=CONTENDED {
        let (name, own) = (format!("c{n}"), mac(n));
        // Each was asked for while the address was probed for, or the test shows nothing.
        let asked = if n == 0 { Ipv4Addr::new(192, 0, 2, 154) } else { address(n) };
        let frames = capture.frames();
        let probes = |from: &str| {
            let of = |frame: &&Frame| {
                let is_probe =
                    |arp: landline_testbed::Arp| arp.sender_ip.is_unspecified() && arp.target_ip == asked;
                frame.source() == from && frame.arp().is_some_and(is_probe)
            };
            frames.iter().filter(of).count()
        };
        assert!(probes(&gears) > 0, "nobody asked for {asked}: {}", capture.lines().join("\n"));
        let declines = DhcpAudit::of(&frames, &own).sent(Purpose::Decline);
        let (contended, row) = (n == CONTENDED, world.row(&name)?);
        assert_eq!(
            world.address(&name, "br00")? == format!("{}/24", address(n)),
            !contended,
            "{name}: {row}"
        );
        assert_eq!((declines > 0, row["conflicts"] != 0), (contended, contended), "{name}: {row}");
    }
    Ok(())
}

/// Somebody who answers for every address: each decline waits longer than the one before, and people can read who it is.
#[test]
fn whoever_answers_for_everything_is_named_and_asked_about_less_and_less() -> Result {
    let world = World::bridge()?;
    answers_for_all(world.lan.peer())?;
    let who = world.lan.peer().mac("eth0")?;
    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68")?;
    world.network("lan", &["bridge=br0", "lease_timeout=3s", "on_timeout=continue"])?;
    world.run("web", "lan", &["--mac-address", MAC])?;
    let declines = || -> Vec<SystemTime> {
        let sent =
            |message: &DhcpMessage| message.kind() == Some(DhcpKind::Decline) && message.client_mac() == MAC;
        capture.dhcp().into_iter().filter(|(_, message)| sent(message)).map(|(frame, _)| frame.time).collect()
    };
    let found = || world.host.landline(crate::world::binary(), &["doctor"]).stdout;
    wait_for("what doctor finds", 2 * SOON, || {
        let said = found();
        ["container web", &who, "answers for every address", "proxy ARP"]
            .iter()
            .all(|part| said.contains(part))
    })
    .map_err(|error| format!("{error}: {}\n{}", found(), world.daemon.log()))?;
    // It said so once this was more than the odd squatter.
    assert!(declines().len() >= 3, "{:?}", declines());
    let four = wait_for("a fourth address to be declined", 3 * SOON, || {
        Some(declines()).filter(|all| all.len() >= 4)
    })?;
    let gaps: Vec<u64> =
        four.windows(2).filter_map(|two| Some(two[1].duration_since(two[0]).ok()?.as_secs())).collect();
    println!("from one decline to the next: {gaps:?} s");
    assert!(gaps[1] >= 10 && gaps[2] >= 20, "{gaps:?}");
    Ok(())
}

#[test]
fn two_hosts_that_are_given_the_same_address_do_not_keep_it_both() -> Result {
    let mut world = World::bridge()?;
    world.dhcp.stop()?;
    let mut host2 = world.lan.docker_host("host2")?;
    host2.make_bridge("br0", Some("192.0.2.11/24"))?;
    host2.dockerd(Dockerd::default())?;
    let _daemon2 = start_daemon(&host2)?;
    let capture = world.lan.capture(world.lan.peer(), "eth0", "udp port 67 or udp port 68 or arp")?;
    for (check, container, shared) in [("fast", "quick", 150), ("wait", "careful", 160)] {
        let _server = sharing(&world, shared)?;
        let network = ["network", "create", "-d", "landline", "--ipam-driver", "null", "-o", "bridge=br0"];
        let further = ["-o", "ignore_conflicts=true", "-o", "lease_timeout=30s"];
        let check = format!("conflict_check={check}");
        let hosts = [("1", &world.host), ("2", &host2)];
        for (_, host) in hosts {
            host.docker_ok(&[&network[..], &further, &["-o", &check, container]].concat())?;
        }
        at_once(&["1".to_owned(), "2".to_owned()], |which| {
            let (_, host) = hosts.iter().find(|(name, _)| *name == which).ok_or("no such host")?;
            let run = ["run", "-d", "--name", container, "--network", container, "box", "sleep", "infinity"];
            Ok(host.docker_ok(&run).map(drop)?)
        })?;
        let addresses = || {
            let of = |host: &landline_testbed::DockerHost| host.container_addresses(container, "br00").ok();
            of(&world.host).zip(of(&host2))
        };
        let (one, two) = wait_for(format!("two addresses ({check})"), 3 * SOON, || {
            addresses().filter(|(one, two)| one.len() == 1 && two.len() == 1 && one != two)
        })
        .map_err(|error| format!("{error}: {:?}\n{}", addresses(), capture.lines().join("\n")))?;
        for address in one.iter().chain(&two) {
            world.lan.router().check(&["ping", "-c1", "-W5", &address.to_string()])?;
        }
        for (_, host) in hosts {
            let mac = host.in_container(container, &["cat", "/sys/class/net/br00/address"])?;
            DhcpAudit::of(&capture.frames(), mac.trim()).assert_clean();
        }
        let shared = Some(Ipv4Addr::new(192, 0, 2, shared));
        let declined =
            |m: &DhcpMessage| m.kind() == Some(DhcpKind::Decline) && m.address_option(50) == shared;
        let declines = capture.dhcp().iter().filter(|(_, message)| declined(message)).count();
        assert!(declines > 0, "nobody declined: {:#?}", capture.lines());
    }
    Ok(())
}

/// A server on the peer that gives everybody this address, until somebody declines it; then each has one of its own behind
/// it.
fn sharing(world: &World, shared: u8) -> Result<FakeServer> {
    let server: Ipv4Addr = PEER_V4.parse()?;
    let address = |last: u8| Ipv4Addr::new(192, 0, 2, last);
    let mut declined = false;
    let mut clients: Vec<[u8; 6]> = Vec::new();
    let script = move |message: &DhcpMessage| {
        let known = clients.iter().position(|mac| *mac == message.chaddr);
        let number = known.unwrap_or_else(|| {
            clients.push(message.chaddr);
            clients.len() - 1
        });
        let own = u8::try_from(number).map_or(shared, |number| shared + 1 + number);
        let grant =
            |kind, address| vec![Reply::now(&DhcpMessage::grant(message, kind, server, address, 600))];
        let has = Some(message.ciaddr).filter(|address| !address.is_unspecified());
        match message.kind() {
            Some(DhcpKind::Discover) => grant(DhcpKind::Offer, address(if declined { own } else { shared })),
            Some(DhcpKind::Request) => message
                .address_option(50)
                .or(has)
                .map(|wanted| grant(DhcpKind::Ack, wanted))
                .unwrap_or_default(),
            Some(DhcpKind::Decline) => {
                declined = true;
                Vec::new()
            }
            _ => Vec::new(),
        }
    };
    Ok(FakeServer::start(world.lan.peer(), server, script)?)
}
