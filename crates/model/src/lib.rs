//! What Landline remembers, as plain data: networks, endpoints, identities and leases as they are stored.
//!
//! Nothing here reads a clock, draws a random number or touches a file: the caller passes in the time ([`Now`]) and the
//! randomness ([`landline_dhcp::Random`]). Each record is one row of the store. A field that was added later has a default, so that
//! rows written by older versions still read.

mod called;
mod clock;
mod derived;
mod event;
mod identity;
mod ipv6;
mod known_by;
mod nat;
mod record;
mod records;
mod resolver;
mod routes;
mod runtime;

pub use called::Called;
pub use clock::Now;
pub use derived::{DerivedIdentity, SiteKey, SiteKeyError};
pub use event::{EventKind, EventRecord};
pub use identity::{IdentityId, IdentityIdError, IdentityRecord, Port};
pub use ipv6::{Defaults6, Ipv6Identity, Ipv6Record, Route6, StateRecord, drawn_uuid};
pub use known_by::KnownBy;
pub use nat::{NatBinding, NatOwner, NoOwner};
pub use record::Record;
pub use records::{
    AddressRecord, Applied, ContainerRecord, DhcpRecord, EndpointRecord, LeaseRecord, NetworkRecord,
};
pub use resolver::ResolverFile;
pub use routes::{DefaultRecord, DroppedRoute, Holding, WhyDropped};
pub use runtime::{RuntimeApi, RuntimeFailure, RuntimeInterface, RuntimeOwner};
