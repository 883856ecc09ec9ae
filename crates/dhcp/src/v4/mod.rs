//! A DHCPv4 client (RFC 2131) with address conflict detection (RFC 5227).
//!
//! [`Client`] is the machine; [`Config`] says who it is and what it wants, [`Lease`] is what it gets, [`Event`] what
//! it tells. See the crate's documentation for when to poll what.

mod client;
mod client_id;
mod config;
mod describe;
mod exchange;
mod fqdn;
mod grant;
mod guard;
mod lease;
mod messages;
mod options;
mod timing;

pub use client::{Client, Event, LossReason, StateName, Transmit, Unusable};
pub use client_id::{ClientId, ClientIdError};
pub use config::{Config, ConflictCheck, Fqdn};
pub use describe::{OptionText, describe};
pub use lease::{Lease, Remembered};
pub use options::{ClasslessRoute, LeaseOptions, is_host};
