//! Pairs of descriptors: what is read from one is written to the other.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use crate::frame::FRAME_MAX;
use crate::plug::Plug;
use crate::poll::{IN, IN_OUT, Poll, Queue};
use crate::tap::{Taken, Tap, read};

/// How many frames one direction may carry before the others have their turn.
const TURN: usize = 64;

/// A wire, as long as it lasts. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireId(u64);

/// A wire that has ended by itself.
#[derive(Debug)]
pub struct WireLost {
    /// Which.
    pub wire: WireId,
    /// The network interface, if it is still there: the switch has ended.
    pub tap: Option<OwnedFd>,
}

enum Order {
    Join(WireId, OwnedFd, Plug),
    Cut(WireId),
    Stop,
}

/// Joins network interfaces to ports of switches. One thread moves the frames of all; when the switch does not keep
/// up, the interface is not read, so that it queues.
pub struct Wires {
    orders: Queue<Order>,
    next: AtomicU64,
}

impl Wires {
    /// Starts the thread. It calls `lost` for each wire that ends by itself.
    ///
    /// # Errors
    /// When the system has no more threads or descriptors.
    pub fn start(lost: impl Fn(WireLost) + Send + 'static) -> io::Result<Self> {
        let poll = Poll::new()?;
        let orders = Queue::new(&poll);
        let mut mover =
            Mover { poll, orders: orders.clone(), wires: BTreeMap::new(), buffer: vec![0; FRAME_MAX + 1] };
        std::thread::Builder::new().name("vde-wires".into()).spawn(move || mover.run(&lost))?;
        Ok(Self { orders, next: AtomicU64::new(0) })
    }

    /// Joins a network interface to a port: a tap with `IFF_VNET_HDR`, or what is read and written like one, that does not
    /// block.
    pub fn join(&self, tap: OwnedFd, plug: Plug) -> WireId {
        let wire = WireId(self.next.fetch_add(1, Ordering::Relaxed));
        self.orders.push(Order::Join(wire, tap, plug));
        wire
    }

    /// Cuts a wire; both descriptors are closed. One that has ended is fine.
    pub fn cut(&self, wire: WireId) {
        self.orders.push(Order::Cut(wire));
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.orders.push(Order::Stop);
    }
}

struct Wire {
    tap: Tap,
    plug: Plug,
    /// A frame the switch had no room for. While it waits the interface is not read.
    held: Option<Vec<u8>>,
}

/// Which descriptor of a wire a token means: its two lowest bits.
const TAP: u64 = 0;
const DATA: u64 = 1;
const CTL: u64 = 2;

struct Mover {
    poll: Poll,
    orders: Queue<Order>,
    wires: BTreeMap<WireId, Wire>,
    buffer: Vec<u8>,
}

impl Mover {
    fn run(&mut self, lost: &dyn Fn(WireLost)) {
        loop {
            let ready = match self.poll.wait(None) {
                Ok(ready) => ready,
                Err(error) => {
                    tracing::error!(%error, "frames are no longer moved");
                    return;
                }
            };
            for order in self.orders.take() {
                match order {
                    Order::Join(id, tap, plug) => {
                        if let Err(error) = self.join(id, tap, plug) {
                            tracing::warn!(%error, "a wire could not be joined");
                            lost(WireLost { wire: id, tap: None });
                        }
                    }
                    Order::Cut(id) => drop(self.wires.remove(&id)),
                    Order::Stop => return,
                }
            }
            for (token, flags) in ready {
                let id = WireId(token >> 2);
                let Some(wire) = self.wires.get_mut(&id) else { continue };
                let goes_on = match token & 3 {
                    TAP => wire.drain_tap(&self.poll, id, &mut self.buffer, flags),
                    DATA => wire.drain_data(&self.poll, id, &mut self.buffer, flags),
                    _ if wire.plug.is_gone() => Err(End::Switch),
                    _ => Ok(()),
                };
                let Err(end) = goes_on else { continue };
                let Some(wire) = self.wires.remove(&id) else { continue };
                self.poll.remove(&wire.tap.fd);
                let tap = matches!(end, End::Switch).then_some(wire.tap.fd);
                lost(WireLost { wire: id, tap });
            }
        }
    }

    fn join(&mut self, id: WireId, tap: OwnedFd, plug: Plug) -> io::Result<()> {
        let token = id.0 << 2;
        self.poll.add(&tap, token | TAP, IN)?;
        self.poll.add(&plug.data, token | DATA, IN)?;
        self.poll.add(&plug.ctl, token | CTL, IN)?;
        self.wires.insert(id, Wire { tap: Tap::new(tap), plug, held: None });
        Ok(())
    }
}

/// What a wire has ended with.
enum End {
    Interface,
    Switch,
}

impl Wire {
    fn drain_tap(
        &mut self,
        poll: &Poll,
        id: WireId,
        buffer: &mut [u8],
        flags: EventFlags,
    ) -> Result<(), End> {
        if self.held.is_some() {
            // Not waited for now; only its end is reported.
            return if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
                Err(End::Interface)
            } else {
                Ok(())
            };
        }
        for _ in 0..TURN {
            let frame = match self.tap.read(buffer) {
                Taken::Frame(frame) => frame,
                Taken::Nothing => return Ok(()),
                Taken::Odd => continue,
                Taken::Failed => return Err(End::Interface),
            };
            // Whatever else goes wrong is the switch's end, which the connection tells.
            if rustix::io::write(&self.plug.data, frame) == Err(Errno::AGAIN) {
                self.held = Some(frame.to_vec());
                return self.wait(poll, id, EventFlags::empty(), IN_OUT);
            }
        }
        Ok(())
    }

    fn drain_data(
        &mut self,
        poll: &Poll,
        id: WireId,
        buffer: &mut [u8],
        flags: EventFlags,
    ) -> Result<(), End> {
        if flags.contains(EventFlags::OUT)
            && let Some(frame) = self.held.take()
        {
            if rustix::io::write(&self.plug.data, &frame) == Err(Errno::AGAIN) {
                self.held = Some(frame);
            } else {
                self.wait(poll, id, IN, IN)?;
            }
        }
        for _ in 0..TURN {
            let frame = match read(&self.plug.data, buffer) {
                Taken::Frame(frame) => frame,
                Taken::Odd => continue,
                Taken::Nothing | Taken::Failed => break,
            };
            self.tap.send(frame, |_| ());
        }
        self.tap.flush(|_| ());
        Ok(())
    }

    fn wait(&self, poll: &Poll, id: WireId, tap: EventFlags, data: EventFlags) -> Result<(), End> {
        let token = id.0 << 2;
        let changed = poll.change(&self.tap.fd, token | TAP, tap);
        changed.and_then(|()| poll.change(&self.plug.data, token | DATA, data)).map_err(|_| End::Interface)
    }
}
