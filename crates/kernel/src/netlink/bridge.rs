//! Settings of bridges and of their ports.

use super::attr::Message;
use super::error::NetlinkError;
use super::link::ifinfo;
use super::socket::Netlink;
use super::uapi::{IFLA_BR_MCAST_SNOOPING, IFLA_BRPORT_GROUP_FWD_MASK};

/// All of 01:80:c2:00:00:00 to -0f but -01, the PAUSE frames of Ethernet itself, which the kernel refuses.
const ALL_GROUPS: u16 = !(1 << 1);

impl Netlink {
    /// Makes a bridge forward what comes in by this port to addresses that are reserved for one link alone (IEEE
    /// 802.1Q, table 8-1): STP, LACP, LLDP and their like, all but PAUSE. As a setting of the port the kernel takes
    /// the ones that it refuses for a whole bridge.
    pub fn forward_reserved_groups(&mut self, port: u32) -> Result<(), NetlinkError> {
        // RTM_SETLINK would pass over it without a word.
        let mut message = Message::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &ifinfo(port, 0, 0));
        message.nest(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_SLAVE_KIND, "bridge");
            info.nest(libc::IFLA_INFO_SLAVE_DATA, |data| {
                data.u16(IFLA_BRPORT_GROUP_FWD_MASK, ALL_GROUPS);
            });
        });
        self.request(message, || format!("forward reserved groups from link number {port}"), |_| {})
    }

    /// Makes a bridge send multicast to all its ports, and not to those alone whose machines were heard to want it.
    pub fn flood_multicast(&mut self, bridge: u32) -> Result<(), NetlinkError> {
        let mut message = Message::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &ifinfo(bridge, 0, 0));
        message.nest(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "bridge");
            info.nest(libc::IFLA_INFO_DATA, |data| {
                data.u8(IFLA_BR_MCAST_SNOOPING, 0);
            });
        });
        self.request(message, || format!("flood multicast on bridge number {bridge}"), |_| {})
    }
}
