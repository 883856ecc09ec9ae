//! Mistakes that DHCP clients are known to make, put between a good client and the network. Each must be noticed by
//! the audit, or the audit is worth nothing.

use landline_dhcp::wire::dhcpv4::{MessageType, Options, Packet, Repr, code};

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// NAKs are not noticed.
    IgnoresNak,
    /// A NAK of any server counts, whoever was asked.
    ObeysAnyNak,
    /// The end of a lease is not acted on.
    KeepsExpired,
    /// A conflict is seen, but the server is not told.
    ForgetsDecline,
    /// Nobody listens to ARP.
    DeafToArp,
    /// The transaction id of an answer is not looked at.
    AnyXid,
    /// Renewals carry another client identifier than the first request.
    ChangesClientId,
    /// A lease counts from its ACK.
    CountsFromAck,
    /// Silence is met with impatience.
    NoBackOff,
    /// Renewals carry the requested address and the server, which they must not.
    RequestedInRenew,
    /// The clock stands still while the machine sleeps (`CLOCK_MONOTONIC`).
    SleepyClock,
    /// While it renews it looks for other servers as well.
    TwoExchanges,
    /// Timers are lost after the first lease.
    ForgetsTimers,
}

impl Bug {
    pub(crate) const ALL: [Self; 13] = [
        Self::IgnoresNak,
        Self::ObeysAnyNak,
        Self::KeepsExpired,
        Self::ForgetsDecline,
        Self::DeafToArp,
        Self::AnyXid,
        Self::ChangesClientId,
        Self::CountsFromAck,
        Self::NoBackOff,
        Self::RequestedInRenew,
        Self::SleepyClock,
        Self::TwoExchanges,
        Self::ForgetsTimers,
    ];
}

/// An answer as a client with this bug reads it; `None`: not at all. `last` is the question it waits for.
pub(crate) fn received(bug: Option<Bug>, last: Option<&Repr>, payload: &[u8]) -> Option<Vec<u8>> {
    let unchanged = || Some(payload.to_vec());
    let Some(mut reply) = Packet::parse(payload).and_then(|packet| Repr::parse(&packet)) else {
        return unchanged();
    };
    match (bug, last) {
        (Some(Bug::IgnoresNak), _) if reply.kind == MessageType::Nak => None,
        (Some(Bug::ObeysAnyNak), Some(last)) if reply.kind == MessageType::Nak => {
            let Some(server) = last.options.get(code::SERVER_ID) else { return unchanged() };
            reply.options = [(code::SERVER_ID, server.to_vec())].into_iter().collect();
            Some(reply.emit())
        }
        (Some(Bug::AnyXid), Some(last)) if reply.mac == last.mac => {
            reply.xid = last.xid;
            Some(reply.emit())
        }
        _ => unchanged(),
    }
}

/// What a client with this bug sends instead of a message.
pub(crate) fn sent(bug: Option<Bug>, message: Repr) -> Vec<Repr> {
    let renews = message.kind == MessageType::Request && !message.ciaddr.is_unspecified();
    let mut changed = message.clone();
    match bug {
        Some(Bug::ForgetsDecline) if message.kind == MessageType::Decline => vec![],
        Some(Bug::ChangesClientId) if renews => {
            let others = message.options.iter().filter(|(c, _)| *c != code::CLIENT_ID);
            let mut options: Options = others.map(|(c, v)| (c, v.to_vec())).collect();
            options.append(code::CLIENT_ID, b"\0another");
            changed.options = options;
            vec![changed]
        }
        Some(Bug::RequestedInRenew) if renews => {
            changed.options.append(code::REQUESTED_ADDRESS, &message.ciaddr.octets());
            vec![changed]
        }
        Some(Bug::TwoExchanges) if renews => {
            changed.kind = MessageType::Discover;
            changed.ciaddr = std::net::Ipv4Addr::UNSPECIFIED;
            changed.xid ^= 0xffff;
            vec![message, changed]
        }
        _ => vec![message],
    }
}
