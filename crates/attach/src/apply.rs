//! Putting an attachment into a sandbox.

use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use landline_engine::{CreateEndpoint, container_name};
use landline_leases::OsRandom;
use landline_links::mark::{End, Mark};
use landline_links::routes::NextHop;
use landline_links::{Defaults, OpenNamespace, Task, Wanted, blocking, dress, facts_of};
use landline_model::{Applied, ContainerRecord, DefaultRecord, EndpointRecord, Holding};
use landline_options::{Addressing, AttachSpec, EndpointOptions, HostnameMode, LinkChoice, Parent, Target};
use landline_types::{IfName, Mac};
use tokio_util::sync::CancellationToken;

use super::inside::{self, InsideError};
use super::record::{AttachmentId, AttachmentRecord, Inside, Origin};
use super::view::AttachmentView;
use super::{AttachFailure, AttachRequest, Attachments, Slot, place, process_called};

impl Attachments {
    /// Attaches, and remembers it. What is attached there as wanted already stays as it is; what differs in its
    /// addresses alone is given those.
    ///
    /// # Errors
    /// See [`AttachFailure`]. Nothing is left then, unless the attachment was there before: then it is still remembered.
    pub async fn attach(
        &self,
        request: AttachRequest,
        cancel: CancellationToken,
    ) -> Result<AttachmentView, AttachFailure> {
        let (slot, known) = self.slot_for(&request)?;
        let turn = slot.turn.lock().await;
        let before = slot.read();
        if self.slots.get(&before.id).is_none() {
            // It was detached while this waited.
            return Err(AttachFailure::Cancelled);
        }
        let result = Box::pin(self.apply(&slot, &request, &cancel)).await;
        if let Err(error) = result {
            if known {
                self.remember(&slot, |record| record.spec = before.spec).await?;
            } else {
                self.slots.lock().remove(&before.id);
                self.engine.leave_network(&before.id.network()).await;
                self.shared.store.remove::<AttachmentRecord>(&before.id).await?;
            }
            return Err(error);
        }
        drop(turn);
        let view = self.view(&slot).await;
        if before.inside != slot.read().inside {
            let container = view.container.as_deref().unwrap_or(&view.target);
            tracing::info!(container, interface = view.interface, parent = view.parent, "attached");
        }
        Ok(view)
    }

    /// The attachment this is about, made if there is none. `true`: there was one.
    fn slot_for(&self, request: &AttachRequest) -> Result<(Arc<Slot>, bool), AttachFailure> {
        let mut slots = self.slots.lock();
        for slot in slots.values() {
            let record = slot.read();
            match is_same(&record, request) {
                Some(true) => return Ok((slot.clone(), true)),
                Some(false) => {
                    return Err(AttachFailure::Differs {
                        target: request.target.clone(),
                        name: record.name().unwrap_or_else(|| unreachable!("it was compared")),
                        parent: parent_text(&record.spec.parent),
                    });
                }
                None => {}
            }
        }
        if request.again {
            return Err(AttachFailure::Cancelled);
        }
        let id = AttachmentId::draw(&mut OsRandom);
        let record = AttachmentRecord {
            id: id.clone(),
            target: request.target.clone(),
            process: match request.target {
                Target::Pid(pid) => process_called(pid),
                _ => None,
            },
            spec: request.spec.clone(),
            origin: request.origin.clone(),
            container: request.place.container.clone(),
            network: None,
            nic: None,
            inside: None,
            card: None,
        };
        let slot = Slot::new(record);
        slots.insert(id, slot.clone());
        Ok((slot, false))
    }

    async fn apply(
        &self,
        slot: &Slot,
        request: &AttachRequest,
        cancel: &CancellationToken,
    ) -> Result<(), AttachFailure> {
        let (netns, namespace) =
            place::open(self.namespaces(), &request.target, &request.place.sandbox).await?;
        let record = slot.read();
        let mut spec = request.spec.clone();
        if matches!(request.origin, Origin::Command) {
            // As with several runs of pipework: each adds an address.
            let known = record
                .spec
                .addresses
                .iter()
                .filter(|a| spec.addresses.iter().all(|b| b.net.addr() != a.net.addr()));
            let all = known.copied().chain(spec.addresses.iter().copied()).collect();
            spec.addresses = all;
            spec.dhcp |= record.spec.dhcp;
        }
        if let Some(there) = record.inside.as_ref().filter(|inside| inside.namespace == namespace)
            && self.is_there(&record, there).await
        {
            let same_link = record.spec.dhcp == spec.dhcp && record.spec.options == spec.options;
            if same_link {
                let there = there.clone();
                self.add_addresses(slot, &request.target, &there, netns, &spec).await?;
                return self.remember(slot, |record| record.spec = spec).await;
            }
        }
        self.clear(slot).await?;
        let resolved = self.resolve(&spec).await?;
        if resolved.make && !request.may_make {
            return Err(AttachFailure::MayNotMake(resolved.parent));
        }
        if matches!(request.origin, Origin::Command | Origin::Runtime(_)) && !request.again {
            self.check_parent(&resolved).await?;
        }
        let look = netns.clone();
        let taken = blocking(move || inside::names(&*look)).await;
        let taken = taken.map_err(|error| inside_error(request, error))?;
        if let Some(name) = spec.ifname.as_ref().filter(|name| taken.contains(name)) {
            return Err(AttachFailure::NameTaken { target: request.target.clone(), name: name.clone() });
        }
        if resolved.make {
            self.make_parent(&resolved).await?;
        }
        let mut wanted = AttachmentRecord {
            spec: spec.clone(),
            container: request.place.container.clone(),
            network: resolved.network.clone(),
            ..slot.read()
        };
        let settled = match self.settle_parent(&record, &resolved).await {
            Ok(settled) => {
                (wanted.network, wanted.nic) = settled;
                self.remember(slot, |record| record.clone_from(&wanted)).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = settled {
            // What was made for it nobody else knows of.
            self.leave_parent(&wanted).await;
            return Err(error);
        }
        let put = Put { request, netns, namespace };
        let done = match self.enter_parent(&slot.read()).await {
            Err(error) => Err(error),
            Ok(()) if resolved.network.is_some() => Box::pin(self.put_endpoint(slot, &put, cancel)).await,
            Ok(()) => self.put_dummy(slot, &put).await,
        };
        if done.is_err() {
            self.clear(slot).await?;
            self.engine.leave_network(&record.id.network()).await;
            self.leave_parent(&slot.read()).await;
        }
        done
    }

    /// Whether the interface is in its sandbox and was set up to the end, as far as can be seen.
    pub(super) async fn is_there(&self, record: &AttachmentRecord, there: &Inside) -> bool {
        let set_up = match self.engine.endpoint(record.id.endpoint()) {
            Some(endpoint) => endpoint.state.read().await.interface.is_some(),
            None => there.dummy,
        };
        if !set_up {
            return false;
        }
        let (namespaces, there, alias) = (self.namespaces(), there.clone(), record.alias());
        // What it was called on the host.
        let before = record.card.as_ref().map_or_else(|| record.mark().link_name(), |card| card.name.clone());
        let look = move || inside::find(&*namespaces, &there, &alias).map(|found| (found, there.name));
        blocking(look).await.is_ok_and(|(found, name)| {
            found.is_some_and(|found| found.link.name == name || found.link.name != before)
        })
    }

    async fn put_endpoint(
        &self,
        slot: &Slot,
        put: &Put<'_>,
        cancel: &CancellationToken,
    ) -> Result<(), AttachFailure> {
        let record = slot.read();
        let network = record.network_record().ok_or(AttachFailure::Cancelled)?;
        let (options, id) = (network.options.clone(), record.id.clone());
        self.engine.enter_network(&network).await?;
        let card = if facts_of(options.mode).moves_parent() {
            self.take_card(slot, &options).await?.mac
        } else {
            None
        };
        let first = record.spec.first_v4().and_then(|address| match address.net {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        });
        // What a runtime asks for by address, it is to have.
        let named = record.spec.endpoint.ip.filter(|_| matches!(record.origin, Origin::Runtime(_)));
        let wanted = CreateEndpoint {
            network: network.id,
            endpoint: id.endpoint().clone(),
            mac: record.spec.mac.or(card),
            address_v6: None,
            address: first
                .filter(|_| options.addressing == Addressing::Static)
                .or_else(|| named.map(Ipv4Net::from)),
            options: EndpointOptions {
                id: Some(record.key()),
                hostname: record.spec.endpoint.hostname.clone().or_else(|| {
                    let named = options.hostname != HostnameMode::Off && record.spec.dhcp;
                    named.then(|| record.container.as_ref().and_then(hostname)).flatten()
                }),
                ..record.spec.endpoint.clone()
            },
            ports: std::collections::BTreeSet::new(),
            published: Vec::new(),
            candidates: Some(Vec::new()),
            reservation: None,
            host_end: record.spec.host_end.clone(),
        };
        self.engine.create_endpoint(wanted, cancel.clone()).await?;
        self.permit_addresses(&record, &record.spec).await?;
        self.check_addresses(&record, cancel).await?;

        let lock = self.slots.of_sandbox(&put.request.place.sandbox);
        let _alone = lock.lock().await;
        self.engine.join(id.endpoint(), Some(put.request.place.sandbox.clone()), None).await?;
        let endpoint = self.engine.endpoint(id.endpoint());
        if let Some(endpoint) = &endpoint {
            let wanted = self.engine.wanted_of(endpoint).await;
            let kept = matches!(record.origin, Origin::Runtime(_)) && self.has_default(put).await?;
            let default = wanted.as_ref().and_then(|wanted| wanted.routing.default).filter(|_| !kept);
            // The lease's task follows the default route from now on, which is set here, as are the other routes.
            let to_be = DefaultRecord {
                holding: match default {
                    _ if kept => Holding::Foreign,
                    Some(_) => Holding::Told,
                    None => Holding::Open,
                },
                told: default.and_then(NextHop::router),
                set: default.and_then(NextHop::router),
            };
            let ours = |record: &mut EndpointRecord| {
                record.applied.default = to_be;
                record.applied.routes.clear();
            };
            endpoint.state.update(ours).await?;
            let moved = self.move_in(slot, put, default.is_some()).await?;
            let (mac, own_v6) = {
                let record = endpoint.state.read().await;
                (record.mac, record.ipv6.is_some())
            };
            let setting = Setting { name: moved.clone(), wanted, default, own_v6, mac };
            self.set_up(slot, put, setting).await?;
        }
        // Host access wants to know where the link has gone.
        if let Some(endpoint) = endpoint {
            endpoint.state.was_set_up();
        }
        if let Some(container) = &put.request.place.container {
            self.engine.container_seen(id.endpoint(), container.clone()).await;
        }
        self.wait_for_dad(&record.target, put.netns.clone(), record.alias(), &record.spec).await
    }

    /// Whether the container has an IPv4 default route. A runtime gives it to the first of a container's networks that has
    /// one.
    async fn has_default(&self, put: &Put<'_>) -> Result<bool, AttachFailure> {
        let netns = put.netns.clone();
        let look = blocking(move || Ok::<_, InsideError>(inside::has_default_v4(&mut *netns.requests()?)?));
        look.await.map_err(|error| inside_error(put.request, error))
    }

    /// Moves the link, once what it replaces is written down.
    async fn move_in(&self, slot: &Slot, put: &Put<'_>, gateway: bool) -> Result<IfName, AttachFailure> {
        let record = slot.read();
        let (host, alias) = (self.shared.host.clone(), record.alias());
        let there = self.note_place(slot, put, gateway, false).await?;
        let netns = put.netns.clone();
        let mark = Mark::new(record.id.endpoint(), End::Host);
        blocking(move || {
            let links = host.links()?;
            let link = links.iter().find(|link| link.alias.as_deref() == Some(&*alias));
            let link = link.ok_or_else(|| landline_links::HostError::NoLink(mark.link_name()))?;
            netns.take(&*host, link.index)
        })
        .await?;
        Ok(there.name)
    }

    /// Chooses the interface's name and writes down where it will be, and which default routes it replaces: the IPv4 one also if
    /// a lease brings one (`gateway`).
    pub(super) async fn note_place(
        &self,
        slot: &Slot,
        put: &Put<'_>,
        gateway: bool,
        dummy: bool,
    ) -> Result<Inside, AttachFailure> {
        let record = slot.read();
        let (netns, (v4, v6)) = (put.netns.clone(), inside::gateways(&record.spec));
        let look = blocking(move || {
            let taken = inside::names(&*netns)?;
            let replaced = inside::defaults(&mut *netns.requests()?, 0, v4 || gateway, v6)?;
            Ok::<_, InsideError>((taken, replaced))
        });
        let (taken, replaced) = look.await.map_err(|error| inside_error(put.request, error))?;
        let name = record.spec.ifname.clone().unwrap_or_else(|| inside::free_name(&taken));
        if taken.contains(&name) {
            return Err(AttachFailure::NameTaken { target: record.target.clone(), name });
        }
        let there = Inside {
            sandbox: put.request.place.sandbox.clone(),
            namespace: put.namespace.clone(),
            name,
            replaced,
            dummy,
        };
        self.remember(slot, |record| record.inside = Some(there.clone())).await?;
        Ok(there)
    }

    /// Names the interface in its sandbox, sets it up, and gives it its addresses and routes.
    async fn set_up(&self, slot: &Slot, put: &Put<'_>, setting: Setting) -> Result<(), AttachFailure> {
        let record = slot.read();
        let (path, mark) = (put.request.place.sandbox.clone(), record.mark());
        let (spec, copy) = (record.spec.clone(), setting.name.clone());
        let defaults = match record.origin {
            Origin::Runtime(_) => Defaults::IfFree,
            _ => Defaults::Take,
        };
        let (sandboxes, netns) = (self.shared.services.sandboxes.clone(), put.netns.clone());
        let done = blocking(move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            let mut sandbox = sandboxes.enter(&path, &mark)?.ok_or(InsideError::Lost)?;
            sandbox.quiet_v6(setting.own_v6);
            sandbox.set_up(Some(copy))?;
            // What it is called has settings of its own.
            sandbox.quiet_v6(setting.own_v6);
            if let Some(wanted) = &setting.wanted {
                let default = DefaultRecord { holding: Holding::Foreign, ..DefaultRecord::default() };
                let mut applied = Applied { default, ..Applied::default() };
                let task = Task { wanted: Some(wanted), setting_up: false, shared: true };
                sandbox.configure(task, &mut applied)?;
                if let Some(hop) = setting.default {
                    sandbox.take_default(hop)?;
                }
            }
            let index = sandbox.link().index;
            dress(&*netns, &mut *netns.requests()?, index, &spec, defaults)?;
            netns.announce(index, setting.mac, &inside::announced(&spec))?;
            Ok(())
        });
        done.await.map_err(|source| AttachFailure::Inside { target: record.target.clone(), source })?;
        if let Some(endpoint) = self.engine.endpoint(record.id.endpoint()) {
            let name = setting.name;
            endpoint.state.update(|record| record.interface = Some(name)).await?;
        }
        Ok(())
    }

    /// Changes what is remembered of an attachment, on disk first.
    pub(super) async fn remember(
        &self,
        slot: &Slot,
        change: impl FnOnce(&mut AttachmentRecord),
    ) -> Result<(), AttachFailure> {
        let mut record = slot.read();
        change(&mut record);
        self.shared.store.put(&record).await?;
        *slot.record.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = record;
        Ok(())
    }
}

/// Where it is put.
pub(super) struct Put<'a> {
    pub(super) request: &'a AttachRequest,
    pub(super) netns: Arc<dyn OpenNamespace>,
    pub(super) namespace: String,
}

/// What the interface is to be.
struct Setting {
    name: IfName,
    wanted: Option<Wanted>,
    default: Option<NextHop>,
    own_v6: bool,
    mac: Mac,
}

pub(super) fn inside_error(request: &AttachRequest, error: InsideError) -> AttachFailure {
    AttachFailure::Inside { target: request.target.clone(), source: error.into() }
}

/// The name a container has on the LAN.
fn hostname(container: &ContainerRecord) -> Option<landline_options::Hostname> {
    container_name(container)?.parse().ok()
}

pub(super) fn parent_text(parent: &Parent) -> String {
    match parent {
        Parent::Name(name) => name.to_string(),
        Parent::Mac(mac) => format!("the card {mac}"),
        Parent::Dummy => "nothing".into(),
        Parent::Switch(dir) => dir.display().to_string(),
    }
}

/// Whether the request is about this attachment: `Some(false)` if about the same interface in another way.
fn is_same(record: &AttachmentRecord, request: &AttachRequest) -> Option<bool> {
    let same_container = match (&record.container, &request.place.container) {
        (Some(a), Some(b)) => a.id == b.id || a.name == b.name,
        _ => record.target == request.target,
    };
    match (&record.origin, &request.origin) {
        (Origin::Container(a), Origin::Container(b)) => (same_container && a == b).then_some(true),
        (Origin::Runtime(a), Origin::Runtime(b)) => a.is_same(b).then_some(true),
        (Origin::Container(_) | Origin::Runtime(_), _) | (_, Origin::Container(_) | Origin::Runtime(_)) => {
            None
        }
        (Origin::Config, Origin::Config) => {
            (record.target == request.target && record.spec == request.spec).then_some(true)
        }
        (a, b) if a != b => None,
        _ if !same_container => None,
        _ => {
            let (old, new) = (&record.spec, &request.spec);
            let same_wire = old.parent == new.parent
                && old.link == new.link
                && old.options.get("vlan") == new.options.get("vlan");
            let same_name = match (&new.ifname, record.name()) {
                (Some(new), Some(old)) => *new == old,
                (None, _) => {
                    old.ifname.is_none() && same_wire && *old == AttachSpec { ifname: None, ..new.clone() }
                }
                (Some(_), None) => false,
            };
            same_name.then_some(same_wire)
        }
    }
}

impl AttachmentRecord {
    /// What the interface is called, or will be.
    pub(super) fn name(&self) -> Option<IfName> {
        let there = self.inside.as_ref().map(|inside| inside.name.clone());
        there.or_else(|| self.spec.ifname.clone())
    }

    /// What its link is marked with.
    pub(super) fn alias(&self) -> String {
        self.mark().to_string()
    }

    pub(super) fn mark(&self) -> Mark {
        let end = if self.spec.link == LinkChoice::Nic { End::Card } else { End::Container };
        Mark::new(self.id.endpoint(), end)
    }
}
