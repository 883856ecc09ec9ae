//! The switch's thread: everything it owns, and what it does when something is ready.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use landline_kernel::Seldom;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::clients::{Endpoint, Input, PENDING_MAX, Peer, Pending, SHARED_MAX};
use super::fabric::{Fabric, Tagging, UPLINK};
use super::manage::Console;
use super::session::Session;
use super::{Counters, Place, PortView, SwitchConfig};
use crate::dir::{Access, DirError};
use crate::frame::{FRAME_MAX, Header, tagged, untagged};
use crate::poll::{IN, IN_OUT, Poll, Queue};
use crate::request::Request;
use crate::socket::{self, CTL};
use crate::tap::{Sent, Taken, Tap, read};

/// How many frames one port may bring in before the others have their turn.
const TURN: usize = 64;

/// How many may talk to the management socket at once.
const SESSIONS_MAX: usize = 16;

/// How long nobody is let in after the system had no descriptor for somebody.
const PAUSE: Duration = Duration::from_secs(1);

/// What other threads want of a switch.
#[derive(Debug)]
pub(crate) enum Order {
    Uplink(OwnedFd),
    View(mpsc::Sender<Vec<PortView>>),
    Stop { remove: bool },
}

/// What a token means: its three lowest bits. Above them is the id, or for endpoints id and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Ctl,
    Management,
    Uplink,
    Pending(u32),
    Session(u32),
    EndpointCtl(u16, u32),
    EndpointData(u16, u32),
}

impl Source {
    pub(super) fn token(self) -> u64 {
        let (kind, port, id) = match self {
            Self::Ctl => (0, 0, 0),
            Self::Management => (1, 0, 0),
            Self::Uplink => (2, 0, 0),
            Self::Pending(id) => (3, 0, id),
            Self::Session(id) => (4, 0, id),
            Self::EndpointCtl(port, id) => (5, port, id),
            Self::EndpointData(port, id) => (6, port, id),
        };
        u64::from(id) << 32 | u64::from(port) << 8 | kind
    }

    fn read(token: u64) -> Option<Self> {
        let [kind, low, high, _, id @ ..] = token.to_le_bytes();
        let (port, id) = (u16::from_le_bytes([low, high]), u32::from_le_bytes(id));
        Some(match kind {
            0 => Self::Ctl,
            1 => Self::Management,
            2 => Self::Uplink,
            3 => Self::Pending(id),
            4 => Self::Session(id),
            5 => Self::EndpointCtl(port, id),
            6 => Self::EndpointData(port, id),
            _ => return None,
        })
    }
}

/// A port, once somebody was on it.
#[derive(Debug, Default)]
pub(crate) struct Port {
    pub(crate) counters: Counters,
    pub(crate) endpoints: Vec<Endpoint>,
}

impl Port {
    /// Sends a frame to everybody on the port.
    fn send(&mut self, frame: &[u8]) {
        for endpoint in &self.endpoints {
            // Only a socket whose client is gone answers anything but EAGAIN, and its connection tells.
            let lost = rustix::io::write(&endpoint.data, frame).is_err();
            self.counters.count(Sent { frames: 1, bytes: frame.len() as u64, lost });
        }
    }
}

impl Counters {
    fn count(&mut self, sent: Sent) {
        if sent.lost {
            self.dropped += sent.frames;
        } else {
            self.frames_out += sent.frames;
            self.bytes_out += sent.bytes;
        }
    }
}

/// The interface on port 0.
#[derive(Debug, Default)]
pub(crate) struct Uplink {
    pub(crate) interface: Option<Tap>,
    pub(crate) counters: Counters,
}

impl Uplink {
    fn send(&mut self, frame: &[u8]) {
        if let Some(interface) = &mut self.interface {
            interface.send(frame, |sent| self.counters.count(sent));
        }
    }

    /// Sends what was held back for more.
    fn flush(&mut self) {
        if let Some(interface) = &mut self.interface {
            interface.flush(|sent| self.counters.count(sent));
        }
    }
}

pub(crate) struct Core {
    pub(super) poll: Poll,
    orders: Queue<Order>,
    place: Place,
    pub(crate) dir: PathBuf,
    pub(crate) management: Option<PathBuf>,
    ctl: OwnedFd,
    console: Option<Console>,
    pub(crate) started: Instant,
    pub(crate) limit: u16,
    pub(crate) fabric: Fabric,
    pub(crate) uplink: Uplink,
    pub(crate) ports: BTreeMap<u16, Port>,
    pending: BTreeMap<u32, Pending>,
    pub(super) sessions: BTreeMap<u32, Session>,
    next: u32,
    buffer: Vec<u8>,
    /// Until when nobody is let in.
    paused: Option<Instant>,
    /// That nobody can be let in, and that somebody was sent away, is said once a minute: everybody who may connect can cause
    /// both.
    closed: Seldom,
    refused: Seldom,
}

/// Whether the switch goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    GoOn,
    End { remove: bool, asked: bool },
}

impl Core {
    /// Makes the sockets; all or none.
    pub(crate) fn open(
        poll: Poll,
        orders: Queue<Order>,
        config: &SwitchConfig,
        access: Access,
        place: Place,
    ) -> Result<Self, DirError> {
        let failed = |source| DirError::Io { what: "wait for", path: config.dir.clone(), source };
        let console = config.management.as_deref().map(|path| Console::open(path, access)).transpose()?;
        let ctl = socket::listen(&place.own, CTL.as_ref(), access)?;
        let core = Self {
            poll,
            orders,
            place,
            dir: config.dir.clone(),
            management: config.management.clone(),
            ctl,
            console,
            started: Instant::now(),
            limit: config.ports,
            fabric: Fabric::default(),
            uplink: Uplink::default(),
            ports: BTreeMap::new(),
            pending: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next: 1,
            buffer: vec![0; FRAME_MAX + 1],
            paused: None,
            closed: Seldom::default(),
            refused: Seldom::default(),
        };
        core.wait_for_more(IN).map_err(failed)?;
        Ok(core)
    }

    /// Registers the listening sockets, or changes what they are waited for.
    fn wait_for_more(&self, what: EventFlags) -> io::Result<()> {
        let listeners = [
            (Some(&self.ctl), Source::Ctl),
            (self.console.as_ref().map(|console| &console.listener), Source::Management),
        ];
        for (listener, source) in listeners {
            let Some(listener) = listener else { continue };
            match self.poll.add(listener, source.token(), what) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.poll.change(listener, source.token(), what)?;
                }
                done => done?,
            }
        }
        Ok(())
    }

    pub(crate) fn run(mut self, ended: impl FnOnce()) {
        let (remove, asked) = loop {
            match self.turn() {
                Ok(Flow::GoOn) => {}
                Ok(Flow::End { remove, asked }) => break (remove, asked),
                Err(error) => {
                    tracing::error!(dir = %self.dir.display(), %error, "a VDE switch cannot go on");
                    break (false, false);
                }
            }
        };
        self.console = None;
        self.place.own.remove(CTL.as_ref());
        // Their sockets go with them.
        self.ports.clear();
        if remove {
            self.place.parent.remove_dir(&self.place.name);
        }
        if !asked {
            ended();
        }
    }

    fn turn(&mut self) -> io::Result<Flow> {
        let deadlines = self.pending.values().map(|pending| pending.deadline).chain(self.paused);
        let ready = self.poll.wait(deadlines.min())?;
        let now = Instant::now();
        for order in self.orders.take() {
            match order {
                Order::Uplink(interface) => {
                    if let Err(error) = self.poll.add(&interface, Source::Uplink.token(), IN) {
                        tracing::warn!(%error, "an interface cannot be plugged into a VDE switch");
                    }
                    self.uplink.interface = Some(Tap::new(interface));
                }
                Order::View(answer) => drop(answer.send(self.view())),
                Order::Stop { remove } => return Ok(Flow::End { remove, asked: true }),
            }
        }
        for (token, _) in ready {
            match Source::read(token) {
                Some(Source::Uplink) => self.drain_uplink(now),
                Some(Source::EndpointData(port, id)) => self.drain_endpoint(port, id, now),
                Some(Source::EndpointCtl(port, id)) => self.cable(port, id),
                Some(Source::Pending(id)) => self.hear(id),
                Some(Source::Session(id)) => {
                    if let flow @ Flow::End { .. } = self.serve_console(id, now) {
                        return Ok(flow);
                    }
                }
                Some(source @ (Source::Ctl | Source::Management)) => self.accept(source, now)?,
                None => {}
            }
        }
        self.pending.retain(|_, pending| pending.deadline > now);
        if self.paused.is_some_and(|until| until <= now) {
            self.paused = None;
            self.wait_for_more(IN)?;
        }
        Ok(Flow::GoOn)
    }

    fn view(&self) -> Vec<PortView> {
        let uplink = self.uplink.interface.is_some().then(|| PortView {
            number: UPLINK,
            counters: self.uplink.counters,
            endpoints: Vec::new(),
        });
        let ports = self.ports.iter().filter(|(_, port)| !port.endpoints.is_empty());
        let ports = ports.map(|(number, port)| PortView {
            number: *number,
            counters: port.counters,
            endpoints: port.endpoints.iter().map(|endpoint| endpoint.description.clone()).collect(),
        });
        uplink.into_iter().chain(ports).collect()
    }

    // Frames.

    fn drain_uplink(&mut self, now: Instant) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..TURN {
            let Some(interface) = &self.uplink.interface else { break };
            match interface.read(&mut buffer) {
                Taken::Frame(frame) => {
                    self.uplink.counters.frames_in += 1;
                    self.uplink.counters.bytes_in += frame.len() as u64;
                    self.switch(UPLINK, frame, now);
                }
                Taken::Odd => {}
                Taken::Nothing => break,
                Taken::Failed => {
                    tracing::warn!(dir = %self.dir.display(), "a VDE switch has lost its interface");
                    self.uplink.interface = None;
                    self.fabric.empty(UPLINK);
                }
            }
        }
        self.buffer = buffer;
    }

    fn drain_endpoint(&mut self, port: u16, id: u32, now: Instant) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..TURN {
            let Some(at) = self.ports.get_mut(&port) else { break };
            let Some(endpoint) = at.endpoints.iter().find(|endpoint| endpoint.id == id) else { break };
            match read(&endpoint.data, &mut buffer) {
                Taken::Frame(frame) => {
                    at.counters.frames_in += 1;
                    at.counters.bytes_in += frame.len() as u64;
                    self.switch(port, frame, now);
                }
                Taken::Odd => {}
                Taken::Nothing | Taken::Failed => break,
            }
        }
        self.uplink.flush();
        self.buffer = buffer;
    }

    fn switch(&mut self, from: u16, frame: &[u8], now: Instant) {
        let Some(header) = Header::read(frame) else { return };
        let Some(way) = self.fabric.lookup(from, header, now) else { return };
        if let Some(form) = self.fabric.form(way, UPLINK) {
            with(form, frame, |frame| self.uplink.send(frame));
        }
        let to = way.to.map_or(0..=u16::MAX, |port| port..=port);
        for (number, port) in self.ports.range_mut(to) {
            if let Some(form) = self.fabric.form(way, *number) {
                with(form, frame, |frame| port.send(frame));
            }
        }
    }

    // Clients.

    fn accept(&mut self, source: Source, now: Instant) -> io::Result<()> {
        let listener = match source {
            Source::Management => self.console.as_ref().map(|console| &console.listener),
            _ => Some(&self.ctl),
        };
        let Some(listener) = listener else { return Ok(()) };
        let stream = match rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(stream) => stream,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(()),
            Err(error) => {
                if let Some(count) = self.closed.again(now) {
                    tracing::warn!(%error, count, "a VDE switch can let nobody in for the moment");
                }
                self.paused = Some(now + PAUSE);
                return self.wait_for_more(EventFlags::empty());
            }
        };
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        if let Err(error) = self.take_in(id, stream, source, now)
            && let Some(count) = self.refused.again(now)
        {
            tracing::warn!(dir = %self.dir.display(), %error, count, "a VDE client cannot be waited for");
        }
        Ok(())
    }

    /// Waits for what a new client says. One that cannot be waited for is closed: it sees so at once.
    fn take_in(&mut self, id: u32, stream: OwnedFd, source: Source, now: Instant) -> io::Result<()> {
        match source {
            Source::Management => {
                // Nobody can keep others out by saying nothing.
                if self.sessions.len() >= SESSIONS_MAX
                    && let Some(id) =
                        self.sessions.iter().min_by_key(|(_, session)| session.heard).map(|(id, _)| *id)
                {
                    self.sessions.remove(&id);
                }
                self.poll.add(&stream, Source::Session(id).token(), IN_OUT)?;
                self.sessions.insert(id, Session::new(stream, now));
            }
            Source::Ctl if self.pending.len() < PENDING_MAX => {
                self.poll.add(&stream, Source::Pending(id).token(), IN)?;
                self.pending.insert(id, Pending::new(stream, now));
            }
            // Closed: whoever it is sees so at once.
            _ => {}
        }
        Ok(())
    }

    fn hear(&mut self, id: u32) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        let heard = pending.hear();
        if matches!(heard, Input::More) {
            return;
        }
        let Some(pending) = self.pending.remove(&id) else { return };
        match heard {
            Input::Request(request) => {
                let (path, who) = (request.path.clone(), request.description.clone());
                if let Err(error) = self.plug(id, pending.stream, request)
                    && let Some(count) = self.refused.again(Instant::now())
                {
                    tracing::info!(dir = %self.dir.display(), %who, path = %path.display(), %error, count,
                        "a VDE client gets no port");
                }
            }
            Input::Nothing(Some(error)) => {
                if let Some(count) = self.refused.again(Instant::now()) {
                    tracing::info!(dir = %self.dir.display(), %error, count, "not a VDE client");
                }
            }
            Input::Nothing(None) | Input::More => {}
        }
    }

    fn plug(&mut self, id: u32, ctl: OwnedFd, request: Request) -> io::Result<()> {
        let peer = Peer::of(&ctl)?;
        let Some(number) = self.choose(request.port, peer) else {
            return Err(io::Error::other("its port, or all ports, are taken"));
        };
        let endpoint = Endpoint::plug(ctl, request, peer, (number, id), &self.place.own)?;
        // Registered before (as pending), under another token.
        self.poll.change(&endpoint.ctl, Source::EndpointCtl(number, id).token(), IN)?;
        self.poll.add(&endpoint.data, Source::EndpointData(number, id).token(), IN)?;
        tracing::debug!(dir = %self.dir.display(), port = number, who = %endpoint.description, "plugged in");
        self.ports.entry(number).or_default().endpoints.push(endpoint);
        Ok(())
    }

    /// The port a client gets: the one it wants, which those of one user may share, or the first that is free.
    fn choose(&self, wanted: u32, peer: Peer) -> Option<u16> {
        let taken = |number: u16| self.ports.get(&number).map_or(&[][..], |port| &port.endpoints);
        if wanted == 0 {
            return (1..=self.limit).find(|number| taken(*number).is_empty());
        }
        let number = u16::try_from(wanted).ok().filter(|number| (1..=self.limit).contains(number))?;
        let there = taken(number);
        let welcome = there.len() < SHARED_MAX && there.iter().all(|endpoint| endpoint.peer == peer);
        welcome.then_some(number)
    }

    /// Something is to be read from a client's connection: usually its end.
    fn cable(&mut self, port: u16, id: u32) {
        let Some(at) = self.ports.get(&port) else { return };
        let Some(endpoint) = at.endpoints.iter().find(|endpoint| endpoint.id == id) else { return };
        match rustix::io::read(&endpoint.ctl, &mut [0; 1024]) {
            // Nothing is ever said here; what is said all the same does not count.
            Ok(1..) | Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(0) | Err(_) => drop(self.unplug(port, id)),
        }
    }

    /// Takes a client off its port. `false`: it is not there.
    pub(crate) fn unplug(&mut self, port: u16, id: u32) -> bool {
        let Some(at) = self.ports.get_mut(&port) else { return false };
        let before = at.endpoints.len();
        at.endpoints.retain(|endpoint| endpoint.id != id);
        if at.endpoints.is_empty() {
            self.fabric.empty(port);
        }
        before != self.ports.get(&port).map_or(0, |at| at.endpoints.len())
    }

    /// Whether a port has this number.
    pub(crate) fn has_port(&self, number: u16) -> bool {
        (1..=self.limit).contains(&number) || (number == UPLINK && self.uplink.interface.is_some())
    }
}

/// Gives `send` the frame as it has to leave.
fn with(form: Tagging, frame: &[u8], mut send: impl FnMut(&[u8])) {
    match form {
        Tagging::AsItIs => send(frame),
        Tagging::Untagged => send(&untagged(frame)),
        Tagging::Tagged(vlan) => send(&tagged(frame, vlan)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use super::*;
    use crate::dir::Dir;

    #[test]
    fn a_client_that_cannot_be_waited_for_is_closed_and_the_switch_goes_on() {
        let above = tempfile::tempdir().unwrap();
        let (dir, management) = (above.path().join("switch"), above.path().join("manage"));
        let config =
            SwitchConfig { dir: dir.clone(), management: Some(management.clone()), group: None, ports: 4 };
        let access = Access { group: None };
        let (parent, name) = Dir::above(&dir, access).unwrap();
        let (own, _) = socket::prepare(&parent, &name, access).unwrap();
        let place = Place { own: Arc::new(own), parent: Arc::new(parent), name };
        let poll = Poll::new().unwrap();
        let orders = Queue::new(&poll);
        let mut core = Core::open(poll, orders, &config, access, place).unwrap();
        core.poll = Poll::of_nothing();
        for (source, path) in [(Source::Ctl, dir.join(CTL)), (Source::Management, management)] {
            let mut client = UnixStream::connect(path).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            core.accept(source, Instant::now()).unwrap();
            assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "it is closed");
        }
        assert!(core.pending.is_empty() && core.sessions.is_empty());
    }
}
