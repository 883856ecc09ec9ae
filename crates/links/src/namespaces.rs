//! The seam for code that keeps addresses, routes and neighbours itself: what rtnetlink(7) knows of one network namespace, the
//! settings and rules of the host's, and what happens there.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use landline_kernel::nft::{self, NftError};
use landline_kernel::sysctl::{self, Family};
use landline_kernel::{
    Address, Event, Group, Link, LinkChange, Monitor, Neighbour, Netlink, NetlinkError, Netns, NewLink,
    Qdisc, Route, Rule,
};
use landline_types::{IfName, Mac};

use crate::host::{Host, HostError};
use crate::sandbox::announce;
use crate::sandboxes::is_gone;

#[cfg(any(test, feature = "testing"))]
pub(crate) mod fake;

/// Where namespaces are found. Calls block for as long as the kernel takes.
pub trait Namespaces: Send + Sync {
    /// Requests in the host's namespace.
    fn host(&self) -> io::Result<Box<dyn Namespace>>;

    /// Requests in a container's. `None`: it is gone.
    fn sandbox(&self, path: &Path) -> io::Result<Option<Box<dyn Namespace>>>;

    /// Opens the namespace that a path names.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn OpenNamespace>>;

    /// What the namespace is called that the path names now ([`OpenNamespace::name`]). `None`: there is none.
    fn name_at(&self, path: &Path) -> Option<String> {
        self.open(path).and_then(|namespace| namespace.name()).ok()
    }

    /// Follows the host's links, addresses and routes from now on. Must be called within a tokio runtime.
    fn follow(&self, groups: &[Group]) -> Box<dyn Events>;

    /// A setting of a link of the host's.
    fn setting(&self, family: Family, link: &IfName, key: &str) -> io::Result<String>;

    /// Changes a setting of a link of the host's.
    fn set(&self, family: Family, link: &IfName, key: &str, value: &str) -> io::Result<()>;

    /// Loads rules into the host's packet filter (nft(8)): all of them or none.
    fn load(&self, script: &str) -> Result<(), NftError>;
}

/// A namespace that is held open: it stays the one that was opened, whatever its path comes to name. A container's goes away
/// only when nobody holds it, so it is held for as long as something is done in it, and no longer. Calls block for as long as
/// the kernel takes.
pub trait OpenNamespace: Send + Sync {
    /// Which namespace it is, as no other of this boot is called, as far as the kernel tells them apart.
    fn name(&self) -> io::Result<String>;

    /// Whether it is the host's.
    fn is_hosts(&self) -> io::Result<bool>;

    /// Requests in it.
    fn requests(&self) -> io::Result<Box<dyn Namespace>>;

    /// Follows what happens in it from now on. Must be called within a tokio runtime.
    fn follow(&self, groups: &[Group]) -> io::Result<Box<dyn Events>>;

    /// A setting of a link in it.
    fn setting(&self, family: Family, link: &IfName, key: &str) -> io::Result<String>;

    /// Changes a setting of a link in it.
    fn set(&self, family: Family, link: &IfName, key: &str, value: &str) -> io::Result<()>;

    /// See [`announce`].
    fn announce(&self, index: u32, mac: Mac, addresses: &[IpAddr]) -> io::Result<()>;

    /// Moves the link with this index from the host into it.
    fn take(&self, host: &dyn Host, index: u32) -> Result<(), HostError>;

    /// Moves the link with this index from it to the host.
    fn give_back(&self, index: u32) -> Result<(), HostError>;
}

/// One namespace. The methods are those of [`Netlink`].
#[expect(missing_docs, reason = "each is the request of the same name")]
pub trait Namespace: Send + Sync {
    fn links(&mut self) -> Result<Vec<Link>, NetlinkError>;
    fn addresses(&mut self) -> Result<Vec<Address>, NetlinkError>;
    fn routes(&mut self) -> Result<Vec<Route>, NetlinkError>;
    fn neighbours(&mut self) -> Result<Vec<Neighbour>, NetlinkError>;
    fn proxy_neighbours(&mut self) -> Result<Vec<Neighbour>, NetlinkError>;
    fn link_by_name(&mut self, name: &IfName) -> Result<Option<Link>, NetlinkError>;
    fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, NetlinkError>;
    fn add_link(&mut self, link: &NewLink) -> Result<(), NetlinkError>;
    fn set_link(&mut self, index: u32, change: &LinkChange<'_>) -> Result<(), NetlinkError>;
    fn delete_link(&mut self, index: u32) -> Result<bool, NetlinkError>;
    fn add_address(&mut self, address: &Address) -> Result<(), NetlinkError>;
    fn replace_address(&mut self, address: &Address) -> Result<(), NetlinkError>;
    fn delete_address(&mut self, address: &Address) -> Result<bool, NetlinkError>;
    fn add_route(&mut self, route: &Route) -> Result<(), NetlinkError>;
    fn replace_route(&mut self, route: &Route) -> Result<(), NetlinkError>;
    fn delete_route(&mut self, route: &Route) -> Result<bool, NetlinkError>;
    fn replace_neighbour(&mut self, neighbour: &Neighbour) -> Result<(), NetlinkError>;
    fn delete_neighbour(&mut self, neighbour: &Neighbour) -> Result<bool, NetlinkError>;
    fn add_rule(&mut self, rule: &Rule) -> Result<(), NetlinkError>;
    fn delete_rule(&mut self, rule: &Rule) -> Result<bool, NetlinkError>;
    fn set_root_qdisc(&mut self, index: u32, qdisc: &Qdisc, replace: bool) -> Result<(), NetlinkError>;
    fn delete_root_qdisc(&mut self, index: u32) -> Result<bool, NetlinkError>;
}

/// What happens in a namespace.
pub trait Events: Send + Sync {
    /// Waits for the next event. Cancel-safe.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Event> + Send + '_>>;
}

/// The kernel's.
#[derive(Debug, Clone, Copy)]
pub struct LinuxNamespaces;

impl Namespaces for LinuxNamespaces {
    fn host(&self) -> io::Result<Box<dyn Namespace>> {
        Ok(Box::new(Netlink::open()?))
    }

    fn sandbox(&self, path: &Path) -> io::Result<Option<Box<dyn Namespace>>> {
        match Netns::open(path) {
            Ok(netns) => Ok(Some(Box::new(Netlink::open_in(&netns)?))),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn OpenNamespace>> {
        Ok(Arc::new(Netns::open(path)?))
    }

    fn follow(&self, groups: &[Group]) -> Box<dyn Events> {
        Box::new(Monitor::follow(groups))
    }

    fn setting(&self, family: Family, link: &IfName, key: &str) -> io::Result<String> {
        sysctl::get(family, link, key)
    }

    fn set(&self, family: Family, link: &IfName, key: &str, value: &str) -> io::Result<()> {
        sysctl::set(family, link, key, value)
    }

    fn load(&self, script: &str) -> Result<(), NftError> {
        nft::apply(script)
    }
}

impl OpenNamespace for Netns {
    /// Its number may be given again; the kernel's cookie is not, where it has them.
    fn name(&self) -> io::Result<String> {
        let id = self.id()?;
        Ok(self.cookie().map_or_else(|_| id.to_string(), |cookie| format!("{id} {cookie}")))
    }

    fn is_hosts(&self) -> io::Result<bool> {
        Ok(self.id()? == Self::current()?.id()?)
    }

    fn requests(&self) -> io::Result<Box<dyn Namespace>> {
        Ok(Box::new(Netlink::open_in(self)?))
    }

    fn follow(&self, groups: &[Group]) -> io::Result<Box<dyn Events>> {
        Ok(Box::new(Monitor::open_in(self, groups)?))
    }

    fn setting(&self, family: Family, link: &IfName, key: &str) -> io::Result<String> {
        self.run(|| sysctl::get(family, link, key))?
    }

    fn set(&self, family: Family, link: &IfName, key: &str, value: &str) -> io::Result<()> {
        self.run(|| sysctl::set(family, link, key, value))?
    }

    fn announce(&self, index: u32, mac: Mac, addresses: &[IpAddr]) -> io::Result<()> {
        announce(self, index, mac, addresses.iter().copied())
    }

    fn take(&self, host: &dyn Host, index: u32) -> Result<(), HostError> {
        host.hand_over(index, self)
    }

    fn give_back(&self, index: u32) -> Result<(), HostError> {
        let hosts = Self::current().map_err(HostError::Open)?;
        let mut netlink = Netlink::open_in(self).map_err(HostError::Open)?;
        Ok(netlink.set_link(index, &LinkChange::new().netns(&hosts))?)
    }
}

impl Events for Monitor {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Event> + Send + '_>> {
        Box::pin(Self::next(self))
    }
}

impl Namespace for Netlink {
    fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        self.links()
    }

    fn addresses(&mut self) -> Result<Vec<Address>, NetlinkError> {
        self.addresses()
    }

    fn routes(&mut self) -> Result<Vec<Route>, NetlinkError> {
        self.routes()
    }

    fn neighbours(&mut self) -> Result<Vec<Neighbour>, NetlinkError> {
        self.neighbours()
    }

    fn proxy_neighbours(&mut self) -> Result<Vec<Neighbour>, NetlinkError> {
        self.proxy_neighbours()
    }

    fn link_by_name(&mut self, name: &IfName) -> Result<Option<Link>, NetlinkError> {
        self.link_by_name(name)
    }

    fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, NetlinkError> {
        self.link_by_index(index)
    }

    fn add_link(&mut self, link: &NewLink) -> Result<(), NetlinkError> {
        self.add_link(link)
    }

    fn set_link(&mut self, index: u32, change: &LinkChange<'_>) -> Result<(), NetlinkError> {
        self.set_link(index, change)
    }

    fn delete_link(&mut self, index: u32) -> Result<bool, NetlinkError> {
        self.delete_link(index)
    }

    fn add_address(&mut self, address: &Address) -> Result<(), NetlinkError> {
        self.add_address(address)
    }

    fn replace_address(&mut self, address: &Address) -> Result<(), NetlinkError> {
        self.replace_address(address)
    }

    fn delete_address(&mut self, address: &Address) -> Result<bool, NetlinkError> {
        self.delete_address(address)
    }

    fn add_route(&mut self, route: &Route) -> Result<(), NetlinkError> {
        self.add_route(route)
    }

    fn replace_route(&mut self, route: &Route) -> Result<(), NetlinkError> {
        self.replace_route(route)
    }

    fn delete_route(&mut self, route: &Route) -> Result<bool, NetlinkError> {
        self.delete_route(route)
    }

    fn replace_neighbour(&mut self, neighbour: &Neighbour) -> Result<(), NetlinkError> {
        self.replace_neighbour(neighbour)
    }

    fn delete_neighbour(&mut self, neighbour: &Neighbour) -> Result<bool, NetlinkError> {
        self.delete_neighbour(neighbour)
    }

    fn add_rule(&mut self, rule: &Rule) -> Result<(), NetlinkError> {
        self.add_rule(rule)
    }

    fn delete_rule(&mut self, rule: &Rule) -> Result<bool, NetlinkError> {
        self.delete_rule(rule)
    }

    fn set_root_qdisc(&mut self, index: u32, qdisc: &Qdisc, replace: bool) -> Result<(), NetlinkError> {
        self.set_root_qdisc(index, qdisc, replace)
    }

    fn delete_root_qdisc(&mut self, index: u32) -> Result<bool, NetlinkError> {
        self.delete_root_qdisc(index)
    }
}
