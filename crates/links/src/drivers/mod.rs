//! The link drivers, one file or directory each.

mod bridge;
mod ipvlan;
mod macvlan;
mod nat;
mod nic;
pub mod ovs;
pub mod vde;
pub mod vlan;

use landline_options::Mode;

use super::LinkDriver;

/// The driver behind a mode.
pub fn driver_of(mode: Mode) -> &'static dyn LinkDriver {
    match mode {
        Mode::Bridge => &bridge::Bridge,
        Mode::Macvlan => &macvlan::Macvlan,
        Mode::Ipvlan => &ipvlan::Ipvlan,
        Mode::Ovs => &ovs::Ovs,
        Mode::Vde => &vde::Vde,
        Mode::Nat => &nat::Nat,
        Mode::Nic => &nic::Nic,
    }
}
