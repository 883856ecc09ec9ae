//! What the program exits with.

use std::error::Error;
use std::io;

use crate::attach::AttachCommandError;
use crate::control::CallError;
use crate::daemon::DaemonError;
use crate::host_access::HostAccessError;
use crate::nat::NatError;
use crate::network::NetworkCommandError;
use crate::output::CommandError;
use crate::trace::TraceError;

/// Something failed.
pub(crate) const FAILED: u8 = 1;
/// What was asked for cannot be: what the command line's parser could not know.
pub(crate) const USAGE: u8 = 2;
/// It took longer than was allowed.
pub(crate) const TIMEOUT: u8 = 3;
/// The daemon does not run.
pub(crate) const NO_DAEMON: u8 = 8;
/// What was named is not there.
pub(crate) const NOT_FOUND: u8 = 10;
/// The program that `landline exec` was to run cannot be run, and is not there, as env(1) has it.
pub(crate) const CANNOT_RUN: u8 = 126;
pub(crate) const NO_PROGRAM: u8 = 127;

/// The exit status for an error. What is wrong with the command line itself is 2, and told by its parser.
pub(crate) fn status(error: &(dyn Error + 'static)) -> u8 {
    if let Some(error) = error.downcast_ref::<DaemonError>() {
        return error.exit_code();
    }
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(status) = known(error) {
            return status;
        }
        cause = error.source();
    }
    FAILED
}

fn known(error: &(dyn Error + 'static)) -> Option<u8> {
    match error.downcast_ref() {
        Some(AttachCommandError::Command(error)) => return of_command(error),
        Some(AttachCommandError::Run { source, .. }) => {
            let missing = source.kind() == io::ErrorKind::NotFound;
            return Some(if missing { NO_PROGRAM } else { CANNOT_RUN });
        }
        _ => {}
    }
    if let Some(HostAccessError::Command(error)) = error.downcast_ref() {
        return of_command(error);
    }
    if let Some(TraceError::Command(error)) = error.downcast_ref() {
        return of_command(error);
    }
    if let Some(NatError::Command(error)) = error.downcast_ref() {
        return of_command(error);
    }
    if let Some(NetworkCommandError::Command(error)) = error.downcast_ref() {
        return of_command(error);
    }
    match error.downcast_ref::<CommandError>() {
        Some(error) => of_command(error),
        None => error.downcast_ref::<CallError>().and_then(of_call),
    }
}

fn of_command(error: &CommandError) -> Option<u8> {
    match error {
        CommandError::Call(error) => of_call(error),
        CommandError::NoSuch(_)
        | CommandError::Empty(_)
        | CommandError::Stopped { .. }
        | CommandError::Elsewhere { .. } => Some(NOT_FOUND),
        CommandError::TimedOut(_) => Some(TIMEOUT),
        CommandError::NoField { .. } => Some(USAGE),
        _ => None,
    }
}

fn of_call(error: &CallError) -> Option<u8> {
    match error {
        CallError::Connect { source, .. } if source.kind() != io::ErrorKind::PermissionDenied => {
            Some(NO_DAEMON)
        }
        CallError::NotFound(_) => Some(NOT_FOUND),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{CANNOT_RUN, CallError, CommandError, FAILED, NO_DAEMON, NO_PROGRAM, NOT_FOUND, status};
    use super::{HostAccessError, NatError, NetworkCommandError};
    use crate::attach::AttachCommandError;

    fn unreachable() -> CallError {
        let source = io::Error::from(io::ErrorKind::ConnectionRefused);
        CallError::Connect { path: "/run/landline/control.sock".into(), source }
    }

    #[test]
    fn says_that_the_daemon_does_not_run() {
        assert_eq!(status(&CommandError::from(unreachable())), NO_DAEMON);
        assert_eq!(status(&AttachCommandError::from(unreachable())), NO_DAEMON);
        let command = || CommandError::from(unreachable());
        assert_eq!(status(&HostAccessError::from(command())), NO_DAEMON);
        assert_eq!(status(&NatError::from(command())), NO_DAEMON);
        assert_eq!(status(&NetworkCommandError::from(command())), NO_DAEMON);
    }

    #[test]
    fn says_that_a_name_is_not_there() {
        assert_eq!(status(&CommandError::NoSuch("web".into())), NOT_FOUND);
        assert_eq!(status(&AttachCommandError::from(CallError::NotFound("no web".into()))), NOT_FOUND);
    }

    #[test]
    fn says_what_env_says_of_a_program_that_cannot_be_run() {
        let run = |kind: io::ErrorKind| AttachCommandError::Run { program: "no".into(), source: kind.into() };
        assert_eq!(status(&run(io::ErrorKind::NotFound)), NO_PROGRAM);
        assert_eq!(status(&run(io::ErrorKind::PermissionDenied)), CANNOT_RUN);
    }

    #[test]
    fn everything_else_has_failed() {
        assert_eq!(status(&CommandError::Unexpected), FAILED);
        assert_eq!(status(&CommandError::from(CallError::Refused("no".into()))), FAILED);
    }
}
