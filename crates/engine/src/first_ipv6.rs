//! The first IPv6 addresses of an endpoint: what Docker waits for, and no longer than it has to.

use std::time::Duration;

use ipnet::Ipv6Net;
use landline_leases::Location;
use landline_leases::ipv6::{self, Status6};
use landline_model::NetworkRecord;
use landline_options::{Addressing, OnTimeout};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::endpoints::{CreateEndpointError, network_name};
use crate::engine::{Endpoint, Engine};

/// How long an answer waits for IPv6 once all else is there. Servers and most routers answer in less; a router may
/// take up to half a second (RFC 4861 section 6.2.6), and what comes later is configured in the container.
const PATIENCE: Duration = Duration::from_millis(400);

/// The same with addresses that are remembered and known to live: the time in which they are confirmed.
const CONFIRMATION: Duration = Duration::from_millis(40);

impl Engine {
    /// For endpoints with IPv6: starts the task that looks for it over the link, which is there.
    pub(crate) async fn start_ipv6(&self, endpoint: &Endpoint, place: Location) {
        let record = endpoint.state.read().await;
        let Some(known) = &record.ipv6 else { return };
        let config = ipv6::config(endpoint.state.options(), record.mac, known);
        let services = &self.services;
        let state = known.identity.state.as_ref();
        let before = state.map(|state| state.remembered(&services.boot, services.clock.both()));
        let supervised = ipv6::start(endpoint.state.clone(), self.services.clone(), config, before, place);
        *endpoint.ipv6() = Some(supervised);
    }

    /// Waits for it as long as is worth while, and notes what Docker will be told. Where there is nothing but IPv6,
    /// an address is waited for as a lease is.
    pub(crate) async fn first_ipv6(
        &self,
        endpoint: &Endpoint,
        network: &NetworkRecord,
        cancel: &CancellationToken,
    ) -> Result<(), CreateEndpointError> {
        let Some((status, remembered)) = endpoint.ipv6().as_ref().map(|s| (s.status.clone(), s.remembered))
        else {
            return Ok(());
        };
        let alone = network.options.addressing == Addressing::None;
        let waited = network.options.lease_timeout;
        let wait = async {
            let mut status = status.clone();
            if alone {
                let _ = tokio::time::timeout(waited, status.wait_for(Status6::has_address)).await;
            }
            until_settled(status, remembered).await;
        };
        if cancel.run_until_cancelled(wait).await.is_none() {
            return Err(CreateEndpointError::Cancelled);
        }
        let status = status.borrow().clone();
        if alone && !status.has_address() {
            let (network_name, parent) = (network_name(network), network.options.parent.clone());
            let error = match status.troubles.sentence() {
                Some((why, hint)) => {
                    CreateEndpointError::NoUsableLease { network: network_name, parent, why, waited, hint }
                }
                None => CreateEndpointError::NoLease {
                    network: network_name,
                    parent,
                    why: "no router and no DHCPv6 server gave an IPv6 address".into(),
                    waited,
                    held: Duration::ZERO,
                    hint: "check that one serves this LAN and that the parent is plugged in".into(),
                },
            };
            if network.options.on_timeout == OnTimeout::Fail {
                return Err(error);
            }
            tracing::warn!(error = %landline_types::chain(&error), "the container starts without an address");
        }
        let told = best(&status);
        let stored = endpoint.state.update(|record| {
            if let Some(ipv6) = &mut record.ipv6 {
                ipv6.told = told;
            }
        });
        stored.await.map_err(CreateEndpointError::Store)
    }

    /// Waits for it as long as is worth while, where Docker is told nothing, and has it set up. What the sandbox is about to have then.
    pub(crate) async fn ipv6_to_come(&self, endpoint: &Endpoint) -> Vec<Ipv6Net> {
        let task = endpoint.ipv6().as_ref().map(|s| (s.status.clone(), s.remembered, s.orders.clone()));
        let Some((status, remembered, orders)) = task else { return Vec::new() };
        until_settled(status.clone(), remembered).await;
        orders.allow();
        let status = status.borrow();
        status.current.addresses.iter().map(|address| address.net).collect()
    }
}

async fn until_settled(mut status: watch::Receiver<Status6>, remembered: bool) {
    let patience = if remembered { CONFIRMATION } else { PATIENCE };
    let _ = tokio::time::timeout(patience, status.wait_for(|s| s.settled)).await;
}

/// The one address Docker can be told.
fn best(status: &Status6) -> Option<Ipv6Net> {
    let addresses = &status.current.addresses;
    addresses.iter().find(|address| !address.deprecated).or(addresses.first()).map(|address| address.net)
}
