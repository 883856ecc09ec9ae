//! Endpoints of `mode=nat` networks and the addresses of the LAN they have.

use std::collections::BTreeMap;

use landline_engine::{EndpointRequest, Engine, network_name};
use landline_links::mark::{End, Mark};
use landline_model::{AddressRecord, EndpointRecord, IdentityRecord, NatBinding, NatOwner, NetworkRecord};
use landline_options::{HostnameMode, LanIp, NetworkId};

use super::{Bound, Nat, NatError, NatLease, NatRecord, NatView};

/// The other half of a binding: the container behind it.
fn bound(record: &EndpointRecord, binding: &NatBinding) -> Option<Bound> {
    let AddressRecord::Static { address } = &record.address else { return None };
    Some(Bound {
        endpoint: record.id.clone(),
        inside: address.addr(),
        subnet: address.trunc(),
        port: Mark::new(&record.id, End::Host).link_name(),
        ports: binding.ports.clone(),
    })
}

/// Those of all endpoints.
pub(crate) fn all_bound<'a>(
    endpoints: impl Iterator<Item = &'a EndpointRecord>,
) -> BTreeMap<NatOwner, Bound> {
    let bound = endpoints.filter_map(|record| {
        let binding = record.nat.as_ref()?;
        Some((binding.owner.clone(), bound(record, binding)?))
    });
    bound.collect()
}

impl Nat {
    /// Gives an endpoint that is being made its address on the LAN, and has what comes there passed on. If that fails
    /// nothing of it is left.
    pub(super) async fn claim(&self, endpoint: EndpointRequest<'_>) -> Result<(), NatError> {
        let EndpointRequest { request, record, network, identity, name, again: _ } = endpoint;
        let (Some(binding), Some(nic)) = (&record.nat, &network.nic) else { return Ok(()) };
        let Some(bound) = bound(record, binding) else { return Ok(()) };
        let owner = &binding.owner;
        let lan_ip = request.options.lan_ip.unwrap_or(network.options.nat.lan_ip);
        let named = request.published.iter().filter_map(|port| port.address);
        for address in named.filter(|address| !address.is_unspecified()) {
            if lan_ip != LanIp::Static(address) {
                return Err(NatError::PublishedElsewhere { address });
            }
        }
        let known = self.source(owner);
        let fresh = known != Some(lan_ip);
        if fresh {
            if known.is_some() {
                // It was told another address this time.
                self.remove(owner).await?;
            }
            let wanted =
                self.wanted(NatRecord::new(owner.clone(), lan_ip, nic.clone()), network, identity, name);
            self.add_within(wanted, network.options.lease_timeout).await?;
        } else {
            self.leased(owner, network.options.lease_timeout).await?;
        }
        let done = self.bind(owner, bound).await;
        if done.is_err() && fresh {
            self.remove(owner).await?;
        }
        done
    }

    /// As [`Self::claim`] for an endpoint whose container runs, after the state was lost: its address may be there, and a
    /// server is not waited for.
    pub(super) async fn claim_again(&self, endpoint: EndpointRequest<'_>) -> Result<(), NatError> {
        let EndpointRequest { request, record, network, identity, .. } = endpoint;
        let (Some(binding), Some(nic)) = (&record.nat, &network.nic) else { return Ok(()) };
        let Some(bound) = bound(record, binding) else { return Ok(()) };
        let lan_ip = request.options.lan_ip.unwrap_or(network.options.nat.lan_ip);
        if self.source(&binding.owner).is_none() {
            let wanted = NatRecord::new(binding.owner.clone(), lan_ip, nic.clone());
            self.adopt(self.wanted(wanted, network, identity, None)).await?;
        }
        self.bind(&binding.owner, bound).await
    }

    /// What is to be done for a container's address on the LAN.
    fn wanted(
        &self,
        mut wanted: NatRecord,
        network: &NetworkRecord,
        identity: &IdentityRecord,
        name: Option<&str>,
    ) -> NatRecord {
        let hostname = name.filter(|_| network.options.hostname != HostnameMode::Off).map(str::to_owned);
        let open = network.options.open_firewall;
        wanted.opened = !open && self.exceptions.all().contains(&network.options.parent);
        wanted.open_firewall = open || wanted.opened;
        let client_id = identity.client_id.clone();
        wanted.dhcp = wanted.dhcp.map(|_| NatLease { client_id, hostname, lease: None });
        wanted
    }

    /// The endpoint did not come about, or is gone. An address that nobody could have known of goes with it.
    pub(super) async fn unclaim(&self, record: &EndpointRecord, remembered: bool) {
        let Some(binding) = &record.nat else { return };
        self.unbind(&record.id).await;
        if let NatOwner::Identity { .. } = &binding.owner
            && !remembered
            && let Err(error) = self.remove(&binding.owner).await
        {
            tracing::debug!(error = %landline_types::chain(&error), "an address was not asked for yet");
        }
    }

    /// All addresses on the host that stand for containers.
    pub fn list(&self, engine: &Engine) -> Vec<NatView> {
        let inventory = self.inventory.borrow().clone();
        let mut running: BTreeMap<NatOwner, String> = BTreeMap::new();
        for record in inventory.endpoints.values().map(|present| &present.record) {
            let named = record.nat.as_ref().zip(record.container.as_ref());
            running.extend(named.map(|(nat, container)| (nat.owner.clone(), container.name.clone())));
        }
        let remembered = |owner: &NatOwner| match owner {
            NatOwner::Identity { identity, .. } => engine.identity(identity)?.container,
            NatOwner::Container(_) | NatOwner::Network(_) => None,
        };
        let views = self.views().into_iter().map(|(owner, mut view)| {
            let name = running.remove(&owner).or_else(|| Some(remembered(&owner)?.name));
            view.container = view.container.or(name);
            let network = owner.network();
            let called = |id: &NetworkId| {
                inventory.networks.get(id).map_or_else(|| id.short().to_owned(), network_name)
            };
            view.network = network.map(called);
            view
        });
        views.collect()
    }
}
