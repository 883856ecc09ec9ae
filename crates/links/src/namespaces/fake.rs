//! Namespaces that are lists, and fail when they are told to; `inside` is the way into one of them.

mod inside;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landline_kernel::nft::NftError;
use landline_kernel::sysctl::Family;
use landline_kernel::{Address, Event, Group, Link, LinkKind, Neighbour, NetlinkError, Qdisc, Route, Rule};
use landline_types::IfName;
use tokio::sync::{mpsc, watch};

use super::{Events, Namespace, Namespaces, OpenNamespace};
use crate::host::mark_of;
use crate::link_table::{FakeTable, LinkTable};

use self::inside::Inside;

/// Not to be asked for: `IFF_NOARP` of netdevice(7).
const NO_ARP: u32 = 0x80;

/// Errors of the kernel, by number (errno(3)).
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
const EIO: i32 = 5;

/// The path that names the host's namespace.
const HOSTS: &str = "/proc/1/ns/net";

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
    /// Its rules.
    pub rules: Vec<Rule>,
    /// The queues of its links, by their index.
    pub queues: BTreeMap<u32, Qdisc>,
    /// The settings of its links, but for the host's, which have their own list.
    pub settings: BTreeMap<(IfName, String), String>,
}

impl Lists {
    /// The link of this name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name.as_str() == name)
    }

    /// A link comes in: with its index, if nobody has that, and without what it had where it was.
    pub(crate) fn push(&mut self, mut new: Link) -> u32 {
        if self.links.iter().any(|link| link.index == new.index) {
            new.index = self.links.iter().map(|link| link.index).max().unwrap_or(0) + 1;
        }
        let index = new.index;
        self.links.push(new);
        index
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

#[derive(Default)]
struct State {
    host: Lists,
    table: FakeTable,
    /// Which one each path names.
    paths: BTreeMap<PathBuf, u32>,
    /// Those that there are besides the host's. A number is not given again.
    sandboxes: BTreeMap<u32, Lists>,
    made: u32,
    /// Rings when something in a sandbox changes.
    changed: watch::Sender<()>,
    settings: BTreeMap<(IfName, String), String>,
    scripts: Vec<String>,
    announced: Vec<(PathBuf, IpAddr)>,
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
#[derive(Clone, Default)]
pub struct FakeNamespaces(Arc<Mutex<State>>);

impl FakeNamespaces {
    /// Looks at the host, or has somebody change it; whoever follows it is told. `act` cannot call the fake again.
    pub fn host<T>(&self, act: impl FnOnce(&mut Lists) -> T) -> T {
        self.lock().on_host(act)
    }

    /// The same in a sandbox, which is made if it is not there.
    pub fn sandbox<T>(&self, path: impl AsRef<Path>, act: impl FnOnce(&mut Lists) -> T) -> T {
        let mut state = self.lock();
        let number = state.begin(path.as_ref());
        let done = act(state.sandboxes.entry(number).or_default());
        state.changed.send_replace(());
        done
    }

    /// A sandbox ends, and with it the links in it. Cards are the host's again: down, and called what they were called there.
    pub fn end(&self, path: impl AsRef<Path>) {
        let mut state = self.lock();
        let gone = state.paths.remove(path.as_ref()).and_then(|number| state.sandboxes.remove(&number));
        for link in gone.into_iter().flat_map(|lists| lists.links) {
            state.lose(link);
        }
        state.changed.send_replace(());
    }

    /// Whether a path names a sandbox.
    pub(crate) fn lives(&self, path: &Path) -> bool {
        self.lock().paths.contains_key(path)
    }

    /// Looks at a sandbox, if it is there.
    pub(crate) fn look<T>(&self, path: &Path, look: impl FnOnce(&Lists) -> T) -> Option<T> {
        let state = self.lock();
        state.paths.get(path).and_then(|number| state.sandboxes.get(number)).map(look)
    }

    /// Has what is in a sandbox, if it is there, changed by a request of Landline's.
    pub(crate) fn ask<T>(&self, path: &Path, act: impl FnOnce(&mut Lists) -> T) -> io::Result<Option<T>> {
        let mut state = self.lock();
        state.admit()?;
        let number = state.paths.get(path).copied();
        let done = number.and_then(|number| state.sandboxes.get_mut(&number)).map(act);
        state.changed.send_replace(());
        Ok(done)
    }

    /// The same for a link that goes with all that is on it.
    pub(crate) fn remove(&self, path: &Path, index: u32) -> io::Result<bool> {
        let mut state = self.lock();
        state.admit()?;
        let number = state.paths.get(path).copied();
        Ok(number.is_some_and(|number| state.remove(Some(number), index)))
    }

    /// What was announced from a sandbox, in this order, whether it is still there or not.
    pub(crate) fn announced(&self, path: &Path) -> Vec<IpAddr> {
        let all = &self.lock().announced;
        all.iter().filter(|(from, _)| from == path).map(|(_, address)| *address).collect()
    }

    /// Rings when something in a sandbox changes.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.lock().changed.subscribe()
    }

    /// The table of the host's links.
    pub(crate) fn table(&self) -> LinkTable {
        self.lock().table.table()
    }

    /// The end of a pair goes, wherever it is: the host's goes with the container's, and the other way round.
    pub(crate) fn cut(&self, gone: &Link) {
        self.lock().cut(gone);
    }

    /// Somebody writes a setting of the host's.
    pub fn write(&self, link: &str, key: &'static str, value: &str) {
        self.lock().settings.insert((link.parse().unwrap(), key.to_owned()), value.to_owned());
    }

    /// A setting of the host's.
    pub fn read(&self, link: &str, key: &'static str) -> Option<String> {
        self.lock().settings.get(&(link.parse().unwrap(), key.to_owned())).cloned()
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
    /// The one that a path names, made if it is not there.
    fn begin(&mut self, path: &Path) -> u32 {
        if let Some(number) = self.paths.get(path) {
            return *number;
        }
        self.made += 1;
        self.paths.insert(path.into(), self.made);
        self.sandboxes.insert(self.made, Lists::default());
        self.made
    }

    /// Has this one changed; the host's where there is no number.
    fn change<T>(
        &mut self,
        which: Option<u32>,
        act: impl FnOnce(&mut Lists) -> Result<T, i32>,
    ) -> Result<T, i32> {
        let Some(number) = which else { return self.on_host(act) };
        let done = self.sandboxes.get_mut(&number).map_or(Err(ENODEV), act);
        self.changed.send_replace(());
        done
    }

    /// Removes a link, and the other end of its pair.
    fn remove(&mut self, which: Option<u32>, index: u32) -> bool {
        let gone = self.change(which, |lists| {
            let gone = lists.links.iter().find(|link| link.index == index).cloned();
            lists.remove_link(index);
            Ok(gone)
        });
        let gone = gone.ok().flatten();
        if let Some(link) = &gone {
            self.cut(link);
        }
        gone.is_some()
    }

    /// The namespace of this link is gone.
    fn lose(&mut self, link: Link) {
        if link.kind == LinkKind::Physical {
            self.on_host(|host| host.push(Link { up: false, running: false, lower_up: false, ..link }));
        } else {
            self.cut(&link);
        }
    }

    fn cut(&mut self, gone: &Link) {
        let endpoint = |link: &Link| mark_of(link).map(|mark| mark.endpoint);
        let Some(own) = endpoint(gone).filter(|_| gone.kind == LinkKind::Veth) else { return };
        let is_other = |link: &Link| link.kind == LinkKind::Veth && endpoint(link).as_ref() == Some(&own);
        let all = self.sandboxes.keys().copied().map(Some).chain([None]).collect::<Vec<_>>();
        for which in all {
            let ends = |lists: &mut Lists| {
                let ends: Vec<u32> = lists.links.iter().filter(|l| is_other(l)).map(|l| l.index).collect();
                for index in ends {
                    lists.remove_link(index);
                }
                Ok(())
            };
            let _ = self.change(which, ends);
        }
    }

    fn on_host<T>(&mut self, act: impl FnOnce(&mut Lists) -> T) -> T {
        let before = self.host.clone();
        let done = act(&mut self.host);
        self.table.set(&self.host.links);
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
        Ok(Box::new(Inside { all: self.clone(), which: None }))
    }

    fn sandbox(&self, path: &Path) -> io::Result<Option<Box<dyn Namespace>>> {
        let which = self.lock().paths.get(path).copied();
        let inside = |which| Box::new(Inside { all: self.clone(), which: Some(which) }) as Box<dyn Namespace>;
        Ok(which.map(inside))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn OpenNamespace>> {
        if path == Path::new(HOSTS) {
            return Ok(Arc::new(Inside { all: self.clone(), which: None }));
        }
        let which = self.lock().paths.get(path).copied();
        let which = which.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Arc::new(Inside { all: self.clone(), which: Some(which) }))
    }

    fn follow(&self, _groups: &[Group]) -> Box<dyn Events> {
        let (sender, inbox) = mpsc::unbounded_channel();
        self.lock().followers.push(sender);
        Box::new(inbox)
    }

    fn setting(&self, _family: Family, link: &IfName, key: &str) -> io::Result<String> {
        let found = self.lock().settings.get(&(link.clone(), key.to_owned())).cloned();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn set(&self, _family: Family, link: &IfName, key: &str, value: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.admit()?;
        state.settings.insert((link.clone(), key.to_owned()), value.to_owned());
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
