//! The VLANs of a bridge's ports (`bridge(8)`, "bridge vlan").

use super::attr::Message;
use super::error::NetlinkError;
use super::link::{IFINFOMSG, ifinfo};
use super::socket::Netlink;
use super::uapi::{
    BRIDGE_VLAN_INFO_PVID, BRIDGE_VLAN_INFO_RANGE_BEGIN, BRIDGE_VLAN_INFO_RANGE_END,
    BRIDGE_VLAN_INFO_UNTAGGED, IFLA_BRIDGE_VLAN_INFO,
};

/// The highest number a VLAN can have.
const LAST: u16 = 4094;

impl Netlink {
    /// Puts a port into one VLAN and no other: what enters it without a tag is in that VLAN, and what leaves it has no
    /// tag. Means something only while the bridge filters VLANs.
    pub fn set_port_vlan(&mut self, port: u32, id: u16) -> Result<(), NetlinkError> {
        // The bridge's own default first, which the kernel gives every new port.
        for (first, last) in [(1, id.saturating_sub(1)), (id.saturating_add(1), LAST)] {
            if first <= last {
                let range = [(BRIDGE_VLAN_INFO_RANGE_BEGIN, first), (BRIDGE_VLAN_INFO_RANGE_END, last)];
                let out = request(libc::RTM_DELLINK, port, &range);
                self.request(out, || format!("take port number {port} out of other VLANs"), |_| {})?;
            }
        }
        let own =
            request(libc::RTM_SETLINK, port, &[(BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED, id)]);
        self.request(own, || format!("put port number {port} into VLAN {id}"), |_| {})
    }
}

fn request(kind: u16, port: u32, vlans: &[(u16, u16)]) -> Message {
    let mut message = Message::new(kind, libc::NLM_F_ACK, &bridge_header(port));
    message.nest(libc::IFLA_AF_SPEC, |spec| {
        for (flags, id) in vlans {
            // A `struct bridge_vlan_info`.
            let [a, b] = flags.to_ne_bytes();
            let [c, d] = id.to_ne_bytes();
            spec.bytes(IFLA_BRIDGE_VLAN_INFO, &[a, b, c, d]);
        }
    });
    message
}

/// A `struct ifinfomsg` of the bridges' family.
fn bridge_header(port: u32) -> [u8; IFINFOMSG] {
    let mut header = ifinfo(port, 0, 0);
    header[0] = u8::try_from(libc::AF_BRIDGE).unwrap_or(0);
    header
}
