//! A client's sockets, with its DHCP messages counted.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use landline_dhcp::wire::ipv6::{Datagram, Packet};
use landline_dhcp::{v4, v6};
use landline_types::Mac;

use super::{Dhcp4, Icmp6, Next, Packet6, Received};
use crate::meters::{ClientMeter, Direction};

/// The next header that announces UDP (RFC 768).
const UDP: u8 = 17;

/// Sockets whose DHCP messages are counted.
pub(crate) struct Counted<S: ?Sized> {
    inner: Box<S>,
    meter: Arc<ClientMeter>,
}

impl<S: ?Sized> Counted<S> {
    pub(crate) fn new(inner: Box<S>, meter: Arc<ClientMeter>) -> Self {
        Self { inner, meter }
    }
}

impl Dhcp4 for Counted<dyn Dhcp4> {
    fn send(&mut self, transmit: &v4::Transmit) -> io::Result<()> {
        self.inner.send(transmit)?;
        if let v4::Transmit::Dhcp { payload, .. } = transmit {
            self.meter.dhcp4(Direction::Sent, payload);
        }
        Ok(())
    }

    fn send_to(&self, to: Mac, src: Ipv4Addr, dst: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        self.inner.send_to(to, src, dst, payload)?;
        self.meter.dhcp4(Direction::Sent, payload);
        Ok(())
    }

    fn routes(&self) -> bool {
        self.inner.routes()
    }

    fn receive(&self) -> Next<'_, Received> {
        Box::pin(async {
            let received = self.inner.receive().await?;
            if let Received::Datagram { payload, .. } = &received {
                self.meter.dhcp4(Direction::Received, payload);
            }
            Ok(received)
        })
    }
}

impl Icmp6 for Counted<dyn Icmp6> {
    fn send(&self, transmit: &v6::Transmit) -> io::Result<()> {
        self.inner.send(transmit)?;
        if let v6::Transmit::Dhcp { payload, .. } = transmit {
            self.meter.dhcp6(Direction::Sent, payload);
        }
        Ok(())
    }

    fn receive(&self) -> Next<'_, Packet6> {
        Box::pin(async {
            let received = self.inner.receive().await?;
            let packet = Packet::parse(&received.packet).filter(|packet| packet.next_header == UDP);
            if let Some(datagram) = packet.and_then(|packet| Datagram::parse(&packet, received.check)) {
                self.meter.dhcp6(Direction::Received, datagram.payload);
            }
            Ok(received)
        })
    }
}
