//! What people write: network options, endpoint options and their meaning.
//!
//! Everything here comes from outside and is hostile until parsed: `docker network create -o key=value`,
//! `--driver-opt` on an endpoint, container hostnames, the ids in Docker's requests. Parsing is total, does no
//! IO, and turns text into types at the door; what could be wrong with a text is an error whose message tells
//! the user what to type instead.
//!
//! The shape: [`NetworkOptions::parse`] and [`EndpointOptions::parse`] take the option maps; the words they use
//! are one small type per file. An option this version does not have is refused, never silently accepted.

mod client_id;
mod duration;
mod endpoint;
mod error;
mod given;
mod hostname;
mod ids;
mod keys;
mod network;
mod words;

pub use client_id::{ClientIdContext, ClientIdError, ClientIdTemplate, ClientIdTemplateError};
pub use duration::{DurationError, parse_duration};
pub use endpoint::EndpointOptions;
pub use error::OptionError;
pub use hostname::{Hostname, HostnameError};
pub use ids::{EndpointId, IdError, NetworkId};
pub use network::{
    DEFAULT_LEASE_TIMEOUT, DEFAULT_RELEASE_AFTER, DEFAULT_VENDOR_CLASS, LEASE_TIMEOUT_RANGE, NetworkOptions,
};
pub use words::{
    Addressing, ConflictCheck, Fqdn, HostnameMode, Ipv6Address, Ipv6Mode, LinkMtu, MacvlanMode, Mode, Mtu,
    MtuError, MtuSource, OnTimeout, Release,
};
