//! What servers' answers do.

use std::net::Ipv4Addr;

use super::{Client, State, Unusable};
use crate::random::Random;
use crate::time::Instant;
use crate::v4::exchange::Exchange;
use crate::v4::grant;
use crate::v4::timing::NAK_PATIENCE;
use crate::wire::dhcpv4::{MessageType, Repr, code};

/// What a NAK is worth.
enum Refusal {
    /// It counts.
    Now,
    /// It counts unless the lease's own server says otherwise meanwhile.
    Perhaps,
    /// It is nothing to this client.
    Never,
}

impl<R: Random> Client<R> {
    /// An answer to the outstanding question, or nothing.
    pub(super) fn handle_reply(&mut self, now: Instant, src: Ipv4Addr, reply: &Repr) {
        let Some(exchange) = self.exchange() else { return };
        if reply.xid != exchange.xid || !grant::is_ours(&self.config, reply) {
            return;
        }
        match reply.kind {
            MessageType::Offer => self.handle_offer(now, exchange, src, reply),
            MessageType::Ack => self.handle_ack(now, exchange, src, reply),
            MessageType::Nak => self.handle_nak(now, src, reply),
            MessageType::Discover
            | MessageType::Request
            | MessageType::Decline
            | MessageType::Release
            | MessageType::Inform => {}
        }
    }

    fn exchange(&self) -> Option<Exchange> {
        match &self.state {
            State::Stopped | State::Init { .. } | State::Checking { .. } | State::Bound => None,
            State::Selecting(exchange)
            | State::Requesting { exchange, .. }
            | State::Rebooting { exchange, .. }
            | State::Renewing { exchange, .. }
            | State::Rebinding { exchange, .. } => Some(*exchange),
        }
    }

    /// The first good offer is taken: somebody waits.
    fn handle_offer(&mut self, now: Instant, exchange: Exchange, src: Ipv4Addr, reply: &Repr) {
        if !matches!(self.state, State::Selecting(_)) {
            return;
        }
        match (grant::offer(reply), grant::server(reply)) {
            // Its trouble is known already.
            (Some(offer), _) if self.is_refused(offer) => {}
            (Some(offer), _) if self.config.allows(offer.server) => self.begin_take(now, exchange, offer),
            (_, None) => self.unusable = Some(Unusable::Anonymous { from: src }),
            (_, Some(server)) if !self.config.allows(server) => {
                self.unusable = Some(Unusable::NotAllowed { server });
            }
            (_, Some(server)) => self.unusable = Some(Unusable::NoAddress { server, address: reply.yiaddr }),
        }
    }

    /// A grant of the address that was asked for. One of another address is no answer to the question; servers that
    /// want a client elsewhere say NAK.
    fn handle_ack(&mut self, now: Instant, exchange: Exchange, src: Ipv4Addr, reply: &Repr) {
        let (address, known) = match &self.state {
            State::Selecting(_) => {
                let rapid = self.config.rapid_commit && reply.options.get(code::RAPID_COMMIT).is_some();
                if !rapid {
                    return;
                }
                (reply.yiaddr, None)
            }
            State::Requesting { offer, .. } if grant::server(reply) == Some(offer.server) => {
                (offer.address, None)
            }
            State::Rebooting { address, server, .. } => (*address, *server),
            State::Renewing { .. } | State::Rebinding { .. } => match &self.held {
                Some(lease) => (lease.address, Some(lease.server)),
                None => return,
            },
            State::Requesting { offer, .. } => {
                let asked = offer.server;
                self.unusable = Some(match grant::server(reply) {
                    Some(said) => Unusable::Stranger { asked, said },
                    None => Unusable::Anonymous { from: src },
                });
                return;
            }
            State::Stopped | State::Init { .. } | State::Checking { .. } | State::Bound => return,
        };
        let lease = grant::lease(&self.config, reply, exchange.asked, known, &mut self.rng)
            .filter(|lease| lease.address == address && lease.is_live(now));
        if let Some(lease) = lease {
            self.unusable = None;
            self.handle_grant(now, lease);
        }
    }

    fn handle_nak(&mut self, now: Instant, src: Ipv4Addr, reply: &Repr) {
        let by = grant::server(reply).unwrap_or(src);
        match self.refusal(by) {
            Refusal::Now => self.handle_refusal(now),
            Refusal::Perhaps => {
                if let State::Rebooting { refused, .. } | State::Rebinding { refused, .. } = &mut self.state {
                    refused.get_or_insert(now + NAK_PATIENCE);
                }
            }
            Refusal::Never => {}
        }
    }

    /// Who may refuse. Only the server that was asked by name, if one was: others also hear a broadcast REQUEST, and
    /// obeying them makes a client go in circles between two servers. Where all were asked, the server of the lease
    /// decides at once; of the others one may know better (the client moved to its network) or worse (it has never
    /// heard of the lease), so an ACK that comes soon after outweighs it.
    fn refusal(&self, by: Ipv4Addr) -> Refusal {
        if !self.config.allows(by) {
            return Refusal::Never;
        }
        let only = |server: Ipv4Addr| if server == by { Refusal::Now } else { Refusal::Never };
        let best =
            |server: Option<Ipv4Addr>| if server == Some(by) { Refusal::Now } else { Refusal::Perhaps };
        let granted_by = self.held.as_ref().map(|lease| lease.server);
        match &self.state {
            State::Requesting { offer, .. } => only(offer.server),
            State::Renewing { .. } => granted_by.map_or(Refusal::Never, only),
            State::Rebooting { server, .. } => best(*server),
            State::Rebinding { .. } => best(granted_by),
            State::Stopped
            | State::Init { .. }
            | State::Selecting(_)
            | State::Checking { .. }
            | State::Bound => Refusal::Never,
        }
    }
}
