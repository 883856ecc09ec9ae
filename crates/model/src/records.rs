//! What is written into the store. Every field that came later has a default, so older records read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use landline_dhcp::Instant;
use landline_dhcp::v4::{Lease, LeaseOptions};
use landline_options::{EndpointId, NetworkId, NetworkOptions};
use landline_types::{IfName, Mac};
use serde::{Deserialize, Serialize};

use crate::{DefaultRecord, DroppedRoute, IdentityId, Ipv6Record, NatBinding, Now, Record, ResolverFile};

/// A network as it was created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// Docker's id of it.
    pub id: NetworkId,
    /// Its name, once the watcher has seen it.
    #[serde(default)]
    pub name: Option<String>,
    /// What the user chose.
    pub options: NetworkOptions,
    /// The NIC of which the parent is a VLAN (`vlan=` with `mode=macvlan|ipvlan`), or to which it is translated
    /// (`mode=nat`).
    #[serde(default)]
    pub nic: Option<IfName>,
    /// The gateway Docker's IPAM has for it (`addressing=static`).
    #[serde(default)]
    pub ipam_gateway: Option<Ipv4Addr>,
    /// The IPv6 gateway the IPAM has for it.
    #[serde(default)]
    pub ipam_gateway_v6: Option<Ipv6Addr>,
    /// The host's own address among its containers (`mode=nat`), with the prefix of their subnet.
    #[serde(default)]
    pub bridge_address: Option<Ipv4Net>,
}

impl NetworkRecord {
    /// A network with these options, for which nothing is settled yet.
    pub const fn new(id: NetworkId, options: NetworkOptions) -> Self {
        Self {
            id,
            name: None,
            options,
            nic: None,
            ipam_gateway: None,
            ipam_gateway_v6: None,
            bridge_address: None,
        }
    }
}

impl Record for NetworkRecord {
    const TABLE: &'static str = "networks";
    type Key = NetworkId;

    fn key(&self) -> &NetworkId {
        &self.id
    }
}

/// An endpoint whose creation was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointRecord {
    /// Docker's id of it.
    pub id: EndpointId,
    /// The network it is on.
    pub network: NetworkId,
    /// Who it is to the LAN.
    #[serde(default)]
    pub identity: Option<IdentityId>,
    /// The container's hardware address; on ipvlan the parent's, which is what the LAN sees.
    pub mac: Mac,
    /// Whether the user gave that address, in which case Docker must not be told it again.
    #[serde(default)]
    pub mac_given: bool,
    /// What the administrator calls the host's end of the link, if not as its mark has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_end: Option<IfName>,
    /// What the container end is called on the host.
    pub link: IfName,
    /// The letters before the number of its name in the container.
    pub prefix: String,
    /// The parent's MTU when the link was made, which no lease may exceed.
    #[serde(default)]
    pub parent_mtu: Option<u32>,
    /// What the user wants it to be called in the container.
    #[serde(default)]
    pub ifname: Option<IfName>,
    /// What it is called in the container, once it was seen there.
    #[serde(default)]
    pub interface: Option<IfName>,
    /// Where its address comes from.
    pub address: AddressRecord,
    /// The IPv6 address the IPAM gave.
    #[serde(default)]
    pub address_v6: Option<Ipv6Net>,
    /// What there is of IPv6; `None`: the network has none.
    #[serde(default)]
    pub ipv6: Option<Ipv6Record>,
    /// The address that another host has with the identity that is derived for the container; because of that the endpoint has none
    /// (`on_duplicate=fail`, and the container was recognised too late to be refused).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_elsewhere: Option<Ipv4Addr>,
    /// What it has of the LAN (`mode=nat`).
    #[serde(default)]
    pub nat: Option<NatBinding>,
    /// The sandbox it was joined to (a path that names its namespace).
    #[serde(default)]
    pub sandbox: Option<PathBuf>,
    /// Static routes of the host's bridge, copied for the container (`skip_routes=false`).
    #[serde(default)]
    pub copied_routes: Vec<(Ipv4Net, Option<Ipv4Addr>)>,
    /// What was configured in the sandbox for the lease, by Docker or by us.
    #[serde(default)]
    pub applied: Applied,
    /// The container behind it, once the watcher has seen it.
    #[serde(default)]
    pub container: Option<ContainerRecord>,
}

impl Record for EndpointRecord {
    const TABLE: &'static str = "endpoints";
    type Key = EndpointId;

    fn key(&self) -> &EndpointId {
        &self.id
    }
}

impl EndpointRecord {
    /// One whose link was made, and of which nothing else is known.
    pub fn new(id: EndpointId, network: NetworkId, link: IfName, mac: Mac, address: AddressRecord) -> Self {
        Self {
            id,
            network,
            identity: None,
            mac,
            mac_given: false,
            host_end: None,
            link,
            prefix: String::new(),
            parent_mtu: None,
            ifname: None,
            interface: None,
            address,
            address_v6: None,
            ipv6: None,
            used_elsewhere: None,
            nat: None,
            sandbox: None,
            copied_routes: Vec::new(),
            applied: Applied::default(),
            container: None,
        }
    }

    /// The addresses it has, as far as they are known here.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = match &self.address {
            AddressRecord::None => None,
            AddressRecord::Static { address } => Some(address.addr()),
            AddressRecord::Dhcp(dhcp) => dhcp.lease.as_ref().map(|lease| lease.address),
        };
        let state = self.ipv6.as_ref().and_then(|ipv6| ipv6.identity.state.as_ref());
        let v6 = state.into_iter().flat_map(|row| &row.state.addresses).map(|own| own.net.addr());
        let fixed = self.address_v6.map(|net| net.addr());
        v4.map(IpAddr::from).into_iter().chain(v6.chain(fixed).map(IpAddr::from))
    }

    /// How messages call whoever has the endpoint.
    pub fn holder_name(&self) -> String {
        let name = self.container.as_ref().map(|container| format!("container {}", container.name));
        name.unwrap_or_else(|| "another container".to_owned())
    }

    /// The name the endpoint's own options chose, if they did.
    pub fn given_hostname(&self) -> Option<&String> {
        let ipv4 = match &self.address {
            AddressRecord::Dhcp(dhcp) if dhcp.hostname_given => dhcp.hostname.as_ref(),
            _ => None,
        };
        let ipv6 = self.ipv6.as_ref().filter(|ipv6| ipv6.hostname_given);
        ipv4.or(ipv6.and_then(|ipv6| ipv6.hostname.as_ref()))
    }
}

/// Where an endpoint's address comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressRecord {
    /// Link only.
    None,
    /// Docker's IPAM gave it.
    Static {
        /// Address and prefix.
        address: Ipv4Net,
    },
    /// A DHCP server gives it.
    Dhcp(DhcpRecord),
}

/// The DHCP side of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DhcpRecord {
    /// Option 61 as it is sent, type octet first.
    #[serde(default)]
    pub client_id: Option<Vec<u8>>,
    /// Option 12 as it is sent.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Whether the endpoint's own options chose that name, in which case the container's does not matter.
    #[serde(default)]
    pub hostname_given: bool,
    /// The address Docker was told, which it puts on the link itself.
    #[serde(default)]
    pub told: Option<Ipv4Net>,
    /// The lease, while there is one.
    #[serde(default)]
    pub lease: Option<LeaseRecord>,
}

/// The container an endpoint belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Docker's id of it.
    pub id: String,
    /// Its name, without the slash.
    pub name: String,
    /// The place that an orchestrator keeps for it, if its name is a new one each time (`SERVICE.SLOT` of Swarm).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// Its host name.
    #[serde(default)]
    pub hostname: Option<String>,
    /// What Docker made for its resolver.
    #[serde(default)]
    pub resolver: ResolverFile,
    /// Whether it is removed when it ends (`--rm`).
    #[serde(default)]
    pub auto_remove: bool,
    /// The address that its user named for it on the network (`--ip`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
}

impl ContainerRecord {
    /// One of which only the name is known.
    pub fn named(name: &str) -> Self {
        Self {
            id: String::new(),
            name: name.to_owned(),
            slot: None,
            hostname: None,
            auto_remove: false,
            resolver: ResolverFile::default(),
            address: None,
        }
    }

    /// Whether there is more to it than a name.
    pub fn was_seen(&self) -> bool {
        !self.id.is_empty()
    }
}

/// What the sandbox's link was given because of the lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The address on it.
    #[serde(default)]
    pub address: Option<Ipv4Net>,
    /// Whether the container's default route went through this link when it was last looked at.
    #[serde(default)]
    pub default_route: bool,
    /// The MTU the lease asked for.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// Other routes through it: destination and next hop (none: on the link).
    #[serde(default)]
    pub routes: Vec<(Ipv4Net, Option<Ipv4Addr>)>,
    /// Whose the default route is.
    #[serde(default)]
    pub default: DefaultRecord,
    /// The routes that were offered and are left out.
    #[serde(default)]
    pub dropped: Vec<DroppedRoute>,
}

/// A lease with its times on one boot's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The leased address.
    pub address: Ipv4Addr,
    /// The length of its prefix.
    pub prefix_len: u8,
    /// The server's identifier (option 54).
    pub server: Ipv4Addr,
    /// The boot whose clock the times are on (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// When it was granted. This and the other times: milliseconds of `CLOCK_BOOTTIME`.
    pub obtained: u64,
    /// When to renew.
    pub t1: Option<u64>,
    /// When to rebind.
    pub t2: Option<u64>,
    /// When it ends; `None`: never.
    pub expires: Option<u64>,
    /// When it was granted by the wall clock, in seconds; only looked at after another boot.
    #[serde(default)]
    pub wall: u64,
    /// Every option of the acknowledgement, code and bytes.
    pub options: Vec<(u8, Vec<u8>)>,
}

impl LeaseRecord {
    /// A lease as it is stored during this boot.
    pub fn of(lease: &Lease, boot: &str, now: Now) -> Self {
        Self {
            address: lease.address,
            prefix_len: lease.prefix_len,
            server: lease.server,
            boot: boot.to_owned(),
            obtained: to_ms(lease.obtained),
            t1: lease.t1.map(to_ms),
            t2: lease.t2.map(to_ms),
            expires: lease.expires.map(to_ms),
            wall: now
                .wall
                .saturating_sub(now.since_boot().saturating_sub(lease.obtained.since_boot()).as_secs()),
            options: lease.options.raw.clone(),
        }
    }

    /// The lease again, if its times are on the clock of this boot.
    pub fn restore(&self, boot: &str) -> Option<Lease> {
        (self.boot == boot).then(|| Lease {
            address: self.address,
            prefix_len: self.prefix_len,
            server: self.server,
            obtained: from_ms(self.obtained),
            t1: self.t1.map(from_ms),
            t2: self.t2.map(from_ms),
            expires: self.expires.map(from_ms),
            options: LeaseOptions::from_raw(self.options.clone()),
        })
    }

    /// The lease on the clock of this boot, if it was granted during another one and the wall clock says that
    /// it still lives. A clock that stands before the day of the grant has lost its battery and says nothing.
    pub fn restore_across_boots(&self, now: Now) -> Option<Lease> {
        let age_ms = now.wall.checked_sub(self.wall)?.checked_mul(1000)?;
        let now_ms = u64::try_from(now.since_boot().as_millis()).ok()?;
        // A grant from before this boot has no place on its clock: its remaining times are counted from now on.
        let shift =
            |at: u64| Some(from_ms((at - self.obtained.min(at)).checked_sub(age_ms)?.checked_add(now_ms)?));
        let expires = match self.expires {
            Some(at) => Some(shift(at)?),
            None => None,
        };
        let due = |at: Option<u64>| at.map(|at| shift(at).unwrap_or(from_ms(now_ms)));
        Some(Lease {
            obtained: from_ms(now_ms),
            t1: due(self.t1),
            t2: due(self.t2),
            expires,
            ..self.restore(&self.boot)?
        })
    }

    /// The address with its prefix.
    pub fn net(&self) -> Ipv4Net {
        Ipv4Net::new(self.address, self.prefix_len.min(32)).unwrap_or_else(|_| self.address.into())
    }
}

fn to_ms(at: Instant) -> u64 {
    u64::try_from(at.since_boot().as_millis()).unwrap_or(u64::MAX)
}

fn from_ms(ms: u64) -> Instant {
    Instant::from_boot(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> LeaseRecord {
        LeaseRecord {
            address: Ipv4Addr::new(192, 0, 2, 9),
            prefix_len: 24,
            server: Ipv4Addr::new(192, 0, 2, 1),
            boot: "a".into(),
            obtained: 1_000_000,
            t1: Some(1_300_000),
            t2: Some(1_525_000),
            expires: Some(1_600_000),
            wall: 5_000,
            options: vec![(3, vec![192, 0, 2, 1])],
        }
    }

    #[test]
    fn a_lease_is_the_same_again_during_the_same_boot() {
        let lease = record().restore("a").unwrap();
        assert_eq!(lease.expires, Some(from_ms(1_600_000)));
        assert_eq!(lease.options.gateway(), Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(record().restore("b"), None);
    }

    #[test]
    fn across_boots_what_is_left_counts_from_now() {
        let after = |wall| record().restore_across_boots(Now { instant: from_ms(10_000), wall });
        // 400 of 600 seconds have passed.
        let lease = after(5_400).unwrap();
        assert_eq!(lease.t1, Some(from_ms(10_000)), "due at once");
        assert_eq!(lease.t2, Some(from_ms(135_000)));
        assert_eq!(lease.expires, Some(from_ms(210_000)));
        assert_eq!(after(5_601), None, "expired");
        assert_eq!(after(4_999), None, "the clock was set back");
        let for_ever = LeaseRecord { t1: None, t2: None, expires: None, ..record() };
        assert_eq!(
            for_ever.restore_across_boots(Now { instant: from_ms(0), wall: 6_000 }).unwrap().expires,
            None
        );
    }
}
