//! `pipework --wait`: inside a container, until its interface can be used.

use std::io;

use landline_kernel::{Event, Group, Monitor, Netlink};
use landline_types::IfName;

/// Returns when the interface is up and has an address that can be used.
pub(crate) async fn wait(name: &IfName) -> io::Result<()> {
    // The events begin before the first look, so nothing falls in between.
    let mut events = Monitor::open(&[Group::Links, Group::Addresses])?;
    while !is_ready(name)? {
        loop {
            match events.next().await {
                Event::LinkNew(link) if link.name == *name => break,
                Event::LinkNew(_) | Event::LinkGone { .. } => {}
                _ => break,
            }
        }
    }
    Ok(())
}

fn is_ready(name: &IfName) -> io::Result<bool> {
    let mut netlink = Netlink::open()?;
    let Some(link) =
        netlink.link_by_name(name).map_err(io::Error::other)?.filter(|link| link.up && link.lower_up)
    else {
        return Ok(false);
    };
    let addresses = netlink.addresses().map_err(io::Error::other)?;
    // One that the kernel has made for the link alone is nobody's address.
    Ok(addresses
        .iter()
        .any(|a| a.index == link.index && a.scope < 253 && !a.is_tentative() && !a.is_duplicate()))
}
