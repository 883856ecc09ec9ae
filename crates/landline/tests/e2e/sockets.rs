//! Sockets of the test's own, on any machine of the LAN and in containers.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landline_testbed::{DockerHost, wait_for};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, netdevice, sendto, socket, sockopt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::world::{Result, SOON};

/// A place on the LAN: a network namespace and the address there.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) netns: PathBuf,
    pub(crate) address: Ipv4Addr,
}

impl Place {
    /// A running container.
    pub(crate) fn container(host: &DockerHost, name: &str, address: &str) -> Result<Self> {
        let pid = host.pid_outside(host.container_pid(name)?)?;
        Ok(Self { netns: format!("/proc/{pid}/ns/net").into(), address: address.parse()? })
    }

    /// A socket there. A sender is bound to the place's own address, which also says which link a
    /// broadcast goes out on.
    fn socket(&self, bound: Ipv4Addr, port: u16) -> Result<UdpSocket> {
        within(&self.netns, || UdpSocket::bind(SocketAddrV4::new(bound, port)))
    }
}

/// Does something in a network namespace, on a thread of its own that ends with it.
fn within<T: Send>(netns: &Path, work: impl FnOnce() -> io::Result<T> + Send) -> Result<T> {
    let entered = || {
        let file = File::open(netns)?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    };
    let done = std::thread::scope(|scope| scope.spawn(entered).join());
    Ok(done.map_err(|_| "a thread in another namespace panicked")??)
}

/// A datagram that one place sends to a group or to everyone arrives at another place, from the sender's address.
pub(crate) fn hears(listener: &Place, speaker: &Place, to: SocketAddrV4) -> Result {
    let ear = listener.socket(Ipv4Addr::UNSPECIFIED, to.port())?;
    if to.ip().is_multicast() {
        ear.join_multicast_v4(to.ip(), &listener.address)?;
    }
    ear.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mouth = speaker.socket(speaker.address, 0)?;
    mouth.set_broadcast(true)?;
    let words = format!("{} to {to}", speaker.address);
    let heard = wait_for(format!("datagram from {words} at {}", listener.address), SOON, || {
        mouth.send_to(words.as_bytes(), to).ok()?;
        let mut buffer = [0; 100];
        let (length, from) = ear.recv_from(&mut buffer).ok()?;
        (buffer.get(..length)? == words.as_bytes()).then_some(from)
    })?;
    assert_eq!(heard.ip(), speaker.address, "the source address of what was heard");
    Ok(())
}

/// Tells everybody on the LAN, once, that there is a router here and a /64 to make addresses from
/// (RFC 4861 section 4.2 and 4.6.2).
pub(crate) fn advertise(netns: &Path, interface: &str, prefix: Ipv6Addr) -> Result {
    flood(netns, interface, Duration::ZERO, std::iter::once(advertisement(prefix, 600, None)))
}

/// Tells everybody once which MTU the way to this router has.
pub(crate) fn advertise_mtu(netns: &Path, interface: &str, mtu: u32) -> Result {
    let prefix = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0);
    flood(netns, interface, Duration::ZERO, std::iter::once(advertisement(prefix, 600, Some(mtu))))
}

/// A router advertisement with a prefix for addresses, valid for so many seconds, and perhaps an MTU.
pub(crate) fn advertisement(prefix: Ipv6Addr, valid: u32, mtu: Option<u32>) -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    // Prefix information: on the link and for addresses.
    message.extend([3, 4, 64, 0xc0]);
    message.extend(valid.to_be_bytes());
    message.extend(valid.to_be_bytes());
    message.extend([0; 4]);
    message.extend(prefix.octets());
    if let Some(mtu) = mtu {
        message.extend([5, 1, 0, 0]);
        message.extend(mtu.to_be_bytes());
    }
    message
}

/// Sends these `ICMPv6` messages to everybody on the LAN, one every `gap`.
pub(crate) fn flood(
    netns: &Path,
    interface: &str,
    gap: Duration,
    messages: impl Iterator<Item = Vec<u8>> + Send,
) -> Result {
    within(netns, || {
        let socket = socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6))?;
        // Anything less could have come from beyond the link, and is ignored.
        sockopt::set_ipv6_multicast_hops(&socket, 255)?;
        let index = netdevice::name_to_index(&socket, interface)?;
        let everybody = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, index);
        for message in messages {
            sendto(&socket, &message, SendFlags::empty(), &everybody)?;
            // The rhythm is the attack.
            std::thread::sleep(gap);
        }
        Ok(())
    })
}
