//! What `landline network create` makes of what was asked for and of the host: the parent, the mode, and the subnet of the LAN.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net};
use landline_attach::shell_word;
use landline_kernel::{Address, Link, Route, RouteKind};
use landline_links::{ParentError, check_vlan, find_parent, mark_of, mode_over};
use landline_options::{Mode, NetworkOptions, OptionError};
use landline_types::IfName;
use serde_json::{Value, json};

/// The main routing table (`RT_TABLE_MAIN`).
const MAIN: u32 = 254;
/// Anywhere (`RT_SCOPE_UNIVERSE`).
const UNIVERSE: u8 = 0;

/// What the host has.
#[derive(Debug, Clone, Default)]
pub(super) struct HostSeen {
    pub(super) links: Vec<Link>,
    pub(super) routes: Vec<Route>,
    pub(super) addresses: Vec<Address>,
}

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) parent: Option<IfName>,
    pub(super) mode: Option<String>,
    pub(super) ipv6: bool,
    pub(super) subnet: Option<IpNet>,
    /// Network options by name (`-o`).
    pub(super) options: BTreeMap<String, String>,
}

/// A network as Docker will be asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposal {
    name: String,
    /// The IPAM driver; `None`: Docker's own.
    ipam: Option<&'static str>,
    subnet: Option<IpNet>,
    /// Those of the network driver, in the order in which they are printed.
    options: Vec<(String, String)>,
}

/// Why there is no proposal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProposeError {
    #[error("this host has no default route, which would lead to its LAN; name the interface: --parent NIC{}", candidates(.0))]
    NoDefaultRoute(Vec<IfName>),
    #[error(
        "the default route of this host leaves through {0}, which is not an Ethernet interface; name the interface that is \
         connected to the LAN: --parent NIC{list}",
        list = candidates(.1)
    )]
    NotEthernet(IfName, Vec<IfName>),
    #[error(
        "{0} has no IPv4 address that would tell the subnet of its LAN; add --subnet, like --subnet 192.0.2.0/24"
    )]
    NoSubnet(IfName),
    #[error(
        "the subnet of a VLAN on {0} cannot be seen on this host; add --subnet, like --subnet 192.0.2.0/24"
    )]
    VlanSubnet(IfName),
    #[error("{0} is given twice, by its own option and by -o")]
    Twice(&'static str),
    #[error(transparent)]
    Options(#[from] OptionError),
    #[error(transparent)]
    Parent(#[from] ParentError),
}

fn candidates(names: &[IfName]) -> String {
    let names: Vec<&str> = names.iter().map(IfName::as_str).collect();
    if names.is_empty() { String::new() } else { format!(" (one of: {})", names.join(", ")) }
}

/// Decides what is left open.
pub(super) fn propose(asked: &Asked, host: &HostSeen) -> Result<Proposal, ProposeError> {
    let mut options = asked.options.clone();
    if asked.parent.is_some() && ["parent", "bridge"].iter().any(|name| options.contains_key(*name)) {
        return Err(ProposeError::Twice("the parent"));
    }
    if asked.mode.is_some() && options.contains_key("mode") {
        return Err(ProposeError::Twice("the mode"));
    }
    let word = asked.mode.clone().or_else(|| options.remove("mode"));
    let named = options.remove("bridge").or_else(|| options.remove("parent"));
    let named = asked.parent.as_ref().map(ToString::to_string).or(named);
    let parent = match named {
        Some(name) => Some(name),
        None if word.as_ref().is_some_and(|word| !needs_parent(word)) => None,
        None => Some(default_interface(host)?.to_string()),
    };
    let name: Option<IfName> = parent.as_ref().and_then(|name| name.parse().ok());
    let suggested = name
        .as_ref()
        .map(|name| mode_over(name, host.links.iter().find(|link| link.name == *name)).to_string());
    let mode = word.or(suggested);
    // The words of the first example of every page.
    let is_default = mode == name.map(|name| NetworkOptions::new(name).mode.to_string());
    let mut chosen = Vec::new();
    chosen.extend(mode.filter(|_| !is_default).map(|mode| ("mode".to_owned(), mode)));
    if let Some(parent) = parent {
        chosen.push((if is_default { "bridge" } else { "parent" }.to_owned(), parent));
    }
    if asked.ipv6 && !options.contains_key("ipv6") {
        chosen.push(("ipv6".to_owned(), "true".to_owned()));
    }
    chosen.extend(options);

    // All mistakes that can be seen without the daemon are said here, also for --dry-run.
    let network = NetworkOptions::parse(&chosen.iter().cloned().collect())?;
    // A translated network's parent is a bridge that is made for it.
    if network.mode.asks_the_lan() {
        let link = find_parent(&network.parent, network.mode, &host.links)?;
        check_vlan(&network, link)?;
    }
    let ipam = ipam(network.mode, &chosen);
    let subnet = match (asked.subnet, ipam) {
        (Some(subnet), _) => Some(subnet),
        (None, Some("landline")) => Some(subnet_of(&network, host)?),
        (None, _) => None,
    };
    Ok(Proposal { name: asked.name.clone(), ipam, subnet, options: chosen })
}

/// Whether networks of this mode are on an interface. A word that is no mode is refused later.
fn needs_parent(mode: &str) -> bool {
    NetworkOptions::parse(&[("mode".to_owned(), mode.to_owned())].into()).is_err()
}

/// The interface that the host's packets to the world leave through, those of IPv4 first.
fn default_interface(host: &HostSeen) -> Result<IfName, ProposeError> {
    let suitable = || {
        let fits = |link: &&Link| {
            let ours = mark_of(link).is_some();
            !ours && find_parent(&link.name, mode_over(&link.name, Some(link)), &host.links).is_ok()
        };
        host.links.iter().filter(fits).map(|link| link.name.clone()).collect()
    };
    let leads_out = |route: &&Route| {
        route.kind == RouteKind::Unicast && route.table == MAIN && route.destination.prefix_len() == 0
    };
    let mut routes: Vec<&Route> = host.routes.iter().filter(leads_out).collect();
    routes
        .sort_by_key(|route| (matches!(route.destination, IpNet::V6(_)), route.priority.unwrap_or_default()));
    let link = routes.iter().find_map(|route| host.links.iter().find(|link| Some(link.index) == route.oif));
    match link {
        None => Err(ProposeError::NoDefaultRoute(suitable())),
        Some(link) if !link.ethernet => Err(ProposeError::NotEthernet(link.name.clone(), suitable())),
        Some(link) => Ok(link.name.clone()),
    }
}

/// Who gives addresses.
fn ipam(mode: Mode, options: &[(String, String)]) -> Option<&'static str> {
    let addressing = options.iter().find(|(name, _)| name == "addressing").map(|(_, value)| value.as_str());
    match addressing {
        Some("none") => Some("null"),
        Some("static") => None,
        Some(_) => Some("landline"),
        None => mode.asks_the_lan().then_some("landline"),
    }
}

/// The subnet that the parent's own address is in.
fn subnet_of(network: &NetworkOptions, host: &HostSeen) -> Result<IpNet, ProposeError> {
    if network.vlan.is_some() {
        return Err(ProposeError::VlanSubnet(network.parent.clone()));
    }
    let link = host.links.iter().find(|link| link.name == network.parent);
    let mut addresses =
        host.addresses.iter().filter(|a| link.is_some_and(|l| l.index == a.index) && a.scope == UNIVERSE);
    let net = addresses.find_map(|address| match address.net {
        IpNet::V4(net) if net.prefix_len() < 31 => Some(net.trunc()),
        _ => None,
    });
    net.map(|net: Ipv4Net| net.into()).ok_or_else(|| ProposeError::NoSubnet(network.parent.clone()))
}

impl Proposal {
    /// What somebody would type instead.
    pub(super) fn command(&self) -> String {
        let mut words = vec!["docker network create -d landline".to_owned()];
        words.extend(self.ipam.map(|driver| format!("--ipam-driver {driver}")));
        words.extend(self.subnet.map(|subnet| format!("--subnet {subnet}")));
        words.extend(
            self.options.iter().map(|(name, value)| format!("-o {}", shell_word(&format!("{name}={value}")))),
        );
        words.push(shell_word(&self.name));
        words.join(" ")
    }

    /// The same for Docker's API (`NetworkCreateRequest`).
    pub(super) fn request(&self) -> Value {
        let options: BTreeMap<&str, &str> =
            self.options.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let config: Vec<Value> =
            self.subnet.iter().map(|subnet| json!({"Subnet": subnet.to_string()})).collect();
        json!({
            "Name": self.name,
            "CheckDuplicate": true,
            "Driver": "landline",
            "IPAM": {"Driver": self.ipam.unwrap_or("default"), "Config": config, "Options": {}},
            "Options": options,
        })
    }
}

#[cfg(test)]
mod tests;
