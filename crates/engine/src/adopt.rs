//! Taking up what the store does not know: after it was lost, Docker still has the networks, and the kernel the
//! links with our marks.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use landline_dhcp::v4::ClientId;
use landline_kernel::Link;
use landline_leases::addressing::dhcp;
use landline_leases::{EndpointState, Happened, Location, OsRandom, ipv4};
use landline_links::mark::{End, Mark};
use landline_links::{SandboxError, Sandboxes, blocking, facts_of};
use landline_model::{
    AddressRecord, Applied, DhcpRecord, EndpointRecord, EventKind, Ipv6Record, NetworkRecord,
};
use landline_options::{Addressing, NetworkId};

use crate::admission::EndpointRequest;
use crate::endpoints::{CreateEndpoint, network_name};
use crate::engine::{Endpoint, Engine};
use crate::identity::IdentityQuery;
use crate::networks::{CreateNetwork, NetworkIpam};

/// What a sandbox shows of an endpoint.
struct Found {
    link: Link,
    address: Option<Ipv4Net>,
    ipv6: Vec<Ipv6Net>,
    default_route: bool,
}

impl Engine {
    /// A network Docker has and the store does not. Its parent is not looked at: it exists already.
    pub async fn adopt_network(&self, mut network: CreateNetwork) {
        if self.networks().contains_key(&network.id) {
            return;
        }
        if facts_of(network.options.mode).is_translated()
            && let NetworkIpam::Pool { subnet, gateway } | NetworkIpam::Landline { subnet, gateway, .. } =
                &mut network.ipam
            && gateway.is_none()
        {
            *gateway = self.router_of(&network.id, *subnet).await;
        }
        let mut record = network.into_record();
        self.parents.adopt(&mut record).await;
        tracing::warn!(network = %record.id.short(), "Docker has a network the state does not; taken up");
        if let Err(error) = self.store.put(&record).await {
            tracing::warn!(error = %landline_types::chain(&error), "a network could not be stored");
        }
        self.ledger.put_network(record.clone());
        self.admission.adopted(&record).await;
    }

    /// A network that was taken up turned out to have a pool of ours, and not the addresses of a DHCP server: containers that start
    /// from now on have those that they are given.
    pub async fn addresses_are_given(&self, id: &NetworkId) {
        let Some(mut record) = self.networks().get(id).cloned() else { return };
        if record.options.addressing != Addressing::Dhcp {
            return;
        }
        record.options.addressing = Addressing::Static;
        tracing::warn!(
            network = network_name(&record),
            "Docker names this network's pool: containers have its addresses when they start again"
        );
        if let Err(error) = self.store.put(&record).await {
            tracing::warn!(error = %landline_types::chain(&error), "a network could not be stored");
        }
        self.ledger.put_network(record);
    }

    /// An endpoint Docker has in this sandbox. If the store does not know it and its link is there, it is taken
    /// up: its address stays while the server is asked for it again. `true` if nothing is left to be done.
    pub async fn adopt_endpoint(&self, request: &CreateEndpoint, sandbox: PathBuf) -> bool {
        let id = &request.endpoint;
        let Some(network) = self.networks().get(&request.network).cloned() else { return false };
        let slot = self.slot(id);
        let _turn = slot.operation.lock().await;
        if slot.current().is_some() {
            return true;
        }
        let (mark, path) = (Mark::new(id, End::Container), sandbox.clone());
        let sandboxes = self.services.sandboxes.clone();
        let found = match blocking(move || look(&*sandboxes, &path, &mark)).await {
            Ok(Some(found)) => found,
            Ok(None) => return false,
            Err(error) => {
                tracing::debug!(error = %landline_types::chain(&error), "a sandbox cannot be looked at");
                return false;
            }
        };
        tracing::warn!(endpoint = %id.short(), "a container is on a network that the state does not know of; taken up");
        let happened = Happened::new(EventKind::Adopted).to(id, &network.id);
        self.services.history.note(happened.because("the state did not know of it"));
        if let Some(endpoint) = self.rebuild(request, &network, sandbox, &found).await {
            self.reconnect(&endpoint.state.read().await, &network.options).await;
            slot.set(Some(Arc::new(endpoint)));
        }
        true
    }

    async fn rebuild(
        &self,
        request: &CreateEndpoint,
        network: &NetworkRecord,
        sandbox: PathBuf,
        found: &Found,
    ) -> Option<Endpoint> {
        let id = &request.endpoint;
        let mac = found.link.mac?;
        let query = IdentityQuery { mac: Some(mac), ..IdentityQuery::on(network) };
        let mut identity = self.identities.take(id, network, &query);
        let client_id =
            identity.client_id.clone().or_else(|| Some(ClientId::from_mac(mac).as_bytes().to_vec()));
        let address = match network.options.addressing {
            Addressing::None => AddressRecord::None,
            Addressing::Static => AddressRecord::Static { address: found.address? },
            Addressing::Dhcp => AddressRecord::Dhcp(DhcpRecord { client_id, ..DhcpRecord::default() }),
        };
        let applied =
            Applied { address: found.address, default_route: found.default_route, ..Applied::default() };
        let mark = Mark::new(id, End::Container);
        let ipv6 = identity
            .with_ipv6(
                &network.options,
                facts_of(network.options.mode).shares_mac(),
                None,
                false,
                &mut OsRandom,
            )
            .map(|ipv6| Ipv6Record { applied: found.ipv6.clone(), switched_on: true, ..ipv6 });
        let mut record = EndpointRecord {
            ipv6: ipv6.clone(),
            identity: Some(identity.id.clone()),
            prefix: facts_of(network.options.mode).container_prefix(&network.options.parent),
            interface: Some(found.link.name.clone()),
            // Where Landline does not look after IPv6 itself, that of a pool.
            address_v6: found.ipv6.first().copied().filter(|_| ipv6.is_none()),
            sandbox: Some(sandbox.clone()),
            applied,
            ..EndpointRecord::new(id.clone(), network.id.clone(), mark.link_name(), mac, address.clone())
        };
        self.admission.annotate(request, network, &mut identity, &mut record);
        let again = EndpointRequest {
            request,
            record: &record,
            network,
            identity: &identity,
            name: None,
            again: true,
        };
        if let Err(error) = self.admission.endpoint(again).await {
            tracing::warn!(error = %landline_types::chain(&error), "a container has no address on the LAN for now");
        }
        let state = Arc::new(EndpointState::fresh(
            record,
            network.options.clone(),
            self.store.clone(),
            &self.services.book,
            &self.ledger,
        ));
        if let Err(error) = state.commit(identity.clone()).await {
            tracing::warn!(error = %landline_types::chain(&error), "an endpoint could not be stored");
            state.list().await;
        }
        self.identities.keep(identity);
        let supervised = match &address {
            AddressRecord::Dhcp(row) => {
                let config = dhcp::config(&network.options, mac, row, None);
                let known = found.address.map(|net| net.addr());
                let (state, services) = (state.clone(), self.services.clone());
                Some(ipv4::ask_again(state, services, config, known, Location::Sandbox(sandbox.clone())))
            }
            _ => None,
        };
        let ipv6 = ipv6.map(|ipv6| {
            let config = landline_leases::ipv6::config(&network.options, mac, &ipv6);
            let known = found.ipv6.iter().map(Ipv6Net::addr).collect();
            let (state, services) = (state.clone(), self.services.clone());
            landline_leases::ipv6::ask_again(state, services, config, known, Location::Sandbox(sandbox))
        });
        let (supervised, ipv6) = (Mutex::new(supervised), Mutex::new(ipv6));
        Some(Endpoint {
            state,
            supervised,
            ipv6,
            found_on_host: false,
            late: None,
            elsewhere: OnceLock::new(),
        })
    }
}

fn look(
    sandboxes: &dyn Sandboxes,
    path: &std::path::Path,
    mark: &Mark,
) -> Result<Option<Found>, SandboxError> {
    let Some(mut sandbox) = sandboxes.enter(path, mark)? else { return Ok(None) };
    let addresses = sandbox.addresses()?;
    let default_route = sandbox.has_default_route()?;
    let v4 = |net: &IpNet| match net {
        IpNet::V4(net) => Some(*net),
        IpNet::V6(_) => None,
    };
    let v6 = |net: &IpNet| match net {
        IpNet::V6(net) => Some(*net).filter(|net| !net.addr().is_unicast_link_local()),
        IpNet::V4(_) => None,
    };
    let (address, ipv6) = (addresses.iter().find_map(v4), addresses.iter().filter_map(v6).collect());
    Ok(Some(Found { link: sandbox.link().clone(), address, ipv6, default_route }))
}
