//! A DHCP server whose every answer a test decides: for what no real server can be made to do, such as
//! answering late, twice, or with nonsense.

use std::collections::BinaryHeap;
use std::fmt;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::dhcp::DhcpMessage;
use crate::error::{Error, Result};
use crate::node::Node;

/// One answer of a [`FakeServer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// How long after the request it is sent.
    pub after: Duration,
    /// The UDP payload.
    pub payload: Vec<u8>,
    /// To whom; broadcast if `None`. A client without an address hears broadcasts only.
    pub to: Option<Ipv4Addr>,
}

impl Reply {
    /// Sent at once to everybody.
    pub fn now(message: &DhcpMessage) -> Self {
        Self::late(Duration::ZERO, message)
    }

    /// Sent to everybody after a while.
    pub fn late(after: Duration, message: &DhcpMessage) -> Self {
        Self { after, payload: message.encode(), to: None }
    }
}

/// A scripted DHCP server on a machine that has the address it sends from. Ends when it is dropped.
pub struct FakeServer {
    seen: Arc<Mutex<Vec<(Instant, DhcpMessage)>>>,
    /// Closing it tells the thread to end.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl FakeServer {
    /// Starts it on `node`, sending from `address`. `script` is called for every DHCP message of a client and says
    /// what is answered; nothing for silence.
    ///
    /// # Errors
    /// If the namespace cannot be entered or port 67 of `address` not be bound.
    pub fn start(
        node: &Node,
        address: Ipv4Addr,
        script: impl FnMut(&DhcpMessage) -> Vec<Reply> + Send + 'static,
    ) -> Result<Self> {
        let path = node.netns_path();
        let namespace = std::fs::File::open(&path).map_err(Error::file("cannot open", path))?;
        let (stop, stopped) = UnixStream::pair().map_err(Error::system("cannot make a socket pair"))?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (ready, started) = mpsc::channel();
        let record = Arc::clone(&seen);
        // A thread of its own: only it changes namespace, and it ends there.
        let thread = std::thread::spawn(move || {
            let sockets = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(Error::system("cannot enter a network namespace"))
                .and_then(|()| Ok((open(Ipv4Addr::UNSPECIFIED)?, open(address)?)));
            match sockets {
                Ok((all, own)) => {
                    let _ = ready.send(Ok(()));
                    Server { all, own, script, record, pending: BinaryHeap::new() }.run(&stopped);
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        });
        let server = Self { seen, stop: Some(stop), thread: Some(thread) };
        let ended = |_| Error::Unexpected("the fake server ended before it was ready".to_owned());
        started.recv().map_err(ended)??;
        Ok(server)
    }

    /// The messages of clients so far, and when they came.
    pub fn seen(&self) -> Vec<(Instant, DhcpMessage)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for FakeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeServer").field("seen", &self.seen().len()).finish_non_exhaustive()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        if let Some(mut stop) = self.stop.take() {
            let _ = stop.write_all(&[0]);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A socket on port 67 that can send broadcasts. Two of them are needed: broadcasts arrive at the one that is
/// bound to no address, and the one that is bound to the server's tells the kernel which interface to send them on.
fn open(address: Ipv4Addr) -> Result<UdpSocket> {
    let opened = || -> rustix::io::Result<_> {
        let fd = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        sockopt::set_socket_reuseaddr(&fd, true)?;
        sockopt::set_socket_broadcast(&fd, true)?;
        bind(&fd, &SocketAddrV4::new(address, 67))?;
        Ok(fd)
    };
    let socket =
        UdpSocket::from(opened().map_err(Error::system(format!("cannot listen on {address} port 67")))?);
    socket.set_nonblocking(true).map_err(Error::system("cannot set a socket to non-blocking"))?;
    Ok(socket)
}

struct Server<S> {
    all: UdpSocket,
    own: UdpSocket,
    script: S,
    record: Arc<Mutex<Vec<(Instant, DhcpMessage)>>>,
    pending: BinaryHeap<Pending>,
}

impl<S: FnMut(&DhcpMessage) -> Vec<Reply>> Server<S> {
    fn run(mut self, stopped: &UnixStream) {
        loop {
            let until_next =
                self.pending.peek().map(|next| next.at.saturating_duration_since(Instant::now()));
            let timeout = until_next.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [
                PollFd::new(&self.all, PollFlags::IN),
                PollFd::new(&self.own, PollFlags::IN),
                PollFd::new(stopped, PollFlags::IN),
            ];
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            if !fds[2].revents().is_empty() {
                return;
            }
            self.receive();
            self.send_due();
        }
    }

    fn receive(&mut self) {
        let mut buffer = [0; 2048];
        for socket in [&self.all, &self.own] {
            while let Ok(length) = socket.recv(&mut buffer) {
                let Some(message) = DhcpMessage::parse(&buffer[..length]).filter(|message| message.op == 1)
                else {
                    continue;
                };
                let now = Instant::now();
                let replies = (self.script)(&message);
                self.record.lock().unwrap_or_else(PoisonError::into_inner).push((now, message));
                self.pending
                    .extend(replies.into_iter().map(|reply| Pending { at: now + reply.after, reply }));
            }
        }
    }

    fn send_due(&mut self) {
        while self.pending.peek().is_some_and(|next| next.at <= Instant::now()) {
            let Some(Pending { reply, .. }) = self.pending.pop() else { return };
            let to = SocketAddrV4::new(reply.to.unwrap_or(Ipv4Addr::BROADCAST), 68);
            // A client that is gone is no concern of a server.
            let _ = self.own.send_to(&reply.payload, to);
        }
    }
}

struct Pending {
    at: Instant,
    reply: Reply,
}

/// The earliest is the greatest, as the heap hands out the greatest first.
impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Pending {}
