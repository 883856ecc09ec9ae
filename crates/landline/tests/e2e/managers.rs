//! The network managers themselves, in a host's namespaces: they leave the NIC alone while it is under a bridge of
//! Landline's, take it back, and make the bridge at boot from what `--persist` has written.

use landline_testbed::{DhcpKind, Dnsmasq, DockerHost, Lan, Process, wait_for};

use crate::tools::start_daemon;
use crate::world::{Result, SOON, bare, binary};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Configured {
    Networkd,
    NetworkManager,
    Ifupdown,
}

/// What it has for a machine with one NIC and DHCP.
const NETWORKD: &str = "mkdir -p /etc/systemd/network
    printf '[Match]\nName=eth0\n\n[Network]\nDHCP=ipv4\n' > /etc/systemd/network/lan.network";
const NETWORKMANAGER: &str = "rm -rf /etc/NetworkManager; mkdir -p /etc/NetworkManager/system-connections
    printf '[main]\nplugins=keyfile\ndns=none\nauth-polkit=false\n' > /etc/NetworkManager/NetworkManager.conf
    cd /etc/NetworkManager/system-connections
    printf '[connection]\nid=LAN\nuuid=6a7b2a52-6b8e-4f0e-9c1e-2f3b1d0c9a01\ntype=ethernet\ninterface-name=eth0\n
[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=link-local\n' > lan.nmconnection
    chmod 600 lan.nmconnection";
const IFUPDOWN: &str = "printf 'auto lo eth0\niface lo inet loopback\n
iface eth0 inet static\n\taddress 192.0.2.10/24\n\tgateway 192.0.2.1\n' > /etc/network/interfaces";

impl Configured {
    /// Its configuration, as its user wrote it.
    fn configure(self, host: &DockerHost) -> Result {
        host.node().sh(match self {
            Self::Networkd => NETWORKD,
            Self::NetworkManager => NETWORKMANAGER,
            Self::Ifupdown => IFUPDOWN,
        })?;
        Ok(())
    }

    /// Where it is, to be kept over a reboot.
    const fn directory(self) -> &'static str {
        match self {
            Self::Networkd => "/etc/systemd/network",
            Self::NetworkManager => "/etc/NetworkManager",
            Self::Ifupdown => "/etc/network",
        }
    }

    /// Starts it as at boot. Without udev, which a read-only `/sys` tells it, devices are there from the start.
    fn start(self, host: &DockerHost) -> Result<Vec<Process>> {
        host.node().sh(
            "umount -l /sys; mount -t sysfs -o ro sysfs /sys
            mkdir -p /run/dbus /run/network /run/NetworkManager /run/systemd/netif/links /run/systemd/netif/leases
            chown -R systemd-network: /run/systemd/netif; rm -rf /var/lib/NetworkManager/*",
        )?;
        let argv: &[&str] = match self {
            Self::Networkd => &["/lib/systemd/systemd-networkd"],
            Self::NetworkManager => &["NetworkManager", "--no-daemon"],
            Self::Ifupdown => {
                // Open vSwitch's script gives its switch five seconds, which a busy machine may take; what is up stays so.
                let mut said = String::new();
                wait_for("ifup", 3 * SOON, || {
                    let output = host.exec(&["ifup", "-a"]);
                    said.push_str(&output.stderr);
                    output.success()
                })
                .map_err(|error| format!("{error}: {said}"))?;
                return Ok(Vec::new());
            }
        };
        let bus = host.spawn(&["dbus-daemon", "--system", "--nofork", "--nopidfile"])?;
        wait_for("the bus", SOON, || host.exec(&["test", "-S", "/run/dbus/system_bus_socket"]).success())?;
        Ok(vec![host.spawn(argv)?, bus])
    }

    /// Whether it says that the NIC is not its own.
    fn leaves_alone(self, host: &DockerHost) -> bool {
        let argv: &[&str] = match self {
            Self::Networkd => &["networkctl", "--no-pager", "--no-legend", "list", "eth0"],
            _ => &["nmcli", "-g", "GENERAL.STATE", "device", "show", "eth0"],
        };
        host.exec(argv).stdout.contains("unmanaged")
    }
}

/// The IPv4 address of an interface.
fn address(host: &DockerHost, interface: &str) -> Result<String> {
    let find = || {
        let nets = host.node().addresses(interface).ok()?;
        Some(nets.iter().find(|net| net.addr().is_ipv4())?.to_string())
    };
    let found = wait_for(format!("an address on {interface}"), 2 * SOON, find);
    Ok(found.map_err(|error| format!("{error}\n{:?}", host.exec(&["ip", "address"]).stdout))?)
}

fn reachable(lan: &Lan, address: &str) -> Result {
    wait_for(format!("the peer to reach {address}"), SOON, || {
        lan.peer().run(&["ping", "-c1", "-W2", bare(address)]).success()
    })?;
    Ok(())
}

const ADOPT: [&str; 5] = ["bridge", "adopt", "eth0", "--as", "br-eth0"];
const CONFIRM: [&str; 3] = ["bridge", "confirm", "br-eth0"];
const RELEASE: [&str; 3] = ["bridge", "release", "br-eth0"];

/// The NIC is the manager's, then nobody's, then the manager's again, and the host keeps its address.
fn left_alone_and_given_back(manager: Configured, lan: &Lan, host: &DockerHost) -> Result {
    let before = address(host, "eth0")?;
    wait_for("the manager to be at rest", SOON, || !manager.leaves_alone(host))?;
    let capture = lan.capture(lan.router(), "eth0", "udp port 67 or udp port 68")?;
    let said = host.landline_ok(binary(), &[&ADOPT[..], &["--confirm-within", "2m"]].concat())?;
    assert!(said.contains("leaves eth0 alone until br-eth0 is released"), "{said}");
    host.landline_ok(binary(), &CONFIRM)?;
    wait_for("the NIC to be nobody's", SOON, || manager.leaves_alone(host))?;
    assert_eq!(address(host, "br-eth0")?, before);
    reachable(lan, &before)?;

    // A cable that is pulled and put back has managers configure their NICs.
    let carrier = |state: &str| lan.switch().check(&["ip", "link", "set", "p-host1", state]);
    carrier("down")?;
    carrier("up")?;
    reachable(lan, &before)?;
    let on_nic = host.check(&["ip", "-4", "-br", "address", "show", "eth0"])?;
    assert!(!on_nic.contains(bare(&before)), "{on_nic}");
    let port = host.check(&["ip", "link", "show", "eth0"])?;
    assert!(port.contains("master br-eth0") && port.contains(",UP"), "{port}");
    let released =
        |(_, message): &(_, landline_testbed::DhcpMessage)| message.kind() == Some(DhcpKind::Release);
    assert!(!capture.dhcp().iter().any(released), "{}", capture.lines().join("\n"));

    host.landline_ok(binary(), &RELEASE)?;
    wait_for("the NIC to be the manager's", SOON, || !manager.leaves_alone(host))?;
    assert_eq!(address(host, "eth0")?, before);
    reachable(lan, &before)?;
    let left = host.node().sh(
        "ls /run/landline-bridge | grep -e pending -e unmanaged || :; ls /run/systemd/network 2>/dev/null || :",
    )?;
    assert_eq!(left, "");
    Ok(())
}

/// What `--persist` writes is what the manager makes at boot: the bridge, with the address the NIC had.
fn lasts(manager: Configured, kind: &str) -> Result {
    let lan = Lan::new()?;
    let _dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let mut host = lan.docker_host("host1")?;
    manager.configure(&host)?;
    let running = manager.start(&host)?;
    let before = address(&host, "eth0")?;
    let mac = host.node().mac("eth0")?;
    let mut switch = None;
    if kind != "bridge" {
        switch = Some(host.open_vswitch()?);
        host.check(&["mkdir", "-p", "/run/systemd/system"])?;
    }
    if manager != Configured::Ifupdown {
        let _daemon = start_daemon(&host)?;
        left_alone_and_given_back(manager, &lan, &host)?;
    }

    host.landline_ok(binary(), &[&ADOPT[..], &["--persist", "--kind", kind]].concat())?;
    host.landline_ok(binary(), &CONFIRM)?;
    let keep = |from: &str| format!("rm -rf /var/lib/docker/kept; cp -a {from} /var/lib/docker/kept");
    host.node().sh(&keep(manager.directory()))?;
    drop((running, switch));
    host.reboot()?;
    let directory = manager.directory();
    host.node().sh(&format!("rm -rf {directory}; cp -a /var/lib/docker/kept {directory}"))?;
    let _switch = (kind != "bridge").then(|| host.open_vswitch()).transpose()?;
    let _running = manager.start(&host)?;
    assert_eq!(address(&host, "br-eth0")?, before);
    assert_eq!(host.node().mac("br-eth0")?, mac);
    reachable(&lan, &before)?;
    let on_nic = host.check(&["ip", "-4", "-br", "address", "show", "eth0"])?;
    assert!(!on_nic.contains(bare(&before)), "{on_nic}");
    let ports = ["sh", "-c", "bridge link show master br-eth0; ovs-vsctl list-ports br-eth0 2>/dev/null"];
    assert!(host.exec(&ports).stdout.contains("eth0"));
    Ok(())
}

#[test]
fn networkd() -> Result {
    lasts(Configured::Networkd, "bridge")
}

#[test]
fn networkmanager() -> Result {
    lasts(Configured::NetworkManager, "bridge")
}

#[test]
fn ifupdown() -> Result {
    lasts(Configured::Ifupdown, "bridge")
}

#[test]
fn ifupdown_with_open_vswitch() -> Result {
    lasts(Configured::Ifupdown, "ovs-netdev")
}
