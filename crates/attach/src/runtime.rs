//! Attachments that a container runtime asks for. They end when the runtime says so, or with the namespace they are in.

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use landline_engine::{CreateEndpointError, EndpointView, names_of};
use landline_kernel::{Route, RouteKind};
use landline_links::{ParentError, blocking};
use landline_model::{RuntimeApi, RuntimeFailure, RuntimeInterface, RuntimeOwner};
use landline_options::{AttachSpec, EndpointId, Target};
use landline_types::IfName;
use tokio_util::sync::CancellationToken;

use super::inside::{self, InsideError};
use super::record::{AttachmentRecord, Origin};
use super::{AttachFailure, AttachRequest, Attachments, TargetSandbox};

impl Attachments {
    /// Attaches an interface for a runtime. One that the owner has in another namespace ends; asked again for one that is
    /// there, the answer is the same again.
    ///
    /// # Errors
    /// See [`AttachFailure`]. Nothing is left then.
    pub async fn attach_for_runtime(
        &self,
        owner: RuntimeOwner,
        sandbox: PathBuf,
        spec: AttachSpec,
        cancel: CancellationToken,
    ) -> Result<RuntimeInterface, AttachFailure> {
        self.end_elsewhere(&owner, &sandbox).await?;
        let request = AttachRequest {
            target: Target::Netns(sandbox.clone()),
            spec,
            origin: Origin::Runtime(owner.clone()),
            place: TargetSandbox { sandbox, container: None },
            again: false,
            may_make: false,
        };
        match Box::pin(self.attach(request.clone(), cancel.clone())).await {
            // What the owner had before was just being ended.
            Err(AttachFailure::Cancelled) if !cancel.is_cancelled() => {
                Box::pin(self.attach(request, cancel)).await?;
            }
            attached => drop(attached?),
        }
        self.runtime_interface(&owner).await
    }

    /// The interface of this owner, as it is now.
    ///
    /// # Errors
    /// It is not there.
    pub async fn runtime_interface(&self, owner: &RuntimeOwner) -> Result<RuntimeInterface, AttachFailure> {
        let record = self.of_runtime(owner).pop();
        let there = record.as_ref().and_then(|record| record.inside.clone());
        let (Some(record), Some(there)) = (record, there) else { return Err(lost(owner)) };
        let (namespaces, alias, target) = (self.namespaces(), record.alias(), record.target.clone());
        let seen = blocking(move || {
            let found = inside::find(&*namespaces, &there, &alias)?;
            let Some(inside::Found { mut netlink, link, .. }) = found else { return Ok(None) };
            let addresses = netlink.addresses()?.into_iter().filter(|a| a.index == link.index);
            let addresses: Vec<IpNet> =
                addresses.map(|a| a.net).filter(|n| !inside::is_automatic(n)).collect();
            let routes = netlink.routes()?;
            Ok::<_, InsideError>(Some((addresses, routes, link)))
        });
        let seen = seen.await.map_err(|source| AttachFailure::Inside { target, source: source.into() })?;
        let Some((mut addresses, routes, link)) = seen else { return Err(lost(owner)) };
        addresses.sort_by_key(|net| net.addr().is_ipv6());
        let (dns, search) = self.names(&record);
        Ok(RuntimeInterface {
            routes: routes.iter().filter(|route| route.oif == Some(link.index)).filter_map(shown).collect(),
            name: link.name,
            mac: link.mac,
            mtu: link.mtu,
            addresses,
            dns,
            search,
        })
    }

    /// Ends what an owner has. `false`: it has nothing.
    ///
    /// # Errors
    /// Something could not be undone.
    pub async fn detach_for_runtime(&self, owner: &RuntimeOwner) -> Result<bool, AttachFailure> {
        let mut any = false;
        for record in self.of_runtime(owner) {
            any |= self.detach_by_id(&record.id, !is_named(&record)).await?;
        }
        Ok(any)
    }

    /// Ends what a runtime's network has beside these containers' interfaces. Returns how many there were.
    ///
    /// # Errors
    /// Something could not be undone; the others are ended all the same.
    pub async fn keep_for_runtime(
        &self,
        api: RuntimeApi,
        network: &str,
        kept: &[(String, IfName)],
    ) -> Result<usize, AttachFailure> {
        let (mut ended, mut failed) = (0, None);
        for record in self.records() {
            let Origin::Runtime(owner) = &record.origin else { continue };
            let is_kept = kept.iter().any(|(id, name)| (id, name) == (&owner.container, &owner.interface));
            if owner.api != api || owner.network != network || is_kept {
                continue;
            }
            match self.detach_by_id(&record.id, !is_named(&record)).await {
                Ok(was_there) => ended += usize::from(was_there),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(ended), Err)
    }

    /// The endpoints of the container that a runtime calls so, by its name or its id. Docker knows nothing of it.
    pub fn of_container(&self, called: &str) -> Vec<EndpointId> {
        let records = self.records();
        let its = records.iter().filter(|record| match &record.origin {
            Origin::Runtime(owner) => owner.shown() == called || owner.container == called,
            _ => false,
        });
        its.map(|record| record.id.endpoint().clone()).collect()
    }

    /// Names the containers of runtimes, of which Docker knows nothing.
    pub fn name_containers(&self, views: &mut [EndpointView]) {
        for record in self.records() {
            let Origin::Runtime(owner) = &record.origin else { continue };
            let own = record.id.endpoint().as_str();
            if let Some(view) = views.iter_mut().find(|view| view.endpoint == own) {
                view.container = Some(owner.shown().to_owned());
                view.container_id = Some(owner.container.clone());
            }
        }
    }

    /// The runtime may not have said that a container has ended whose owner it starts again, after a reboot for instance.
    async fn end_elsewhere(&self, owner: &RuntimeOwner, sandbox: &Path) -> Result<(), AttachFailure> {
        for record in self.of_runtime(owner) {
            let Some(there) = &record.inside else { continue };
            let (namespaces, path, namespace) =
                (self.namespaces(), sandbox.to_owned(), there.namespace.clone());
            let same = blocking(move || namespaces.name_at(&path) == Some(namespace)).await;
            if !same {
                self.detach_by_id(&record.id, false).await?;
            }
        }
        Ok(())
    }

    fn of_runtime(&self, owner: &RuntimeOwner) -> Vec<AttachmentRecord> {
        let is_its =
            |record: &AttachmentRecord| matches!(&record.origin, Origin::Runtime(own) if own.is_same(owner));
        self.records().into_iter().filter(is_its).collect()
    }

    /// The DNS servers and search domains of the attachment's LAN.
    fn names(&self, record: &AttachmentRecord) -> (Vec<std::net::IpAddr>, Vec<String>) {
        let Some(endpoint) = self.engine.endpoint(record.id.endpoint()) else { return Default::default() };
        let lease = endpoint.status().and_then(|status| status.lease);
        let ipv6 = endpoint.status6().map(|status| status.current);
        names_of(lease.as_ref(), ipv6.as_ref())
    }
}

/// Whether a container may come back that has the same name.
pub fn is_named(record: &AttachmentRecord) -> bool {
    matches!(&record.origin, Origin::Runtime(owner) if owner.name.is_some())
}

fn lost(owner: &RuntimeOwner) -> AttachFailure {
    AttachFailure::NotThere { interface: owner.interface.clone(), container: owner.shown().to_owned() }
}

/// A route as runtimes are told of it; `None`: it comes with an address, or is no ordinary one.
fn shown(route: &Route) -> Option<(IpNet, Option<std::net::IpAddr>)> {
    let told = route.kind == RouteKind::Unicast
        && route.table == Route::MAIN_TABLE
        && route.protocol != Route::BY_KERNEL
        && !inside::is_automatic(&route.destination);
    told.then_some((route.destination, route.gateway))
}

impl AttachFailure {
    /// Of which kind it is, for runtimes.
    pub fn kind(&self) -> RuntimeFailure {
        match self {
            Self::Gone { .. } => RuntimeFailure::NoSandbox,
            Self::NameTaken { .. } => RuntimeFailure::NameTaken,
            Self::Unknown { .. } | Self::NotThere { .. } => RuntimeFailure::Lost,
            Self::Parent(error) | Self::Endpoint(CreateEndpointError::Parent { source: error, .. }) => {
                match error {
                    ParentError::Missing { .. } | ParentError::Down { .. } => RuntimeFailure::Later,
                    _ => RuntimeFailure::Request,
                }
            }
            Self::NetworkLinks(_)
            | Self::CardAway { .. }
            | Self::Cancelled
            | Self::Endpoint(
                CreateEndpointError::NoLease { .. }
                | CreateEndpointError::NoUsableLease { .. }
                | CreateEndpointError::HeldBack { .. }
                | CreateEndpointError::Cancelled,
            ) => RuntimeFailure::Later,
            Self::InUse { .. }
            | Self::ProxyArp { .. }
            | Self::NotPermitted(_)
            | Self::Endpoint(
                CreateEndpointError::InUse { .. }
                | CreateEndpointError::ProxyArp { .. }
                | CreateEndpointError::NotPermitted { .. }
                | CreateEndpointError::OtherAddress { .. }
                | CreateEndpointError::MacInUse { .. },
            ) => RuntimeFailure::AddressTaken,
            Self::Host(_)
            | Self::Differs { .. }
            | Self::NoSuchCard(_)
            | Self::MayNotMake(_)
            | Self::Contradiction(_)
            | Self::Option(_)
            | Self::Endpoint(
                CreateEndpointError::BadMac(_)
                | CreateEndpointError::ZeroMac(_)
                | CreateEndpointError::MacIsParents { .. }
                | CreateEndpointError::ClientId { .. },
            ) => RuntimeFailure::Request,
            _ => RuntimeFailure::Other,
        }
    }
}
