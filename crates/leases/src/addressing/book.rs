//! Keeps what [`permit`](super::permit) is decided on: the host's addresses, by netlink's events, and those of endpoints,
//! which their records announce whenever they change.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ipnet::IpNet;
use landline_dhcp::Taken;
use landline_kernel::{Group, Monitor, Netlink};
use landline_links::{LinkTable, facts_of, look_again};
use landline_options::{EndpointId, NetworkOptions};
use landline_types::{IfName, Mac};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::permit::{Asker, Holder, InUse, Lan, NotPermitted, permit};

/// The time in which events of addresses are one.
const MOMENT: Duration = Duration::from_millis(250);

/// Who has which address. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct AddressBook {
    in_use: Arc<RwLock<InUse>>,
    /// Shows which names are of one LAN; tests have none.
    link_table: Option<LinkTable>,
    host: Arc<Notify>,
}

/// The entry of one endpoint. It is taken out when this is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    book: AddressBook,
    lan: Lan,
    holder: Holder,
    addresses: BTreeSet<IpAddr>,
}

impl AddressBook {
    /// One that follows the addresses of the host's namespace until `cancel`.
    pub(crate) fn start(link_table: LinkTable, cancel: CancellationToken) -> io::Result<Self> {
        let monitor = Monitor::open(&[Group::Addresses])?;
        let book = Self { link_table: Some(link_table), ..Self::default() };
        book.write().set_host(of_host()?);
        tokio::spawn(follow(book.clone(), monitor, cancel));
        Ok(book)
    }

    /// The host has these addresses, on these interfaces.
    #[cfg(any(test, feature = "testing"))]
    pub fn set_host(&self, addresses: Vec<(IfName, IpNet)>) {
        self.write().set_host(addresses);
        self.host.notify_one();
    }

    /// Whether somebody may have an address.
    pub fn permit(&self, net: IpNet, asker: &Asker<'_>) -> Result<(), NotPermitted> {
        permit(net, asker, &self.read(), |lan| self.name_of(lan))
    }

    /// One name for all that are one LAN now.
    fn name_of(&self, lan: &Lan) -> Lan {
        match (lan, &self.link_table) {
            (Lan::Parent(parent, vlan), Some(link_table)) => {
                let (parent, vlan) = link_table.wire(parent, *vlan);
                Lan::Parent(parent, vlan)
            }
            _ => lan.clone(),
        }
    }

    /// As [`Self::permit`] for an endpoint of a network with these options.
    pub fn permit_endpoint(
        &self,
        net: IpNet,
        options: &NetworkOptions,
        endpoint: &EndpointId,
    ) -> Result<(), NotPermitted> {
        let lan = Lan::of(options);
        let routed = facts_of(options.mode).host_routes();
        self.permit(net, &Asker { lan: &lan, endpoint: Some(endpoint), interface: card(options), routed })
    }

    /// What a DHCP client of that endpoint asks about addresses that servers give.
    pub(crate) fn taken(&self, options: &NetworkOptions, endpoint: &EndpointId) -> Taken {
        let (book, lan, endpoint) = (self.clone(), Lan::of(options), endpoint.clone());
        let (card, routed) = (card(options).cloned(), facts_of(options.mode).host_routes());
        Taken::by(move |address| {
            let asker = Asker { lan: &lan, endpoint: Some(&endpoint), interface: card.as_ref(), routed };
            // What it is to its subnet the client looks at itself, and its link-local address is of its own making. One of IPv4
            // can only be a server's word.
            let own = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
            !own && match book.permit(IpNet::from(address), &asker) {
                // The host may be without an address for a moment, as while its own client starts again. Then there is nothing to
                // judge a lease by, and a renewal of a good one is not given up.
                Err(NotPermitted::OffLan { subnets, .. }) => !subnets.is_empty(),
                permitted => permitted.is_err(),
            }
        })
    }

    /// Whether a hardware address is that of another endpoint in the same sandbox. By default the kernel answers ARP on
    /// each interface for the addresses of all (`arp_ignore=0`).
    pub(crate) fn shares_sandbox(&self, mac: Mac, sandbox: &Path) -> bool {
        let in_use = self.read();
        let mut holders = in_use.endpoints.values().flatten();
        holders.any(|holder| holder.mac == mac && holder.sandbox.as_deref() == Some(sandbox))
    }

    /// Resolves when the host's addresses have changed since the last time. For one task only.
    pub async fn host_changed(&self) {
        self.host.notified().await;
    }

    /// Whether the host has an address that an endpoint has, too, wherever that is.
    pub fn is_shared(&self) -> bool {
        let in_use = self.read();
        in_use.endpoints.keys().any(|(_, address)| in_use.host.contains_key(address))
    }

    /// An entry without addresses so far.
    pub(crate) fn enter(&self, options: &NetworkOptions, holder: Holder) -> Entry {
        Entry { book: self.clone(), lan: Lan::of(options), holder, addresses: BTreeSet::new() }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, InUse> {
        self.in_use.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, InUse> {
        self.in_use.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The endpoint is this now, with these addresses.
    pub(crate) fn set(&mut self, holder: Holder, addresses: BTreeSet<IpAddr>) {
        if self.holder == holder && self.addresses == addresses {
            return;
        }
        let book = self.book.clone();
        let mut in_use = book.write();
        for gone in self.addresses.difference(&addresses) {
            self.leave(&mut in_use, *gone);
        }
        for address in &addresses {
            let holders = in_use.endpoints.entry((self.lan.clone(), *address)).or_default();
            match holders.iter_mut().find(|known| **known == self.holder) {
                // It keeps its place.
                Some(known) if self.addresses.contains(address) => known.clone_from(&holder),
                Some(_) | None => holders.push(holder.clone()),
            }
        }
        (self.holder, self.addresses) = (holder, addresses);
    }

    fn leave(&self, in_use: &mut InUse, address: IpAddr) {
        let key = (self.lan.clone(), address);
        let Some(holders) = in_use.endpoints.get_mut(&key) else { return };
        // One only: an endpoint that is made again may be there twice for a moment.
        if let Some(at) = holders.iter().position(|holder| *holder == self.holder) {
            holders.remove(at);
        }
        if holders.is_empty() {
            in_use.endpoints.remove(&key);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut in_use = self.book.write();
        for address in &self.addresses {
            self.leave(&mut in_use, *address);
        }
    }
}

/// The card that moves into the container itself, with the addresses that the host has on it.
fn card(options: &NetworkOptions) -> Option<&IfName> {
    facts_of(options.mode).moves_parent().then_some(&options.parent)
}

/// The host's addresses with their subnets, and the interfaces that have them.
fn of_host() -> io::Result<Vec<(IfName, IpNet)>> {
    let mut netlink = Netlink::open()?;
    let addresses = netlink.addresses().map_err(io::Error::other)?;
    let links = netlink.links().map_err(io::Error::other)?;
    let names: BTreeMap<u32, IfName> = links.into_iter().map(|link| (link.index, link.name)).collect();
    // One whose link has gone in between goes with it.
    let named = addresses.iter().filter_map(|own| Some((names.get(&own.index)?.clone(), own.net)));
    Ok(named.collect())
}

async fn follow(book: AddressBook, mut monitor: Monitor, cancel: CancellationToken) {
    let follow = async {
        loop {
            monitor.next().await;
            // The first is looked at at once. What comes within a moment after that is one more look: whoever sends router
            // advertisements to the host decides how many there are.
            let mut quiet = false;
            while !quiet {
                let host = look_again("the host's addresses", of_host).await;
                book.write().set_host(host);
                book.host.notify_one();
                let end = tokio::time::Instant::now() + MOMENT;
                quiet = true;
                while tokio::time::timeout_at(end, monitor.next()).await.is_ok() {
                    quiet = false;
                }
            }
        }
    };
    cancel.run_until_cancelled(follow).await;
}

#[cfg(test)]
mod tests {
    use landline_options::Mode;

    use super::*;

    fn holder(letter: &str) -> Holder {
        Holder {
            endpoint: letter.repeat(64).parse().unwrap(),
            name: format!("container {letter}"),
            mac: Mac::new([2, 0, 0, 0, 0, 1]),
            sandbox: Some("/run/netns/a".into()),
        }
    }

    /// On ipvlan no probe could find them: all have one hardware address.
    #[test]
    fn no_kind_of_link_leads_to_a_taken_address() {
        for mode in [Mode::Bridge, Mode::Macvlan, Mode::Ipvlan, Mode::Ovs] {
            let options = NetworkOptions { mode, ..NetworkOptions::new("eth0".parse().unwrap()) };
            let book = AddressBook::default();
            let (host, held, free) = ("192.0.2.10/24", "192.0.2.70/24", "192.0.2.77/24");
            book.write().set_host(vec![("eth0".parse().unwrap(), host.parse().unwrap())]);
            let mut entry = book.enter(&options, holder("a"));
            entry.set(holder("a"), ["192.0.2.70".parse().unwrap()].into());
            let taken = book.taken(&options, &holder("b").endpoint);
            for (net, why) in [(host, "this host has"), (held, "container a has"), (free, "")] {
                let net: IpNet = net.parse().unwrap();
                let refused = book.permit_endpoint(net, &options, &holder("b").endpoint).err();
                let said = refused.map(|refused| refused.to_string()).unwrap_or_default();
                assert!(said.starts_with(why) && said.is_empty() == why.is_empty(), "{mode} {net}: {said}");
                assert_eq!(taken.contains(net.addr()), !why.is_empty(), "{mode} {net}");
            }
        }
    }

    #[test]
    fn what_the_host_would_route_to_is_of_the_lan() {
        let options = NetworkOptions { mode: Mode::Routed, ..NetworkOptions::new("wlan0".parse().unwrap()) };
        let (book, id) = (AddressBook::default(), holder("a").endpoint);
        let on = |name: &str, net: &str| (name.parse::<IfName>().unwrap(), net.parse::<IpNet>().unwrap());
        book.write().set_host(vec![on("wlan0", "192.0.2.10/24"), on("docker0", "172.17.0.1/16")]);
        let taken = book.taken(&options, &id);
        for (address, refused) in [("192.0.2.50", false), ("172.17.0.2", true), ("9.9.9.9", true)] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(book.permit_endpoint(address.into(), &options, &id).is_err(), refused, "{address}");
            assert_eq!(taken.contains(address), refused, "{address}");
        }
        // The host's own lease is over: nothing fixed is begun, and no lease is given up for that.
        book.write().set_host(vec![on("docker0", "172.17.0.1/16")]);
        let address: IpAddr = "192.0.2.50".parse().unwrap();
        assert!(book.permit_endpoint(address.into(), &options, &id).is_err());
        assert!(!taken.contains(address));
    }

    #[test]
    fn entries_come_change_and_go() {
        let book = AddressBook::default();
        let options = NetworkOptions::new("eth0".parse().unwrap());
        let net: IpNet = "192.0.2.70/24".parse().unwrap();
        let (a, b) = (holder("a"), holder("b"));
        let may = |who: &Holder| book.permit_endpoint(net, &options, &who.endpoint);
        let mut entry = book.enter(&options, a.clone());
        assert_eq!(may(&b), Ok(()));
        entry.set(a.clone(), [net.addr()].into());
        assert_eq!(may(&a), Ok(()));
        assert!(matches!(may(&b), Err(NotPermitted::Endpoint { holder, .. }) if holder == "container a"));
        assert!(book.taken(&options, &b.endpoint).contains(net.addr()));
        assert!(!book.taken(&options, &a.endpoint).contains(net.addr()));
        assert!(book.shares_sandbox(a.mac, Path::new("/run/netns/a")));
        assert!(!book.shares_sandbox(a.mac, Path::new("/run/netns/b")));
        // A link-local address of IPv4 is a server's word like any other; one of IPv6 is the client's own.
        let (mine, theirs) = ("169.254.7.7".parse().unwrap(), "fe80::7".parse().unwrap());
        book.write().set_host(vec![
            (options.parent.clone(), IpNet::from(IpAddr::from(mine))),
            (options.parent.clone(), IpNet::from(IpAddr::V6(theirs))),
        ]);
        let taken = book.taken(&options, &b.endpoint);
        assert!(taken.contains(IpAddr::V4(mine)) && !taken.contains(IpAddr::V6(theirs)));
        book.write().set_host(Vec::new());
        // One that is made again is there before the one of before is gone.
        let mut again = book.enter(&options, a.clone());
        again.set(a.clone(), [net.addr()].into());
        drop(entry);
        assert!(may(&b).is_err());
        again.set(Holder { name: "container web".into(), ..a.clone() }, [net.addr()].into());
        assert!(may(&b).unwrap_err().to_string().contains("container web"));
        again.set(a, BTreeSet::new());
        assert_eq!(may(&b), Ok(()));
        drop(again);
        assert!(book.read().endpoints.is_empty());
    }
}
