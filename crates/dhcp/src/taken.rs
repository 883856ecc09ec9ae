//! Addresses that a client must not use, whatever a server or a router says.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Says of an address whether it is taken already: by the host the client runs on, or by another client there. Neither
/// ARP nor neighbour discovery shows those to a client whose link is a child of the host's own.
///
/// It is asked when an address is granted, so the answer may change over time. The default has no address taken.
#[derive(Clone, Default)]
pub struct Taken(Option<Arc<dyn Fn(IpAddr) -> bool + Send + Sync>>);

impl Taken {
    /// Asks this function.
    pub fn by(is_taken: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_taken)))
    }

    /// Whether an address is taken.
    pub fn contains(&self, address: impl Into<IpAddr>) -> bool {
        self.0.as_ref().is_some_and(|is_taken| is_taken(address.into()))
    }
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Taken").finish_non_exhaustive()
    }
}

/// Two are equal if they ask the same function.
impl PartialEq for Taken {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

impl Eq for Taken {}
