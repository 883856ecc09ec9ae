//! The one error of the testbed: what was being done, with which words, and what came back.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Result of the testbed.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the testbed could not do something. The text is meant to be read in a failed test.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program ran and did not succeed.
    #[error("`{command}` in {place}: {status}\n{output}")]
    Command {
        /// The command line, quoted for a shell.
        command: String,
        /// Which machine of the lab it ran on.
        place: String,
        /// Exit status or signal, in words.
        status: String,
        /// What it wrote: stderr, and stdout where stderr says nothing.
        output: String,
    },
    /// A program could not be started at all.
    #[error("cannot start `{command}`")]
    Start {
        /// The command line, quoted for a shell.
        command: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A condition did not come true in time.
    #[error("{what}: not within {} ms{detail}", after.as_millis())]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        after: Duration,
        /// What was seen instead; empty, or starting with a separator.
        detail: String,
    },
    /// A file of the lab could not be read or written.
    #[error("{what} {}", path.display())]
    File {
        /// What was tried, e.g. "cannot read".
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A system call failed.
    #[error("{what}")]
    System {
        /// What was tried.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something answered, but not what was expected.
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }

    /// For `map_err` on system calls.
    pub(crate) fn system<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::System { what, source: source.into() }
    }
}
