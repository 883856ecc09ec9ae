//! A DHCP client for an address of the host's own.

use std::sync::Arc;

use landline_dhcp::Instant;
use landline_dhcp::v4::{Client, Event, Lease};
use landline_links::{Carrier, LinkTable, blocking};
use landline_types::{IfName, Mac};

use super::services::Services;
use crate::clock::Clock;
use crate::random::OsRandom;
use crate::sockets::{Dhcp4, Received, Sockets};

/// The client of one of the host's interfaces. What it says about addresses is for its owner to act on.
pub struct HostClient {
    client: Client<OsRandom>,
    interface: IfName,
    index: u32,
    mac: Mac,
    clock: Clock,
    link_table: LinkTable,
    carrier: Carrier,
    sockets: Option<Box<dyn Dhcp4>>,
    opener: Arc<dyn Sockets>,
}

impl HostClient {
    /// One that has not sent anything yet, on the interface with this index.
    pub fn new(
        client: Client<OsRandom>,
        interface: IfName,
        (index, mac): (u32, Mac),
        services: &Services,
    ) -> Self {
        let (clock, link_table) = (services.clock.clone(), services.link_table.clone());
        let carrier = link_table.carrier(index);
        Self {
            client,
            interface,
            index,
            mac,
            clock,
            link_table,
            carrier,
            sockets: None,
            opener: services.sockets.clone(),
        }
    }

    /// The lease whose address may be used now.
    pub fn lease(&self) -> Option<&Lease> {
        self.client.lease()
    }

    /// Does what the client wants until something has happened. Cancel-safe.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.client.poll_event() {
                return event;
            }
            if !self.client.wants_socket() {
                self.sockets = None;
            } else if self.sockets.is_none() {
                self.open().await;
            }
            while let Some(transmit) = self.client.poll_transmit() {
                if let Some(Err(error)) = self.sockets.as_mut().map(|sockets| sockets.send(&transmit)) {
                    tracing::debug!(%error, interface = %self.interface, "not sent");
                }
            }
            let deadline = self.client.poll_timeout().map(Instant::since_boot);
            tokio::select! {
                received = receive(self.sockets.as_deref()) => match received {
                    Ok(received) => self.received(received),
                    // The interface went down: what is due later opens them again.
                    Err(_) => self.sockets = None,
                },
                () = self.carrier.back() => self.client.link_up(self.clock.now()),
                () = self.clock.sleep_until(deadline) => self.client.handle_timeout(self.clock.now()),
            }
        }
    }

    fn received(&mut self, received: Received) {
        let now = self.clock.now();
        match received {
            Received::Datagram { from, payload } => self.client.handle_datagram(now, from, &payload),
            Received::Arp(heard)
                if self.client.is_about_address(&heard.packet)
                    && self.link_table.is_of_host(heard.packet.sender_mac) => {}
            Received::Arp(heard) => self.client.handle_arp(now, heard),
        }
    }

    /// Gives the lease back and returns when the message has left. The address must still be on the interface.
    pub async fn release(&mut self) {
        let lease = self.client.lease().cloned();
        self.client.release(self.clock.now());
        if self.sockets.is_none() {
            self.open().await;
        }
        if let Some(sockets) = &mut self.sockets {
            sockets.send_release(&mut self.client, self.mac, lease.as_ref()).await;
        }
    }

    async fn open(&mut self) {
        let (index, opener) = (self.index, self.opener.clone());
        let opened = blocking(move || opener.dhcp4_here(index)).await;
        let failed = |error: &std::io::Error| tracing::debug!(%error, "sockets cannot be opened");
        self.sockets = opened.inspect_err(failed).ok();
    }
}

async fn receive(sockets: Option<&dyn Dhcp4>) -> std::io::Result<Received> {
    match sockets {
        Some(sockets) => sockets.receive().await,
        None => std::future::pending().await,
    }
}
