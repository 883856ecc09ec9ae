//! What should be there, as a value: from what was asked for, the containers there are and the host's addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use landline_kernel::{Address, Link};
use landline_options::{Access, NetworkId};
use landline_types::{IfName, Mac};

use super::enable::Unfit;
use super::seen::{Member, SeenNetwork, Wire, find};
use super::view::{AccessContainer, AccessOrigin, AccessState, AccessView};

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) access: Access,
    pub(crate) by: AccessOrigin,
    /// Why it must not be done yet.
    pub(crate) held: Option<Unfit>,
}

/// The host as it is.
pub(crate) struct Facts<'a> {
    pub(crate) links: &'a [Link],
    pub(crate) addresses: &'a [Address],
    /// Links whose reverse path filter is strict (RFC 3704 section 2.2).
    pub(crate) strict: &'a BTreeSet<IfName>,
}

/// What should be there.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Target {
    /// The shims, by what is written into their alias.
    pub(crate) shims: BTreeMap<String, Shim>,
    /// What each network is shown with, unless something fails; with the key of its shim.
    pub(crate) views: Vec<(Option<String>, AccessView)>,
    /// The NICs whose reverse path filter must not be strict.
    pub(crate) loosen: BTreeSet<IfName>,
    /// The NICs in question, present or not.
    pub(crate) parents: BTreeSet<IfName>,
}

/// A sibling of containers on the host's side.
#[derive(Debug, PartialEq)]
pub(crate) struct Shim {
    pub(crate) name: IfName,
    pub(crate) wire: ShimWire,
    /// The parent's index.
    pub(crate) parent: u32,
    pub(crate) parent_name: IfName,
    pub(crate) mtu: u32,
    /// Its own addresses; an unnumbered one does not take part in ARP.
    pub(crate) addresses: Vec<IpNet>,
    /// What is reached through it, and the source address of what this host sends there.
    pub(crate) routes: BTreeMap<IpNet, IpAddr>,
    /// Who is reached through it.
    pub(crate) neighbours: BTreeMap<IpAddr, Mac>,
    /// What is to be known in the containers.
    pub(crate) insides: Vec<Inside>,
}

/// A shim's kind and its hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShimWire {
    Macvlan(Mac),
    /// The parent's.
    Ipvlan,
}

/// A container's side.
#[derive(Debug, PartialEq)]
pub(crate) struct Inside {
    pub(crate) sandbox: PathBuf,
    /// The container's addresses, by which its interface is found.
    pub(crate) own: Vec<IpAddr>,
    /// The host's addresses, which it finds behind the shim.
    pub(crate) hosts: BTreeSet<IpAddr>,
}

impl Shim {
    pub(crate) fn is_numbered(&self) -> bool {
        !self.addresses.is_empty()
    }
}

/// What should be there for these networks.
pub(crate) fn plan(
    wanted: &[Wanted],
    networks: &BTreeMap<NetworkId, SeenNetwork>,
    facts: &Facts<'_>,
) -> Target {
    let mut target = Target::default();
    for Wanted { access, by, held } in wanted {
        let found = find(networks, &access.network);
        let mut view = AccessView {
            network: found.map_or_else(|| access.network.clone(), |(_, network)| network.name.clone()),
            by: *by,
            driver: found.map(|(_, network)| network.driver.clone()),
            parent: found.and_then(|(_, network)| network.parent.clone()),
            interface: None,
            addresses: access.addresses.clone(),
            routes: access.routes.clone(),
            containers: Vec::new(),
            state: AccessState::Ready,
            notes: Vec::new(),
        };
        let placed = match found {
            Some((id, network)) => target.place((access, held.as_ref()), id, network, facts, &mut view),
            None => {
                Err(held.as_ref().map_or_else(|| "there is no such network now".into(), ToString::to_string))
            }
        };
        let key = placed.map_err(|why| view.state = AccessState::Trouble(why)).ok();
        target.views.push((key, view));
    }
    target
}

impl Target {
    /// Adds one network; its shim's key, or why it cannot have one.
    fn place(
        &mut self,
        (access, held): (&Access, Option<&Unfit>),
        id: &NetworkId,
        network: &SeenNetwork,
        facts: &Facts<'_>,
        view: &mut AccessView,
    ) -> Result<String, String> {
        let name = suitable_parent(network)?;
        self.parents.insert(name.clone());
        let parent = facts.links.iter().find(|link| link.name == *name);
        let parent = parent.ok_or_else(|| format!("waits for {name}, which is not there"))?;
        if !parent.up {
            return Err(format!("waits for {name}, which is down"));
        }
        if let Some(why) = held {
            return Err(why.to_string());
        }
        let numbered = !access.addresses.is_empty();
        let ipvlan = network.wire == Wire::Ipvlan;
        if ipvlan && !numbered {
            if access.loosen {
                self.loosen.insert(name.clone());
                view.notes.push(format!("rp_filter of {name} is 2 (loose) until host access is disabled"));
            } else if facts.strict.contains(name) {
                return Err(strict_filter(name));
            }
        }
        let hosts: Vec<IpNet> = host_addresses(parent, facts.addresses).collect();
        if !numbered && hosts.is_empty() {
            return Err(format!(
                "waits for an address of the host on {name}, or give the shim one with --ip"
            ));
        }
        let key = match (numbered, ipvlan) {
            (true, _) => id.to_string(),
            (false, false) => format!("macvlan:{name}"),
            (false, true) => format!("ipvlan:{name}"),
        };
        let shim = self.shims.entry(key.clone()).or_insert_with(|| Shim {
            name: shim_name(access, id, parent),
            wire: if ipvlan { ShimWire::Ipvlan } else { ShimWire::Macvlan(mac(parent, &key)) },
            parent: parent.index,
            parent_name: name.clone(),
            mtu: parent.mtu,
            addresses: access.addresses.clone(),
            routes: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            insides: Vec::new(),
        });
        view.interface = Some(shim.name.clone());
        for route in &access.routes {
            if let Some(source) = shim.number_like(route.addr()) {
                shim.routes.insert(*route, source);
            }
        }
        for member in &network.members {
            view.containers.push(shim.admit(member, network, parent, &hosts));
        }
        Ok(key)
    }
}

impl Shim {
    /// Its own address of the same family.
    fn number_like(&self, address: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().map(IpNet::addr).find(|own| own.is_ipv4() == address.is_ipv4())
    }

    /// Adds a container.
    fn admit(
        &mut self,
        member: &Member,
        network: &SeenNetwork,
        parent: &Link,
        hosts: &[IpNet],
    ) -> AccessContainer {
        let mut shown = AccessContainer {
            container: member.container.clone(),
            addresses: member.addresses.clone(),
            state: AccessState::Ready,
        };
        let mut known = BTreeSet::new();
        for &address in &member.addresses {
            let serving = hosts.iter().filter(|host| serves(host, address, &network.subnets));
            let serving: Vec<IpAddr> = serving.map(IpNet::addr).collect();
            let Some(source) = self.number_like(address).or_else(|| serving.first().copied()) else {
                let why = format!("the host has no address on {} that {address} would answer", parent.name);
                shown.state = AccessState::Trouble(why);
                continue;
            };
            if self.routes.insert(IpNet::from(address), source).is_some() {
                shown.state = AccessState::Trouble(format!("{address} is there twice"));
            }
            let mac = match self.wire {
                ShimWire::Macvlan(_) => member.mac,
                ShimWire::Ipvlan => parent.mac,
            };
            if let Some(mac) = mac {
                self.neighbours.insert(address, mac);
            }
            known.extend(serving);
        }
        if let Some(sandbox) = &member.sandbox
            && !known.is_empty()
        {
            let (sandbox, own) = (sandbox.clone(), member.addresses.clone());
            self.insides.push(Inside { sandbox, own, hosts: known });
        }
        shown
    }
}

/// The parent of a network that host access can be given to; or why it cannot.
pub(crate) fn suitable_parent(network: &SeenNetwork) -> Result<&IfName, String> {
    let name = &network.name;
    if let Wire::Unsuitable(why) = &network.wire {
        return Err(format!("{name} {why}"));
    }
    network.parent.as_ref().ok_or_else(|| {
        format!(
            "{name} has no parent (-o parent=...): it is cut off from every LAN, and from the host with it"
        )
    })
}

/// What is said where only the user may decide.
pub(crate) fn strict_filter(parent: &IfName) -> String {
    format!(
        "rp_filter of {parent} is 1 (strict), which drops what ipvlan containers answer; allow it to be set to 2 with \
         --loosen-rp-filter, or give the shim an address with --ip"
    )
}

/// The addresses a host has on a link, for use by others.
pub(crate) fn host_addresses<'a>(
    parent: &'a Link,
    addresses: &'a [Address],
) -> impl Iterator<Item = IpNet> + 'a {
    /// Not to be used for anything new, or not for long.
    const DEPRECATED: u32 = 0x20;
    const TEMPORARY: u32 = 0x01;
    addresses
        .iter()
        .filter(|a| a.index == parent.index && a.scope == 0 && a.peer.is_none())
        .filter(|a| !a.is_tentative() && !a.is_duplicate() && a.flags & DEPRECATED == 0)
        // The same flag means "not the first of its network" for IPv4.
        .filter(|a| a.net.addr().is_ipv4() || a.flags & TEMPORARY == 0)
        .map(|a| a.net)
}

/// Whether a container with this address takes that host address to be on its own network: by the network's subnets
/// where it has any, else by what the host's own prefix says of the LAN.
pub(crate) fn serves(host: &IpNet, address: IpAddr, subnets: &[IpNet]) -> bool {
    let v4 = address.is_ipv4();
    if host.addr().is_ipv4() != v4 || host.addr() == address {
        return false;
    }
    let both = |net: &IpNet| net.contains(&address) && net.contains(&host.addr());
    let mut known =
        subnets.iter().filter(|net| net.prefix_len() > 0 && net.addr().is_ipv4() == v4).peekable();
    if known.peek().is_some() { known.any(both) } else { both(&host.trunc()) }
}

fn shim_name(access: &Access, id: &NetworkId, parent: &Link) -> IfName {
    let made_up = || {
        let text = if access.addresses.is_empty() {
            format!("lls{}", parent.index)
        } else {
            format!(
                "lls{}",
                id.as_str().chars().filter(char::is_ascii_alphanumeric).take(12).collect::<String>()
            )
        };
        // At most 15 letters and digits: always a name.
        text.parse().unwrap_or_else(|_| unreachable!("a short clean name"))
    };
    match &access.interface {
        Some(name) if !access.addresses.is_empty() => name.clone(),
        _ => made_up(),
    }
}

/// A hardware address that is the same whenever the shim is made again, so that nobody's table is out of date.
fn mac(parent: &Link, key: &str) -> Mac {
    let parent = parent.mac.map(Mac::octets).unwrap_or_default();
    // FNV-1a.
    let hash = parent.iter().copied().chain(key.bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [a, b, c, d, e, ..] = (hash ^ (hash >> 24)).to_le_bytes();
    Mac::new([0x02, a, b, c, d, e])
}

#[cfg(test)]
mod tests;
