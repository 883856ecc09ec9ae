//! What the clients of both families are asked.

use landline_dhcp::{Instant, v4, v6};

use crate::random::OsRandom;

/// A protocol client without sockets and without a clock. Its methods are described with the clients themselves.
pub(crate) trait Client: Send {
    type Event: Send;
    type Transmit: Send;

    fn handle_timeout(&mut self, now: Instant);
    fn poll_timeout(&self) -> Option<Instant>;
    fn poll_transmit(&mut self) -> Option<Self::Transmit>;
    fn poll_event(&mut self) -> Option<Self::Event>;
    fn wants_socket(&self) -> bool;
    /// Its addresses were given back.
    fn is_stopped(&self) -> bool;
    fn set_hostname(&mut self, now: Instant, name: Option<String>);
    fn renew(&mut self, now: Instant);
    fn restart(&mut self, now: Instant);
    fn link_up(&mut self, now: Instant);
    fn recheck(&mut self, now: Instant);
}

macro_rules! client {
    ($($family:ident),*) => {
        $(
            impl Client for $family::Client<OsRandom> {
                type Event = $family::Event;
                type Transmit = $family::Transmit;

                fn handle_timeout(&mut self, now: Instant) {
                    self.handle_timeout(now);
                }

                fn poll_timeout(&self) -> Option<Instant> {
                    self.poll_timeout()
                }

                fn poll_transmit(&mut self) -> Option<Self::Transmit> {
                    self.poll_transmit()
                }

                fn poll_event(&mut self) -> Option<Self::Event> {
                    self.poll_event()
                }

                fn wants_socket(&self) -> bool {
                    self.wants_socket()
                }

                fn is_stopped(&self) -> bool {
                    self.state() == $family::StateName::Stopped
                }

                fn set_hostname(&mut self, now: Instant, name: Option<String>) {
                    self.set_hostname(now, name);
                }

                fn renew(&mut self, now: Instant) {
                    self.renew(now);
                }

                fn restart(&mut self, now: Instant) {
                    self.restart(now);
                }

                fn link_up(&mut self, now: Instant) {
                    self.link_up(now);
                }

                fn recheck(&mut self, now: Instant) {
                    self.recheck(now);
                }
            }
        )*
    };
}

client!(v4, v6);
