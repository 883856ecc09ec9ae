//! Attachments as they are stored.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use landline_links::mark::ATTACHMENT_PREFIX;
use landline_links::settings::Setting;
use landline_model::{ContainerRecord, NetworkRecord, RuntimeOwner};
use landline_options::{AttachSpec, EndpointId, NetworkId, NetworkOptions, Parent, Target};
use landline_store::Record;
use landline_types::{IfName, Mac};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which attachment: 32 hex digits. It is the id of its endpoint too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttachmentId(EndpointId);

impl AttachmentId {
    /// A new one, drawn at random.
    pub(super) fn draw(random: &mut impl landline_dhcp::Random) -> Self {
        let [a, b, c, d] = [(); 4].map(|()| random.next_u32());
        Self(format!("{a:08x}{b:08x}{c:08x}{d:08x}").parse().unwrap_or_else(|_| unreachable!("hex digits")))
    }

    /// The endpoint's id.
    pub const fn endpoint(&self) -> &EndpointId {
        &self.0
    }

    /// The id of the network it is alone on.
    pub(super) fn network(&self) -> NetworkId {
        format!("{ATTACHMENT_PREFIX}{}", self.0)
            .parse()
            .unwrap_or_else(|_| unreachable!("letters, digits and a hyphen"))
    }
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for AttachmentId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match text.parse() {
            Ok(id) if fits => Ok(Self(id)),
            _ => Err(format!("{:?} is not an attachment's id", text.chars().take(64).collect::<String>())),
        }
    }
}

impl TryFrom<String> for AttachmentId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<AttachmentId> for String {
    fn from(id: AttachmentId) -> Self {
        id.to_string()
    }
}

/// Who wants an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The administrator, by command.
    Command,
    /// The administrator, in the configuration file.
    Config,
    /// The container, in this label or variable of its own.
    Container(String),
    /// A container runtime, which says when it ends.
    Runtime(RuntimeOwner),
}

/// An attachment as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttachmentRecord {
    /// Its id.
    pub id: AttachmentId,
    /// Whom it is for.
    pub target: Target,
    /// Which process that is, if it is one ([`process_called`](super::process_called)): its number may be another's by now.
    #[serde(default)]
    pub process: Option<String>,
    /// What it is.
    pub spec: AttachSpec,
    /// Who wants it.
    pub origin: Origin,
    /// The container it was last in.
    #[serde(default)]
    pub container: Option<ContainerRecord>,
    /// The network it was last on: the options as they came out, with the parent's name.
    #[serde(default)]
    pub network: Option<NetworkOptions>,
    /// The card of which that parent is a VLAN.
    #[serde(default)]
    pub nic: Option<IfName>,
    /// Where it is.
    #[serde(default)]
    pub inside: Option<Inside>,
    /// The network card that was taken for it, as it was on the host, until it is that again.
    #[serde(default)]
    pub card: Option<Card>,
}

impl Record for AttachmentRecord {
    const TABLE: &'static str = "attachments";
    type Key = AttachmentId;

    fn key(&self) -> &AttachmentId {
        &self.id
    }

    /// A network card that is to become again what it was. The rest of such an attachment is not in the configuration
    /// file, so it is detached, which puts the card back.
    fn owed(key: &str, row: &Value) -> Option<Self> {
        let part = |name: &str| row.get(name).cloned().unwrap_or_default();
        let card: Card = serde_json::from_value(part("card")).ok()?;
        let inside: Option<Inside> = serde_json::from_value(part("inside")).ok().flatten();
        let somewhere =
            || Target::Netns(inside.as_ref().map(|there| there.sandbox.clone()).unwrap_or_default());
        Some(Self {
            id: key.parse().ok()?,
            target: serde_json::from_value(part("target")).unwrap_or_else(|_| somewhere()),
            process: None,
            spec: AttachSpec::new(Parent::Name(card.name.clone())),
            origin: Origin::Config,
            container: None,
            network: None,
            nic: None,
            inside,
            card: Some(card),
        })
    }
}

/// What there is in a sandbox because of an attachment, and what was there before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inside {
    /// A path that names the namespace.
    pub sandbox: PathBuf,
    /// Which namespace that was: a path may come to name another.
    pub namespace: String,
    /// The interface's name.
    pub name: IfName,
    /// The default routes that were replaced.
    #[serde(default)]
    pub replaced: Vec<SavedRoute>,
    /// Whether it goes nowhere, and so is no endpoint's.
    #[serde(default)]
    pub dummy: bool,
}

/// A network card as it was on the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Its name.
    pub name: IfName,
    /// Its hardware address.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// Whether it was up.
    pub up: bool,
    /// What was written on it (`ifalias`).
    #[serde(default)]
    pub alias: Option<String>,
    /// Whether the kernel puts it back when the namespace it is in ends; virtual ones end with that.
    #[serde(default)]
    pub returns: bool,
    /// Its addresses, in the order they are set in.
    pub addresses: Vec<SavedAddress>,
    /// What else went with it.
    pub routes: Vec<SavedRoute>,
    /// Its settings below `/proc/sys/net`, which the kernel forgets.
    #[serde(default)]
    pub settings: Vec<Setting>,
}

/// An address that may have to be set again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedAddress {
    /// The address with the length of its prefix.
    pub net: ipnet::IpNet,
    /// The other end of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// The IPv4 broadcast address.
    pub broadcast: Option<std::net::Ipv4Addr>,
    /// Its label.
    pub label: Option<String>,
    /// Its scope.
    pub scope: u8,
    /// Who set it (`IFA_PROTO`).
    pub protocol: u8,
    /// Whether the kernel sets no route for it, because somebody does.
    pub without_route: bool,
    /// The metric of that route otherwise, where one was set.
    #[serde(default)]
    pub metric: Option<u32>,
}

/// A route that may have to be set again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRoute {
    /// Where to.
    pub destination: ipnet::IpNet,
    /// Through which router.
    pub gateway: Option<IpAddr>,
    /// The interface's name.
    pub dev: Option<IfName>,
    /// Its metric.
    pub metric: Option<u32>,
    /// Its preferred source address.
    pub source: Option<IpAddr>,
    /// Whether the router is on the link whatever the addresses say.
    pub onlink: bool,
    /// Who set it (`rtm_protocol`).
    pub protocol: u8,
    /// Its scope.
    pub scope: u8,
    /// Its table; `None`: the main one.
    #[serde(default)]
    pub table: Option<u32>,
}

impl AttachmentRecord {
    /// What its identity is found by again: a container recreated under its name has the same one.
    pub(super) fn key(&self) -> String {
        match (&self.origin, &self.container) {
            (Origin::Container(source), Some(container)) => format!("attach/{}/{source}", container.name),
            (Origin::Runtime(owner), _) => owner.key(),
            _ => format!("{ATTACHMENT_PREFIX}{}", self.id),
        }
    }

    /// The network it is alone on, once it had one.
    pub(super) fn network_record(&self) -> Option<NetworkRecord> {
        let options = self.network.clone()?;
        let name = Some(match &self.origin {
            Origin::Runtime(owner) => owner.network_name(),
            _ => format!("attach:{}", super::parent::parent_of(&options)),
        });
        Some(NetworkRecord {
            id: self.id.network(),
            name,
            options,
            nic: self.nic.clone(),
            ipam_gateway: None,
            ipam_gateway_v6: None,
            bridge_address: None,
        })
    }
}
