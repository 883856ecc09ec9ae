//! The seam to what the host's kernel and its firewall do with packets on their way to containers.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::pin::Pin;

use landline_kernel::{RulesetMonitor, sysctl};
use landline_links::HostError;
use landline_types::IfName;

use super::firewall::{self, Family, Rule};
use super::table::Mapping;
use super::{hairpin, stale};

/// What becomes of packets. Calls block.
pub(crate) trait Forwarding: Send + Sync {
    /// Whether the host passes packets on (`net.ipv4.ip_forward`).
    fn is_on(&self) -> bool;

    /// Switches that on or off.
    fn switch(&self, on: bool) -> io::Result<()>;

    /// Whether bridged packets meet the firewall.
    fn meets_bridged(&self) -> bool;

    /// See [`stale::forget`].
    fn forget(&self, addresses: &BTreeSet<Ipv4Addr>, mappings: &[Mapping]) -> Result<usize, HostError>;

    /// See [`firewall::open`].
    fn open(&self, family: Family, wanted: &BTreeSet<Rule>, needed: bool) -> Result<bool, String>;

    /// See [`firewall::all_changes_are_heard`].
    fn all_changes_are_heard(&self) -> bool;

    /// Follows changes of the firewall's rules from now on.
    fn follow(&self) -> Box<dyn RuleChanges>;

    /// See [`hairpin::allow`].
    fn hairpin(&self, sandbox: &Path, inside: Ipv4Addr) -> io::Result<Option<IfName>>;

    /// See [`hairpin::allow_port`].
    fn hairpin_port(&self, port: &IfName) -> io::Result<()>;

    /// See [`hairpin::forbid`].
    fn no_hairpin(&self, port: &IfName) -> io::Result<()>;
}

/// Changes of the firewall's rules.
pub(crate) trait RuleChanges: Send + Sync {
    /// Whether there was one, without waiting for it.
    fn has_changed(&mut self) -> bool;

    /// Waits for one. Cancel-safe.
    fn changed(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The host's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinuxForwarding;

impl Forwarding for LinuxForwarding {
    fn is_on(&self) -> bool {
        forwards()
    }

    fn switch(&self, on: bool) -> io::Result<()> {
        sysctl::set_ip_forward(on)
    }

    fn meets_bridged(&self) -> bool {
        sysctl::bridge_nf()
    }

    fn forget(&self, addresses: &BTreeSet<Ipv4Addr>, mappings: &[Mapping]) -> Result<usize, HostError> {
        stale::forget(addresses, mappings)
    }

    fn open(&self, family: Family, wanted: &BTreeSet<Rule>, needed: bool) -> Result<bool, String> {
        firewall::open(family, wanted, needed)
    }

    fn all_changes_are_heard(&self) -> bool {
        firewall::all_changes_are_heard()
    }

    fn follow(&self) -> Box<dyn RuleChanges> {
        Box::new(RulesetMonitor::follow())
    }

    fn hairpin(&self, sandbox: &Path, inside: Ipv4Addr) -> io::Result<Option<IfName>> {
        hairpin::allow(sandbox, inside)
    }

    fn hairpin_port(&self, port: &IfName) -> io::Result<()> {
        hairpin::allow_port(port)
    }

    fn no_hairpin(&self, port: &IfName) -> io::Result<()> {
        hairpin::forbid(port)
    }
}

/// Whether the host passes packets on. A look at `/proc` takes no time.
pub fn forwards() -> bool {
    sysctl::ip_forward().unwrap_or(true)
}

impl RuleChanges for RulesetMonitor {
    fn has_changed(&mut self) -> bool {
        self.has_changed()
    }

    fn changed(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.changed())
    }
}
