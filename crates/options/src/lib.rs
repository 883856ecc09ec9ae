//! What people write: network options, endpoint options and their meaning.
//!
//! Everything here comes from outside and is hostile until parsed: `docker network create -o key=value`,
//! `--driver-opt` on an endpoint, container hostnames, the ids in Docker's requests. Parsing is total, does no
//! IO, and turns text into types at the door; what could be wrong with a text is an error whose message tells
//! the user what to type instead.
//!
//! The shape: [`NetworkOptions::parse`] and [`EndpointOptions::parse`] take the option maps; the words they use
//! are one small type per file. An option this version does not have is refused, never silently accepted.
//! [`Attach`] and [`Pipework`] take the words of a command line, [`Asker`] what a container's labels and environment say,
//! [`ConfigFile`] the administrator's file.

mod access;
mod addresses;
mod attach;
mod client_id;
mod config;
mod demands;
mod duration;
mod endpoint;
mod error;
mod given;
mod hostname;
mod ids;
mod ipam;
mod keys;
mod mac;
mod macros;
mod modes;
mod nat;
mod network;
mod pipework;
mod requests;
mod vde;
mod words;

pub use access::{Access, AccessRequest, AccessSpecError};
pub use addresses::AddressesFrom;
pub use attach::{
    Attach, AttachError, AttachSpec, ContainerName, LinkChoice, Parent, StaticAddress, Target, split_words,
};
pub use client_id::{ClientIdContext, ClientIdError, ClientIdTemplate, ClientIdTemplateError};
pub use config::{
    Allowed, AttachKind, ConfigError, ConfigFile, Containers, Control, Defaults, Http, Identity, Refusal,
    Standing,
};
pub use demands::Permission;
pub use duration::{DurationError, parse_duration};
pub use endpoint::EndpointOptions;
pub use error::OptionError;
pub use hostname::{Hostname, HostnameError};
pub use ids::{EndpointId, IdError, NetworkId};
pub use ipam::{IpamOptions, PoolSource};
pub use macros::{MacroContext, MacroError};
pub use modes::Mode;
pub use nat::{LanIp, NatOptions, NatPort, NatPorts, PortsError, Transport};
pub use network::{
    DEFAULT_LEASE_TIMEOUT, DEFAULT_RELEASE_AFTER, DEFAULT_VENDOR_CLASS, LEASE_TIMEOUT_RANGE, NetworkOptions,
};
pub use pipework::{
    Change, Netem, Pipework, Qdisc, QdiscChange, RouteChange, RouteKindWord, RuleChange, Verb,
};
pub use requests::{Ask, Asker, Request, Requests};
pub use vde::{DEFAULT_SWITCH_PORTS, VdeOptions, VdePorts};
pub use words::{
    Addressing, ConflictCheck, DnsMode, Fqdn, HostnameMode, IdentitySource, Ipv6Address, Ipv6Mode, LinkMtu,
    MacvlanMode, Mtu, MtuError, MtuSource, OnDuplicate, OnTimeout, Release, Vlan, VlanError, WhenUnsure,
};
