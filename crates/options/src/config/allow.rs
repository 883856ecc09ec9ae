//! What containers may ask for.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Containers;
use crate::attach::AttachSpec;
use crate::demands::{self, Permission};
use crate::modes::Mode;

/// `[containers.allow.PARENT]`: how containers may be connected to a parent.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "permissions, each on its own")]
pub struct Allowed {
    /// The kinds of links; empty: what the parent has by itself, which is never the parent itself.
    pub kinds: Vec<AttachKind>,
    /// Where static addresses must be; empty: anywhere.
    pub subnets: Vec<IpNet>,
    /// The VLANs they may be in beside the untagged one. A port of Open vSwitch without any is in the untagged one alone.
    pub vlans: Vec<u16>,
    /// Whether they may choose their hardware addresses.
    pub macs: bool,
    /// Whether they may ask for the host to reach them, which makes an interface and routes there.
    pub host_access: bool,
    /// Whether they may choose what DHCP servers know and sort them by: client identifier, vendor and user class.
    pub client_ids: bool,
    /// Whether they may choose the name that a DHCP server puts into DNS, and that it does.
    pub hostnames: bool,
    /// Whether they may name the host's ends of their links.
    pub host_ifnames: bool,
    /// Whether they may choose the MTU; a bridge takes the smallest of its ports.
    pub mtus: bool,
    /// Whether the parent, a bridge, is made for them if it is not there.
    pub bridges: bool,
}

impl Allowed {
    /// Whether a permission is given.
    pub const fn gives(&self, permission: Permission) -> bool {
        match permission {
            Permission::Macs => self.macs,
            Permission::HostAccess => self.host_access,
            Permission::ClientIds => self.client_ids,
            Permission::Hostnames => self.hostnames,
            Permission::HostIfnames => self.host_ifnames,
            Permission::Mtus => self.mtus,
            Permission::Bridges => self.bridges,
        }
    }

    /// Gives a permission.
    pub const fn give(&mut self, permission: Permission) {
        let place = match permission {
            Permission::Macs => &mut self.macs,
            Permission::HostAccess => &mut self.host_access,
            Permission::ClientIds => &mut self.client_ids,
            Permission::Hostnames => &mut self.hostnames,
            Permission::HostIfnames => &mut self.host_ifnames,
            Permission::Mtus => &mut self.mtus,
            Permission::Bridges => &mut self.bridges,
        };
        *place = true;
    }
}

/// What an attachment's link can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum AttachKind {
    /// As a network's, or the parent itself (`nic`).
    Mode(Mode),
    /// An interface that goes nowhere.
    Dummy,
}

impl AttachKind {
    /// All there are.
    fn all() -> impl Iterator<Item = Self> {
        Mode::ALL.into_iter().map(Self::Mode).chain([Self::Dummy])
    }

    /// The word users write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mode(mode) => mode.as_str(),
            Self::Dummy => "dummy",
        }
    }
}

impl fmt::Display for AttachKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for AttachKind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::all().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let words: Vec<&str> = Self::all().map(Self::as_str).collect();
            format!("{text:?} is no kind of link; use {}", words.join(", "))
        })
    }
}

/// What would have to be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The words after `landline allow`.
    pub needs: Vec<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "landline allow {}", self.needs.join(" "))
    }
}

impl Containers {
    /// Whether a container may have this: `kind` is what the link would be, if that is known, `followed` whether that is what the
    /// parent has by itself, `reached` whether the host is to reach the container over it, `make` whether the parent is
    /// not there and has to be made.
    ///
    /// # Errors
    /// What the administrator would have to allow first, all of it.
    pub fn judge(
        &self,
        parent: &str,
        kind: Option<AttachKind>,
        followed: bool,
        reached: bool,
        make: bool,
        spec: &AttachSpec,
    ) -> Result<(), Refusal> {
        let allowed = self.allow.get(parent);
        let nothing = Allowed::default();
        let rules = allowed.unwrap_or(&nothing);
        let mut needs = vec![parent.to_string()];
        let by_itself = |kind| rules.kinds.is_empty() && followed && kind != AttachKind::Mode(Mode::Nic);
        if let Some(kind) = kind.filter(|kind| !rules.kinds.contains(kind) && !by_itself(*kind)) {
            needs.extend(["--kind".to_owned(), kind.to_string()]);
        }
        let asked = spec.endpoint.ip.map(|ip| IpNet::from(IpAddr::V4(ip)));
        for net in spec.addresses.iter().map(|address| address.net).chain(asked) {
            let within = |subnet: &IpNet| subnet.contains(&net.addr());
            if !rules.subnets.is_empty() && !rules.subnets.iter().any(within) {
                needs.extend(["--subnet".to_owned(), net.trunc().to_string()]);
            }
        }
        let tags = ["vlan", "trunks"].into_iter().filter_map(|option| spec.options.get(option));
        for vlan in tags
            .flat_map(|text| text.split([',', ' ']))
            .filter(|tag| !tag.is_empty() && !tag.eq_ignore_ascii_case("none"))
        {
            if !rules.vlans.iter().any(|known| known.to_string() == *vlan) {
                needs.extend(["--vlan".to_owned(), vlan.to_owned()]);
            }
        }
        // What no permission gives was refused when it was read.
        let mut permissions = demands::permissions(spec).unwrap_or_else(|_| Permission::ALL.into());
        permissions.extend(reached.then_some(Permission::HostAccess));
        permissions.extend(make.then_some(Permission::Bridges));
        for permission in permissions {
            let by_all = permission == Permission::HostAccess && self.host_routes;
            if !rules.gives(permission) && !by_all {
                needs.push(permission.option());
            }
        }
        if allowed.is_some() && needs.len() == 1 { Ok(()) } else { Err(Refusal { needs }) }
    }

    /// Whether a container may change its own routes, rules and queues.
    ///
    /// # Errors
    /// What the administrator would have to allow first.
    pub fn judge_change(&self) -> Result<(), Refusal> {
        if self.changes { Ok(()) } else { Err(Refusal { needs: vec!["--changes".into()] }) }
    }
}
