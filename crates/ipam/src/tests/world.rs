//! A host on a LAN with a DHCP server, and the daemon whose IPAM driver Docker asks.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use landline_engine::{
    Admissions, CreateEndpoint, CreateNetwork, CreateNetworkError, Engine, NetworkIpam, Starting,
};
use landline_kernel::LinkKind;
use landline_leases::fake::{FakeMachine, closed};
use landline_links::fake::link;
use landline_options::{
    Addressing, EndpointId, EndpointOptions, IpamOptions, NetworkId, NetworkOptions, PoolSource,
};
use landline_store::Store;
use landline_types::chain;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{Ipam, PoolId, Pools, RequestAddress, RequestAddressError, RequestPool, RequestPoolError};

/// The LAN.
pub(super) const LAN: &str = "198.51.100.0/24";

pub(super) struct World {
    dir: TempDir,
    machine: FakeMachine,
}

impl Deref for World {
    type Target = FakeMachine;

    fn deref(&self) -> &FakeMachine {
        &self.machine
    }
}

/// A daemon that runs.
pub(super) struct Daemon {
    pub(super) store: Arc<Store>,
    pub(super) engine: Arc<Engine>,
    pub(super) pools: Arc<Pools>,
    pub(super) ipam: Ipam,
}

pub(super) fn network(n: u8) -> NetworkId {
    format!("{n:064x}").parse().unwrap()
}

pub(super) fn endpoint(n: u8) -> EndpointId {
    format!("{n:02x}{:062}", 0).parse().unwrap()
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// A container that Docker names, or one that nothing is known of.
pub(super) fn starting(name: Option<&str>) -> Starting {
    Starting { name: name.map(str::to_owned), candidates: Some(Vec::new()), ..Starting::default() }
}

impl World {
    pub(super) async fn started() -> (Self, Daemon) {
        let bridge = |index, name| link(index, name, LinkKind::Bridge { vlan_filtering: false });
        let machine = FakeMachine::with(vec![bridge(1, "br1"), bridge(2, "br2")]);
        let world = Self { dir: tempfile::tempdir().unwrap(), machine };
        let daemon = world.start().await;
        (world, daemon)
    }

    async fn start(&self) -> Daemon {
        let mut ground = self.machine.ground(&self.dir.path().join("state.redb"));
        let pools = Pools::resume(&mut ground);
        let engine = Engine::start(&mut ground, Arc::new(Admissions::new(vec![pools.clone()]))).await;
        let ipam = Ipam::new(&ground.shared(), engine.clone(), pools.clone());
        Daemon { store: ground.store.clone(), engine, pools, ipam }
    }

    pub(super) async fn restart(&self, daemon: Daemon) -> Daemon {
        let store = Arc::downgrade(&daemon.store);
        daemon.engine.shutdown().await;
        drop(daemon);
        closed(store).await;
        self.start().await
    }
}

impl Daemon {
    pub(super) async fn pool(
        &self,
        source: Option<PoolSource>,
        subnet: Option<&str>,
        range: Option<&str>,
    ) -> Result<(PoolId, IpNet), RequestPoolError> {
        let options = IpamOptions { addressing: source };
        let (subnet, range) = (subnet.map(net), range.map(net));
        let v6 = subnet.is_some_and(|subnet| subnet.addr().is_ipv6());
        self.ipam.request_pool(RequestPool { subnet, range, v6, options }).await
    }

    /// A pool that gives the addresses of a subnet, for a network of another driver.
    pub(super) async fn alone(&self, subnet: &str) -> PoolId {
        self.pool(Some(PoolSource::Pool), Some(subnet), None).await.unwrap().0
    }

    /// Docker creates the n-th network, on the n-th bridge, with the pool that it has just asked for.
    pub(super) async fn create(
        &self,
        n: u8,
        addressing: Addressing,
        source: PoolSource,
        subnet: IpNet,
    ) -> Result<(), CreateNetworkError> {
        let IpNet::V4(subnet) = subnet else { panic!("{subnet}") };
        let options = NetworkOptions { addressing, ..NetworkOptions::new(format!("br{n}").parse().unwrap()) };
        let ipam = NetworkIpam::Landline { subnet, gateway: None, source: Some(source) };
        self.engine.create_network(CreateNetwork { id: network(n), options, ipam, ipam_v6: None }).await
    }

    /// A network whose addresses are from the LAN's server, and its pool.
    pub(super) async fn leased(&self, subnet: Option<&str>) -> PoolId {
        let (pool, subnet) = self.pool(Some(PoolSource::Dhcp), subnet, None).await.unwrap();
        self.create(1, Addressing::Dhcp, PoolSource::Dhcp, subnet).await.unwrap();
        pool
    }

    pub(super) async fn address(
        &self,
        pool: &PoolId,
        named: Option<&str>,
        container: Starting,
    ) -> Result<IpNet, RequestAddressError> {
        let request = RequestAddress { pool: pool.clone(), named: named.map(ip), container };
        self.ipam.request_address(request, CancellationToken::new()).await
    }

    /// The address as text, or why there is none.
    pub(super) async fn says(&self, pool: &PoolId, named: Option<&str>, name: Option<&str>) -> String {
        let given = self.address(pool, named, starting(name)).await;
        given.map_or_else(|error| chain(&error), |given| given.to_string())
    }

    /// What Docker asks for with an address that it got.
    pub(super) fn request(n: u8, address: IpNet) -> CreateEndpoint {
        let IpNet::V4(address) = address else { panic!("{address}") };
        CreateEndpoint {
            network: network(1),
            endpoint: endpoint(n),
            mac: None,
            address: Some(Ipv4Net::new(address.addr(), 24).unwrap()),
            address_v6: None,
            options: EndpointOptions::default(),
            ports: BTreeSet::new(),
            published: Vec::new(),
            candidates: Some(Vec::new()),
            reservation: None,
            host_end: None,
        }
    }
}
