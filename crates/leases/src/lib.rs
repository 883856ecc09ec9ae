//! Leases: the DHCP clients of containers, what they hear and say, and who has which address.
//!
//! Each DHCP endpoint has one task, its lease supervisor (`lease/`), which owns the DHCP machine. It is told things through a
//! channel and publishes what it knows through a `watch`. Endpoints with IPv6 have a second one for that ([`ipv6`]), of the same
//! kind. [`addressing`] decides which address a container may have. [`Foundation`] is what the engine and the features are
//! started on, and the [`Inventory`] is what all of them see of networks, endpoints and containers.

pub mod addressing;
pub mod clock;
mod endpoint_state;
#[cfg(any(test, feature = "testing"))]
pub mod fake;
mod foundation;
mod history;
mod inventory;
pub mod ipv6;
mod lease;
mod meters;
pub mod probe;
mod random;
pub mod sockets;
#[cfg(test)]
mod tests;
mod trace;

pub use endpoint_state::{EndpointState, removal};
pub use foundation::{Foundation, OpenError, Shared};
pub use history::{Happened, History, Noted};
pub use inventory::{Inventory, Ledger, Networks, Present};
pub use lease::{
    ConflictMonitor, HostClient, MoveOutcome, Orders, SandboxMove, Services, StationMonitor, StationWatch,
    Status, Supervised, Troubles, ipv4, wait_for_move,
};
pub use meters::{Direction, Family, FamilyMeter, Meters, NetworkMeter};
pub use random::OsRandom;
pub use sockets::{LinuxSockets, Location, Sockets, heard, link_on_host};
pub use trace::{Traced, Traces};
