//! One DHCP client per endpoint: the machine of `landline-dhcp` with sockets, a clock and a sandbox around it.
//!
//! [`supervisor`] is the task that owns the machine, [`handle`] what others have of it; [`wire`] opens its sockets where the link is and only
//! while the machine wants them; [`motion`] notices when Docker has moved the link and set it up, and [`seat`] keeps where that is;
//! [`pace`] bounds what others can make it cost; [`troubles`] says what kept addresses from being used;
//! [`conflict_monitor`] hears without a socket of the endpoint's own who else claims its address.

mod conflict_monitor;
mod handle;
mod link_location;
mod pace;
mod sandbox_move;
mod sockets;
mod supervisor;
mod troubles;

pub use conflict_monitor::ConflictMonitor;
pub(crate) use handle::Command;
pub use handle::{Orders, Supervised};
pub(crate) use link_location::LinkLocation;
pub(crate) use pace::{Due, Pace, Quota, Spaced};
pub use sandbox_move::{MoveOutcome, SandboxMove, wait_for_move};
pub(crate) use sockets::hear;
pub use sockets::{DhcpSockets, Location, Received, heard, link_on_host};
pub(crate) use supervisor::{SET_UP, maybe};
pub use supervisor::{Services, Status, Supervisor, receive, sleep};
pub use troubles::Troubles;
