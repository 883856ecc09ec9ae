//! Holds what a host sent to find out whether an address is free, and to say that it has it, against RFC 5227.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use super::audit::{BROADCAST_MAC, Judge};
use super::frame::Frame;

/// The ARP packets with which a host asks for an address and announces it (RFC 5227).
#[derive(Debug, Default)]
pub struct ArpAudit {
    /// When it probed.
    pub probes: Vec<SystemTime>,
    /// When it announced.
    pub announcements: Vec<SystemTime>,
    wrong: Vec<String>,
}

impl ArpAudit {
    /// Looks at the packets of the host with this MAC that are about `address`.
    pub fn of(frames: &[Frame], mac: &str, address: Ipv4Addr) -> Self {
        let mut audit = Self::default();
        for frame in frames {
            let Some(arp) = frame.arp().filter(|arp| arp.sender_mac == mac) else { continue };
            let mut judge = Judge { wrong: &mut audit.wrong, frame };
            judge.that(frame.source() == mac, "another hardware address in the frame than in the packet");
            let to_all = frame.destination() == BROADCAST_MAC && arp.operation == 1;
            if arp.sender_ip.is_unspecified() && arp.target_ip == address {
                judge.that(
                    to_all && arp.target_mac == "00:00:00:00:00:00",
                    "a probe (RFC 5227 section 2.1.1)",
                );
                audit.probes.push(frame.time);
            } else if arp.sender_ip == address && arp.target_ip == address {
                judge.that(to_all, "an announcement (RFC 5227 section 2.3)");
                judge.that(!audit.probes.is_empty(), "announced before it was probed for");
                audit.announcements.push(frame.time);
            } else if arp.sender_ip == address {
                judge.that(!audit.announcements.is_empty(), "used before it was announced");
            }
        }
        audit
    }

    /// What the RFC does not allow, a sentence each.
    pub fn wrong(&self) -> &[String] {
        &self.wrong
    }

    /// The times between one probe and the next.
    pub fn probe_gaps(&self) -> Vec<Duration> {
        gaps(&self.probes)
    }

    /// The times between one announcement and the next.
    pub fn announcement_gaps(&self) -> Vec<Duration> {
        gaps(&self.announcements)
    }
}

fn gaps(times: &[SystemTime]) -> Vec<Duration> {
    times.windows(2).map(|pair| pair[1].duration_since(pair[0]).unwrap_or_default()).collect()
}
