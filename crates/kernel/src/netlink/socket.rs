//! A synchronous rtnetlink socket: one question, its answer.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::attr::{Attrs, HEADER, Message, Messages, Received, Value};
use super::error::NetlinkError;
use crate::netns::Netns;
use crate::sys;

/// The kernel sends dumps in pieces of at most 32 KiB; single answers are smaller.
const BUFFER: usize = 64 * 1024;
/// How often a listing is taken again because something changed under it.
const DUMP_TRIES: u32 = 64;
/// `NLMSGERR_ATTR_MSG` (`include/uapi/linux/netlink.h`).
const ERROR_TEXT: u16 = 1;

/// A connection to the kernel's tables of links, addresses, routes and neighbours in one namespace: the one
/// the calling thread was in when it was opened.
///
/// Calls block, usually for microseconds, while other work on network devices goes on for longer: call them
/// from a thread that may wait (`spawn_blocking`), not from an async task.
#[derive(Debug)]
pub struct Netlink {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// A connection to the calling thread's namespace.
    pub fn open() -> io::Result<Self> {
        Self::open_protocol(None, SocketFlags::CLOEXEC)
    }

    /// A connection by another netlink protocol; `None`: rtnetlink.
    pub(super) fn open_protocol(protocol: Option<Protocol>, flags: SocketFlags) -> io::Result<Self> {
        Ok(Self { fd: socket_of(protocol, 0, flags)?, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// A connection to another namespace. It keeps that namespace alive.
    pub fn open_in(ns: &Netns) -> io::Result<Self> {
        ns.run(Self::open)?
    }

    /// Makes a change, or asks for one thing; `each` sees the answers, if any, before this returns.
    pub(crate) fn request(
        &mut self,
        mut message: Message,
        asked: impl Fn() -> String,
        mut each: impl FnMut(Received<'_>),
    ) -> Result<(), NetlinkError> {
        self.send(&mut message).map_err(|e| NetlinkError::new(asked(), e))?;
        self.answers(&asked, &mut each).map(drop)
    }

    /// Lists what `read` makes of each entry. The listing is taken again when the kernel says that it changed
    /// meanwhile (`NLM_F_DUMP_INTR`).
    pub(crate) fn dump<T>(
        &mut self,
        mut message: Message,
        asked: &str,
        mut read: impl FnMut(Received<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        for _ in 0..DUMP_TRIES {
            let mut entries = Vec::new();
            self.send(&mut message).map_err(|e| NetlinkError::new(asked, e))?;
            let whole = self.answers(&|| asked.to_owned(), &mut |got| entries.extend(read(got)))?;
            if whole {
                return Ok(entries);
            }
        }
        let never = io::Error::other("it changed faster than it could be read");
        Err(NetlinkError::new(asked, never))
    }

    fn send(&mut self, message: &mut Message) -> io::Result<()> {
        // A sequence number of zero marks events.
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        let bytes = message.finish(self.sequence);
        let sent = rustix::net::send(&self.fd, bytes, SendFlags::empty())?;
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Reads up to the acknowledgement; true when nothing changed while the answer was being made.
    fn answers(
        &mut self,
        asked: &dyn Fn() -> String,
        each: &mut dyn FnMut(Received<'_>),
    ) -> Result<bool, NetlinkError> {
        let mut whole = true;
        loop {
            let length = receive(&self.fd, &mut self.buffer).map_err(|e| NetlinkError::new(asked(), e))?;
            for got in Messages(&self.buffer[..length]).filter(|m| m.sequence == self.sequence) {
                whole &= got.flags & flag(libc::NLM_F_DUMP_INTR) == 0;
                match i32::from(got.kind) {
                    libc::NLMSG_NOOP => {}
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                        return verdict(got, asked).map(|()| whole);
                    }
                    _ => each(got),
                }
            }
        }
    }
}

/// An rtnetlink socket bound to these multicast groups, with every check and explanation the kernel offers.
pub(crate) fn socket(groups: u32, flags: SocketFlags) -> io::Result<OwnedFd> {
    socket_of(None, groups, flags)
}

pub(super) fn socket_of(protocol: Option<Protocol>, groups: u32, flags: SocketFlags) -> io::Result<OwnedFd> {
    let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    // Each is younger than Linux 4.0 and only makes things better, so an old kernel may refuse.
    for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK, libc::NETLINK_GET_STRICT_CHK] {
        if let Err(error) = sys::set_option(fd.as_fd(), libc::SOL_NETLINK, option, 1) {
            tracing::debug!(option, %error, "netlink option not set");
        }
    }
    rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
    Ok(fd)
}

/// One datagram. Fails with `InvalidData` when it was longer than the buffer.
pub(crate) fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    let space = buffer.len();
    let (_, length) = rustix::io::retry_on_intr(|| rustix::net::recv(fd, &mut *buffer, RecvFlags::TRUNC))?;
    if length > space {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "netlink message too long"));
    }
    Ok(length)
}

/// Reads an acknowledgement: `struct nlmsgerr`, or the number at the end of a listing.
pub(super) fn verdict(got: Received<'_>, asked: &dyn Fn() -> String) -> Result<(), NetlinkError> {
    // An empty NLMSG_DONE is a good one.
    let code = Value(got.body).i32().unwrap_or(0);
    if code == 0 {
        return Ok(());
    }
    let cause = io::Error::from_raw_os_error(code.saturating_neg());
    Err(NetlinkError::said(asked(), explanation(got), cause))
}

/// The text of an extended acknowledgement.
fn explanation(got: Received<'_>) -> Option<String> {
    if got.flags & flag(libc::NLM_F_ACK_TLVS) == 0 {
        return None;
    }
    let rest = got.body.get(4..)?;
    let attrs = if i32::from(got.kind) == libc::NLMSG_DONE {
        rest
    } else if got.flags & flag(libc::NLM_F_CAPPED) != 0 {
        rest.get(HEADER..)?
    } else {
        let echoed = usize::try_from(Value(rest).u32()?).ok()?;
        rest.get(echoed.next_multiple_of(4)..)?
    };
    let (_, text) = Attrs(attrs).find(|(kind, _)| *kind == ERROR_TEXT)?;
    Some(text.text()).filter(|text| !text.is_empty())
}

/// The `NLM_F_` constants have the type of the C library's `int`; in a header they are 16 bits.
fn flag(constant: i32) -> u16 {
    u16::try_from(constant).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nak(flags: i32, echoed: &[u8]) -> Vec<u8> {
        let mut message = Message::new(flag(libc::NLMSG_ERROR), flags, &(-libc::EBUSY).to_ne_bytes());
        message.raw(echoed);
        message.u32(2, 20).text(ERROR_TEXT, "Device is busy with itself");
        message.finish(1).to_vec()
    }

    #[test]
    fn the_kernels_words_are_found_behind_capped_and_whole_echoes() {
        let mut request = Message::new(16, 0, &[0; 16]);
        request.text(3, "x");
        let request = request.finish(1).to_vec();
        for bytes in [
            nak(libc::NLM_F_ACK_TLVS | libc::NLM_F_CAPPED, &request[..HEADER]),
            nak(libc::NLM_F_ACK_TLVS, &request),
        ] {
            let got = Messages(&bytes).next().unwrap();
            let error = verdict(got, &|| "create veth x".into()).unwrap_err();
            assert!(error.busy());
            assert_eq!(
                error.to_string(),
                "cannot create veth x (the kernel says: Device is busy with itself)"
            );
        }
    }

    #[test]
    fn without_the_flag_there_are_no_words() {
        let bytes = nak(0, &[0; HEADER]);
        let got = Messages(&bytes).next().unwrap();
        let error = verdict(got, &|| "create veth x".into()).unwrap_err();
        assert_eq!((error.said_by_kernel(), error.errno()), (None, Some(libc::EBUSY)));
    }
}
