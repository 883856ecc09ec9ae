//! What Landline asks of Linux: namespaces, links, addresses, routes, neighbours, per-link settings, packet
//! sockets and a clock that runs on while the machine sleeps.
//!
//! This crate speaks the kernel's words only. It knows nothing of containers, networks or leases, keeps no
//! state of its own, starts no thread that lives longer than a call, and never moves a thread of the caller
//! to another namespace. All `unsafe` of the workspace is in its module `sys`.
//!
//! - [`Netns`]: an open network namespace, and running code inside one.
//! - [`Netlink`]: a synchronous rtnetlink socket for questions and changes; [`Monitor`]: events, async;
//!   [`Generic`]: what is not about routes; [`Conntrack`]: tracked connections.
//! - [`PacketSocket`]: DHCP, ARP and neighbour discovery beneath the IP stack; [`UnicastSocket`]: datagrams through it;
//!   [`Groups`]: memberships.
//! - [`open_tap`]: a network interface whose packets a program sends and receives.
//! - [`sysctl`]: the settings netlink does not reach.
//! - [`nft`]: rules of the packet filter, through `nft(8)`.
//! - [`brport`]: a bridge port's.
//! - [`run_helper`]: programs that are run to their end, and waited for when this one ends.
//! - [`Inherited`]: sockets handed over by the service manager; [`Acceptor`]: connections to a socket;
//!   [`raise_descriptor_limit`].
//! - [`socket_file`]: the file that is a unix socket's name.
//! - [`MountWatch`], [`ProcessWatch`]: what happens to namespaces' paths and to processes; [`cgroups_in`]: who is in a namespace.
//! - [`local_time`]: the time of day where the user is.
//! - [`boottime`]: `CLOCK_BOOTTIME`, the boot id, and one timer for any number of sleepers.
//!
//! What blocks and what does not: everything is synchronous and short but for `Monitor::next`,
//! `PacketSocket::recv` and `Alarm::sleep_until`, which are async. [`Netlink`] calls wait for the kernel's
//! lock over all network devices, so an async program makes them on a thread that may wait.

mod accept;
pub mod boottime;
pub mod brport;
mod descriptors;
mod helper;
mod inherited;
mod local_time;
mod netlink;
mod netns;
pub mod nft;
mod packet;
mod processes;
mod sys;
pub mod sysctl;
mod tap;
mod unix;
mod watch;

pub use accept::{Acceptor, Failure, Failures, Listens, Seldom};
pub use descriptors::raise_descriptor_limit;
pub use helper::{finish_helpers, run_helper};
pub use inherited::Inherited;
pub use local_time::local_time;
pub use netlink::{
    Address, Connection, Conntrack, Event, Flow, Generic, Group, IpvlanMode, Link, LinkChange, LinkKind,
    MacvlanMode, Monitor, Neighbour, NeighbourState, Netlink, NetlinkError, NewLink, NewLinkKind, PeerLink,
    PortState, Qdisc, Route, RouteKind, Rule, RulesetMonitor, SockDiag, WholeAddress, WholeRoute,
};
pub use netns::{Netns, NetnsId};
pub use packet::{Groups, PacketSocket, Received, UnicastSocket};
pub use processes::cgroups_in;
pub use tap::open_tap;
pub use unix::{group_number, peer_groups, socket_file};
pub use watch::{MountWatch, NameWatch, ProcessWatch, process_age, process_start};
