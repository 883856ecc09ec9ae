//! Links on the host and in containers: what they are to be, who makes them, and what is seen of them.
//!
//! A [`LinkDriver`] (a file in `drivers/`) turns a request into a [`Plan`]; the [`Host`] carries plans out, all or nothing. Every
//! link of ours has a [`mark`](mod@mark), by which it is found again. [`LinkTable`] follows the host's links, [`Sandbox`] is the way into
//! a container's network namespace, and [`routes`] plans what a kernel takes of the routes that are offered there.
//!
//! Blocking work (netlink, disk) runs on blocking threads ([`blocking`](fn@blocking)).

mod apply;
mod blocking;
mod bridge_mac;
mod driver;
mod drivers;
mod facts;
mod host;
mod link_table;
pub mod mark;
mod namespaces;
pub mod network;
mod pending;
mod plan;
mod request;
pub mod routes;
mod sandbox;
mod sandboxes;
pub mod settings;
pub mod spanning_tree;
mod uses;
mod wire;

pub use apply::apply_and_wait_for_carrier;
pub use blocking::{blocking, look_again};
pub use bridge_mac::{BridgeMacs, KeptMac};
pub use driver::{ConnectedLink, LinkDriver, ParentError, check_vlan, find_parent};
pub use drivers::{driver_of, macvlan_word, mode_over, ovs, vde, vlan};
pub use facts::{
    HostEnd, LinkFacts, MacOf, ParentIs, Shim, VlanBy, facts_of, is_reflected, leads_over, wants_bridge_alone,
};
pub use host::{Host, HostError, LinuxHost, is_half_made, mark_of};
pub use link_table::{Carrier, LinkEvents, LinkTable, LinkUse};
pub use namespaces::{Events, LinuxNamespaces, Namespace, Namespaces, OpenNamespace};
pub use pending::Pending;
pub use plan::{DriverStep, LinkEnd, LinkType, Plan, Step};
pub use request::{LinkRequest, PlannedLink};
pub use sandbox::{Defaults, Sandbox, SandboxError, Task, Task6, Wanted, addresses_v6, announce, dress};
pub use sandboxes::{Changes, Inside, LinuxSandboxes, Sandboxes};

/// The host and the sandboxes of tests.
#[cfg(any(test, feature = "testing"))]
pub mod fake {
    pub use crate::host::fake::{FakeHost, link};
    pub use crate::namespaces::fake::{FakeNamespaces, Lists, Refused};
    pub use crate::sandbox::fake::{FakeLink, FakeSandboxes};
}
