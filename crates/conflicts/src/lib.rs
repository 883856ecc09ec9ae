//! Conflicts that begin while a container runs: the host is given its address, or another machine on the LAN has its hardware address,
//! too. Both follow the engine's endpoints, and change nothing but what their tasks ask again.

mod host_addresses;
mod stations;

use std::sync::Arc;

use landline_engine::Engine;
use landline_leases::Shared;

pub use host_addresses::{Collision, with_host};

/// Looks for both kinds until the daemon ends. Must be called within a tokio runtime.
pub fn follow(shared: &Shared, engine: &Arc<Engine>) {
    let cancel = &shared.services.cancel;
    tokio::spawn(host_addresses::run(shared.services.book.clone(), engine.clone(), cancel.clone()));
    tokio::spawn(stations::run(shared.clone(), engine.clone(), cancel.clone()));
}

#[cfg(test)]
mod tests;
