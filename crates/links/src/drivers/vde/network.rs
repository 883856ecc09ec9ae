//! The switches of `mode=vde` networks: what a network needs on the host besides its containers' links.

use std::path::{Path, PathBuf};

use landline_kernel::Link;
use landline_options::{LinkMtu, NetworkId, NetworkOptions, VdeOptions, VdePorts};
use landline_vde::SwitchConfig;

use super::{EndSwitch, PlugIn, SWITCHES, StartSwitch, WIRE_MTU};
use crate::host::HostError;
use crate::mark::{NetworkMark, Role, is_implicit};
use crate::network::NetworkLinksError;
use crate::plan::{LinkEnd, LinkType, Plan, Step};

/// Why a network has no switch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VdeError {
    /// Nobody runs one there, and nobody is to start one.
    #[error(
        "no VDE switch runs in {}; start one there, or add -o create_sockets=true, and Landline does", .0.display()
    )]
    NoSwitch(PathBuf),
    /// The same for an attachment, which starts no switch.
    #[error("no VDE switch runs in {dir}; start one there: vde_switch -d -s {dir}", dir = .0.display())]
    NoSwitchToJoin(PathBuf),
    /// The group that is to have it.
    #[error("this host has no group {0:?}; name one of /etc/group, or give a number, with -o socket_group")]
    NoGroup(String),
    /// The host's links, or the switch itself.
    #[error("the network's switch cannot be used")]
    Host(#[from] HostError),
}

impl From<VdeError> for NetworkLinksError {
    fn from(error: VdeError) -> Self {
        Self::Failed(error.into())
    }
}

/// The directory of the network's switch.
fn directory(id: &NetworkId, options: &NetworkOptions) -> PathBuf {
    options.vde.socket_dir.clone().unwrap_or_else(|| Path::new(SWITCHES).join(id.short()))
}

/// Makes what is not there yet: the bridge, the tap that leads to the switch, the switch.
pub(super) fn plan(
    id: &NetworkId,
    options: &NetworkOptions,
    links: &[Link],
    new: bool,
) -> Result<Plan, VdeError> {
    let vde = &options.vde;
    let dir = directory(id, options);
    let bridge = links.iter().find(|link| link.name == options.parent);
    let mark_of = |link: &Link| NetworkMark::read(link.alias.as_deref()?).filter(|mark| mark.network == *id);
    let mut marks = links.iter().filter_map(mark_of);
    let role = match bridge.and_then(mark_of) {
        Some(mark) => mark.role,
        // Somebody has removed the bridge of our own switch, which has an uplink; where there are cables there is none.
        None if vde.vde_ports == VdePorts::Own && marks.any(|mark| mark.role == Role::Uplink) => Role::Switch,
        None => choose(id, vde, &dir, new)?,
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
        steps.push(Step::SetController { link: uplink.clone(), bridge: name.clone() });
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
fn choose(id: &NetworkId, vde: &VdeOptions, dir: &Path, new: bool) -> Result<Role, VdeError> {
    let theirs = vde.socket_dir.is_some() && landline_vde::is_running(dir);
    if !theirs && (vde.socket_dir.is_none() || vde.create_sockets) {
        return Ok(Role::Switch);
    }
    // After a boot it may come later.
    if !theirs && new {
        let dir = dir.to_owned();
        return Err(if is_implicit(id) { VdeError::NoSwitchToJoin(dir) } else { VdeError::NoSwitch(dir) });
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
        group: vde.socket_group.as_deref().map(group).transpose()?,
        ports: vde.num_switchports,
        dir,
    })
}

fn group(name: &str) -> Result<u32, VdeError> {
    landline_kernel::group_number(name).ok_or_else(|| VdeError::NoGroup(name.to_owned()))
}

/// Ends a network's switch if it is ours. One that it has joined is another's, if only another network's. It ends before its
/// interface goes: it would take that for a fault.
pub(super) fn end(id: &NetworkId, options: &NetworkOptions, links: &[(Link, NetworkMark)]) -> Option<Step> {
    let own = links.iter().any(|(_, mark)| mark.role == Role::Switch);
    own.then(|| EndSwitch { dir: directory(id, options) }.into())
}

#[cfg(test)]
mod tests;
