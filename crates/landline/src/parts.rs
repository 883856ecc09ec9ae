//! The engine and its features: the only place where they are built and wired.

use std::path::Path;
use std::sync::Arc;

use landline_attach::{AttachmentSlots, Attachments};
use landline_doctor::{Doctor, FirewallCheck};
use landline_engine::{Admissions, Engine};
use landline_host_access::{FilterCheck, HostAccess};
use landline_ipam::{Ipam, Pools};
use landline_leases::{Foundation, OpenError, Shared};
use landline_links::Host;
use landline_nat::Nat;
use landline_resolver::Resolver;
use landline_routed::Routed;
use landline_uplink::HostLeases;

use crate::connections::Connections;
use crate::metrics::DockerMeter;
use crate::refused_starts::RefusedStarts;

/// The engine and its features.
pub(crate) struct Parts {
    /// What all of them share.
    pub(crate) shared: Shared,
    /// Networks and endpoints.
    pub(crate) engine: Arc<Engine>,
    /// Addresses from pools, and leases for endpoints to come.
    pub(crate) ipam: Ipam,
    /// Addresses on the host that stand for containers.
    pub(crate) nat: Arc<Nat>,
    /// The host's way to containers on its NICs.
    pub(crate) host_access: Arc<HostAccess>,
    /// The host's own leases.
    pub(crate) host_leases: HostLeases,
    /// Attachments.
    pub(crate) attach: Arc<Attachments>,
    /// What keeps containers from being reached.
    pub(crate) doctor: Doctor,
    /// Which containers are connected to which networks.
    pub(crate) connections: Arc<Connections>,
    /// Starts that were refused, because nothing told which container it was.
    pub(crate) refused_starts: Arc<RefusedStarts>,
    /// How long Docker's requests took.
    pub(crate) docker_requests: DockerMeter,
}

impl Parts {
    /// Opens the store in `state_dir` and goes on with everything that was there. Those that the engine asks before it answers
    /// are there before it, those that follow its inventory after it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(crate) async fn start(state_dir: &Path, host: Arc<dyn Host>) -> Result<Arc<Self>, OpenError> {
        let mut ground = Foundation::open(state_dir, host).await?;
        let shared = ground.shared();
        let attachments = AttachmentSlots::resume(&mut ground).await;
        let pools = Pools::resume(&mut ground);
        let nat = Nat::start(&mut ground).await;
        let firewall = Arc::new(FirewallCheck::new(nat.clone()));
        let resolver = Arc::<Resolver>::default();
        let routed = Routed::new(&mut ground);
        let refused_starts = RefusedStarts::resume(&mut ground);
        let admissions = Admissions::new(vec![
            refused_starts.clone(),
            Arc::new(FilterCheck::new(ground.services.namespaces.clone())),
            firewall,
            pools.clone(),
            nat.clone(),
            resolver.clone(),
            routed.clone(),
        ]);
        let connections = Connections::resume(&mut ground);
        let engine = Engine::start(&mut ground, Arc::new(admissions)).await;
        landline_conflicts::follow(&shared, &engine);
        landline_ovs_ports::start(&shared, &engine);
        resolver.follow(&shared, &engine);
        routed.follow(&engine);
        let host_leases = HostLeases::start(&mut ground);
        let host_access = HostAccess::start(&mut ground, &engine);
        let attach = Attachments::start(shared.clone(), engine.clone(), attachments).await;
        let ipam = Ipam::new(&shared, engine.clone(), pools);
        let doctor = Doctor::new(shared.clone(), engine.clone(), nat.clone(), host_access.clone());
        Ok(Arc::new(Self {
            shared,
            engine,
            ipam,
            nat,
            host_access,
            host_leases,
            attach,
            doctor,
            connections,
            refused_starts,
            docker_requests: DockerMeter::default(),
        }))
    }
}

#[cfg(test)]
mod released;
