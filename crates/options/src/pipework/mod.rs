//! pipework's command line, read as values.
//!
//! Its forms are positional and the order of its options is fixed:
//! `[--direct-phys] INTERFACE [-i IFNAME] [-l HOST_IFNAME] [-a 4|6] GUEST ADDRESS [MAC][@VLAN]`, where ADDRESS is
//! `IP/LENGTH[@GATEWAY]`, `0/0`, or the name of a DHCP client with its options; `route|rule|tc GUEST …`; `--wait [-i IFNAME]`.

mod client;
mod connect;
mod netcmd;
mod tc;

use landline_types::IfName;
use serde::{Deserialize, Serialize};

pub use netcmd::{RouteChange, RouteKindWord, RuleChange, Verb};
pub use tc::{Netem, Qdisc, QdiscChange};

use crate::attach::{Attach, AttachError, Target, interface, refuse_long};

/// What pipework is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pipework {
    /// Put an interface into a container.
    Attach(Attach),
    /// Change something in a container's namespace.
    Change(Target, Change),
    /// Wait until an interface is up and has an address, in the namespace of the caller.
    Wait(IfName),
}

/// A change of the routes, rules or queues of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// `route`: ip-route(8).
    Route(RouteChange),
    /// `rule`: ip-rule(8).
    Rule(RuleChange),
    /// `tc`: tc(8).
    Tc(QdiscChange),
}

impl Pipework {
    /// Reads the words after `pipework`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(words: &[String]) -> Result<Self, AttachError> {
        refuse_long(words)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["--wait", rest @ ..] => wait(rest),
            [kind @ ("route" | "rule" | "tc"), rest @ ..] => change(kind, rest),
            words => connect::parse(words).map(Self::Attach),
        }
    }

    /// The container it is about, if it is about one.
    pub const fn target(&self) -> Option<&Target> {
        match self {
            Self::Attach(Attach { target, .. }) | Self::Change(target, _) => Some(target),
            Self::Wait(_) => None,
        }
    }
}

fn wait(words: &[&str]) -> Result<Pipework, AttachError> {
    let name = match words {
        [] => "eth1",
        ["-i", name] => name,
        ["-i"] => {
            return Err(AttachError::Missing { what: "an interface", usage: "--wait [-i IFNAME]" });
        }
        [other, ..] => return Err(AttachError::TooMany(crate::error::cut(other))),
    };
    interface(name).map(Pipework::Wait)
}

fn change(kind: &str, words: &[&str]) -> Result<Pipework, AttachError> {
    let (target, rest) = words.split_first().ok_or(AttachError::NoTarget)?;
    let target = target.parse()?;
    let change = match kind {
        "route" => Change::Route(RouteChange::parse(rest)?),
        "rule" => Change::Rule(RuleChange::parse(rest)?),
        _ => Change::Tc(QdiscChange::parse(rest)?),
    };
    Ok(Pipework::Change(target, change))
}

#[cfg(test)]
mod tests;
