//! The link drivers, one file or directory each.

mod bridge;
mod ipvlan;
mod macvlan;
mod nat;
mod nic;
pub mod ovs;
mod routed;
pub mod vde;
pub mod vlan;

use std::sync::Arc;

use landline_kernel::{Link, LinkKind as Kind};
use landline_options::Mode;
use landline_types::IfName;
use tokio::sync::Notify;

pub(crate) use self::macvlan::macvlan_mode;
pub use self::macvlan::macvlan_word;
use super::LinkDriver;
use crate::host::HostError;

/// The driver behind a mode.
pub fn driver_of(mode: Mode) -> &'static dyn LinkDriver {
    match mode {
        Mode::Bridge => &bridge::Bridge,
        Mode::Macvlan => &macvlan::Macvlan,
        Mode::Ipvlan => &ipvlan::Ipvlan,
        Mode::Ovs => &ovs::Ovs,
        Mode::Vde => &vde::Vde,
        Mode::Nat => &nat::Nat,
        Mode::Routed => &routed::Routed,
        Mode::Nic => &nic::Nic,
    }
}

/// The mode that a parent of this name and kind suggests; `None`: it is not there yet, and would be a bridge.
pub fn mode_over(name: &IfName, parent: Option<&Link>) -> Mode {
    match parent.map(|link| &link.kind) {
        None if name.as_str().starts_with("ovs") => Mode::Ovs,
        Some(Kind::Bridge { .. }) | None => Mode::Bridge,
        Some(Kind::OpenVswitch | Kind::Tun) => Mode::Ovs,
        Some(_) => Mode::Macvlan,
    }
}

/// The mode whose links are like this child of a NIC.
pub(crate) fn mode_of_child(child: &Link) -> Option<Mode> {
    match child.kind {
        Kind::Macvlan { .. } | Kind::Macvtap => Some(Mode::Macvlan),
        Kind::Ipvlan { .. } => Some(Mode::Ipvlan),
        _ => None,
    }
}

/// What drivers keep besides the kernel's links while the daemon runs.
pub(crate) struct DriverState {
    /// The taps that nobody else holds yet, and the process that runs switches and cables.
    vde: vde::Switching,
}

impl DriverState {
    /// For the calling thread's namespace.
    pub(crate) fn new() -> Result<Self, HostError> {
        Ok(Self { vde: vde::Switching::new()? })
    }

    /// See [`Host::connections_lost`](crate::Host::connections_lost).
    pub(crate) fn connections_lost(&self) -> Arc<Notify> {
        self.vde.ended.clone()
    }

    /// Makes a tap in the calling thread's namespace, and holds it for the step that connects it.
    pub(crate) fn make_tap(&self, name: &IfName) -> Result<(), HostError> {
        self.vde.make_tap(name)
    }

    /// Lets go of a tap that no step has connected.
    pub(crate) fn drop_tap(&self, name: &IfName) {
        self.vde.drop_tap(name);
    }
}
