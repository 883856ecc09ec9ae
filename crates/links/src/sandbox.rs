//! A container's network namespace, for as long as something is done in it.
//!
//! A [`Sandbox`] holds the namespace open and must be short-lived: a container's namespace goes away only when
//! nobody holds it. It finds the endpoint's link by its mark, because Docker renames links while it sets them
//! up and interface indexes are only unique within one namespace.

mod announce;
mod dress;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fake;
mod occupant;
mod v4;
mod v6;

use std::io;
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net};
use landline_kernel::{Link, LinkChange, Netlink, NetlinkError, Netns};
use landline_types::{IfName, Mac};

use crate::mark::Mark;
use crate::sandboxes::is_gone;

pub use announce::announce;
pub use dress::{Defaults, dress};
pub(crate) use occupant::occupant;
pub use v4::{Task, Wanted};
pub use v6::{Task6, addresses as addresses_v6};

/// Why something in a sandbox could not be done.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The namespace could not be opened.
    #[error("cannot open the sandbox {path}")]
    Open {
        /// The namespace's path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A request within it failed.
    #[error("cannot work in the sandbox {path}")]
    Netlink {
        /// The namespace's path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
    /// Made up by a test's sandboxes.
    #[cfg(any(test, feature = "testing"))]
    #[error("injected failure")]
    Injected,
}

/// An open namespace and the endpoint's link in it.
pub struct Sandbox {
    path: PathBuf,
    /// The namespace.
    pub netns: Netns,
    /// Requests in that namespace.
    pub netlink: Netlink,
    /// The endpoint's link as it was when it was found.
    pub link: Link,
}

impl Sandbox {
    /// Opens the namespace and finds the link with this mark. `None`: the namespace or the link is gone.
    pub fn enter(path: &Path, mark: &Mark) -> Result<Option<Self>, SandboxError> {
        let netns = match Netns::open(path) {
            Ok(netns) => netns,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(source) => return Err(SandboxError::Open { path: path.into(), source }),
        };
        let mut netlink =
            Netlink::open_in(&netns).map_err(|source| SandboxError::Open { path: path.into(), source })?;
        let alias = mark.to_string();
        let links = netlink.links().map_err(|source| SandboxError::Netlink { path: path.into(), source })?;
        let found = links.into_iter().find(|link| link.alias.as_deref() == Some(&*alias));
        Ok(found.map(|link| Self { path: path.into(), netns, netlink, link }))
    }

    pub(crate) fn unreachable(&self, source: io::Error) -> SandboxError {
        SandboxError::Open { path: self.path.clone(), source }
    }

    pub(crate) fn failed(&self, source: NetlinkError) -> SandboxError {
        SandboxError::Netlink { path: self.path.clone(), source }
    }

    /// Keeps the kernel from configuring IPv6 on the link by itself: the move made it forget what was set on
    /// the host's side. With `own` it makes no link-local address either.
    pub fn quiet_v6(&self, own: bool) {
        self.set_v6("accept_ra", "0");
        self.set_v6("autoconf", "0");
        if own {
            // IN6_ADDR_GEN_MODE_NONE
            self.set_v6("addr_gen_mode", "1");
        }
    }

    /// Gives the link its name here, if it has one, and sets it up.
    pub fn set_up(&mut self, name: Option<IfName>) -> Result<(), SandboxError> {
        let change = LinkChange { name: name.clone(), ..LinkChange::new() };
        let index = self.link.index;
        if !change.is_empty() {
            self.netlink.set_link(index, &change).map_err(|e| self.failed(e))?;
        }
        self.netlink.set_link(index, &LinkChange::new().up()).map_err(|e| self.failed(e))?;
        if let Some(name) = name {
            self.link.name = name;
        }
        Ok(())
    }

    /// Gives the link another hardware address.
    pub fn set_mac(&mut self, mac: Mac) -> Result<(), SandboxError> {
        let change = LinkChange { mac: Some(mac), ..LinkChange::new() };
        self.netlink.set_link(self.link.index, &change).map_err(|e| self.failed(e))?;
        self.link.mac = Some(mac);
        Ok(())
    }

    /// Removes the link, wherever in the sandbox it is.
    pub fn remove_link(mut self) -> Result<(), SandboxError> {
        let index = self.link.index;
        self.netlink.delete_link(index).map(drop).map_err(|e| self.failed(e))
    }

    /// The IPv4 addresses on the link.
    pub fn addresses(&mut self) -> Result<Vec<Ipv4Net>, SandboxError> {
        let all = self.netlink.addresses();
        let all = all.map_err(|e| self.failed(e))?;
        let index = self.link.index;
        Ok(all
            .into_iter()
            .filter(|a| a.index == index)
            .filter_map(|a| match a.net {
                IpNet::V4(net) => Some(net),
                IpNet::V6(_) => None,
            })
            .collect())
    }
}
