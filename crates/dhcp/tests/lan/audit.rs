//! What must hold at any time, judged from outside: packets, events, and what the caller does with them.

use std::collections::HashSet;
use std::fmt;
use std::net::Ipv4Addr;

use landline_dhcp::v4::{Lease, StateName};
use landline_dhcp::wire::dhcpv4::{MessageType, Repr, code};

use super::{HOUR, Micros, SECOND, micros};

/// How long an address may outlive its lease when everything slept: asking again takes two seconds.
const GRACE: Micros = 2 * SECOND + SECOND / 2;

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.detail)
    }
}

pub(crate) fn broken<T>(rule: &'static str, detail: impl fmt::Debug) -> Result<T, Violation> {
    Err(Violation { rule, detail: format!("{detail:?}") })
}

/// What one host's packets and events are held against.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    client_id: Option<Vec<u8>>,
    /// The last message that wants an answer.
    pub(crate) question: Option<Repr>,
    /// Addresses that others were seen to use since they were asked for.
    claims: HashSet<Ipv4Addr>,
    hour: (Micros, u64),
    pub(crate) busiest_hour: u64,
}

impl Audit {
    /// A program that starts anew has asked nothing yet.
    pub(crate) fn restarted(&mut self) {
        self.question = None;
        self.claims.clear();
    }

    /// A message, and what was in use before and after the call that sent it.
    pub(crate) fn sent(
        &mut self,
        now: Micros,
        src: Ipv4Addr,
        dst: Ipv4Addr,
        message: &Repr,
        in_use: [Option<Ipv4Addr>; 2],
    ) -> Result<(), Violation> {
        let id = message.options.get(code::CLIENT_ID).map(<[u8]>::to_vec);
        if self.client_id.get_or_insert_with(|| id.clone().unwrap_or_default()) != &id.unwrap_or_default() {
            return broken("one client identifier for life", message);
        }
        check_form(src, dst, message)?;
        if message.kind == MessageType::Request
            && !message.ciaddr.is_unspecified()
            && !in_use.contains(&Some(message.ciaddr))
        {
            return broken("only an address in use is renewed", message);
        }
        if matches!(message.kind, MessageType::Discover | MessageType::Request) {
            let requested = |m: &Repr| m.options.ipv4(code::REQUESTED_ADDRESS);
            let same = |last: &Repr| last.xid == message.xid && requested(last) == requested(message);
            // Another question is another attempt, with probes of its own.
            if !self.question.as_ref().is_some_and(same) {
                self.claims.clear();
            }
            self.question = Some(message.clone());
        }
        self.packet(now);
        Ok(())
    }

    pub(crate) fn packet(&mut self, now: Micros) {
        if now - self.hour.0 >= HOUR {
            self.hour = (now, 0);
        }
        self.hour.1 += 1;
        self.busiest_hour = self.busiest_hour.max(self.hour.1);
    }

    /// Two questions of one call belong to one exchange.
    pub(crate) fn one_exchange(before: Option<&Repr>, questions: &[Repr]) -> Result<(), Violation> {
        let discovers = questions.iter().filter(|m| m.kind == MessageType::Discover).count();
        if discovers > 1
            || (discovers == 1 && questions.last().is_some_and(|m| m.kind != MessageType::Discover))
        {
            return broken("one exchange at a time", questions);
        }
        let renewed = questions.iter().any(|m| !m.ciaddr.is_unspecified());
        if discovers == 1 && renewed {
            return broken("one exchange at a time", questions);
        }
        let taken = questions.last().filter(|m| m.options.get(code::SERVER_ID).is_some());
        match (taken, before) {
            (Some(request), Some(before)) if request.xid != before.xid => {
                broken("a REQUEST continues its DISCOVER", request)
            }
            _ => Ok(()),
        }
    }

    /// Somebody else's ARP packet reached the host while it listened.
    pub(crate) fn claimed(&mut self, address: Ipv4Addr) {
        self.claims.insert(address);
    }

    pub(crate) fn is_claimed(&self, address: Ipv4Addr) -> bool {
        self.claims.contains(&address)
    }

    /// A lease the caller was told of.
    pub(crate) fn granted(
        &self,
        lease: &Lease,
        until: Option<Micros>,
        new: bool,
        checks: bool,
    ) -> Result<(), Violation> {
        let Some(until) = until else { return broken("only what a server granted", lease) };
        if lease.expires.map_or(u64::MAX, micros) > until {
            return broken("a lease is not longer than the server thinks", (lease.expires, until));
        }
        if new && checks && self.claims.contains(&lease.address) {
            return broken("no address that somebody was seen to use", lease.address);
        }
        Ok(())
    }

    /// The address the caller uses, at any time the program runs and the machine is awake.
    pub(crate) fn in_use(
        now: Micros,
        awake_since: Micros,
        address: Ipv4Addr,
        lease: Option<&Lease>,
        state: Option<StateName>,
    ) -> Result<(), Violation> {
        let Some(lease) = lease.filter(|lease| lease.address == address) else {
            return broken("an address is used only with a lease", (address, lease, state));
        };
        let end = lease.expires.map_or(u64::MAX, micros);
        let asking = state == Some(StateName::Rebooting) && now < awake_since + GRACE;
        if now > end && !asking {
            return broken("an address is used only while its lease lives", (address, now, end, state));
        }
        Ok(())
    }
}

/// RFC 2131 tables 4 and 5.
fn check_form(src: Ipv4Addr, dst: Ipv4Addr, message: &Repr) -> Result<(), Violation> {
    let requested = message.options.ipv4(code::REQUESTED_ADDRESS);
    let server = message.options.ipv4(code::SERVER_ID);
    let (none, all) = (Ipv4Addr::UNSPECIFIED, dst == Ipv4Addr::BROADCAST);
    let fresh = src == none && message.ciaddr == none && all;
    let good = match (message.kind, requested, server) {
        (MessageType::Discover, _, None) | (MessageType::Request, Some(_), _) => fresh,
        (MessageType::Request, None, None) => message.ciaddr != none && src == message.ciaddr,
        (MessageType::Decline, Some(_), Some(_)) => fresh && message.secs == 0,
        (MessageType::Release, None, Some(server)) => src == message.ciaddr && src != none && dst == server,
        _ => false,
    };
    if good { Ok(()) } else { broken("the form of a message (RFC 2131 tables 4 and 5)", (src, dst, message)) }
}
