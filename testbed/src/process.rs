//! Programs: run to the end ([`Output`]), or in the background ([`Process`]).
//!
//! Output goes to files, not to pipes: a grandchild that keeps a pipe open cannot hang a test, and what a
//! background program has written so far can be read at any time, also by a human.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, kill_process, pidfd_open};

pub use rustix::process::Signal;

use crate::error::{Error, Result};
use crate::wait::wait_for;

/// What a program that ran to its end left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended. A program that could not be started counts as 127, one that was cut off after its
    /// time as 124; `stderr` then says so.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Whether it exited with status 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Its standard output without the line break at the end, or an error that shows the command and what it said.
    pub(crate) fn into_result(self, command: &str, place: &str) -> Result<String> {
        if self.success() {
            let mut stdout = self.stdout;
            stdout.truncate(stdout.trim_end().len());
            return Ok(stdout);
        }
        let output = if self.stderr.trim().is_empty() { self.stdout } else { self.stderr };
        Err(Error::Command {
            command: command.to_owned(),
            place: place.to_owned(),
            status: self.status.to_string(),
            output: output.trim_end().to_owned(),
        })
    }

    fn failed(code: i32, stdout: String, stderr: String) -> Self {
        Self { status: ExitStatus::from_raw(code << 8), stdout, stderr }
    }
}

/// A command line as one would type it, quoted where needed.
pub fn shell_words<S: AsRef<OsStr>>(argv: &[S]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    let words: Vec<String> = argv
        .iter()
        .map(|word| {
            let word = word.as_ref().to_string_lossy();
            if !word.is_empty() && word.chars().all(plain) {
                word.into_owned()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        })
        .collect();
    words.join(" ")
}

/// Runs `command` to its end, for at most `limit`; `words` is how it is named in messages.
pub(crate) fn run(mut command: Command, words: &str, limit: Duration) -> Output {
    match try_run(&mut command, limit) {
        Ok(output) => output,
        Err(error) => Output::failed(127, String::new(), format!("cannot run `{words}`: {error}")),
    }
}

fn try_run(command: &mut Command, limit: Duration) -> std::io::Result<Output> {
    let (mut out, mut err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
    let mut child = command.spawn()?;
    let status = wait_child(&mut child, limit)?;
    if status.is_none() {
        // The program itself may be a child of `nsenter`; ending only the latter would leave it running.
        for inner in children_of(child.id()) {
            let _ = kill_process(inner, Signal::KILL);
        }
        let _ = child.kill();
        child.wait()?;
    }
    let (stdout, mut stderr) = (read_from_start(&mut out)?, read_from_start(&mut err)?);
    Ok(if let Some(status) = status {
        Output { status, stdout, stderr }
    } else {
        let _ = write!(stderr, "\ncut off after {} s", limit.as_secs());
        Output::failed(124, stdout, stderr)
    })
}

fn read_from_start(file: &mut File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits for a child without polling: its pidfd becomes readable when it ends.
pub(crate) fn wait_child(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    let pidfd = pidfd_open(pid(child.id()), PidfdFlags::empty())?;
    Ok(if readable_within(pidfd.as_fd(), limit)? { Some(child.wait()?) } else { None })
}

/// Whether `fd` becomes readable within `limit`.
pub(crate) fn readable_within(fd: BorrowedFd<'_>, limit: Duration) -> std::io::Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(std::io::Error::other)?;
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(n) => return Ok(n > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn pid(id: u32) -> Pid {
    // A child that exists never has process id 0; init is a harmless answer for the type's sake.
    i32::try_from(id).ok().and_then(Pid::from_raw).unwrap_or(Pid::INIT)
}

/// The child processes of a process (all its threads'), as the kernel lists them right now.
pub(crate) fn children_of(parent: u32) -> Vec<Pid> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<i32>>())
        .filter_map(Pid::from_raw)
        .collect()
}

/// A program in the background. It is ended with SIGKILL when this value is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// The program runs as the child of `nsenter`, which had to fork to enter a pid namespace.
    behind_nsenter: bool,
    words: String,
    stdout: PathBuf,
    stderr: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with its output in the two files (appended to). `words` names it in messages.
    pub(crate) fn start(
        mut command: Command,
        words: String,
        behind_nsenter: bool,
        stdout: PathBuf,
        stderr: PathBuf,
    ) -> Result<Self> {
        let open = |path: &PathBuf| {
            File::options().create(true).append(true).open(path).map_err(Error::file("cannot open", path))
        };
        command.stdin(Stdio::null()).stdout(open(&stdout)?).stderr(open(&stderr)?);
        let child = command.spawn().map_err(|source| Error::Start { command: words.clone(), source })?;
        let mut process = Self { child, behind_nsenter, words, stdout, stderr, status: None };
        if behind_nsenter {
            // Its own pid is the one callers want; it exists a moment after nsenter does.
            let id = process.child.id();
            wait_for("nsenter to fork", Duration::from_secs(10), || {
                !children_of(id).is_empty() || process.try_status().is_some()
            })?;
        }
        Ok(process)
    }

    /// The program's pid as seen from outside; `None` once it has ended.
    pub fn pid(&self) -> Option<u32> {
        if self.status.is_some() {
            return None;
        }
        if self.behind_nsenter {
            children_of(self.child.id()).first().map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
        } else {
            Some(self.child.id())
        }
    }

    /// The command line.
    pub fn command(&self) -> &str {
        &self.words
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If the program has ended already.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        let gone = || Error::Unexpected(format!("`{}` has ended already", self.words));
        let target = self.pid().ok_or_else(gone)?;
        kill_process(pid(target), signal)
            .map_err(Error::system(format!("cannot signal `{}`", self.words)))?;
        if signal == Signal::CONT && self.behind_nsenter {
            // nsenter stops itself when its child is stopped.
            let _ = kill_process(pid(self.child.id()), signal);
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub fn try_status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Waits for its end, for at most `limit`.
    ///
    /// # Errors
    /// [`Error::Timeout`] with what it said last, if it is still running then.
    pub fn wait_within(&mut self, limit: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        let status =
            wait_child(&mut self.child, limit).map_err(Error::system("cannot wait for a process"))?;
        self.status = status;
        status.ok_or_else(|| Error::Timeout {
            what: format!("end of `{}`", self.words),
            after: limit,
            detail: format!("\n{}", last_lines(&self.stderr(), 20)),
        })
    }

    /// Waits for its end, for at most a minute.
    ///
    /// # Errors
    /// As [`Process::wait_within`].
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.wait_within(Duration::from_mins(1))
    }

    /// Waits until `text` appears in what it has written to either stream.
    ///
    /// # Errors
    /// If the program ends or `limit` passes before; the message shows what it said.
    pub fn wait_for_text(&mut self, text: &str, limit: Duration) -> Result<()> {
        let found = |process: &Self| process.stdout().contains(text) || process.stderr().contains(text);
        let seen = wait_for(format!("{text:?} from `{}`", self.words), limit, || {
            if found(self) {
                Some(true)
            } else {
                // It may have written the text and ended between the two looks.
                self.try_status().map(|_| found(self))
            }
        });
        match seen {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Unexpected(format!(
                "`{}` ended before it said {text:?}:\n{}{}",
                self.words,
                last_lines(&self.stdout(), 20),
                last_lines(&self.stderr(), 20),
            ))),
            Err(Error::Timeout { what, after, .. }) => Err(Error::Timeout {
                what,
                after,
                detail: format!("\n{}{}", last_lines(&self.stdout(), 20), last_lines(&self.stderr(), 20)),
            }),
            Err(other) => Err(other),
        }
    }

    /// Ends it with SIGKILL and waits until it is gone. Nothing happens if it has ended already.
    pub fn kill(&mut self) {
        if self.try_status().is_none() {
            let _ = self.signal(Signal::KILL);
            if !self.behind_nsenter || self.pid().is_none() {
                let _ = self.child.kill();
            }
            if self.wait_within(Duration::from_secs(5)).is_err() {
                let _ = self.child.kill();
                self.status = self.child.wait().ok();
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The file's text, or nothing if it is not there (any more).
pub(crate) fn read_lossy(path: &PathBuf) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The last `n` lines of a text.
pub(crate) fn last_lines(text: &str, n: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut tail = lines[lines.len().saturating_sub(n)..].join("\n");
    if !tail.is_empty() {
        tail.push('\n');
    }
    tail
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, script, limit)
    }

    #[test]
    fn output_has_status_and_both_streams() {
        let output = sh("echo out; echo err >&2; exit 3", Duration::from_secs(10));
        assert_eq!(
            (output.status.code(), output.stdout.as_str(), output.stderr.as_str()),
            (Some(3), "out\n", "err\n")
        );
        let error = output.into_result("x", "peer").unwrap_err();
        assert_eq!(error.to_string(), "`x` in peer: exit status: 3\nerr");
    }

    #[test]
    fn a_background_grandchild_does_not_hold_up_run() {
        let start = Instant::now();
        assert!(sh("sleep 5 & echo done", Duration::from_secs(10)).success());
        assert!(start.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn a_program_that_never_ends_is_cut_off() {
        let output = sh("echo before; exec sleep 60", Duration::from_millis(100));
        assert_eq!(output.status.code(), Some(124));
        assert_eq!(output.stdout, "before\n");
    }

    #[test]
    fn words_can_be_pasted() {
        assert_eq!(
            shell_words(&["docker", "run", "-l", "a b", "it's", ""]),
            r"docker run -l 'a b' 'it'\''s' ''"
        );
    }
}
