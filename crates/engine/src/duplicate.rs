//! One derived identity on two hosts.
//!
//! The hosts of a site derive the same identity for a container of one name. If it runs on two of them, neither hears the other by
//! RFC 5227: what answers has the container's own hardware address, and is taken for an echo. So the network's parent asks,
//! whose hardware address is another: before the container's link is made, for the address that the identity had last, and for the
//! address that it is leased, if that is another one.

use std::net::Ipv4Addr;

use landline_leases::probe;
use landline_links::{blocking, facts_of};
use landline_model::{IdentityRecord, NetworkRecord};
use landline_options::ConflictCheck;
use landline_types::Mac;

use crate::endpoints::{CreateEndpointError, network_name, random_mac};
use crate::engine::Engine;

impl Engine {
    /// Fails if another host answers for the address with the hardware address that was derived here.
    pub(crate) async fn check_duplicate(
        &self,
        network: &NetworkRecord,
        identity: &IdentityRecord,
        address: Option<Ipv4Addr>,
    ) -> Result<(), CreateEndpointError> {
        let Some(address) = address.filter(|_| is_exposed(network, identity)) else { return Ok(()) };
        if self.answers_elsewhere(network, identity.mac, address).await {
            let (network, parent) = (network_name(network), network.options.parent.clone());
            return Err(CreateEndpointError::Duplicate { network, mac: identity.mac, address, parent });
        }
        Ok(())
    }

    async fn answers_elsewhere(&self, network: &NetworkRecord, mac: Mac, address: Ipv4Addr) -> bool {
        let (host, parent) = (self.host.clone(), network.options.parent.clone());
        let links = match blocking(move || host.links()).await {
            Ok(links) => links,
            Err(error) => {
                tracing::warn!(error = %landline_types::chain(&error), "nobody was asked about a derived identity");
                return false;
            }
        };
        let parent = links.into_iter().find(|link| link.name == parent);
        let Some((parent, own)) = parent.and_then(|link| Some((link.clone(), link.mac?))) else {
            return false;
        };
        match probe::look(&self.services, parent.index, own, &[address], ConflictCheck::Fast).await {
            Ok(answered) => answered.is_some_and(|(_, by)| by == mac),
            // Not to have looked is no reason not to start.
            Err(error) => {
                tracing::warn!(%error, parent = %parent.name, "nobody was asked about a derived identity");
                false
            }
        }
    }
}

/// Whether others on the parent's LAN can have the identity's hardware address: it was derived, and the container's frames come from
/// it.
pub(crate) fn is_exposed(network: &NetworkRecord, identity: &IdentityRecord) -> bool {
    let (options, facts) = (&network.options, facts_of(network.options.mode));
    let looks = options.conflict_check != ConflictCheck::Off;
    // In a VLAN of a bridge the parent asks others.
    let same_lan = options.vlan.is_none() && !facts.is_translated();
    identity.derived.is_some() && looks && same_lan && !facts.shares_mac()
}

/// Makes of a derived identity that is in use elsewhere a drawn one for this run.
pub(crate) fn draw_instead(identity: &mut IdentityRecord) {
    tracing::warn!(mac = %identity.mac, "another host uses the derived identity; the container has a fresh one for now");
    identity.mac = random_mac();
    (identity.client_id, identity.derived, identity.lease, identity.ipv6) = (None, None, None, None);
    identity.temporary = true;
}

#[cfg(test)]
mod tests {
    use landline_options::{Mode, NetworkOptions, Vlan};

    use super::*;
    use crate::identities::Identities;
    use crate::identity::IdentityQuery;

    fn network(options: NetworkOptions) -> NetworkRecord {
        NetworkRecord { name: Some("lan".into()), ..NetworkRecord::new("n1".parse().unwrap(), options) }
    }

    fn derived(network: &NetworkRecord) -> IdentityRecord {
        let query = IdentityQuery {
            network: &network.id,
            network_name: network.name.as_deref(),
            parent: &network.options.parent,
            mac: None,
            key: Some("web"),
            name: None,
            address: None,
            ports: None,
            candidates: None,
        };
        let identity = Identities::default().take(&"e1".parse().unwrap(), network, &query);
        IdentityRecord { derived: Some("web".into()), client_id: Some(vec![255, 1]), ..identity }
    }

    #[test]
    fn who_cannot_be_met_is_not_looked_for() {
        let options = NetworkOptions::new("br0".parse().unwrap());
        let on = |options: NetworkOptions| {
            let network = network(options);
            is_exposed(&network, &derived(&network))
        };
        assert!(on(options.clone()));
        let vlan: Option<Vlan> = 12.try_into().ok();
        assert!(!on(NetworkOptions { vlan, ..options.clone() }));
        assert!(!on(NetworkOptions { conflict_check: ConflictCheck::Off, ..options.clone() }));
        for mode in [Mode::Ipvlan, Mode::Nat] {
            assert!(!on(NetworkOptions { mode, ..options.clone() }), "{mode}");
        }
        let drawn = IdentityRecord { derived: None, ..derived(&network(options.clone())) };
        assert!(!is_exposed(&network(options), &drawn));
    }

    #[test]
    fn a_fresh_one_has_nothing_of_the_other_hosts() {
        let network = network(NetworkOptions::new("br0".parse().unwrap()));
        let before = derived(&network);
        let mut drawn = before.clone();
        draw_instead(&mut drawn);
        assert_eq!(drawn.id, before.id);
        assert!(drawn.mac != before.mac && drawn.temporary);
        assert_eq!((drawn.client_id, drawn.derived, drawn.lease), (None, None, None));
    }
}
