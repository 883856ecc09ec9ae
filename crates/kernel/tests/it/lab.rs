//! What the tests share.

use std::net::Ipv4Addr;
use std::time::Duration;

use landline_kernel::{Address, Link, Netlink, Netns, NewLink, NewLinkKind, PeerLink};
use landline_types::{IfName, Mac};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// How long a test waits for something that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// A locally administered address that ends in this octet.
pub(crate) const fn mac(last: u8) -> Mac {
    Mac::new([0x02, 0, 0, 0, 0, last])
}

/// A namespace of its own and a connection to it.
pub(crate) fn lab() -> (Netns, Netlink) {
    let ns = Netns::create().unwrap();
    let netlink = Netlink::open_in(&ns).unwrap();
    (ns, netlink)
}

pub(crate) fn link(netlink: &mut Netlink, text: &str) -> Link {
    netlink.link_by_name(&name(text)).unwrap().unwrap()
}

/// A pair `a`-`b` with the hardware addresses 02:…:0a and 02:…:0b, both up.
pub(crate) fn pair(netlink: &mut Netlink) -> (Link, Link) {
    let peer = PeerLink { mac: Some(mac(0xb)), up: true, addr_gen_none: true, ..PeerLink::new(name("b")) };
    let mut new = NewLink::new(name("a"), NewLinkKind::Veth { peer });
    new.mac = Some(mac(0xa));
    new.up = true;
    new.addr_gen_none = true;
    netlink.add_link(&new).unwrap();
    (link(netlink, "a"), link(netlink, "b"))
}

pub(crate) fn give(netlink: &mut Netlink, index: u32, net: &str) {
    netlink.add_address(&Address::new(index, net.parse().unwrap())).unwrap();
}

/// An ARP request for `target` from 192.0.2.9 (RFC 826).
pub(crate) fn who_has(sender: Mac, target: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
    packet.extend(sender.octets());
    packet.extend([192, 0, 2, 9]);
    packet.extend([0; 6]);
    packet.extend(target.octets());
    packet
}

/// Sends a whole Ethernet frame, tags and all, through a link.
#[allow(unsafe_code)]
pub(crate) fn send_frame(ns: &Netns, ifindex: u32, frame: &[u8]) {
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap();
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is large and aligned enough for every socket address, and all zero is a valid one.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET.try_into().unwrap();
    address.sll_ifindex = ifindex.try_into().unwrap();
    // SAFETY: a whole sockaddr_ll was written above and the length is that of a sockaddr_ll.
    let address = unsafe { SockAddr::new(storage, length) };
    let sent = ns.run(|| {
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.send_to(frame, &address)
    });
    assert_eq!(sent.unwrap().unwrap(), frame.len());
}
