//! Which links the host's namespace has and which of them run, kept by netlink events.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use landline_kernel::{Event, Group, Link, LinkKind, Monitor, Netlink, PortState};
use landline_types::{IfName, Mac};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::host::mark_of;
use crate::mark::End;
use crate::pending::{Merge, Pending};

/// How long a link may take from being set up to carrying packets. It is a matter of a millisecond, unless its
/// parent has no carrier; then nothing is gained by waiting.
const CARRIER: Duration = Duration::from_millis(500);

/// What counts of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the link")]
pub(crate) struct State {
    pub(crate) name: IfName,
    up: bool,
    /// It can carry packets.
    running: bool,
    /// Its hardware address, unless it is the container's end of a link, which is only here until it moves.
    host_mac: Option<Mac>,
    /// What its bridge does with them.
    port: Option<PortState>,
    /// The bridge or switch that it is a port of, unless it is one of ours.
    pub(crate) controller: Option<u32>,
    /// It is, or stands for, a network card: as a port of a bridge it leads to the LAN rather than to a guest.
    is_card: bool,
    /// It belongs to an Open vSwitch: all ports have one link as their controller, whichever bridge they are in.
    pub(crate) of_switch: bool,
    pub(crate) role: Role,
}

/// What a link is to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A bridge.
    Bridge,
    /// A VLAN of another link of this namespace.
    Vlan {
        /// Its number.
        id: u16,
        /// The other link.
        on: u32,
    },
    /// Any other.
    Other,
}

impl State {
    fn use_now(&self) -> LinkUse {
        match (self.up, self.running) {
            (false, _) => LinkUse::Down,
            (true, false) => LinkUse::NoCarrier,
            (true, true) => LinkUse::Works,
        }
    }
}

pub(crate) type Links = BTreeMap<u32, State>;

/// What is told of the host's links as it happens.
#[derive(Debug)]
pub enum Seen {
    /// A link appeared or changed.
    Link(Box<Link>),
    /// The link of this index is gone, and what it was called.
    Gone(u32, Option<IfName>),
    /// Anything may have happened.
    Lost,
}

/// How many links may have changed before it counts as everything.
const MOST: usize = 4096;

/// What happened to the host's links, each as it was at the end.
#[derive(Debug, Default)]
pub struct LinkEvents {
    /// Those that appeared or changed and are there, by index.
    pub present: BTreeMap<u32, Link>,
    /// The names of those that went.
    pub gone: BTreeSet<IfName>,
    /// Anything may have happened.
    pub overrun: bool,
}

impl Merge for LinkEvents {
    type Item = Seen;

    fn merge(&mut self, seen: Seen) {
        match seen {
            Seen::Link(link) => drop(self.present.insert(link.index, *link)),
            Seen::Gone(index, name) => {
                self.present.remove(&index);
                self.gone.extend(name);
            }
            Seen::Lost => self.overrun = true,
        }
        if self.present.len() + self.gone.len() > MOST {
            *self = Self { overrun: true, ..Self::default() };
        }
    }

    fn is_empty(&self) -> bool {
        self.present.is_empty() && self.gone.is_empty() && !self.overrun
    }
}

/// The other side of a table for tests.
#[cfg(any(test, feature = "testing"))]
#[derive(Debug, Default)]
pub(crate) struct FakeTable(watch::Sender<Links>);

#[cfg(any(test, feature = "testing"))]
impl FakeTable {
    /// These are the host's links now.
    pub(crate) fn set(&self, all: &[Link]) {
        let all: Links = all.iter().map(|link| (link.index, state(link))).collect();
        self.0.send_if_modified(|links| std::mem::replace(links, all.clone()) != all);
    }

    pub(crate) fn table(&self) -> LinkTable {
        LinkTable { links: self.0.subscribe(), of_kernel: false }
    }
}

/// Whether a link can carry packets; the best is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkUse {
    /// It is switched off.
    Down,
    /// It is on, and nothing is at its other end (`IFF_RUNNING` is missing, netdevice(7)).
    NoCarrier,
    /// It carries packets.
    Works,
}

/// The host's links by index, as of the last event.
#[derive(Debug, Clone)]
pub struct LinkTable {
    links: watch::Receiver<Links>,
    /// Whether they are the kernel's, which has the last word then. Tests have others.
    of_kernel: bool,
}

impl LinkTable {
    /// Starts the task that follows the events of the host's namespace until `cancel`.
    ///
    /// `seen` is given every link that appears, changes or goes.
    pub fn start(seen: Arc<Pending<LinkEvents>>, cancel: CancellationToken) -> io::Result<Self> {
        let monitor = Monitor::open(&[Group::Links])?;
        let (sender, links) = watch::channel(dump()?);
        tokio::spawn(follow(monitor, sender, seen, cancel));
        Ok(Self { links, of_kernel: true })
    }

    /// Resolves when the link is no longer in the host's namespace: it was moved or removed.
    pub async fn gone(mut self, index: u32) {
        loop {
            let listed = self.links.borrow_and_update().contains_key(&index);
            // The events may lag behind: the kernel itself has the last word.
            let there = listed || self.of_kernel && exists(index).await;
            if !there {
                return;
            }
            self.changed().await;
        }
    }

    /// Resolves when all these links carry packets, or have had their time. Before that the kernel drops silently what
    /// is sent: a link that was just set up has no queue yet, and a bridge does not forward from it.
    pub(crate) async fn running(mut self, indexes: &[u32]) {
        let wait = async {
            loop {
                let ready = {
                    let links = self.links.borrow_and_update();
                    indexes.iter().all(|index| links.get(index).is_some_and(|link| link.running))
                };
                if ready {
                    return;
                }
                self.changed().await;
            }
        };
        if tokio::time::timeout(CARRIER, wait).await.is_err() {
            // On a busy host those that have one may be late.
            for link in without_carrier(indexes.to_vec()).await {
                tracing::warn!(%link, "a new link has no carrier; is its parent plugged in?");
            }
        }
    }

    pub(crate) fn links(&self) -> watch::Ref<'_, Links> {
        self.links.borrow()
    }

    /// Whether packets of the host's link of this name get onto the LAN, and the link that decides it: for a bridge that is on, the
    /// best of its cards, or of its other ports that are not ours if it has no cards, because the bridge itself has a carrier as
    /// long as any container is there. A bridge without such ports, whose LAN is the host, counts by itself. `None`: there is no link
    /// of this name.
    pub fn onto_lan(&self, name: &IfName) -> Option<(IfName, LinkUse)> {
        let links = self.links.borrow();
        let (index, own) = links.iter().find(|(_, link)| link.name == *name)?;
        let is_port = |link: &&State| link.controller == Some(*index);
        let ports = || links.values().filter(is_port).filter(|_| own.up && own.role == Role::Bridge);
        let best = ports().max_by_key(|port| (port.is_card, port.use_now())).unwrap_or(own);
        Some((best.name.clone(), best.use_now()))
    }

    /// Whether a hardware address is one of the host's own. A host with two interfaces on one LAN answers ARP on both for
    /// the addresses of either (`arp_ignore=0`).
    pub fn is_of_host(&self, mac: Mac) -> bool {
        self.links.borrow().values().any(|link| link.host_mac == Some(mac))
    }

    /// Follows whether this link carries packets, or, if it is a bridge, whether those of its ports do that are not ours: it has
    /// a carrier itself as long as any container is there.
    pub fn carrier(&self, index: u32) -> Carrier {
        Carrier::new(self.links.clone(), index)
    }

    /// What happened until now is no change: it is about to be looked at.
    pub fn seen(&mut self) {
        self.links.mark_unchanged();
    }

    /// Resolves when links have come, gone, or changed their state since the last call.
    pub async fn changed(&mut self) {
        if self.links.changed().await.is_err() {
            // The daemon stops; whoever waits is stopped as well.
            std::future::pending::<()>().await;
        }
    }
}

/// Whether one of the host's links carries packets onto the LAN.
#[derive(Debug)]
pub struct Carrier {
    links: watch::Receiver<Links>,
    index: u32,
    /// The links that its packets go by, and whether each carries them.
    ways: BTreeMap<u32, bool>,
}

impl Carrier {
    fn new(links: watch::Receiver<Links>, index: u32) -> Self {
        let ways = ways(&links.borrow(), index);
        Self { links, index, ways }
    }

    /// Resolves when packets get onto the LAN again. Cancel-safe.
    pub async fn back(&mut self) {
        loop {
            let now = ways(&self.links.borrow_and_update(), self.index);
            // A port that is new was no way before either: a guest that is plugged in.
            let back = |(index, carries): (&u32, &bool)| *carries && self.ways.get(index) == Some(&false);
            let back = now.iter().any(back);
            self.ways = now;
            if back {
                return;
            }
            if self.links.changed().await.is_err() {
                // The daemon stops; whoever waits is stopped as well.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The links by which packets of this one get onto the LAN, and whether each carries them.
fn ways(links: &Links, index: u32) -> BTreeMap<u32, bool> {
    let switch = links.get(&index).is_some_and(|own| own.of_switch);
    let is_port = |controller: u32| {
        controller == index || switch && links.get(&controller).is_some_and(|link| link.of_switch)
    };
    let is_way = |at: u32, link: &State| at == index || link.controller.is_some_and(is_port);
    let carries = |link: &State| link.running && !link.port.is_some_and(PortState::is_held);
    // One that is gone carries nothing.
    let ways = links.iter().filter(|(at, link)| is_way(**at, link)).map(|(at, link)| (*at, carries(link)));
    std::iter::once((index, false)).chain(ways).collect()
}

async fn exists(index: u32) -> bool {
    let look = move || Netlink::open().ok().and_then(|mut n| n.link_by_index(index).ok());
    // What cannot be looked at is taken to be there: the next event looks again.
    crate::blocking(look).await.is_none_or(|found| found.is_some())
}

/// Those of these links that have none, by name.
async fn without_carrier(indexes: Vec<u32>) -> Vec<IfName> {
    let look = move || {
        let Ok(mut netlink) = Netlink::open() else { return Vec::new() };
        let links = indexes.into_iter().filter_map(|index| netlink.link_by_index(index).ok().flatten());
        links.filter(|link| !link.lower_up).map(|link| link.name).collect()
    };
    crate::blocking(look).await
}

fn state(link: &Link) -> State {
    let is_containers = mark_of(link).is_some_and(|mark| mark.end == End::Container);
    let role = match (&link.kind, link.parent) {
        (LinkKind::Bridge { .. }, _) => Role::Bridge,
        (LinkKind::Vlan { id }, Some(on)) if link.parent_netns.is_none() => Role::Vlan { id: *id, on },
        _ => Role::Other,
    };
    State {
        name: link.name.clone(),
        role,
        up: link.up,
        running: link.up && link.running && link.lower_up,
        port: link.port_state,
        host_mac: link.mac.filter(|_| !is_containers),
        controller: link.controller.filter(|_| mark_of(link).is_none()),
        is_card: matches!(link.kind, LinkKind::Physical | LinkKind::Bond | LinkKind::Vlan { .. }),
        of_switch: link.kind == LinkKind::OpenVswitch,
    }
}

fn dump() -> io::Result<Links> {
    let links = Netlink::open()?.links().map_err(io::Error::other)?;
    Ok(links.iter().map(|link| (link.index, state(link))).collect())
}

async fn follow(
    mut monitor: Monitor,
    sender: watch::Sender<Links>,
    seen: Arc<Pending<LinkEvents>>,
    cancel: CancellationToken,
) {
    loop {
        let event = tokio::select! {
            () = cancel.cancelled() => return,
            event = monitor.next() => event,
        };
        match event {
            Event::LinkNew(link) => note(&sender, &seen, link),
            // The link itself did not change, so nothing else tells of it.
            Event::Port { index, state } if changes(&sender, index, state) => {
                let look = move || Netlink::open().ok().and_then(|mut n| n.link_by_index(index).ok()?);
                if let Some(link) = crate::blocking(look).await {
                    note(&sender, &seen, link);
                }
            }
            Event::LinkGone { index, name, .. } => {
                sender.send_if_modified(|links| links.remove(&index).is_some());
                seen.add(Seen::Gone(index, name));
            }
            Event::Overrun => {
                let look = crate::look_again("the host's links", dump);
                let Some(all) = cancel.run_until_cancelled(look).await else { return };
                sender.send_replace(all);
                seen.add(Seen::Lost);
            }
            _ => {}
        }
    }
}

fn note(sender: &watch::Sender<Links>, seen: &Pending<LinkEvents>, link: Link) {
    let now = state(&link);
    sender.send_if_modified(|links| links.insert(link.index, now.clone()) != Some(now));
    seen.add(Seen::Link(Box::new(link)));
}

/// Whether that is another state than the port was in.
fn changes(sender: &watch::Sender<Links>, index: u32, state: PortState) -> bool {
    sender.borrow().get(&index).is_some_and(|link| link.port != Some(state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::link;
    use crate::mark::Mark;

    /// The links there are, each with a carrier or without one.
    fn table(links: &[(Link, bool)]) -> Links {
        let running = |(link, on): &(Link, bool)| {
            (link.index, state(&Link { up: true, running: *on, lower_up: *on, ..link.clone() }))
        };
        links.iter().map(running).collect()
    }

    #[test]
    fn a_link_is_found_by_its_name() {
        let fake = FakeTable::default();
        let set = |up, running| {
            fake.set(&[Link { up, running, ..link(3, "br0", LinkKind::Bridge { vlan_filtering: false }) }]);
        };
        let found = || fake.table().onto_lan(&"br0".parse().unwrap()).map(|(_, how)| how);
        assert_eq!(found(), None);
        set(true, true);
        assert_eq!(found(), Some(LinkUse::Works));
        set(true, false);
        assert_eq!(found(), Some(LinkUse::NoCarrier));
        set(false, false);
        assert_eq!(found(), Some(LinkUse::Down));
    }

    #[test]
    fn a_bridge_gets_onto_the_lan_by_its_card_and_not_by_its_containers() {
        let port = |index, name, kind| Link { controller: Some(3), ..link(index, name, kind) };
        let mark = Mark::new(&"e".repeat(64).parse().unwrap(), End::Host).to_string();
        let on = |link: Link, up, running| Link { up, running, lower_up: running, ..link };
        let ours = || {
            let ours = Link { alias: Some(mark.clone()), ..port(4, "llh0", LinkKind::Veth) };
            on(ours, true, true)
        };
        let bridge = |up| on(link(3, "br0", LinkKind::Bridge { vlan_filtering: false }), up, up);
        let nic = |up, running| on(port(2, "eth0", LinkKind::Physical), up, running);
        let guest = || on(port(5, "tap0", LinkKind::Tun), true, true);
        let fake = FakeTable::default();
        let with = |links: &[Link]| {
            fake.set(links);
            let (decides, how) = fake.table().onto_lan(&"br0".parse().unwrap()).unwrap();
            (decides.to_string(), how)
        };
        let eth0 = |how| ("eth0".to_owned(), how);
        assert_eq!(with(&[bridge(true), nic(true, true), ours()]), eth0(LinkUse::Works));
        assert_eq!(with(&[bridge(true), nic(true, false), ours()]), eth0(LinkUse::NoCarrier), "the cable");
        assert_eq!(with(&[bridge(true), nic(false, false), ours(), guest()]), eth0(LinkUse::Down), "a guest");
        let second = on(port(6, "bond0", LinkKind::Bond), true, true);
        let found = with(&[bridge(true), nic(true, false), second, ours()]);
        assert_eq!(found, ("bond0".to_owned(), LinkUse::Works), "another way");
        let veth = on(port(2, "eth0", LinkKind::Veth), true, false);
        assert_eq!(with(&[bridge(true), veth, ours()]), eth0(LinkUse::NoCarrier), "the host is a container");
        let br0 = |how| ("br0".to_owned(), how);
        assert_eq!(with(&[bridge(false), nic(true, true)]), br0(LinkUse::Down), "the bridge itself");
        assert_eq!(with(&[bridge(true), ours()]), br0(LinkUse::Works), "the LAN is the host");
    }

    #[tokio::test]
    async fn a_bridge_has_its_carrier_back_with_the_cable_and_not_with_a_guest() {
        let bridge = link(3, "br0", LinkKind::Bridge { vlan_filtering: false });
        let port = |index, name| Link { controller: Some(3), ..link(index, name, LinkKind::Veth) };
        let mark = Mark::new(&"e".repeat(64).parse().unwrap(), End::Host).to_string();
        let ours = Link { alias: Some(mark), ..port(4, "llh0") };
        let (nic, guest) = (port(2, "eth0"), port(5, "tap0"));
        let lan = |nic_on, ours_on, guests: &[(Link, bool)]| {
            let mut links = vec![(bridge.clone(), true), (nic.clone(), nic_on), (ours.clone(), ours_on)];
            links.extend(guests.iter().cloned());
            table(&links)
        };
        let (links, follows) = watch::channel(lan(true, true, &[]));
        let mut carrier = Carrier::new(follows, 3);
        let mut is_back = async |now: Links| {
            links.send_replace(now);
            tokio::time::timeout(Duration::from_millis(20), carrier.back()).await.is_ok()
        };
        assert!(!is_back(lan(false, true, &[])).await, "the cable is pulled");
        assert!(!is_back(lan(false, false, &[])).await);
        assert!(!is_back(lan(false, true, &[])).await, "a container of ours");
        assert!(!is_back(lan(false, true, &[(guest.clone(), true)])).await, "somebody is plugged in");
        assert!(is_back(lan(true, true, &[(guest, true)])).await, "the cable is in again");
        // The spanning tree protocol holds the port back, and lets it go.
        let held = |port_state| {
            let mut links = lan(true, true, &[]);
            links.insert(
                2,
                state(&Link {
                    port_state: Some(port_state),
                    up: true,
                    running: true,
                    lower_up: true,
                    ..nic.clone()
                }),
            );
            links
        };
        assert!(!is_back(held(PortState::Learning)).await);
        assert!(is_back(held(PortState::Forwarding)).await);
    }

    #[tokio::test]
    async fn a_nic_has_its_carrier_back() {
        let nic = link(2, "eth0", LinkKind::Physical);
        let (links, follows) = watch::channel(table(&[(nic.clone(), true)]));
        let mut carrier = Carrier::new(follows, 2);
        links.send_replace(Links::new());
        assert!(tokio::time::timeout(Duration::from_millis(20), carrier.back()).await.is_err());
        links.send_replace(table(&[(nic, true)]));
        assert!(tokio::time::timeout(Duration::from_secs(10), carrier.back()).await.is_ok());
    }

    #[test]
    fn links_that_change_often_are_kept_once_and_too_many_are_everything() {
        let mut events = LinkEvents::default();
        assert!(events.is_empty());
        for n in 0..1000 {
            let flapping = Link { up: n % 2 == 0, ..link(7, "veth7", LinkKind::Dummy) };
            events.merge(Seen::Link(Box::new(flapping)));
            events.merge(Seen::Link(Box::new(link(8, "veth8", LinkKind::Dummy))));
        }
        assert_eq!(
            events.present.values().map(|link| (link.index, link.up)).collect::<Vec<_>>()[0],
            (7, false)
        );
        assert_eq!(events.present.len(), 2);
        events.merge(Seen::Gone(8, "veth8".parse().ok()));
        assert_eq!((events.present.len(), events.gone.len()), (1, 1));
        for n in 0..5000 {
            events.merge(Seen::Gone(n, format!("veth{n}").parse().ok()));
        }
        assert!(events.overrun && events.present.len() + events.gone.len() <= MOST);
    }
}
