//! The product: networks, endpoints, links, addressing, leases and the store.
//!
//! # Who does what
//! - [`Engine`] is the entry point for networks and endpoints. Its methods are idempotent by id and never ask Docker. It knows no
//!   feature: those that take part in the answers to Docker are its [`Admission`]s, and all follow its [`Inventory`].
//! - [`Foundation`] is what the engine and the features are started on; the daemon does that.
//! - A link kind (`links/`) turns a request into a [`Plan`]; the [`Host`] carries plans out, all or nothing.
//! - Each DHCP endpoint has one task, its lease supervisor (`lease/`), which owns the DHCP machine. It is told
//!   things through a channel and publishes what it knows through a `watch`.
//! - Endpoints with IPv6 have a second one for that (`ipv6/`), of the same kind.
//! - One task follows the host's link events, so that supervisors notice when Docker moves a link.
//! - One task gives containers addresses on the host, translated (`nat/`).
//! - One task gives the host access to containers on its NICs (`host_access/`).
//! - A process of its own runs VDE switches and cables (`vde/`, [`run_switches`]) and outlives this one.
//! - One file (`store`) has everything that must survive; it is written before anything is answered.
//!
//! Blocking work (netlink, disk) runs on blocking threads; nothing polls and nothing sleeps a fixed time.

mod admission;
mod adopt;
mod carrier;
mod collisions;
mod containers;
mod delete;
mod endpoints;
mod engine;
mod first_ipv6;
mod first_lease;
mod fixed;
mod forget;
mod forgotten;
pub mod host_access;
mod identities;
mod identity;
mod inspect;
mod join;
mod nat_binding;
mod nat_bridge;
mod network_links;
mod networks;
mod no_lease;
mod reconcile;
mod refused_starts;
mod release;
mod remake;
mod repair;
mod reservation;
mod resolver;
mod switch_ports;
mod view;

pub use admission::{
    AddressNews, Admission, Admissions, Done, EndpointRequest, NetworkRequest, Refusal, Verdict, Withdrawn,
};
pub use collisions::Collision;
pub use containers::ForgetError;
pub use delete::DeleteEndpointError;
pub use endpoints::{
    CreateEndpoint, CreateEndpointError, EndpointAddress, container_name, first_name, network_name,
    random_mac,
};
pub use engine::Engine;
pub use forget::ForgetNetworkError;
pub use host_access::{
    AccessContainer, AccessError, AccessOrigin, AccessState, AccessView, FilterCheck, HostAccess, Keeper,
    LoosenedRecord, Member, Seen, SeenNetwork, StrictFilter, Wire,
};
pub use identities::{Derivation, erase};
pub use identity::{Candidate, Wish};
pub use inspect::{Inspection, LeaseView, OptionView};
pub use join::{JoinAnswer, JoinError};
pub use nat_binding::Published;
pub use nat_bridge::PrivateError;
pub use networks::{CreateNetwork, CreateNetworkError, DeleteNetworkError, NetworkIpam, PoolV6};
pub use refused_starts::RefusedStart;
pub use reservation::{Reservation, ReservationError};
pub use view::{EndpointView, IdentityView, Ipv6View, NetworkView};

#[cfg(test)]
mod tests;
