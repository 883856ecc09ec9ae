//! A container's `resolv.conf`, as Docker made it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Docker's `resolv.conf` of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolverFile {
    /// Where it is on the host, once Docker has said and is done with it: while the container runs.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// Whether the container's user chose servers (`--dns`), which then stay.
    #[serde(default)]
    pub servers_given: bool,
    /// Whether the container's user chose search domains (`--dns-search`), which then stay.
    #[serde(default)]
    pub domains_given: bool,
}
