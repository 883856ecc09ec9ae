//! What the DHCP clients of addresses say.

use std::collections::BTreeMap;

use landline_dhcp::v4::{Lease, LossReason};
use landline_leases::Troubles;
use landline_model::LeaseRecord;
use landline_types::chain;

use super::Follower;
use crate::address;
use crate::lease::Heard;
use crate::record::NatRecord;
use landline_model::NatOwner;

impl Follower {
    /// A DHCP client has something to say.
    pub(super) async fn hear(&mut self, owner: &NatOwner, heard: Heard) {
        // One that was removed meanwhile may still have said something.
        let Some(record) = self.records.get(owner).cloned() else { return };
        match heard {
            Heard::Leased(lease) => self.leased(record, &lease).await,
            Heard::Lost(reason) => {
                tracing::error!(%owner, address = record.address.map(tracing::field::display), %reason, "a container's address on the host is lost");
                let said = self.contests.get(owner).and_then(Troubles::sentence);
                let said = said.filter(|_| reason == LossReason::Conflict);
                let why = said
                    .map_or_else(|| format!("it is lost: {reason}"), |(why, hint)| format!("{why}; {hint}"));
                self.troubles.insert(owner.clone(), why);
                self.move_to(record, None).await;
            }
            Heard::Contested { address, by } => {
                let contests = self.contests.entry(owner.clone()).or_default();
                contests.contest(address, by);
                if record.address.is_none()
                    && let Some((why, hint)) = contests.sentence()
                {
                    self.troubles.insert(owner.clone(), format!("{why}; {hint}"));
                    self.show(&BTreeMap::new());
                }
            }
        }
    }

    async fn leased(&mut self, record: NatRecord, lease: &Lease) {
        let (owner, address) = (record.owner.clone(), lease.address);
        let place = self.places.of(&record.interface);
        let host = address::of_host(&self.prober, address, &place, record.address).await;
        let trouble = match host {
            Ok(false) => self.may_have(address, &owner, &place).err().map(|error| chain(&error)),
            Ok(true) => Some(format!("the host has {address}")),
            Err(error) => Some(chain(&error)),
        };
        if let Some(trouble) = trouble {
            // Not released: it is another's. Asked again later: the server may have another one by then.
            self.leasers.remove(&owner);
            self.again.later(&owner);
            let trouble = format!(
                "the DHCP server gave an address that is taken ({trouble}): it tells clients apart by hardware \
                 address; set it to go by client identifier, or give a static address"
            );
            tracing::error!(%owner, trouble, "no address on the host");
            self.troubles.insert(owner, trouble);
            if record.address.is_some() {
                // Nobody renews what it had.
                self.move_to(record, None).await;
            }
            self.show(&BTreeMap::new());
            return;
        }
        self.troubles.remove(&owner);
        self.again.over(&owner);
        if record.address == Some(address) {
            tracing::debug!(%owner, %address, server = %lease.server, "lease renewed");
            self.contests.remove(&owner);
        } else {
            tracing::info!(%owner, %address, server = %lease.server, "a container's address on the host is leased");
        }
        self.move_to(record, Some(lease)).await;
    }

    /// Has everything at the leased address, or nowhere.
    async fn move_to(&mut self, mut record: NatRecord, lease: Option<&Lease>) {
        let before = record.address;
        record.address = lease.map(|lease| lease.address);
        if let Some(dhcp) = &mut record.dhcp {
            dhcp.lease =
                lease.map(|lease| LeaseRecord::of(lease, &self.services.boot, self.services.clock.both()));
        }
        if let Err(error) = self.put(record.clone()).await {
            // The lease itself is good; only a restart of the daemon would miss it.
            tracing::error!(error = chain(&error), "a lease could not be stored");
        }
        let place = self.places.of(&record.interface);
        let now = record.address;
        self.records.insert(record.owner.clone(), record);
        // What is there stays until the new one is reached.
        self.pass().await;
        if let Some(before) = before.filter(|before| Some(*before) != now) {
            self.owed.take(&self.prober, &place, before).await;
        }
    }
}
