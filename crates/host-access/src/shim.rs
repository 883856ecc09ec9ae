//! Shims in the kernel: made, kept as they should be, removed.
//!
//! The host's end of host access is a sibling of the containers, on the same parent. Without an address it takes no
//! part in ARP (`arp off`), so that the LAN goes on hearing one answer for each of the host's addresses; with one it
//! answers for that alone (`arp_ignore=1`), asks with that alone (`arp_announce=2`), and the packet filter keeps the
//! host's other interfaces from answering for it.

use std::fmt::Write as _;
use std::io;

use ipnet::IpNet;
use landline_kernel::sysctl::Family;
use landline_kernel::{
    Address, IpvlanMode, Link, LinkChange, LinkKind, MacvlanMode, NetlinkError, NewLink, NewLinkKind, nft,
};
use landline_links::mark::PROTOCOL;
use landline_links::{Namespace, Namespaces};
use landline_types::IfName;

use super::plan::{Shim, ShimWire, Target};

/// Who looks after shims: the daemon, or a command in the foreground that looks after one network. Each knows its own
/// by their aliases and has tables of rules of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeper {
    /// `landline daemon`.
    Daemon,
    /// `landline host-access run`, for the interface of this name.
    Command(IfName),
}

impl Keeper {
    fn prefix(&self) -> String {
        match self {
            Self::Daemon => "landline-shim:".into(),
            Self::Command(name) => format!("landline-run:{name}:"),
        }
    }

    pub(super) fn alias(&self, key: &str) -> String {
        format!("{}{key}", self.prefix())
    }

    /// The key of a link that is this keeper's.
    pub(super) fn key<'a>(&self, link: &'a Link) -> Option<&'a str> {
        let child = matches!(link.kind, LinkKind::Macvlan { .. } | LinkKind::Ipvlan { .. });
        link.alias.as_deref().filter(|_| child)?.strip_prefix(&self.prefix())
    }

    /// The name of its tables: letters, digits and underscores.
    fn table(&self) -> String {
        match self {
            Self::Daemon => "landline".into(),
            Self::Command(name) => {
                let mut table = "landline_run_".to_owned();
                for byte in name.as_str().bytes() {
                    // Writing to a String cannot fail.
                    let _ = write!(table, "{byte:02x}");
                }
                table
            }
        }
    }
}

/// Why a shim is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShimError {
    #[error(
        "there is an interface {0} already, which is not Landline's; remove it or use another name (--interface)"
    )]
    NameTaken(IfName),
    #[error("{parent} cannot have {kind} children now: something else has taken it over")]
    ParentTaken { parent: IfName, kind: &'static str },
    #[error("cannot make the interface {name}")]
    Make {
        name: IfName,
        #[source]
        source: NetlinkError,
    },
    #[error("cannot set up the interface {name}")]
    SetUp {
        name: IfName,
        #[source]
        source: NetlinkError,
    },
}

/// A shim that is there.
#[derive(Debug, Clone)]
pub(super) struct Present {
    pub(super) link: Link,
    /// Router Advertisements must be filtered: the setting that keeps them off could not be written.
    pub(super) filter_ra: bool,
}

/// Makes the shim if need be, down and silent.
pub(super) fn make(
    namespaces: &dyn Namespaces,
    netlink: &mut dyn Namespace,
    keeper: &Keeper,
    (key, shim): (&str, &Shim),
    links: &[Link],
) -> Result<Present, ShimError> {
    let failed = |source| ShimError::Make { name: shim.name.clone(), source };
    let found = links.iter().find(|link| keeper.key(link) == Some(key));
    if let Some(link) = found {
        if fits(link, shim) {
            return Ok(Present { filter_ra: !is_deaf(namespaces, link), link: link.clone() });
        }
        tracing::info!(link = %link.name, "an interface is made again: it was not as it should be");
        netlink.delete_link(link.index).map_err(failed)?;
    }
    if links.iter().any(|link| link.name == shim.name && keeper.key(link) != Some(key)) {
        return Err(ShimError::NameTaken(shim.name.clone()));
    }
    let (kind, word, mac) = match shim.wire {
        ShimWire::Macvlan(mac) => {
            (NewLinkKind::Macvlan { parent: shim.parent, mode: MacvlanMode::Bridge }, "macvlan", Some(mac))
        }
        ShimWire::Ipvlan => {
            (NewLinkKind::Ipvlan { parent: shim.parent, mode: IpvlanMode::L2 }, "ipvlan", None)
        }
    };
    let new = NewLink {
        mac,
        mtu: Some(shim.mtu),
        alias: Some(keeper.alias(key)),
        addr_gen_none: true,
        ..NewLink::new(shim.name.clone(), kind)
    };
    netlink.add_link(&new).map_err(|error| match error {
        error if error.busy() => ShimError::ParentTaken { parent: shim.parent_name.clone(), kind: word },
        error => failed(error),
    })?;
    tracing::info!(link = %shim.name, parent = %shim.parent_name, "interface made");
    let link = netlink.link_by_name(&shim.name).map_err(failed)?;
    let link = link.ok_or_else(|| ShimError::NameTaken(shim.name.clone()))?;
    let filter_ra = match namespaces.set(Family::V6, &link.name, "accept_ra", "0") {
        Ok(()) => false,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            // In a container /proc/sys is read-only.
            tracing::debug!(%error, "accept_ra not written");
            true
        }
    };
    Ok(Present { link, filter_ra })
}

/// Whether it is the link the shim wants: what cannot be changed is right.
fn fits(link: &Link, shim: &Shim) -> bool {
    let kind = match (&link.kind, shim.wire) {
        (LinkKind::Macvlan { mode }, ShimWire::Macvlan(_)) => *mode == Some(MacvlanMode::Bridge),
        (LinkKind::Ipvlan { mode }, ShimWire::Ipvlan) => *mode == Some(IpvlanMode::L2),
        _ => false,
    };
    kind && link.parent == Some(shim.parent) && link.name == shim.name
}

/// Whether it does not hear Router Advertisements.
fn is_deaf(namespaces: &dyn Namespaces, link: &Link) -> bool {
    match namespaces.setting(Family::V6, &link.name, "accept_ra") {
        Ok(value) => value == "0",
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// The rules all shims together need; empty for none.
pub(crate) fn rules(keeper: &Keeper, target: &Target, present: &[(&str, Present)]) -> Rules {
    let (mut arp, mut ra) = (String::new(), String::new());
    for (key, shim) in &target.shims {
        for address in shim.addresses.iter().filter(|address| address.addr().is_ipv4()) {
            let (name, address) = (&shim.name, address.addr());
            let _ =
                writeln!(arp, "\t\tiifname != \"{name}\" arp operation request arp daddr ip {address} drop");
        }
        if present.iter().any(|(k, present)| k == key && present.filter_ra) {
            let _ = writeln!(ra, "\t\tiifname \"{}\" icmpv6 type nd-router-advert drop", shim.name);
        }
    }
    let chain = |rules: String| match &*rules {
        "" => String::new(),
        rules => format!(
            "\tchain shims {{\n\t\ttype filter hook input priority filter; policy accept;\n{rules}\t}}\n"
        ),
    };
    Rules { table: keeper.table(), arp: chain(arp), ra: chain(ra) }
}

/// What our tables hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rules {
    table: String,
    arp: String,
    ra: String,
}

impl Rules {
    pub(super) fn is_empty(&self) -> bool {
        self.arp.is_empty() && self.ra.is_empty()
    }

    /// Puts them in the place of what was there. `before`: what that was, if known.
    pub(super) fn apply(
        &self,
        namespaces: &dyn Namespaces,
        before: Option<&Self>,
    ) -> Result<(), nft::NftError> {
        let differs = |part: fn(&Self) -> &String| before.is_none_or(|before| part(before) != part(self));
        let mut script = String::new();
        if differs(|rules| &rules.arp) {
            script += &nft::table("arp", &self.table, &self.arp);
        }
        // The rare one: not even emptied where it was never made.
        if differs(|rules| &rules.ra) && (before.is_some() || !self.ra.is_empty()) {
            script += &nft::table("ip6", &self.table, &self.ra);
        }
        if script.is_empty() { Ok(()) } else { namespaces.load(&script) }
    }
}

/// Brings a shim up with its settings and addresses. Its rules are in place.
pub(super) fn set_up(netlink: &mut dyn Namespace, shim: &Shim, link: &Link) -> Result<(), NetlinkError> {
    let settings = if shim.is_numbered() {
        // The LAN is not reached through it, so what comes from there is let in by a loose filter only.
        LinkChange::new().arp(true).arp_ignore(1).arp_announce(2).rp_filter(2)
    } else {
        LinkChange::new().arp(false)
    };
    if !link.up || link.arp() != shim.is_numbered() {
        netlink.set_link(link.index, &settings)?;
    }
    if link.mtu != shim.mtu {
        netlink.set_link(link.index, &LinkChange::new().mtu(shim.mtu))?;
    }
    if !link.up {
        netlink.set_link(link.index, &LinkChange::new().up())?;
    }
    addresses(netlink, shim, link.index)
}

fn addresses(netlink: &mut dyn Namespace, shim: &Shim, index: u32) -> Result<(), NetlinkError> {
    let present: Vec<Address> = netlink.addresses()?.into_iter().filter(|a| a.index == index).collect();
    for address in &present {
        let link_local = matches!(address.net.addr(), std::net::IpAddr::V6(v6) if v6.is_unicast_link_local());
        if !link_local && address.protocol == PROTOCOL && !shim.addresses.contains(&address.net) {
            netlink.delete_address(address)?;
        }
    }
    for address in &shim.addresses {
        if !present.iter().any(|a| a.net == *address) {
            let new = Address::new(index, *address).no_prefix_route().protocol(PROTOCOL);
            let new = match address {
                IpNet::V4(net) if net.prefix_len() < 31 => new.broadcast(net.broadcast()),
                _ => new,
            };
            netlink.add_address(&new)?;
        }
    }
    Ok(())
}
