//! The lease supervisors: for each endpoint and family a task with a machine of `landline-dhcp`, its sockets, a clock and the sandbox.
//!
//! [`supervisor`] is the task that owns a [`machine`] of either family, [`handle`] what others have of it, and [`ipv4`] the machine of IPv4;
//! sockets are open only while the machine wants them; [`sandbox_move`] notices when Docker has moved the link and set it up, and [`link_location`] keeps where that is; [`pace`] bounds what others can
//! make it cost; [`troubles`] says what kept addresses from being used; [`conflict_monitor`] hears without a socket of
//! the endpoint's own who else claims its address, and [`station_monitor`] who else has its hardware address, by one of the [`listeners`] that all endpoints on a parent share. [`host_client`] is
//! the client of an address of the host's own.

mod client;
mod conflict_monitor;
mod handle;
mod host_client;
pub mod ipv4;
mod link_location;
mod listeners;
mod machine;
mod pace;
mod sandbox_move;
mod services;
mod station_monitor;
mod supervisor;
mod troubles;

pub use conflict_monitor::ConflictMonitor;
pub use handle::{Orders, Supervised};
pub use host_client::HostClient;
pub use ipv4::Status;
pub(crate) use listeners::{Hears, Listener, Listeners};
pub(crate) use machine::{Base, Job, Machine, Opener};
pub(crate) use pace::Due;
pub use sandbox_move::{MoveOutcome, SandboxMove, wait_for_move};
pub use services::Services;
pub use station_monitor::{StationMonitor, StationWatch};
pub(crate) use supervisor::Supervisor;
pub use troubles::Troubles;
