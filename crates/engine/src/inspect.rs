//! Everything about an endpoint, for `landline inspect`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use landline_dhcp::Instant;
use landline_dhcp::v4::{Lease, describe};
use landline_kernel::boottime;
use landline_leases::Orders;
use landline_model::{AddressRecord, Applied, IdentityRecord};
use landline_options::{EndpointId, NetworkOptions};
use serde::{Deserialize, Serialize};

use crate::engine::{Endpoint, Engine};
use crate::identities::write;
use crate::view::{EndpointView, IdentityView, view};

/// Everything about an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// What `landline ls` shows of it.
    #[serde(flatten)]
    pub endpoint: EndpointView,
    /// The options of its network.
    pub options: Option<NetworkOptions>,
    /// Who it is to the LAN.
    pub identity: Option<IdentityView>,
    /// The client identifier it sends (option 61), in hex.
    pub client_id: Option<String>,
    /// The name it tells servers.
    pub hostname: Option<String>,
    /// Its lease.
    pub lease: Option<LeaseView>,
    /// What its link in the container was given for the lease.
    pub applied: Applied,
    /// Its sandbox.
    pub sandbox: Option<PathBuf>,
}

/// A lease, as shown to people and programs. Times are seconds from now; `None`: never.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// The server's identifier.
    pub server: Ipv4Addr,
    /// How long ago it was granted, or extended.
    pub obtained_s: u64,
    /// Until it is renewed (T1).
    pub renew_in_s: Option<u64>,
    /// Until others are asked to extend it (T2).
    pub rebind_in_s: Option<u64>,
    /// Until it ends.
    pub ends_in_s: Option<u64>,
    /// All that came with it, in the server's order.
    pub options: Vec<OptionView>,
}

/// An option of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionView {
    /// Its code.
    pub code: u8,
    /// Its name, if known.
    pub name: Option<String>,
    /// What it says; hex where that is not known.
    pub value: String,
}

impl LeaseView {
    fn of(lease: &Lease) -> Self {
        let now = boottime::now();
        let left = |at: Option<Instant>| at.map(|at| at.since_boot().saturating_sub(now).as_secs());
        let option = |(code, value): &(u8, Vec<u8>)| {
            let text = describe(*code, value);
            OptionView { code: *code, name: text.name.map(str::to_owned), value: text.value }
        };
        Self {
            server: lease.server,
            obtained_s: now.saturating_sub(lease.obtained.since_boot()).as_secs(),
            renew_in_s: left(lease.t1),
            rebind_in_s: left(lease.t2),
            ends_in_s: left(lease.expires),
            options: lease.options.raw.iter().map(option).collect(),
        }
    }
}

/// Whether this is what somebody calls a thing: its name, its id, or the first digits of that, as Docker has it.
pub(crate) fn is_called(target: &str, name: Option<&str>, id: Option<&str>) -> bool {
    !target.is_empty() && (name == Some(target) || id.is_some_and(|id| id.starts_with(target)))
}

impl Engine {
    /// The endpoints of the container or the network of that name or id, or the one of that id.
    pub async fn inspect(&self, target: &str) -> Vec<Inspection> {
        let mut found = Vec::new();
        for endpoint in self.endpoints() {
            let seen = self.inspection(&endpoint).await;
            let e = &seen.endpoint;
            let container = is_called(target, e.container.as_deref(), e.container_id.as_deref());
            let network = is_called(target, e.network.as_deref(), Some(&e.network_id));
            if container || network || is_called(target, None, Some(&e.endpoint)) {
                found.push((container, network, seen));
            }
        }
        // A name counts more than what happens to be the beginning of an id.
        let named = |seen: &Inspection| {
            [&seen.endpoint.container, &seen.endpoint.network].contains(&&Some(target.to_owned()))
        };
        let only_named = found.iter().any(|(.., seen)| named(seen));
        let mut found: Vec<Inspection> =
            found.into_iter().map(|(.., seen)| seen).filter(|seen| !only_named || named(seen)).collect();
        found.sort_by(|a, b| {
            (&a.endpoint.network, &a.endpoint.container).cmp(&(&b.endpoint.network, &b.endpoint.container))
        });
        found
    }

    /// Has the container's leases renewed, those on this network if one is named. Returns how many there are.
    pub async fn renew_container(&self, container: &str, network: Option<&str>) -> usize {
        let endpoints = self.endpoints_of(container, network).await;
        endpoints.iter().filter(|id| self.renew(id)).count()
    }

    /// Gives the container's leases back, those on this network if one is named: of a running one, which has no address
    /// then until it is renewed, and what is remembered of a stopped one. Returns how many there are.
    pub async fn release_container(&self, container: &str, network: Option<&str>) -> usize {
        let mut released = 0;
        for id in self.endpoints_of(container, network).await {
            let Some(endpoint) = self.slot_if_known(&id).and_then(|slot| slot.current()) else { continue };
            let tasks = endpoint.tasks();
            tasks.iter().for_each(Orders::release);
            released += usize::from(!tasks.is_empty());
            if let Some(identity) = endpoint.state.read().await.identity {
                write(&self.store, self.identities.change(&identity, IdentityRecord::end_leases)).await;
            }
        }
        for identity in self.identities.all() {
            let its = identity.container.as_ref();
            let its = its.is_some_and(|c| is_called(container, Some(&c.name), Some(&c.id)));
            let (name, id) = (identity.network_name.as_deref(), identity.network.as_str());
            let there = network.is_none_or(|n| is_called(n, name, Some(id)));
            let leased = identity.lease.is_some() || identity.ipv6.is_some();
            if its && there && leased && self.identities.holder(&identity.id).is_none() {
                self.releaser.now(&identity);
                released += 1;
            }
        }
        released
    }

    async fn endpoints_of(&self, container: &str, network: Option<&str>) -> Vec<EndpointId> {
        let seen = self.inspect(container).await;
        let its = seen.iter().map(|seen| &seen.endpoint).filter(|e| {
            is_called(container, e.container.as_deref(), e.container_id.as_deref())
                && network.is_none_or(|n| is_called(n, e.network.as_deref(), Some(&e.network_id)))
        });
        its.filter_map(|e| e.endpoint.parse().ok()).collect()
    }

    async fn inspection(&self, endpoint: &Endpoint) -> Inspection {
        let record = endpoint.state.read().await;
        let network = self.networks().get(&record.network).cloned();
        let lease = endpoint.status().and_then(|status| status.lease);
        let identity = record.identity.as_ref();
        let identity = self.identity_views().await.into_iter().find(|known| Some(&known.id) == identity);
        let (client_id, hostname) = match &record.address {
            AddressRecord::Dhcp(dhcp) => (dhcp.client_id.clone(), dhcp.hostname.clone()),
            _ => (None, record.ipv6.as_ref().and_then(|ipv6| ipv6.hostname.clone())),
        };
        let hex = |octets: Vec<u8>| octets.iter().map(|o| format!("{o:02x}")).collect::<Vec<_>>().join(":");
        Inspection {
            endpoint: view(endpoint, network.as_ref(), Some(&self.services.sandboxes)).await,
            options: network.map(|network| network.options),
            identity,
            client_id: client_id.map(hex),
            hostname,
            lease: lease.as_ref().map(LeaseView::of),
            applied: record.applied,
            sandbox: record.sandbox,
        }
    }
}
