//! The kernel's sockets, with what endpoints send and receive in their [`Traces`].

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use landline_dhcp::{v4, v6};
use landline_links::mark::Mark;
use landline_types::{IfName, Mac};

use super::{
    Advertisement, Advertisements, Arp, Claims, Dhcp4, Icmp6, LinuxSockets, Location, Next, Packet6,
    Received, Sockets, Stations,
};
use crate::trace::{Traces, Whose};

/// Sockets whose messages are kept for a while.
pub(crate) struct TracedSockets(pub(crate) Arc<Traces>);

struct Traced<S: ?Sized> {
    whose: Whose,
    traces: Arc<Traces>,
    inner: Box<S>,
}

impl TracedSockets {
    fn trace<S: ?Sized>(&self, whose: Whose, inner: Box<S>) -> Traced<S> {
        Traced { whose, traces: self.0.clone(), inner }
    }
}

impl Sockets for TracedSockets {
    fn dhcp4(&self, place: &Location, mark: &Mark) -> io::Result<Box<dyn Dhcp4>> {
        let whose = Whose::Endpoint(mark.endpoint.clone());
        Ok(Box::new(self.trace(whose, LinuxSockets.dhcp4(place, mark)?)))
    }

    fn dhcp4_here(&self, index: u32) -> io::Result<Box<dyn Dhcp4>> {
        LinuxSockets.dhcp4_here(index)
    }

    fn icmp6(&self, place: &Location, mark: &Mark, listener: bool) -> io::Result<Box<dyn Icmp6>> {
        let whose = Whose::Endpoint(mark.endpoint.clone());
        Ok(Box::new(self.trace(whose, LinuxSockets.icmp6(place, mark, listener)?)))
    }

    fn arp(&self, index: u32) -> io::Result<Box<dyn Arp>> {
        LinuxSockets.arp(index)
    }

    fn claims(&self, parent: &IfName) -> io::Result<Box<dyn Claims>> {
        LinuxSockets.claims(parent)
    }

    fn stations(&self, link: &IfName) -> io::Result<Box<dyn Stations>> {
        LinuxSockets.stations(link)
    }

    fn advertisements(&self, parent: &IfName) -> io::Result<Box<dyn Advertisements>> {
        Ok(Box::new(self.trace(Whose::Parent(parent.clone()), LinuxSockets.advertisements(parent)?)))
    }
}

impl Dhcp4 for Traced<dyn Dhcp4> {
    fn send(&mut self, transmit: &v4::Transmit) -> io::Result<()> {
        self.inner.send(transmit)?;
        self.traces.sent_v4(&self.whose, transmit);
        Ok(())
    }

    fn send_to(&self, to: Mac, src: Ipv4Addr, dst: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        self.inner.send_to(to, src, dst, payload)?;
        self.traces.dhcp(&self.whose, src, dst, to, payload);
        Ok(())
    }

    fn routes(&self) -> bool {
        self.inner.routes()
    }

    fn receive(&self) -> Next<'_, Received> {
        Box::pin(async {
            let received = self.inner.receive().await?;
            self.traces.received_v4(&self.whose, &received);
            Ok(received)
        })
    }
}

impl Icmp6 for Traced<dyn Icmp6> {
    fn send(&self, transmit: &v6::Transmit) -> io::Result<()> {
        self.inner.send(transmit)?;
        self.traces.sent_v6(&self.whose, transmit);
        Ok(())
    }

    fn receive(&self) -> Next<'_, Packet6> {
        Box::pin(async {
            let packet = self.inner.receive().await?;
            self.traces.received_v6(&self.whose, &packet);
            Ok(packet)
        })
    }
}

impl Advertisements for Traced<dyn Advertisements> {
    fn receive(&self) -> Next<'_, Advertisement> {
        Box::pin(async {
            let heard = self.inner.receive().await?;
            self.traces.advertisement(&self.whose, &heard);
            Ok(heard)
        })
    }
}
