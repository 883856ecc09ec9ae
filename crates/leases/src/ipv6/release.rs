//! Giving a lease back after its endpoint has ended.

use std::io;

use landline_dhcp::v4::ConflictCheck;
use landline_dhcp::v6::Client;
use landline_links::mark::Mark;
use landline_model::Ipv6Identity;
use landline_types::Mac;

use super::config::own_config;
use crate::lease::Services;
use crate::random::OsRandom;
use crate::sockets::Location;

/// Releases the identity's lease, if it has one, over the link with this index on the host.
pub async fn release(
    identity: &Ipv6Identity,
    mac: Mac,
    services: &Services,
    index: u32,
    mark: &Mark,
) -> io::Result<()> {
    let state = identity.state.as_ref().and_then(|state| state.restore(&services.boot));
    let Some(state) = state else { return Ok(()) };
    let mut config = own_config(mac, identity);
    // Its link-local address is of its own making, and speaks for a moment only.
    config.conflict_check = ConflictCheck::Off;
    let now = services.clock.now();
    let mut client = Client::resume(config, state, now, OsRandom);
    client.release(now);
    let socket = services.sockets.icmp6(&Location::Host(index), mark, true)?;
    socket.send_release(&mut client, &services.clock).await;
    Ok(())
}
