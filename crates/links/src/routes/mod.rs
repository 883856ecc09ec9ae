//! A container's IPv4 routes: what servers, administrators and the host offer, and what of it a kernel takes.
//!
//! Everything here is a pure function of values. [`plan`] makes an ordered list of what was offered for an address, which
//! a kernel takes whole, and says what it left out and why; [`for_docker`] picks the part of it that Docker is certain to
//! be able to set; `default` decides what becomes of a default route that may no longer be Landline's.

pub(crate) mod default;
mod docker;
mod lease;
mod plan;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landline_model::DroppedRoute;

pub use docker::for_docker;
pub use lease::{address, of_lease};
pub use plan::plan;

/// A destination and the next hop on the way to it; `None`: the destination is on the link.
pub type Route4 = (Ipv4Net, Option<Ipv4Addr>);

/// Where a default route sends everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHop {
    /// Everything is on the link.
    Link,
    /// To this router.
    Router(Ipv4Addr),
}

impl NextHop {
    /// The router, if it is one.
    pub fn router(self) -> Option<Ipv4Addr> {
        match self {
            Self::Link => None,
            Self::Router(router) => Some(router),
        }
    }
}

impl From<Option<Ipv4Addr>> for NextHop {
    fn from(router: Option<Ipv4Addr>) -> Self {
        router.map_or(Self::Link, Self::Router)
    }
}

/// What is offered for one address. Next hops that are unspecified, or the address itself, mean "on the link" (RFC 3442).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// The gateway that the administrator chose for the network, which goes before what servers say.
    pub gateway: Option<Ipv4Addr>,
    /// Next hops of default routes, the best first.
    pub defaults: Vec<Option<Ipv4Addr>>,
    /// Other routes, in the order in which they count.
    pub routes: Vec<Route4>,
}

/// What a container's link is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    /// The default route, if there is to be one.
    pub default: Option<NextHop>,
    /// Other routes. Each next hop is in the address's own network or in an on-link route before it, so the kernel takes
    /// them in this order.
    pub routes: Vec<Route4>,
    /// What was offered and is left out.
    pub dropped: Vec<DroppedRoute>,
}
