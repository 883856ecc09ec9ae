//! What was asked for, and what is shown of it.

use std::fmt;
use std::net::Ipv4Addr;

use landline_model::{LeaseRecord, NatOwner};
use landline_options::{LanIp, NatPorts};
use landline_store::Record;
use landline_types::IfName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An address of the LAN on the host that stands for a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NatRecord {
    /// Whose it is.
    #[serde(flatten)]
    pub owner: NatOwner,
    /// The address; `None`: no DHCP server has given one yet, or not any more.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// The DHCP side, if the address comes from there.
    #[serde(default)]
    pub dhcp: Option<NatLease>,
    /// The NIC it is on.
    pub interface: IfName,
    /// What is passed on to the container of a [`NatOwner::Container`].
    #[serde(default)]
    pub ports: NatPorts,
    /// Whether the user allowed to open the host's firewall for that.
    #[serde(default)]
    pub open_firewall: bool,
    /// Whether that was the administrator's word afterwards (`landline doctor --fix`).
    #[serde(default)]
    pub opened: bool,
    /// `net.ipv4.ip_forward` was set for this one.
    #[serde(default)]
    pub forwarding: bool,
    /// The container's port on its bridge, if it was put into hairpin mode.
    #[serde(default)]
    pub hairpin: Option<IfName>,
}

impl Record for NatRecord {
    const TABLE: &'static str = "nat";
    type Key = NatOwner;

    fn key(&self) -> &NatOwner {
        &self.owner
    }

    /// What was changed on the host for it: its address on the NIC, `net.ipv4.ip_forward`, the mode of the container's port.
    /// Whatever else of it can be read is read, so that its container is reached as before; and when that is removed, all is
    /// put back.
    fn owed(key: &str, row: &Value) -> Option<Self> {
        let part = |name: &str| row.get(name).cloned().unwrap_or_default();
        let set = |name: &str| part(name).as_bool().unwrap_or_default();
        let interface: Option<IfName> = serde_json::from_value(part("interface")).ok();
        let address: Option<Ipv4Addr> = serde_json::from_value(part("address")).unwrap_or_default();
        // A lease that cannot be read may have ended: the server is asked.
        let dhcp = || serde_json::from_value(part("dhcp")).unwrap_or_else(|_| Some(NatLease::default()));
        let record = Self {
            owner: key.parse().ok()?,
            address: interface.is_some().then_some(address).flatten(),
            dhcp: interface.is_some().then(dhcp).flatten(),
            interface: interface.or_else(|| "lo".parse().ok())?,
            // Nothing that was not asked for.
            ports: serde_json::from_value(part("ports")).unwrap_or(NatPorts::Only(Vec::new())),
            open_firewall: set("open_firewall"),
            opened: set("opened"),
            forwarding: set("forwarding"),
            hairpin: serde_json::from_value(part("hairpin")).unwrap_or_default(),
        };
        let owes = record.address.is_some() || record.forwarding || record.hairpin.is_some();
        owes.then_some(record)
    }
}

/// `net.ipv4.ip_forward` was set for an address that is over, and stays set as long as a network with `mode=routed` needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardingRecord {
    /// Whose setting it is: that of `all` (`net.ipv4.conf.all.forwarding`).
    pub interface: IfName,
}

impl Record for ForwardingRecord {
    const TABLE: &'static str = "forwarding";
    type Key = IfName;

    fn key(&self) -> &IfName {
        &self.interface
    }

    /// The key is all there is to it.
    fn owed(key: &str, _row: &Value) -> Option<Self> {
        key.parse().ok().map(|interface| Self { interface })
    }
}

/// An address on the host from a DHCP server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NatLease {
    /// Option 61, by which alone the server tells it from the host; `None`: one is drawn.
    #[serde(default)]
    pub client_id: Option<Vec<u8>>,
    /// Option 12.
    #[serde(default)]
    pub hostname: Option<String>,
    /// The lease, while there is one.
    #[serde(default)]
    pub lease: Option<LeaseRecord>,
}

impl NatRecord {
    /// An address for this owner, all else as it is by default.
    pub fn new(owner: NatOwner, lan_ip: LanIp, interface: IfName) -> Self {
        let (address, dhcp) = match lan_ip {
            LanIp::Static(address) => (Some(address), None),
            LanIp::Dhcp => (None, Some(NatLease::default())),
        };
        Self {
            owner,
            address,
            dhcp,
            interface,
            ports: NatPorts::default(),
            open_firewall: false,
            opened: false,
            forwarding: false,
            hairpin: None,
        }
    }
}

/// How it is with an address; its text is what people and programs see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum NatState {
    /// No server has given it yet.
    Asking,
    /// Nothing is behind it.
    Waiting,
    /// What comes to it is passed on.
    Ready,
    /// It is not, for this reason.
    Trouble(String),
}

impl fmt::Display for NatState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asking => "asks the DHCP server",
            Self::Waiting => "waits for its container",
            Self::Ready => "ready",
            Self::Trouble(why) => why,
        })
    }
}

impl From<String> for NatState {
    fn from(text: String) -> Self {
        let known =
            [Self::Asking, Self::Waiting, Self::Ready].into_iter().find(|state| state.to_string() == text);
        known.unwrap_or(Self::Trouble(text))
    }
}

impl From<NatState> for String {
    fn from(state: NatState) -> Self {
        state.to_string()
    }
}

/// A container's address, as people want to see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatView {
    /// The container's name, if known.
    pub container: Option<String>,
    /// The name of its network, if that is one of `mode=nat`.
    #[serde(default)]
    pub network: Option<String>,
    /// Its address on the LAN, once there is one.
    pub address: Option<Ipv4Addr>,
    /// Whether it comes from a DHCP server.
    #[serde(default)]
    pub dhcp: bool,
    /// The NIC that is on.
    pub interface: IfName,
    /// The DHCP server that leased it.
    #[serde(default)]
    pub server: Option<Ipv4Addr>,
    /// The container's own address, while it runs.
    pub inside: Option<Ipv4Addr>,
    /// What is passed on, as `80/tcp` or `80:8080/tcp`, or `all`.
    pub ports: Vec<String>,
    /// `ready`, `waits for its container`, or what is wrong.
    pub state: NatState,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_its_text_to_programs() {
        for (state, text) in [
            (NatState::Asking, "asks the DHCP server"),
            (NatState::Waiting, "waits for its container"),
            (NatState::Ready, "ready"),
            (NatState::Trouble("eth0 is not there, or down".into()), "eth0 is not there, or down"),
        ] {
            assert_eq!(serde_json::to_value(&state).unwrap(), text);
            assert_eq!(serde_json::from_value::<NatState>(text.into()).unwrap(), state);
        }
    }

    #[test]
    fn records_read_as_they_were_written_before_there_were_other_owners() {
        let old = r#"{"container":"web","address":"192.0.2.117","interface":"em1","ports":"all"}"#;
        let record: NatRecord = serde_json::from_str(old).unwrap();
        let address = LanIp::Static(Ipv4Addr::new(192, 0, 2, 117));
        let now = NatRecord::new(NatOwner::Container("web".into()), address, "em1".parse().unwrap());
        assert_eq!(record, NatRecord { ports: NatPorts::All, ..now });
        let (network, identity) = ("n".repeat(64).parse().unwrap(), "0".repeat(16).parse().unwrap());
        let owner = NatOwner::Identity { network, identity };
        let leased = NatRecord::new(owner.clone(), LanIp::Dhcp, "em1".parse().unwrap());
        let json = serde_json::to_string(&leased).unwrap();
        assert_eq!(serde_json::from_str::<NatRecord>(&json).unwrap(), leased);
        assert!(owner.to_string().contains(' ') && leased.dhcp.is_some());
    }
}
