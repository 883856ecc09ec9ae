//! What a sandbox's link carries, in namespaces that are lists, which fail when they are told to.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use landline_kernel::{Address, Link, LinkKind, Route};
use landline_model::{Applied, Ipv6Record};
use landline_types::{IfName, Mac};
use tokio::sync::watch;

use super::{SandboxError, Task, Task6, addresses_v6};
use crate::host::fake::link;
use crate::host::{Host, HostError};
use crate::mark::{Mark, PROTOCOL};
use crate::namespaces::Namespaces as _;
use crate::namespaces::fake::{FakeNamespaces, Lists};
use crate::routes::NextHop;
use crate::sandboxes::{Changes, Inside, Sandboxes};

/// A link in a sandbox.
#[derive(Debug, Clone)]
pub struct FakeLink {
    /// The link.
    pub link: Link,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
}

/// The fake. Clones share it.
#[derive(Clone, Default)]
pub struct FakeSandboxes {
    namespaces: FakeNamespaces,
    broken: Arc<AtomicBool>,
    occupants: Arc<Mutex<BTreeMap<PathBuf, String>>>,
}

impl FakeSandboxes {
    /// Those in these namespaces.
    pub fn of(namespaces: FakeNamespaces) -> Self {
        Self { namespaces, ..Self::default() }
    }

    /// A container begins.
    pub fn begin(&self, path: &Path) {
        self.namespaces.sandbox(path, |_| ());
    }

    /// The processes of this container are in the sandbox.
    pub fn occupy(&self, path: &Path, container: &str) {
        let mut occupants = self.occupants.lock().unwrap_or_else(PoisonError::into_inner);
        occupants.insert(path.into(), container.to_owned());
    }

    /// Docker moves a link in, sets it up and puts these addresses on it.
    pub fn move_in(&self, path: &Path, mark: &Mark, addresses: Vec<IpNet>) {
        let link = Link { alias: Some(mark.to_string()), ..link(2, "eth0", LinkKind::Veth) };
        self.put(path, FakeLink { link, addresses });
    }

    /// Docker moves a link in, and is long in setting it up.
    pub fn move_in_down(&self, path: &Path, mark: &Mark) {
        let link = Link { alias: Some(mark.to_string()), up: false, ..link(2, "eth0", LinkKind::Veth) };
        self.put(path, FakeLink { link, addresses: Vec::new() });
    }

    /// Docker sets up a link that it has moved in.
    pub fn set_up(&self, path: &Path, mark: &Mark, addresses: Vec<IpNet>) {
        let done = self.change(path, &mark.to_string(), |own| {
            (own.link.up, own.addresses) = (true, addresses);
        });
        assert!(done.is_ok(), "nothing can be changed");
    }

    /// This link is in the sandbox now.
    pub fn put(&self, path: &Path, link: FakeLink) {
        self.namespaces.sandbox(path, |lists| {
            let index = lists.push(link.link);
            lists.addresses.extend(link.addresses.into_iter().map(|net| Address::new(index, net)));
        });
    }

    /// The container's link in the sandbox, if it is there.
    pub fn link(&self, path: &Path, mark: &Mark) -> Option<FakeLink> {
        let alias = mark.to_string();
        self.namespaces.look(path, |lists| {
            let link = lists.links.iter().find(|own| own.alias.as_deref() == Some(&*alias))?.clone();
            Some(FakeLink { addresses: on(lists, link.index), link })
        })?
    }

    /// Its addresses, as text.
    pub fn addresses(&self, path: &Path, mark: &Mark) -> Vec<String> {
        let link = self.link(path, mark);
        link.iter().flat_map(|own| &own.addresses).map(ToString::to_string).collect()
    }

    /// Somebody puts an address on the link.
    pub fn give(&self, path: &Path, mark: &Mark, address: IpNet) {
        self.change(path, &mark.to_string(), |own| own.addresses.push(address)).unwrap();
    }

    /// The container ends.
    pub fn end(&self, path: &Path) {
        self.namespaces.end(path);
    }

    /// What was announced from there, in this order.
    pub fn announced(&self, path: &Path) -> Vec<IpAddr> {
        self.namespaces.announced(path)
    }

    /// Whether nothing can be changed in any sandbox.
    pub fn break_all(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    fn change(
        &self,
        path: &Path,
        alias: &str,
        change: impl FnOnce(&mut FakeLink),
    ) -> Result<(), SandboxError> {
        self.change_all(path, alias, |lists, index| {
            let Some(at) = lists.links.iter().position(|link| link.index == index) else { return };
            let mut own = FakeLink { link: lists.links[at].clone(), addresses: on(lists, index) };
            change(&mut own);
            lists.links[at] = own.link;
            lists.addresses.retain(|there| there.index != index || own.addresses.contains(&there.net));
            let there = on(lists, index);
            let new = own.addresses.into_iter().filter(|net| !there.contains(net));
            lists.addresses.extend(new.map(|net| Address::new(index, net).protocol(PROTOCOL)));
        })
    }

    /// The same with all that is in the sandbox and the link's index.
    fn change_all(
        &self,
        path: &Path,
        alias: &str,
        change: impl FnOnce(&mut Lists, u32),
    ) -> Result<(), SandboxError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(SandboxError::Injected);
        }
        let asked = self.namespaces.ask(path, |lists| {
            let own = lists.links.iter().find(|own| own.alias.as_deref() == Some(alias)).map(|own| own.index);
            if let Some(index) = own {
                change(lists, index);
            }
        });
        asked.map(drop).map_err(|_| SandboxError::Injected)
    }
}

/// The addresses on a link.
fn on(lists: &Lists, index: u32) -> Vec<IpNet> {
    lists.addresses.iter().filter(|own| own.index == index).map(|own| own.net).collect()
}

impl Sandboxes for FakeSandboxes {
    fn enter(&self, path: &Path, mark: &Mark) -> Result<Option<Box<dyn Inside>>, SandboxError> {
        let Some(found) = self.link(path, mark) else { return Ok(None) };
        let (path, alias) = (path.to_owned(), mark.to_string());
        Ok(Some(Box::new(Entered { sandboxes: self.clone(), path, alias, found })))
    }

    fn follow(&self, path: &Path) -> Result<Option<Box<dyn Changes>>, SandboxError> {
        Ok(self.lives(path).then(|| Box::new(self.namespaces.changes()) as Box<dyn Changes>))
    }

    fn hand_over(&self, host: &dyn Host, index: u32, path: &Path) -> Result<(), HostError> {
        let gone = |source| HostError::Sandbox(SandboxError::Open { path: path.into(), source }.into());
        self.namespaces.open(path).map_err(gone)?.take(host, index)
    }

    fn lives(&self, path: &Path) -> bool {
        self.namespaces.lives(path)
    }

    fn occupant(&self, path: &Path) -> Option<String> {
        self.occupants.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}

struct Entered {
    sandboxes: FakeSandboxes,
    path: PathBuf,
    alias: String,
    found: FakeLink,
}

impl Inside for Entered {
    fn link(&self) -> &Link {
        &self.found.link
    }

    fn configure(&mut self, task: Task<'_>, now: &mut Applied) -> Result<bool, SandboxError> {
        let (wanted, before) = (task.wanted.map(|wanted| wanted.address), now.address);
        self.sandboxes.change(&self.path, &self.alias, |own| {
            let addresses = &mut own.addresses;
            addresses.retain(|net| before.map(IpNet::from) != Some(*net) || wanted == before);
            let missing = wanted.map(IpNet::from).filter(|net| !addresses.contains(net));
            addresses.extend(missing);
        })?;
        now.address = wanted;
        Ok(false)
    }

    fn configure_v6(&mut self, task: Task6<'_>, now: &mut Ipv6Record) -> Result<bool, SandboxError> {
        let wanted: Vec<_> = addresses_v6(task.state).into_iter().map(|(net, _)| net).collect();
        self.sandboxes.change(&self.path, &self.alias, |own| {
            let addresses = &mut own.addresses;
            addresses.retain(|net| matches!(net, IpNet::V4(_)));
            addresses.extend(wanted.iter().map(|net| IpNet::from(*net)));
        })?;
        now.applied = wanted;
        Ok(false)
    }

    fn quiet_v6(&self, _own: bool) {}

    fn addresses(&mut self) -> Result<Vec<IpNet>, SandboxError> {
        Ok(self.found.addresses.clone())
    }

    fn usable(&mut self) -> Result<Vec<IpAddr>, SandboxError> {
        Ok(self.found.addresses.iter().map(IpNet::addr).collect())
    }

    fn announce(&mut self, addresses: &[IpAddr]) -> Result<(), SandboxError> {
        let gone = |_| SandboxError::Injected;
        let namespace = self.sandboxes.namespaces.open(&self.path).map_err(gone)?;
        let mac = self.found.link.mac.unwrap_or(Mac::BROADCAST);
        namespace.announce(self.found.link.index, mac, addresses).map_err(gone)
    }

    fn has_default_route(&mut self) -> Result<bool, SandboxError> {
        Ok(false)
    }

    fn take_default(&mut self, hop: NextHop) -> Result<(), SandboxError> {
        let default = IpNet::from(Ipv4Net::default());
        self.sandboxes.change_all(&self.path, &self.alias, |lists, index| {
            lists.routes.retain(|route| route.destination != default || route.priority.is_some());
            let route = match hop {
                NextHop::Link => Route::on_link(default, index),
                NextHop::Router(router) => Route::via(default, router.into()).oif(index),
            };
            lists.routes.push(route.protocol(PROTOCOL));
        })
    }

    fn enable_v6(&self) {}

    fn set_mac(&mut self, mac: Mac) -> Result<(), SandboxError> {
        self.sandboxes.change(&self.path, &self.alias, |own| own.link.mac = Some(mac))
    }

    fn set_up(&mut self, name: Option<IfName>) -> Result<(), SandboxError> {
        self.sandboxes.change(&self.path, &self.alias, |own| {
            own.link.up = true;
            own.link.name = name.unwrap_or_else(|| own.link.name.clone());
        })
    }

    fn fix_v6(&mut self, net: Ipv6Net, _gateway: Option<Ipv6Addr>) -> Result<(), SandboxError> {
        self.sandboxes.change(&self.path, &self.alias, |own| own.addresses.push(net.into()))
    }

    fn remove_link(self: Box<Self>) -> Result<(), SandboxError> {
        let found = self.sandboxes.namespaces.look(&self.path, |lists| {
            lists.links.iter().find(|own| own.alias.as_ref() == Some(&self.alias)).map(|own| own.index)
        });
        let Some(index) = found.flatten() else { return Ok(()) };
        self.sandboxes.namespaces.remove(&self.path, index).map(drop).map_err(|_| SandboxError::Injected)
    }
}

impl Changes for watch::Receiver<()> {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            if self.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}
