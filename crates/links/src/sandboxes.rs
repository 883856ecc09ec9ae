//! The seam between what a container's link is to carry and the network namespace that the link is in.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::pin::Pin;

use ipnet::{IpNet, Ipv6Net};
use landline_kernel::{Address, Group, Link, Monitor, Netns, cgroups_in};
use landline_model::{Applied, Ipv6Record};
use landline_types::{IfName, Mac};

use crate::host::{Host, HostError};
use crate::mark::Mark;
use crate::routes::NextHop;
use crate::sandbox::{Sandbox, SandboxError, Task, Task6, announce, occupant};

/// Where sandboxes are found. Calls block for as long as the kernel takes.
pub trait Sandboxes: Send + Sync {
    /// Finds the link with this mark in a sandbox. `None`: the namespace or the link is gone.
    fn enter(&self, path: &Path, mark: &Mark) -> Result<Option<Box<dyn Inside>>, SandboxError>;

    /// Follows the links and addresses in a sandbox from now on. `None`: the namespace is gone.
    fn follow(&self, path: &Path) -> Result<Option<Box<dyn Changes>>, SandboxError>;

    /// Moves the link with this index from the host into a sandbox.
    fn hand_over(&self, host: &dyn Host, index: u32, path: &Path) -> Result<(), HostError>;

    /// Whether the sandbox is there, or may be. A link that is gone from it can be made again; a sandbox cannot.
    fn lives(&self, path: &Path) -> bool;

    /// The id of the container whose processes are in the sandbox. `None`: there is none yet, or it cannot be told.
    fn occupant(&self, path: &Path) -> Option<String>;
}

/// An endpoint's link in its sandbox, which is held: not for long, because a container's namespace goes away only when
/// nobody holds it.
pub trait Inside {
    /// The link as it was when it was found.
    fn link(&self) -> &Link;

    /// See [`Sandbox::configure`].
    fn configure(&mut self, task: Task<'_>, now: &mut Applied) -> Result<bool, SandboxError>;

    /// See [`Sandbox::configure_v6`].
    fn configure_v6(&mut self, task: Task6<'_>, now: &mut Ipv6Record) -> Result<bool, SandboxError>;

    /// See [`Sandbox::quiet_v6`].
    fn quiet_v6(&self, own: bool);

    /// The addresses on the link.
    fn addresses(&mut self) -> Result<Vec<IpNet>, SandboxError>;

    /// The addresses on the link that are in use: duplicate address detection has found nobody else who has them (RFC 4862
    /// section 5.4).
    fn usable(&mut self) -> Result<Vec<IpAddr>, SandboxError>;

    /// See [`announce`].
    fn announce(&mut self, addresses: &[IpAddr]) -> Result<(), SandboxError>;

    /// See [`Sandbox::has_default_route`].
    fn has_default_route(&mut self) -> Result<bool, SandboxError>;

    /// See [`Sandbox::take_default`].
    fn take_default(&mut self, hop: NextHop) -> Result<(), SandboxError>;

    /// Lets the link have IPv6: Docker has it off on links that are new in a sandbox.
    fn enable_v6(&self);

    /// See [`Sandbox::set_mac`].
    fn set_mac(&mut self, mac: Mac) -> Result<(), SandboxError>;

    /// See [`Sandbox::set_up`].
    fn set_up(&mut self, name: Option<IfName>) -> Result<(), SandboxError>;

    /// See [`Sandbox::fix_v6`].
    fn fix_v6(&mut self, net: Ipv6Net, gateway: Option<Ipv6Addr>) -> Result<(), SandboxError>;

    /// See [`Sandbox::remove_link`].
    fn remove_link(self: Box<Self>) -> Result<(), SandboxError>;
}

/// What happens in a sandbox. It is held as long as this is.
pub trait Changes: Send {
    /// Waits until something has changed since it was followed, or since the last time. Cancel-safe.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The kernel's.
#[derive(Debug, Clone, Copy)]
pub struct LinuxSandboxes;

impl Sandboxes for LinuxSandboxes {
    fn enter(&self, path: &Path, mark: &Mark) -> Result<Option<Box<dyn Inside>>, SandboxError> {
        Ok(Sandbox::enter(path, mark)?.map(|sandbox| Box::new(sandbox) as Box<dyn Inside>))
    }

    fn follow(&self, path: &Path) -> Result<Option<Box<dyn Changes>>, SandboxError> {
        let failed = |source| SandboxError::Open { path: path.into(), source };
        match Netns::open(path) {
            Ok(netns) => {
                let monitor = Monitor::open_in(&netns, &[Group::Links, Group::Addresses]).map_err(failed)?;
                Ok(Some(Box::new(monitor)))
            }
            Err(error) if is_gone(&error) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    fn hand_over(&self, host: &dyn Host, index: u32, path: &Path) -> Result<(), HostError> {
        let netns = Netns::open(path).map_err(|source| SandboxError::Open { path: path.into(), source });
        host.hand_over(index, &netns.map_err(|error| HostError::Sandbox(error.into()))?)
    }

    fn lives(&self, path: &Path) -> bool {
        Netns::open(path).err().is_none_or(|error| !is_gone(&error))
    }

    fn occupant(&self, path: &Path) -> Option<String> {
        let groups = cgroups_in(path).inspect_err(|error| {
            tracing::debug!(%error, path = %path.display(), "the processes in a sandbox cannot be seen");
        });
        occupant(&groups.ok()?)
    }
}

/// Whether a namespace could not be opened because there is none. A path whose mount is gone is an ordinary empty file.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput)
}

impl Inside for Sandbox {
    fn link(&self) -> &Link {
        &self.link
    }

    fn configure(&mut self, task: Task<'_>, now: &mut Applied) -> Result<bool, SandboxError> {
        self.configure(task, now)
    }

    fn configure_v6(&mut self, task: Task6<'_>, now: &mut Ipv6Record) -> Result<bool, SandboxError> {
        self.configure_v6(task, now)
    }

    fn quiet_v6(&self, own: bool) {
        self.quiet_v6(own);
    }

    fn addresses(&mut self) -> Result<Vec<IpNet>, SandboxError> {
        let all = self.netlink.addresses().map_err(|error| self.failed(error))?;
        Ok(all.into_iter().filter(|own| own.index == self.link.index).map(|own| own.net).collect())
    }

    fn usable(&mut self) -> Result<Vec<IpAddr>, SandboxError> {
        let all = self.netlink.addresses().map_err(|error| self.failed(error))?;
        let usable =
            |own: &Address| own.index == self.link.index && !own.is_tentative() && !own.is_duplicate();
        Ok(all.iter().filter(|own| usable(own)).map(|own| own.net.addr()).collect())
    }

    fn announce(&mut self, addresses: &[IpAddr]) -> Result<(), SandboxError> {
        let Some(mac) = self.link.mac else { return Ok(()) };
        let sent = announce(&self.netns, self.link.index, mac, addresses.iter().copied());
        sent.map_err(|source| self.unreachable(source))
    }

    fn has_default_route(&mut self) -> Result<bool, SandboxError> {
        self.has_default_route()
    }

    fn take_default(&mut self, hop: NextHop) -> Result<(), SandboxError> {
        self.take_default(hop)
    }

    fn enable_v6(&self) {
        self.set_v6("disable_ipv6", "0");
    }

    fn set_mac(&mut self, mac: Mac) -> Result<(), SandboxError> {
        self.set_mac(mac)
    }

    fn set_up(&mut self, name: Option<IfName>) -> Result<(), SandboxError> {
        self.set_up(name)
    }

    fn fix_v6(&mut self, net: Ipv6Net, gateway: Option<Ipv6Addr>) -> Result<(), SandboxError> {
        self.fix_v6(net, gateway)
    }

    fn remove_link(self: Box<Self>) -> Result<(), SandboxError> {
        (*self).remove_link()
    }
}

impl Changes for Monitor {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async { drop(self.next().await) })
    }
}
