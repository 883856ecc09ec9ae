//! Generic netlink: what the kernel offers beyond its tables of links and routes (`linux/genetlink.h`).

use std::io;

use landline_types::IfName;
use rustix::net::SocketFlags;

use super::attr::{Attrs, Message};
use super::error::NetlinkError;
use super::socket::Netlink;
use super::uapi::{
    CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME, CTRL_CMD_GETFAMILY, ETHTOOL_A_BITSET_BIT,
    ETHTOOL_A_BITSET_BIT_NAME, ETHTOOL_A_BITSET_BITS, ETHTOOL_A_FEATURES_HEADER, ETHTOOL_A_FEATURES_WANTED,
    ETHTOOL_A_HEADER_DEV_NAME, ETHTOOL_MSG_FEATURES_SET, GENL_ID_CTRL,
};

/// Length of `struct genlmsghdr`.
const GENLMSGHDR: usize = 4;

/// A generic netlink socket in the calling thread's namespace. Calls block, for microseconds.
#[derive(Debug)]
pub struct Generic(Netlink);

impl Generic {
    /// Opens one.
    pub fn open() -> io::Result<Self> {
        Netlink::open_protocol(Some(rustix::net::netlink::GENERIC), SocketFlags::CLOEXEC).map(Self)
    }

    /// Whether this kernel has such a family now: `ovs_datapath` for Open vSwitch's own forwarding. A module that
    /// could be loaded does not count.
    pub fn has_family(&mut self, name: &str) -> Result<bool, NetlinkError> {
        self.family(name).map(|found| found.is_some())
    }

    fn family(&mut self, name: &str) -> Result<Option<u16>, NetlinkError> {
        let mut message = Message::new(GENL_ID_CTRL, libc::NLM_F_ACK, &header(CTRL_CMD_GETFAMILY));
        message.text(CTRL_ATTR_FAMILY_NAME, name);
        let mut number = None;
        let asked = || format!("look up the generic netlink family {name}");
        let answered = self.0.request(message, asked, |got| {
            let attrs = Attrs(got.body.get(GENLMSGHDR..).unwrap_or_default());
            number =
                attrs.into_iter().find(|(kind, _)| *kind == CTRL_ATTR_FAMILY_ID).and_then(|(_, v)| v.u16());
        });
        match answered {
            Ok(()) => Ok(number),
            Err(error) if error.gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has the kernel write every checksum itself before a packet goes out over this link (`ethtool -K LINK tx off`),
    /// and stay below its MTU. What reads packets from the other end then finds them as on a wire.
    pub fn plain_checksums(&mut self, link: &IfName) -> Result<(), NetlinkError> {
        let asked = || format!("switch off the checksum offload of {link}");
        let missing = || NetlinkError::new(asked(), io::ErrorKind::Unsupported.into());
        let family = self.family("ethtool")?.ok_or_else(missing)?;
        let mut message = Message::new(family, libc::NLM_F_ACK, &header(ETHTOOL_MSG_FEATURES_SET));
        message.nest(ETHTOOL_A_FEATURES_HEADER, |header| {
            header.text(ETHTOOL_A_HEADER_DEV_NAME, link.as_str());
        });
        message.nest(ETHTOOL_A_FEATURES_WANTED, |wanted| {
            wanted.nest(ETHTOOL_A_BITSET_BITS, |bits| {
                for name in CHECKSUMS {
                    // Named and without a value: off.
                    bits.nest(ETHTOOL_A_BITSET_BIT, |bit| {
                        bit.text(ETHTOOL_A_BITSET_BIT_NAME, name);
                    });
                }
            });
        });
        self.0.request(message, asked, |_| {})
    }
}

/// The features behind `ethtool -K LINK tx`; segmentation goes with them.
const CHECKSUMS: [&str; 4] =
    ["tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6", "tx-checksum-sctp"];

/// A `struct genlmsghdr` of version 1.
fn header(command: u8) -> [u8; GENLMSGHDR] {
    [command, 1, 0, 0]
}
