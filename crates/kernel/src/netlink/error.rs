//! What a netlink request can fail with.

use std::fmt;
use std::io;

/// A request the kernel refused, or that could not be made.
///
/// Displays what was asked and the kernel's own words where it gave some; the error number is the source.
#[derive(Debug, thiserror::Error)]
pub struct NetlinkError {
    asked: String,
    said: Option<String>,
    #[source]
    cause: io::Error,
}

impl NetlinkError {
    /// A failure of what was asked, a phrase in the infinitive.
    pub fn new(asked: impl Into<String>, cause: io::Error) -> Self {
        Self { asked: asked.into(), said: None, cause }
    }

    pub(crate) fn said(asked: impl Into<String>, said: Option<String>, cause: io::Error) -> Self {
        Self { asked: asked.into(), said, cause }
    }

    /// What was asked, as a phrase in the infinitive: "create veth lla-1".
    pub fn asked(&self) -> &str {
        &self.asked
    }

    /// What the kernel said beyond its error number (an extended acknowledgement).
    pub fn said_by_kernel(&self) -> Option<&str> {
        self.said.as_deref()
    }

    /// The error number (`errno(3)`), if it came from the kernel.
    pub fn errno(&self) -> Option<i32> {
        self.cause.raw_os_error()
    }

    /// Whether this is that error number.
    pub fn is(&self, errno: i32) -> bool {
        self.errno() == Some(errno)
    }

    /// Whether the thing to be made is there already (`EEXIST`).
    pub fn exists(&self) -> bool {
        self.is(libc::EEXIST)
    }

    /// Whether the thing to be changed is not there (`ENODEV`, `ENOENT`).
    pub fn gone(&self) -> bool {
        self.is(libc::ENODEV) || self.is(libc::ENOENT)
    }

    /// Whether something else holds what was asked for (`EBUSY`): a NIC that is a bridge port cannot have
    /// macvlan links, for one.
    pub fn busy(&self) -> bool {
        self.is(libc::EBUSY)
    }

    /// Whether the hardware address is in use by another link of the same parent (`EADDRINUSE`).
    pub fn addr_in_use(&self) -> bool {
        self.is(libc::EADDRINUSE)
    }

    /// Whether this kernel cannot do it (`EOPNOTSUPP`, `EAFNOSUPPORT`): a missing module, IPv6 switched off.
    pub fn unsupported(&self) -> bool {
        self.is(libc::EOPNOTSUPP) || self.is(libc::EAFNOSUPPORT)
    }
}

impl fmt::Display for NetlinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.asked)?;
        if let Some(said) = &self.said {
            write!(f, " (the kernel says: {said})")?;
        }
        Ok(())
    }
}
