//! Who reads packets from a link (`sock_diag(7)`, `linux/packet_diag.h`).

use std::io;

use rustix::net::SocketFlags;

use super::attr::{Attrs, Message, Received};
use super::error::NetlinkError;
use super::socket::Netlink;
use super::uapi::{
    PACKET_DIAG_INFO, PACKET_DIAG_MSG, PACKET_DIAG_REQ, PACKET_SHOW_INFO, PDI_VNETHDR, SOCK_DIAG_BY_FAMILY,
};

#[expect(clippy::cast_possible_truncation, reason = "it is 17")]
const AF_PACKET: u8 = libc::AF_PACKET as u8;

/// What there is of sockets in the calling thread's namespace. Calls block, for microseconds.
#[derive(Debug)]
pub struct SockDiag(Netlink);

impl SockDiag {
    /// Opens it.
    pub fn open() -> io::Result<Self> {
        Netlink::open_protocol(Some(rustix::net::netlink::SOCK_DIAG), SocketFlags::CLOEXEC).map(Self)
    }

    /// Whether a packet socket (`packet(7)`) on the link with this index takes segments that have yet to be cut and
    /// checksums that have yet to be written (`PACKET_VNET_HDR`).
    pub fn takes_offloads(&mut self, index: u32) -> Result<bool, NetlinkError> {
        let mut request = [0; PACKET_DIAG_REQ];
        request[0] = AF_PACKET;
        request[8..12].copy_from_slice(&PACKET_SHOW_INFO.to_ne_bytes());
        let message = Message::new(SOCK_DIAG_BY_FAMILY, libc::NLM_F_DUMP, &request);
        let takes = self.0.dump(message, "list packet sockets", |got| info(&got))?;
        Ok(takes.into_iter().any(|(on, flags)| on == index && flags & PDI_VNETHDR != 0))
    }
}

/// The link a socket is bound to, and its flags: the first and the last word of `struct packet_diag_info`.
fn info(got: &Received<'_>) -> Option<(u32, u32)> {
    let mut attrs = Attrs(got.body.get(PACKET_DIAG_MSG..)?);
    let (_, info) = attrs.find(|(kind, _)| *kind == PACKET_DIAG_INFO)?;
    let word = |at: usize| info.0.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word));
    Some((word(0)?, word(20)?))
}
