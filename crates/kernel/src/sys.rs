//! The system calls no safe crate wraps: each one function, each with its argument why it is sound.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};

use landline_types::Mac;
use socket2::{SockAddr, SockAddrStorage};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Sets an integer socket option that neither rustix nor socket2 knows (`setsockopt(2)`).
pub(crate) fn set_option(fd: BorrowedFd<'_>, level: i32, option: i32, value: i32) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<i32>()).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length describe `value`, which outlives the call; the kernel only reads it.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `include/uapi/asm-generic/socket.h`.
const SO_NETNS_COOKIE: i32 = 71;

/// The number of the network namespace a socket is in (`socket(7)`, `SO_NETNS_COOKIE`).
pub(crate) fn netns_cookie(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length describe `cookie`, which outlives the call; the kernel writes no more than that.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// `include/uapi/asm-generic/socket.h`.
const SO_PEERGROUPS: i32 = 59;

/// The groups of the process at the other end of a unix socket, as they were when it connected (`unix(7)`, `SO_PEERGROUPS`). At most
/// `NGROUPS_MAX`, 65536.
pub(crate) fn peer_groups(fd: BorrowedFd<'_>) -> io::Result<Vec<libc::gid_t>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut length =
            libc::socklen_t::try_from(size_of_val(groups.as_slice())).map_err(io::Error::other)?;
        // SAFETY: the pointer and the length describe `groups`, which outlives the call; the kernel writes no more than that.
        let result = unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = usize::try_from(length).map_err(io::Error::other)? / size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        match io::Error::last_os_error() {
            // There are more; the kernel has said how many.
            error if error.raw_os_error() == Some(libc::ERANGE) && count > groups.len() => {
                groups.resize(count, 0);
            }
            error => return Err(error),
        }
    }
}

/// `include/uapi/linux/un.h`: the first of the private requests of sockets.
const SIOCUNIXFILE: libc::Ioctl = 0x89e0;

/// Opens the file that is the name of a bound unix socket, as `O_PATH` does.
pub(crate) fn unix_file(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the request takes no argument and answers with a descriptor.
    let file = unsafe { libc::ioctl(fd.as_raw_fd(), SIOCUNIXFILE) };
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for this call, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(file) })
}

/// Which multicast frames a link is to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frames {
    /// All of them.
    All,
    /// Those to this group.
    Group(Mac),
}

/// Has the link with this index take multicast frames for as long as this packet socket is open (`packet(7)`).
pub(crate) fn take_multicast(fd: BorrowedFd<'_>, ifindex: u32, frames: Frames) -> io::Result<()> {
    let ifindex = i32::try_from(ifindex).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let (kind, group, len) = match frames {
        Frames::All => (libc::PACKET_MR_ALLMULTI, [0; 6], 0),
        Frames::Group(mac) => (libc::PACKET_MR_MULTICAST, mac.octets(), 6),
    };
    let mut address = [0; 8];
    address[..6].copy_from_slice(&group);
    let kind = u16::try_from(kind).map_err(io::Error::other)?;
    let request = libc::packet_mreq { mr_ifindex: ifindex, mr_type: kind, mr_alen: len, mr_address: address };
    let length = libc::socklen_t::try_from(size_of::<libc::packet_mreq>()).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length describe `request`, which outlives the call; the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A moment, in seconds since 1970, on the clock of the place that the environment variable `TZ` names, and how many
/// seconds that is ahead of UTC (`localtime_r(3)`). Fails for a year beyond all calendars.
pub(crate) fn local_time(seconds: i64) -> io::Result<libc::tm> {
    // SAFETY: all-zero bytes are a valid `tm`: numbers, and a pointer that may be null.
    let mut result = unsafe { zeroed::<libc::tm>() };
    // SAFETY: both pointers are to values that outlive the call. The environment is read, and no thread of this program
    // changes it.
    let done = unsafe { libc::localtime_r(&raw const seconds, &raw mut result) };
    if done.is_null() { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes over a descriptor that was handed to this process by its number. Fails if it is not open.
pub(crate) fn adopt(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: the number is only looked at; a closed one is an error.
    let open = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if open < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and the only caller asks once for each number, as the first thing that the program does and
    // while it has one thread: nothing in the program has opened a descriptor yet that could have this number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Moves the calling thread, and only it, into a network namespace of its own (`unshare(2)`).
pub(crate) fn unshare_net() -> io::Result<()> {
    // SAFETY: only the network namespace is left; the descriptor table stays shared, which is what makes
    // other flags of this call unsound.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }?;
    Ok(())
}

/// Makes a tap interface of this name, or takes hold of one that is there and nobody holds (`TUNSETIFF`, kernel
/// documentation `networking/tuntap`).
pub(crate) fn tun_set_iff(fd: BorrowedFd<'_>, name: &[u8], flags: i32) -> io::Result<()> {
    // SAFETY: all bits zero is a valid ifreq: an empty name and no flags.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // One byte stays zero at the end.
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: the request wants a pointer to an ifreq, which this is, writable and alive during the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps a tap interface when nobody holds it any more (`TUNSETPERSIST`).
pub(crate) fn tun_set_persist(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the request takes a plain number.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETPERSIST, 1) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What to wait for before reading. A packet socket whose link went reports an error and nothing to read.
pub(crate) const READABLE: Interest = Interest::READABLE.add(Interest::ERROR);

/// Registers a descriptor to be read with the runtime's reactor.
///
/// Fails outside a tokio runtime.
pub(crate) fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    register_for(fd, READABLE)
}

/// Registers a descriptor with the runtime's reactor. The only place that does.
///
/// Fails outside a tokio runtime.
pub(crate) fn register_for(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
    // SAFETY: an OwnedFd holds one open descriptor, never closes it before it is dropped, and always reports
    // the same number; the AsyncFd owns it from here.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(|refused| refused.into_parts().1)
}

/// An address of an `AF_PACKET` socket (`packet(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkAddr {
    /// The frame's type (`ETH_P_*`), in host order.
    pub(crate) protocol: u16,
    pub(crate) ifindex: u32,
    /// `PACKET_HOST`, `PACKET_OUTGOING` and so on; only the kernel fills it.
    pub(crate) packet_type: u8,
    /// The station's address, if it is an Ethernet one.
    pub(crate) mac: Option<Mac>,
}

impl LinkAddr {
    /// The address `bind` and `sendto` want.
    pub(crate) fn to_socket(self) -> io::Result<SockAddr> {
        let ifindex =
            i32::try_from(self.ifindex).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: the storage is as large and as aligned as any socket address and may hold this one.
        let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
        address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
        address.sll_protocol = self.protocol.to_be();
        address.sll_ifindex = ifindex;
        if let Some(mac) = self.mac {
            address.sll_halen = 6;
            address.sll_addr[..6].copy_from_slice(&mac.octets());
        }
        // SAFETY: a whole sockaddr_ll was written above and the length is that of a sockaddr_ll.
        Ok(unsafe { SockAddr::new(storage, length) })
    }

    fn from_kernel(address: &libc::sockaddr_ll) -> Self {
        let mac = address.sll_addr.first_chunk().filter(|_| address.sll_halen == 6);
        Self {
            protocol: u16::from_be(address.sll_protocol),
            ifindex: address.sll_ifindex.cast_unsigned(),
            packet_type: address.sll_pkttype,
            mac: mac.map(|octets| Mac::new(*octets)),
        }
    }
}

/// A packet taken from an `AF_PACKET` socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet {
    pub(crate) len: usize,
    /// Whether there was more of it than the buffer holds.
    pub(crate) truncated: bool,
    pub(crate) from: LinkAddr,
    /// `tp_status` of `PACKET_AUXDATA`, if the socket asked for it.
    pub(crate) status: Option<u32>,
}

/// Room for control messages, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; 128]);

/// Takes one packet from an `AF_PACKET` socket (`recvmsg(2)`, `packet(7)`).
pub(crate) fn receive_packet(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Packet> {
    let name_len = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    let mut control = Control([0; 128]);
    let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: for both types all bits zero is a valid value (addresses and lengths of nothing).
    let (mut name, mut message): (libc::sockaddr_ll, libc::msghdr) = unsafe { (zeroed(), zeroed()) };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = name_len;
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control.0).cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: every pointer in the header is to a live, writable object of the length given beside it, none
    // of which is otherwise touched during the call.
    let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, 0) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    #[allow(clippy::unnecessary_cast, reason = "its type differs between C libraries")]
    let control_len = (message.msg_controllen as usize).min(control.0.len());
    Ok(Packet {
        len,
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
        from: LinkAddr::from_kernel(&name),
        status: auxdata_status(&control.0[..control_len]),
    })
}

/// Finds `tp_status`, the first field of `struct tpacket_auxdata`, among control messages (`cmsg(3)`).
fn auxdata_status(mut control: &[u8]) -> Option<u32> {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    const WORD: usize = size_of::<usize>();
    loop {
        let header = control.get(..HEADER)?;
        let length = usize::from_ne_bytes(*header.first_chunk::<WORD>()?);
        let level = i32::from_ne_bytes(*header.get(WORD..)?.first_chunk()?);
        let kind = i32::from_ne_bytes(*header.get(WORD + 4..)?.first_chunk()?);
        let data = control.get(HEADER..length)?;
        if (level, kind) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
            return data.first_chunk().map(|b| u32::from_ne_bytes(*b));
        }
        control = control.get(length.next_multiple_of(WORD)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cmsg(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (size_of::<libc::cmsghdr>() + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
        bytes
    }

    #[test]
    fn auxiliary_data_is_found_behind_other_messages() {
        let mut control = cmsg(libc::SOL_SOCKET, libc::SO_TIMESTAMP, &[1; 13]);
        control.extend(cmsg(libc::SOL_PACKET, libc::PACKET_AUXDATA, &9u32.to_ne_bytes()));
        assert_eq!(auxdata_status(&control), Some(9));
        for end in 0..control.len() - 4 {
            assert_eq!(auxdata_status(&control[..end]), None, "{end}");
        }
        assert_eq!(auxdata_status(&[0; 64]), None);
    }

    #[test]
    fn no_reactor_is_an_error_not_a_panic() {
        let (end, _other) = io::pipe().unwrap();
        assert!(register(end.into()).is_err());
    }
}
