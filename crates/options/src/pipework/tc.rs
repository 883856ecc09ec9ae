//! The part of tc(8) that containers may ask for: the root queue of an interface. (tc itself can be made to run commands.)

use std::time::Duration;

use landline_types::IfName;
use serde::{Deserialize, Serialize};

use super::netcmd::{Pairs, Verb, number};
use crate::attach::{AttachError, interface};

/// `tc qdisc VERB dev IFNAME root …`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QdiscChange {
    /// What is done.
    pub verb: Verb,
    /// The interface, in the container.
    pub dev: IfName,
    /// What its queue is to be; `None` with [`Verb::Delete`].
    pub qdisc: Option<Qdisc>,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Qdisc {
    /// tc-tbf(8): no faster than a rate.
    Tbf {
        /// In bytes a second.
        rate: u64,
        /// How much may go at once, in bytes.
        burst: u32,
        /// How much may wait, in bytes.
        limit: u32,
    },
    /// tc-netem(8): a bad wire.
    Netem(Netem),
    /// tc-fq_codel(8), as it is by default.
    FqCodel,
}

/// What a bad wire does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Netem {
    /// How long packets take longer.
    pub delay: Duration,
    /// How much that differs.
    pub jitter: Duration,
    /// How many get lost, in millionths.
    pub loss: u32,
    /// How many come twice, in millionths.
    pub duplicate: u32,
}

const USAGE: &str = "tc GUEST qdisc add|replace|del dev IFNAME root tbf rate R burst B latency T | netem delay T loss P% | fq_codel";

impl QdiscChange {
    /// Reads what follows `pipework tc GUEST`.
    pub(super) fn parse(words: &[&str]) -> Result<Self, AttachError> {
        let missing = || AttachError::Missing { what: "part of the command", usage: USAGE };
        let mut words = Pairs::new(words);
        match words.next() {
            Some("qdisc") => {}
            Some(other) => return Err(AttachError::word(other, "what tc can be asked here", USAGE)),
            None => return Err(missing()),
        }
        let verb = match words.next().ok_or_else(missing)? {
            "add" => Verb::Add,
            "replace" | "change" => Verb::Replace,
            "del" | "delete" => Verb::Delete,
            other => return Err(AttachError::word(other, "something to do here", USAGE)),
        };
        let (mut dev, mut root) = (None, false);
        while dev.is_none() || !root {
            match words.next().ok_or_else(missing)? {
                "dev" => dev = Some(interface(words.value("dev")?)?),
                "root" => root = true,
                "handle" => drop(words.value("handle")?),
                other => return Err(AttachError::word(other, "dev or root", USAGE)),
            }
        }
        let dev = dev.ok_or_else(missing)?;
        let kind = loop {
            match words.next() {
                Some("handle") => drop(words.value("handle")?),
                other => break other,
            }
        };
        let qdisc = match (kind, verb) {
            (None, Verb::Delete) => None,
            (None, _) => return Err(missing()),
            (Some(kind), _) => Some(qdisc(kind, &mut words)?),
        };
        Ok(Self { verb, dev, qdisc: qdisc.filter(|_| verb != Verb::Delete) })
    }
}

fn qdisc(kind: &str, words: &mut Pairs<'_>) -> Result<Qdisc, AttachError> {
    match kind {
        "tbf" => tbf(words),
        "netem" => netem(words).map(Qdisc::Netem),
        "fq_codel" => match words.next() {
            None => Ok(Qdisc::FqCodel),
            Some(other) => Err(AttachError::TooMany(crate::error::cut(other))),
        },
        other => Err(AttachError::word(
            other,
            "a queue here",
            "there are tbf, netem and fq_codel; landline exec runs tc itself",
        )),
    }
}

fn tbf(words: &mut Pairs<'_>) -> Result<Qdisc, AttachError> {
    let (mut speed, mut burst, mut limit, mut latency) = (None, None, None, None);
    while let Some(key) = words.next() {
        match key {
            "rate" => speed = Some(rate(words.value(key)?)?),
            "burst" | "buffer" | "maxburst" => burst = Some(size(words.value(key)?)?),
            "limit" => limit = Some(size(words.value(key)?)?),
            "latency" | "lat" => latency = Some(time(words.value(key)?)?),
            other => {
                return Err(AttachError::word(
                    other,
                    "part of tbf",
                    "there are rate, burst, latency and limit",
                ));
            }
        }
    }
    let (Some(rate), Some(burst)) = (speed.filter(|rate| *rate > 0), burst.filter(|burst| *burst > 0)) else {
        return Err(AttachError::Missing { what: "rate or burst", usage: "tbf rate R burst B latency T" });
    };
    let waiting = |latency: Duration| {
        let bytes = u128::from(rate) * latency.as_micros() / 1_000_000 + u128::from(burst);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    };
    let limit = limit.or(latency.map(waiting)).filter(|limit| *limit > 0);
    let limit = limit
        .ok_or(AttachError::Missing { what: "latency or limit", usage: "tbf rate R burst B latency T" })?;
    Ok(Qdisc::Tbf { rate, burst, limit })
}

fn netem(words: &mut Pairs<'_>) -> Result<Netem, AttachError> {
    let mut netem = Netem::default();
    let mut word = words.next();
    while let Some(key) = word {
        word = None;
        match key {
            "delay" => {
                netem.delay = time(words.value(key)?)?;
                // The next word may be the jitter, or the next key.
                match words.next() {
                    Some(next) if next.starts_with(|c: char| c.is_ascii_digit()) => {
                        netem.jitter = time(next)?;
                    }
                    next => word = next,
                }
            }
            "loss" => {
                let mut value = words.value(key)?;
                if value == "random" {
                    value = words.value(key)?;
                }
                netem.loss = percent(value)?;
            }
            "duplicate" => netem.duplicate = percent(words.value(key)?)?,
            other => {
                return Err(AttachError::word(
                    other,
                    "part of netem here",
                    "there are delay, loss and duplicate",
                ));
            }
        }
        word = word.or_else(|| words.next());
    }
    Ok(netem)
}

/// A number with a unit behind it: `whole.part`, in units of a millionth.
fn scaled<'a>(text: &'a str, what: &'static str, hint: &'static str) -> Result<(u64, &'a str), AttachError> {
    let bad = || AttachError::word(text, what, hint);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || whole.len() > 12 || part.len() > 6 {
        return Err(bad());
    }
    let whole: u64 = whole.parse().map_err(|_| bad())?;
    let part: u64 = format!("{part:0<6}").parse().map_err(|_| bad())?;
    Ok((whole.checked_mul(1_000_000).and_then(|w| w.checked_add(part)).ok_or_else(bad)?, unit))
}

/// Bytes a second.
fn rate(text: &str) -> Result<u64, AttachError> {
    const WHAT: &str = "a rate";
    const HINT: &str = "write it like 1mbit, 500kbit or 2gbit";
    let (micros, unit) = scaled(text, WHAT, HINT)?;
    let unit = unit.to_ascii_lowercase();
    let (prefix, bits) = match (unit.strip_suffix("bps"), unit.strip_suffix("bit")) {
        (Some(prefix), _) => (prefix, 8),
        (None, Some(prefix)) => (prefix, 1),
        (None, None) => (unit.as_str(), 1),
    };
    let factor: u128 = match prefix {
        "" => 1,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        _ => return Err(AttachError::word(text, WHAT, HINT)),
    };
    let bytes = u128::from(micros) * factor * bits / 8_000_000;
    u64::try_from(bytes).map_err(|_| AttachError::word(text, WHAT, HINT))
}

/// Bytes.
fn size(text: &str) -> Result<u32, AttachError> {
    const WHAT: &str = "a size";
    const HINT: &str = "write it in bytes, or like 32k, 10kb or 1mb";
    let (micros, unit) = scaled(text, WHAT, HINT)?;
    let factor: u128 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1024,
        "m" | "mb" => 1024 * 1024,
        "kbit" => 128,
        "mbit" => 128 * 1024,
        _ => return Err(AttachError::word(text, WHAT, HINT)),
    };
    u32::try_from(u128::from(micros) * factor / 1_000_000).map_err(|_| AttachError::word(text, WHAT, HINT))
}

fn time(text: &str) -> Result<Duration, AttachError> {
    const WHAT: &str = "a time";
    const HINT: &str = "write it like 100ms, 50us or 1s, at most a minute";
    let bad = || AttachError::word(text, WHAT, HINT);
    let (micros, unit) = scaled(text, WHAT, HINT)?;
    let micros = match unit.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" => micros,
        "ms" | "msec" | "msecs" => micros / 1_000,
        // tc's own unit when there is none.
        "us" | "usec" | "usecs" | "" => micros / 1_000_000,
        _ => return Err(bad()),
    };
    Some(Duration::from_micros(micros)).filter(|time| *time <= Duration::from_mins(1)).ok_or_else(bad)
}

/// Millionths.
fn percent(text: &str) -> Result<u32, AttachError> {
    const HINT: &str = "write it like 30% or 0.1%";
    let (micros, unit) = scaled(text, "a percentage", HINT)?;
    let fits = matches!(unit, "%" | "") && micros <= 100_000_000;
    let number = fits.then(|| number(&(micros / 100).to_string()).ok()).flatten();
    number.ok_or_else(|| AttachError::word(text, "a percentage", HINT))
}
