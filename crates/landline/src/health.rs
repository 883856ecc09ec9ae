//! Whether everything works (`landline status`, `GET /health`): a few checks, each with its reason.
//!
//! Health is made of what is so at this moment, whenever it is asked for. Nothing is remembered, so a check is well again when its
//! cause is gone.

use std::collections::BTreeMap;
use std::path::Path;

use landline_dhcp::v4::StateName;
use landline_docker::DockerView;
use landline_engine::{AddressState, EndpointView};
use landline_links::mark::is_implicit;
use landline_links::{LinkUse, ParentIs, facts_of};
use landline_model::NetworkRecord;
use landline_store::Store;
use landline_types::IfName;
use rustix::fs::StatVfsMountFlags;
use serde::{Deserialize, Serialize};

use crate::control::Context;

/// How well something is; the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// It works.
    #[default]
    Ok,
    /// It works, and something is wrong or soon will be.
    Warn,
    /// It does not work.
    Fail,
}

impl Level {
    /// The value of the metric.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warn => 1,
            Self::Fail => 2,
        }
    }

    /// The word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckName {
    /// Docker's API answers.
    Docker,
    /// The state file can be written.
    Store,
    /// The host's interfaces that networks use carry packets.
    Parents,
    /// DHCP servers give and renew leases.
    Leases,
    /// No container waits to be started again.
    Starts,
}

impl CheckName {
    /// The word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Store => "store",
            Self::Parents => "parents",
            Self::Leases => "leases",
            Self::Starts => "starts",
        }
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Check {
    /// What was checked.
    #[serde(rename = "check")]
    pub(crate) name: CheckName,
    /// How it is.
    pub(crate) level: Level,
    /// Why it is not ok.
    pub(crate) reason: Option<String>,
}

impl Check {
    fn of(check: CheckName, trouble: Option<(Level, String)>) -> Self {
        let (level, reason) = trouble.map_or((Level::Ok, None), |(level, why)| (level, Some(why)));
        Self { name: check, level, reason }
    }
}

/// The results of all checks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Health {
    /// The worst of them.
    pub(crate) level: Level,
    /// All of them.
    pub(crate) checks: Vec<Check>,
}

impl Health {
    fn of(checks: Vec<Check>) -> Self {
        Self { level: checks.iter().map(|check| check.level).max().unwrap_or_default(), checks }
    }
}

/// Looks at everything.
pub(crate) async fn health(context: &Context, endpoints: &[EndpointView]) -> Health {
    let engine = &context.parts.engine;
    let networks: Vec<NetworkRecord> = engine.networks().values().cloned().collect();
    let links = &context.parts.shared.services.link_table;
    let view = context.docker.borrow().clone();
    let waiting = context.parts.refused_starts.waiting().borrow().len();
    Health::of(vec![
        Check::of(CheckName::Docker, docker(&view, &networks)),
        Check::of(CheckName::Store, store(&context.parts.shared.store, &context.around.state_dir).await),
        Check::of(CheckName::Parents, parents(&networks, |name| links.onto_lan(name))),
        Check::of(CheckName::Leases, leases(endpoints)),
        Check::of(CheckName::Starts, starts(waiting)),
    ])
}

/// Nobody misses Docker where none of its networks is.
fn docker(view: &DockerView, networks: &[NetworkRecord]) -> Option<(Level, String)> {
    let used = networks.iter().any(|network| !is_implicit(&network.id));
    (!view.connected).then(|| {
        let level = if used { Level::Fail } else { Level::Warn };
        (level, "Docker's API does not answer; see whether Docker runs (systemctl status docker)".to_owned())
    })
}

/// A write that failed is tried again, so that a disk that has room again is seen as such before anything else is to be
/// written.
async fn store(store: &Store, directory: &Path) -> Option<(Level, String)> {
    let why = if read_only(directory) {
        format!("{} is on a file system that is mounted read-only", directory.display())
    } else {
        store.failure()?;
        landline_types::chain(&store.probe().await.err()?)
    };
    Some((Level::Fail, format!("the state file cannot be written, so no container can be started: {why}")))
}

/// Whether nothing can be written there, though nobody may have tried.
fn read_only(directory: &Path) -> bool {
    rustix::fs::statvfs(directory).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// The interfaces of the host that networks need.
fn parents(
    networks: &[NetworkRecord],
    link: impl Fn(&IfName) -> Option<(IfName, LinkUse)>,
) -> Option<(Level, String)> {
    let mut used: BTreeMap<&IfName, Vec<&str>> = BTreeMap::new();
    for network in networks {
        let facts = facts_of(network.options.mode);
        let parent = match (facts.parent, &network.nic) {
            (ParentIs::Nic | ParentIs::LanBridge, _) => &network.options.parent,
            // Landline makes the bridge itself; what it translates goes by the NIC.
            (ParentIs::OwnBridge, Some(nic)) if facts.is_translated() => nic,
            // Landline makes it itself, or it is in a container.
            (ParentIs::OwnBridge | ParentIs::Itself, _) => continue,
        };
        let name = network.name.as_deref().unwrap_or(network.id.short());
        used.entry(parent).or_default().push(if is_implicit(&network.id) { "attachments" } else { name });
    }
    let mut worst: Option<(Level, Vec<String>)> = None;
    for (parent, mut networks) in used {
        networks.dedup();
        let of = networks.join(", ");
        let port_of = |link: &IfName| {
            if link == parent {
                format!("{parent} ({of})")
            } else {
                format!("{link}, the port of {parent} ({of}),")
            }
        };
        let (level, says) = match link(parent) {
            Some((_, LinkUse::Works)) => continue,
            Some((link, LinkUse::NoCarrier)) => (
                Level::Warn,
                format!("{} has no carrier; check its cable and the switch port", port_of(&link)),
            ),
            Some((link, LinkUse::Down)) => {
                (Level::Fail, format!("{} is down; ip link set {link} up", port_of(&link)))
            }
            None => (Level::Fail, format!("{parent} ({of}) does not exist")),
        };
        let (all, says_all) = worst.get_or_insert_with(|| (level, Vec::new()));
        *all = level.max(*all);
        says_all.push(says);
    }
    worst.map(|(level, says)| (level, says.join("; ")))
}

/// How many names a reason has at most.
const NAMED: usize = 3;

/// Containers that have lost their address, or soon will because no server answers.
fn leases(endpoints: &[EndpointView]) -> Option<(Level, String)> {
    let (mut without, mut ending) = (Vec::new(), Vec::new());
    for endpoint in endpoints {
        let name = endpoint.container.as_deref().unwrap_or(&endpoint.endpoint);
        let name = match &endpoint.held {
            Some(held) => format!("{name} ({held})"),
            None => name.to_owned(),
        };
        if endpoint.lacks_address() {
            without.push(name);
        } else if endpoint.state == AddressState::Dhcp(StateName::Rebinding) {
            ending.push(name);
        }
    }
    let list = |names: &[String]| {
        let more = names.len().saturating_sub(NAMED);
        let named = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{named} and {more} more") } else { named }
    };
    if !without.is_empty() {
        let names = list(&without);
        Some((
            Level::Fail,
            format!(
                "without an address: {names}; check that the LAN's DHCP server runs and has free addresses"
            ),
        ))
    } else if !ending.is_empty() {
        let names = list(&ending);
        Some((Level::Warn, format!("no DHCP server renews the lease of {names}; check that it runs")))
    } else {
        None
    }
}

fn starts(waiting: usize) -> Option<(Level, String)> {
    (waiting > 0).then(|| {
        (
            Level::Warn,
            format!("{waiting} containers wait to be started again; landline ls shows which look alike"),
        )
    })
}

#[cfg(test)]
mod tests;
