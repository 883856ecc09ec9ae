//! Networks, endpoints and identities as `landline ls` shows them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use landline_dhcp::Instant;
use landline_dhcp::v4::StateName;
use landline_kernel::{Link, boottime};
use landline_leases::ipv6::Status6;
use landline_links::mark::{End, Mark};
use landline_links::spanning_tree::held_back;
use landline_links::{Sandboxes, blocking, facts_of, routes};
use landline_model::{AddressRecord, IdentityId, IdentityRecord, KnownBy, NetworkRecord};
use landline_options::{EndpointId, IdentitySource};
use landline_types::{IfName, Mac};
use serde::{Deserialize, Serialize};

use crate::address_state::AddressState;
use crate::engine::{Endpoint, Engine};

/// A network, as shown to people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// Docker's id.
    pub id: String,
    /// Docker's name, if known.
    pub name: Option<String>,
    /// The link kind.
    pub mode: String,
    /// Its parent on the host.
    pub parent: IfName,
}

/// An endpoint, as shown to people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointView {
    /// Docker's id.
    pub endpoint: String,
    /// The network's id.
    pub network_id: String,
    /// The network's name, if known.
    pub network: Option<String>,
    /// The container's id, if known.
    pub container_id: Option<String>,
    /// The container's name, if known.
    pub container: Option<String>,
    /// The interface's name in the container, or what it will begin with.
    pub interface: String,
    /// The container's hardware address.
    pub mac: Mac,
    /// Its address and prefix.
    pub address: Option<Ipv4Net>,
    /// The host's link on which another machine was heard that has the hardware address too.
    #[serde(default)]
    pub elsewhere: Option<IfName>,
    /// The DHCP server that leased it.
    pub server: Option<Ipv4Addr>,
    /// Seconds until the lease ends; `None`: never, or there is no lease.
    pub lease_left_s: Option<u64>,
    /// When the lease ends, in seconds since 1970; `None`: never, or there is no lease.
    #[serde(default)]
    pub lease_ends_at: Option<u64>,
    /// For how many seconds the server has granted it; `None`: for ever, or there is no lease.
    #[serde(default)]
    pub lease_length_s: Option<u64>,
    /// What it does about its address.
    pub state: AddressState,
    /// Why nothing it sends gets through, or why it has no address, though its state need not show it.
    #[serde(default)]
    pub held: Option<String>,
    /// Times a server refused the lease, since the daemon started.
    pub naks: u32,
    /// Times another host had the address, since the daemon started.
    pub conflicts: u32,
    /// What there is of IPv6; `None`: the network has none.
    #[serde(default)]
    pub ipv6: Option<Ipv6View>,
}

/// An endpoint's IPv6, as shown to people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6View {
    /// Its addresses and the prefixes they are on, those of `DHCPv6` first; the link-local one is not among them.
    pub addresses: Vec<Ipv6Net>,
    /// Its link-local address.
    pub link_local: Option<Ipv6Addr>,
    /// Its default routers, the best first.
    pub routers: Vec<Ipv6Addr>,
    /// The DNS servers that routers and `DHCPv6` servers name.
    pub dns: Vec<Ipv6Addr>,
    /// The search domains they name.
    pub search: Vec<String>,
    /// Seconds until the lease ends; `None`: never, or there is no lease.
    pub lease_left_s: Option<u64>,
    /// When the lease ends, in seconds since 1970; `None`: never, or there is no lease.
    #[serde(default)]
    pub lease_ends_at: Option<u64>,
    /// What the client does about `DHCPv6`.
    pub state: String,
    /// Times another host had an address, since the daemon started.
    pub conflicts: u32,
}

/// What is remembered of a container interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityView {
    /// Its name.
    pub id: IdentityId,
    /// The network it was last on, if its name is known.
    pub network: Option<String>,
    /// The container it belongs to, if known.
    pub container: Option<String>,
    /// The key its user gave (`landline.id`).
    pub key: Option<String>,
    /// The hardware address.
    pub mac: Mac,
    /// The address of its last lease.
    pub address: Option<Ipv4Addr>,
    /// Whether an endpoint uses it.
    pub in_use: bool,
    /// Whether it ends with that endpoint.
    pub temporary: bool,
    /// Whether its container is removed.
    pub destroyed: bool,
    /// Where it is from.
    pub source: IdentitySource,
    /// When it was made, in seconds since 1970, if that is known.
    #[serde(default)]
    pub made: Option<u64>,
    /// By what its container was recognised the last time, if that is known.
    #[serde(default)]
    pub known_by: Option<KnownBy>,
}

impl EndpointView {
    /// Whether it should have an address and has none: neither does its user want none, nor has the user released the lease.
    pub fn lacks_address(&self) -> bool {
        let wants_one = match self.state {
            AddressState::LinkOnly | AddressState::Static => false,
            // It is stopped as well if something withholds its address.
            AddressState::Dhcp(StateName::Stopped) => self.held.is_some(),
            AddressState::Dhcp(_) => true,
        };
        wants_one && self.address.is_none()
    }
}

impl Engine {
    /// All identities, ordered by network and container.
    pub async fn identity_views(&self) -> Vec<IdentityView> {
        let mut views = Vec::new();
        for i in self.identities.all() {
            views.push(IdentityView {
                address: self.last_address(&i).await,
                in_use: self.identities.holder(&i.id).is_some(),
                source: i.source(),
                made: i.made,
                known_by: i.known_by,
                id: i.id,
                network: i.network_name,
                container: i.container.map(|c| c.name),
                key: i.key,
                mac: i.mac,
                temporary: i.temporary,
                destroyed: i.destroyed,
            });
        }
        views.sort_by(|a, b| (&a.network, &a.container, &a.id).cmp(&(&b.network, &b.container, &b.id)));
        views
    }

    /// The address that the identity's endpoint has by DHCP, else the one of its last lease.
    pub(crate) async fn last_address(&self, identity: &IdentityRecord) -> Option<Ipv4Addr> {
        let holder = self.identities.holder(&identity.id).and_then(|id| self.slot_if_known(&id)?.current());
        let now = match holder {
            Some(endpoint) => match endpoint.state.read().await.address {
                AddressRecord::Dhcp(dhcp) => dhcp.lease,
                AddressRecord::None | AddressRecord::Static { .. } => None,
            },
            None => None,
        };
        now.or_else(|| identity.lease.clone()).map(|lease| lease.address)
    }

    /// All networks.
    pub fn network_views(&self) -> Vec<NetworkView> {
        let networks = self.networks();
        networks
            .values()
            .filter(|n| !landline_links::mark::is_implicit(&n.id))
            .map(|n| NetworkView {
                id: n.id.to_string(),
                name: n.name.clone(),
                mode: n.options.mode.to_string(),
                parent: n
                    .nic
                    .clone()
                    .filter(|_| facts_of(n.options.mode).is_translated())
                    .unwrap_or_else(|| n.options.parent.clone()),
            })
            .collect()
    }

    /// The host's links, as far as they can be seen.
    async fn links(&self) -> Vec<Link> {
        let host = self.host.clone();
        blocking(move || host.links()).await.unwrap_or_default()
    }

    /// The endpoint of this id, if there is one.
    pub async fn endpoint_view(&self, id: &EndpointId) -> Option<EndpointView> {
        let endpoint = self.slot_if_known(id)?.current()?;
        let network = endpoint.state.read().await.network;
        let network = self.networks().get(&network).cloned();
        let mut view = view(&endpoint, network.as_ref(), Some(&self.services.sandboxes)).await;
        view.held = held(&endpoint, &self.links().await).or(view.held);
        Some(view)
    }

    /// All endpoints, in no particular order, as their clients know them: what is on the host and in the containers is not
    /// looked at, so that this costs no system call.
    pub async fn client_views(&self) -> Vec<EndpointView> {
        let mut views = Vec::new();
        for endpoint in self.endpoints() {
            let network = self.networks().get(endpoint.state.network()).cloned();
            views.push(view(&endpoint, network.as_ref(), None).await);
        }
        views
    }

    /// All endpoints, ordered by network and container.
    pub async fn endpoint_views(&self) -> Vec<EndpointView> {
        let mut views = Vec::new();
        let links = self.links().await;
        for endpoint in self.endpoints() {
            let network = endpoint.state.read().await.network;
            let network = self.networks().get(&network).cloned();
            let mut view = view(&endpoint, network.as_ref(), Some(&self.services.sandboxes)).await;
            view.held = held(&endpoint, &links).or(view.held);
            views.push(view);
        }
        views.sort_by(|a, b| {
            (&a.network, &a.container, &a.endpoint).cmp(&(&b.network, &b.container, &b.endpoint))
        });
        views
    }
}

/// What keeps the endpoint's packets from being forwarded.
fn held(endpoint: &Endpoint, links: &[Link]) -> Option<String> {
    let own = Mark::new(endpoint.state.id(), End::Host);
    held_back(&own, endpoint.state.options(), links).map(|held| format!("spanning tree: {}", held.state))
}

pub(crate) async fn view(
    endpoint: &Endpoint,
    network: Option<&NetworkRecord>,
    sandboxes: Option<&Arc<dyn Sandboxes>>,
) -> EndpointView {
    let record = endpoint.state.read().await;
    let status = endpoint.status();
    let lease = status.as_ref().and_then(|s| s.lease.as_ref());
    let state = match &record.address {
        AddressRecord::None => AddressState::LinkOnly,
        AddressRecord::Static { .. } => AddressState::Static,
        AddressRecord::Dhcp(_) => {
            AddressState::Dhcp(status.as_ref().map_or(StateName::Stopped, |status| status.state))
        }
    };
    let address = match &record.address {
        AddressRecord::Static { address } => Some(*address),
        _ => lease.map(routes::address),
    };
    let expires = lease.and_then(|lease| lease.expires);
    let told = endpoint.status6().map(|status| ipv6_view(&status));
    let ipv6 = match (told, sandboxes) {
        (None, _) => None,
        (Some(told), None) => Some(told),
        (Some(told), Some(sandboxes)) => {
            Some(match present_v6(endpoint, record.sandbox.clone(), sandboxes).await {
                Some(present) => only_present(told, &present),
                None => told,
            })
        }
    };
    EndpointView {
        endpoint: record.id.to_string(),
        network_id: record.network.to_string(),
        network: network.and_then(|n| n.name.clone()),
        container_id: record.container.as_ref().map(|c| c.id.clone()),
        container: record.container.as_ref().map(|c| c.name.clone()),
        interface: record
            .interface
            .as_ref()
            .map_or_else(|| format!("{}*", record.prefix), ToString::to_string),
        mac: record.mac,
        elsewhere: endpoint.elsewhere().cloned(),
        address,
        server: lease.map(|lease| lease.server),
        lease_left_s: expires.map(left),
        lease_ends_at: expires.map(ends_at),
        lease_length_s: lease
            .zip(expires)
            .map(|(lease, end)| end.since_boot().saturating_sub(lease.obtained.since_boot()).as_secs()),
        state,
        held: record.used_elsewhere.map(|_| "another host uses its identity".to_owned()),
        naks: status.as_ref().map_or(0, |s| s.naks),
        conflicts: status.as_ref().map_or(0, |s| s.conflicts),
        ipv6,
    }
}

/// The IPv6 addresses that the endpoint's link has in its container. `None`: it is not there, or cannot be looked at.
async fn present_v6(
    endpoint: &Endpoint,
    sandbox: Option<PathBuf>,
    sandboxes: &Arc<dyn Sandboxes>,
) -> Option<Vec<Ipv6Net>> {
    let (path, mark) = (sandbox?, Mark::inside(endpoint.state.id(), endpoint.state.options().mode));
    let sandboxes = sandboxes.clone();
    let present = blocking(move || sandboxes.enter(&path, &mark).ok()??.addresses().ok()).await?;
    let v6 = |address: IpNet| match address {
        IpNet::V6(net) => Some(net),
        IpNet::V4(_) => None,
    };
    Some(present.into_iter().filter_map(v6).collect())
}

/// What the container's user has switched off is not there, whatever was put there.
fn only_present(mut view: Ipv6View, present: &[Ipv6Net]) -> Ipv6View {
    let is_there = |address: Ipv6Addr| present.iter().any(|net| net.addr() == address);
    let told = view.addresses.len();
    view.addresses.retain(|net| is_there(net.addr()));
    view.link_local = view.link_local.filter(|address| is_there(*address));
    if told > 0 && present.is_empty() {
        view.routers.clear();
        "off in the container (disable_ipv6)".clone_into(&mut view.state);
    }
    view
}

fn ipv6_view(status: &Status6) -> Ipv6View {
    let current = &status.current;
    let expires = current.lease.as_ref().and_then(landline_dhcp::v6::Lease::expires);
    Ipv6View {
        addresses: current.addresses.iter().map(|address| address.net).collect(),
        link_local: current.link_local,
        routers: current.routers.iter().map(|router| router.address).collect(),
        dns: current.dns.iter().map(|dns| dns.address).collect(),
        search: current.search.iter().map(|search| search.domain.clone()).collect(),
        lease_left_s: expires.map(left),
        lease_ends_at: expires.map(ends_at),
        state: status.state.to_string(),
        conflicts: status.conflicts,
    }
}

/// On the wall clock, to the nearest second, so that the same lease has the same end whenever it is looked at.
fn ends_at(end: Instant) -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = end.since_boot().saturating_sub(boottime::now());
    (wall + left + Duration::from_millis(500)).as_secs()
}

fn left(end: Instant) -> u64 {
    end.since_boot().saturating_sub(boottime::now()).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> Ipv6View {
        Ipv6View {
            addresses: vec!["2001:db8:1::50/64".parse().unwrap(), "2001:db8:2::50/64".parse().unwrap()],
            link_local: Some("fe80::1".parse().unwrap()),
            routers: vec!["fe80::2".parse().unwrap()],
            dns: Vec::new(),
            search: Vec::new(),
            lease_left_s: None,
            lease_ends_at: None,
            state: "BOUND".into(),
            conflicts: 0,
        }
    }

    #[test]
    fn only_what_is_there_is_shown() {
        let all: Vec<Ipv6Net> =
            ["2001:db8:1::50/64", "2001:db8:2::50/64", "fe80::1/64"].map(|net| net.parse().unwrap()).into();
        assert_eq!(only_present(view(), &all), view());
        let seen = only_present(view(), &all[..1]);
        assert_eq!((seen.addresses, seen.link_local, seen.state), (all[..1].to_vec(), None, "BOUND".into()));
        let off = only_present(view(), &[]);
        assert!(off.addresses.is_empty() && off.state.contains("disable_ipv6"), "{off:?}");
        let none = Ipv6View { addresses: Vec::new(), ..view() };
        assert_eq!(only_present(none, &[]).state, "BOUND", "it has none yet");
    }
}
