//! rtnetlink: the kernel's tables of links, addresses, routes, neighbours and rules (`rtnetlink(7)`).
//!
//! The codec is our own: a few attributes out of the hundreds there are, read in a way that a link with
//! attributes younger than this program cannot break.

mod address;
mod attr;
mod bridge;
mod change;
mod conntrack;
mod error;
mod generic;
mod link;
mod monitor;
mod neighbour;
mod newlink;
mod port_vlan;
mod qdisc;
mod route;
mod rule;
mod ruleset;
mod sock_diag;
mod socket;
mod spanning_tree;
mod subscription;
mod uapi;
mod whole;

#[cfg(test)]
mod hostile;

pub use address::Address;
pub use change::LinkChange;
pub use conntrack::{Connection, Conntrack, Flow};
pub use error::NetlinkError;
pub use generic::Generic;
pub use link::{Link, LinkKind};
pub use monitor::{Event, Group, Monitor};
pub use neighbour::{Neighbour, NeighbourState};
pub use newlink::{IpvlanMode, MacvlanMode, NewLink, NewLinkKind, PeerLink};
pub use qdisc::Qdisc;
pub use route::{Route, RouteKind};
pub use rule::Rule;
pub use ruleset::RulesetMonitor;
pub use sock_diag::SockDiag;
pub use socket::Netlink;
pub use spanning_tree::PortState;
pub use whole::{WholeAddress, WholeRoute};
