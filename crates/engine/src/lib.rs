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

mod addressing;
mod admission;
mod adopt;
mod attach;
mod bridge_mac;
mod carrier;
mod cell;
mod clock;
mod collisions;
mod containers;
mod delete;
mod doctor;
mod endpoints;
mod engine;
mod first_ipv6;
mod first_lease;
mod fixed;
mod forget;
mod forgotten;
mod foundation;
mod host;
mod host_access;
mod host_lease;
mod identities;
mod identity;
mod inspect;
mod inventory;
mod ipv6;
mod join;
mod lay;
mod lease;
mod link_table;
mod links;
mod mark;
mod nat;
mod nat_binding;
mod nat_bridge;
mod network_links;
mod networks;
mod no_lease;
mod pending;
mod plan;
mod pools;
mod probe;
mod random;
mod reconcile;
mod refused_starts;
mod release;
mod remake;
mod repair;
mod reservation;
mod resolver;
mod routes;
mod sandbox;
mod spanning_tree;
mod switch_ports;
pub mod uplink;
mod view;

pub use admission::{
    AddressNews, Admission, Admissions, Done, EndpointRequest, NetworkRequest, Refusal, Verdict, Withdrawn,
};
pub use attach::{
    AttachFailure, AttachRequest, AttachmentId, AttachmentRecord, AttachmentSlots, AttachmentView,
    Attachments, Chosen, Occupied, Origin, namespace_at, process_called,
};
pub use bridge_mac::KeptMac;
pub use containers::ForgetError;
pub use delete::DeleteEndpointError;
pub use doctor::{Doctor, DroppedError, Finding, FirewallCheck, Report};
pub use endpoints::{CreateEndpoint, CreateEndpointError, EndpointAddress};
pub use engine::Engine;
pub use forget::ForgetNetworkError;
pub use foundation::{Foundation, OpenError};
pub use host::{Host, HostError, LinuxHost};
pub use host_access::{
    AccessContainer, AccessError, AccessOrigin, AccessState, AccessView, FilterCheck, HostAccess, Keeper,
    LoosenedRecord, Member, Seen, SeenNetwork, StrictFilter, Wire,
};
pub use host_lease::{HostLease, HostLeases};
pub use identities::Derivation;
pub use identity::Candidate;
pub use inspect::{Inspection, LeaseView, OptionView};
pub use inventory::Inventory;
pub use join::{JoinAnswer, JoinError};
pub use links::ovs::{Datapath, OvsView};
pub use links::vde::{SwitchProcessError, VdeError, run_switches};
pub use links::vlan::VlanError;
pub use links::{ParentError, wants_bridge_alone};
pub use nat::{
    Nat, NatContainer, NatError, NatLease, NatRecord, NatSeen, NatState, NatView, OpeningRecord,
    PrivateRefusal,
};
pub use nat_binding::Published;
pub use nat_bridge::PrivateError;
pub use networks::{CreateNetwork, CreateNetworkError, DeleteNetworkError, NetworkIpam, PoolV6};
pub use plan::{DriverStep, LinkEnd, LinkType, Plan, Step};
pub use pools::{
    AdoptPool, Ipam, PoolError, PoolId, PoolRecord, PoolRefusal, Pools, RequestAddress, RequestAddressError,
    RequestPool, RequestPoolError, TakeError,
};
pub use refused_starts::RefusedStart;
pub use reservation::{Reservation, ReservationError};
pub use view::{EndpointView, IdentityView, Ipv6View, NetworkView};

#[cfg(test)]
mod tests;

/// Looks at the host until that works: with a pause, which grows, after each failure.
pub(crate) async fn look_again<T: Send + 'static>(
    what: &'static str,
    look: impl Fn() -> std::io::Result<T> + Clone + Send + 'static,
) -> T {
    const FIRST: std::time::Duration = std::time::Duration::from_millis(100);
    const LONGEST: std::time::Duration = std::time::Duration::from_secs(10);
    let mut pause = FIRST;
    loop {
        match blocking(look.clone()).await {
            Ok(seen) => return seen,
            // One line for each time it began to fail.
            Err(error) if pause == FIRST => tracing::warn!(%error, "cannot list {what}; trying again"),
            Err(error) => tracing::debug!(%error, ?pause, "cannot list {what}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// Runs blocking work without holding up the runtime; a panic in it goes on here.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // A panic goes on where it would have been without the thread; a runtime that is shutting down drops
        // this task at its next await anyway.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}
