//! Namespaces that are lists, and fail when they are told to.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landline_kernel::nft::NftError;
use landline_kernel::sysctl::Family;
use landline_kernel::{
    Address, Event, Group, Link, LinkChange, LinkKind, Neighbour, NetlinkError, NewLink, NewLinkKind, Route,
};
use landline_types::IfName;
use tokio::sync::mpsc;

use super::{Events, Namespace, Namespaces};
use crate::host::fake::link;

/// Not to be asked for: `IFF_NOARP` of netdevice(7).
const NO_ARP: u32 = 0x80;

/// Errors of the kernel, by number (errno(3)).
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
const EIO: i32 = 5;

/// What there is in one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists {
    /// Its links.
    pub links: Vec<Link>,
    /// The addresses on them.
    pub addresses: Vec<Address>,
    /// Its routes.
    pub routes: Vec<Route>,
    /// Who is known to it.
    pub neighbours: Vec<Neighbour>,
}

impl Lists {
    /// The link of this name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name.as_str() == name)
    }

    /// Removes a link, with all that is on it.
    pub fn remove_link(&mut self, index: u32) -> bool {
        let before = self.links.len();
        self.links.retain(|link| link.index != index && link.parent != Some(index));
        let links: Vec<u32> = self.links.iter().map(|link| link.index).collect();
        self.addresses.retain(|address| links.contains(&address.index));
        self.routes.retain(|route| route.oif.is_none_or(|oif| links.contains(&oif)));
        self.neighbours.retain(|neighbour| links.contains(&neighbour.index));
        self.links.len() != before
    }

    /// Removes an address, and the routes that have it as their source.
    pub fn remove_address(&mut self, address: IpAddr) -> bool {
        let before = self.addresses.len();
        self.addresses.retain(|own| own.net.addr() != address);
        self.routes.retain(|route| route.source != Some(address));
        self.addresses.len() != before
    }

    /// What somebody who follows is told of the change to this.
    fn events(&self, now: &Self) -> Vec<Event> {
        let gone = |link: &&Link| !now.links.iter().any(|other| other.index == link.index);
        let mut events: Vec<Event> = self
            .links
            .iter()
            .filter(gone)
            .map(|link| Event::LinkGone {
                index: link.index,
                name: Some(link.name.clone()),
                netns: None,
                new_index: None,
            })
            .collect();
        events.extend(now.links.iter().filter(|l| !self.links.contains(l)).cloned().map(Event::LinkNew));
        let lost = self.addresses.iter().filter(|own| !now.addresses.contains(own));
        events.extend(lost.cloned().map(Event::AddressGone));
        let new = now.addresses.iter().filter(|own| !self.addresses.contains(own));
        events.extend(new.cloned().map(Event::AddressNew));
        events.extend(self.routes.iter().filter(|r| !now.routes.contains(r)).cloned().map(Event::RouteGone));
        events
    }
}

#[derive(Debug, Default)]
struct State {
    host: Lists,
    sandboxes: BTreeMap<PathBuf, Lists>,
    settings: BTreeMap<(IfName, &'static str), String>,
    scripts: Vec<String>,
    /// How many changes were asked for since that was last counted.
    asked: usize,
    /// Which of them are refused.
    refused: Option<Refused>,
    followers: Vec<mpsc::UnboundedSender<Event>>,
}

/// Changes that are refused, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// This one.
    Only(usize),
    /// This one and all that follow.
    From(usize),
}

/// The fake. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct FakeNamespaces(Arc<Mutex<State>>);

impl FakeNamespaces {
    /// Looks at the host, or has somebody change it; whoever follows it is told.
    pub fn host<T>(&self, act: impl FnOnce(&mut Lists) -> T) -> T {
        self.lock().on_host(act)
    }

    /// The same in a sandbox, which is made if it is not there.
    pub fn sandbox<T>(&self, path: &str, act: impl FnOnce(&mut Lists) -> T) -> T {
        act(self.lock().sandboxes.entry(path.into()).or_default())
    }

    /// A sandbox ends.
    pub fn end(&self, path: &str) {
        self.lock().sandboxes.remove(Path::new(path));
    }

    /// Somebody writes a setting of the host's.
    pub fn write(&self, link: &str, key: &'static str, value: &str) {
        self.lock().settings.insert((link.parse().unwrap(), key), value.to_owned());
    }

    /// A setting of the host's.
    pub fn read(&self, link: &str, key: &'static str) -> Option<String> {
        self.lock().settings.get(&(link.parse().unwrap(), key)).cloned()
    }

    /// The scripts that the packet filter has taken.
    pub fn scripts(&self) -> Vec<String> {
        self.lock().scripts.clone()
    }

    /// From now on these changes are refused; `None`: none is.
    pub fn refuse(&self, which: Option<Refused>) {
        let mut state = self.lock();
        (state.refused, state.asked) = (which, 0);
    }

    /// How many changes were asked for since [`Self::refuse`].
    pub fn asked(&self) -> usize {
        self.lock().asked
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn on_host<T>(&mut self, act: impl FnOnce(&mut Lists) -> T) -> T {
        let before = self.host.clone();
        let done = act(&mut self.host);
        let events = before.events(&self.host);
        self.followers.retain(|follower| events.iter().all(|event| follower.send(event.clone()).is_ok()));
        done
    }

    /// Whether the next change is made.
    fn admit(&mut self) -> io::Result<()> {
        self.asked += 1;
        let refused = match self.refused {
            None => false,
            Some(Refused::Only(n)) => n + 1 == self.asked,
            Some(Refused::From(n)) => n < self.asked,
        };
        if refused { Err(io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
    }
}

fn refused(asked: &str, errno: i32) -> NetlinkError {
    NetlinkError::new(asked, io::Error::from_raw_os_error(errno))
}

impl Namespaces for FakeNamespaces {
    fn host(&self) -> io::Result<Box<dyn Namespace>> {
        Ok(Box::new(Inside { all: self.clone(), path: None }))
    }

    fn sandbox(&self, path: &Path) -> io::Result<Option<Box<dyn Namespace>>> {
        let lives = self.lock().sandboxes.contains_key(path);
        let inside = || Box::new(Inside { all: self.clone(), path: Some(path.to_owned()) });
        Ok(lives.then(|| inside() as Box<dyn Namespace>))
    }

    fn follow(&self, _groups: &[Group]) -> Box<dyn Events> {
        let (sender, inbox) = mpsc::unbounded_channel();
        self.lock().followers.push(sender);
        Box::new(inbox)
    }

    fn setting(&self, _family: Family, link: &IfName, key: &'static str) -> io::Result<String> {
        let found = self.lock().settings.get(&(link.clone(), key)).cloned();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn set(&self, _family: Family, link: &IfName, key: &'static str, value: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.admit()?;
        state.settings.insert((link.clone(), key), value.to_owned());
        Ok(())
    }

    fn load(&self, script: &str) -> Result<(), NftError> {
        let mut state = self.lock();
        state.admit().map_err(|error| NftError::Refused(error.to_string()))?;
        state.scripts.push(script.to_owned());
        Ok(())
    }
}

impl Events for mpsc::UnboundedReceiver<Event> {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Event> + Send + '_>> {
        Box::pin(async {
            match self.recv().await {
                Some(event) => event,
                None => std::future::pending().await,
            }
        })
    }
}

/// The way into one of them.
struct Inside {
    all: FakeNamespaces,
    /// `None`: the host's.
    path: Option<PathBuf>,
}

impl Inside {
    fn look<T>(&self, look: impl FnOnce(&Lists) -> T) -> Result<T, NetlinkError> {
        let state = self.all.lock();
        match &self.path {
            None => Ok(look(&state.host)),
            Some(path) => match state.sandboxes.get(path) {
                Some(lists) => Ok(look(lists)),
                None => Err(refused("look into a namespace that is gone", ENODEV)),
            },
        }
    }

    fn change<T>(
        &self,
        asked: &str,
        act: impl FnOnce(&mut Lists) -> Result<T, i32>,
    ) -> Result<T, NetlinkError> {
        let mut state = self.all.lock();
        state.admit().map_err(|error| NetlinkError::new(asked, error))?;
        let done = match &self.path {
            None => state.on_host(act),
            Some(path) => state.sandboxes.get_mut(path).map_or(Err(ENODEV), act),
        };
        done.map_err(|errno| refused(asked, errno))
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
        self.look(|lists| lists.neighbours.clone())
    }

    fn link_by_name(&mut self, name: &IfName) -> Result<Option<Link>, NetlinkError> {
        self.look(|lists| lists.link(name.as_str()).cloned())
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
            let link = found(lists, index)?;
            link.name = change.name.clone().unwrap_or_else(|| link.name.clone());
            link.mac = change.mac.or(link.mac);
            link.mtu = change.mtu.unwrap_or(link.mtu);
            link.up = change.up.unwrap_or(link.up);
            link.controller = change.controller.unwrap_or(link.controller);
            link.alias = change.alias.clone().or_else(|| link.alias.clone());
            if let Some(arp) = change.arp {
                link.flags = if arp { link.flags & !NO_ARP } else { link.flags | NO_ARP };
            }
            Ok(())
        })?;
        let mut state = self.all.lock();
        if let (Some(value), None) = (change.rp_filter, &self.path) {
            let name = state.host.links.iter().find(|link| link.index == index).map(|l| l.name.clone());
            state.settings.extend(name.map(|name| ((name, "rp_filter"), value.to_string())));
        }
        Ok(())
    }

    fn delete_link(&mut self, index: u32) -> Result<bool, NetlinkError> {
        self.change("delete a link", |lists| Ok(lists.remove_link(index)))
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
            let same = |n: &Neighbour| (n.index, n.address) == (neighbour.index, neighbour.address);
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
}
