//! The daemon's side of switching: the taps it makes, and the process that gets them.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landline_kernel::Netns;
use landline_types::IfName;
use landline_vde::SwitchConfig;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Mode;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Signal, pidfd_send_signal};
use tokio::sync::Notify;
use tracing::level_filters::LevelFilter;

use super::messages::{Answer, Ask, Greeting, VERSION, receive, send};
use crate::host::HostError;

/// Why a switch or a cable could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SwitchingError {
    /// The switch could not be started, or gave no port.
    #[error("{0}")]
    Refused(String),
    /// The process that runs switches.
    #[error("cannot {what} the process that runs VDE switches")]
    Process {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl From<SwitchingError> for HostError {
    fn from(error: SwitchingError) -> Self {
        Self::Driver(error.into())
    }
}

/// Where the process is reached: a socket for each network namespace. Not in a directory that containers are given.
const CONTROL: &str = "/run/landline-vde.control";

/// The variable that names the socket on which the service manager listens for the process, which it starts when somebody connects:
/// then that is a service of its own. Said by the daemon's unit.
const MANAGED: &str = "LANDLINE_SWITCHES_SOCKET";

/// How long the process may take to answer; a switch of others' may take five seconds to give out a port.
const PATIENCE: Duration = Duration::from_secs(15);

/// Taps that wait to be plugged in somewhere, and the process that has the others.
pub(crate) struct Switching {
    /// The socket of a process that a daemon has started.
    control: PathBuf,
    /// That of one that the service manager starts, if there is one.
    managed: Option<PathBuf>,
    taps: Mutex<BTreeMap<IfName, OwnedFd>>,
    process: Mutex<Option<Process>>,
    /// Told when the process has ended.
    pub(crate) ended: Arc<Notify>,
}

/// The process, and the connection that says to it that there is a daemon.
struct Process {
    pidfd: Arc<OwnedFd>,
    /// Its socket.
    path: PathBuf,
    _held: OwnedFd,
}

impl Process {
    fn has_ended(&self) -> bool {
        has_ended(&self.pidfd, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
    }
}

/// The process at the other end of a new connection.
struct Peer {
    socket: OwnedFd,
    version: u32,
    pidfd: OwnedFd,
}

impl Peer {
    fn dial(path: &Path) -> io::Result<Self> {
        let socket = seqpacket()?;
        for side in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&socket, side, Some(PATIENCE))?;
        }
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        let (Greeting { version }, pidfd) = receive(&socket)?;
        let pidfd = pidfd.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { socket, version, pidfd })
    }
}

impl Switching {
    /// For the calling thread's namespace.
    pub(crate) fn new() -> Result<Self, HostError> {
        let namespace = Netns::current().and_then(|own| own.id());
        let namespace =
            namespace.map_err(|source| SwitchingError::Process { what: "name the socket of", source })?;
        let control = Path::new(CONTROL).join(format!("{}.sock", namespace.inode()));
        let managed = std::env::var_os(MANAGED).filter(|path| !path.is_empty()).map(PathBuf::from);
        Ok(Self {
            control,
            managed,
            taps: Mutex::default(),
            process: Mutex::default(),
            ended: Arc::default(),
        })
    }

    fn taps(&self) -> MutexGuard<'_, BTreeMap<IfName, OwnedFd>> {
        self.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a tap in the calling thread's namespace and keeps hold of it.
    pub(crate) fn make_tap(&self, name: &IfName) -> Result<(), HostError> {
        let tap = open(name)?;
        self.taps().insert(name.clone(), tap);
        Ok(())
    }

    /// The hold on a tap that was made, or one that is there.
    pub(crate) fn take_tap(&self, name: &IfName) -> Result<OwnedFd, HostError> {
        let kept = self.taps().remove(name);
        kept.map_or_else(|| open(name), Ok)
    }

    /// Lets go of a tap nobody plugged in.
    pub(crate) fn drop_tap(&self, name: &IfName) {
        self.taps().remove(name);
    }

    /// Starts a switch that does not run yet, with this tap on port 0.
    pub(crate) fn start(&self, config: &SwitchConfig, uplink: &IfName) -> Result<(), HostError> {
        if self.asks(&Ask::Runs(config.dir.clone()))? {
            return Ok(());
        }
        let tap = self.take_tap(uplink)?;
        self.tell(&Ask::start(config), &tap)
    }

    /// Ends a switch for good; one that does not run is fine.
    pub(crate) fn end(&self, dir: &Path) -> Result<(), HostError> {
        self.asks(&Ask::End(dir.to_owned())).map(drop)
    }

    /// Whether a tap has a cable, if only one whose other end is loose.
    pub(crate) fn has_cable(&self, tap: &IfName) -> Result<bool, HostError> {
        self.asks(&Ask::Has(tap.clone()))
    }

    /// Plugs a tap, which is called `name` on the host, into the switch in `dir`. A `patient` one is plugged in behind the
    /// caller's back, at once or when the switch is there.
    pub(crate) fn plug_in(
        &self,
        name: &IfName,
        tap: &OwnedFd,
        dir: &Path,
        patient: bool,
    ) -> Result<(), HostError> {
        self.tell(&Ask::PlugIn { tap: name.clone(), dir: dir.to_owned(), patient }, tap)
    }

    /// Asks the process, if there is one.
    fn asks(&self, ask: &Ask) -> Result<bool, HostError> {
        match self.connect(false)? {
            Some(socket) => Ok(matches!(exchange(&socket, ask, None)?, Answer::Yes)),
            None => Ok(false),
        }
    }

    /// Tells the process, which is started if there is none.
    fn tell(&self, ask: &Ask, tap: &OwnedFd) -> Result<(), HostError> {
        let Some(socket) = self.connect(true)? else { return Ok(()) };
        match exchange(&socket, ask, Some(tap))? {
            Answer::Failed(why) => Err(SwitchingError::Refused(why).into()),
            Answer::Done | Answer::Yes | Answer::No => Ok(()),
        }
    }

    /// A connection to the process; `None`: there is none, and none is to be started.
    fn connect(&self, start: bool) -> Result<Option<OwnedFd>, HostError> {
        let failed = |what| move |source| SwitchingError::Process { what, source };
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if process.as_ref().is_none_or(Process::has_ended) {
            *process = None;
            let (peer, path, child) = match self.find() {
                Some((peer, path)) => (peer, path, None),
                None if !start => return Ok(None),
                None => {
                    let child = spawn(&self.control).map_err(failed("start"))?;
                    (Peer::dial(&self.control).map_err(failed("reach"))?, &self.control, Some(child))
                }
            };
            let pidfd = Arc::new(peer.pidfd);
            self.watch(child, pidfd.clone()).map_err(failed("watch"))?;
            *process = Some(Process { pidfd, path: path.clone(), _held: peer.socket });
        }
        let path = process.as_ref().map_or(&self.control, |process| &process.path);
        Ok(Some(Peer::dial(path).map_err(failed("reach"))?.socket))
    }

    /// The process that is there already, or that the service manager starts, and its socket.
    fn find(&self) -> Option<(Peer, &PathBuf)> {
        // One of before an update comes first: it has the taps.
        let there = known(&self.control).map(|peer| (peer, &self.control));
        there.or_else(|| {
            let managed = self.managed.as_ref()?;
            // In the place of one of before an update there is another at once.
            let peer = known(managed).or_else(|| known(managed));
            if peer.is_none() {
                tracing::warn!(socket = %managed.display(), "the service manager runs no VDE switches; the daemon does");
            }
            Some((peer?, managed))
        })
    }

    /// Waits for the process's end, behind the caller's back.
    fn watch(&self, child: Option<Child>, pidfd: Arc<OwnedFd>) -> io::Result<()> {
        let ended = self.ended.clone();
        let wait = move || {
            has_ended(&pidfd, None);
            match child.map(|mut child| child.wait()) {
                // A child of ours, which is still to be buried.
                Some(Ok(status)) => tracing::warn!(%status, "the process that runs VDE switches has ended"),
                Some(Err(error)) => tracing::warn!(%error, "the process that runs VDE switches has ended"),
                // The service manager has started it, and says how it ended; it may have been told to end with the daemon.
                None => tracing::info!("the process that runs VDE switches has ended"),
            }
            ended.notify_one();
        };
        std::thread::Builder::new().name("switches-watch".into()).spawn(wait).map(drop)
    }
}

/// The process at the other end of this socket, if it speaks as we do. One that does not is ended.
fn known(path: &Path) -> Option<Peer> {
    let peer = Peer::dial(path).ok()?;
    if peer.version != VERSION {
        tracing::warn!("the process that runs VDE switches is another version's; it is ended");
        let _ = pidfd_send_signal(&peer.pidfd, Signal::KILL);
        // Its taps are free then.
        has_ended(&peer.pidfd, None);
        return None;
    }
    Some(peer)
}

/// Starts the process, with its socket as standard input: who connects from now on is heard.
fn spawn(path: &Path) -> io::Result<Child> {
    DirBuilder::new().recursive(true).mode(0o700).create(CONTROL)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = seqpacket()?;
    // The kernel takes the file's mode from the socket.
    rustix::fs::fchmod(&listener, Mode::from_raw_mode(0o600))?;
    rustix::net::bind(&listener, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&listener, 64)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("landline").arg("switches").stdin(Stdio::from(listener)).stdout(Stdio::null());
    command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS");
    if std::env::var_os("LOG_LEVEL").is_none() {
        command.env("LOG_LEVEL", LevelFilter::current().to_string());
    }
    command.spawn()
}

fn seqpacket() -> rustix::io::Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// One question, one answer.
fn exchange(socket: &OwnedFd, ask: &Ask, tap: Option<&OwnedFd>) -> Result<Answer, HostError> {
    let said = send(socket, ask, tap).and_then(|()| receive(socket));
    said.map(|(answer, _)| answer)
        .map_err(|source| SwitchingError::Process { what: "talk to", source }.into())
}

/// Waits for the end of a process, and of all it had open, for this long.
fn has_ended(pidfd: &OwnedFd, limit: Option<&Timespec>) -> bool {
    loop {
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], limit) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.is_ok_and(|ready| ready > 0),
        }
    }
}

pub(crate) fn open(name: &IfName) -> Result<OwnedFd, HostError> {
    landline_kernel::open_tap(name).map_err(|source| HostError::Tap {
        link: name.clone(),
        hint: hint(&source),
        source,
    })
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => " (is the kernel's module there? modprobe tun)",
        _ => "",
    }
}
