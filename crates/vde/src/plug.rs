//! The client's side: a port of a switch that somebody else runs.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::dir::{Dir, SocketFile};
use crate::request::{REPLY_LEN, Request, parse_reply};
use crate::socket::{self, CTL};

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub enum PlugError {
    /// No switch has this directory.
    #[error("no VDE switch is running in {dir}")]
    NoSwitch {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It closed the connection.
    #[error("the VDE switch in {0} refused; perhaps all its ports are taken")]
    Refused(PathBuf),
    /// It says nothing. `vde_switch` does so when all its ports are taken.
    #[error("the VDE switch in {dir} did not answer within {} s; perhaps all its ports are taken", .waited.as_secs_f64())]
    Silent {
        /// The directory.
        dir: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// Its answer names no socket.
    #[error("what runs in {0} does not speak the VDE protocol")]
    NotVde(PathBuf),
    /// The system's answer.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A port of a switch, for as long as it is kept.
#[derive(Debug)]
pub struct Plug {
    /// The cable: the switch takes the port back when it is closed, and it ends when the switch does.
    pub(crate) ctl: OwnedFd,
    /// Frames, one a datagram. Does not block.
    pub(crate) data: OwnedFd,
}

impl Plug {
    /// Takes a port of the switch in `dir`, any that is free. Blocks for `patience` at most. The description is for those
    /// who list the switch's ports.
    ///
    /// # Errors
    /// See [`PlugError`].
    pub fn connect(dir: &Path, description: &str, patience: Duration) -> Result<Self, PlugError> {
        let deadline = Instant::now() + patience;
        let silent = || PlugError::Silent { dir: dir.to_owned(), waited: patience };
        let no_switch = |source| PlugError::NoSwitch { dir: dir.to_owned(), source };
        let there = Dir::find(dir).map_err(no_switch)?;
        let ctl = there.socket(CTL.as_ref()).and_then(|ctl| connect_stream(&ctl, patience));
        let ctl = ctl.map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => silent(),
            _ => no_switch(source),
        })?;
        let io = |what| move |source| PlugError::Io { what, source };
        let data = socket::data_socket().map_err(|e| io("make a socket")(e.into()))?;
        // The switch must be able to write to it, whoever runs it.
        let user = socket_peercred(&ctl).map_err(|e| io("see who runs the switch")(e.into()))?.uid.as_raw();
        let named =
            Named::bind(&data, &there, user).map_err(io("name a socket in the switch's directory"))?;

        let mut ctl = UnixStream::from(ctl);
        let request = Request::new(dir.join(&named.name), description);
        ctl.write_all(&request.to_bytes()).map_err(|_| PlugError::Refused(dir.to_owned()))?;
        let mut answer = [0; REPLY_LEN];
        let mut have = 0;
        while have < REPLY_LEN {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(silent());
            }
            ctl.set_read_timeout(Some(left)).map_err(io("set a timeout"))?;
            match ctl.read(&mut answer[have..]) {
                Ok(0) => return Err(PlugError::Refused(dir.to_owned())),
                Ok(more) => have += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(silent()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(PlugError::Refused(dir.to_owned())),
            }
        }
        let port = parse_reply(&answer).ok_or_else(|| PlugError::NotVde(dir.to_owned()))?;
        // It may have given the socket to us.
        let owners = [user, rustix::process::geteuid().as_raw()];
        socket::connect_to(&there, &data, &port, &owners).map_err(io("connect to the switch's port"))?;
        ctl.set_nonblocking(true).map_err(io("set up the connection"))?;
        // Both ends are connected: the name has done its work, and nothing is left behind if we are killed.
        drop(named);
        Ok(Self { ctl: ctl.into(), data })
    }

    /// Sends a frame; `false` if it did not get through: the switch does not keep up, or is gone.
    pub fn send(&self, frame: &[u8]) -> bool {
        rustix::io::write(&self.data, frame).is_ok_and(|sent| sent == frame.len())
    }

    /// Takes the next frame, if one is there; its length. Longer ones are cut.
    pub fn receive(&self, buffer: &mut [u8]) -> Option<usize> {
        rustix::io::read(&self.data, buffer).ok()
    }

    /// Whether the switch has ended or taken the port away.
    pub fn is_gone(&self) -> bool {
        loop {
            match rustix::io::read(&self.ctl, &mut [0; 64]) {
                Ok(0) => return true,
                // Nothing is ever said here; what is said all the same does not count.
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return false,
                Err(_) => return true,
            }
        }
    }
}

/// Connects to a listening socket; a full backlog is waited for.
fn connect_stream(ctl: &SocketFile, patience: Duration) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    rustix::net::connect(&socket, &ctl.address()?)?;
    Ok(socket)
}

/// A socket's name, for as long as it is needed.
struct Named<'a> {
    dir: &'a Dir,
    name: OsString,
}

impl<'a> Named<'a> {
    /// Names the socket as clients do, in the switch's directory, which the switch is sure to see, and gives it to the user
    /// who runs that.
    fn bind(socket: &OwnedFd, dir: &'a Dir, user: u32) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        /// More than a process that was killed leaves, and the switch's user may have left others on purpose.
        const TRIES: u32 = 1000;
        for _ in 0..TRIES {
            let number = NEXT.fetch_add(1, Ordering::Relaxed) % 100_000;
            let name = OsString::from(format!(".{:05}-{number:05}", std::process::id()));
            match socket::bind_for(dir, socket, &name, user) {
                // Of one with the same process id that was killed.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => dir.remove(&name),
                done => return done.map(|()| Self { dir, name }),
            }
        }
        Err(io::Error::from(io::ErrorKind::AddrInUse))
    }
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        self.dir.remove(&self.name);
    }
}
