//! What a simulated Ethernet carries: Landline's VDE switch beside `vde_switch` with `vde_plug2tap`, and beside a bridge.

use std::fs;
use std::path::Path;

use landline_testbed::{Daemon, Dnsmasq, DockerHost, Dockerd, Lan, Result};

use super::Extent;
use super::iperf::{self, in_container, in_netns, median, number};
use super::rounds::in_turn;
use super::table::{Table, times};

/// Two machines that talk to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pair {
    /// Containers on a network of mode=bridge.
    Bridge,
    /// Containers on a network of mode=vde.
    Vde,
    /// A container there that sends to a `vde_plug2tap` on the same switch.
    ToForeign,
    /// The other way.
    FromForeign,
    /// Two `vde_plug2tap` on a `vde_switch`.
    PlugToTap,
}

const PAIRS: [Pair; 5] = [Pair::Bridge, Pair::Vde, Pair::ToForeign, Pair::FromForeign, Pair::PlugToTap];

impl Pair {
    const fn title(self) -> &'static str {
        match self {
            Self::Bridge => "container to container, mode=bridge (veth, kernel bridge)",
            Self::Vde => "container to container, mode=vde",
            Self::ToForeign => "container to vde_plug2tap, mode=vde",
            Self::FromForeign => "vde_plug2tap to container, mode=vde",
            Self::PlugToTap => "vde_plug2tap to vde_plug2tap, vde_switch",
        }
    }

    fn path(self, host: &DockerHost) -> Result<iperf::Path> {
        let (container, machine) = (|name| in_container(host, name), in_netns);
        let (sender, receiver, target) = match self {
            Self::Bridge => (container("b1")?, container("b2")?, "203.0.113.3"),
            Self::Vde => (container("v1")?, container("v2")?, "198.51.100.3"),
            Self::ToForeign => (container("v1")?, machine("far"), "198.51.100.50"),
            Self::FromForeign => (machine("far"), container("v1")?, "198.51.100.2"),
            Self::PlugToTap => (machine("p1"), machine("p2"), "192.0.2.102"),
        };
        Ok(iperf::Path { sender, receiver, target })
    }
}

/// What one run gave.
#[derive(Debug, Clone, Copy)]
struct Measured {
    gbit: f64,
    rtt_us: f64,
    /// Seconds of processor time, of the whole machine, for each 10^9 bits.
    cpu: f64,
    /// How many frames of 64 bytes arrive in a second.
    packets: f64,
}

struct Lab {
    _daemon: Daemon,
    host: DockerHost,
    _lan: Lan,
}

impl Lab {
    fn new(landline: &Path) -> Result<Self> {
        let lan = Lan::new()?;
        let _server = lan.dnsmasq(Dnsmasq::default())?;
        let mut host = lan.docker_host("host1")?;
        host.dockerd(Dockerd::default())?;
        host.check(&["ip", "link", "add", "br9", "type", "bridge", "mcast_snooping", "0"])?;
        host.check(&["ip", "link", "set", "br9", "up"])?;
        let daemon = host.start_landline(landline, &[], &[])?;
        let create = |name: &str, subnet: &str, options: &[&str]| {
            let head = ["network", "create", "-d", "landline", "--subnet", subnet];
            host.docker_ok(&[&head, options, &[name]].concat()).map(drop)
        };
        let dir = "socket_dir=/run/bench";
        create("vde", "198.51.100.0/24", &["-o", "mode=vde", "-o", dir, "-o", "create_sockets=true"])?;
        create("plain", "203.0.113.0/24", &["-o", "bridge=br9", "-o", "addressing=static"])?;
        for (name, network, address) in [
            ("v1", "vde", "198.51.100.2"),
            ("v2", "vde", "198.51.100.3"),
            ("b1", "plain", "203.0.113.2"),
            ("b2", "plain", "203.0.113.3"),
        ] {
            let run = ["run", "-d", "--name", name, "--network", network, "--ip", address];
            host.docker_ok(&[&run[..], &["box", "sleep", "infinity"]].concat())?;
        }
        host.check(&["vde_switch", "-s", "/run/theirs", "-d"])?;
        for (name, dir, address) in [
            ("far", "/run/bench", "198.51.100.50/24"),
            ("p1", "/run/theirs", "192.0.2.101/24"),
            ("p2", "/run/theirs", "192.0.2.102/24"),
        ] {
            host.check(&["ip", "netns", "add", name])?;
            let script = format!(
                "vde_plug2tap -s {dir} -d tap0; until ip link set tap0 up 2>/dev/null; do sleep 0.05; done; \
                 ip addr add {address} dev tap0"
            );
            host.check(&["ip", "netns", "exec", name, "sh", "-ec", &script])?;
        }
        Ok(Self { _daemon: daemon, host, _lan: lan })
    }

    fn measure(&self, pair: Pair) -> Result<Measured> {
        let path = pair.path(&self.host)?;
        let rtt_us = path.round_trip(&self.host)?;
        let busy = busy();
        let tcp = path.iperf(&self.host, "-t 3")?;
        let spent = self::busy() - busy;
        let tcp = &tcp["end"]["sum_received"];
        Ok(Measured {
            gbit: number(tcp, "bits_per_second")? / 1e9,
            rtt_us,
            cpu: spent / (number(tcp, "bytes")? * 8.0 / 1e9),
            packets: path.packets(&self.host)?,
        })
    }
}

/// Seconds the processors have worked since the boot (`proc_stat(5)`).
fn busy() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    // Idle and waiting for a disk are the fourth and fifth; guests are counted in the first two already.
    let work = ticks.iter().take(8).sum::<f64>() - ticks.iter().skip(3).take(2).sum::<f64>();
    work / 100.0
}

pub(super) fn measure(landline: &Path, extent: Extent) -> Result<()> {
    let lab = Lab::new(landline)?;
    let runs = extent.runs.min(5);
    let results = in_turn(1, runs, &PAIRS, |pair| lab.measure(*pair))?;
    let medians: Vec<Measured> = results
        .iter()
        .map(|runs| Measured {
            gbit: median(runs.iter().map(|run| run.gbit)),
            rtt_us: median(runs.iter().map(|run| run.rtt_us)),
            cpu: median(runs.iter().map(|run| run.cpu)),
            packets: median(runs.iter().map(|run| run.packets)),
        })
        .collect();
    let [bridge, .., plug] = medians.as_slice() else { return Ok(()) };
    let mut table =
        Table::new(&["TCP", "Gbit/s", "/ bridge", "/ vde_plug2tap", "round trip µs", "CPU s per Gbit"]);
    let mut packets = Table::new(&["UDP", "packets/s", "/ bridge", "/ vde_plug2tap"]);
    for (pair, measured) in PAIRS.iter().zip(&medians) {
        table.row(
            pair.title(),
            [
                format!("{:.2}", measured.gbit),
                times(measured.gbit, bridge.gbit),
                times(measured.gbit, plug.gbit),
                format!("{:.0}", measured.rtt_us),
                format!("{:.2}", measured.cpu),
            ],
        );
        packets.row(
            pair.title(),
            [
                format!("{:.0}", measured.packets),
                times(measured.packets, bridge.packets),
                times(measured.packets, plug.packets),
            ],
        );
    }
    print!(
        "\n## A simulated Ethernet\n\n\
         iperf3, one stream of 3 s, and 2 s of frames of 64 bytes, 64 in a system call; 100 pings. Runs of each: {runs}, in turn (and\n\
         before them one that is not counted). CPU: of the whole machine, whatever else it did.\n\n{table}\n{packets}"
    );
    Ok(())
}
