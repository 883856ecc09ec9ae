//! Bridges that run the spanning tree protocol (IEEE 802.1D): a new port listens and learns before it forwards, for the
//! forward delay each, and what is sent over it meanwhile is lost without a word.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use landline_kernel::{Link, PortState};
use landline_spec::{EndpointId, NetworkOptions};
use landline_types::IfName;
use tokio::time::Instant;

use crate::blocking;
use crate::facts_of;
use crate::host::{Host, mark_of};
use crate::link_table::LinkTable;
use crate::mark::{End, Mark};

/// How much later than twice the forward delay a port may forward: the kernel's timers are coarse.
const SLACK: Duration = Duration::from_secs(1);

/// Twice the longest forward delay (IEEE 802.1D section 8.10.2).
pub const LONGEST: Duration = Duration::from_mins(1);

/// A port whose bridge forwards nothing for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The bridge.
    pub bridge: IfName,
    /// Its port: the endpoint's, or the one to the LAN.
    pub(crate) port: IfName,
    /// What the bridge does with its frames.
    pub state: PortState,
    /// How long that lasts at most, unless the port would close a loop.
    pub at_most: Duration,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bridge, port, state, .. } = self;
        write!(f, "the spanning tree of {bridge} holds its port {port} back ({state})")
    }
}

/// What the user can do about it.
pub fn remedy(bridge: &IfName) -> String {
    format!(
        "if {bridge} is no part of a loop, switch the protocol off (ip link set {bridge} type bridge stp_state 0); else \
         shorten the wait (ip link set {bridge} type bridge forward_delay 200)"
    )
}

/// What keeps packets between an endpoint's port and the LAN from being forwarded. `own`: whose port; `None`: the LAN's alone
/// is looked at.
pub(crate) fn held(bridge: &Link, own: Option<&Mark>, links: &[Link]) -> Option<Held> {
    let at_most = (bridge.forward_delay? * 2).min(LONGEST);
    let is_held = |port: &&Link| port.port_state.is_some_and(PortState::is_held);
    let ports = || links.iter().filter(|link| link.controller == Some(bridge.index));
    let others = || ports().filter(|port| mark_of(port).is_none());
    let own = own.and_then(|own| ports().find(|port| mark_of(port).as_ref() == Some(own)));
    // One way to the LAN is enough.
    let cut_off = !others().any(Link::carries);
    let port = own.filter(is_held).or_else(|| others().find(is_held).filter(|_| cut_off))?;
    let (bridge, port_name, state) = (bridge.name.clone(), port.name.clone(), port.port_state?);
    Some(Held { bridge, port: port_name, state, at_most })
}

/// What holds back the packets of the endpoint with this mark on its host's end.
pub fn held_back(own: &Mark, options: &NetworkOptions, links: &[Link]) -> Option<Held> {
    let bridge = links.iter().find(|link| link.name == options.parent)?;
    held(bridge, Some(own), links).filter(|_| facts_of(options.mode).is_lan_bridge())
}

/// Why containers on this bridge wait, for `landline doctor`.
pub fn trouble(bridge: &Link, links: &[Link]) -> Option<String> {
    let delay = (bridge.forward_delay? * 2).min(LONGEST);
    let name = &bridge.name;
    if let Some(held) = held(bridge, None, links) {
        return Some(format!("{held}, and no packet gets to the LAN; {}", remedy(name)));
    }
    Some(format!(
        "{name} runs the spanning tree protocol: it forwards nothing for a new port within the first {delay} s, so a \
         container starts {delay} s later, and is reached {delay} s after that; {}",
        remedy(name),
        delay = delay.as_secs_f64(),
    ))
}

/// Waits until packets of the endpoint get through its bridge: how long that took, or what still holds them back.
pub async fn until_forwarding(
    host: &Arc<dyn Host>,
    present: &LinkTable,
    endpoint: &EndpointId,
    options: &NetworkOptions,
) -> Result<Duration, Held> {
    if !facts_of(options.mode).is_lan_bridge() {
        return Ok(Duration::ZERO);
    }
    let (begun, own) = (Instant::now(), Mark::new(endpoint, End::Host));
    let mut present = present.clone();
    let mut told = BTreeSet::new();
    loop {
        present.seen();
        let host = host.clone();
        // What cannot be looked at holds nothing back.
        let Ok(links) = blocking(move || host.links()).await else { return Ok(begun.elapsed()) };
        let Some(held) = held_back(&own, options, &links) else { return Ok(begun.elapsed()) };
        if told.insert(held.to_string()) {
            tracing::info!(endpoint = %endpoint.short(), state = %held.state, port = %held.port, "waiting for the spanning tree");
        }
        let deadline = begun + held.at_most + SLACK;
        if tokio::time::timeout_at(deadline, present.changed()).await.is_err() {
            return Err(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use landline_kernel::LinkKind;

    use super::*;
    use crate::host::fake::link;

    fn bridge(forward_delay: Option<u64>) -> Link {
        let forward_delay = forward_delay.map(Duration::from_secs);
        Link { forward_delay, ..link(3, "br0", LinkKind::Bridge { vlan_filtering: false }) }
    }

    fn mark() -> Mark {
        Mark::new(&"e".repeat(64).parse().unwrap(), End::Host)
    }

    fn port(index: u32, name: &str, state: PortState) -> Link {
        Link { controller: Some(3), port_state: Some(state), ..link(index, name, LinkKind::Physical) }
    }

    fn own(state: PortState) -> Link {
        Link { alias: Some(mark().to_string()), ..port(4, "llh0", state) }
    }

    fn port_of(links: &[Link]) -> Option<String> {
        held(&bridge(Some(15)), Some(&mark()), links).map(|held| held.port.to_string())
    }

    #[test]
    fn a_port_is_held_back_until_it_forwards() {
        let lan = port(2, "eth0", PortState::Forwarding);
        for state in [PortState::Listening, PortState::Learning, PortState::Blocking] {
            assert_eq!(port_of(&[lan.clone(), own(state)]).as_deref(), Some("llh0"));
        }
        for state in [PortState::Forwarding, PortState::Disabled] {
            assert_eq!(port_of(&[lan.clone(), own(state)]), None);
        }
        let links = [lan, own(PortState::Listening)];
        assert_eq!(held(&bridge(None), Some(&mark()), &links), None, "no spanning tree");
        let held = held(&bridge(Some(15)), Some(&mark()), &links).unwrap();
        assert_eq!(held.at_most, Duration::from_secs(30));
        assert_eq!(held.to_string(), "the spanning tree of br0 holds its port llh0 back (listening)");
    }

    #[test]
    fn so_is_the_only_way_to_the_lan() {
        let (held, free) = (port(2, "eth0", PortState::Learning), port(5, "eth1", PortState::Forwarding));
        let own = own(PortState::Forwarding);
        assert_eq!(port_of(&[held.clone(), own.clone()]).as_deref(), Some("eth0"));
        assert_eq!(port_of(&[held, free, own.clone()]), None);
        let unplugged = Link { lower_up: false, ..port(2, "eth0", PortState::Disabled) };
        assert_eq!(port_of(&[unplugged, own]), None, "the protocol has nothing to do with it");
    }

    #[test]
    fn doctor_says_what_every_start_costs() {
        let lan = port(2, "eth0", PortState::Forwarding);
        assert_eq!(trouble(&bridge(None), std::slice::from_ref(&lan)), None);
        let says = trouble(&bridge(Some(15)), &[lan]).unwrap();
        assert!(says.contains("within the first 30 s") && says.contains("stp_state 0"), "{says}");
        let says = trouble(&bridge(Some(15)), &[port(2, "eth0", PortState::Blocking)]).unwrap();
        assert!(
            says.contains("holds its port eth0 back (blocking), and no packet gets to the LAN"),
            "{says}"
        );
    }
}
