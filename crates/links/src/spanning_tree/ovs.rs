//! Bridges of Open vSwitch, whose database tells the state of each port.

use std::collections::BTreeSet;
use std::time::Duration;

use landline_kernel::PortState;
use landline_options::EndpointId;
use landline_ovsdb::{Error, Forwarding, Protocol, SpanningTree};
use landline_types::IfName;
use tokio::time::Instant;

use super::{Held, SLACK};
use crate::drivers::ovs::{LANDLINE, OWNER, connect};

/// Waits until packets of the endpoint whose port has this name get through the bridge. What the switch does not tell
/// holds nothing back.
pub(super) async fn until_forwarding(
    endpoint: &EndpointId,
    bridge: &IfName,
    own: &IfName,
) -> Result<Duration, Held> {
    let begun = Instant::now();
    match look_until(begun, endpoint, bridge, own).await {
        Ok(Some(held)) => Err(held),
        Ok(None) => Ok(begun.elapsed()),
        Err(error) => {
            tracing::debug!(error = %landline_types::chain(&error), "the spanning tree of a switch cannot be looked at");
            Ok(begun.elapsed())
        }
    }
}

async fn look_until(
    begun: Instant,
    endpoint: &EndpointId,
    bridge: &IfName,
    own: &IfName,
) -> Result<Option<Held>, Error> {
    let mut client = connect().await?;
    // Most bridges run no such protocol, and nothing need be followed then.
    if client.spanning_tree(bridge.as_str()).await?.is_none() {
        return Ok(None);
    }
    client.watch_spanning_trees().await?;
    let mut told = BTreeSet::new();
    loop {
        let Some(tree) = client.spanning_tree(bridge.as_str()).await? else { return Ok(None) };
        let Some(held) = held(bridge, own, &tree) else { return Ok(None) };
        if told.insert(held.to_string()) {
            held.tell(endpoint);
        }
        let deadline = begun + held.at_most + SLACK;
        match tokio::time::timeout_at(deadline, client.changed()).await {
            Ok(changed) => changed?,
            Err(_) => return Ok(Some(held)),
        }
    }
}

/// What keeps packets between a port of ours and the LAN from being forwarded.
fn held(bridge: &IfName, own: &IfName, tree: &SpanningTree) -> Option<Held> {
    let state = |forwarding| match forwarding {
        Forwarding::Yes | Forwarding::Disabled => None,
        Forwarding::Discarding => Some(PortState::Listening),
        Forwarding::Learning => Some(PortState::Learning),
    };
    let others = || {
        tree.ports.iter().filter(|port| port.external_ids.get(OWNER).is_none_or(|owner| owner != LANDLINE))
    };
    // One way to the LAN is enough.
    let cut_off = !others().any(|port| port.forwarding == Forwarding::Yes);
    let own = tree.ports.iter().find(|port| port.name == own.as_str());
    let (port, state) = own
        .into_iter()
        .chain(others().filter(|_| cut_off))
        .find_map(|port| Some((port.name.parse().ok()?, state(port.forwarding)?)))?;
    let word = match tree.protocol {
        Protocol::Stp => "stp",
        Protocol::Rstp => "rstp",
    };
    let remedy = format!(
        "if {bridge} is no part of a loop, switch the protocol off (ovs-vsctl set bridge {bridge} {word}_enable=false); \
         else shorten the wait (ovs-vsctl set bridge {bridge} other_config:{word}-forward-delay=4 other_config:{word}-max-age=6)"
    );
    Some(Held { bridge: bridge.clone(), port, state, at_most: tree.forward_delay * 2, remedy })
}

#[cfg(test)]
mod tests {
    use landline_ovsdb::TreePort;

    use super::*;

    fn says(ports: &[(&str, Forwarding)]) -> Option<String> {
        let port = |&(name, forwarding): &(&str, Forwarding)| {
            let ours = name.starts_with("llh").then(|| (OWNER.to_owned(), LANDLINE.to_owned()));
            TreePort { name: name.to_owned(), external_ids: ours.into_iter().collect(), forwarding }
        };
        let tree = SpanningTree {
            protocol: Protocol::Rstp,
            forward_delay: Duration::from_secs(15),
            ports: ports.iter().map(port).collect(),
        };
        let held = held(&"ovs0".parse().unwrap(), &"llh0".parse().unwrap(), &tree)?;
        assert_eq!(held.at_most, Duration::from_secs(30));
        assert!(held.remedy.contains("ovs-vsctl set bridge ovs0 rstp_enable=false"), "{}", held.remedy);
        Some(held.to_string())
    }

    #[test]
    fn the_endpoints_port_and_one_way_to_the_lan_must_forward() {
        use Forwarding::{Disabled, Discarding, Learning, Yes};
        let of = |port: &str, state: &str| {
            Some(format!("the spanning tree of ovs0 holds its port {port} back ({state})"))
        };
        assert_eq!(says(&[("llh0", Yes), ("eth0", Yes)]), None);
        assert_eq!(says(&[("llh0", Discarding), ("eth0", Yes)]), of("llh0", "listening"));
        assert_eq!(says(&[("llh0", Learning), ("eth0", Yes)]), of("llh0", "learning"));
        assert_eq!(says(&[("llh0", Yes), ("eth0", Learning)]), of("eth0", "learning"));
        assert_eq!(says(&[("llh0", Yes), ("eth0", Discarding), ("eth1", Yes)]), None);
        assert_eq!(says(&[("llh0", Yes), ("llh1", Learning), ("eth0", Yes)]), None, "another container's");
        assert_eq!(
            says(&[("llh0", Yes), ("eth0", Disabled)]),
            None,
            "the protocol has nothing to do with it"
        );
        assert_eq!(says(&[("eth0", Yes)]), None, "the port is gone");
    }
}
