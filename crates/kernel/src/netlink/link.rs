//! Links as the kernel reports them.

use std::path::Path;
use std::time::Duration;

use landline_types::{IfName, Mac};

use super::attr::{Attrs, Message, Received, Value};
use super::error::NetlinkError;
use super::newlink::{IpvlanMode, MacvlanMode};
use super::socket::Netlink;
use super::spanning_tree::{self, PortState};
use super::uapi::{IFLA_BR_VLAN_FILTERING, IFLA_IPVLAN_MODE, IFLA_MACVLAN_MODE, IFLA_VLAN_ID};

/// Length of `struct ifinfomsg`.
pub(super) const IFINFOMSG: usize = 16;

/// A network device (`rtnetlink(7)`, `RTM_NEWLINK`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "flags of the kernel, each on its own")]
pub struct Link {
    /// Number of the link, unique in its namespace. Kept when the link moves, unless it is taken there.
    pub index: u32,
    /// Its name now; anybody may rename it.
    pub name: IfName,
    /// Its hardware address; `None` where that is not six octets long (tunnels).
    pub mac: Option<Mac>,
    /// Whether it is an Ethernet device (`ARPHRD_ETHER`).
    pub ethernet: bool,
    /// Largest packet, in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Whether it is switched on (`IFF_UP`).
    pub up: bool,
    /// Whether it can carry packets (`IFF_RUNNING`).
    pub running: bool,
    /// Whether it has carrier (`IFF_LOWER_UP`).
    pub lower_up: bool,
    /// Whether it is `lo` (`IFF_LOOPBACK`).
    pub loopback: bool,
    /// All flags (`netdevice(7)`, `IFF_*`).
    pub flags: u32,
    /// What made it.
    pub kind: LinkKind,
    /// Index of the bridge, bond or Open vSwitch device it is a port of (`IFLA_MASTER`).
    pub controller: Option<u32>,
    /// What its bridge does with its frames; `None` for what is no port of a Linux bridge.
    pub port_state: Option<PortState>,
    /// How long its ports listen, and then learn, before they forward; `None` for what is no Linux bridge, or one that
    /// does not run the spanning tree protocol.
    pub forward_delay: Option<Duration>,
    /// Index of the link it sits on, or of the other end of a veth (`IFLA_LINK`); in `parent_netns` if that
    /// is set, else in this namespace.
    pub parent: Option<u32>,
    /// The namespace of `parent` when it is another one, by the number this namespace knows it by.
    pub parent_netns: Option<i32>,
    /// Free text (`ip link set … alias`). Stays with the link when it moves to another namespace.
    pub alias: Option<String>,
    /// How many ask for promiscuous mode.
    pub promiscuity: u32,
    /// Whether it is a Wi-Fi device: its access point drops frames from other hardware addresses, so it
    /// carries neither bridges nor macvlan. Known for the namespace this process runs in only.
    pub wireless: bool,
}

/// What kind of link it is (`IFLA_INFO_KIND`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkKind {
    /// No kind: hardware, or `lo`.
    Physical,
    /// A Linux bridge.
    Bridge {
        /// Whether it looks at VLAN tags.
        vlan_filtering: bool,
    },
    /// One end of a pair.
    Veth,
    /// A link with a hardware address of its own on another link.
    Macvlan {
        /// Who may talk to whom; `None` for a mode younger than this program.
        mode: Option<MacvlanMode>,
    },
    /// A macvlan with a character device instead of a stack.
    Macvtap,
    /// A link that shares its parent's hardware address.
    Ipvlan {
        /// Which layer it works on; `None` for a mode younger than this program.
        mode: Option<IpvlanMode>,
    },
    /// One VLAN of another link.
    Vlan {
        /// Its number.
        id: u16,
    },
    /// A tun or tap device.
    Tun,
    /// Several links as one.
    Bond,
    /// A link that swallows everything.
    Dummy,
    /// A port of an Open vSwitch datapath, its bridge's own included.
    OpenVswitch,
    /// Any other, by the kernel's name for it.
    Other(String),
}

impl Netlink {
    /// All links of the namespace, by index. Links whose name no [`IfName`] can hold are left out.
    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let mut message = Message::new(libc::RTM_GETLINK, libc::NLM_F_DUMP, &ifinfo(0, 0, 0));
        message.u32(libc::IFLA_EXT_MASK, SKIP_STATS);
        self.dump(message, "list links", |got| Link::read(&got))
    }

    /// The link of this name, or with this alternative name.
    pub fn link_by_name(&mut self, name: &IfName) -> Result<Option<Link>, NetlinkError> {
        let mut message = Message::new(libc::RTM_GETLINK, libc::NLM_F_ACK, &ifinfo(0, 0, 0));
        message.text(libc::IFLA_IFNAME, name.as_str());
        self.one_link(message, || format!("look up link {name}"))
    }

    /// The link of this index.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, NetlinkError> {
        let message = Message::new(libc::RTM_GETLINK, libc::NLM_F_ACK, &ifinfo(index, 0, 0));
        self.one_link(message, || format!("look up link number {index}"))
    }

    fn one_link(
        &mut self,
        mut message: Message,
        asked: impl Fn() -> String,
    ) -> Result<Option<Link>, NetlinkError> {
        message.u32(libc::IFLA_EXT_MASK, SKIP_STATS);
        let mut link = None;
        match self.request(message, asked, |got| link = Link::read(&got)) {
            Err(error) if error.gone() => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok(link),
        }
    }
}

/// Counters are most of a link's message and nobody here reads them.
const SKIP_STATS: u32 = libc::RTEXT_FILTER_SKIP_STATS.cast_unsigned();

/// A `struct ifinfomsg`.
pub(super) fn ifinfo(index: u32, flags: u32, change: u32) -> [u8; IFINFOMSG] {
    let mut body = [0; IFINFOMSG];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..16].copy_from_slice(&change.to_ne_bytes());
    body
}

/// The index in a link message about the link itself. A bridge speaks of its ports in messages of the same
/// type (`AF_BRIDGE`), where "deleted" means that the link left the bridge.
pub(super) fn index_of(body: &[u8]) -> Option<u32> {
    let family = *body.first()?;
    (i32::from(family) == libc::AF_UNSPEC).then(|| Value(body.get(4..8)?).u32())?
}

impl Link {
    /// Whether packets go through it: it is up, has a carrier, and its bridge, if it is a port of one, forwards them.
    pub fn carries(&self) -> bool {
        self.up && self.lower_up && self.port_state.is_none_or(|state| state == PortState::Forwarding)
    }

    /// Whether it uses ARP (`ip link set … arp on`).
    pub const fn arp(&self) -> bool {
        self.flags & libc::IFF_NOARP.cast_unsigned() == 0
    }

    /// Reads an `RTM_NEWLINK`; `None` if it is something else or too strange.
    pub(super) fn read(got: &Received<'_>) -> Option<Self> {
        if got.kind != libc::RTM_NEWLINK {
            return None;
        }
        let index = index_of(got.body)?;
        let hardware = Value(got.body.get(2..4)?).u16()?;
        let flags = Value(got.body.get(8..12)?).u32()?;
        let attrs = Attrs(got.body.get(IFINFOMSG..)?);
        let set = |flag: i32| flags & flag.cast_unsigned() != 0;

        let (_, name) = attrs.clone().find(|(kind, _)| *kind == libc::IFLA_IFNAME)?;
        let name = match name.text().parse::<IfName>() {
            Ok(name) => name,
            Err(error) => {
                tracing::debug!(index, %error, "link left out");
                return None;
            }
        };
        let mut link = Self {
            index,
            name,
            mac: None,
            ethernet: hardware == libc::ARPHRD_ETHER,
            mtu: 0,
            up: set(libc::IFF_UP),
            running: set(libc::IFF_RUNNING),
            lower_up: set(libc::IFF_LOWER_UP),
            loopback: set(libc::IFF_LOOPBACK),
            flags,
            kind: LinkKind::Physical,
            controller: None,
            port_state: None,
            forward_delay: None,
            parent: None,
            parent_netns: None,
            alias: None,
            promiscuity: 0,
            wireless: false,
        };
        for (kind, value) in attrs {
            match kind {
                libc::IFLA_ADDRESS => link.mac = value.mac(),
                libc::IFLA_MTU => link.mtu = value.u32().unwrap_or(0),
                libc::IFLA_MASTER => link.controller = value.u32(),
                // Zero: the parent is in a namespace without a number here.
                libc::IFLA_LINK => link.parent = value.u32().filter(|index| *index != 0),
                libc::IFLA_LINK_NETNSID => link.parent_netns = value.i32(),
                libc::IFLA_IFALIAS => link.alias = Some(value.text()),
                libc::IFLA_PROMISCUITY => link.promiscuity = value.u32().unwrap_or(0),
                libc::IFLA_LINKINFO => {
                    let info = value.attrs();
                    let attr =
                        |wanted| info.clone().find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
                    link.kind = LinkKind::read(&info);
                    if matches!(link.kind, LinkKind::Bridge { .. }) {
                        let data = attr(libc::IFLA_INFO_DATA);
                        link.forward_delay =
                            data.and_then(|data| spanning_tree::forward_delay(&data.attrs()));
                    }
                    if attr(libc::IFLA_INFO_SLAVE_KIND).is_some_and(|kind| kind.text() == "bridge") {
                        let data = attr(libc::IFLA_INFO_SLAVE_DATA);
                        link.port_state = data.and_then(|data| spanning_tree::port_state(&data.attrs()));
                    }
                }
                _ => {}
            }
        }
        link.wireless = link.kind == LinkKind::Physical && !link.loopback && is_wireless(&link);
        Some(link)
    }
}

/// Whether sysfs says that this is a Wi-Fi device.
///
/// sysfs shows the links of the namespace it was mounted in, which need not be the one `link` is from; the
/// index tells two links of one name apart.
fn is_wireless(link: &Link) -> bool {
    let dir = Path::new("/sys/class/net").join(link.name.as_str());
    let marked = dir.join("phy80211").exists() || dir.join("wireless").exists();
    let index = || std::fs::read_to_string(dir.join("ifindex")).ok()?.trim().parse().ok();
    marked && index() == Some(link.index)
}

impl LinkKind {
    fn read(info: &Attrs<'_>) -> Self {
        let attr = |wanted| info.clone().find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let Some(kind) = attr(libc::IFLA_INFO_KIND) else { return Self::Physical };
        let datum = |wanted| {
            attr(libc::IFLA_INFO_DATA)?.attrs().find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
        };
        match kind.text().as_str() {
            "bridge" => Self::Bridge {
                vlan_filtering: datum(IFLA_BR_VLAN_FILTERING).and_then(Value::u8).is_some_and(|on| on != 0),
            },
            "veth" => Self::Veth,
            "macvlan" => Self::Macvlan {
                mode: datum(IFLA_MACVLAN_MODE).and_then(Value::u32).and_then(MacvlanMode::read),
            },
            "macvtap" => Self::Macvtap,
            "ipvlan" => {
                Self::Ipvlan { mode: datum(IFLA_IPVLAN_MODE).and_then(Value::u16).and_then(IpvlanMode::read) }
            }
            "vlan" => Self::Vlan { id: datum(IFLA_VLAN_ID).and_then(Value::u16).unwrap_or(0) },
            "tun" => Self::Tun,
            "bond" => Self::Bond,
            "dummy" => Self::Dummy,
            "openvswitch" => Self::OpenVswitch,
            other => Self::Other(other.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attr::Messages;

    fn read(message: &mut Message) -> Option<Link> {
        let bytes = message.finish(0).to_vec();
        Link::read(&Messages(&bytes).next()?)
    }

    #[test]
    fn kinds_this_kernel_may_lack_are_read() {
        let kinds = [
            ("vlan", LinkKind::Vlan { id: 42 }),
            ("ipvlan", LinkKind::Ipvlan { mode: None }),
            ("openvswitch", LinkKind::OpenVswitch),
            ("wireguard", LinkKind::Other("wireguard".into())),
        ];
        for (name, kind) in kinds {
            let mut message = Message::new(libc::RTM_NEWLINK, 0, &ifinfo(9, 0x1, 0));
            message.text(libc::IFLA_IFNAME, "x0").nest(libc::IFLA_LINKINFO, |info| {
                info.text(libc::IFLA_INFO_KIND, name);
                info.nest(libc::IFLA_INFO_DATA, |data| {
                    data.u16(1, 42);
                });
            });
            let link = read(&mut message).unwrap();
            assert_eq!((link.kind, link.index, link.up), (kind, 9, true));
        }
    }

    #[test]
    fn what_a_bridge_says_of_its_port_is_not_about_the_link() {
        let mut body = ifinfo(9, 0, 0);
        body[0] = u8::try_from(libc::AF_BRIDGE).unwrap();
        let mut message = Message::new(libc::RTM_NEWLINK, 0, &body);
        assert_eq!(read(message.text(libc::IFLA_IFNAME, "x0")), None);
    }

    #[test]
    fn strange_names_and_short_messages_are_left_out() {
        let mut message = Message::new(libc::RTM_NEWLINK, 0, &ifinfo(9, 0, 0));
        assert_eq!(read(message.text(libc::IFLA_IFNAME, "n\u{e9}")), None);
        for length in 0..IFINFOMSG {
            assert_eq!(read(&mut Message::new(libc::RTM_NEWLINK, 0, &[0; IFINFOMSG][..length])), None);
        }
    }
}
