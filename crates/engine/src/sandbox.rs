//! A container's network namespace, for as long as something is done in it.
//!
//! A [`Sandbox`] holds the namespace open and must be short-lived: a container's namespace goes away only when
//! nobody holds it. It finds the endpoint's link by its mark, because Docker renames links while it sets them
//! up and interface indexes are only unique within one namespace.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net};
use landline_kernel::{Address, Link, LinkChange, Netlink, NetlinkError, Netns, Route, RouteKind};
use landline_types::IfName;

use crate::mark::{Mark, PROTOCOL};
use crate::records::Applied;

/// Why something in a sandbox could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    #[error("cannot open the sandbox {path}")]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot work in the sandbox {path}")]
    Netlink {
        path: PathBuf,
        #[source]
        source: NetlinkError,
    },
}

/// What the sandbox's link should carry for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) address: Ipv4Net,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) routes: Vec<(Ipv4Net, Option<Ipv4Addr>)>,
    /// The MTU; `None`: as it is.
    pub(crate) mtu: Option<u32>,
}

pub(crate) struct Sandbox {
    path: PathBuf,
    pub(crate) netns: Netns,
    pub(crate) netlink: Netlink,
    pub(crate) link: Link,
}

impl Sandbox {
    /// Opens the namespace and finds the link with this mark. `None`: the namespace or the link is gone.
    pub(crate) fn enter(path: &Path, mark: &Mark) -> Result<Option<Self>, SandboxError> {
        let netns = match Netns::open(path) {
            Ok(netns) => netns,
            // A path whose mount is gone is an ordinary empty file.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
                return Ok(None);
            }
            Err(source) => return Err(SandboxError::Open { path: path.into(), source }),
        };
        let mut netlink =
            Netlink::open_in(&netns).map_err(|source| SandboxError::Open { path: path.into(), source })?;
        let alias = mark.to_string();
        let links = netlink.links().map_err(|source| SandboxError::Netlink { path: path.into(), source })?;
        let found = links.into_iter().find(|link| link.alias.as_deref() == Some(&*alias));
        Ok(found.map(|link| Self { path: path.into(), netns, netlink, link }))
    }

    pub(crate) fn failed(&self, source: NetlinkError) -> SandboxError {
        SandboxError::Netlink { path: self.path.clone(), source }
    }

    /// Keeps the kernel from configuring IPv6 on the link by itself: the move made it forget what was set on
    /// the host's side. With `own` it makes no link-local address either.
    pub(crate) fn quiet_v6(&self, own: bool) {
        self.set_v6("accept_ra", "0");
        self.set_v6("autoconf", "0");
        if own {
            // IN6_ADDR_GEN_MODE_NONE
            self.set_v6("addr_gen_mode", "1");
        }
    }

    /// Whether the link has this address.
    pub(crate) fn has_address(&mut self, address: IpAddr) -> Result<bool, SandboxError> {
        let all = self.netlink.addresses().map_err(|e| self.failed(e))?;
        Ok(all.iter().any(|a| a.index == self.link.index && a.net.addr() == address))
    }

    /// Gives the link its name here, if it has one, and sets it up.
    pub(crate) fn set_up(&mut self, name: Option<IfName>) -> Result<(), SandboxError> {
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

    /// Removes the link, wherever in the sandbox it is.
    pub(crate) fn remove_link(mut self) -> Result<(), SandboxError> {
        let index = self.link.index;
        self.netlink.delete_link(index).map(drop).map_err(|e| self.failed(e))
    }

    /// The IPv4 addresses on the link.
    pub(crate) fn addresses(&mut self) -> Result<Vec<Ipv4Net>, SandboxError> {
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

    /// Makes the link carry what the lease says (`None`: no address of ours) and returns what is on it now.
    /// Only the address and routes in `applied`, which Docker or we put there for the lease, are removed.
    pub(crate) fn configure(
        &mut self,
        wanted: Option<&Wanted>,
        applied: &Applied,
    ) -> Result<Applied, SandboxError> {
        let present = self.addresses()?;
        let mut now = applied.clone();
        // Who provides the default route is Docker's choice (one of the container's networks); learn it here.
        now.default_route |= self.has_default_route()?;
        if applied.address.is_none() && wanted.is_some() {
            // It started without an address, so Docker could not give it a default route; nobody else did either.
            now.default_route |= !self.sandbox_has_default_route()?;
        }
        let Some(wanted) = wanted else {
            self.drop_address(applied.address, &present)?;
            now.address = None;
            return Ok(now);
        };
        // A link without the address is a new one, or one that somebody has cleared.
        let fresh = !present.contains(&wanted.address);
        if let Some(mtu) = wanted.mtu
            && (fresh || applied.mtu != wanted.mtu)
        {
            self.set_mtu(mtu)?;
            now.mtu = Some(mtu);
        }
        let same = applied.address == Some(wanted.address);
        if !same {
            self.drop_address(applied.address, &present)?;
        }
        if fresh {
            self.add_address(wanted.address)?;
        }
        if !(same && !fresh && applied.routes == wanted.routes) {
            for (destination, hop) in &applied.routes {
                if !wanted.routes.contains(&(*destination, *hop)) {
                    self.remove_route(*destination, *hop)?;
                }
            }
            for (destination, hop) in &wanted.routes {
                self.set_route(*destination, *hop)?;
            }
        }
        if let (true, Some(gateway)) = (now.default_route, wanted.gateway) {
            self.set_default_route(wanted.address, gateway)?;
        }
        now.address = Some(wanted.address);
        now.routes.clone_from(&wanted.routes);
        Ok(now)
    }

    fn set_mtu(&mut self, mtu: u32) -> Result<(), SandboxError> {
        if self.link.mtu == mtu {
            return Ok(());
        }
        let change = LinkChange { mtu: Some(mtu), ..LinkChange::new() };
        self.netlink.set_link(self.link.index, &change).map_err(|e| self.failed(e))
    }

    fn drop_address(&mut self, address: Option<Ipv4Net>, present: &[Ipv4Net]) -> Result<(), SandboxError> {
        let Some(address) = address.filter(|a| present.contains(a)) else { return Ok(()) };
        let address = Address::new(self.link.index, address.into());
        self.netlink.delete_address(&address).map(drop).map_err(|e| self.failed(e))
    }

    fn add_address(&mut self, address: Ipv4Net) -> Result<(), SandboxError> {
        let mut new = Address::new(self.link.index, address.into()).protocol(PROTOCOL);
        // Networks of one or two addresses have none for all (RFC 3021).
        if address.prefix_len() < 31 {
            new = new.broadcast(address.broadcast());
        }
        self.netlink.replace_address(&new).map_err(|e| self.failed(e))
    }

    fn link_routes(&mut self) -> Result<Vec<Route>, SandboxError> {
        let routes = self.netlink.routes().map_err(|e| self.failed(e))?;
        let index = self.link.index;
        Ok(routes.into_iter().filter(|route| route.oif == Some(index)).collect())
    }

    /// Whether the container's default route goes through the link.
    pub(crate) fn has_default_route(&mut self) -> Result<bool, SandboxError> {
        Ok(self.link_routes()?.iter().any(|r| r.destination == IpNet::V4(Ipv4Net::default())))
    }

    /// Whether any link of the sandbox has one.
    fn sandbox_has_default_route(&mut self) -> Result<bool, SandboxError> {
        let routes = self.netlink.routes().map_err(|e| self.failed(e))?;
        Ok(routes
            .iter()
            .any(|r| r.destination == IpNet::V4(Ipv4Net::default()) && r.kind == RouteKind::Unicast))
    }

    /// Docker's own default route is replaced, not joined by a second one.
    fn set_default_route(&mut self, address: Ipv4Net, gateway: Ipv4Addr) -> Result<(), SandboxError> {
        let index = self.link.index;
        let current = self.link_routes()?;
        let defaults: Vec<&Route> =
            current.iter().filter(|r| r.destination == IpNet::V4(Ipv4Net::default())).collect();
        if defaults.len() == 1 && defaults[0].gateway == Some(gateway.into()) {
            return Ok(());
        }
        if !address.contains(&gateway) {
            self.set_route(Ipv4Net::from(gateway), None)?;
        }
        for route in defaults {
            self.netlink.delete_route(route).map_err(|e| self.failed(e))?;
        }
        let route = route(index, Ipv4Net::default(), Some(gateway));
        self.netlink.replace_route(&route).map_err(|e| self.failed(e))
    }

    fn set_route(&mut self, destination: Ipv4Net, hop: Option<Ipv4Addr>) -> Result<(), SandboxError> {
        let route = route(self.link.index, destination, hop);
        self.netlink.replace_route(&route).map_err(|e| self.failed(e))
    }

    fn remove_route(&mut self, destination: Ipv4Net, hop: Option<Ipv4Addr>) -> Result<(), SandboxError> {
        // It may have been set by Docker, so with another protocol: any.
        let route = Route { protocol: 0, ..route(self.link.index, destination, hop) };
        match self.netlink.delete_route(&route) {
            Ok(_) => Ok(()),
            Err(error) if error.gone() => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }
}

/// A route of ours through the link with this index.
fn route(index: u32, destination: Ipv4Net, hop: Option<Ipv4Addr>) -> Route {
    let route = match hop {
        Some(hop) => Route::via(destination.into(), hop.into()),
        None => Route::on_link(destination.into(), index),
    };
    Route { oif: Some(index), protocol: PROTOCOL, ..route }
}
