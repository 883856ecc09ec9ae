mod host_addresses;
mod stations;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use landline_engine::{Admissions, CreateEndpoint, CreateNetwork, EndpointAddress, Engine, NetworkIpam};
use landline_kernel::{Link, LinkKind};
use landline_leases::Shared;
use landline_leases::fake::FakeMachine;
use landline_links::fake::link;
use landline_options::{Addressing, ConflictCheck, EndpointId, EndpointOptions, NetworkOptions};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A host with a bridge that its NIC is in, on a LAN with a DHCP server, and a daemon with one network.
struct World {
    machine: FakeMachine,
    shared: Shared,
    engine: Arc<Engine>,
    _dir: TempDir,
}

impl World {
    async fn with(addressing: Addressing, conflict_check: ConflictCheck) -> Self {
        let bridge = link(1, "br0", LinkKind::Bridge { vlan_filtering: false });
        let nic = Link { mac: "02:11:22:33:44:66".parse().ok(), ..link(9, "eth7", LinkKind::Physical) };
        let machine = FakeMachine::with(vec![bridge, Link { controller: Some(1), ..nic }]);
        let dir = tempfile::tempdir().unwrap();
        let mut ground = machine.ground(&dir.path().join("state.redb"));
        let engine = Engine::start(&mut ground, Arc::new(Admissions::new(Vec::new()))).await;
        let shared = ground.shared();
        crate::follow(&shared, &engine);
        let options = NetworkOptions {
            addressing,
            conflict_check,
            lease_timeout: Duration::from_secs(10),
            ..NetworkOptions::new("br0".parse().unwrap())
        };
        let ipam = match addressing {
            Addressing::Static => NetworkIpam::Pool {
                subnet: "198.51.100.0/24".parse().unwrap(),
                gateway: "198.51.100.1".parse().ok(),
            },
            _ => NetworkIpam::Null,
        };
        let id = "a".repeat(64).parse().unwrap();
        engine.create_network(CreateNetwork { id, options, ipam, ipam_v6: None }).await.unwrap();
        Self { machine, shared, engine, _dir: dir }
    }

    /// A container starts, with this address if it is not leased.
    async fn start(&self, address: Option<&str>) -> EndpointAddress {
        let request = CreateEndpoint {
            network: "a".repeat(64).parse().unwrap(),
            endpoint: endpoint_id(),
            mac: None,
            address: address.map(|address| address.parse().unwrap()),
            address_v6: None,
            options: EndpointOptions::default(),
            ports: BTreeSet::new(),
            published: Vec::new(),
            candidates: Some(Vec::new()),
            reservation: None,
            host_end: None,
        };
        self.engine.create_endpoint(request, CancellationToken::new()).await.unwrap()
    }
}

fn endpoint_id() -> EndpointId {
    "e".repeat(64).parse().unwrap()
}

/// One of the LAN; the server gives those from 10 on.
fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, last)
}
