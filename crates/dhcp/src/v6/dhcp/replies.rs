//! What servers' answers do.

use super::exchange::Exchange;
use super::grant::{self, Offer, Verdict};
use super::{Dhcp, Io, State};
use crate::random::Random;
use crate::time::Instant;
use crate::v6::lease::{Information, Lease};
use crate::v6::table::{end, is_live};
use crate::v6::timing::{COLLECT, INFORMATION_DEFAULT, INFORMATION_MINIMUM, MAX_RT_RANGE};
use crate::wire::dhcpv6::{Duid, Message, MessageType, code, status};

/// A server with this preference is chosen without waiting for others.
const CHOOSE_ME: u8 = 255;

impl Dhcp {
    /// An answer to the outstanding question, or nothing.
    pub(in crate::v6) fn handle_message<R: Random>(&mut self, io: &mut Io<'_, R>, message: &Message) {
        let Some(exchange) = self.exchange_mut().copied() else { return };
        if message.xid != exchange.xid {
            return;
        }
        let Some(server) = grant::server(io.config, message) else { return };
        self.learn_limits(message);
        match message.kind {
            MessageType::Advertise => self.handle_advertise(io, server, message),
            MessageType::Reply => self.handle_reply(io, exchange, server, message),
            _ => {}
        }
    }

    /// What was asked could not be sent: it is asked again as soon as it can.
    pub(in crate::v6) fn hurry(&mut self, now: Instant) {
        if let Some(exchange) = self.exchange_mut() {
            exchange.due = now;
        }
    }

    fn exchange_mut(&mut self) -> Option<&mut Exchange> {
        match &mut self.state {
            State::Off | State::Init { .. } | State::Bound | State::Informed => None,
            State::Soliciting { exchange, .. }
            | State::Requesting { exchange, .. }
            | State::Confirming { exchange }
            | State::Renewing { exchange, .. }
            | State::Rebinding { exchange }
            | State::Declining { exchange, .. }
            | State::Releasing { exchange, .. }
            | State::Informing { exchange } => Some(exchange),
        }
    }

    /// How seldom servers want to be asked (RFC 9915 sections 21.24 and 21.25), whatever else they say.
    fn learn_limits(&mut self, message: &Message) {
        let told = |code| message.options.u32(code).filter(|seconds| MAX_RT_RANGE.contains(seconds));
        self.solicit_max = told(code::SOL_MAX_RT).unwrap_or(self.solicit_max);
        self.inform_max = told(code::INF_MAX_RT).unwrap_or(self.inform_max);
    }

    fn handle_advertise<R: Random>(&mut self, io: &mut Io<'_, R>, server: Duid, message: &Message) {
        let State::Soliciting { best, .. } = &mut self.state else { return };
        let Some(offer) = grant::offer(io.config, server, &message.options) else { return };
        if offer.preference == CHOOSE_ME {
            return self.begin_request(io, offer);
        }
        match best {
            Some((best, _)) if best.preference >= offer.preference => {}
            Some((best, _)) => *best = offer,
            None => *best = Some((offer, io.now + COLLECT)),
        }
    }

    fn handle_reply<R: Random>(
        &mut self,
        io: &mut Io<'_, R>,
        exchange: Exchange,
        server: Duid,
        message: &Message,
    ) {
        let options = &message.options;
        match &self.state {
            State::Soliciting { .. } => {
                let rapid = io.config.rapid_commit && options.get(code::RAPID_COMMIT).is_some();
                if !rapid {
                    return;
                }
                let verdict = grant::verdict(io.config, server, options, exchange.asked, io.now, io.rng);
                if let Verdict::Granted { lease, .. } = verdict
                    && !lease.addresses.is_empty()
                {
                    self.bind(*lease);
                }
            }
            State::Requesting { offer, .. } if offer.server == server => {
                match grant::verdict(io.config, server, options, exchange.asked, io.now, io.rng) {
                    Verdict::Granted { lease, .. } if !lease.addresses.is_empty() => self.bind(*lease),
                    Verdict::NotOnLink => {
                        self.requested.clear();
                        self.start_over(io.now);
                    }
                    Verdict::Granted { .. } | Verdict::NoAddresses | Verdict::NoBinding => {
                        self.start_over(io.now);
                    }
                    Verdict::Nothing => {}
                }
            }
            State::Renewing { .. } => {
                if self.lease.as_ref().is_some_and(|lease| lease.server == server) {
                    self.handle_extension(io, exchange, server, message);
                }
            }
            State::Rebinding { .. } => self.handle_extension(io, exchange, server, message),
            State::Confirming { .. } => match options.status().code {
                status::SUCCESS => self.state = State::Bound,
                status::NOT_ON_LINK => {
                    self.requested.clear();
                    self.lose(io.now);
                }
                _ => {}
            },
            State::Declining { server: by, .. } if *by == server => self.after_decline(io.now),
            State::Releasing { server: by, .. } if *by == server => self.state = State::Off,
            State::Informing { .. } => {
                if options.status().code == status::SUCCESS {
                    self.inform(io, message);
                }
            }
            State::Requesting { .. }
            | State::Declining { .. }
            | State::Releasing { .. }
            | State::Off
            | State::Init { .. }
            | State::Bound
            | State::Informed => {}
        }
    }

    /// An answer to Renew or Rebind.
    fn handle_extension<R: Random>(
        &mut self,
        io: &mut Io<'_, R>,
        exchange: Exchange,
        server: Duid,
        message: &Message,
    ) {
        let by = server.clone();
        match grant::verdict(io.config, server, &message.options, exchange.asked, io.now, io.rng) {
            Verdict::Granted { mut lease, gone } => {
                // What the answer does not mention goes on as it was (RFC 9915 section 18.2.10.1).
                let old = self.lease.iter().flat_map(|old| &old.addresses);
                let kept = |leased: &&_| {
                    let leased: &crate::v6::LeasedAddress = leased;
                    !gone.contains(&leased.address)
                        && lease.addresses.iter().all(|new| new.address != leased.address)
                        && is_live(leased.valid_until, io.now)
                };
                let rest: Vec<_> = old.filter(kept).copied().collect();
                let any_new = !lease.addresses.is_empty();
                lease.addresses.extend(rest);
                if lease.addresses.is_empty() {
                    self.requested.clear();
                    self.lose(io.now);
                } else if any_new {
                    self.bind(*lease);
                } else if let Some(held) = &mut self.lease {
                    // Only taken away: the times of the rest are as they were, and the question stays open.
                    held.addresses = lease.addresses;
                }
            }
            // The server has lost its memory: it is asked for the same addresses again (section 18.2.10.1).
            Verdict::NoBinding => {
                let addresses = super::addresses(self.lease.as_ref());
                self.begin_request(io, Offer { server: by, preference: 0, addresses });
            }
            Verdict::NotOnLink => {
                self.requested.clear();
                self.lose(io.now);
            }
            Verdict::NoAddresses | Verdict::Nothing => {}
        }
    }

    fn bind(&mut self, lease: Lease) {
        self.requested = super::addresses(Some(&lease));
        self.lease = Some(lease);
        self.information = None;
        self.state = State::Bound;
    }

    fn inform<R: Random>(&mut self, io: &Io<'_, R>, message: &Message) {
        let (dns, search) = grant::parameters(&message.options);
        let told = message.options.u32(code::INFORMATION_REFRESH).unwrap_or(INFORMATION_DEFAULT);
        let refresh = end(io.now, told.max(INFORMATION_MINIMUM));
        self.information = Some(Information { dns, search, refresh });
        self.state = State::Informed;
    }
}
