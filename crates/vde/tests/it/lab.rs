//! What the tests share: directories, and the programs of `vde2` as children that end with the test.

use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use landline_vde::{Plug, Switch, SwitchConfig};

/// How long a test waits for something that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `done` says so.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A directory for one test, and the path of a switch in it.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("vde").tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn config(&self, name: &str) -> SwitchConfig {
        SwitchConfig { dir: self.path(name), management: None, group: None, ports: 32 }
    }

    /// One of our switches.
    pub(crate) fn switch(&self, name: &str) -> Switch {
        Switch::start(&self.config(name), || {}).unwrap()
    }

    /// One of Debian's.
    pub(crate) fn foreign_switch(&self, name: &str, ports: u16) -> Program {
        let dir = self.path(name);
        let program = Program::start(&["vde_switch", "-s", text(&dir), "-n", &ports.to_string()]);
        // Its socket has its name before it listens.
        wait_for("vde_switch listens", || landline_vde::is_running(&dir));
        program
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A child that is killed when it is dropped, or when the test is.
pub(crate) struct Program {
    pub(crate) child: Child,
    /// Kept open: many of them end when nobody speaks to them any more.
    pub(crate) input: Option<ChildStdin>,
}

impl Program {
    pub(crate) fn start(argv: &[&str]) -> Self {
        Self::spawn(argv, Stdio::null())
    }

    fn spawn(argv: &[&str], output: Stdio) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).args(argv);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        let mut child =
            command.stdin(Stdio::piped()).stdout(output).spawn().expect("util-linux and vde2 are installed");
        let input = child.stdin.take();
        Self { child, input }
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Debian's `vde_plug` on a switch: a stream of frames in and out, each with its length in front.
pub(crate) struct ForeignPlug {
    pub(crate) program: Program,
    frames: Receiver<Vec<u8>>,
}

impl ForeignPlug {
    pub(crate) fn start(dir: &Path) -> Self {
        let mut program = Program::spawn(&["vde_plug", text(dir)], Stdio::piped());
        let mut output = program.child.stdout.take().unwrap();
        let (send, frames) = channel();
        std::thread::spawn(move || {
            let mut length = [0; 2];
            while output.read_exact(&mut length).is_ok() {
                let mut frame = vec![0; u16::from_be_bytes(length).into()];
                if output.read_exact(&mut frame).is_err() || send.send(frame).is_err() {
                    return;
                }
            }
        });
        Self { program, frames }
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        let length = u16::try_from(frame.len()).unwrap().to_be_bytes();
        let input = self.program.input.as_mut().unwrap();
        input.write_all(&[&length, frame].concat()).unwrap();
        input.flush().unwrap();
    }

    /// The next frame, if there is one.
    pub(crate) fn try_next(&self) -> Option<Vec<u8>> {
        self.frames.try_recv().ok()
    }

    /// The next frame.
    #[track_caller]
    pub(crate) fn next(&self) -> Vec<u8> {
        self.frames.recv_timeout(DEADLINE).expect("a frame")
    }
}

/// The next frame for a plug of ours.
#[track_caller]
pub(crate) fn next(plug: &Plug) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    let mut length = 0;
    wait_for("a frame", || {
        length = plug.receive(&mut buffer).unwrap_or(0);
        length > 0
    });
    buffer.truncate(length);
    buffer
}

/// Whether nothing waits for a plug.
pub(crate) fn is_quiet(plug: &Plug) -> bool {
    plug.receive(&mut [0; 100]).is_none()
}

pub(crate) fn plug(dir: &Path) -> Plug {
    Plug::connect(dir, "test", DEADLINE).unwrap()
}

/// A frame of this many bytes, from one station to another.
pub(crate) fn frame(from: u8, to: u8, length: usize) -> Vec<u8> {
    let mut frame = if to == 0xff { vec![0xff; 6] } else { vec![2, 0, 0, 0, 0, to] };
    frame.extend([2, 0, 0, 0, 0, from, 0x88, 0xb5]);
    frame.extend((14..length.max(14)).map(|at| u8::try_from(at % 251).unwrap()));
    frame
}

/// A socket that a client brings.
pub(crate) fn client_socket(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}
