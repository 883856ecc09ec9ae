//! Addresses of containers that the host is given later.
//!
//! Both would answer for one address, and on macvlan and ipvlan neither would learn of the other. The host cannot be asked
//! to give its own up: a container with a leased address declines that and asks for another (as with any conflict, RFC 2131
//! section 3.1 and RFC 5227 section 2.4), and a fixed one is reported.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use landline_engine::{Endpoint, Engine};
use landline_leases::addressing::book::AddressBook;
use landline_leases::addressing::permit::NotPermitted;
use landline_options::EndpointId;
use landline_types::IfName;
use tokio_util::sync::CancellationToken;

/// An address that an endpoint and the host have.
pub struct Collision {
    endpoint: Arc<Endpoint>,
    /// The container's name in messages, or what stands for it.
    pub holder: String,
    /// The address.
    pub address: IpAddr,
    /// Where the host has it.
    pub interface: IfName,
}

/// Looks at the start, and whenever the host's addresses have changed, until `cancel`.
pub(crate) async fn run(book: AddressBook, engine: Arc<Engine>, cancel: CancellationToken) {
    let mut known = BTreeSet::new();
    let follow = async {
        loop {
            known = part(&book, &engine, &known).await;
            book.host_changed().await;
        }
    };
    cancel.run_until_cancelled(follow).await;
}

/// The addresses that endpoints and the host have.
pub async fn with_host(book: &AddressBook, engine: &Engine) -> Vec<Collision> {
    let mut found = Vec::new();
    if !book.is_shared() {
        return found;
    }
    for endpoint in engine.endpoints() {
        let record = endpoint.state.read().await;
        for address in record.addresses() {
            let judged = book.permit_endpoint(IpNet::from(address), endpoint.state.options(), &record.id);
            if let Err(NotPermitted::Host { interface, .. }) = judged {
                let (endpoint, holder) = (endpoint.clone(), record.holder_name());
                found.push(Collision { endpoint, holder, address, interface });
            }
        }
    }
    found
}

/// Has endpoints give up what the host has; tells of what is not `known`, and gives what is.
async fn part(
    book: &AddressBook,
    engine: &Engine,
    known: &BTreeSet<(EndpointId, IpAddr)>,
) -> BTreeSet<(EndpointId, IpAddr)> {
    let mut now = BTreeSet::new();
    for Collision { endpoint, holder, address, interface } in with_host(book, engine).await {
        let key = (endpoint.state.id().clone(), address);
        if !known.contains(&key) {
            let endpoint = endpoint.state.id().short();
            tracing::warn!(endpoint, %holder, %address, %interface, "this host has been given the address of a container");
        }
        now.insert(key);
        endpoint.recheck();
    }
    now
}
