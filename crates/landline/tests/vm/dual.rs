//! IPv6 beside IPv4 on links that share their NIC's hardware address.

use std::collections::BTreeSet;

use landline_testbed::wait_for;
use serde_json::Value;

use crate::ipvlan::SLOWLY;
use crate::world::{Result, World, bare};

/// The addresses of a container, one leased and one made of the router's prefix, once there are both; the peer reaches it
/// at each.
pub(crate) fn addresses(world: &World, name: &str) -> Result<Vec<String>> {
    let row = wait_for(format!("both IPv6 addresses of {name}"), SLOWLY, || {
        let listing = world.ls().ok()?;
        let row = listing["endpoints"].as_array()?.iter().find(|row| row["container"] == name)?.clone();
        (row["ipv6"]["addresses"].as_array()?.len() == 2 && row["ipv6"]["state"] == "BOUND").then_some(row)
    })?;
    let list = row["ipv6"]["addresses"].as_array().cloned().unwrap_or_default();
    let list: Vec<String> = list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    for address in &list {
        let ping = ["ping", "-6", "-q", "-c1", "-W5", bare(address)];
        wait_for(format!("the peer to reach {address}"), SLOWLY, || world.lan.peer().check(&ping).is_ok())?;
    }
    Ok(list)
}

/// All have addresses of their own, by the DUID that is in their client identifiers, and reach a router.
pub(crate) fn three_containers(world: &World, names: [&str; 3]) -> Result {
    let all: Vec<String> =
        names.iter().map(|name| addresses(world, name)).collect::<Result<Vec<_>>>()?.concat();
    assert_eq!(BTreeSet::from_iter(&all).len(), 6, "{all:?}");
    let (six, four): (Vec<_>, Vec<_>) = world.dhcp.leases().into_iter().partition(|lease| lease.ip.is_ipv6());
    let duids: BTreeSet<String> = six.into_iter().filter_map(|lease| lease.client_id).collect();
    // Behind type 255 and IAID 1 (RFC 4361 section 6.1).
    let named = four.into_iter().filter_map(|lease| lease.client_id);
    let named: BTreeSet<String> =
        named.filter_map(|id| id.get("ff:00:00:00:01:".len()..).map(str::to_owned)).collect();
    assert_eq!((&duids, duids.len()), (&named, 3));
    for name in names {
        let beyond = landline_testbed::BEYOND_V6;
        world.host.docker_ok(&["exec", name, "ping", "-6", "-q", "-c1", "-W5", beyond])?;
    }
    Ok(())
}
