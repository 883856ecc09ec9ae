//! `docs/guide.md`, typed as it stands: every block of commands on the page, in its order, on the host that the page describes.

use std::net::Ipv4Addr;
use std::time::Duration;

use landline_testbed::{Dnsmasq, DockerHost, Dockerd, LOG_IN_DETAIL, Lan, Process};
use landline_types::Mac;

use crate::ipvlan::step;
use crate::world::{Result, binary};

const GUIDE: &str = include_str!("../../../../docs/guide.md");

/// Commands that are not run, by what they begin with, and why.
const LEFT_OUT: [(&str, &str); 5] = [
    ("docker run -d --name mail", "as the page says, it needs Docker 29 or another IPAM driver"),
    ("qemu-system-x86_64", "a test of VDE has a guest"),
    ("tcpdump", "it would wait for a key"),
    ("apt install", "the test of the service installs and upgrades the package"),
    ("apt purge", "the test of the service removes it"),
];

/// How long one command may take.
const SLOWLY: Duration = Duration::from_mins(4);

/// Parts of Compose files that need the rest of one around them, by their first line.
const PARTS: [&str; 2] = ["    networks:", "networks:"];

/// A block of the page, in its fence.
struct Block {
    language: &'static str,
    lines: Vec<&'static str>,
}

fn blocks() -> Vec<Block> {
    let (mut blocks, mut open) = (Vec::new(), None::<Block>);
    for line in GUIDE.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some(Block { language, lines: Vec::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.lines.push(line),
            (None, None) => {}
        }
    }
    blocks
}

/// A command of a block, and what the page says that it prints.
#[derive(Debug, Default)]
struct Command {
    line: String,
    prints: Vec<&'static str>,
}

/// The commands of a block. Where it shows what is printed, they have a `$` in front.
fn commands(block: &Block) -> Vec<Command> {
    let mut commands = Vec::<Command>::new();
    let shows = block.lines.iter().any(|line| line.starts_with("$ "));
    for line in &block.lines {
        let command = if shows { line.strip_prefix("$ ") } else { Some(line.trim_start()) };
        match (commands.last_mut(), command) {
            (Some(last), Some(more)) if last.line.ends_with('\\') => {
                last.line.truncate(last.line.len() - 1);
                last.line.push_str(more);
            }
            (_, Some(command)) => commands.push(Command { line: command.to_owned(), prints: Vec::new() }),
            (Some(last), None) => last.prints.push(line),
            (None, None) => {}
        }
    }
    commands
}

/// What is printed without what differs from host to host: addresses, times, the width of columns.
fn shape(text: &str) -> Vec<String> {
    let word = |word: &str| match word {
        _ if word.parse::<Mac>().is_ok() => "MAC".to_owned(),
        _ if word.split('/').next().is_some_and(|word| word.parse::<Ipv4Addr>().is_ok()) => {
            "ADDRESS".to_owned()
        }
        _ if !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || "hms".contains(c)) => {
            "TIME".to_owned()
        }
        _ => word.to_owned(),
    };
    let line = |line: &str| {
        line.split([' ', ',', '=']).filter(|word| !word.is_empty()).map(word).collect::<Vec<_>>()
    };
    text.lines().map(|text| line(text).join(" ")).collect()
}

/// A host with the programs of the page at hand.
struct Machine {
    host: DockerHost,
    bin: tempfile::TempDir,
}

impl Machine {
    fn new(host: DockerHost) -> Result<Self> {
        let bin = tempfile::tempdir()?;
        std::os::unix::fs::symlink(binary(), bin.path().join("landline"))?;
        Ok(Self { host, bin })
    }

    /// The images of the page, with something that listens on a port.
    fn images(&self) -> Result {
        self.host.docker_ok(&["create", "--name", "template", "box"])?;
        let change = "CMD [\"httpd\",\"-f\",\"-p\",\"80\",\"-h\",\"/www\"]";
        for image in ["nginx", "pihole/pihole"] {
            let commit = ["commit", "--change", change, "--change", "EXPOSE 80", "template", image];
            self.host.docker_ok(&commit)?;
        }
        self.host.docker_ok(&["rm", "template"])?;
        Ok(())
    }

    fn sh(&self, script: &str) -> Result<String> {
        // What is in `/usr/local/bin` may be newer than this Docker.
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.bin.path().display());
        let script = format!("export PATH={path}\n{script}");
        let output = self.host.node().run_within(&["sh", "-ec", &script], SLOWLY);
        if output.success() { Ok(output.stdout) } else { Err(output.stderr.into()) }
    }

    fn type_in(&self, block: &Block) -> Result {
        for command in commands(block) {
            if LEFT_OUT.iter().any(|(start, _)| command.line.starts_with(start)) {
                continue;
            }
            step(&command.line);
            if command.line.starts_with("docker network rm") {
                self.empty(&command.line)?;
            }
            let printed = self.sh(&command.line)?;
            if !command.prints.is_empty() {
                assert_eq!(shape(&printed), shape(&command.prints.join("\n")), "{}", command.line);
            }
        }
        Ok(())
    }

    /// Removes the containers that use a network, as the page says, where it names one of them for all.
    fn empty(&self, command: &str) -> Result {
        let network = command.split_whitespace().nth(3).ok_or("which network?")?;
        self.sh(&format!("docker ps -aq --filter network={network} | xargs -r docker rm -f"))?;
        Ok(())
    }

    /// Starts the project, looks whether its container runs, and ends it.
    fn compose(&self, block: &Block) -> Result {
        step(block.lines.first().unwrap_or(&"Compose"));
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("compose.yaml");
        std::fs::write(&file, block.lines.join("\n"))?;
        let compose = format!("docker-compose --no-ansi -p page -f {}", file.display());
        self.sh(&format!("{compose} up -d"))?;
        let names = self.host.docker_ok(&["ps", "--filter", "name=page_", "--format", "{{.Names}}"])?;
        assert_eq!(names.lines().count(), 1, "{names}");
        let listed = self.sh("landline ls")?;
        assert!(listed.lines().any(|line| line.contains(names.trim())), "{listed}");
        self.sh(&format!("{compose} down"))?;
        Ok(())
    }
}

/// The DHCP server of VLAN 12.
fn serve_vlan(lan: &Lan) -> Result<Process> {
    lan.router().sh("ip link add link eth0 name eth0.12 type vlan id 12
         ip address add 198.51.100.1/24 dev eth0.12
         ip link set eth0.12 up")?;
    let argv = [
        "dnsmasq",
        "-k",
        "--conf-file=/dev/null",
        "--user=root",
        "--port=0",
        "--bind-interfaces",
        "--interface=eth0.12",
        "--dhcp-range=198.51.100.100,198.51.100.150,1h",
        "--dhcp-leasefile=/tmp/landline-guide.leases",
        "--pid-file=/tmp/landline-guide.pid",
    ];
    Ok(lan.router().spawn(&argv)?)
}

/// A further NIC of a host, on the LAN.
fn plug(lan: &Lan, host: &DockerHost, name: &str) -> Result {
    let netns = host.node().netns();
    lan.switch().sh(&format!(
        "ip link add p-{name} type veth peer name {name} netns {netns}
         ip link set p-{name} master sw up"
    ))?;
    host.check(&["ip", "link", "set", name, "up"])?;
    Ok(())
}

#[test]
#[ignore = "the kernel outside may have no VLANs, ipvlan and Open vSwitch; runs in the VM"]
fn the_guide() -> Result {
    let lan = Lan::new()?;
    let _dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let _vlan = serve_vlan(&lan)?;

    let mut host = lan.docker_host("host1")?;
    host.check(&["ip", "address", "add", "192.0.2.10/24", "dev", "eth0"])?;
    host.check(&["ip", "route", "add", "default", "via", "192.0.2.1"])?;
    plug(&lan, &host, "eth1")?;
    plug(&lan, &host, "wlan0")?;
    let _switch = host.open_vswitch()?;
    // What is put into Open vSwitch's database is for a host that systemd clears it up on at boot.
    host.check(&["mkdir", "-p", "/run/systemd/system"])?;
    let pool = "--default-address-pool=base=203.0.113.128/25,size=28".to_owned();
    host.dockerd(Dockerd {
        iptables: true,
        bridge: Some("203.0.113.1/26".into()),
        extra: vec![pool],
        ..Dockerd::default()
    })?;
    let daemon = host.start_landline(binary(), &[], &[LOG_IN_DETAIL])?;
    let nic = Machine::new(host)?;
    nic.images()?;

    let mut host = lan.docker_host("host2")?;
    host.make_bridge("br0", Some("192.0.2.11/24"))?;
    host.dockerd(Dockerd::default())?;
    let _other = host.start_landline(binary(), &[], &[LOG_IN_DETAIL])?;
    let bridge = Machine::new(host)?;

    let mut parts = Vec::new();
    for block in blocks() {
        let has = |word: &str| block.lines.iter().any(|line| line.contains(word));
        let typed = match block.language {
            "yaml" if PARTS.contains(&block.lines[0]) => {
                parts.push(block.lines[0]);
                Ok(())
            }
            "yaml" => nic.compose(&block),
            _ if has("br0") && !has("ovsbr0") => bridge.type_in(&block),
            // On a Wi-Fi interface the host has its address on the LAN. On this host another NIC has it, and would answer for it, too.
            _ if has("parent=wlan0") => {
                let address = |verb| {
                    nic.host.check(&["ip", "address", verb, "192.0.2.14/24", "dev", "wlan0"]).map(drop)
                };
                address("add")?;
                let typed = nic.type_in(&block);
                nic.host.docker_ok(&["network", "rm", "wifi"])?;
                address("del")?;
                typed
            }
            _ => nic.type_in(&block),
        };
        typed.map_err(|error| format!("{error}\n--- landline:\n{}", daemon.log()))?;
    }
    assert_eq!(parts, PARTS, "the page has changed: which of them can be run?");
    for (start, why) in LEFT_OUT {
        let there = blocks().iter().flat_map(commands).any(|command| command.line.starts_with(start));
        assert!(there, "{start} is not on the page any more ({why})");
    }
    Ok(())
}
