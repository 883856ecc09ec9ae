//! The messages of Docker's network and IPAM plugin protocols.
//!
//! Source: Docker Engine's remote network driver API (`libnetwork/drivers/remote/api`) as engines 20.10 to 29 speak
//! it. Names are in Pascal case. What we do not know is ignored, what is missing or `null` is empty, and what is
//! there must be well-formed: ids, addresses and names become types here.

mod endpoint;
mod ipam;
mod network;
mod verb;

pub use endpoint::{
    CreateEndpointRequest, EndpointInterface, EndpointRequest, InterfaceName, JoinRequest, JoinResponse,
    PublishedPort, StaticRoute,
};
pub(crate) use endpoint::{CreateEndpointResponse, EndpointInfoResponse};
pub use ipam::{AddressRequest, PoolAnswer, PoolRequest, ReleaseAddressRequest};
pub(crate) use ipam::{AddressResponse, AddressSpaces, IpamCapabilities, ReleasePoolRequest};
pub(crate) use network::{Activation, Capabilities, GatewayAllocation, NetworkRequest};
pub use network::{CreateNetworkRequest, IpamData, OptionsError};
pub(crate) use verb::Verb;

/// What every answer is, says Docker.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";
