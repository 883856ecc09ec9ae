//! A LAN for tests: the servers of the simulator, others who have addresses, and sockets that reach all of them.
//!
//! Everybody is heard by everybody at once. Time is that of [`Clock::of_tokio`], which stands still while anything is done.

mod machine;
mod v4;
mod v6;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landline_links::mark::Mark;
use landline_types::IfName;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::clock::Clock;
use crate::sockets::{Advertisements, Arp, Claims, Dhcp4, Icmp6, Location, Next, Sockets, Stations};

pub use machine::{FakeMachine, closed, wait_for};
pub use v4::Lan4;
pub use v6::Lan6;

/// Microseconds since boot.
pub(crate) type Micros = u64;

pub(crate) const SECOND: Micros = 1_000_000;
pub(crate) const HOUR: Micros = 3600 * SECOND;

/// The LAN. Clones share it.
#[derive(Clone)]
pub struct FakeLan(Arc<Shared>);

struct Shared {
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    four: Lan4,
    six: Lan6,
    /// Why sockets cannot be opened.
    refusal: Option<io::ErrorKind>,
    /// How many are open.
    open: usize,
    /// How many there were.
    opened: u8,
    /// Where a DHCP client of IPv4 has opened its last ones.
    place: Option<Location>,
}

impl FakeLan {
    /// One with a DHCP server for 198.51.100.0/24, and for IPv6 with a router and a server.
    pub fn new(clock: Clock) -> Self {
        let state =
            State { four: Lan4::new(), six: Lan6::new(), refusal: None, open: 0, opened: 0, place: None };
        Self(Arc::new(Shared { clock, state: Mutex::new(state) }))
    }

    /// Looks at or changes who is on it for IPv4.
    pub fn four<T>(&self, act: impl FnOnce(&mut Lan4) -> T) -> T {
        act(&mut self.lock().four)
    }

    /// Looks at or changes who is on it for IPv6.
    pub fn six<T>(&self, act: impl FnOnce(&mut Lan6) -> T) -> T {
        act(&mut self.lock().six)
    }

    /// The router says unasked what it has to say.
    pub fn advertise(&self) {
        let now = self.now();
        self.six(|lan| lan.advertise(now));
    }

    /// From now on sockets cannot be opened, for this reason; `None`: they can.
    pub fn refuse_sockets(&self, why: Option<io::ErrorKind>) {
        self.lock().refusal = why;
    }

    /// Where an endpoint's DHCP client of IPv4 has opened its last sockets.
    pub fn place(&self) -> Option<Location> {
        self.lock().place.clone()
    }

    /// How many sockets of endpoints are open.
    pub fn open_sockets(&self) -> usize {
        self.lock().open
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Micros {
        u64::try_from(self.0.clock.now().since_boot().as_micros()).unwrap_or(u64::MAX)
    }

    fn open<T: Send>(&self, join: impl FnOnce(&mut State, UnboundedSender<T>)) -> io::Result<Socket<T>> {
        let mut state = self.lock();
        if let Some(kind) = state.refusal {
            return Err(kind.into());
        }
        state.open += 1;
        state.opened = state.opened.wrapping_add(1);
        let number = state.opened;
        let (sender, inbox) = unbounded_channel();
        join(&mut state, sender);
        Ok(Socket { lan: self.clone(), inbox: tokio::sync::Mutex::new(inbox), number })
    }
    fn listen<T: Send>(&self, join: impl FnOnce(&mut State, UnboundedSender<T>)) -> io::Result<Listener<T>> {
        let mut state = self.lock();
        if let Some(kind) = state.refusal {
            return Err(kind.into());
        }
        let (sender, inbox) = unbounded_channel();
        join(&mut state, sender);
        Ok(Listener(tokio::sync::Mutex::new(inbox)))
    }
}

impl Sockets for FakeLan {
    fn dhcp4(&self, place: &Location, _mark: &Mark) -> io::Result<Box<dyn Dhcp4>> {
        self.lock().place = Some(place.clone());
        Ok(Box::new(self.open(|state, inbox| state.four.inboxes.push(inbox))?))
    }

    fn dhcp4_here(&self, _index: u32) -> io::Result<Box<dyn Dhcp4>> {
        Ok(Box::new(self.open(|state, inbox| state.four.inboxes.push(inbox))?))
    }

    fn icmp6(&self, _place: &Location, _mark: &Mark, _listener: bool) -> io::Result<Box<dyn Icmp6>> {
        Ok(Box::new(self.open(|state, inbox| state.six.inboxes.push(inbox))?))
    }

    fn arp(&self, _index: u32) -> io::Result<Box<dyn Arp>> {
        Ok(Box::new(self.open(|state, inbox| state.four.askers.push(inbox))?))
    }

    fn claims(&self, _parent: &IfName) -> io::Result<Box<dyn Claims>> {
        Ok(Box::new(self.listen(|state, inbox| state.four.watchers.push(inbox))?))
    }

    fn stations(&self, _link: &IfName) -> io::Result<Box<dyn Stations>> {
        Ok(Box::new(self.listen(|state, inbox| state.four.stations.push(inbox))?))
    }

    fn advertisements(&self, _parent: &IfName) -> io::Result<Box<dyn Advertisements>> {
        Ok(Box::new(self.listen(|state, inbox| state.six.listeners.push(inbox))?))
    }
}

/// A socket of an endpoint.
struct Socket<T: Send> {
    lan: FakeLan,
    number: u8,
    inbox: tokio::sync::Mutex<UnboundedReceiver<T>>,
}

impl<T: Send> Drop for Socket<T> {
    fn drop(&mut self) {
        self.lan.lock().open -= 1;
    }
}

/// A socket on the parent.
struct Listener<T: Send>(tokio::sync::Mutex<UnboundedReceiver<T>>);

fn receive<T: Send>(inbox: &tokio::sync::Mutex<UnboundedReceiver<T>>) -> Next<'_, T> {
    Box::pin(async { inbox.lock().await.recv().await.ok_or_else(|| io::ErrorKind::NetworkDown.into()) })
}

/// Says it to all who still listen.
fn say<T: Clone>(inboxes: &mut Vec<UnboundedSender<T>>, what: &T) {
    inboxes.retain(|inbox| inbox.send(what.clone()).is_ok());
}
