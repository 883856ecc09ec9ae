//! That somebody changes the packet filter's rules (`linux/netfilter/nfnetlink.h`, `NFNLGRP_NFTABLES`).

use rustix::net::SocketFlags;

use super::socket::socket_of;
use super::subscription::{Heard, Subscription};

/// `NFNLGRP_NFTABLES` as a mask.
const NFTABLES: u32 = 1 << (7 - 1);

/// A subscription to changes of nftables' rules, which those of `iptables-nft` are, in one namespace. Those of
/// `iptables-legacy` are changed without a word.
#[derive(Debug)]
pub struct RulesetMonitor {
    socket: Subscription,
    buffer: Vec<u8>,
}

impl RulesetMonitor {
    /// Subscribes in the calling thread's namespace; if that fails, it is tried again while [`Self::changed`] waits. Must be
    /// called within a tokio runtime.
    pub fn follow() -> Self {
        let open = || {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            socket_of(Some(rustix::net::netlink::NETFILTER), NFTABLES, flags)
        };
        let socket = Subscription::open(Box::new(open)).unwrap_or_else(|error| {
            tracing::debug!(%error, "changes of the packet filter are not heard");
            Subscription::later(Box::new(open))
        });
        Self { socket, buffer: vec![0; 64 * 1024] }
    }

    /// Returns when something has been changed since the last time, whatever it was and however much, or may have been.
    /// Cancel safe.
    pub async fn changed(&mut self) {
        if let Heard::Datagram(_) = self.socket.receive(&mut self.buffer).await {
            self.socket.drain(&mut self.buffer);
        }
    }

    /// Whether something has been changed since the last time, or may have been. Does not wait: a change is heard of before
    /// the call that makes it returns to its caller.
    pub fn has_changed(&mut self) -> bool {
        self.socket.drain(&mut self.buffer)
    }
}
