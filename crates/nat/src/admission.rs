//! What there must be on the host before Docker is answered: addresses on the LAN, and exceptions in the firewall.

use std::time::Duration;

use landline_engine::{
    Admission, CreateEndpoint, Done, EndpointRequest, NetworkRequest, Refusal, Verdict, Withdrawn,
};
use landline_links::facts_of;
use landline_model::{EndpointRecord, IdentityRecord, NatOwner, NetworkRecord};

use super::Nat;
use super::binding::bind;

impl Admission for Nat {
    fn proposed<'a>(&'a self, network: NetworkRequest<'a>) -> Verdict<'a> {
        Box::pin(async move { self.propose_nat_bridge(network.record).await.map_err(Refusal::new) })
    }

    fn network<'a>(&'a self, network: NetworkRequest<'a>) -> Verdict<'a> {
        Box::pin(async move {
            self.open_nat_bridge(network.record, false).await.map_err(Refusal::new)?;
            self.open_firewall(network.record).await.map_err(Refusal::new)
        })
    }

    fn adopted<'a>(&'a self, network: &'a NetworkRecord) -> Done<'a> {
        Box::pin(async move {
            if let Err(error) = self.open_nat_bridge(network, true).await {
                tracing::warn!(network = network.id.short(), error = %landline_types::chain(&error), "a network has no way to the LAN for now");
            }
            if let Err(error) = self.open_firewall(network).await {
                tracing::warn!(error = %landline_types::chain(&error), "the host's firewall could not be opened");
            }
        })
    }

    fn starting<'a>(&'a self, network: &'a NetworkRecord) -> Done<'a> {
        Box::pin(self.open_for_start(network))
    }

    fn annotate(
        &self,
        request: &CreateEndpoint,
        network: &NetworkRecord,
        identity: &mut IdentityRecord,
        record: &mut EndpointRecord,
    ) {
        bind(request, network, identity, record);
    }

    fn endpoint<'a>(&'a self, endpoint: EndpointRequest<'a>) -> Verdict<'a> {
        Box::pin(async move {
            let claimed =
                if endpoint.again { self.claim_again(endpoint).await } else { self.claim(endpoint).await };
            claimed.map_err(Refusal::new)
        })
    }

    fn withdrawn<'a>(&'a self, what: Withdrawn<'a>) -> Verdict<'a> {
        Box::pin(async move {
            match what {
                Withdrawn::Network { record: None, .. } => {}
                Withdrawn::Network { record: Some(record), .. } => {
                    self.close_nat_bridge(record).await;
                    self.close_firewall(record).await;
                }
                Withdrawn::Endpoint { record, remembered } => self.unclaim(record, remembered).await,
            }
            Ok(())
        })
    }

    fn identity_over(&self, identity: &IdentityRecord, after: Duration) {
        if facts_of(identity.mode).is_translated() {
            let (network, identity) = (identity.network.clone(), identity.id.clone());
            self.expire(NatOwner::Identity { network, identity }, after);
        }
    }
}
