//! A switch: what it is told to be, and the handle on its thread.

mod clients;
pub(crate) mod console;
mod core;
mod fabric;
mod manage;
mod report;
mod session;
mod table;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use self::core::{Core, Order};
use crate::dir::{self, Access, Dir, DirError};
use crate::poll::{Poll, Queue};
use crate::socket;

/// How a switch is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchConfig {
    /// Its directory: an absolute path of at most [`PATH_MAX`](crate::PATH_MAX) bytes. Made if it is not there; its parent must be.
    pub dir: PathBuf,
    /// The path of its management socket.
    pub management: Option<PathBuf>,
    /// The group (by number) whose members may join it and use the management socket, besides the owner.
    pub group: Option<u32>,
    /// How many ports it has for clients.
    pub ports: u16,
}

/// The directories of a switch that is being started.
#[derive(Debug, Clone)]
struct Place {
    own: Arc<Dir>,
    parent: Arc<Dir>,
    /// What it is called there.
    name: OsString,
}

/// Why there is no switch.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// Its directory or its sockets.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// No descriptors or threads.
    #[error("cannot start the switch")]
    Start(#[source] io::Error),
}

/// What went through a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that came in by it.
    pub frames_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Frames that left by it.
    pub frames_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Frames that were to leave by it and were lost, because whoever is on it does not keep up.
    pub dropped: u64,
}

/// A port somebody is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortView {
    /// Its number; 0 is the switch's own network interface.
    pub number: u16,
    /// What went through it.
    pub counters: Counters,
    /// What those on it say of themselves.
    pub endpoints: Vec<String>,
}

/// A running switch. Dropping it ends it: clients see their connection closed, its sockets are removed, its directory
/// stays.
#[derive(Debug)]
pub struct Switch {
    orders: Queue<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// Makes the sockets and starts the thread. `ended` is called if the switch ends without being told to by this
    /// handle: its management socket was told `shutdown`, or the system failed it.
    ///
    /// # Errors
    /// See [`SwitchError`]; nothing is left behind then.
    pub fn start(config: &SwitchConfig, ended: impl FnOnce() + Send + 'static) -> Result<Self, SwitchError> {
        let access = Access { group: config.group };
        dir::check(&config.dir)?;
        let (parent, name) = Dir::above(&config.dir, access)?;
        let (own, made) = socket::prepare(&parent, &name, access)?;
        let place = Place { own: Arc::new(own), parent: Arc::new(parent), name };
        let start = || -> Result<Self, SwitchError> {
            let poll = Poll::new().map_err(SwitchError::Start)?;
            let orders = Queue::new(&poll);
            let core = Core::open(poll, orders.clone(), config, access, place.clone())?;
            let thread = std::thread::Builder::new().name("vde-switch".into());
            let thread = thread.spawn(move || core.run(ended)).map_err(SwitchError::Start)?;
            Ok(Self { orders, thread: Some(thread) })
        };
        start().inspect_err(|_| {
            if made {
                place.parent.remove_dir(&place.name);
            }
        })
    }

    /// Plugs a network interface into port 0, in place of one that is there: a tap with `IFF_VNET_HDR`, or what is read
    /// and written like one, that does not block.
    pub fn set_uplink(&self, interface: OwnedFd) {
        self.orders.push(Order::Uplink(interface));
    }

    /// The ports that somebody is on; `None`: the switch has ended.
    pub fn ports(&self) -> Option<Vec<PortView>> {
        let (answer, ports) = mpsc::channel();
        self.orders.push(Order::View(answer));
        if self.has_ended() { None } else { ports.recv().ok() }
    }

    /// Whether the switch has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends the switch and removes its directory, unless others have put something into it.
    pub fn remove(mut self) {
        self.end(true);
    }

    fn end(&mut self, remove: bool) {
        if let Some(thread) = self.thread.take() {
            self.orders.push(Order::Stop { remove });
            if thread.join().is_err() {
                tracing::error!("a switch has failed");
            }
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.end(false);
    }
}
