//! What there is, for `landline ls`.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use landline_dhcp::Instant;
use landline_kernel::boottime;
use landline_model::IdentityId;
use landline_spec::{EndpointId, Mode};
use landline_types::{IfName, Mac};
use serde::{Deserialize, Serialize};

use crate::addressing::dhcp;
use crate::engine::{Endpoint, Engine};
use crate::ipv6::Status6;
use crate::records::{AddressRecord, NetworkRecord};

/// A network, as shown to people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// Docker's id.
    pub id: String,
    /// Docker's name, if known.
    pub name: Option<String>,
    /// The link kind.
    pub mode: String,
    /// The host interface it hangs on.
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
    /// The DHCP server that leased it.
    pub server: Option<Ipv4Addr>,
    /// Seconds until the lease ends; `None`: never, or there is no lease.
    pub lease_left_s: Option<u64>,
    /// `static`, `link only`, or the DHCP client's state (RFC 2131 figure 5).
    pub state: String,
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
}

impl Engine {
    /// All identities, ordered by network and container.
    pub fn identity_views(&self) -> Vec<IdentityView> {
        let all = self.identities.all().into_iter();
        let mut views: Vec<IdentityView> = all
            .map(|i| IdentityView {
                in_use: self.identities.holder(&i.id).is_some(),
                id: i.id,
                network: i.network_name,
                container: i.container.map(|c| c.name),
                key: i.key,
                mac: i.mac,
                address: i.lease.map(|lease| lease.address),
                temporary: i.temporary,
                destroyed: i.destroyed,
            })
            .collect();
        views.sort_by(|a, b| (&a.network, &a.container, &a.id).cmp(&(&b.network, &b.container, &b.id)));
        views
    }

    /// All networks.
    pub fn network_views(&self) -> Vec<NetworkView> {
        let networks = self.networks();
        networks
            .values()
            .filter(|n| !crate::attach::is_implicit(&n.id))
            .map(|n| NetworkView {
                id: n.id.to_string(),
                name: n.name.clone(),
                mode: n.options.mode.to_string(),
                parent: match n.options.mode {
                    Mode::Nat => n.nic.clone().unwrap_or_else(|| n.options.parent.clone()),
                    _ => n.options.parent.clone(),
                },
            })
            .collect()
    }

    /// The endpoint of this id, if there is one.
    pub(crate) async fn endpoint_view(&self, id: &EndpointId) -> Option<EndpointView> {
        let endpoint = self.slot_if_known(id)?.current()?;
        let network = endpoint.cell.read().await.network;
        let network = self.networks().get(&network).cloned();
        Some(view(&endpoint, network.as_ref()).await)
    }

    /// All endpoints, ordered by network and container.
    pub async fn endpoint_views(&self) -> Vec<EndpointView> {
        let mut views = Vec::new();
        for endpoint in self.endpoints() {
            let network = endpoint.cell.read().await.network;
            let network = self.networks().get(&network).cloned();
            views.push(view(&endpoint, network.as_ref()).await);
        }
        views.sort_by(|a, b| {
            (&a.network, &a.container, &a.endpoint).cmp(&(&b.network, &b.container, &b.endpoint))
        });
        views
    }
}

pub(crate) async fn view(endpoint: &Endpoint, network: Option<&NetworkRecord>) -> EndpointView {
    let record = endpoint.cell.read().await;
    let status = endpoint.supervised().as_ref().map(|s| s.status.borrow().clone());
    let lease = status.as_ref().and_then(|s| s.lease.as_ref());
    let state = match &record.address {
        AddressRecord::None => "link only".to_owned(),
        AddressRecord::Static { .. } => "static".to_owned(),
        AddressRecord::Dhcp(_) => status.as_ref().map_or("stopped".to_owned(), |s| s.state.to_string()),
    };
    let address = match &record.address {
        AddressRecord::Static { address } => Some(*address),
        _ => lease.map(dhcp::address),
    };
    let expires = lease.and_then(|lease| lease.expires);
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
        address,
        server: lease.map(|lease| lease.server),
        lease_left_s: expires.map(left),
        state,
        naks: status.as_ref().map_or(0, |s| s.naks),
        conflicts: status.as_ref().map_or(0, |s| s.conflicts),
        ipv6: endpoint.ipv6().as_ref().map(|ipv6| ipv6_view(&ipv6.status.borrow())),
    }
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
        state: status.state.to_string(),
        conflicts: status.conflicts,
    }
}

fn left(end: Instant) -> u64 {
    end.since_boot().saturating_sub(boottime::now()).as_secs()
}
