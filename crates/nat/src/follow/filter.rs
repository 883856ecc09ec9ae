//! The packet filter: our own table, exceptions in the host's firewall, and whether packets are passed on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use landline_kernel::Address;
use landline_links::{HostError, blocking};
use landline_types::{IfName, chain};

use super::ruleset::Look;
use super::{Follower, looks};
use crate::exception_rules::Wanted;
use crate::record::{ForwardingRecord, NatRecord};
use crate::table::{Mapping, mapping, script};
use crate::{NatError, firewall};
use landline_model::NatOwner;

impl Follower {
    /// Loads the table, unless it is the one that was loaded last.
    pub(super) async fn load(&mut self) -> Result<(), NatError> {
        let mappings = self.mappings();
        let script = script(&mappings, &self.nat_bridges);
        if self.loaded.as_ref() == Some(&script) {
            return Ok(());
        }
        let (rules, namespaces) = (script.clone(), self.services.namespaces.clone());
        blocking(move || namespaces.load(&rules)).await.map_err(NatError::Rules)?;
        self.loaded = Some(script);
        let now: BTreeSet<Ipv4Addr> = self.records.values().filter_map(|record| record.address).collect();
        let before = std::mem::replace(&mut self.translated, now.clone());
        let addresses: BTreeSet<Ipv4Addr> = now.union(&before).copied().collect();
        let forwarding = self.forwarding.clone();
        match blocking(move || forwarding.forget(&addresses, &mappings)).await {
            Ok(0) => {}
            Ok(connections) => tracing::info!(connections, "translated in another way than now; forgotten"),
            Err(error) => {
                tracing::warn!(error = chain(&error), "connections of before may go on to where they went");
            }
        }
        Ok(())
    }

    /// What is to be let through the host's firewall.
    pub(super) fn wanted(&self) -> Wanted {
        let open = self.records.values().filter(|r| r.open_firewall && r.owner.network().is_none());
        let mappings: Vec<Mapping> = open.filter_map(|record| self.mapping(record)).collect();
        let nat_bridges = self.nat_bridges.iter().filter(|nat_bridge| nat_bridge.open);
        let nat_bridges = nat_bridges.map(|nat_bridge| (nat_bridge, self.places.of(&nat_bridge.nic)));
        Wanted::new(&mappings, nat_bridges, &self.bridges, &self.subnets)
    }

    pub(super) async fn open(&mut self) -> Result<(), String> {
        let waiters = self.looks.begin();
        let opened = self.open_wanted().await;
        looks::answer(waiters);
        opened
    }

    async fn open_wanted(&mut self) -> Result<(), String> {
        self.look_for_subnets().await;
        let wanted = self.wanted();
        let nothing = wanted.is_nothing();
        if nothing && !self.opened {
            return Ok(());
        }
        let look = Look { wanted, bridged: self.forwarding.meets_bridged() };
        if self.ruleset.is_as_after(&look, self.forwarding.all_changes_are_heard()) {
            return Ok(());
        }
        self.opened = true;
        let forwarding = self.forwarding.clone();
        let open = move || {
            let Look { wanted, bridged } = &look;
            let v4 = forwarding.open(firewall::IPV4, &wanted.v4, wanted.needs_iptables(*bridged))?;
            // Hosts and kernels without IPv6 have neither rules for it nor the means.
            let v6 = forwarding.open(firewall::IPV6, &wanted.v6, false)?;
            Ok::<_, String>((v4 && v6).then_some(look))
        };
        // A look that did not see everything is made again.
        if let Some(look) = blocking(open).await? {
            self.ruleset.looked(look);
        }
        self.opened = !nothing;
        Ok(())
    }

    /// Looks which subnets the host has on the interfaces over which it routes to containers. Of one that has none at the moment, those of
    /// before count: containers keep their addresses while the host's own comes and goes.
    async fn look_for_subnets(&mut self) {
        let routed = &self.bridges.routed;
        if routed.is_empty() {
            self.subnets.clear();
            return;
        }
        let namespaces = self.services.namespaces.clone();
        let list = move || {
            let mut netlink = namespaces.host().map_err(HostError::Open)?;
            Ok::<_, HostError>((netlink.links()?, netlink.addresses()?))
        };
        let (links, addresses) = match blocking(list).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(error = chain(&error), "the host's addresses cannot be listed");
                return;
            }
        };
        let subnet = |own: &Address| {
            let link = links.iter().find(|link| link.index == own.index && routed.contains(&link.name))?;
            match own.net {
                IpNet::V4(net) => Some((link.name.clone(), net.trunc())),
                IpNet::V6(_) => None,
            }
        };
        let all: BTreeSet<(IfName, Ipv4Net)> = addresses.iter().filter_map(subnet).collect();
        // Translated addresses are there as well, each as a subnet of its own.
        let is_within = |(parent, net): &(IfName, Ipv4Net)| {
            all.iter().any(|(other, wider)| other == parent && wider != net && wider.contains(net))
        };
        let now: BTreeSet<_> = all.iter().filter(|one| !is_within(one)).cloned().collect();
        let has_now = |parent: &IfName| now.iter().any(|(has, _)| has == parent);
        self.subnets.retain(|(parent, _)| routed.contains(parent) && !has_now(parent));
        self.subnets.extend(now);
    }

    /// Looks whether the exceptions are still there.
    pub(super) async fn reopen(&mut self) {
        if let Err(error) = self.open().await {
            tracing::warn!(error, "the host's firewall could not be opened");
        }
    }

    /// These are let through as well, and the host passes packets on for them.
    pub(super) async fn open_also(&mut self, owners: &BTreeSet<NatOwner>) -> Result<(), NatError> {
        let mut forwards = self.forwarding.is_on();
        for owner in owners {
            let Some(record) = self.records.get(owner).cloned() else { continue };
            let record = NatRecord {
                open_firewall: true,
                opened: record.opened || !record.open_firewall,
                forwarding: record.forwarding || !forwards,
                ..record
            };
            self.put(record.clone()).await?;
            self.records.insert(owner.clone(), record);
            if !forwards {
                self.forward()?;
                forwards = true;
            }
        }
        self.open().await.map_err(NatError::Firewall)?;
        self.show(&BTreeMap::new());
        Ok(())
    }

    /// Closes what was opened so; whether there was anything.
    pub(super) async fn close_again(&mut self) -> Result<bool, NatError> {
        let opened: Vec<NatRecord> = self.records.values().filter(|record| record.opened).cloned().collect();
        let mut forwarded = false;
        for record in &opened {
            forwarded |= record.forwarding;
            let record =
                NatRecord { open_firewall: false, opened: false, forwarding: false, ..record.clone() };
            self.put(record.clone()).await?;
            self.records.insert(record.owner.clone(), record);
        }
        self.open().await.map_err(NatError::Firewall)?;
        if forwarded {
            self.forward_no_more().await?;
        }
        self.show(&BTreeMap::new());
        Ok(!opened.is_empty())
    }

    /// Has the host pass packets on.
    pub(super) fn forward(&self) -> Result<(), NatError> {
        self.forwarding.switch(true).map_err(|error| NatError::Firewall(error.to_string()))?;
        tracing::info!("net.ipv4.ip_forward is 1 now, as long as a container's address needs it");
        Ok(())
    }

    /// Somebody who had set `net.ipv4.ip_forward` needs it no more. Whoever goes last puts it back.
    pub(super) async fn forward_no_more(&mut self) -> Result<(), NatError> {
        let Some(other) = self.records.values_mut().find(|other| other.open_firewall) else {
            return self.forward_for_networks_only().await;
        };
        other.forwarding = true;
        let other = other.clone();
        self.put(other).await
    }

    /// No address needs forwarding any more: it is switched off once no network does.
    async fn forward_for_networks_only(&mut self) -> Result<(), NatError> {
        if !self.routers.any() {
            return self.forwarding.switch(false).map_err(|error| NatError::Firewall(error.to_string()));
        }
        let all = "all".parse().unwrap_or_else(|_| unreachable!("a short clean name"));
        let owed = ForwardingRecord { interface: all };
        self.store.put(&owed).await?;
        self.forwarding_owed = Some(owed);
        tracing::info!("net.ipv4.ip_forward stays 1 as long as a network with mode=routed needs it");
        Ok(())
    }

    /// Switches forwarding off, or leaves that to an address, if it is owed and no network needs it any more.
    pub(super) async fn pay_forwarding(&mut self) {
        if self.forwarding_owed.is_none() || self.routers.any() {
            return;
        }
        let Some(owed) = self.forwarding_owed.take() else { return };
        let paid = async {
            self.forward_no_more().await?;
            Ok::<_, NatError>(self.store.remove::<ForwardingRecord>(&owed.interface).await?)
        };
        if let Err(error) = paid.await {
            tracing::warn!(error = chain(&error), "net.ipv4.ip_forward could not be put back to 0");
        }
    }

    /// What a record comes to now.
    pub(super) fn mapping(&self, record: &NatRecord) -> Option<Mapping> {
        let mapping = mapping(record, &self.seen.borrow(), &self.bound)?;
        Some(Mapping { interface: self.places.of(&mapping.interface), ..mapping })
    }

    fn mappings(&self) -> Vec<Mapping> {
        self.records.values().filter_map(|record| self.mapping(record)).collect()
    }
}
