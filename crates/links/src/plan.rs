//! What will be done to the kernel, as a value, before anything is done.
//!
//! A [`Plan`] is made by a link kind from what it was asked and what the host looks like; it can be printed as
//! the equivalent `ip` script, applied step by step, and undone in reverse. Applying needs a [`Host`]; the real
//! one is [`LinuxHost`](crate::host::LinuxHost), tests have one that fails at any step they like.

use std::fmt;
use std::sync::Arc;

use ipnet::Ipv4Net;
use landline_options::MacvlanMode;
use landline_types::{IfName, Mac};

use crate::host::{Host, HostError, LinuxHost};

/// The MTU of an Ethernet link of which nothing else is said, in bytes.
pub(crate) const ETHERNET_MTU: u32 = 1500;

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

/// What kind of link to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkType {
    /// A veth pair (veth(4)).
    Veth {
        /// The end that moves.
        peer: LinkEnd,
    },
    /// A macvlan child.
    Macvlan {
        /// The NIC whose child it is.
        parent: IfName,
        /// What children may say to each other.
        mode: MacvlanMode,
    },
    /// An ipvlan child in L2 mode.
    Ipvlan {
        /// The NIC whose child it is.
        parent: IfName,
    },
    /// An 802.1Q sub-interface that keeps out of the host's own traffic.
    Vlan {
        /// The NIC whose VLAN it is.
        parent: IfName,
        /// The VLAN's number.
        id: u16,
    },
    /// A bridge without ports that floods multicast and stays out of the host's own traffic.
    Bridge,
    /// A bridge as the kernel makes it, which the administrator may use as any other.
    PlainBridge,
    /// A tap that stays when nobody holds it (TUNSETPERSIST).
    Tap,
    /// An interface that goes nowhere.
    Dummy,
}

impl Step {
    /// Makes a plain bridge that an attachment has named.
    pub fn add_bridge(name: IfName) -> Self {
        let alias = crate::mark::MADE.to_owned();
        let link = LinkEnd { name, mac: None, mtu: ETHERNET_MTU, alias, silent: false };
        Self::AddLink { link, kind: LinkType::PlainBridge }
    }
}

impl LinkType {
    /// The link that it is a child of.
    const fn parent(&self) -> Option<&IfName> {
        match self {
            Self::Macvlan { parent, .. } | Self::Ipvlan { parent } | Self::Vlan { parent, .. } => {
                Some(parent)
            }
            Self::Veth { .. } | Self::Bridge | Self::PlainBridge | Self::Tap | Self::Dummy => None,
        }
    }
}

impl fmt::Display for LinkType {
    /// As `ip link add` has it after `type`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Veth { peer } => write!(f, "veth peer {}", attributes(peer)),
            Self::Macvlan { mode, .. } => write!(f, "macvlan mode {}", crate::macvlan_word(*mode)),
            Self::Ipvlan { .. } => f.write_str("ipvlan mode l2"),
            Self::Vlan { id, .. } => write!(f, "vlan id {id}"),
            Self::Bridge => f.write_str("bridge mcast_snooping 0"),
            Self::PlainBridge => f.write_str("bridge"),
            Self::Tap => f.write_str("tap"),
            Self::Dummy => f.write_str("dummy"),
        }
    }
}

/// One change of the host's links. Every step that makes something can be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Makes a link of ours, down.
    AddLink {
        /// The link; of a pair the end that stays.
        link: LinkEnd,
        /// What it is to be.
        kind: LinkType,
    },
    /// Makes a bridge forward what is reserved for one link (STP, LACP, LLDP) from this port.
    ForwardGroups {
        /// The port.
        port: IfName,
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
    SetController {
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
    /// What one driver alone does, to a switch that is not the kernel's.
    Driver(Arc<dyn DriverStep>),
}

/// A step that one link driver has for itself. It prints as the equivalent shell commands.
pub trait DriverStep: fmt::Debug + fmt::Display + Send + Sync {
    /// Takes the step.
    ///
    /// # Errors
    /// As [`Host::apply`]; nothing was changed then.
    fn apply(&self, host: &LinuxHost) -> Result<(), HostError>;

    /// Takes it back; what is gone already is fine. A step that makes nothing, or what ends with its link, has nothing to take back.
    ///
    /// # Errors
    /// As [`Host::undo`].
    fn undo(&self, host: &LinuxHost) -> Result<(), HostError> {
        let _ = host;
        Ok(())
    }

    /// The equivalent shell commands once the endpoint's link is in its sandbox and called `link` there. `None`: the step
    /// is taken before that, on the host.
    fn in_sandbox(&self, link: &IfName) -> Option<String> {
        let _ = link;
        None
    }
}

impl<S: DriverStep + 'static> From<S> for Step {
    fn from(step: S) -> Self {
        Self::Driver(Arc::new(step))
    }
}

impl PartialEq for dyn DriverStep {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

impl Eq for dyn DriverStep {}

impl fmt::Display for Step {
    /// The equivalent shell commands, one a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddLink { link, kind: LinkType::Tap } => {
                let LinkEnd { name, mac, mtu, .. } = link;
                let mac = mac.map(|mac| format!(" address {mac}")).unwrap_or_default();
                writeln!(f, "ip tuntap add {name} mode tap\nip link set {name}{mac} mtu {mtu}")?;
                write!(f, "{}", quiet(link))
            }
            Self::AddLink { link: LinkEnd { name, alias, .. }, kind: kind @ LinkType::PlainBridge } => {
                write!(f, "ip link add name {name} type {kind}\nip link set {name} alias {alias}")
            }
            Self::AddLink { link, kind } => {
                let parent = kind.parent().map(|parent| format!(" link {parent}")).unwrap_or_default();
                writeln!(f, "ip link add{parent} {} type {kind}", attributes(link))?;
                write!(f, "{}", quiet(link))?;
                match kind {
                    LinkType::Veth { peer } => write!(f, "\n{}", quiet(peer)),
                    _ => Ok(()),
                }
            }
            Self::PortVlan { port, id } => {
                write!(
                    f,
                    "bridge vlan del dev {port} vid 1-4094\nbridge vlan add dev {port} vid {id} pvid untagged"
                )
            }
            Self::ForwardGroups { port } => {
                write!(f, "ip link set {port} type bridge_slave group_fwd_mask 0xfffd")
            }
            Self::SetAlias { link, alias } => write!(f, "ip link set {link} alias '{alias}'"),
            Self::Readdress { link, mac } => {
                write!(f, "ip link set {link} down\nip link set {link} address {mac}")
            }
            Self::SetAddress { link, mac } => write!(f, "ip link set {link} address {mac}"),
            Self::SetController { link, bridge } => write!(f, "ip link set {link} master {bridge}"),
            Self::AddAddress { link, address } => {
                write!(f, "ip address add {address} brd + dev {link} proto {}", crate::mark::PROTOCOL)
            }
            Self::Up { link } => write!(f, "ip link set {link} up"),
            Self::Driver(step) => write!(f, "{step}"),
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
            tracing::warn!(error = %landline_types::chain(&error), "a step could not be undone: {step}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;
    use crate::{LinkRequest, driver_of};
    use landline_options::{EndpointId, Mode, NetworkOptions};

    fn endpoint() -> EndpointId {
        "e".repeat(64).parse().unwrap()
    }

    /// The plan of each kind on a host that can carry it.
    fn plans() -> Vec<(FakeHost, Plan)> {
        let endpoint = endpoint();
        [
            (Mode::Bridge, "br0"),
            (Mode::Macvlan, "eth0"),
            (Mode::Ipvlan, "eth0"),
            (Mode::Ovs, "br0"),
            (Mode::Routed, "eth0"),
        ]
        .into_iter()
        .map(|(mode, parent)| {
            let host = FakeHost::with_bridge_and_nic();
            let parent: IfName = parent.parse().unwrap();
            let options = NetworkOptions { mode, ..NetworkOptions::new(parent.clone()) };
            let link = host.link(&parent).unwrap().unwrap();
            let mac = Mac::new([2, 0, 0, 0, 0, 1]);
            let request =
                LinkRequest { endpoint: &endpoint, options: &options, parent: &link, mac, host_name: None };
            let plan = driver_of(mode).endpoint(&request);
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

    #[test]
    fn every_kind_of_link_prints_as_iproute2_has_it() {
        let end = |silent| LinkEnd {
            name: "ll0".parse().unwrap(),
            mac: None,
            mtu: 1500,
            alias: "landline:x".into(),
            silent,
        };
        let script = |kind, silent| Step::AddLink { link: end(silent), kind }.to_string();
        let quiet =
            "\nip link set ll0 alias landline:x addrgenmode none\nsysctl -w net/ipv6/conf/ll0/accept_ra=0";
        let nic: IfName = "eth0".parse().unwrap();
        let vlan = LinkType::Vlan { parent: nic, id: 12 };
        assert_eq!(
            script(vlan, true),
            format!(
                "ip link add link eth0 name ll0 mtu 1500 type vlan id 12{quiet}\nsysctl -w net/ipv4/conf/ll0/arp_ignore=8"
            )
        );
        assert_eq!(
            script(LinkType::Dummy, false),
            format!("ip link add name ll0 mtu 1500 type dummy{quiet}")
        );
        assert_eq!(
            script(LinkType::Bridge, false),
            format!("ip link add name ll0 mtu 1500 type bridge mcast_snooping 0{quiet}")
        );
        assert_eq!(
            Step::add_bridge("br9".parse().unwrap()).to_string(),
            "ip link add name br9 type bridge\nip link set br9 alias landline:made",
            "it takes part in the host's own traffic"
        );
        assert_eq!(
            script(LinkType::Tap, false),
            format!("ip tuntap add ll0 mode tap\nip link set ll0 mtu 1500{quiet}")
        );
    }

    #[test]
    fn drivers_own_steps_are_the_same_when_all_of_them_is() {
        let plug = |patient| {
            let (tap, dir) = ("ll0".parse().unwrap(), "/run/vde.ctl".into());
            Step::from(crate::vde::PlugIn { tap, dir, patient })
        };
        assert_eq!(plug(true), plug(true));
        assert_ne!(plug(true), plug(false), "what it prints is not all");
    }

    #[test]
    fn a_cable_is_plugged_in_where_its_tap_is_in_the_end() {
        let plug =
            crate::vde::PlugIn { tap: "ll0".parse().unwrap(), dir: "/run/vde.ctl".into(), patient: true };
        let there = plug.in_sandbox(&"eth1".parse().unwrap());
        assert_eq!(there.as_deref(), Some("vde_plug2tap -d -s /run/vde.ctl eth1"));
    }
}
