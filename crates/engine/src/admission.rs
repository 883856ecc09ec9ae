//! What features have to do before Docker is answered, and what they may refuse.
//!
//! The engine knows no feature. Whatever must have happened when a network or an endpoint counts as created, the daemon hands
//! to it as an [`Admission`]: address pools, addresses on the host, exceptions in its firewall. All else follows the
//! [`Inventory`](landline_leases::Inventory).

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use landline_kernel::Link;
use landline_model::{EndpointRecord, IdentityRecord, NetworkRecord};
use landline_options::NetworkId;

use crate::endpoints::CreateEndpoint;
use crate::engine::{Endpoint, Engine};

/// Why a feature does not admit something. The sentence is the feature's, and reaches Docker as it is.
#[derive(Debug)]
pub struct Refusal(Box<dyn Error + Send + Sync>);

impl Refusal {
    /// For this reason.
    pub fn new(why: impl Error + Send + Sync + 'static) -> Self {
        Self(Box::new(why))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// The answer, once the feature has done its part.
pub type Verdict<'a> = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'a>>;

/// A feature has done its part, as far as that was possible.
pub type Done<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The answer of a feature that the question does not concern.
fn granted<'a>() -> Verdict<'a> {
    Box::pin(std::future::ready(Ok(())))
}

fn nothing_to_do<'a>() -> Done<'a> {
    Box::pin(std::future::ready(()))
}

/// A network that is about to be.
#[derive(Debug, Clone, Copy)]
pub struct NetworkRequest<'a> {
    /// The network.
    pub record: &'a NetworkRecord,
    /// The subnets of the pools it has from Landline's IPAM driver.
    pub pools: &'a [IpNet],
    /// Its parent, once that was looked at.
    pub parent: Option<&'a Link>,
}

/// An endpoint that has its link and its address, and is about to be stored.
#[derive(Debug, Clone, Copy)]
pub struct EndpointRequest<'a> {
    /// What was asked for.
    pub request: &'a CreateEndpoint,
    /// What became of it.
    pub record: &'a EndpointRecord,
    /// Its network.
    pub network: &'a NetworkRecord,
    /// Its identity.
    pub identity: &'a IdentityRecord,
    /// The name the LAN may learn.
    pub name: Option<&'a str>,
    /// It runs already, and the state was lost: what it has may be there.
    pub again: bool,
}

/// What is gone, or did not come about.
#[derive(Debug, Clone, Copy)]
pub enum Withdrawn<'a> {
    /// A network. `forgotten`: it is not Docker that asked for it, and Docker will not ask for what belongs to it.
    Network {
        /// Its id.
        id: &'a NetworkId,
        /// The network, if the engine knew it.
        record: Option<&'a NetworkRecord>,
        /// Whether Docker does not have it any more.
        forgotten: bool,
    },
    /// An endpoint.
    Endpoint {
        /// The endpoint.
        record: &'a EndpointRecord,
        /// Whether its identity is remembered, so that it may come back.
        remembered: bool,
    },
}

/// What was found out about a fixed address.
#[derive(Debug, Clone, Copy)]
pub enum AddressNews<'a> {
    /// Another machine has it.
    Contested(IpAddr),
    /// The container of this name has it.
    Of(IpAddr, &'a str),
}

/// A feature that takes part in the answers to Docker.
///
/// All of it is idempotent. A feature that refuses leaves nothing behind once the same was [withdrawn](Self::withdrawn), which is
/// called whenever something does not come about, whoever refused it.
pub trait Admission: Send + Sync {
    /// Whether there may be such a network. Nothing is made for it yet.
    fn proposed<'a>(&'a self, _network: NetworkRequest<'a>) -> Verdict<'a> {
        granted()
    }

    /// The network's links are there, and it is about to be stored.
    fn network<'a>(&'a self, _network: NetworkRequest<'a>) -> Verdict<'a> {
        granted()
    }

    /// A network that exists was taken up after the state was lost. What cannot be done now is logged.
    fn adopted<'a>(&'a self, _network: &'a NetworkRecord) -> Done<'a> {
        nothing_to_do()
    }

    /// A container on this network starts, and nothing tells which of several it is: each would get a new identity.
    fn unsure<'a>(&'a self, _network: &'a NetworkRecord) -> Verdict<'a> {
        granted()
    }

    /// A container on this network is about to send its first packet.
    fn starting<'a>(&'a self, _network: &'a NetworkRecord) -> Done<'a> {
        nothing_to_do()
    }

    /// An endpoint is about to be made: writes down what the feature keeps in its record and with its identity. Nothing is
    /// done for it yet.
    fn annotate(
        &self,
        _request: &CreateEndpoint,
        _network: &NetworkRecord,
        _identity: &mut IdentityRecord,
        _record: &mut EndpointRecord,
    ) {
    }

    /// The endpoint is about to be stored.
    fn endpoint<'a>(&'a self, _endpoint: EndpointRequest<'a>) -> Verdict<'a> {
        granted()
    }

    /// An endpoint has ended, and Docker is about to be answered, which may start its container again at once.
    fn ended<'a>(&'a self, _engine: &'a Engine, _endpoint: &'a Endpoint) -> Done<'a> {
        nothing_to_do()
    }

    /// Takes back what was done for something that is gone or did not come about.
    fn withdrawn<'a>(&'a self, _what: Withdrawn<'a>) -> Verdict<'a> {
        granted()
    }

    /// The identity's container is gone: what it has ends after this time, unless it is there again by then.
    fn identity_over(&self, _identity: &IdentityRecord, _after: Duration) {}

    /// Something was found out about an address on this network.
    fn address<'a>(&'a self, _network: &'a NetworkId, _news: AddressNews<'a>) -> Done<'a> {
        nothing_to_do()
    }
}

/// Several features, asked one after the other; the first that refuses has the last word.
pub struct Admissions(Vec<Arc<dyn Admission>>);

impl Admissions {
    /// These, in this order.
    pub fn new(features: Vec<Arc<dyn Admission>>) -> Self {
        Self(features)
    }
}

impl Admission for Admissions {
    fn proposed<'a>(&'a self, network: NetworkRequest<'a>) -> Verdict<'a> {
        Box::pin(async move {
            for feature in &self.0 {
                feature.proposed(network).await?;
            }
            Ok(())
        })
    }

    fn network<'a>(&'a self, network: NetworkRequest<'a>) -> Verdict<'a> {
        Box::pin(async move {
            for feature in &self.0 {
                feature.network(network).await?;
            }
            Ok(())
        })
    }

    fn adopted<'a>(&'a self, network: &'a NetworkRecord) -> Done<'a> {
        Box::pin(async move {
            for feature in &self.0 {
                feature.adopted(network).await;
            }
        })
    }

    fn unsure<'a>(&'a self, network: &'a NetworkRecord) -> Verdict<'a> {
        Box::pin(async move {
            for feature in &self.0 {
                feature.unsure(network).await?;
            }
            Ok(())
        })
    }

    fn starting<'a>(&'a self, network: &'a NetworkRecord) -> Done<'a> {
        Box::pin(async move {
            for feature in &self.0 {
                feature.starting(network).await;
            }
        })
    }

    fn annotate(
        &self,
        request: &CreateEndpoint,
        network: &NetworkRecord,
        identity: &mut IdentityRecord,
        record: &mut EndpointRecord,
    ) {
        for feature in &self.0 {
            feature.annotate(request, network, identity, record);
        }
    }

    fn endpoint<'a>(&'a self, endpoint: EndpointRequest<'a>) -> Verdict<'a> {
        Box::pin(async move {
            for feature in &self.0 {
                feature.endpoint(endpoint).await?;
            }
            Ok(())
        })
    }

    fn ended<'a>(&'a self, engine: &'a Engine, endpoint: &'a Endpoint) -> Done<'a> {
        Box::pin(async move {
            for feature in &self.0 {
                feature.ended(engine, endpoint).await;
            }
        })
    }

    /// All of them, whatever one of them says; the first failure is told.
    fn withdrawn<'a>(&'a self, what: Withdrawn<'a>) -> Verdict<'a> {
        Box::pin(async move {
            let mut result = Ok(());
            for feature in &self.0 {
                let withdrawn = feature.withdrawn(what).await;
                result = result.and(withdrawn);
            }
            result
        })
    }

    fn identity_over(&self, identity: &IdentityRecord, after: Duration) {
        for feature in &self.0 {
            feature.identity_over(identity, after);
        }
    }

    fn address<'a>(&'a self, network: &'a NetworkId, news: AddressNews<'a>) -> Done<'a> {
        Box::pin(async move {
            for feature in &self.0 {
                feature.address(network, news).await;
            }
        })
    }
}
