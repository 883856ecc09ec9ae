//! What Open vSwitch carries between containers, beside two ports on the same bridge that somebody made by hand.

use std::path::Path as File;

use landline_testbed::{Daemon, DockerHost, Dockerd, Lan, OpenVswitch, Result};

use super::Extent;
use super::iperf::{Path, in_container, in_netns, median, number};
use super::rounds::in_turn;
use super::table::{Table, times};

struct Lab {
    // Dropped in this order.
    _daemon: Daemon,
    _ovs: OpenVswitch,
    host: DockerHost,
    _lan: Lan,
}

impl Lab {
    fn new(landline: &File) -> Result<Self> {
        let lan = Lan::new()?;
        let mut host = lan.docker_host("host1")?;
        let ovs = host.open_vswitch()?;
        ovs.make_bridge("ovs0", "192.0.2.10/24")?;
        host.dockerd(Dockerd::default())?;
        let daemon = host.start_landline(landline, &[], &[])?;
        let options = ["-o", "mode=ovs", "-o", "bridge=ovs0", "-o", "addressing=static"];
        let create = ["network", "create", "-d", "landline", "--subnet", "198.51.100.0/24"];
        host.docker_ok(&[&create[..], &options, &["lan"]].concat())?;
        for (n, name, address) in [(1, "c1", "198.51.100.2"), (2, "c2", "198.51.100.3")] {
            let run = ["run", "-d", "--name", name, "--network", "lan", "--ip", address];
            host.docker_ok(&[&run[..], &["box", "sleep", "infinity"]].concat())?;
            host.node().sh(&format!(
                "ip netns add hand{n}
                 ip link add name hand{n} type veth peer name eth0 netns hand{n}
                 ip link set hand{n} up
                 ovs-vsctl add-port ovs0 hand{n}
                 ip netns exec hand{n} ethtool -K eth0 tx off >/dev/null
                 ip -n hand{n} link set eth0 up
                 ip -n hand{n} address add 203.0.113.{n}/24 dev eth0"
            ))?;
        }
        Ok(Self { _daemon: daemon, _ovs: ovs, host, _lan: lan })
    }
}

pub(super) fn measure(landline: &File, extent: Extent) -> Result<()> {
    let lab = Lab::new(landline)?;
    let containers = Path {
        sender: in_container(&lab.host, "c1")?,
        receiver: in_container(&lab.host, "c2")?,
        target: "198.51.100.3",
    };
    let hands = Path { sender: in_netns("hand1"), receiver: in_netns("hand2"), target: "203.0.113.2" };
    let paths = [("container to container, mode=ovs", containers), ("between ports made by hand", hands)];
    let runs = extent.runs.min(9);
    let results = in_turn(1, runs, &paths, |(_, path)| {
        let tcp = &path.iperf(&lab.host, "-t 3")?["end"]["sum_received"];
        Ok((number(tcp, "bits_per_second")? / 1e9, path.round_trip(&lab.host)?))
    })?;
    let medians: Vec<(f64, f64)> = results
        .iter()
        .map(|runs| (median(runs.iter().map(|run| run.0)), median(runs.iter().map(|run| run.1))))
        .collect();
    let Some(&(by_hand, _)) = medians.last() else { return Ok(()) };
    let mut table = Table::new(&["TCP", "Gbit/s", "/ by hand", "round trip µs"]);
    for ((title, _), (gbit, rtt)) in paths.iter().zip(&medians) {
        table.row(title, [format!("{gbit:.2}"), times(*gbit, by_hand), format!("{rtt:.0}")]);
    }
    print!(
        "\n## Open vSwitch, its datapath in user space\n\n\
         iperf3, one stream of 3 s; 100 pings. Runs of each: {runs}, in turn (and before them one that is not counted).\n\n\
         {table}"
    );
    Ok(())
}
