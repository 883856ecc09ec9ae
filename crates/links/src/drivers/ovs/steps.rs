//! The steps of plans that change Open vSwitch's database.

use std::fmt;

use landline_kernel::{Generic, SockDiag};
use landline_options::EndpointId;
use landline_ovsdb::Vlans;
use landline_types::IfName;

use super::switch;
use crate::host::{Host as _, HostError, LinuxHost};
use crate::mark::{End, Mark};
use crate::plan::DriverStep;

/// Makes `link` a port of an Open vSwitch bridge; `container` is its other end.
#[derive(Debug)]
pub(crate) struct AddPort {
    /// Whose port it is.
    pub(crate) endpoint: EndpointId,
    /// The link.
    pub(crate) link: IfName,
    /// The end that moves; it writes its own checksums where a bridge in user space wants that.
    pub(crate) container: IfName,
    /// The bridge.
    pub(crate) bridge: IfName,
    /// What the port carries.
    pub(crate) vlans: Vlans,
}

impl fmt::Display for AddPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, link, container, bridge, vlans } = self;
        write!(
            f,
            "ovs-vsctl add-port {bridge} {link}{vlans} -- set port {link} other_config:transient=true"
        )?;
        for (key, value) in switch::marks(endpoint) {
            write!(f, " external_ids:{key}={value}")?;
        }
        write!(
            f,
            "\n[ \"$(ovs-vsctl get bridge {bridge} datapath_type)\" != netdev ] || \
             ovs-vsctl get Open_vSwitch . other_config | grep -q 'userspace-tso-enable=\"true\"' || \
             ethtool -K {container} tx off >/dev/null"
        )
    }
}

impl DriverStep for AddPort {
    fn apply(&self, host: &LinuxHost) -> Result<(), HostError> {
        let made = switch::plug(&self.endpoint, &self.link, &self.bridge, &self.vlans)?;
        if made.in_user_space() && !takes_offloads(host, &self.link) {
            Generic::open().map_err(HostError::Open)?.plain_checksums(&self.container)?;
        }
        Ok(())
    }

    fn undo(&self, _host: &LinuxHost) -> Result<(), HostError> {
        Ok(switch::unplug(&self.endpoint)?)
    }
}

/// Whether the switch in user space reads frames from this port with their offloads (`userspace-tso-enable`). Where the
/// kernel does not say, it does not: what writes its own checksums is understood in either case.
fn takes_offloads(host: &LinuxHost, port: &IfName) -> bool {
    let index = host.link(port).ok().flatten().map(|link| link.index);
    let sockets = SockDiag::open().ok();
    index.zip(sockets).is_some_and(|(index, mut all)| all.takes_offloads(index).unwrap_or(false))
}

/// Makes an Open vSwitch bridge whose ports have yet to come; its local port is down.
#[derive(Debug)]
pub struct MakeBridge {
    /// Its name.
    pub name: IfName,
    /// Whether `ovs-vswitchd` is to forward its packets itself, because the kernel cannot.
    pub in_user_space: bool,
}

impl fmt::Display for MakeBridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, in_user_space } = self;
        write!(f, "ovs-vsctl add-br {name} -- set bridge {name}")?;
        for (key, value) in switch::made() {
            write!(f, " external_ids:{key}={value}")?;
        }
        if *in_user_space { write!(f, " datapath_type=netdev") } else { Ok(()) }
    }
}

impl DriverStep for MakeBridge {
    fn apply(&self, _host: &LinuxHost) -> Result<(), HostError> {
        Ok(switch::make_bridge(&self.name, self.in_user_space)?)
    }

    fn undo(&self, _host: &LinuxHost) -> Result<(), HostError> {
        Ok(switch::unmake_bridge(&self.name)?)
    }
}

/// Finds out whether the switch has a bridge, and forwards its packets; nothing is changed.
#[derive(Debug)]
pub(crate) struct CheckBridge {
    /// Its name.
    pub(crate) name: IfName,
}

impl fmt::Display for CheckBridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ovs-vsctl br-exists {}", self.name)
    }
}

impl DriverStep for CheckBridge {
    fn apply(&self, _host: &LinuxHost) -> Result<(), HostError> {
        Ok(switch::wait(switch::check_bridge(&self.name))?)
    }
}

/// Removes the ports of an endpoint whose link is gone.
#[derive(Debug)]
pub(crate) struct RemovePorts {
    /// Whose ports they are.
    pub(crate) endpoint: EndpointId,
}

impl fmt::Display for RemovePorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = Mark::new(&self.endpoint, End::Host);
        write!(f, "ovs-vsctl --if-exists del-port {}", mark.link_name())
    }
}

impl DriverStep for RemovePorts {
    fn apply(&self, _host: &LinuxHost) -> Result<(), HostError> {
        Ok(switch::unplug(&self.endpoint)?)
    }
}
