//! UDP sockets of the test's own, on any machine of the LAN and in containers.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landline_testbed::{DockerHost, wait_for};
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
        let made = std::thread::scope(|scope| {
            // A thread of its own, which ends with the namespace it entered.
            scope.spawn(|| bind_in(&self.netns, SocketAddrV4::new(bound, port))).join()
        });
        Ok(made.map_err(|_| "the thread that opens a socket panicked")??)
    }
}

fn bind_in(netns: &Path, address: SocketAddrV4) -> std::io::Result<UdpSocket> {
    let netns = File::open(netns)?;
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
    UdpSocket::bind(address)
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
