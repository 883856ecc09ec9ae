//! What will be done to the kernel, as a value, before anything is done.
//!
//! A [`Plan`] is made by a link kind from what it was asked and what the host looks like; it can be printed as
//! the equivalent `ip` script, applied step by step, and undone in reverse. Applying needs a [`Host`]; the real
//! one is [`LinuxHost`](crate::host::LinuxHost), tests have one that fails at any step they like.

use std::fmt;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use landline_ovsdb::Vlans;
use landline_spec::{EndpointId, MacvlanMode};
use landline_types::{IfName, Mac};
use landline_vde::SwitchConfig;

use crate::host::{Host, HostError};

/// One end of a link to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkEnd {
    /// Its name on the host.
    pub name: IfName,
    /// Its hardware address; `None` where the kind takes the parent's (ipvlan).
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The mark for `ifalias`.
    pub alias: String,
    /// Whether it must keep silent about the host's addresses until it moves (`arp_ignore=8`).
    pub silent: bool,
}

/// One change of the host's links. Every step that makes something can be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A veth pair (veth(4)); both ends are made down.
    AddVeth {
        /// The end that stays.
        host: LinkEnd,
        /// The end that moves.
        container: LinkEnd,
    },
    /// A macvlan child of `parent`, made down.
    AddMacvlan {
        /// The NIC it hangs on.
        parent: IfName,
        /// What children may say to each other.
        mode: MacvlanMode,
        /// The child.
        container: LinkEnd,
    },
    /// An ipvlan child of `parent` in L2 mode, made down.
    AddIpvlan {
        /// The NIC it hangs on.
        parent: IfName,
        /// The child.
        container: LinkEnd,
    },
    /// An 802.1Q sub-interface, made down, that keeps out of the host's own traffic.
    AddVlan {
        /// The NIC whose VLAN it is.
        parent: IfName,
        /// The VLAN's number.
        id: u16,
        /// The sub-interface.
        vlan: LinkEnd,
    },
    /// A bridge without ports, made down, that floods multicast and stays out of the host's own traffic.
    AddBridge {
        /// The bridge.
        bridge: LinkEnd,
    },
    /// A tap that stays when nobody holds it (TUNSETPERSIST), made down.
    AddTap {
        /// The tap.
        tap: LinkEnd,
    },
    /// Makes a bridge forward what is reserved for one link (STP, LACP, LLDP) from this port.
    ForwardGroups {
        /// The port.
        port: IfName,
    },
    /// Runs a VDE switch, with a tap as its port 0.
    StartSwitch {
        /// What it is to be.
        config: SwitchConfig,
        /// The tap.
        uplink: IfName,
    },
    /// Plugs a tap into a VDE switch that somebody else runs.
    PlugIn {
        /// The tap.
        tap: IfName,
        /// The switch's directory.
        dir: PathBuf,
        /// Whether a switch that is not there is waited for, behind the plan's back.
        patient: bool,
    },
    /// A bridge, made down, whose ports have yet to come.
    MakeBridge {
        /// Its name.
        name: IfName,
    },
    /// An interface that goes nowhere, made down.
    AddDummy {
        /// The interface.
        container: LinkEnd,
    },
    /// An Open vSwitch bridge whose ports have yet to come; its local port is down.
    MakeOvsBridge {
        /// Its name.
        name: IfName,
        /// Whether `ovs-vswitchd` is to forward its packets itself, because the kernel cannot.
        in_user_space: bool,
    },
    /// Writes a mark on a link that was there before; the empty one takes it away.
    SetAlias {
        /// The link.
        link: IfName,
        /// The mark.
        alias: String,
    },
    /// Gives a link that was there before another hardware address, for which it must be down.
    Readdress {
        /// The link.
        link: IfName,
        /// The address.
        mac: Mac,
    },
    /// Gives a link this hardware address, while it is up. A bridge that has it already keeps it from then on, whatever
    /// ports it has.
    SetAddress {
        /// The link.
        link: IfName,
        /// The address.
        mac: Mac,
    },
    /// Makes `link` a port of `bridge`.
    Enslave {
        /// The link.
        link: IfName,
        /// The bridge it becomes a port of.
        bridge: IfName,
    },
    /// Puts a port of a bridge that filters VLANs into one of them, and in no other.
    PortVlan {
        /// The port.
        port: IfName,
        /// The VLAN's number.
        id: u16,
    },
    /// Makes `link` a port of an Open vSwitch bridge; `container` is its other end.
    AddOvsPort {
        /// Whose port it is.
        endpoint: EndpointId,
        /// The link.
        link: IfName,
        /// The end that moves; it writes its own checksums where a bridge in user space wants that.
        container: IfName,
        /// The bridge.
        bridge: IfName,
        /// What the port carries.
        vlans: Vlans,
    },
    /// Gives a link of ours on the host an address of the host's.
    AddAddress {
        /// The link.
        link: IfName,
        /// The address, with the network it is in.
        address: Ipv4Net,
    },
    /// Sets `link` administratively up.
    Up {
        /// The link.
        link: IfName,
    },
}

impl fmt::Display for Step {
    /// The equivalent shell commands, one a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddVeth { host, container } => {
                write!(f, "ip link add {}", attributes(host))?;
                writeln!(f, " type veth peer {}", attributes(container))?;
                write!(f, "{}\n{}", quiet(host), quiet(container))
            }
            Self::AddMacvlan { parent, mode, container } => {
                let (attributes, mode) = (attributes(container), crate::links::macvlan_word(*mode));
                writeln!(f, "ip link add link {parent} {attributes} type macvlan mode {mode}")?;
                write!(f, "{}", quiet(container))
            }
            Self::AddIpvlan { parent, container } => {
                writeln!(f, "ip link add link {parent} {} type ipvlan mode l2", attributes(container))?;
                write!(f, "{}", quiet(container))
            }
            Self::AddVlan { parent, id, vlan } => {
                writeln!(f, "ip link add link {parent} {} type vlan id {id}", attributes(vlan))?;
                write!(f, "{}", quiet(vlan))
            }
            Self::PortVlan { port, id } => {
                write!(
                    f,
                    "bridge vlan del dev {port} vid 1-4094\nbridge vlan add dev {port} vid {id} pvid untagged"
                )
            }
            Self::AddBridge { bridge } => {
                let attributes = attributes(bridge);
                writeln!(f, "ip link add {attributes} type bridge mcast_snooping 0")?;
                write!(f, "{}", quiet(bridge))
            }
            Self::AddTap { tap } => {
                let LinkEnd { name, mtu, .. } = tap;
                let mac = tap.mac.map(|mac| format!(" address {mac}")).unwrap_or_default();
                writeln!(f, "ip tuntap add {name} mode tap\nip link set {name}{mac} mtu {mtu}")?;
                write!(f, "{}", quiet(tap))
            }
            Self::ForwardGroups { port } => {
                write!(f, "ip link set {port} type bridge_slave group_fwd_mask 0xfffd")
            }
            Self::StartSwitch { config: SwitchConfig { dir, management, group, ports }, uplink } => {
                write!(f, "vde_switch -daemon -sock {} -tap {uplink} -numports {ports}", dir.display())?;
                management.iter().try_for_each(|path| write!(f, " -mgmt {}", path.display()))?;
                group.iter().try_for_each(|group| write!(f, " -group {group}"))
            }
            Self::PlugIn { tap, dir, .. } => write!(f, "vde_plug2tap -d -s {} {tap}", dir.display()),
            Self::MakeBridge { name } => {
                write!(
                    f,
                    "ip link add name {name} type bridge\nip link set {name} alias {}",
                    crate::mark::MADE
                )
            }
            Self::AddDummy { container } => {
                writeln!(f, "ip link add {} type dummy", attributes(container))?;
                write!(f, "{}", quiet(container))
            }
            Self::MakeOvsBridge { name, in_user_space } => {
                write!(f, "ovs-vsctl add-br {name} -- set bridge {name}")?;
                for (key, value) in crate::ovs::made() {
                    write!(f, " external_ids:{key}={value}")?;
                }
                if *in_user_space { write!(f, " datapath_type=netdev") } else { Ok(()) }
            }
            Self::SetAlias { link, alias } => write!(f, "ip link set {link} alias '{alias}'"),
            Self::Readdress { link, mac } => {
                write!(f, "ip link set {link} down\nip link set {link} address {mac}")
            }
            Self::SetAddress { link, mac } => write!(f, "ip link set {link} address {mac}"),
            Self::Enslave { link, bridge } => write!(f, "ip link set {link} master {bridge}"),
            Self::AddOvsPort { endpoint, link, container, bridge, vlans } => {
                write!(
                    f,
                    "ovs-vsctl add-port {bridge} {link}{vlans} -- set port {link} other_config:transient=true"
                )?;
                for (key, value) in crate::ovs::marks(endpoint) {
                    write!(f, " external_ids:{key}={value}")?;
                }
                write!(
                    f,
                    "\n[ \"$(ovs-vsctl get bridge {bridge} datapath_type)\" != netdev ] || \
                     ovs-vsctl get Open_vSwitch . other_config | grep -q 'userspace-tso-enable=\"true\"' || \
                     ethtool -K {container} tx off >/dev/null"
                )
            }
            Self::AddAddress { link, address } => {
                write!(f, "ip address add {address} brd + dev {link} proto {}", crate::mark::PROTOCOL)
            }
            Self::Up { link } => write!(f, "ip link set {link} up"),
        }
    }
}

fn attributes(end: &LinkEnd) -> String {
    let mac = end.mac.map(|mac| format!(" address {mac}")).unwrap_or_default();
    format!("name {}{mac} mtu {}", end.name, end.mtu)
}

/// What keeps a link from taking part in the host's own IP traffic.
fn quiet(end: &LinkEnd) -> String {
    let LinkEnd { name, alias, .. } = end;
    let arp =
        if end.silent { format!("\nsysctl -w net/ipv4/conf/{name}/arp_ignore=8") } else { String::new() };
    format!(
        "ip link set {name} alias {alias} addrgenmode none\nsysctl -w net/ipv6/conf/{name}/accept_ra=0{arp}"
    )
}

/// Steps in the order they are taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl Plan {
    /// Takes every step, or none: what was done before a failing step is undone in reverse.
    ///
    /// # Errors
    /// The failure of the step that could not be taken. A failure to undo is logged and does not stop the rest.
    pub fn apply(&self, host: &dyn Host) -> Result<(), HostError> {
        for (done, step) in self.steps.iter().enumerate() {
            if let Err(error) = host.apply(step) {
                undo(host, &self.steps[..done]);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes everything back, last step first, never stopping at a failure (logged).
    pub fn undo(&self, host: &dyn Host) {
        undo(host, &self.steps);
    }
}

fn undo(host: &dyn Host, steps: &[Step]) {
    for step in steps.iter().rev() {
        if let Err(error) = host.undo(step) {
            tracing::warn!(error = %crate::chain(&error), "a step could not be undone: {step}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;
    use crate::links::{LinkRequest, driver_of};
    use landline_spec::{EndpointId, Mode, NetworkOptions};

    fn endpoint() -> EndpointId {
        "e".repeat(64).parse().unwrap()
    }

    /// The plan of each kind on a host that can carry it.
    fn plans() -> Vec<(FakeHost, Plan)> {
        let endpoint = endpoint();
        [(Mode::Bridge, "br0"), (Mode::Macvlan, "eth0"), (Mode::Ipvlan, "eth0"), (Mode::Ovs, "br0")]
            .into_iter()
            .map(|(mode, parent)| {
                let host = FakeHost::with_bridge_and_nic();
                let parent: IfName = parent.parse().unwrap();
                let options = NetworkOptions { mode, ..NetworkOptions::new(parent.clone()) };
                let link = host.link(&parent).unwrap().unwrap();
                let mac = Mac::new([2, 0, 0, 0, 0, 1]);
                let request = LinkRequest {
                    endpoint: &endpoint,
                    options: &options,
                    parent: &link,
                    mac,
                    host_name: None,
                };
                let plan = driver_of(mode).plan(&request);
                (host, plan)
            })
            .collect()
    }

    #[test]
    fn a_plan_that_fails_at_any_step_leaves_the_host_as_it_was() {
        for (host, plan) in plans() {
            for failing in 0..plan.steps.len() {
                let before = host.names();
                host.fail_at(Some(failing));
                plan.apply(&host).unwrap_err();
                assert_eq!(host.names(), before, "step {failing} of\n{plan}");
            }
            host.fail_at(None);
            plan.apply(&host).unwrap();
            assert_ne!(host.names().len(), 2, "the plan makes something");
            plan.undo(&host);
            assert_eq!(host.names(), ["br0", "eth0"]);
        }
    }

    #[test]
    fn a_plan_prints_as_the_commands_it_stands_for() {
        let plans = plans();
        assert_eq!(
            plans[0].1.to_string(),
            "ip link add name llheeeeeeeeeeee address fe:ff:ff:00:00:01 mtu 1500 \
             type veth peer name llceeeeeeeeeeee address 02:00:00:00:00:01 mtu 1500\n\
             ip link set llheeeeeeeeeeee alias landline:EEE:host addrgenmode none\n\
             sysctl -w net/ipv6/conf/llheeeeeeeeeeee/accept_ra=0\n\
             ip link set llceeeeeeeeeeee alias landline:EEE:container addrgenmode none\n\
             sysctl -w net/ipv6/conf/llceeeeeeeeeeee/accept_ra=0\n\
             sysctl -w net/ipv4/conf/llceeeeeeeeeeee/arp_ignore=8\n\
             ip link set llheeeeeeeeeeee master br0\n\
             ip link set llheeeeeeeeeeee up\n\
             ip link set llceeeeeeeeeeee up\n"
                .replace("EEE", endpoint().as_str())
        );
        assert!(plans[1].1.to_string().starts_with(
            "ip link add link eth0 name llceeeeeeeeeeee address 02:00:00:00:00:01 mtu 1500 type macvlan mode bridge\n"
        ));
        assert!(
            plans[2]
                .1
                .to_string()
                .starts_with("ip link add link eth0 name llceeeeeeeeeeee mtu 1500 type ipvlan mode l2\n")
        );
        let ovs = plans[3].1.to_string();
        assert!(
            ovs.contains("\novs-vsctl add-port br0 llheeeeeeeeeeee -- set port llheeeeeeeeeeee "),
            "{ovs}"
        );
        assert!(ovs.contains(" external_ids:owner=landline"), "{ovs}");
    }
}
