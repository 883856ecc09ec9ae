use super::*;
use crate::attach::{AttachSpec, LinkChoice, Parent, split_words};
use crate::modes::Mode;
use crate::words::Addressing;

fn parse(text: &str) -> Result<Pipework, AttachError> {
    Pipework::parse(&split_words(text).unwrap())
}

fn spec(text: &str) -> AttachSpec {
    match parse(text) {
        Ok(Pipework::Attach(attach)) => attach.spec,
        other => panic!("{text:?} is {other:?}"),
    }
}

/// What counts of an attachment, on one line.
fn line(text: &str) -> String {
    let spec = spec(text);
    let mut words = vec![match &spec.parent {
        Parent::Name(name) => name.to_string(),
        Parent::Mac(mac) => format!("nic {mac}"),
        Parent::Dummy => "dummy".into(),
        Parent::Switch(dir) => dir.display().to_string(),
    }];
    words.extend(spec.ifname.map(|name| format!("as {name}")));
    words.extend(spec.host_end.map(|name| format!("other end {name}")));
    words.extend(spec.addresses.iter().map(ToString::to_string));
    words.extend(spec.dhcp.then(|| "dhcp".into()));
    words.extend(spec.endpoint.hostname.map(|name| format!("called {name}")));
    words.extend(spec.endpoint.ip.map(|ip| format!("asks for {ip}")));
    words.extend(spec.mac.map(|mac| format!("mac {mac}")));
    words.extend(spec.options.iter().map(|(k, v)| format!("{k}={v}")));
    words.extend((spec.link == LinkChoice::Nic).then(|| "the nic itself".into()));
    words.extend(spec.create.then(|| "made if missing".into()));
    words.join(", ")
}

#[test]
fn every_form_of_pipework() {
    for (text, meaning) in [
        ("br1 web 192.0.2.5/24", "br1, as eth1, 192.0.2.5/24, made if missing"),
        ("br1 web 192.0.2.5/24@192.0.2.1", "br1, as eth1, 192.0.2.5/24@192.0.2.1, made if missing"),
        ("eth2 web 192.0.2.5/24", "eth2, as eth1, 192.0.2.5/24"),
        ("br1 -i eth2 web 192.0.2.5/24", "br1, as eth2, 192.0.2.5/24, made if missing"),
        ("br1 -l weblan web 192.0.2.5/24", "br1, as eth1, other end weblan, 192.0.2.5/24, made if missing"),
        (
            "br1 -i eth2 -l weblan -a 4 web 192.0.2.5/24",
            "br1, as eth2, other end weblan, 192.0.2.5/24, made if missing",
        ),
        (
            "br1 -a 6 web 2001:db8::5/64@2001:db8::1",
            "br1, as eth1, 2001:db8::5/64@2001:db8::1, made if missing",
        ),
        ("br1 web 0/0", "br1, as eth1, made if missing"),
        ("br1 web dhcp", "br1, as eth1, dhcp, made if missing"),
        ("br1 web udhcpc", "br1, as eth1, dhcp, made if missing"),
        ("br1 web udhcpc-f", "br1, as eth1, dhcp, made if missing"),
        ("br1 web dhclient", "br1, as eth1, dhcp, made if missing"),
        ("br1 web dhclient-f", "br1, as eth1, dhcp, made if missing"),
        ("br1 web dhcpcd", "br1, as eth1, dhcp, made if missing"),
        ("br1 web dhcp:-f", "br1, as eth1, dhcp, made if missing"),
        ("br1 web 'udhcpc:-f -x hostname:shop -t 5'", "br1, as eth1, dhcp, called shop, made if missing"),
        (
            "br1 web 'dhcpcd:-h shop -r 192.0.2.9'",
            "br1, as eth1, dhcp, called shop, asks for 192.0.2.9, made if missing",
        ),
        ("br1 web 'dhclient:-v -H shop'", "br1, as eth1, dhcp, called shop, made if missing"),
        ("br1 web dhcp fa:de:b0:99:52:1c", "br1, as eth1, dhcp, mac fa:de:b0:99:52:1c, made if missing"),
        ("br1 web dhcp U:myhost.foo.com", "br1, as eth1, dhcp, mac 02:72:6c:cd:9b:8d, made if missing"),
        ("mac:00:00:5e:00:53:01 web 192.0.2.5/24", "nic 00:00:5e:00:53:01, as eth1, 192.0.2.5/24"),
        ("--direct-phys eth1 web 192.0.2.5/24", "eth1, as eth1, 192.0.2.5/24, the nic itself"),
        (
            "--direct-phys mac:00:00:5e:00:53:01 -i lan web 0/0",
            "nic 00:00:5e:00:53:01, as lan, the nic itself",
        ),
        ("dummy web 192.0.2.5/24", "dummy, as eth1, 192.0.2.5/24"),
        (
            "dummy -i d0 web 192.0.2.5/24@192.0.2.1 02:00:00:00:00:01",
            "dummy, as d0, 192.0.2.5/24@192.0.2.1, mac 02:00:00:00:00:01",
        ),
        ("br0 -i eth0 test1 192.168.1.70/24 ", "br0, as eth0, 192.168.1.70/24, made if missing"),
    ] {
        assert_eq!(line(text), meaning, "{text}");
        // The store and the control socket see the same.
        let value = parse(text).unwrap();
        let json = serde_json::to_string(&value).unwrap();
        assert_eq!(serde_json::from_str::<Pipework>(&json).unwrap(), value);
    }
}

#[test]
fn a_vlan_is_an_option_of_the_network() {
    let text = "eth0 web dhcp 02:00:00:00:00:01@12";
    assert_eq!(spec(text).options["vlan"], "12");
    assert_eq!(spec("eth0 web dhcp @12").options["vlan"], "12");
    for bad in ["@0", "@4095", "@x", "@", "@12@13", "02:00:00:00:00:01@+1"] {
        assert!(parse(&format!("eth0 web dhcp {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn the_network_of_an_attachment() {
    let network = spec("br1 web dhcp").network(&"br1".parse().unwrap(), Mode::Bridge).unwrap();
    assert_eq!((network.mode, network.addressing), (Mode::Bridge, Addressing::Dhcp));
    let network = spec("eth0 web 192.0.2.5/24").network(&"eth0".parse().unwrap(), Mode::Macvlan).unwrap();
    assert_eq!((network.mode, network.addressing), (Mode::Macvlan, Addressing::Static));
    let network = spec("eth0 web 0/0").network(&"eth0".parse().unwrap(), Mode::Macvlan).unwrap();
    assert_eq!(network.addressing, Addressing::None);
}

#[test]
fn waiting() {
    assert_eq!(parse("--wait"), Ok(Pipework::Wait("eth1".parse().unwrap())));
    assert_eq!(parse("--wait -i lan0"), Ok(Pipework::Wait("lan0".parse().unwrap())));
    for bad in ["--wait -i", "--wait lan0", "--wait -i lan0 x", "--wait -i a/b"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn routes_rules_and_queues() {
    for text in [
        "route web add 198.51.100.0/24 via 192.0.2.1",
        "route web add 198.51.100.7 dev eth1 metric 5 table 7 src 192.0.2.5 onlink mtu 1400",
        "route web replace default via 192.0.2.1",
        "route web replace default via 2001:db8::1 dev eth1",
        "route web del 198.51.100.0/24",
        "route web add blackhole 203.0.113.0/24",
        "rule web add from 192.0.2.5 table 7 priority 100",
        "rule web add fwmark 0x1/0xff iif eth1 lookup main",
        "rule web del to 198.51.100.0/24",
        "tc web qdisc add dev eth3 root netem loss 30%",
        "tc web qdisc add dev eth3 root netem delay 100ms 10ms loss random 0.5% duplicate 1%",
        "tc web qdisc replace dev eth1 root handle 1: tbf rate 1mbit burst 32kbit latency 400ms",
        "tc web qdisc add root dev eth1 fq_codel",
        "tc web qdisc del dev eth1 root",
    ] {
        let value = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(value.target().unwrap().to_string(), "web");
        let json = serde_json::to_string(&value).unwrap();
        assert_eq!(serde_json::from_str::<Pipework>(&json).unwrap(), value, "{text}");
    }
    let Ok(Pipework::Change(_, Change::Tc(tbf))) =
        parse("tc web qdisc add dev eth1 root tbf rate 1mbit burst 32kbit latency 400ms")
    else {
        panic!("not a queue")
    };
    assert_eq!(tbf.qdisc, Some(Qdisc::Tbf { rate: 125_000, burst: 4096, limit: 54_096 }));
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_run() {
    for (text, part) in [
        ("", "an interface of this host is missing"),
        ("br1", "the container is missing"),
        ("br1 web", "the address is missing"),
        ("br1 web 192.0.2.5", "length of its network's prefix"),
        ("br1 web 192.0.2.5/24 02:00:00:00:00:01 more", "one word too many"),
        ("br1 -l a -i b web 192.0.2.5/24", "one word too many"),
        ("--direct-phys", "an interface of this host is missing"),
        ("--directphys eth0 web 192.0.2.5/24", "an interface of this host"),
        ("br1 -a 5 web 192.0.2.5/24", "write -a 4 or -a 6"),
        ("br1 -a 6 web 192.0.2.5/24", "not of the family"),
        ("br1 web dhcp:-z", "an option of the DHCP client"),
        ("br1 web 'dhcp:-s /tmp/script;id -x'", "a whole option"),
        ("br1 web dhcp U:", "a hardware address"),
        ("$(id) web dhcp", "a parent"),
        ("br1 `id` dhcp", "a container"),
        ("br1 web '$(id)'", "an address"),
        ("br1 ../../etc dhcp", "a container"),
        ("br1 web dhcp;id", "an address"),
        ("tc web exec bpf import /tmp/x run id", "what tc can be asked here"),
        ("tc web -batch /etc/passwd", "what tc can be asked here"),
        ("tc web filter add dev eth0 action bpf", "what tc can be asked here"),
        ("tc web qdisc add dev eth0 root htb", "a queue here"),
        ("route web add default", "the way is missing"),
        ("route web add default via 192.0.2.1 src 2001:db8::1", "one address family"),
        ("route web add 192.0.2.0/24 dev $(id)", "the name of an interface"),
        ("route web save", "something to do here"),
        ("rule web add from x", "a network"),
        ("rule web add fwmark 0x", "a number"),
    ] {
        let error = parse(text).map(|value| panic!("{text:?} is {value:?}")).unwrap_err();
        assert!(error.to_string().contains(part), "{text:?}: {error}");
    }
}

/// What pipework's manual and its code have, line by line: the forms, the kinds of host interfaces, the options, guests, hardware
/// addresses and clients. What it cannot do itself is among them where it can be written.
#[test]
fn every_line_of_pipeworks_usage() {
    for (what, text, meaning) in [
        // pipework IF [-i IF] [-l IF] [-a 4|6] GUEST IP/LENGTH[@GATEWAY] [MAC][@VLAN]
        ("static", "br1 web 192.0.2.5/24", "br1, as eth1, 192.0.2.5/24, made if missing"),
        (
            "static, with everything",
            "br1 -i lan -l wl -a 4 web 192.0.2.5/24@192.0.2.1 02:00:00:00:00:05@12",
            "br1, as lan, other end wl, 192.0.2.5/24@192.0.2.1, mac 02:00:00:00:00:05, vlan=12, made if missing",
        ),
        ("only a VLAN", "eth0 web 192.0.2.5/24 @12", "eth0, as eth1, 192.0.2.5/24, vlan=12"),
        (
            "a text as MAC, and a VLAN",
            "eth0 web 0/0 U:myhost.foo.com@12",
            "eth0, as eth1, mac 02:72:6c:cd:9b:8d, vlan=12",
        ),
        // The same with --direct-phys, for each kind of address.
        (
            "the card, static",
            "--direct-phys eth1 -i lan web 192.0.2.5/24@192.0.2.1",
            "eth1, as lan, 192.0.2.5/24@192.0.2.1, the nic itself",
        ),
        ("the card, nothing", "--direct-phys eth1 web 0/0", "eth1, as eth1, the nic itself"),
        ("the card, dhcp", "--direct-phys eth1 web dhcp", "eth1, as eth1, dhcp, the nic itself"),
        ("the card, dhclient-f", "--direct-phys eth1 web dhclient-f", "eth1, as eth1, dhcp, the nic itself"),
        (
            "the card by its MAC",
            "--direct-phys mac:00:00:5e:00:53:01 web udhcpc",
            "nic 00:00:5e:00:53:01, as eth1, dhcp, the nic itself",
        ),
        (
            "the card with another MAC",
            "--direct-phys eth1 web dhcp 02:00:00:00:00:05",
            "eth1, as eth1, dhcp, mac 02:00:00:00:00:05, the nic itself",
        ),
        // mac:ADDRESS: pipework compares letter by letter, and so misses capitals.
        ("by MAC", "mac:00:00:5e:00:53:01 web dhcp", "nic 00:00:5e:00:53:01, as eth1, dhcp"),
        ("by MAC in capitals", "mac:00:00:5E:00:53:01 web dhcp", "nic 00:00:5e:00:53:01, as eth1, dhcp"),
        // What a host interface is made for when it is missing.
        ("br*", "br-lan web dhcp", "br-lan, as eth1, dhcp, made if missing"),
        ("ovs*", "ovsbr0 web dhcp", "ovsbr0, as eth1, dhcp, made if missing"),
        ("dummy*", "dummy7 web 192.0.2.5/24", "dummy, as eth1, 192.0.2.5/24"),
        ("none of them", "bond0 web dhcp", "bond0, as eth1, dhcp"),
        // 0/0
        ("nothing but a link", "eth0 web 0/0", "eth0, as eth1"),
        // -a
        ("-a 4", "eth0 -a 4 web dhcp", "eth0, as eth1, dhcp"),
        ("-a 6", "eth0 -a 6 web 2001:db8::5/64", "eth0, as eth1, 2001:db8::5/64"),
        // dhcp|udhcpc[-f]|dhclient[-f]|dhcpcd[:OPTIONS]
        ("dhcp", "eth0 web dhcp", "eth0, as eth1, dhcp"),
        ("dhcp, which stays", "eth0 web dhcp:-f", "eth0, as eth1, dhcp"),
        ("udhcpc:", "eth0 web 'udhcpc:-x hostname:shop'", "eth0, as eth1, dhcp, called shop"),
        ("udhcpc-f:", "eth0 web 'udhcpc-f:-x hostname:shop'", "eth0, as eth1, dhcp, called shop"),
        ("dhclient:", "eth0 web 'dhclient:-H shop'", "eth0, as eth1, dhcp, called shop"),
        ("dhclient-f:", "eth0 web 'dhclient-f:-H shop'", "eth0, as eth1, dhcp, called shop"),
        ("dhcpcd:", "eth0 web 'dhcpcd:-h shop'", "eth0, as eth1, dhcp, called shop"),
        // dummy
        (
            "dummy",
            "dummy -i d0 web 198.51.100.5/24@198.51.100.1",
            "dummy, as d0, 198.51.100.5/24@198.51.100.1",
        ),
        // Where pipework fails: what it makes of long names is too long, IPv6 has IPv4's prefix.
        ("a long name", "br0 -i container-lan-0 web dhcp", "br0, as container-lan-0, dhcp, made if missing"),
        ("IPv6", "br0 web 2001:db8::5/64@fe80::1", "br0, as eth1, 2001:db8::5/64@fe80::1, made if missing"),
    ] {
        assert_eq!(line(text), meaning, "{what}: {text}");
    }
    for (guest, target) in [
        ("web", "web"),
        ("0123456789ab", "0123456789ab"),
        ("prod2_app_12", "prod2_app_12"),
        ("pid:4711", "pid:4711"),
        ("netns:/run/netns/x", "netns:/run/netns/x"),
    ] {
        let value = parse(&format!("br0 {guest} dhcp")).unwrap();
        assert_eq!(value.target().unwrap().to_string(), target);
    }
    // The order of options is fixed, as there.
    for text in [
        "eth0 --direct-phys web dhcp",
        "eth0 -l a -i b web dhcp",
        "eth0 -a 4 -i b web dhcp",
        "eth0 web -i b dhcp",
        "eth0 web dhcp -i b",
        "-i b eth0 web dhcp",
        "--wait eth1",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}
