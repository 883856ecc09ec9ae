//! What a packet filter does with a packet that is only thought of.
//!
//! Of the packet, and of what rules mean, not everything is known; so is what becomes of it. Only what is certain counts.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// How deep chains may be in each other. Kernels have no loops; a text may.
const DEPTH: usize = 32;

/// The first packet of a conversation; what is `None` is not known, or may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Packet {
    /// The interface it comes in by.
    pub(super) input: Option<String>,
    /// That it goes out by.
    pub(super) output: Option<String>,
    pub(super) source: Option<Ipv4Addr>,
    pub(super) destination: Option<Ipv4Addr>,
    /// IP protocol number.
    pub(super) protocol: Option<u8>,
    /// Destination port.
    pub(super) port: Option<u16>,
    /// Whether its destination was translated.
    pub(super) translated: bool,
    /// Whether it stays within a bridge.
    pub(super) bridged: bool,
}

impl Packet {
    /// Whether it is among these states of connections (`NEW`, `established`, `DNAT`, …).
    pub(super) fn in_states<'a>(&self, mut states: impl Iterator<Item = &'a str>) -> bool {
        states.any(|state| {
            state.eq_ignore_ascii_case("new") || (self.translated && state.eq_ignore_ascii_case("dnat"))
        })
    }
}

/// Whether an interface has a name; `wild` stands for any further letters at the end of the pattern.
pub(super) fn is_named(interface: Option<&str>, pattern: &str, wild: char) -> Option<bool> {
    let interface = interface?;
    Some(match pattern.strip_suffix(wild) {
        Some(beginning) => interface.starts_with(beginning),
        None => interface == pattern,
    })
}

/// Whether an address is in a network (`192.0.2.0/24`, or an address alone).
pub(super) fn is_within(address: Option<Ipv4Addr>, net: &str) -> Option<bool> {
    let net: Ipv4Net = net.parse().or_else(|_| net.parse::<Ipv4Addr>().map(Ipv4Net::from)).ok()?;
    if net.prefix_len() == 0 { Some(true) } else { address.map(|address| net.contains(&address)) }
}

/// The number of a protocol over IP by its name.
pub(super) fn protocol_number(name: &str) -> Option<u8> {
    Some(match name {
        "icmp" => 1,
        "tcp" => 6,
        "udp" => 17,
        "ipv6-icmp" => 58,
        "sctp" => 132,
        _ => return None,
    })
}

/// Whether both hold, as far as that is known.
pub(super) fn both(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// One rule, as it is for one packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// Whether it is about the packet.
    pub(super) holds: Option<bool>,
    pub(super) then: Then,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Then {
    Accept,
    Drop,
    Return,
    /// Asks another chain, and goes on if that says nothing.
    Jump(String),
    /// Has another chain in the place of the rest of this one.
    Goto(String),
    /// Nothing that decides.
    Nothing,
    /// Whatever somebody else says.
    Ask,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    /// It does not pass, because of this chain.
    Dropped(String),
    /// It depends on what is not known.
    Unclear,
}

/// All chains of a table by name, as they are for one packet.
pub(super) type Chains = BTreeMap<String, Vec<Rule>>;

/// What becomes of the packet in a base chain with this policy.
pub(super) fn fate(chains: &Chains, base: &str, drops: bool) -> Fate {
    let mut walk = Walk { chains, may_pass: false, may_drop: false };
    let end = match walk.chain(base, 0) {
        End::Through if drops => End::Drop(base.to_owned()),
        End::Through => End::Accept,
        end => end,
    };
    match end {
        End::Accept if !walk.may_drop => Fate::Passes,
        End::Drop(chain) if !walk.may_pass => Fate::Dropped(chain),
        _ => Fate::Unclear,
    }
}

/// How a chain ends.
enum End {
    Accept,
    Drop(String),
    /// It says nothing.
    Through,
    Unclear,
}

struct Walk<'a> {
    chains: &'a Chains,
    /// A rule that may hold would have let it pass before.
    may_pass: bool,
    /// Or dropped it.
    may_drop: bool,
}

impl Walk<'_> {
    fn chain(&mut self, name: &str, depth: usize) -> End {
        if depth > DEPTH {
            return End::Unclear;
        }
        let chains = self.chains;
        for rule in chains.get(name).map_or(&[][..], Vec::as_slice) {
            if rule.holds == Some(false) {
                continue;
            }
            let end = match &rule.then {
                Then::Nothing => continue,
                Then::Accept => End::Accept,
                Then::Drop => End::Drop(name.to_owned()),
                Then::Return if rule.holds == Some(true) => return End::Through,
                // What comes behind may not count.
                Then::Return => return End::Unclear,
                Then::Jump(other) => match self.chain(other, depth + 1) {
                    End::Through => continue,
                    end => end,
                },
                Then::Goto(other) if rule.holds == Some(true) => return self.chain(other, depth + 1),
                Then::Goto(_) | Then::Ask => End::Unclear,
            };
            match (rule.holds, end) {
                (Some(true), end) => return end,
                (_, End::Accept) => self.may_pass = true,
                (_, End::Drop(_)) => self.may_drop = true,
                (_, End::Unclear | End::Through) => return End::Unclear,
            }
        }
        End::Through
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(holds: Option<bool>, then: Then) -> Rule {
        Rule { holds, then }
    }

    fn of(rules: Vec<Rule>, other: Vec<Rule>, drops: bool) -> Fate {
        fate(&[("base".to_owned(), rules), ("other".to_owned(), other)].into(), "base", drops)
    }

    #[test]
    fn the_first_rule_that_decides_counts_and_then_the_policy() {
        let (yes, no) = (Some(true), Some(false));
        let jump = || Then::Jump("other".into());
        assert_eq!(of(Vec::new(), Vec::new(), true), Fate::Dropped("base".into()));
        assert_eq!(of(vec![rule(no, Then::Drop), rule(yes, Then::Accept)], Vec::new(), true), Fate::Passes);
        assert_eq!(
            of(vec![rule(yes, jump())], vec![rule(yes, Then::Drop)], false),
            Fate::Dropped("other".into())
        );
        assert_eq!(
            of(vec![rule(yes, jump())], vec![rule(yes, Then::Return), rule(yes, Then::Drop)], false),
            Fate::Passes
        );
        let go = vec![rule(yes, Then::Goto("other".into())), rule(yes, Then::Accept)];
        assert_eq!(of(go, Vec::new(), true), Fate::Dropped("base".into()));
    }

    #[test]
    fn what_may_be_otherwise_is_unclear() {
        let jump = Then::Jump("other".into());
        assert_eq!(of(vec![rule(None, Then::Accept)], Vec::new(), true), Fate::Unclear);
        assert_eq!(
            of(vec![rule(None, Then::Drop)], Vec::new(), true),
            Fate::Dropped("base".into()),
            "in either case"
        );
        assert_eq!(of(vec![rule(None, jump)], vec![rule(Some(true), Then::Accept)], true), Fate::Unclear);
        assert_eq!(of(vec![rule(None, Then::Return)], Vec::new(), true), Fate::Unclear);
        let round = vec![rule(Some(true), Then::Jump("base".into()))];
        assert_eq!(of(round, Vec::new(), true), Fate::Unclear);
    }
}
