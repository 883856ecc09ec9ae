//! The part of ip-route(8) and ip-rule(8) that containers may ask for: what is named here, by netlink, and nothing else.

use std::net::IpAddr;

use ipnet::IpNet;
use landline_types::IfName;
use serde::{Deserialize, Serialize};

use crate::attach::{AttachError, interface};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// `add`: it must not be there.
    Add,
    /// `replace` or `change`: it is put in the place of one like it.
    Replace,
    /// `del`.
    Delete,
}

/// What becomes of packets a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteKindWord {
    /// They are sent on.
    #[default]
    Unicast,
    /// They are dropped.
    Blackhole,
    /// They are refused as unreachable.
    Unreachable,
    /// They are refused as forbidden.
    Prohibit,
}

/// `ip route VERB …`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteChange {
    /// What is done.
    pub verb: Verb,
    /// What becomes of the packets.
    #[serde(default)]
    pub kind: RouteKindWord,
    /// Where to.
    pub destination: IpNet,
    /// Through which router.
    pub via: Option<IpAddr>,
    /// Over which interface.
    pub dev: Option<IfName>,
    /// `metric`.
    pub metric: Option<u32>,
    /// `src`.
    pub source: Option<IpAddr>,
    /// `table`.
    pub table: Option<u32>,
    /// `mtu`.
    pub mtu: Option<u32>,
    /// `onlink`.
    #[serde(default)]
    pub onlink: bool,
}

/// `ip rule VERB …`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleChange {
    /// What is done.
    pub verb: Verb,
    /// `from`.
    pub from: Option<IpNet>,
    /// `to`.
    pub to: Option<IpNet>,
    /// `iif`.
    pub iif: Option<IfName>,
    /// `oif`.
    pub oif: Option<IfName>,
    /// `fwmark`, and the mask.
    pub fwmark: Option<(u32, u32)>,
    /// `table` or `lookup`; the main one if nothing is said.
    pub table: u32,
    /// `priority`.
    pub priority: Option<u32>,
}

const MAIN: u32 = 254;

/// Words in pairs.
pub(super) struct Pairs<'a>(std::slice::Iter<'a, &'a str>);

impl<'a> Pairs<'a> {
    pub(super) fn new(words: &'a [&'a str]) -> Self {
        Self(words.iter())
    }

    pub(super) fn next(&mut self) -> Option<&'a str> {
        self.0.next().copied()
    }

    pub(super) fn value(&mut self, key: &str) -> Result<&'a str, AttachError> {
        self.next().ok_or_else(|| AttachError::word(key, "complete", "something must follow it"))
    }
}

pub(super) fn number(text: &str) -> Result<u32, AttachError> {
    let hex = text.strip_prefix("0x").map(|digits| u32::from_str_radix(digits, 16).ok());
    let plain = || text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    hex.unwrap_or_else(plain).ok_or_else(|| AttachError::word(text, "a number", "write digits"))
}

fn ip(text: &str) -> Result<IpAddr, AttachError> {
    text.parse().map_err(|_| AttachError::word(text, "an address", "write one like 192.0.2.1"))
}

fn net(text: &str) -> Result<IpNet, AttachError> {
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    parsed
        .map(|net| net.trunc())
        .map_err(|_| AttachError::word(text, "a network", "write one like 198.51.100.0/24, or default"))
}

fn table(text: &str) -> Result<u32, AttachError> {
    match text {
        "main" => Ok(MAIN),
        "default" => Ok(253),
        "local" => Ok(255),
        digits => number(digits),
    }
}

fn verb(word: Option<&str>) -> Result<Verb, AttachError> {
    match word {
        Some("add" | "append") => Ok(Verb::Add),
        Some("replace" | "change" | "chg") => Ok(Verb::Replace),
        Some("del" | "delete") => Ok(Verb::Delete),
        Some(other) => {
            Err(AttachError::word(other, "something to do here", "there are add, replace and del"))
        }
        None => Err(AttachError::Missing { what: "what to do", usage: "add|replace|del …" }),
    }
}

impl RouteChange {
    /// Reads what follows `pipework route GUEST`.
    pub(super) fn parse(words: &[&str]) -> Result<Self, AttachError> {
        let mut words = Pairs::new(words);
        let verb = verb(words.next())?;
        let mut word = words.next();
        let kind = match word {
            Some("unicast") => Some(RouteKindWord::Unicast),
            Some("blackhole") => Some(RouteKindWord::Blackhole),
            Some("unreachable") => Some(RouteKindWord::Unreachable),
            Some("prohibit") => Some(RouteKindWord::Prohibit),
            _ => None,
        };
        if kind.is_some() || word == Some("to") {
            word = words.next();
        }
        let to = word.ok_or(AttachError::Missing {
            what: "where the route goes",
            usage: "route GUEST add|replace|del NETWORK|default [via ROUTER] [dev IFNAME] [metric N] [src IP] [table N]",
        })?;
        let mut route = Self {
            verb,
            kind: kind.unwrap_or_default(),
            destination: IpNet::default(),
            via: None,
            dev: None,
            metric: None,
            source: None,
            table: None,
            mtu: None,
            onlink: false,
        };
        while let Some(key) = words.next() {
            match key {
                "via" => route.via = Some(ip(words.value(key)?)?),
                "dev" => route.dev = Some(interface(words.value(key)?)?),
                "metric" | "priority" | "preference" => route.metric = Some(number(words.value(key)?)?),
                "src" => route.source = Some(ip(words.value(key)?)?),
                "table" => route.table = Some(table(words.value(key)?)?),
                "mtu" => route.mtu = Some(number(words.value(key)?)?),
                "onlink" => route.onlink = true,
                other => {
                    let hint = "there are via, dev, metric, src, table, mtu and onlink; landline exec runs ip itself";
                    return Err(AttachError::word(other, "part of a route here", hint));
                }
            }
        }
        let v6 = [route.via, route.source].into_iter().flatten().any(|ip| ip.is_ipv6());
        route.destination = match to {
            "default" if v6 => IpNet::V6(ipnet::Ipv6Net::default()),
            "default" => IpNet::V4(ipnet::Ipv4Net::default()),
            text => net(text)?,
        };
        let v4 = route.destination.addr().is_ipv4();
        if [route.via, route.source].into_iter().flatten().any(|ip| ip.is_ipv4() != v4) {
            return Err(AttachError::Contradiction("a route is of one address family"));
        }
        if route.kind == RouteKindWord::Unicast
            && route.verb != Verb::Delete
            && route.via.is_none()
            && route.dev.is_none()
        {
            return Err(AttachError::Missing { what: "the way", usage: "via ROUTER or dev IFNAME" });
        }
        Ok(route)
    }
}

impl RuleChange {
    /// Reads what follows `pipework rule GUEST`.
    pub(super) fn parse(words: &[&str]) -> Result<Self, AttachError> {
        let mut words = Pairs::new(words);
        let verb = verb(words.next())?;
        if verb == Verb::Replace {
            return Err(AttachError::word("replace", "something to do with rules", "there are add and del"));
        }
        let mut rule = Self {
            verb,
            from: None,
            to: None,
            iif: None,
            oif: None,
            fwmark: None,
            table: MAIN,
            priority: None,
        };
        while let Some(key) = words.next() {
            match key {
                "from" => rule.from = selector(words.value(key)?)?,
                "to" => rule.to = selector(words.value(key)?)?,
                "iif" | "dev" => rule.iif = Some(interface(words.value(key)?)?),
                "oif" => rule.oif = Some(interface(words.value(key)?)?),
                "fwmark" => {
                    let text = words.value(key)?;
                    let (mark, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
                    rule.fwmark = Some((number(mark)?, number(mask)?));
                }
                "table" | "lookup" => rule.table = table(words.value(key)?)?,
                "priority" | "preference" | "pref" | "prio" | "order" => {
                    rule.priority = Some(number(words.value(key)?)?);
                }
                other => {
                    let hint = "there are from, to, iif, oif, fwmark, table and priority; landline exec runs ip itself";
                    return Err(AttachError::word(other, "part of a rule here", hint));
                }
            }
        }
        let families = [rule.from, rule.to].map(|net| net.map(|net| net.addr().is_ipv4()));
        if let [Some(a), Some(b)] = families
            && a != b
        {
            return Err(AttachError::Contradiction("a rule is of one address family"));
        }
        Ok(rule)
    }
}

/// `all` and `any` select nothing.
fn selector(text: &str) -> Result<Option<IpNet>, AttachError> {
    match text {
        "all" | "any" | "default" => Ok(None),
        text => net(text).map(Some),
    }
}
