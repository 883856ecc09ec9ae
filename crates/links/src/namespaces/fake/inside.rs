//! A namespace as one finds it from within: the requests of [`Namespace`], on lists.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;

use landline_kernel::sysctl::Family;
use landline_kernel::{
    Address, Event, Group, Link, LinkChange, LinkKind, Neighbour, NetlinkError, Netns, NewLink, NewLinkKind,
    Qdisc, Route, Rule,
};
use landline_types::{IfName, Mac};
use tokio::sync::watch;

use super::{EBUSY, EEXIST, ENODEV, FakeNamespaces, Lists, NO_ARP, refused};
use crate::host::fake::link;
use crate::host::{Host, HostError};
use crate::namespaces::{Events, Namespace, OpenNamespace};

/// The way into one of them.
#[derive(Clone)]
pub(super) struct Inside {
    pub(super) all: FakeNamespaces,
    /// `None`: the host's.
    pub(super) which: Option<u32>,
}

impl Inside {
    fn look<T>(&self, look: impl FnOnce(&Lists) -> T) -> Result<T, NetlinkError> {
        let state = self.all.lock();
        let lists = self.which.map_or(Some(&state.host), |number| state.sandboxes.get(&number));
        lists.map(look).ok_or_else(|| refused("look into a namespace that is gone", ENODEV))
    }

    fn change<T>(
        &self,
        asked: &str,
        act: impl FnOnce(&mut Lists) -> Result<T, i32>,
    ) -> Result<T, NetlinkError> {
        let mut state = self.all.lock();
        state.admit().map_err(|error| NetlinkError::new(asked, error))?;
        state.change(self.which, act).map_err(|errno| refused(asked, errno))
    }
}

impl OpenNamespace for Inside {
    fn name(&self) -> io::Result<String> {
        Ok(self.which.map_or_else(|| "the host's".to_owned(), |number| format!("namespace {number}")))
    }

    fn is_hosts(&self) -> io::Result<bool> {
        Ok(self.which.is_none())
    }

    fn requests(&self) -> io::Result<Box<dyn Namespace>> {
        Ok(Box::new(self.clone()))
    }

    fn follow(&self, _groups: &[Group]) -> io::Result<Box<dyn Events>> {
        Ok(Box::new(self.all.changes()))
    }

    fn setting(&self, _family: Family, link: &IfName, key: &str) -> io::Result<String> {
        let found = self.look(|lists| lists.settings.get(&(link.clone(), key.to_owned())).cloned());
        found.ok().flatten().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn set(&self, _family: Family, link: &IfName, key: &str, value: &str) -> io::Result<()> {
        let set = self.change("write a setting", |lists| {
            lists.settings.insert((link.clone(), key.to_owned()), value.to_owned());
            Ok(())
        });
        set.map_err(io::Error::other)
    }

    fn announce(&self, index: u32, _mac: Mac, addresses: &[IpAddr]) -> io::Result<()> {
        let there = self.change("announce addresses", |lists| found(lists, index).map(drop));
        there.map_err(io::Error::other)?;
        let mut state = self.all.lock();
        let path = state.paths.iter().find(|(_, number)| self.which == Some(**number));
        let path = path.map(|(path, _)| path.clone()).unwrap_or_default();
        state.announced.extend(addresses.iter().map(|address| (path.clone(), *address)));
        Ok(())
    }

    fn take(&self, host: &dyn Host, index: u32) -> Result<(), HostError> {
        let link = host.links()?.into_iter().find(|link| link.index == index);
        let Some(link) = link else { return Err(refused("move a link", ENODEV).into()) };
        self.change("move a link", |lists| match lists.link(link.name.as_str()) {
            Some(_) => Err(EEXIST),
            None => {
                Ok(lists.push(Link { up: false, running: false, lower_up: false, controller: None, ..link }))
            }
        })?;
        host.hand_over(index, &Netns::current().map_err(HostError::Open)?)
    }

    fn give_back(&self, index: u32) -> Result<(), HostError> {
        let mut state = self.all.lock();
        state.admit().map_err(|error| NetlinkError::new("move a link", error))?;
        let moved = state.change(self.which, |lists| {
            let link = found(lists, index)?.clone();
            lists.remove_link(index);
            Ok(link)
        });
        let link = moved.map_err(|errno| refused("move a link", errno))?;
        state.on_host(|host| host.push(Link { up: false, running: false, lower_up: false, ..link }));
        Ok(())
    }
}

impl Events for watch::Receiver<()> {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Event> + Send + '_>> {
        Box::pin(async {
            if self.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            Event::Overrun
        })
    }
}

/// The link with this index.
fn found(lists: &mut Lists, index: u32) -> Result<&mut Link, i32> {
    lists.links.iter_mut().find(|link| link.index == index).ok_or(ENODEV)
}

fn same_route(a: &Route, b: &Route) -> bool {
    (a.destination, a.table, a.priority) == (b.destination, b.table, b.priority)
}

impl Namespace for Inside {
    fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        self.look(|lists| lists.links.clone())
    }

    fn addresses(&mut self) -> Result<Vec<Address>, NetlinkError> {
        self.look(|lists| lists.addresses.clone())
    }

    fn routes(&mut self) -> Result<Vec<Route>, NetlinkError> {
        self.look(|lists| lists.routes.clone())
    }

    fn neighbours(&mut self) -> Result<Vec<Neighbour>, NetlinkError> {
        self.look(|lists| lists.neighbours.iter().filter(|n| !n.proxy).cloned().collect())
    }

    fn proxy_neighbours(&mut self) -> Result<Vec<Neighbour>, NetlinkError> {
        self.look(|lists| lists.neighbours.iter().filter(|n| n.proxy).cloned().collect())
    }

    fn link_by_name(&mut self, name: &IfName) -> Result<Option<Link>, NetlinkError> {
        self.look(|lists| lists.link(name.as_str()).cloned())
    }

    fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, NetlinkError> {
        self.look(|lists| lists.links.iter().find(|link| link.index == index).cloned())
    }

    fn add_link(&mut self, new: &NewLink) -> Result<(), NetlinkError> {
        self.change("create a link", |lists| {
            if lists.links.iter().any(|link| link.name == new.name) {
                return Err(EEXIST);
            }
            let (kind, parent) = match &new.kind {
                NewLinkKind::Macvlan { parent, mode } => {
                    (LinkKind::Macvlan { mode: Some(*mode) }, Some(*parent))
                }
                NewLinkKind::Ipvlan { parent, mode } => {
                    (LinkKind::Ipvlan { mode: Some(*mode) }, Some(*parent))
                }
                NewLinkKind::Vlan { parent, id } => (LinkKind::Vlan { id: *id }, Some(*parent)),
                NewLinkKind::Bridge => (LinkKind::Bridge { vlan_filtering: false }, None),
                NewLinkKind::Dummy => (LinkKind::Dummy, None),
                NewLinkKind::Veth { .. } => (LinkKind::Veth, None),
            };
            let under = parent.map(|parent| found(lists, parent).cloned()).transpose()?;
            // A NIC has children of one kind.
            let other = |link: &Link| match (&link.kind, &kind) {
                (LinkKind::Macvlan { .. }, LinkKind::Ipvlan { .. })
                | (LinkKind::Ipvlan { .. }, LinkKind::Macvlan { .. }) => link.parent == parent,
                _ => false,
            };
            if lists.links.iter().any(other) {
                return Err(EBUSY);
            }
            let index = lists.links.iter().map(|link| link.index).max().unwrap_or(0) + 1;
            lists.links.push(Link {
                mac: new.mac.or(under.and_then(|under| under.mac)),
                mtu: new.mtu.unwrap_or(1500),
                alias: new.alias.clone(),
                up: new.up,
                parent,
                ..link(index, new.name.as_str(), kind)
            });
            Ok(())
        })
    }

    fn set_link(&mut self, index: u32, change: &LinkChange<'_>) -> Result<(), NetlinkError> {
        self.change("change a link", |lists| {
            let is_taken = |link: &Link| link.index != index && Some(&link.name) == change.name.as_ref();
            if lists.links.iter().any(is_taken) {
                return Err(EEXIST);
            }
            let link = found(lists, index)?;
            link.name = change.name.clone().unwrap_or_else(|| link.name.clone());
            link.mac = change.mac.or(link.mac);
            link.mtu = change.mtu.unwrap_or(link.mtu);
            if let Some(up) = change.up {
                (link.up, link.running, link.lower_up) = (up, up, up);
            }
            link.controller = change.controller.unwrap_or(link.controller);
            link.alias =
                change.alias.clone().or_else(|| link.alias.clone()).filter(|alias| !alias.is_empty());
            if let Some(arp) = change.arp {
                link.flags = if arp { link.flags & !NO_ARP } else { link.flags | NO_ARP };
            }
            Ok(())
        })?;
        let mut state = self.all.lock();
        if let (Some(value), None) = (change.rp_filter, self.which) {
            let name = state.host.links.iter().find(|link| link.index == index).map(|l| l.name.clone());
            state.settings.extend(name.map(|name| ((name, "rp_filter".to_owned()), value.to_string())));
        }
        Ok(())
    }

    fn delete_link(&mut self, index: u32) -> Result<bool, NetlinkError> {
        let mut state = self.all.lock();
        state.admit().map_err(|error| NetlinkError::new("delete a link", error))?;
        Ok(state.remove(self.which, index))
    }

    fn add_address(&mut self, address: &Address) -> Result<(), NetlinkError> {
        self.change("add an address", |lists| {
            found(lists, address.index)?;
            let same = |own: &Address| own.index == address.index && own.net == address.net;
            if lists.addresses.iter().any(same) {
                return Err(EEXIST);
            }
            lists.addresses.push(address.clone());
            Ok(())
        })
    }

    fn replace_address(&mut self, address: &Address) -> Result<(), NetlinkError> {
        self.change("set an address", |lists| {
            found(lists, address.index)?;
            let same = |own: &Address| own.index == address.index && own.net == address.net;
            lists.addresses.retain(|own| !same(own));
            lists.addresses.push(address.clone());
            Ok(())
        })
    }

    fn delete_address(&mut self, address: &Address) -> Result<bool, NetlinkError> {
        self.change("delete an address", |lists| {
            let same = |own: &Address| own.index == address.index && own.net == address.net;
            let there = lists.addresses.iter().any(same);
            Ok(there && lists.remove_address(address.net.addr()))
        })
    }

    fn add_route(&mut self, route: &Route) -> Result<(), NetlinkError> {
        self.change("add a route", |lists| {
            if lists.routes.iter().any(|other| same_route(other, route)) {
                return Err(EEXIST);
            }
            lists.routes.push(route.clone());
            Ok(())
        })
    }

    fn replace_route(&mut self, route: &Route) -> Result<(), NetlinkError> {
        self.change("set a route", |lists| {
            lists.routes.retain(|other| !same_route(other, route));
            lists.routes.push(route.clone());
            Ok(())
        })
    }

    fn delete_route(&mut self, route: &Route) -> Result<bool, NetlinkError> {
        self.change("delete a route", |lists| {
            let before = lists.routes.len();
            lists.routes.retain(|other| other != route);
            Ok(lists.routes.len() != before)
        })
    }

    fn replace_neighbour(&mut self, neighbour: &Neighbour) -> Result<(), NetlinkError> {
        self.change("set a neighbour", |lists| {
            found(lists, neighbour.index)?;
            let key = |n: &Neighbour| (n.index, n.address, n.proxy);
            let same = |n: &Neighbour| key(n) == key(neighbour);
            lists.neighbours.retain(|other| !same(other));
            lists.neighbours.push(neighbour.clone());
            Ok(())
        })
    }

    fn delete_neighbour(&mut self, neighbour: &Neighbour) -> Result<bool, NetlinkError> {
        self.change("delete a neighbour", |lists| {
            let before = lists.neighbours.len();
            lists.neighbours.retain(|other| other != neighbour);
            Ok(lists.neighbours.len() != before)
        })
    }

    fn add_rule(&mut self, rule: &Rule) -> Result<(), NetlinkError> {
        self.change("add a rule", |lists| {
            if lists.rules.contains(rule) {
                return Err(EEXIST);
            }
            lists.rules.push(rule.clone());
            Ok(())
        })
    }

    fn delete_rule(&mut self, rule: &Rule) -> Result<bool, NetlinkError> {
        self.change("delete a rule", |lists| {
            let before = lists.rules.len();
            lists.rules.retain(|other| other != rule);
            Ok(lists.rules.len() != before)
        })
    }

    fn set_root_qdisc(&mut self, index: u32, qdisc: &Qdisc, replace: bool) -> Result<(), NetlinkError> {
        self.change("set a queue", |lists| {
            found(lists, index)?;
            if lists.queues.contains_key(&index) && !replace {
                return Err(EEXIST);
            }
            lists.queues.insert(index, qdisc.clone());
            Ok(())
        })
    }

    fn delete_root_qdisc(&mut self, index: u32) -> Result<bool, NetlinkError> {
        self.change("delete a queue", |lists| Ok(lists.queues.remove(&index).is_some()))
    }
}
