//! A container that reaches itself by its LAN address, where bridged frames pass the IP rules as well.
//!
//! With `bridge-nf-call-iptables` the address is translated while the frame is still on the bridge, which then does not
//! send it back by the port it came from, unless that port is in hairpin mode.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use landline_kernel::{Netlink, Netns, brport, sysctl};
use landline_types::IfName;

/// Puts the container's port into hairpin mode where that is needed, and says which port it was if it was not before.
/// Blocks.
pub(super) fn allow(sandbox: &Path, inside: Ipv4Addr) -> io::Result<Option<IfName>> {
    if !sysctl::bridge_nf() {
        return Ok(None);
    }
    let Some(index) = other_end(sandbox, inside)? else { return Ok(None) };
    let port = Netlink::open()?.link_by_index(index).map_err(io::Error::other)?;
    match port {
        Some(port) if port.controller.is_some() && !brport::hairpin(&port.name)? => {
            brport::set_hairpin(&port.name, true)?;
            Ok(Some(port.name))
        }
        _ => Ok(None),
    }
}

/// As [`allow`], for a port of a bridge of ours. Blocks.
pub(super) fn allow_port(port: &IfName) -> io::Result<()> {
    if sysctl::bridge_nf() && !brport::hairpin(port)? { brport::set_hairpin(port, true) } else { Ok(()) }
}

/// Takes that back. One that is gone is fine.
pub(super) fn forbid(port: &IfName) -> io::Result<()> {
    match brport::set_hairpin(port, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The index on the host of the other end of the link with this address in the sandbox.
fn other_end(sandbox: &Path, inside: Ipv4Addr) -> io::Result<Option<u32>> {
    let mut netlink = Netlink::open_in(&Netns::open(sandbox)?)?;
    let addresses = netlink.addresses().map_err(io::Error::other)?;
    let Some(own) = addresses.iter().find(|own| own.net.addr() == IpAddr::V4(inside)) else {
        return Ok(None);
    };
    let link = netlink.link_by_index(own.index).map_err(io::Error::other)?;
    Ok(link.filter(|link| link.parent_netns.is_some()).and_then(|link| link.parent))
}
