//! The queue at the root of a link (`tc-tbf(8)`, `tc-netem(8)`, `tc-fq_codel(8)`).

use std::time::Duration;

use super::attr::Message;
use super::error::NetlinkError;
use super::socket::Netlink;
use super::uapi::{
    TC_H_ROOT, TC_LINKLAYER_ETHERNET, TCA_KIND, TCA_NETEM_JITTER64, TCA_NETEM_LATENCY64, TCA_OPTIONS,
    TCA_TBF_BURST, TCA_TBF_PARMS, TCA_TBF_RATE64,
};

/// Length of `struct tcmsg`.
const TCMSG: usize = 20;

/// How many packets a bad wire holds at most; what tc takes.
const NETEM_LIMIT: u32 = 1000;

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Qdisc {
    /// No faster than a rate.
    Tbf {
        /// In bytes a second.
        rate: u64,
        /// How much may go at once, in bytes.
        burst: u32,
        /// How much may wait, in bytes.
        limit: u32,
    },
    /// A bad wire.
    Netem {
        /// How long packets take longer.
        delay: Duration,
        /// How much that differs.
        jitter: Duration,
        /// How many get lost, in millionths.
        loss: u32,
        /// How many come twice, in millionths.
        duplicate: u32,
    },
    /// Fair queueing with controlled delay, as the kernel has it by default.
    FqCodel,
}

impl Qdisc {
    const fn name(&self) -> &'static str {
        match self {
            Self::Tbf { .. } => "tbf",
            Self::Netem { .. } => "netem",
            Self::FqCodel => "fq_codel",
        }
    }

    fn options(&self, message: &mut Message) {
        match self {
            Self::Tbf { rate, burst, limit } => {
                // struct tc_tbf_qopt: two struct tc_ratespec (rate, and peak rate: none), limit, buffer, mtu.
                let mut parms = [0; 36];
                parms[1] = TC_LINKLAYER_ETHERNET;
                parms[8..12].copy_from_slice(&u32::try_from(*rate).unwrap_or(u32::MAX).to_ne_bytes());
                parms[24..28].copy_from_slice(&limit.to_ne_bytes());
                message.nest(TCA_OPTIONS, |options| {
                    options.bytes(TCA_TBF_PARMS, &parms);
                    options.u32(TCA_TBF_BURST, *burst);
                    if *rate > u64::from(u32::MAX) {
                        options.bytes(TCA_TBF_RATE64, &rate.to_ne_bytes());
                    }
                });
            }
            Self::Netem { delay, jitter, loss, duplicate } => {
                // struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter; times are given in nanoseconds below.
                let words = [0, NETEM_LIMIT, share(*loss), 0, share(*duplicate), 0];
                let nanos =
                    |time: &Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX).to_ne_bytes();
                message.nest(TCA_OPTIONS, |options| {
                    for word in words {
                        options.raw(&word.to_ne_bytes());
                    }
                    options.bytes(TCA_NETEM_LATENCY64, &nanos(delay));
                    options.bytes(TCA_NETEM_JITTER64, &nanos(jitter));
                });
            }
            Self::FqCodel => {}
        }
    }
}

/// Millionths as the kernel counts them: of 2^32 - 1.
fn share(millionths: u32) -> u32 {
    let all = u64::from(u32::MAX) * u64::from(millionths.min(1_000_000)) / 1_000_000;
    u32::try_from(all).unwrap_or(u32::MAX)
}

fn message(kind: u16, flags: i32, index: u32) -> Message {
    let mut body = [0; TCMSG];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[12..16].copy_from_slice(&TC_H_ROOT.to_ne_bytes());
    Message::new(kind, flags | libc::NLM_F_ACK, &body)
}

impl Netlink {
    /// Gives a link this queue at its root; without `replace` only if it has none but the kernel's own.
    pub fn set_root_qdisc(&mut self, index: u32, qdisc: &Qdisc, replace: bool) -> Result<(), NetlinkError> {
        let how = if replace { libc::NLM_F_REPLACE } else { libc::NLM_F_EXCL };
        let mut message = message(libc::RTM_NEWQDISC, libc::NLM_F_CREATE | how, index);
        message.text(TCA_KIND, qdisc.name());
        qdisc.options(&mut message);
        self.request(message, || format!("set queue {} on link number {index}", qdisc.name()), |_| {})
    }

    /// Gives a link the kernel's own queue again; false if it had no other.
    pub fn delete_root_qdisc(&mut self, index: u32) -> Result<bool, NetlinkError> {
        let asked = || format!("delete the queue of link number {index}");
        match self.request(message(libc::RTM_DELQDISC, 0, index), asked, |_| {}) {
            Err(error) if error.is(libc::ENOENT) || error.is(libc::EINVAL) => Ok(false),
            result => result.map(|()| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_all() {
        assert_eq!((share(0), share(1_000_000), share(2_000_000)), (0, u32::MAX, u32::MAX));
        assert_eq!(share(500_000), u32::MAX / 2);
    }
}
