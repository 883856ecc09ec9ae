//! Programs of others that are run to their end, `nft` and `iptables`: a service that stops leaves none behind.

use std::io;
use std::process::{Command, Output};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Those of this process.
static HELPERS: Helpers =
    Helpers { state: Mutex::new(State { running: 0, over: false }), ended: Condvar::new() };

#[derive(Debug)]
struct Helpers {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug)]
struct State {
    running: usize,
    /// The process is about to end, and nothing is started any more.
    over: bool,
}

/// One that runs, until this is dropped.
#[derive(Debug)]
pub(crate) struct Running<'a>(&'a Helpers);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.state().running -= 1;
        self.0.ended.notify_all();
    }
}

impl Helpers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> Running<'_> {
        let mut state = self.state();
        while state.over {
            // For ever: the process ends without this thread.
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.running += 1;
        Running(self)
    }

    fn finish(&self, limit: Duration) -> usize {
        let mut state = self.state();
        state.over = true;
        let waited = self.ended.wait_timeout_while(state, limit, |state| state.running > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.running
    }
}

/// Counts one that the caller runs itself. Blocks for ever after [`finish_helpers`].
pub(crate) fn begin() -> Running<'static> {
    HELPERS.begin()
}

/// Runs a program to its end; blocks until then, and for ever after [`finish_helpers`].
///
/// # Errors
/// If it cannot be run.
pub fn run_helper(command: &mut Command) -> io::Result<Output> {
    let _running = begin();
    command.output()
}

/// Starts no program any more, and waits for those that run; blocks for as long as `limit`. How many run all the same.
///
/// For the end of the process: a thread that wants to run one stays where it is, and with it a change of several
/// steps, which is taken up at the next start as after a crash.
pub fn finish_helpers(limit: Duration) -> usize {
    HELPERS.finish(limit)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{RecvTimeoutError, channel};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(30);

    fn helpers() -> Arc<Helpers> {
        Arc::new(Helpers { state: Mutex::new(State { running: 0, over: false }), ended: Condvar::new() })
    }

    #[test]
    fn what_runs_is_waited_for() {
        let helpers = helpers();
        let running = helpers.begin();
        assert_eq!(helpers.finish(SHORT), 1);
        let other = helpers.clone();
        let waiting = std::thread::spawn(move || other.finish(LONG));
        drop(running);
        assert_eq!(waiting.join().unwrap(), 0);
    }

    #[test]
    fn nothing_begins_afterwards() {
        let helpers = helpers();
        assert_eq!(helpers.finish(LONG), 0);
        let (begun, hear) = channel();
        std::thread::spawn(move || {
            let _running = helpers.begin();
            let _ = begun.send(());
        });
        assert_eq!(hear.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    }

    #[test]
    fn a_program_is_run_to_its_end() {
        let output = run_helper(Command::new("echo").arg("done")).unwrap();
        assert_eq!(output.stdout, b"done\n");
        assert!(run_helper(&mut Command::new("/nowhere/no-program")).is_err());
    }
}
