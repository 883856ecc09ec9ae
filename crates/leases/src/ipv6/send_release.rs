//! Giving a lease back after its endpoint has ended.

use std::io;
use std::time::Duration;

use landline_dhcp::Random;
use landline_dhcp::v4::ConflictCheck;
use landline_dhcp::v6::Client;
use landline_links::mark::Mark;
use landline_model::Ipv6Identity;
use landline_types::Mac;

use super::config::own_config;
use super::socket::Icmp6Socket;
use crate::clock::Clock;
use crate::lease::{Location, Services};
use crate::random::OsRandom;

/// How long a server is given to answer: nothing depends on it but that the message is not lost.
const ANSWER: Duration = Duration::from_millis(1500);

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
    let socket = Icmp6Socket::open(&Location::Host(index), mark, true)?;
    socket.send_release(&mut client, &services.clock).await;
    Ok(())
}

impl Icmp6Socket {
    /// Sends what a client that was told to release its lease has to say, until a server has answered or there was
    /// time for it: the link may be removed then.
    pub(super) async fn send_release<R: Random>(&self, client: &mut Client<R>, clock: &Clock) {
        let end = clock.now() + ANSWER;
        loop {
            while let Some(transmit) = client.poll_transmit() {
                if let Err(error) = self.send(&transmit) {
                    tracing::debug!(%error, "not sent");
                }
            }
            if !client.wants_dhcp() || clock.now() >= end {
                return;
            }
            let next = client.poll_timeout().map_or(end, |at| at.min(end));
            tokio::select! {
                received = self.receive() => match received {
                    Ok(heard) => {
                        client.handle_packet(clock.now(), heard.frame_source, &heard.packet, heard.check);
                    }
                    Err(_) => return,
                },
                () = clock.sleep_until(Some(next.since_boot())) => client.handle_timeout(clock.now()),
            }
        }
    }
}
