//! What translation and routing cost: a container under an address of the LAN on the host, and one that the host routes to, beside
//! Docker's own `-p`, a bridge and macvlan.

use std::path::Path as File;

use landline_testbed::{Daemon, DockerHost, Dockerd, Lan, Result};

use super::Extent;
use super::iperf::{Path, in_container, in_netns, median, number};
use super::rounds::in_turn;
use super::table::{Table, times};

/// The container of each way, and where a machine of the LAN reaches it.
const WAYS: [(&str, &str, &str); 6] = [
    ("mode=bridge, not translated", "bridged", "192.0.2.121"),
    ("mode=macvlan on the bridge", "child", "192.0.2.138"),
    ("mode=routed", "routed", "192.0.2.130"),
    ("Docker's bridge, -p", "published", "192.0.2.10"),
    ("mode=nat", "translated", "192.0.2.122"),
    ("Docker's bridge, landline nat", "recorded", "192.0.2.123"),
];

struct Lab {
    // Dropped in this order.
    _daemon: Daemon,
    host: DockerHost,
    _lan: Lan,
}

impl Lab {
    fn new(landline: &File) -> Result<Self> {
        let lan = Lan::new()?;
        let mut host = lan.docker_host("host1")?;
        host.make_bridge("br0", Some("192.0.2.10/24"))?;
        host.node().sh("ip netns add machine
             ip link add name machine type veth peer name eth0 netns machine
             ip link set machine master br0 up
             ip -n machine link set eth0 up
             ip -n machine address add 192.0.2.50/24 dev eth0")?;
        let bridge = Some("198.51.100.1/24".into());
        host.dockerd(Dockerd { iptables: true, bridge, ..Dockerd::default() })?;
        let daemon = host.start_landline(landline, &[], &[])?;
        for words in [
            "network create -d landline -o bridge=br0 -o addressing=static -o firewall=open --subnet 192.0.2.0/24 \
             --gateway 192.0.2.1 lan",
            "network create -d landline -o mode=nat -o parent=br0 -o firewall=open -o ports=all \
             -o lan_ip=192.0.2.122 --subnet 203.0.113.0/24 private",
            "network create -d landline --ipam-driver landline -o mode=routed -o parent=br0 -o firewall=open -o addressing=pool \
             --subnet 192.0.2.0/24 --gateway 192.0.2.1 --ip-range 192.0.2.128/29 routed",
            "network create -d landline --ipam-driver landline -o mode=macvlan -o parent=br0 -o addressing=pool \
             --subnet 192.0.2.0/24 --gateway 192.0.2.1 --ip-range 192.0.2.136/29 children",
            "run -d --name routed --network routed --ip 192.0.2.130 box sleep infinity",
            "run -d --name child --network children --ip 192.0.2.138 box sleep infinity",
            "run -d --name bridged --network lan --ip 192.0.2.121 box sleep infinity",
            "run -d --name published -p 5201:5201 box sleep infinity",
            "run -d --name translated --network private box sleep infinity",
            "run -d --name recorded box sleep infinity",
        ] {
            host.docker_ok(&words.split_whitespace().collect::<Vec<_>>())?;
        }
        let record = ["nat", "recorded", "192.0.2.123", "--dev", "br0", "--port", "all", "--open-firewall"];
        host.landline_ok(landline, &record)?;
        Ok(Self { _daemon: daemon, host, _lan: lan })
    }
}

pub(super) fn measure(landline: &File, extent: Extent) -> Result<()> {
    let lab = Lab::new(landline)?;
    let runs = extent.runs.min(9);
    let results = in_turn(1, runs, &WAYS, |(_, container, target)| {
        let receiver = in_container(&lab.host, container)?;
        let path = Path { sender: in_netns("machine"), receiver, target };
        let tcp = &path.iperf(&lab.host, "-t 3")?["end"]["sum_received"];
        Ok((number(tcp, "bits_per_second")? / 1e9, path.round_trip(&lab.host)?))
    })?;
    let medians: Vec<(f64, f64)> = results
        .iter()
        .map(|runs| (median(runs.iter().map(|run| run.0)), median(runs.iter().map(|run| run.1))))
        .collect();
    let [_, _, _, published, ..] = medians.as_slice() else { return Ok(()) };
    let mut table = Table::new(&["from a machine of the LAN", "Gbit/s", "/ -p", "round trip µs"]);
    for ((title, ..), (gbit, round_trip)) in WAYS.iter().zip(&medians) {
        table.row(title, [format!("{gbit:.2}"), times(*gbit, published.0), format!("{round_trip:.0}")]);
    }
    print!(
        "\n## Translated and routed addresses\n\n\
         iperf3, one stream of 3 s; 100 pings, which with -p the host answers. Runs of each: {runs}, in turn (and before them\n\
         one that is not counted).\n\n{table}"
    );
    Ok(())
}
