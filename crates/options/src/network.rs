//! The options of a network.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

use landline_types::IfName;
use serde::{Deserialize, Serialize};

use crate::addresses::AddressesFrom;
use crate::client_id::ClientIdTemplate;
use crate::duration::parse_duration;
use crate::error::{OptionError, cut};
use crate::given::{Given, boolean};
use crate::keys;
use crate::modes::{HostAccess, Mode};
use crate::nat::NatOptions;
use crate::vde::VdeOptions;
use crate::words::{
    Addressing, ConflictCheck, DnsMode, Fqdn, HostnameMode, IdentitySource, Ipv6Address, Ipv6Mode, LinkMtu,
    MacvlanMode, Mtu, MtuSource, OnDuplicate, OnTimeout, Release, Vlan, WhenUnsure,
};

/// How long a first lease may take unless `lease_timeout` says otherwise.
pub const DEFAULT_LEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the address of a removed container is kept for a recreated one, unless `release_after` says otherwise.
pub const DEFAULT_RELEASE_AFTER: Duration = Duration::from_mins(15);

/// What `lease_timeout` may be: less finds no server, more outlasts everybody's patience.
pub const LEASE_TIMEOUT_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(500)..=Duration::from_mins(10);

/// The vendor class (option 60) unless `vendor_class` says otherwise.
pub const DEFAULT_VENDOR_CLASS: &str = "landline";

/// The most servers that `dhcp_servers` and `dhcp_deny_servers` may list each.
const MAX_SERVERS: usize = 16;

/// What every link with IPv6 must carry, in bytes (RFC 8200 section 5).
const MIN_MTU_V6: u32 = 1280;

/// What a network is: the choices made when it was created. Goes into the store, so every field but the parent
/// has a default and older records can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "switches of the user, each on its own")]
pub struct NetworkOptions {
    /// How the wire runs.
    #[serde(default)]
    pub mode: Mode,
    /// The network's parent on the host: a bridge (`bridge`, `ovs`) or a network card (`macvlan`, `ipvlan`). With
    /// `mode=vde` it is the network's own bridge, which whoever makes that names; with `mode=nat` as well, in the place
    /// of the interface that was named.
    pub parent: IfName,
    /// Where addresses come from.
    #[serde(default)]
    pub addressing: Addressing,
    /// What is done about IPv6.
    #[serde(default)]
    pub ipv6: Ipv6Mode,
    /// How the lower halves of IPv6 addresses are made.
    #[serde(default)]
    pub ipv6_address: Ipv6Address,
    /// How long the first lease of an endpoint may take, within [`LEASE_TIMEOUT_RANGE`].
    #[serde(default = "default_lease_timeout")]
    pub lease_timeout: Duration,
    /// What becomes of a start that gets no address in that time.
    #[serde(default)]
    pub on_timeout: OnTimeout,
    /// Where its containers' identities come from; `None`: as the configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentitySource>,
    /// What becomes of a start whose derived identity another host uses.
    #[serde(default)]
    pub on_duplicate: OnDuplicate,
    /// What becomes of a start while nothing tells which container it is of.
    #[serde(default)]
    pub when_unsure: WhenUnsure,
    /// When an address is given back to the server.
    #[serde(default)]
    pub release: Release,
    /// How long after its container was removed that is, so that a recreated one gets it again; at most a week.
    /// Containers that remove themselves (`--rm`) do not wait.
    #[serde(default = "default_release_after")]
    pub release_after: Duration,
    /// Whether the network may share its bridge with another Docker network.
    #[serde(default)]
    pub ignore_conflicts: bool,
    /// Whether neither the parent's static routes nor the server's go into containers; the default route does.
    #[serde(default)]
    pub skip_routes: bool,
    /// The default gateway, instead of the one the server names.
    #[serde(default)]
    pub gateway: Option<Ipv4Addr>,
    /// The client identifier (option 61), instead of Landline's own choice. Never a literal: it has placeholders.
    #[serde(default)]
    pub client_id: Option<ClientIdTemplate>,
    /// The vendor class (option 60): 1 to 255 printable ASCII characters. `None`: not sent.
    #[serde(default = "default_vendor_class")]
    pub vendor_class: Option<String>,
    /// The user class (option 77): 1 to 254 printable ASCII characters. `None`: not sent.
    #[serde(default)]
    pub user_class: Option<String>,
    /// Which name the DHCP server is told.
    #[serde(default)]
    pub hostname: HostnameMode,
    /// Whether that name is to be put into DNS by the server.
    #[serde(default)]
    pub fqdn: Fqdn,
    /// Whether a lease may be taken in two messages (option 80), from servers that can.
    #[serde(default)]
    pub rapid_commit: bool,
    /// The only servers whose offers are taken; empty: all.
    #[serde(default)]
    pub dhcp_servers: Vec<Ipv4Addr>,
    /// Servers whose messages are ignored, whatever the other list says.
    #[serde(default)]
    pub dhcp_deny_servers: Vec<Ipv4Addr>,
    /// How an address is checked for another user.
    #[serde(default)]
    pub conflict_check: ConflictCheck,
    /// What becomes of the servers and domains that the LAN hands out.
    #[serde(default)]
    pub dns: DnsMode,
    /// The MTU of container interfaces, instead of the parent's.
    #[serde(default)]
    pub mtu: Option<LinkMtu>,
    /// How macvlan children reach each other; only `mode=macvlan` has any.
    #[serde(default)]
    pub macvlan_mode: MacvlanMode,
    /// Whether the host is to reach the containers, which a NIC's children are otherwise kept from.
    #[serde(default)]
    pub host_access: bool,
    /// Whether the host's firewall may be opened for what goes over the bridge.
    #[serde(default)]
    pub open_firewall: bool,
    /// Whether the user said that the host's firewall stays as it is, whatever it drops.
    #[serde(default)]
    pub keep_firewall: bool,
    /// The VLAN containers are in; their own traffic has no tag.
    #[serde(default)]
    pub vlan: Option<Vlan>,
    /// The VLANs containers see tagged, in order; empty: none of them, or all where `vlan` is none as well.
    #[serde(default)]
    pub trunks: Vec<Vlan>,
    /// No VLAN is seen tagged, also where `vlan` is none (`trunks=none`).
    #[serde(default)]
    pub untagged: bool,
    /// The switch; only `mode=vde` has one.
    #[serde(default)]
    pub vde: VdeOptions,
    /// The LAN's side; only `mode=nat` has one.
    #[serde(default)]
    pub nat: NatOptions,
}

fn default_release_after() -> Duration {
    DEFAULT_RELEASE_AFTER
}

fn default_lease_timeout() -> Duration {
    DEFAULT_LEASE_TIMEOUT
}

// The field is optional, so its default is too.
#[allow(clippy::unnecessary_wraps)]
fn default_vendor_class() -> Option<String> {
    Some(DEFAULT_VENDOR_CLASS.to_owned())
}

impl NetworkOptions {
    /// A network on this parent, all else as it is by default.
    pub fn new(parent: IfName) -> Self {
        Self {
            mode: Mode::default(),
            parent,
            addressing: Addressing::default(),
            ipv6: Ipv6Mode::default(),
            ipv6_address: Ipv6Address::default(),
            lease_timeout: DEFAULT_LEASE_TIMEOUT,
            on_timeout: OnTimeout::default(),
            release: Release::default(),
            identity: None,
            on_duplicate: OnDuplicate::default(),
            when_unsure: WhenUnsure::default(),
            release_after: DEFAULT_RELEASE_AFTER,
            ignore_conflicts: false,
            skip_routes: false,
            gateway: None,
            client_id: None,
            vendor_class: default_vendor_class(),
            user_class: None,
            hostname: HostnameMode::default(),
            fqdn: Fqdn::default(),
            rapid_commit: false,
            dhcp_servers: Vec::new(),
            dhcp_deny_servers: Vec::new(),
            conflict_check: ConflictCheck::default(),
            dns: DnsMode::default(),
            mtu: None,
            macvlan_mode: MacvlanMode::default(),
            host_access: false,
            open_firewall: false,
            keep_firewall: false,
            vlan: None,
            trunks: Vec::new(),
            untagged: false,
            vde: VdeOptions::default(),
            nat: NatOptions::default(),
        }
    }

    /// Reads `docker network create -o name=value ...`.
    ///
    /// White space around a value does not count, and an empty value is the same as none (Compose makes them
    /// from unset variables). Names that start with `com.docker.` are Docker's and ignored, except
    /// `com.docker.network.driver.mtu`, which means `mtu`.
    ///
    /// # Errors
    /// The first thing that is wrong: an unknown name, a value the option cannot have, an option this version
    /// does not have, options that exclude each other, or no parent.
    pub fn parse(options: &BTreeMap<String, String>) -> Result<Self, OptionError> {
        options.keys().try_for_each(|name| check_name(name))?;
        let given = Given(options);
        given.refuse_not_yet()?;

        let mode = given.word("mode", &Mode::of_networks())?.unwrap_or_default();
        let rules = mode.rules();
        if let Some(option) = rules.excludes.iter().find(|option| given.get(option).is_some()) {
            return Err(OptionError::NotInMode { option, mode });
        }
        let mut network = Self::new(parent(given, mode)?);
        network.mode = mode;
        network.vde = VdeOptions::parse(given, mode)?;
        network.nat = NatOptions::parse(given, mode)?;
        network.addressing = rules.addressing;

        if let Some(from) = AddressesFrom::read(given)? {
            network.addressing = from.into();
        }
        if rules.translated && network.addressing != Addressing::Static {
            return Err(OptionError::NatAddressing);
        }
        network.ipv6 = given.ipv6()?;
        if rules.translated && network.ipv6 != Ipv6Mode::Off {
            return Err(OptionError::NatV6);
        }
        if !rules.ipv6 && network.ipv6 != Ipv6Mode::Off {
            return Err(OptionError::NoIpv6InMode { mode });
        }
        network.ipv6_address = given.ipv6_address(mode, network.ipv6)?;
        if network.addressing != Addressing::Dhcp {
            given.refuse_dhcp_options(mode, network.addressing, network.ipv6)?;
        }
        if let Some(value) = given.get("lease_timeout") {
            let timeout = |text: &str| parse_duration(text).ok().filter(|t| LEASE_TIMEOUT_RANGE.contains(t));
            network.lease_timeout =
                value.read(timeout, || "write a time from 500ms to 10m, like 10s or 1m30s".into())?;
        }
        if let Some(on_timeout) =
            given.word("on_timeout", &[("fail", OnTimeout::Fail), ("continue", OnTimeout::Continue)])?
        {
            network.on_timeout = on_timeout;
        }
        network.identity = given
            .word("identity", &[("drawn", IdentitySource::Drawn), ("derived", IdentitySource::Derived)])?;
        if let Some(on_duplicate) =
            given.word("on_duplicate", &[("fail", OnDuplicate::Fail), ("fresh", OnDuplicate::Fresh)])?
        {
            network.on_duplicate = on_duplicate;
        }
        if let Some(when_unsure) =
            given.word("when_unsure", &[("fresh", WhenUnsure::Fresh), ("late", WhenUnsure::Late)])?
        {
            network.when_unsure = when_unsure;
        }
        if let Some(release) = given.word(
            "release",
            &[("never", Release::Never), ("on_remove", Release::OnRemove), ("on_stop", Release::OnStop)],
        )? {
            network.release = release;
        }
        if let Some(value) = given.get("release_after") {
            const WEEK: Duration = Duration::from_hours(7 * 24);
            let grace = |text: &str| parse_duration(text).ok().filter(|t| *t <= WEEK);
            network.release_after =
                value.read(grace, || "write a time up to a week, like 15m or 24h".into())?;
        }
        network.ignore_conflicts = given.switch("ignore_conflicts")?;
        network.skip_routes = given.switch("skip_routes")?;
        network.gateway = given
            .get("gateway")
            .map(|value| {
                value.read(host_address, || "write the router's IPv4 address, like 192.0.2.1".into())
            })
            .transpose()?;
        if let Some(value) = given.get("client_id") {
            let template: ClientIdTemplate = value.parse()?;
            if template.is_literal() {
                return Err(OptionError::SharedClientId { value: cut(value.text) });
            }
            if rules.shares_mac && template.is_same_for_one_mac() {
                return Err(OptionError::ClientIdOfMac { value: cut(value.text) });
            }
            network.client_id = Some(template);
        }
        if let Some(value) = given.get("vendor_class") {
            network.vendor_class = Some(value.class(255)?);
        }
        // Option 77 spends one octet on the length of its one instance (RFC 3004 section 4).
        network.user_class = given.get("user_class").map(|value| value.class(254)).transpose()?;
        if let Some(hostname) =
            given.word("hostname", &[("container", HostnameMode::Container), ("off", HostnameMode::Off)])?
        {
            network.hostname = hostname;
        }
        if let Some(value) = given.get("fqdn") {
            network.fqdn = value.read(fqdn, || "write true, or the domain, like lan.example".into())?;
            if network.fqdn != Fqdn::Off && network.hostname == HostnameMode::Off {
                return Err(
                    value.error("with hostname=off there is no name to send; remove one of them".into())
                );
            }
        }
        network.rapid_commit = given.switch("rapid_commit")?;
        for (name, list) in [
            ("dhcp_servers", &mut network.dhcp_servers),
            ("dhcp_deny_servers", &mut network.dhcp_deny_servers),
        ] {
            let Some(value) = given.get(name) else { continue };
            *list = value.read(servers, || {
                format!(
                    "write up to {MAX_SERVERS} IPv4 addresses with commas between, like 192.0.2.1,192.0.2.2"
                )
            })?;
        }
        if let Some(check) = given.word(
            "conflict_check",
            &[("fast", ConflictCheck::Fast), ("wait", ConflictCheck::Wait), ("off", ConflictCheck::Off)],
        )? {
            network.conflict_check = check;
        }
        if let Some(dns) = given.word(
            "dns",
            &[("off", DnsMode::Off), ("search", DnsMode::Search), ("replace", DnsMode::Replace)],
        )? {
            network.dns = dns;
        }
        network.mtu = given
            .either("mtu", keys::DOCKER_MTU)?
            .map(|value| {
                let hint = "write a number of bytes from 68 to 65535, like 1500, or dhcp";
                let mtu = value.read(mtu, || hint.into())?;
                if network.ipv6 != Ipv6Mode::Off && mtu.fixed().is_some_and(|bytes| bytes < MIN_MTU_V6) {
                    return Err(value.error(format!("IPv6 needs at least {MIN_MTU_V6} bytes")));
                }
                Ok(mtu)
            })
            .transpose()?;
        if network.mtu == Some(LinkMtu::From(MtuSource::Dhcp)) && network.addressing != Addressing::Dhcp {
            return Err(OptionError::NoDhcp { option: "mtu=dhcp", addressing: network.addressing });
        }
        if let Some(macvlan_mode) = given.word(
            "macvlan_mode",
            &[
                ("bridge", MacvlanMode::Bridge),
                ("private", MacvlanMode::Private),
                ("vepa", MacvlanMode::Vepa),
                ("passthru", MacvlanMode::Passthru),
            ],
        )? {
            if mode != Mode::Macvlan {
                return Err(OptionError::WrongMode { option: "macvlan_mode", needs: Mode::Macvlan });
            }
            network.macvlan_mode = macvlan_mode;
        }
        if let Some(open) = given.word("firewall", &[("keep", false), ("open", true)])? {
            if open && !rules.firewall {
                return Err(OptionError::WrongMode { option: "firewall=open", needs: Mode::Bridge });
            }
            (network.open_firewall, network.keep_firewall) = (open, !open);
        }
        network.host_access = given.switch("host_access")?;
        match rules.host_access {
            HostAccess::Never if network.host_access => {
                return Err(OptionError::NotInMode { option: "host_access", mode });
            }
            HostAccess::Needless if network.host_access => {
                return Err(OptionError::HostAccessOnBridge { mode });
            }
            HostAccess::Possible | HostAccess::Needless | HostAccess::Never => {}
        }
        if network.host_access && network.macvlan_mode != MacvlanMode::Bridge {
            return Err(OptionError::HostAccessApart);
        }
        if let Some(value) = given.get("vlan") {
            network.vlan = Some(value.read(Vlan::read, || "write a VLAN's number, 1 to 4094".into())?);
        }
        if let Some(value) = given.get("trunks") {
            if !rules.trunks {
                return Err(OptionError::WrongMode { option: "trunks", needs: Mode::Ovs });
            }
            network.untagged = value.text.eq_ignore_ascii_case("none");
            if !network.untagged {
                network.trunks = value.read(trunks, || {
                    "write VLANs' numbers with commas between, like 10,20, or none".into()
                })?;
            }
            if !network.untagged && network.vlan.is_none() && network.addressing == Addressing::Dhcp {
                return Err(OptionError::TrunksAlone { trunks: cut(value.text) });
            }
        }
        Ok(network)
    }
}

/// The parent of the network.
fn parent(given: Given<'_>, mode: Mode) -> Result<IfName, OptionError> {
    let hint = || "name a network interface, at most 15 characters long".into();
    match (mode.rules().missing_parent, given.either("parent", "bridge")?) {
        (None, Some(value)) => Err(OptionError::NotInMode { option: value.option, mode }),
        // Its own bridge, whose name only the engine knows.
        (None, None) => mode.as_str().parse().map_err(|_| OptionError::NoParent { mode }),
        (Some(_), Some(value)) => value.read(|text| text.parse().ok(), hint),
        (Some(_), None) => Err(OptionError::NoParent { mode }),
    }
}

/// Refuses a name that is no option's. A typo is one whatever its value.
fn check_name(name: &str) -> Result<(), OptionError> {
    let known = name.starts_with(keys::DOCKER)
        || keys::NETWORK.contains(&name)
        || keys::NETWORK_NOT_YET.contains(&name);
    if known {
        return Ok(());
    }
    Err(match keys::nearest(name, &keys::NETWORK) {
        Some(nearest) => OptionError::Misspelt { name: cut(name), nearest },
        None => OptionError::Unknown { name: cut(name), known: &keys::NETWORK },
    })
}

/// An address a machine on a LAN can have.
pub(crate) fn host_address(text: &str) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = text.parse().ok()?;
    let usable = !(address.octets()[0] == 0
        || address.is_loopback()
        || address.is_multicast()
        || address.octets()[0] >= 240);
    usable.then_some(address)
}

fn servers(text: &str) -> Option<Vec<Ipv4Addr>> {
    let words = text.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
    // One more than allowed shows that there are too many, however many there are.
    let servers: Vec<Ipv4Addr> = words.take(MAX_SERVERS + 1).map(host_address).collect::<Option<_>>()?;
    (1..=MAX_SERVERS).contains(&servers.len()).then_some(servers)
}

fn trunks(text: &str) -> Option<Vec<Vlan>> {
    let words = text.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
    let ids: std::collections::BTreeSet<Vlan> = words.take(5000).map(Vlan::read).collect::<Option<_>>()?;
    (!ids.is_empty()).then(|| ids.into_iter().collect())
}

/// `true`, `false` or a domain.
fn fqdn(text: &str) -> Option<Fqdn> {
    match boolean(text) {
        Some(true) => Some(Fqdn::Name),
        Some(false) => Some(Fqdn::Off),
        None => text.parse().ok().map(Fqdn::Domain),
    }
}

fn mtu(text: &str) -> Option<LinkMtu> {
    if text.eq_ignore_ascii_case("dhcp") {
        return Some(LinkMtu::From(MtuSource::Dhcp));
    }
    // `parse` would take a plus sign.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let bytes: Mtu = digits.then(|| text.parse::<u32>().ok()).flatten()?.try_into().ok()?;
    Some(LinkMtu::Fixed(bytes))
}

#[cfg(test)]
mod tests;
