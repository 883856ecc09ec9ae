//! The seam for code that keeps addresses, routes and neighbours itself: what rtnetlink(7) knows of one network namespace, the
//! settings and rules of the host's, and what happens there.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;

use landline_kernel::nft::{self, NftError};
use landline_kernel::sysctl::{self, Family};
use landline_kernel::{
    Address, Event, Group, Link, LinkChange, Monitor, Neighbour, Netlink, NetlinkError, Netns, NewLink, Route,
};
use landline_types::IfName;

use crate::sandboxes::is_gone;

#[cfg(any(test, feature = "testing"))]
pub(crate) mod fake;

/// Where namespaces are found. Calls block for as long as the kernel takes.
pub trait Namespaces: Send + Sync {
    /// Requests in the host's namespace.
    fn host(&self) -> io::Result<Box<dyn Namespace>>;

    /// Requests in a container's. `None`: it is gone.
    fn sandbox(&self, path: &Path) -> io::Result<Option<Box<dyn Namespace>>>;

    /// Follows the host's links, addresses and routes from now on. Must be called within a tokio runtime.
    fn follow(&self, groups: &[Group]) -> Box<dyn Events>;

    /// A setting of a link of the host's.
    fn setting(&self, family: Family, link: &IfName, key: &'static str) -> io::Result<String>;

    /// Changes a setting of a link of the host's.
    fn set(&self, family: Family, link: &IfName, key: &'static str, value: &str) -> io::Result<()>;

    /// Loads rules into the host's packet filter (nft(8)): all of them or none.
    fn load(&self, script: &str) -> Result<(), NftError>;
}

/// One namespace. The methods are those of [`Netlink`].
#[expect(missing_docs, reason = "each is the request of the same name")]
pub trait Namespace: Send + Sync {
    fn links(&mut self) -> Result<Vec<Link>, NetlinkError>;
    fn addresses(&mut self) -> Result<Vec<Address>, NetlinkError>;
    fn routes(&mut self) -> Result<Vec<Route>, NetlinkError>;
    fn neighbours(&mut self) -> Result<Vec<Neighbour>, NetlinkError>;
    fn link_by_name(&mut self, name: &IfName) -> Result<Option<Link>, NetlinkError>;
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

    fn follow(&self, groups: &[Group]) -> Box<dyn Events> {
        Box::new(Monitor::follow(groups))
    }

    fn setting(&self, family: Family, link: &IfName, key: &'static str) -> io::Result<String> {
        sysctl::get(family, link, key)
    }

    fn set(&self, family: Family, link: &IfName, key: &'static str, value: &str) -> io::Result<()> {
        sysctl::set(family, link, key, value)
    }

    fn load(&self, script: &str) -> Result<(), NftError> {
        nft::apply(script)
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

    fn link_by_name(&mut self, name: &IfName) -> Result<Option<Link>, NetlinkError> {
        self.link_by_name(name)
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
}
