//! What a simulated Ethernet carries: Landline's VDE switch beside `vde_switch` with `vde_plug2tap`, and beside a bridge.

use std::fs;
use std::path::Path;

use landline_testbed::{Daemon, Dnsmasq, DockerHost, Dockerd, Error, Lan, Result};
use serde_json::Value;

use super::Extent;
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

    /// How to run something at the sender, at the receiver, and the receiver's address.
    fn ends(self, lab: &Lab) -> Result<(Vec<String>, Vec<String>, &'static str)> {
        let container = |name: &str| -> Result<Vec<String>> {
            let pid = lab.host.container_pid(name)?.to_string();
            Ok(["nsenter", "-t", &pid, "-n"].map(str::to_owned).to_vec())
        };
        let machine = |name: &str| ["ip", "netns", "exec", name].map(str::to_owned).to_vec();
        Ok(match self {
            Self::Bridge => (container("b1")?, container("b2")?, "203.0.113.3"),
            Self::Vde => (container("v1")?, container("v2")?, "198.51.100.3"),
            Self::ToForeign => (container("v1")?, machine("far"), "198.51.100.50"),
            Self::FromForeign => (machine("far"), container("v1")?, "198.51.100.2"),
            Self::PlugToTap => (machine("p1"), machine("p2"), "192.0.2.102"),
        })
    }
}

/// What one run gave.
#[derive(Debug, Clone, Copy)]
struct Measured {
    gbit: f64,
    rtt_us: f64,
    /// Seconds of processor time, of the whole machine, for each 10^9 bits.
    cpu: f64,
    /// How many UDP datagrams in frames of 64 bytes arrive in a second.
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

    fn on(&self, place: &[String], argv: &[&str]) -> Result<String> {
        let argv: Vec<&str> = place.iter().map(String::as_str).chain(argv.iter().copied()).collect();
        self.host.check(&argv)
    }

    fn measure(&self, pair: Pair) -> Result<Measured> {
        let (sender, receiver, target) = pair.ends(self)?;
        let ping = self.on(&sender, &["ping", "-q", "-c", "100", "-i", "0.005", target])?;
        let rtt = ping.split("mdev = ").nth(1).and_then(|times| times.split('/').nth(1)?.parse::<f64>().ok());
        let busy = busy();
        let tcp = self.iperf(&sender, &receiver, target, "-t 3")?;
        let spent = self::busy() - busy;
        // 18 bytes in UDP, IPv4 and Ethernet, and the check sequence that is not there.
        let udp = self.iperf(&sender, &receiver, target, "-u -b 0 -l 18 -t 2")?;
        let (tcp, udp) = (&tcp["end"]["sum_received"], &udp["end"]["sum"]);
        let number = |sum: &Value, key: &str| {
            let missing = || Error::Unexpected(format!("{}: no {key} in {sum}", pair.title()));
            sum[key].as_f64().ok_or_else(missing)
        };
        let rtt = rtt.ok_or_else(|| Error::Unexpected(format!("{}: no times in {ping}", pair.title())))?;
        let arrived = number(udp, "packets")? - number(udp, "lost_packets")?;
        Ok(Measured {
            gbit: number(tcp, "bits_per_second")? / 1e9,
            rtt_us: rtt * 1000.0,
            cpu: spent / (number(tcp, "bytes")? * 8.0 / 1e9),
            packets: arrived / number(udp, "seconds")?,
        })
    }

    /// What `iperf3` reports of a run between two places.
    fn iperf(&self, sender: &[String], receiver: &[String], target: &str, options: &str) -> Result<Value> {
        self.on(receiver, &["iperf3", "-s", "-1", "-D"])?;
        // The server may need a moment until it listens.
        let retry = format!(
            "for i in 1 2 3 4 5; do iperf3 -J {options} -c {target} && exit 0; sleep 0.2; done; exit 1"
        );
        let text = self.on(sender, &["sh", "-c", &retry])?;
        // What failed before it has left an object in front.
        let last = text.rfind("\n{").map_or(0, |at| at + 1);
        serde_json::from_str(&text[last..]).map_err(|_| Error::Unexpected(format!("no result: {text}")))
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

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
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
         iperf3, one stream of 3 s, and 2 s of frames of 64 bytes, as many as go; 100 pings. Runs of each: {runs}, in turn (and\n\
         before them one that is not counted). CPU: of the whole machine, whatever else it did.\n\n{table}\n{packets}"
    );
    Ok(())
}
