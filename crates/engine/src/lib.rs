//! Networks, endpoints and identities: what Docker asks for, and what is kept as it is to be.
//!
//! [`Engine`] is the entry point. Its methods are idempotent by id and never ask Docker. It knows no feature: those that take part
//! in the answers to Docker are its [`Admission`]s, and all follow its [`Inventory`](landline_leases::Inventory). It is started on a
//! [`Foundation`](landline_leases::Foundation); the daemon does that.
//!
//! - Each endpoint has its tasks in `landline_leases`; operations on one endpoint run one after the other.
//! - One task follows the host's link events, so that what is missing is made again (`repair`).
//! - What must survive is in the store before anything is answered.
//!
//! Blocking work (netlink, disk) runs on blocking threads; nothing polls and nothing sleeps a fixed time.

mod address_state;
mod admission;
mod adopt;
mod carrier;
mod containers;
mod delete;
mod duplicate;
mod endpoints;
mod engine;
mod first_ipv6;
mod first_lease;
mod forget;
mod identities;
mod identity;
mod inspect;
mod join;
mod late;
mod lease_ahead;
mod moving;
mod names;
mod network_links;
mod networks;
mod no_lease;
mod orphans;
mod own_networks;
mod parent_links;
mod reconcile;
mod release;
mod remake;
mod repair;
mod reservation;
mod starting;
mod static_address;
mod translated;
mod view;
mod wait;

pub use address_state::{AddressState, UnknownState};
pub use admission::{
    AddressNews, Admission, Admissions, Done, EndpointRequest, NetworkRequest, Refusal, Verdict, Withdrawn,
};
pub use containers::ForgetError;
pub use delete::DeleteEndpointError;
pub use endpoints::{
    CreateEndpoint, CreateEndpointError, EndpointAddress, Published, container_name, network_name, random_mac,
};
pub use engine::{Endpoint, Engine, Turn};
pub use forget::ForgetNetworkError;
pub use identities::Derivation;
pub use identity::Candidate;
pub use inspect::{Inspection, LeaseView, OptionView};
pub use join::{JoinAnswer, JoinError};
pub use lease_ahead::LeaseAheadError;
pub use moving::{ExportedIdentity, IdentityExport, ImportError, Imported};
pub use names::names_of;
pub use networks::{CreateNetwork, CreateNetworkError, DeleteNetworkError, NetworkIpam, PoolV6};
pub use parent_links::{ParentLinks, WantedLink};
pub use reservation::{Reservation, ReservationError};
pub use starting::Starting;
pub use translated::TranslatedError;
pub use view::{EndpointView, IdentityView, Ipv6View, NetworkView};
pub use wait::Awaited;

#[cfg(test)]
mod tests;
