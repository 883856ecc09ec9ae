//! What systemd does with `docker.socket`: it listens on Docker's socket, and starts Docker when somebody connects.

use std::fs;

use super::DockerHost;
use crate::error::{Error, Result};
use crate::process::{Process, Signal};

/// Listens as a process called systemd and writes to a file how many connections wait while no dockerd runs. It never
/// accepts any. SIGUSR1: dockerd runs, and looks after them itself. SIGUSR2: it no longer does.
const UNIT: &str = r#"
import ctypes, os, select, signal, socket, sys
ctypes.CDLL(None).prctl(15, b"systemd")
path, count = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(128)
state = {"watching": True}
def note(watching):
    def noted(*_):
        state["watching"] = watching
    return noted
signal.signal(signal.SIGUSR1, note(False))
signal.signal(signal.SIGUSR2, note(True))
seen = 0
print("listening", flush=True)
while True:
    ready = select.select([listener], [], [], 0.02)[0]
    if ready and state["watching"]:
        seen += 1
        with open(count, "w") as file:
            file.write(str(seen))
        # A started dockerd would have taken them all.
        os._exit(1)
"#;

/// Takes the listening descriptor of that process (`pidfd_getfd(2)`) and runs dockerd with it, as systemd starts a
/// service: PID DESCRIPTOR ARGUMENTS.
const SERVICE: &str = r#"
import ctypes, os, sys
pid, descriptor = int(sys.argv[1]), int(sys.argv[2])
fd = ctypes.CDLL(None).syscall(438, os.pidfd_open(pid), descriptor, 0)
assert fd >= 0
if fd != 3:
    os.dup2(fd, 3)
    os.close(fd)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[3], sys.argv[3:])
"#;

/// Where the count is.
const COUNT: &str = "/run/activations";

/// The process that listens.
#[derive(Debug)]
pub(super) struct SocketUnit(Process);

impl SocketUnit {
    /// Has it know whether dockerd runs.
    pub(super) fn service_runs(&mut self, runs: bool) -> Result<()> {
        // From outside `SIGUSR1` and `SIGUSR2` are the same numbers.
        self.0.signal(if runs { Signal::USR1 } else { Signal::USR2 })
    }
}

impl DockerHost {
    /// Listens on Docker's socket as systemd does for `docker.socket`. Docker does not run.
    ///
    /// # Errors
    /// If the socket cannot be bound.
    pub fn docker_socket_unit(&mut self) -> Result<()> {
        let mut unit = self.spawn(&["python3", "-c", UNIT, super::docker::SOCKET, COUNT])?;
        unit.wait_for_text("listening", super::docker::START_LIMIT)?;
        self.socket_unit = Some(SocketUnit(unit));
        Ok(())
    }

    /// How often systemd would have started Docker because somebody has connected.
    ///
    /// # Errors
    /// If what stands for systemd is not there.
    pub fn activations(&self) -> Result<usize> {
        if self.socket_unit.is_none() {
            return Err(Error::Unexpected("nobody listens for Docker".to_owned()));
        }
        Ok(fs::read_to_string(self.path(COUNT)).map_or(0, |text| text.trim().parse().unwrap_or(1)))
    }

    /// The command that starts dockerd with the socket that is listened on.
    pub(super) fn activated(&self, dockerd: Vec<String>) -> Result<Vec<String>> {
        let unit = self.socket_unit.as_ref().and_then(|unit| unit.0.pid());
        let unit = unit.ok_or_else(|| Error::Unexpected("nobody listens for Docker".to_owned()))?;
        let entries =
            fs::read_dir(format!("/proc/{unit}/fd")).map_err(Error::file("cannot list", "/proc"))?;
        let mut sockets = entries.flatten().filter(|entry| {
            fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
        });
        let descriptor = sockets.find_map(|entry| entry.file_name().to_str().map(str::to_owned));
        let descriptor = descriptor.ok_or_else(|| Error::Unexpected("it has no socket".to_owned()))?;
        let unit = self.pid_in_host(unit)?.to_string();
        let helper = ["python3", "-c", SERVICE, &unit, &descriptor].map(str::to_owned);
        Ok(helper.into_iter().chain(dockerd).collect())
    }
}
