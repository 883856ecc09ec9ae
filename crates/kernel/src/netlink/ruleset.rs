//! That somebody changes the packet filter's rules (`linux/netfilter/nfnetlink.h`, `NFNLGRP_NFTABLES`).

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::SocketFlags;
use tokio::io::unix::AsyncFd;

use super::monitor::lost;
use super::socket::{receive, socket_of};
use crate::sys;

/// `NFNLGRP_NFTABLES` as a mask.
const NFTABLES: u32 = 1 << (7 - 1);

/// A subscription to changes of nftables' rules, which those of `iptables-nft` are, in one namespace. Those of
/// `iptables-legacy` are changed without a word.
#[derive(Debug)]
pub struct RulesetMonitor {
    fd: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
}

impl RulesetMonitor {
    /// Subscribes in the calling thread's namespace. Must be called within a tokio runtime.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_of(Some(rustix::net::netlink::NETFILTER), NFTABLES, flags)?;
        Ok(Self { fd: sys::register(fd)?, buffer: vec![0; 64 * 1024] })
    }

    /// Returns when something has been changed since the last time, whatever it was and however much. Cancel safe.
    pub async fn changed(&mut self) -> io::Result<()> {
        let buffer = &mut self.buffer;
        let first = self.fd.async_io(sys::READABLE, |fd| receive(fd, buffer)).await;
        let mut read = first;
        loop {
            match read {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Too much at once: something has changed all the same.
                Err(error) if lost(&error) => {}
                Err(error) => return Err(error),
            }
            read = receive(self.fd.get_ref(), &mut self.buffer);
        }
    }
}
