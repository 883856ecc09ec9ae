//! The LAN: a switch, a router, a peer, and what is plugged in later. Everything is in network namespaces of
//! its own; no link leads to the machine the lab runs on.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::node::Node;
use crate::process::run;
use crate::scratch::{INIT_PID, Scratch, clean, delete_netns};

/// The IPv4 network of the LAN (RFC 5737).
pub const LAN_V4: &str = "192.0.2.0/24";
/// The IPv6 network of the LAN (RFC 3849).
pub const LAN_V6: &str = "2001:db8:1::/64";
/// The router's address on the LAN.
pub const ROUTER_V4: &str = "192.0.2.1";
/// The router's IPv6 address on the LAN.
pub const ROUTER_V6: &str = "2001:db8:1::1";
/// The peer's address on the LAN.
pub const PEER_V4: &str = "192.0.2.2";
/// An address beyond the router, reached through a default route only.
pub const BEYOND_V4: &str = "198.51.100.1";

/// The address of a machine behind the router, on a network of its own (203.0.113.0/24).
pub const FAR_V4: &str = "203.0.113.2";
/// An IPv6 address beyond the router, reached through a default route only.
pub const BEYOND_V6: &str = "2001:db8:ffff::1";

/// Longest node name: the switch port is called `p-NAME`, and 15 bytes is the kernel's limit.
const NAME_MAX: usize = 13;

/// A LAN with a switch (`sw` in the namespace `lan`), a router at 192.0.2.1 and `2001:db8:1::1` and a peer at
/// 192.0.2.2 and `2001:db8:1::2`. It is gone when the last value that belongs to it is dropped.
#[derive(Debug)]
pub struct Lan {
    wiring: Wiring,
    router: Node,
    peer: Node,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    mtu: u16,
    ipv6: bool,
}

/// How a LAN should be; [`Lan::builder`].
#[derive(Debug)]
#[must_use]
pub struct LanBuilder {
    settings: Settings,
}

impl LanBuilder {
    /// MTU of the switch and of every link plugged into it, in bytes (1500).
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.settings.mtu = mtu;
        self
    }

    /// A LAN whose machines have IPv6 switched off.
    pub fn no_ipv6(mut self) -> Self {
        self.settings.ipv6 = false;
        self
    }

    /// Makes the LAN.
    ///
    /// # Errors
    /// If it cannot be made; usually because we are not root.
    pub fn build(self) -> Result<Lan> {
        Lan::make(self.settings)
    }
}

impl Lan {
    /// A LAN with an MTU of 1500 and IPv6. What dead test runs left behind is removed on the way.
    ///
    /// # Errors
    /// If it cannot be made; usually because we are not root.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// A LAN that differs from [`Lan::new`].
    pub fn builder() -> LanBuilder {
        LanBuilder { settings: Settings { mtu: 1500, ipv6: true } }
    }

    fn make(settings: Settings) -> Result<Self> {
        clean(false)?;
        let lab = Arc::new(Scratch::new()?);
        let node = |name: &str| Node::new(Arc::clone(&lab), name, None);
        let (switch, router, peer) = (node("lan"), node("router"), node("peer"));
        let wiring = Wiring { lab, switch, settings };
        wiring.make_namespaces(&[&wiring.switch, &router, &peer])?;
        let Settings { mtu, .. } = settings;
        configure(
            &wiring.switch,
            // Bridged frames must not meet anybody's iptables rules. Absent without br_netfilter.
            "for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 > $f; done
             echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
             echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6",
            &format!(
                "link set lo up\nlink add sw type bridge forward_delay 0 mcast_snooping 0\nlink set sw mtu {mtu} up\n"
            ),
        )?;
        wiring.plug(&router, None)?;
        wiring.plug(&peer, None)?;
        wiring.start_node(&router, Some("192.0.2.1/24"), Some(&format!("{ROUTER_V6}/64")))?;
        let mut beyond = format!("addr add {BEYOND_V4}/32 dev lo\n");
        if wiring.settings.ipv6 {
            let _ = writeln!(beyond, "addr add {BEYOND_V6}/128 dev lo nodad");
        }
        // Only who forwards says to its neighbours that it is a router, and they believe no other for long (RFC 4861
        // section 7.2.5).
        let forward = "for f in ipv4/ip_forward ipv6/conf/all/forwarding; do echo 1 > /proc/sys/net/$f; done";
        configure(&router, forward, &beyond)?;
        wiring.start_node(&peer, Some("192.0.2.2/24"), Some("2001:db8:1::2/64"))?;
        Ok(Self { wiring, router, peer })
    }

    /// The machine with the DHCP server, the default gateway of the LAN.
    pub fn router(&self) -> &Node {
        &self.router
    }

    /// Another machine of the LAN.
    pub fn peer(&self) -> &Node {
        &self.peer
    }

    /// The switch; its bridge is called `sw`, its ports `p-NODE`.
    pub fn switch(&self) -> &Node {
        &self.wiring.switch
    }

    /// The lab's name: the first part of its namespaces' names.
    pub fn name(&self) -> &str {
        self.wiring.lab.name()
    }

    /// The MTU of every link of the LAN, in bytes.
    pub fn mtu(&self) -> u16 {
        self.wiring.settings.mtu
    }

    pub(crate) fn wiring(&self) -> &Wiring {
        &self.wiring
    }

    /// The machines of a lab that was left in place by [`Lan::keep`].
    ///
    /// # Errors
    /// If there is no such lab.
    pub fn kept_nodes(lab: &str) -> Result<Vec<Node>> {
        let lab = Arc::new(Scratch::open_kept(lab)?);
        let init =
            |name: &str| fs::read_to_string(lab.dir().join(name).join(INIT_PID)).ok()?.trim().parse().ok();
        Ok(lab.nodes().iter().map(|name| Node::new(Arc::clone(&lab), name, init(name))).collect())
    }

    /// One more machine, with an `eth0` that has `address` (`192.0.2.3/24`).
    ///
    /// # Errors
    /// If the name is taken or longer than 13 bytes, or the address is refused.
    pub fn add_node(&self, name: &str, address: &str) -> Result<Node> {
        self.add(name, Some(address))
    }

    /// One more machine, whose `eth0` is up and has no address.
    ///
    /// # Errors
    /// If the name is taken or longer than 13 bytes.
    pub fn add_node_without_address(&self, name: &str) -> Result<Node> {
        self.add(name, None)
    }

    /// A machine on a network of its own behind the router: [`FAR_V4`] is its address, 203.0.113.1 the router's, by which
    /// it reaches the LAN. There can be one.
    ///
    /// # Errors
    /// If the name is taken or longer than 13 bytes.
    pub fn add_far_node(&self, name: &str) -> Result<Node> {
        let (node, mtu) = (self.wiring.bare_node(name)?, self.mtu());
        let link = format!(
            "link add eth1 mtu {mtu} type veth peer name eth0 mtu {mtu} netns {}\nlink set eth1 up\n\
             addr add 203.0.113.1/24 dev eth1\n",
            node.netns()
        );
        configure(&self.router, "", &link)?;
        self.wiring.start_node(&node, Some(&format!("{FAR_V4}/24")), None)?;
        configure(&node, "", "route add default via 203.0.113.1\n")?;
        Ok(node)
    }

    fn add(&self, name: &str, address: Option<&str>) -> Result<Node> {
        let node = self.wiring.bare_node(name)?;
        self.wiring.plug(&node, None)?;
        self.wiring.start_node(&node, address, None)?;
        Ok(node)
    }

    /// Leaves the LAN and all that is on it in place when this process ends, until [`clean`] with `kept_too`.
    /// Hosts and servers must be forgotten (`std::mem::forget`): dropping them ends them.
    ///
    /// # Errors
    /// If the mark cannot be written.
    pub fn keep(&self) -> Result<()> {
        self.wiring.lab.keep()
    }

    /// Pulls a node's cable out of the switch, or plugs it in again: the node sees its carrier go and come.
    ///
    /// # Errors
    /// If the node is not on this LAN.
    pub fn set_cable(&self, node: &(impl AsRef<Node> + ?Sized), plugged: bool) -> Result<()> {
        let port = format!("p-{}", node.as_ref().name());
        self.wiring.switch.check(&["ip", "link", "set", &port, if plugged { "up" } else { "down" }]).map(drop)
    }
}

/// How machines are made and plugged in; what a LAN and a host that reboots share.
#[derive(Debug, Clone)]
pub(crate) struct Wiring {
    pub(crate) lab: Arc<Scratch>,
    switch: Node,
    settings: Settings,
}

impl Wiring {
    /// A new network namespace with nothing in it.
    pub(crate) fn bare_node(&self, name: &str) -> Result<Node> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(fits) {
            return Err(Error::Unexpected(format!(
                "{name:?} is not a name of 1 to {NAME_MAX} letters and digits"
            )));
        }
        let node = Node::new(Arc::clone(&self.lab), name, None);
        self.make_namespaces(&[&node])?;
        Ok(node)
    }

    /// A cable from the switch to a new `eth0` of `node`, with this MAC if one is given; that end is left down.
    pub(crate) fn plug(&self, node: &Node, mac: Option<&str>) -> Result<()> {
        let (port, netns, mtu) = (format!("p-{}", node.name()), node.netns(), self.settings.mtu);
        let mac = mac.map(|mac| format!("address {mac} ")).unwrap_or_default();
        let batch = format!(
            "link add {port} mtu {mtu} type veth peer name eth0 {mac}mtu {mtu} netns {netns}\n\
             link set {port} master sw up\n"
        );
        configure(&self.switch, "", &batch)
    }

    /// A Docker host before it boots: its network namespace with an `eth0` that is up and has no address.
    pub(crate) fn start_bare_host(&self, node: &Node, mac: Option<&str>) -> Result<()> {
        self.plug(node, mac)?;
        let script = if self.settings.ipv6 { "" } else { NO_IPV6 };
        configure(node, script, "link set lo up\nlink set eth0 up\n")
    }

    /// Removes a node's network namespace with all that is in it and makes a new one, with the same NIC.
    pub(crate) fn renew_bare_host(&self, node: &Node) -> Result<()> {
        let mac = node.mac("eth0")?;
        // The link goes first: the kernel takes its time over a namespace, and the switch port has a name.
        configure(&self.switch, "", &format!("link del p-{}\n", node.name()))?;
        delete_netns(&node.netns());
        self.add_netns(&[node])?;
        self.start_bare_host(node, Some(&mac))
    }

    fn make_namespaces(&self, nodes: &[&Node]) -> Result<()> {
        for node in nodes {
            fs::create_dir(node.dir()).map_err(Error::file("cannot make", node.dir()))?;
        }
        self.add_netns(nodes)
    }

    fn add_netns(&self, nodes: &[&Node]) -> Result<()> {
        let batch: Vec<String> = nodes.iter().map(|node| format!("netns add {}", node.netns())).collect();
        let file = self.lab.dir().join("namespaces.batch");
        fs::write(&file, batch.join("\n")).map_err(Error::file("cannot write", &file))?;
        let mut command = Command::new("ip");
        command.arg("-batch").arg(&file);
        run(command, "ip netns add", Duration::from_secs(10))
            .into_result("ip netns add", "the machine")
            .map(drop)
    }

    /// Brings up lo and eth0, with addresses that can be used at once (no duplicate address detection).
    fn start_node(&self, node: &Node, v4: Option<&str>, v6: Option<&str>) -> Result<()> {
        let mut batch = vec!["link set lo up".to_owned(), "link set eth0 up".to_owned()];
        if let Some(address) = v4 {
            batch.push(format!("addr add {address} dev eth0"));
        }
        if let Some(address) = v6.filter(|_| self.settings.ipv6) {
            batch.push(format!("addr add {address} dev eth0 nodad"));
        }
        let dad = "for c in all default eth0; do echo 0 > /proc/sys/net/ipv6/conf/$c/accept_dad; done";
        configure(node, if self.settings.ipv6 { dad } else { NO_IPV6 }, &batch.join("\n"))
    }
}

/// Runs a piece of shell and then a batch of `ip` commands on a node, as one process tree.
fn configure(node: &Node, script: &str, batch: &str) -> Result<()> {
    let file = node.dir().join("ip.batch");
    fs::write(&file, format!("{batch}\n")).map_err(Error::file("cannot write", &file))?;
    node.sh(&format!("{script}\nexec ip -batch {}", file.display())).map(drop)
}

const NO_IPV6: &str = "for c in all default; do echo 1 > /proc/sys/net/ipv6/conf/$c/disable_ipv6; done";
