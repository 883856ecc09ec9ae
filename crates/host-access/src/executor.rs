//! Makes the kernel as the plan says. What fails is told and does not hold up the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use landline_kernel::sysctl::Family;
use landline_kernel::{Address, Link, LinkChange, NetlinkError};
use landline_links::mark::PROTOCOL;
use landline_links::{Namespace, Namespaces};
use landline_types::{IfName, Mac, chain};

use super::plan::{Shim, Target};
use super::shim::{self, Keeper, Present, Rules, ShimError};
use super::tables::{self, Problems};

/// What of the host matters; when none of it changes, there is nothing to do.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct HostSnapshot {
    pub(super) links: BTreeMap<u32, LinkSnapshot>,
    pub(super) shims: BTreeSet<u32>,
    pub(super) addresses: BTreeSet<(u32, IpNet, bool)>,
    pub(super) routes: BTreeSet<(u32, IpNet)>,
}

/// What matters of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkSnapshot {
    name: IfName,
    mac: Option<Mac>,
    mtu: u32,
    up: bool,
    arp: bool,
}

impl LinkSnapshot {
    pub(super) fn of(link: &Link) -> Self {
        Self { name: link.name.clone(), mac: link.mac, mtu: link.mtu, up: link.up, arp: link.arp() }
    }
}

/// What was done, and what could not be.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Why a shim is not there or not whole, by its key.
    pub(super) failed: BTreeMap<String, String>,
    /// What is wrong with some of its destinations, by its key.
    pub(super) problems: BTreeMap<String, Problems>,
}

/// What the kernel was seen to have, kept while the daemon runs.
pub(super) struct Executor {
    namespaces: Arc<dyn Namespaces>,
    host: Box<dyn Namespace>,
    keeper: Keeper,
    /// The rules as they were last set; `None`: not by this process.
    rules: Option<Rules>,
    /// Containers that were told something, and on the interfaces of which addresses.
    told: BTreeMap<PathBuf, BTreeSet<IpAddr>>,
}

impl Executor {
    pub(super) fn new(namespaces: Arc<dyn Namespaces>, keeper: Keeper) -> std::io::Result<Self> {
        let host = namespaces.host()?;
        Ok(Self { namespaces, host, keeper, rules: None, told: BTreeMap::new() })
    }

    /// The host's links and addresses.
    pub(super) fn look(&mut self) -> Result<(Vec<Link>, Vec<Address>), NetlinkError> {
        Ok((self.host.links()?, self.host.addresses()?))
    }

    /// What of the host matters: these parents, the shims, what is on them, and the routes through shims.
    pub(super) fn snapshot(&mut self, parents: &BTreeSet<IfName>) -> Result<HostSnapshot, NetlinkError> {
        let mut snapshot = HostSnapshot::default();
        for link in self.host.links()? {
            let shim = self.keeper.key(&link).is_some();
            if shim || parents.contains(&link.name) {
                snapshot.links.insert(link.index, LinkSnapshot::of(&link));
            }
            if shim {
                snapshot.shims.insert(link.index);
            }
        }
        for address in self.host.addresses()?.iter().filter(|a| snapshot.links.contains_key(&a.index)) {
            snapshot.addresses.insert((
                address.index,
                address.net,
                address.is_tentative() || address.is_duplicate(),
            ));
        }
        for route in self.host.routes()? {
            if let Some(oif) =
                route.oif.filter(|oif| route.protocol == PROTOCOL && snapshot.shims.contains(oif))
            {
                snapshot.routes.insert((oif, route.destination));
            }
        }
        Ok(snapshot)
    }

    /// Does all of it. `keep`: remove nothing, since not everything was seen yet that might be wanted.
    pub(super) fn apply(&mut self, target: &Target, keep: bool) -> Result<Outcome, NetlinkError> {
        let mut outcome = Outcome::default();
        let links = self.host.links()?;
        let strays: Vec<&Link> = links
            .iter()
            .filter(|link| self.keeper.key(link).is_some_and(|key| !target.shims.contains_key(key)))
            .collect();
        let strays = if keep { Vec::new() } else { strays };
        let mut present: Vec<(&str, Present)> = Vec::new();
        for (key, shim) in &target.shims {
            match shim::make(&*self.namespaces, &mut *self.host, &self.keeper, (key, shim), &links) {
                Ok(made) => present.push((key, made)),
                Err(error) => outcome.fail(key, &error),
            }
        }
        self.set_rules(target, &present, !strays.is_empty(), &mut outcome);
        present.retain(|(key, _)| !outcome.failed.contains_key(*key));
        for stray in strays {
            tracing::info!(link = %stray.name, "removing an interface that is not needed any more");
            self.host.delete_link(stray.index)?;
        }
        let ours: BTreeSet<u32> = links
            .iter()
            .filter(|link| self.keeper.key(link).is_some())
            .chain(present.iter().map(|(_, present)| &present.link))
            .map(|link| link.index)
            .collect();
        for (key, made) in &present {
            let Some(shim) = target.shims.get(*key) else { continue };
            match self.serve(shim, &made.link, &ours, keep) {
                Ok(problems) if problems.is_empty() => {}
                Ok(problems) => {
                    outcome.problems.insert((*key).to_owned(), problems);
                }
                Err(source) => outcome.fail(key, &ShimError::SetUp { name: shim.name.clone(), source }),
            }
        }
        self.tell(target, &present, keep);
        Ok(outcome)
    }

    /// Sets the rules if they are not as they should be. A shim whose rules are missing is not brought up.
    fn set_rules(
        &mut self,
        target: &Target,
        present: &[(&str, Present)],
        strays: bool,
        outcome: &mut Outcome,
    ) {
        let rules = shim::rules(&self.keeper, target, present);
        let known = self.rules.is_some() || !rules.is_empty() || strays;
        if !known || self.rules.as_ref() == Some(&rules) {
            return;
        }
        match rules.apply(&*self.namespaces, self.rules.as_ref()) {
            Ok(()) => self.rules = Some(rules),
            Err(error) if rules.is_empty() => tracing::warn!(error = %chain(&error), "rules not removed"),
            Err(error) => {
                let text = chain(&error);
                for (key, shim) in target.shims.iter().filter(|(_, shim)| shim.is_numbered()) {
                    let why =
                        format!("cannot keep other interfaces from answering for {}: {text}", shim.name);
                    outcome.failed.insert(key.clone(), why);
                }
            }
        }
    }

    fn serve(
        &mut self,
        shim: &Shim,
        link: &Link,
        ours: &BTreeSet<u32>,
        keep: bool,
    ) -> Result<Problems, NetlinkError> {
        shim::set_up(&mut *self.host, shim, link)?;
        tables::neighbours(&mut *self.host, link.index, &shim.neighbours, keep)?;
        tables::routes(&mut *self.host, shim, link.index, ours, keep)
    }

    /// Tells containers where the host is, and takes it back from those that need it no more.
    fn tell(&mut self, target: &Target, present: &[(&str, Present)], keep: bool) {
        let mut wanted: BTreeMap<PathBuf, BTreeSet<IpAddr>> = BTreeMap::new();
        for (key, made) in present {
            let Some(shim) = target.shims.get(*key) else { continue };
            for inside in &shim.insides {
                wanted.entry(inside.sandbox.clone()).or_default().extend(&inside.own);
                // Whatever it was given, or the parent's.
                let Some(mac) = made.link.mac else { continue };
                match tables::tell(&*self.namespaces, inside, mac) {
                    Ok(true) => self.told.entry(inside.sandbox.clone()).or_default().extend(&inside.own),
                    Ok(false) => {}
                    Err(error) => {
                        let sandbox = inside.sandbox.display();
                        tracing::debug!(%sandbox, error = %chain(&error), "a container cannot be told about the host");
                    }
                }
            }
        }
        if keep {
            return;
        }
        let none = BTreeSet::new();
        let namespaces = &*self.namespaces;
        self.told.retain(|sandbox, told| {
            let own = wanted.get(sandbox).unwrap_or(&none);
            if !told.is_subset(own) {
                if let Err(error) = tables::untell(namespaces, sandbox, own) {
                    let sandbox = sandbox.display();
                    tracing::debug!(%sandbox, error = %chain(&error), "a container was not told back");
                }
                told.clone_from(own);
            }
            !told.is_empty()
        });
    }

    /// The links among these whose reverse path filter is strict.
    pub(super) fn strict<'a>(&self, links: impl Iterator<Item = &'a Link>) -> BTreeSet<IfName> {
        links.map(|link| link.name.clone()).filter(|name| is_strict(&*self.namespaces, name)).collect()
    }

    /// The reverse path filter of a NIC.
    pub(super) fn filter(&self, parent: &IfName) -> Option<u32> {
        filter(&*self.namespaces, parent)
    }

    /// Writes the reverse path filter of a NIC.
    pub(super) fn set_filter(&mut self, parent: &IfName, value: u32) -> Result<(), NetlinkError> {
        match self.host.link_by_name(parent)? {
            Some(link) => self.host.set_link(link.index, &LinkChange::new().rp_filter(value)),
            None => Ok(()),
        }
    }
}

impl Outcome {
    fn fail(&mut self, key: &str, error: &ShimError) {
        let text = chain(error);
        tracing::warn!(error = text, "host access is not as it should be");
        self.failed.insert(key.to_owned(), text);
    }
}

/// Whether the reverse path filter of a link is strict: the stricter of its own and that of all is not 2.
pub(super) fn is_strict(namespaces: &dyn Namespaces, link: &IfName) -> bool {
    let all = "all".parse().ok().and_then(|all| filter(namespaces, &all)).unwrap_or(0);
    // The larger counts (ip-sysctl).
    all.max(filter(namespaces, link).unwrap_or(0)) == 1
}

/// The setting itself.
fn filter(namespaces: &dyn Namespaces, link: &IfName) -> Option<u32> {
    namespaces.setting(Family::V4, link, "rp_filter").ok()?.parse().ok()
}
