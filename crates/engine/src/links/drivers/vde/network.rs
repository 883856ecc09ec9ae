//! The switches of `mode=vde` networks: what a network needs on the host besides its containers' links.

use std::path::{Path, PathBuf};

use landline_kernel::{Link, LinkKind};
use landline_spec::{LinkMtu, Mode, NetworkId, NetworkOptions, VdeOptions, VdePorts};
use landline_vde::SwitchConfig;

use super::{PlugIn, SWITCHES, StartSwitch, WIRE_MTU};
use crate::blocking;
use crate::engine::Engine;
use crate::host::{Host, HostError};
use crate::lease::Place;
use crate::mark::{NetworkMark, Role};
use crate::plan::{LinkEnd, LinkType, Plan, Step};
use crate::records::{EndpointRecord, NetworkRecord};

/// Why a network has no switch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VdeError {
    /// Nobody runs one there, and nobody is to start one.
    #[error(
        "no VDE switch runs in {}; start one there, or add -o create_sockets=true, and Landline does", .0.display()
    )]
    NoSwitch(PathBuf),
    /// The group that is to have it.
    #[error("this host has no group {0:?}; name one of /etc/group, or give a number, with -o socket_group")]
    NoGroup(String),
    /// The host's links, or the switch itself.
    #[error("the network's switch cannot be used")]
    Host(#[from] HostError),
}

impl Engine {
    /// Makes what the network needs of a switch and of its own links, as far as it is not there. `new`: the network is
    /// being created, so that a switch it is to join must be there.
    pub(crate) async fn open_switch(&self, network: &NetworkRecord, new: bool) -> Result<(), VdeError> {
        if network.options.mode != Mode::Vde {
            return Ok(());
        }
        let (host, id, options) = (self.host.clone(), network.id.clone(), network.options.clone());
        blocking(move || {
            let links = host.links()?;
            let plan = plan(&id, &options, &links, new)?;
            Ok(plan.apply(&*host)?)
        })
        .await
    }

    /// Ends a network's switch, if it is ours, and removes its links.
    pub(crate) async fn close_switch(&self, network: &NetworkRecord) {
        if network.options.mode != Mode::Vde {
            return;
        }
        let (host, id, options) = (self.host.clone(), network.id.clone(), network.options.clone());
        blocking(move || {
            if let Err(error) = close(&*host, &id, &options) {
                tracing::warn!(error = %crate::chain(&error), "the links of a network could not be removed");
            }
        })
        .await;
    }

    /// After a start, the end of the process that runs them, or when a bridge was removed: bridges are there, switches run and
    /// cables are plugged in, where they were not.
    pub(crate) async fn reopen_switches(&self) {
        let networks: Vec<NetworkRecord> = self.networks().values().cloned().collect();
        for network in networks.iter().filter(|network| network.options.mode == Mode::Vde) {
            if let Err(error) = self.open_switch(network, false).await {
                let network = network.id.short();
                tracing::warn!(network, error = %crate::chain(&error), "a VDE network is cut off for now");
            }
        }
        for endpoint in self.endpoints() {
            let record = endpoint.cell.read().await;
            self.plug_again(&record, endpoint.cell.options()).await;
        }
    }

    /// Brings switches back whose process has ended, whoever ended it.
    pub(crate) async fn keep_switches(
        engine: std::sync::Weak<Self>,
        ended: std::sync::Arc<tokio::sync::Notify>,
    ) {
        loop {
            ended.notified().await;
            let Some(engine) = engine.upgrade() else { return };
            engine.reopen_switches().await;
        }
    }

    /// Plugs the cable of an endpoint in again, if it has one.
    pub(crate) async fn plug_again(&self, record: &EndpointRecord, options: &NetworkOptions) {
        let (Mode::Vde, Some(dir)) = (options.mode, options.vde.socket_dir.clone()) else { return };
        let Some(place) = self.find(record).await else { return };
        let (host, id, link) = (self.host.clone(), record.id.clone(), record.link.clone());
        let plugged = blocking(move || {
            let sandbox = match &place {
                Place::Host(_) => None,
                Place::Sandbox(path) => Some(path.as_path()),
            };
            host.plug_again(&id, &link, sandbox, &dir)
        });
        if let Err(error) = plugged.await {
            let endpoint = record.id.short();
            tracing::warn!(endpoint, error = %crate::chain(&error), "a container is cut off from its VDE switch");
        }
    }
}

/// Gives a network's bridge its name.
pub(crate) fn name_bridge(id: &NetworkId, options: &mut NetworkOptions) {
    if options.mode == Mode::Vde {
        // The name is the same whatever the role.
        options.parent = NetworkMark::new(id, Role::Switch).link_name();
    }
}

/// The directory of the network's switch.
fn directory(id: &NetworkId, options: &NetworkOptions) -> PathBuf {
    options.vde.socket_dir.clone().unwrap_or_else(|| Path::new(SWITCHES).join(id.short()))
}

/// The bridge that is to stand for a network that joins a switch, and what would make it.
pub(crate) fn would_open(
    id: &NetworkId,
    options: &NetworkOptions,
    links: &[Link],
) -> Result<Option<(Link, Plan)>, VdeError> {
    let plan = plan(id, options, links, true)?;
    let bridge = plan.steps.iter().find_map(|step| match step {
        Step::AddLink { link, kind: LinkType::Bridge } => Some(link.clone()),
        _ => None,
    });
    let kind = LinkKind::Bridge { vlan_filtering: false };
    let link = bridge.zip(links.first()).map(|(end, any)| Link {
        name: end.name,
        mac: end.mac,
        mtu: end.mtu,
        alias: Some(end.alias),
        kind,
        ..any.clone()
    });
    Ok(link.map(|link| (link, plan)))
}

/// Makes what is not there yet: the bridge, the tap that leads to the switch, the switch.
fn plan(id: &NetworkId, options: &NetworkOptions, links: &[Link], new: bool) -> Result<Plan, VdeError> {
    let vde = &options.vde;
    let dir = directory(id, options);
    let bridge = links.iter().find(|link| link.name == options.parent);
    let mark_of = |link: &Link| NetworkMark::read(link.alias.as_deref()?).filter(|mark| mark.network == *id);
    let mut marks = links.iter().filter_map(mark_of);
    let role = match bridge.and_then(mark_of) {
        Some(mark) => mark.role,
        // Somebody has removed the bridge of our own switch, which has an uplink; where there are cables there is none.
        None if vde.vde_ports == VdePorts::Own && marks.any(|mark| mark.role == Role::Uplink) => Role::Switch,
        None => choose(vde, &dir, new)?,
    };
    let mtu = options.mtu.and_then(LinkMtu::fixed).unwrap_or(WIRE_MTU).max(WIRE_MTU);
    let end = |role: Role| {
        let mark = NetworkMark::new(id, role);
        // A bridge that was given an address keeps it, whatever ports come and go.
        let mac = Some(mark.mac());
        LinkEnd { name: mark.link_name(), mac, mtu, alias: mark.to_string(), silent: true }
    };
    let bridge_end = end(role);
    let mut steps = Vec::new();
    let name = bridge_end.name.clone();
    if bridge.is_none() {
        steps.push(Step::AddLink { link: bridge_end, kind: LinkType::Bridge });
    }
    if role != Role::Cables {
        let tap = end(Role::Uplink);
        let uplink = tap.name.clone();
        if !links.iter().any(|link| link.name == uplink) {
            steps.push(Step::AddLink { link: tap, kind: LinkType::Tap });
        }
        steps.push(Step::Enslave { link: uplink.clone(), bridge: name.clone() });
        steps.push(Step::ForwardGroups { port: uplink.clone() });
        steps.push(match role {
            Role::Switch => StartSwitch { config: config(dir, options)?, uplink: uplink.clone() }.into(),
            _ => PlugIn { tap: uplink.clone(), dir, patient: !new }.into(),
        });
        steps.push(Step::Up { link: uplink });
    }
    steps.push(Step::Up { link: name });
    Ok(Plan { steps })
}

/// What the network's bridge is for: whose is the switch?
fn choose(vde: &VdeOptions, dir: &Path, new: bool) -> Result<Role, VdeError> {
    let theirs = vde.socket_dir.is_some() && landline_vde::is_running(dir);
    if !theirs && (vde.socket_dir.is_none() || vde.create_sockets) {
        return Ok(Role::Switch);
    }
    // After a boot it may come later.
    if !theirs && new {
        return Err(VdeError::NoSwitch(dir.to_owned()));
    }
    Ok(match vde.vde_ports {
        VdePorts::Own => Role::Cables,
        VdePorts::Shared => Role::Shared,
    })
}

fn config(dir: PathBuf, options: &NetworkOptions) -> Result<SwitchConfig, VdeError> {
    let vde = &options.vde;
    let beside = || vde.socket_dir.is_none().then(|| dir.with_extension("mgmt.sock"));
    Ok(SwitchConfig {
        management: vde.management_socket.clone().or_else(beside),
        group: vde.socket_group.as_deref().map(group_number).transpose()?,
        ports: vde.num_switchports,
        dir,
    })
}

/// The number of a group that is given as a number, or by its name in `/etc/group` (group(5)).
fn group_number(name: &str) -> Result<u32, VdeError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let number = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    number.ok_or_else(|| VdeError::NoGroup(name.to_owned()))
}

fn close(host: &dyn Host, id: &NetworkId, options: &NetworkOptions) -> Result<(), HostError> {
    // A switch that it has joined is another's, if only another network's. One of ours ends before its interface goes:
    // it would take that for a fault.
    let runs_it = |link: &Link| mark(link, id).is_some_and(|mark| mark.role == Role::Switch);
    if host.links()?.iter().any(runs_it) {
        host.end_switch(&directory(id, options));
    }
    remove_links(host, id)
}

/// Removes the links of a network that are no endpoint's.
pub(crate) fn remove_links(host: &dyn Host, id: &NetworkId) -> Result<(), HostError> {
    for link in &host.links()? {
        if let (Some(_), Some(alias)) = (mark(link, id), &link.alias) {
            host.remove_marked(link.index, alias)?;
        }
    }
    Ok(())
}

/// What a link of this network is to it.
fn mark(link: &Link, id: &NetworkId) -> Option<NetworkMark> {
    link.alias.as_deref().and_then(NetworkMark::read).filter(|mark| mark.network == *id)
}

#[cfg(test)]
mod tests;
