//! Docker's words on one side, the engine's on the other.

mod addresses;
mod patience;
mod starting;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use landline_docker::{
    ContainerInfo, CreateEndpointRequest, CreateNetworkRequest, DockerNetwork, DockerPool, DockerView,
    Doubts, Driver, DriverError, EndpointInterface, EndpointRequest, InterfaceName, JoinRequest,
    JoinResponse, Limits, OptionsError, PublishedPort, StaticRoute, Watcher,
};
use landline_engine::{
    CreateEndpoint, CreateNetwork, CreateNetworkError, Engine, NetworkIpam, PoolV6, Published,
};
use landline_ipam::{AdoptPool, Ipam};
use landline_model::{ContainerRecord, ResolverFile};
use landline_options::{
    Addressing, ConfigFile, Defaults, EndpointId, EndpointOptions, Ipv6Mode, NetworkId, NetworkOptions,
    PoolSource,
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::addressing::{self, AddressingError, OurPool};
use crate::parts::Parts;
use crate::placeholders;
use crate::preset::Preset;
use patience::Patience;

/// How much longer than `lease_timeout` an endpoint may take: links, the store, undoing it all.
const MARGIN: Duration = Duration::from_secs(10);

/// How long word of a container may be late. Docker tells of it before it asks for its endpoint, but on the side.
const LATE: Duration = Duration::from_millis(250);

/// How long the longest request may take that Docker can wait for now, with all that is undone if it fails.
pub(crate) fn longest_request(engine: &Engine) -> Duration {
    let networks = engine.docker_networks();
    let longest = networks.keys().filter_map(|id| engine.start_limit(id)).max();
    longest.unwrap_or_default() + MARGIN + Limits::default().grace * 2
}

/// Under which name Docker asks for addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IpamName {
    /// One that says nothing about them.
    Plain,
    /// `landline-dhcp`: they are the LAN's.
    FromLan,
}

/// The IPAM driver's name for addresses of the LAN: the first of the driver's with `-dhcp` behind it.
pub(crate) fn lan_ipam_name(names: &[Preset]) -> String {
    format!("{}-dhcp", names.first().map_or("landline", |preset| &preset.name))
}

/// The engine as a Docker driver, and the watcher's ear.
#[derive(Clone)]
pub(crate) struct Frontend {
    parts: Arc<Parts>,
    view: watch::Receiver<Arc<DockerView>>,
    /// What Docker calls this driver, and what its networks have unless they say otherwise.
    preset: Preset,
    /// All names there are, this one too.
    names: Arc<[Preset]>,
    /// Those that only the IPAM driver has.
    ipam_names: Arc<[String]>,
    /// That of the IPAM driver whose addresses are the LAN's whatever else is said.
    lan_ipam_name: Arc<str>,
    /// Under which of these the IPAM driver is asked here.
    ipam_name: IpamName,
    config: watch::Receiver<Arc<ConfigFile>>,
    /// Tells the watcher that Docker runs.
    docker_lives: Arc<Notify>,
    /// Tells it what Docker does not.
    doubts: Arc<Doubts>,
    /// How long a Docker that does not answer is waited for.
    patience: Arc<Patience>,
}

/// What a request can be refused for before the engine sees it.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error(transparent)]
    Shape(#[from] OptionsError),
    #[error(transparent)]
    Addressing(#[from] AddressingError),
    #[error(
        "--ipv6 asks Docker for IPv6 addresses, and Landline's come from the LAN; leave it out and add -o ipv6=true \
         (or dhcp, slaac)"
    )]
    Ipv6,
    #[error(
        "--internal would cut containers off from the LAN, which is what Landline connects them to; leave it out"
    )]
    Internal,
    #[error(
        "the IPAM driver {0} takes addresses from the LAN's DHCP server; leave out addressing=pool, or use the IPAM driver \
         landline"
    )]
    PoolFromLan(Arc<str>),
    #[error("Landline takes one IPv4 --subnet and one IPv6 --subnet")]
    Pools,
}

impl Frontend {
    /// The driver under each of these names. One of them is to [`follow`](Self::follow).
    pub(crate) fn under(
        names: &Arc<[Preset]>,
        ipam_names: &Arc<[String]>,
        parts: &Arc<Parts>,
        view: &watch::Receiver<Arc<DockerView>>,
        config: &watch::Receiver<Arc<ConfigFile>>,
        watcher: &Watcher,
    ) -> Vec<Arc<Self>> {
        let lan_ipam_name: Arc<str> = lan_ipam_name(names).into();
        let patience: Arc<Patience> = Arc::default();
        let frontend = |preset: &Preset| {
            Arc::new(Self {
                parts: parts.clone(),
                view: view.clone(),
                preset: preset.clone(),
                names: names.clone(),
                ipam_names: ipam_names.clone(),
                lan_ipam_name: lan_ipam_name.clone(),
                ipam_name: IpamName::Plain,
                config: config.clone(),
                docker_lives: watcher.sign(),
                doubts: watcher.doubts(),
                patience: patience.clone(),
            })
        };
        names.iter().map(frontend).collect()
    }

    /// The same driver under the IPAM driver's name that stands for the addresses of the LAN.
    pub(crate) fn from_lan(self: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self { ipam_name: IpamName::FromLan, ..Self::clone(self) })
    }

    /// Tells the engine what the watcher sees, until `cancel`.
    pub(crate) async fn follow(self: Arc<Self>, cancel: CancellationToken) {
        let mut view = self.view.clone();
        let mut connected = false;
        // Networks whose pools may have been lost, until they were looked at.
        let mut doubtful = BTreeSet::new();
        loop {
            let seen = view.borrow_and_update().clone();
            if seen.connected && !connected {
                // Docker may have been killed, and its containers with it.
                self.parts.engine.close_dead().await;
                self.adopt_networks(&seen).await;
                let ours =
                    seen.networks.iter().filter(|(_, network)| self.gives_addresses(network).is_some());
                doubtful = ours.map(|(id, _)| id.clone()).collect();
            }
            connected = seen.connected;
            self.adopt_pools(&seen, &mut doubtful).await;
            self.adopt_endpoints(&seen).await;
            self.parts.nat.see(crate::nat::seen(&seen));
            self.parts.host_access.see(crate::host_access::seen(&seen));
            for (id, network) in &seen.networks {
                self.parts.engine.network_seen(id, &network.name).await;
            }
            for (id, container) in &seen.endpoints {
                let network = seen.network_of(id);
                let requested = network.and_then(|network| seen.requested_on(container, network));
                let container = ContainerRecord {
                    address: requested.and_then(|requested| requested.address),
                    ..record(container)
                };
                self.parts.engine.container_seen(id, container).await;
            }
            if seen.connected {
                self.parts.engine.containers_present(seen.containers.keys().cloned().collect()).await;
            }
            match cancel.run_until_cancelled(view.changed()).await {
                Some(Ok(())) => {}
                Some(Err(_)) | None => return,
            }
        }
    }

    /// Docker's networks of this driver that the engine does not know: its state was lost. Only asked for when
    /// Docker's lists were just read, because an older view may still have what was just deleted.
    async fn adopt_networks(&self, view: &DockerView) {
        let preset = |driver: &str| self.names.iter().find(|preset| preset.name == driver);
        let ours = view.networks.iter().filter_map(|(id, n)| Some((id, n, preset(&n.driver)?)));
        for (id, network, preset) in ours {
            match read_shown(id, network, preset, &self.defaults(), self.gives_addresses(network)) {
                Ok(network) => self.parts.engine.adopt_network(network).await,
                Err(error) => {
                    tracing::warn!(network = network.name, %error, "this network cannot be taken up");
                }
            }
        }
    }

    /// Under which of its names our IPAM driver gives the network's addresses, if it does.
    fn gives_addresses(&self, network: &DockerNetwork) -> Option<IpamName> {
        if network.ipam == *self.lan_ipam_name {
            return Some(IpamName::FromLan);
        }
        let plain = self.ipam_names.contains(&network.ipam)
            || self.names.iter().any(|preset| preset.name == network.ipam);
        plain.then_some(IpamName::Plain)
    }

    /// Where the addresses of a pool come from that was lost, as far as Docker shows it.
    ///
    /// Whether that is a guess comes with it.
    fn shown_source(&self, network: &DockerNetwork, pool: &DockerPool) -> Option<(PoolSource, bool)> {
        let ours = our_shown(network, pool, self.gives_addresses(network)?);
        match (self.names.iter().find(|preset| preset.name == network.driver), pool.subnet) {
            (Some(preset), IpNet::V4(_)) => {
                let own = preset.with(&network.options);
                let guessed = ours.source.is_none() && !own.contains_key("addressing");
                let (_, source) = addressing::read(own, Some(ours), &self.defaults()).ok()?;
                source.map(|source| (source, guessed && source == PoolSource::Dhcp))
            }
            // Of another driver's LAN nothing is known.
            (None, _) | (_, IpNet::V6(_)) => Some((ours.source.unwrap_or(PoolSource::Pool), false)),
        }
    }

    /// Those of the `doubtful` networks that have been looked at tell of pools that the engine may not know.
    async fn adopt_pools(&self, view: &DockerView, doubtful: &mut BTreeSet<NetworkId>) {
        doubtful.retain(|id| view.networks.contains_key(id));
        let looked_at = |id: &NetworkId| view.networks.get(id).is_some_and(|n| n.in_use.is_some());
        for id in doubtful.extract_if(.., looked_at) {
            let Some(network) = view.networks.get(&id) else { continue };
            for pool in &network.pools {
                let Some((source, guessed)) = self.shown_source(network, pool) else { continue };
                let in_use = network.in_use.iter().flatten().chain(&pool.set_aside).copied().collect();
                let DockerPool { subnet, range, gateway, .. } = *pool;
                let network = id.clone();
                self.parts
                    .ipam
                    .adopt_pool(AdoptPool { network, source, guessed, subnet, range, gateway, in_use })
                    .await;
            }
        }
    }

    /// What networks have that do not say otherwise, as it is written now.
    fn defaults(&self) -> Defaults {
        self.config.borrow().defaults.clone()
    }

    /// Running containers' endpoints that the engine does not know.
    async fn adopt_endpoints(&self, view: &DockerView) {
        for (id, container) in &view.endpoints {
            if let (Some(sandbox), Some(network)) = (&container.sandbox, view.network_of(id))
                && !self.parts.engine.knows(id)
            {
                let request = again(network, id, container);
                self.parts.engine.adopt_endpoint(&request, sandbox.clone()).await;
            }
        }
    }

    /// Refuses a bridge that a network of another driver uses, as far as the watcher knows.
    async fn free_bridge(&self, id: &NetworkId, options: &NetworkOptions) -> Result<(), CreateNetworkError> {
        if !landline_links::wants_bridge_alone(options) {
            return Ok(());
        }
        let addresses = self.parts.engine.parent_addresses(&options.parent).await;
        let view = self.view.borrow().clone();
        match view.bridge_user(&options.parent, &addresses, id) {
            Some(other) => Err(CreateNetworkError::BridgeInUse {
                bridge: options.parent.clone(),
                other: other.name.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// An endpoint as Docker would ask for it once more.
fn again(network: &NetworkId, endpoint: &EndpointId, container: &ContainerInfo) -> CreateEndpoint {
    let options = container.driver_options.get(network).map(|options| {
        let mut options = options.clone();
        placeholders::fill(&mut options, Some(&container.place()));
        EndpointOptions::parse(&options)
    });
    CreateEndpoint {
        network: network.clone(),
        endpoint: endpoint.clone(),
        mac: None,
        address: None,
        address_v6: None,
        // What cannot be read now could not be then.
        options: options.and_then(Result::ok).unwrap_or_default(),
        ports: container.ports.clone(),
        published: container.published.iter().copied().filter_map(published).collect(),
        candidates: None,
        reservation: None,
        host_end: None,
    }
}

/// What the engine remembers of a container, whatever network it is on.
pub(crate) fn record(container: &ContainerInfo) -> ContainerRecord {
    ContainerRecord {
        id: container.container_id.clone(),
        name: container.lasting_name().to_owned(),
        slot: container.slot(),
        hostname: Some(container.hostname.clone()).filter(|name| !name.is_empty()),
        auto_remove: container.auto_remove,
        resolver: ResolverFile {
            // Until then Docker writes it, and makes its own of what it finds there.
            path: container.resolv_conf.clone().filter(|_| container.running),
            servers_given: !container.dns.is_empty(),
            domains_given: !container.dns_search.is_empty(),
        },
        address: None,
    }
}

/// A published port; none for IPv6, of which there is nothing to publish.
fn published(port: PublishedPort) -> Option<Published> {
    let PublishedPort { protocol, port: inside, host_port: outside, host_address } = port;
    let address = match host_address {
        Some(IpAddr::V6(_)) => return None,
        Some(IpAddr::V4(address)) => Some(address),
        None => None,
    };
    Some(Published { protocol, inside, outside, address })
}

/// The IPAM side of a network, Docker's or ours.
fn ipam(request: &CreateNetworkRequest) -> Result<NetworkIpam, RequestError> {
    let pools: Vec<_> = request.ipv4.iter().filter(|data| !data.is_null()).collect();
    match pools.as_slice() {
        [] => Ok(NetworkIpam::Null),
        [data] => {
            let (Some(IpNet::V4(subnet)), None | Some(IpAddr::V4(_))) = (data.pool, data.gateway_address())
            else {
                return Err(RequestError::Pools);
            };
            let gateway = data.gateway_address().and_then(v4);
            Ok(if data.is_ours() {
                NetworkIpam::Landline { subnet, gateway, source: None }
            } else {
                NetworkIpam::Pool { subnet, gateway }
            })
        }
        _ => Err(RequestError::Pools),
    }
}

/// Its IPv6 side.
fn ipam_v6(request: &CreateNetworkRequest) -> Result<Option<PoolV6>, RequestError> {
    let pools: Vec<_> = request.ipv6.iter().filter(|data| !data.is_null()).collect();
    match pools.as_slice() {
        [] => Ok(None),
        [data] => match (data.pool, data.gateway_address()) {
            (Some(IpNet::V6(subnet)), None) => {
                Ok(Some(PoolV6 { subnet, gateway: None, ours: data.is_ours() }))
            }
            (Some(IpNet::V6(subnet)), Some(IpAddr::V6(gateway))) => {
                Ok(Some(PoolV6 { subnet, gateway: Some(gateway), ours: data.is_ours() }))
            }
            _ => Err(RequestError::Pools),
        },
        _ => Err(RequestError::Pools),
    }
}

/// A network as Docker shows it. `ours`: its addresses are from our IPAM driver, under the name that says that they are the
/// LAN's or under another.
fn read_shown(
    id: &NetworkId,
    network: &DockerNetwork,
    preset: &Preset,
    defaults: &Defaults,
    ours: Option<IpamName>,
) -> Result<CreateNetwork, AddressingError> {
    let (mut ipam, mut ipam_v6, mut our_pool) = (NetworkIpam::Null, None, None);
    for pool in &network.pools {
        match (pool.subnet, pool.gateway, ours) {
            (IpNet::V4(subnet), gateway, Some(name)) => {
                ipam = NetworkIpam::Landline { subnet, gateway: gateway.and_then(v4), source: None };
                our_pool = Some(our_shown(network, pool, name));
            }
            (IpNet::V4(subnet), gateway, None) if subnet.prefix_len() > 0 => {
                ipam = NetworkIpam::Pool { subnet, gateway: gateway.and_then(v4) };
            }
            (IpNet::V4(_), ..) => {}
            (IpNet::V6(subnet), gateway, _) => {
                let gateway = gateway.and_then(|gateway| match gateway {
                    IpAddr::V6(gateway) => Some(gateway),
                    IpAddr::V4(_) => None,
                });
                ipam_v6 = Some(PoolV6 { subnet, gateway, ours: ours.is_some() });
            }
        }
    }
    let (options, _) = addressing::read(preset.with(&network.options), our_pool, defaults)?;
    Ok(CreateNetwork { id: id.clone(), options, ipam, ipam_v6 })
}

fn our_shown(network: &DockerNetwork, pool: &DockerPool, name: IpamName) -> OurPool {
    let source = addressing::source_shown(network, pool, name == IpamName::FromLan);
    OurPool { subnet: pool.subnet, source }
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn read_network(
    ipams: &Ipam,
    request: &CreateNetworkRequest,
    preset: &Preset,
    defaults: &Defaults,
) -> Result<CreateNetwork, RequestError> {
    let (id, mut ipam, ipam_v6) = (request.network.clone(), ipam(request)?, ipam_v6(request)?);
    let pool = match ipam {
        NetworkIpam::Landline { subnet, .. } => {
            let subnet = IpNet::from(subnet);
            Some(OurPool { subnet, source: ipams.source(&id, subnet) })
        }
        NetworkIpam::Null | NetworkIpam::Pool { .. } => None,
    };
    let (options, decided) = addressing::read(preset.with(&request.user_options()?), pool, defaults)?;
    if let NetworkIpam::Landline { source, .. } = &mut ipam {
        *source = decided;
    }
    if request.is_internal() {
        return Err(RequestError::Internal);
    }
    // Without a pool of Docker's it says nothing that the option does not.
    let fixed = ipam_v6.is_some() && options.addressing == Addressing::Static;
    if request.wants_ipv6() && options.ipv6 == Ipv6Mode::Off && !fixed {
        return Err(RequestError::Ipv6);
    }
    Ok(CreateNetwork { id, options, ipam, ipam_v6 })
}

impl Driver for Frontend {
    fn connected(&self) {
        self.docker_lives.notify_one();
    }

    fn answered(&self, verb: &'static str, took: Duration) {
        self.parts.docker_requests.add(verb, took);
    }

    async fn start_without_contents(&self, dockerd: Option<u32>) -> Option<DriverError> {
        self.look_whether_docker_restores(dockerd);
        // Once its API answers, whoever has asked for the start can ask again.
        let mut view = self.view.clone();
        if tokio::time::timeout(LATE, view.wait_for(|view| view.connected))
            .await
            .is_ok_and(|seen| seen.is_ok())
        {
            return None;
        }
        Some(self.parts.refused_starts.refuse_unread().await?.into())
    }

    async fn create_network(&self, request: CreateNetworkRequest) -> Result<(), DriverError> {
        let network = read_network(&self.parts.ipam, &request, &self.preset, &self.defaults())?;
        self.free_bridge(&network.id, &network.options).await?;
        if let NetworkIpam::Landline { subnet, source: Some(source), .. } = network.ipam {
            self.parts.ipam.decide(&network.id, subnet.into(), source).await?;
        }
        Ok(self.parts.engine.create_network(network).await?)
    }

    async fn delete_network(&self, network: NetworkId) -> Result<(), DriverError> {
        Ok(self.parts.engine.delete_network(&network).await?)
    }

    async fn create_endpoint(
        &self,
        request: CreateEndpointRequest,
        dockerd: Option<u32>,
        cancel: CancellationToken,
    ) -> Result<EndpointInterface, DriverError> {
        let (network, ports) = (&request.network, request.ports());
        let mut options = request.text_options();
        let mut candidates = None;
        if placeholders::any(&options) {
            candidates = self.starting(network, Some(&ports), dockerd).await;
            let place = self.place_of_starting(network, &ports, candidates.as_deref());
            let left_out = placeholders::fill(&mut options, place.as_ref());
            if candidates.is_none() && !left_out.is_empty() {
                // It has a key, so it must not be taken for one of those that have none.
                let network = self.parts.engine.networks().get(network).cloned();
                if let Some(network) = network {
                    self.parts.refused_starts.refuse_unsure(&network).await?;
                }
            }
            for option in left_out {
                tracing::warn!(
                    option,
                    network = self.parts.engine.network_name(network),
                    "left out: which container starts, and where, is not known"
                );
            }
        }
        let options = EndpointOptions::parse(&options)?;
        // Whoever shows a key or a hardware address need not be guessed.
        let candidates = match (&options.id, request.interface.mac) {
            (None, None) if candidates.is_none() => self.starting(network, Some(&ports), dockerd).await,
            (None, None) => candidates,
            _ => Some(Vec::new()),
        };
        let wanted = CreateEndpoint {
            published: request.published().into_iter().filter_map(published).collect(),
            ports,
            candidates,
            reservation: None,
            host_end: None,
            network: request.network,
            endpoint: request.endpoint,
            mac: request.interface.mac,
            address: request.interface.address,
            address_v6: request.interface.address_ipv6,
            options,
        };
        let reservation = self.parts.ipam.reservation(&wanted)?;
        let wanted = CreateEndpoint { reservation, ..wanted };
        let made = self.parts.engine.create_endpoint(wanted, cancel).await?;
        Ok(EndpointInterface { address: made.address, address_ipv6: made.address_v6, mac: made.mac })
    }

    fn create_endpoint_deadline(&self, network: &NetworkId) -> Duration {
        self.parts.engine.start_limit(network).unwrap_or_default() + MARGIN
    }

    async fn delete_endpoint(&self, request: EndpointRequest) -> Result<(), DriverError> {
        // Of a start that fails Docker tells nobody but its user.
        if !self.parts.engine.has_container(&request.endpoint).await {
            self.doubts.about_network(request.network.clone());
        }
        Ok(self.parts.engine.delete_endpoint(&request.endpoint).await?)
    }

    async fn endpoint_info(&self, request: EndpointRequest) -> Result<BTreeMap<String, String>, DriverError> {
        // Docker asks for it and shows it nowhere; `landline ls` does. Engines from 28 on ask before the container's process starts.
        self.parts.engine.until_settled(&request.endpoint).await;
        Ok(BTreeMap::new())
    }

    async fn program_external_connectivity(&self, request: EndpointRequest) -> Result<(), DriverError> {
        self.parts.engine.until_settled(&request.endpoint).await;
        Ok(())
    }

    async fn join(&self, request: JoinRequest) -> Result<JoinResponse, DriverError> {
        let view = self.view.borrow().clone();
        let occupant = request.sandbox.as_deref().and_then(|sandbox| view.occupant(sandbox));
        let joined = self.parts.engine.join(&request.endpoint, request.sandbox.clone(), occupant).await?;
        if request.sandbox.is_some() {
            let (endpoint, network) = (request.endpoint.clone(), request.network.clone());
            let told =
                self.clone().tell_late(EndpointRequest { network, endpoint }, occupant.map(str::to_owned));
            tokio::spawn(self.parts.shared.services.cancel.clone().run_until_cancelled_owned(told));
        }
        let routes = joined.routes.into_iter();
        Ok(JoinResponse {
            interface_name: Some(InterfaceName {
                source: joined.link,
                prefix: joined.prefix,
                name: joined.ifname,
            }),
            gateway: joined.gateway,
            // A router's link-local address, which engines before 28 refuse; the engine sets the route.
            gateway_ipv6: joined.gateway_v6,
            static_routes: routes
                .map(|(destination, hop)| StaticRoute {
                    destination: destination.into(),
                    next_hop: hop.map(Into::into),
                })
                .collect(),
            disable_gateway_service: joined.gateway.is_none(),
        })
    }

    async fn leave(&self, request: EndpointRequest) -> Result<(), DriverError> {
        self.parts.engine.leave(&request.endpoint).await;
        Ok(())
    }
}
