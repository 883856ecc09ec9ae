//! The Docker front end: the plugin protocol, and a watcher of the Engine API on the side.
//!
//! # Who does what
//! - [`serve`] answers Docker's requests on a unix socket. It reads them with total, tolerant parsers
//!   (`protocol/`), gives each a deadline and a task of its own, and asks a [`Driver`], or for addresses an
//!   [`IpamDriver`], to do the work.
//! - [`Watcher`] follows Docker's events and publishes what it sees, a [`DockerView`], through a `watch` channel.
//!
//! The two never meet: nothing the watcher does is awaited while a request is answered, because Docker holds its
//! own API shut while it waits for us (at boot, for one). This crate knows Docker's words and nothing of how
//! links are made or addresses leased; the binary puts the engine behind [`Driver`].

mod driver;
mod fields;
mod ipam_driver;
mod mounts;
mod networks;
mod protocol;
mod server;
mod watcher;

pub use driver::{Driver, DriverError};
pub use ipam_driver::IpamDriver;
pub use mounts::Mounts;
pub use networks::{NetworkError, create_network, remove_network};
pub use protocol::{
    AddressRequest, CreateEndpointRequest, CreateNetworkRequest, EndpointInterface, EndpointRequest,
    InterfaceName, IpamData, JoinRequest, JoinResponse, OptionsError, PoolAnswer, PoolRequest, PublishedPort,
    ReleaseAddressRequest, StaticRoute,
};
pub use server::{Limits, serve, serve_ipam, serve_with};
pub use watcher::{
    Attachment, ContainerInfo, DockerNetwork, DockerPool, DockerView, Doubts, Place, RequestedEndpoint,
    Sketch, Watcher, WatcherError, connect_container, has_network, start_container,
};
