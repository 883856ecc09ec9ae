//! Bridges that run the spanning tree protocol (IEEE 802.1D): a new port listens and learns before it forwards, for the
//! forward delay each, and what is sent over it meanwhile is lost without a word.

mod ovs;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use landline_kernel::{Link, LinkKind, PortState};
use landline_options::{EndpointId, NetworkOptions};
use landline_types::IfName;
use tokio::time::Instant;

use crate::blocking;
use crate::facts::{HostEnd, ParentIs, facts_of};
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
    /// What the user can do about it.
    pub remedy: String,
}

impl Held {
    fn tell(&self, endpoint: &EndpointId) {
        tracing::info!(endpoint = %endpoint.short(), state = %self.state, port = %self.port, "waiting for the spanning tree");
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bridge, port, state, .. } = self;
        write!(f, "the spanning tree of {bridge} holds its port {port} back ({state})")
    }
}

fn remedy(bridge: &IfName) -> String {
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
    let remedy = remedy(&bridge);
    Some(Held { bridge, port: port_name, state, at_most, remedy })
}

/// What holds back the packets of the endpoint with this mark on its host's end. What Open vSwitch holds back the kernel does
/// not know.
pub fn held_back(own: &Mark, options: &NetworkOptions, links: &[Link]) -> Option<Held> {
    let facts = facts_of(options.mode);
    let parent = links.iter().find(|link| link.name == options.parent)?;
    match facts.parent {
        ParentIs::LanBridge if facts.is_lan_bridge() => held(parent, Some(own), links),
        ParentIs::Nic => held_beyond(parent, links),
        _ => None,
    }
}

/// What holds back the packets that the host sends over this link: it is a bridge, a VLAN of one, or a port of one.
fn held_beyond(link: &Link, links: &[Link]) -> Option<Held> {
    let find = |index: Option<u32>| links.iter().find(|link| Some(link.index) == index);
    let is_bridge = |link: &&Link| matches!(link.kind, LinkKind::Bridge { .. });
    let below = match link.kind {
        LinkKind::Vlan { .. } if link.parent_netns.is_none() => find(link.parent).unwrap_or(link),
        _ => link,
    };
    let bridge = Some(below).filter(is_bridge).or_else(|| find(below.controller).filter(is_bridge))?;
    held(bridge, None, links)
}

/// Why nothing gets to the LAN that the host sends over this link, for `landline doctor`.
pub fn cut_off(link: &Link, links: &[Link]) -> Option<String> {
    held_beyond(link, links).map(|held| no_packet(&held))
}

fn no_packet(held: &Held) -> String {
    format!("{held}, and no packet gets to the LAN; {}", held.remedy)
}

/// Why containers on this bridge wait, for `landline doctor`.
pub fn trouble(bridge: &Link, links: &[Link]) -> Option<String> {
    let delay = (bridge.forward_delay? * 2).min(LONGEST);
    let name = &bridge.name;
    if let Some(held) = held(bridge, None, links) {
        return Some(no_packet(&held));
    }
    Some(format!(
        "{name} runs the spanning tree protocol: it forwards nothing for a new port within the first {delay} s, so a \
         container starts {delay} s later, and is reached {delay} s after that; {}",
        remedy(name),
        delay = delay.as_secs_f64(),
    ))
}

/// Whether a bridge with a spanning tree may be between endpoints of a network with these options and the LAN.
pub fn may_hold(options: &NetworkOptions) -> bool {
    let facts = facts_of(options.mode);
    facts.leads_to_lan() || facts.is_translated()
}

/// Waits until packets of the endpoint get through the bridge between it and the LAN, if there is one: how long that took,
/// or what still holds them back.
pub async fn until_forwarding(
    host: &Arc<dyn Host>,
    link_table: &LinkTable,
    endpoint: &EndpointId,
    options: &NetworkOptions,
) -> Result<Duration, Held> {
    let (own, facts) = (Mark::new(endpoint, End::Host), facts_of(options.mode));
    match (facts.parent, facts.host_end) {
        (ParentIs::LanBridge, HostEnd::SwitchPort) => {
            ovs::until_forwarding(endpoint, &options.parent, &own.link_name()).await
        }
        _ if facts.leads_to_lan() => {
            let tell = |held: &Held| held.tell(endpoint);
            until_none(host, link_table, |links| held_back(&own, options, links), tell).await
        }
        // What a translated address needs is waited for where it is put on the host.
        _ => Ok(Duration::ZERO),
    }
}

/// The same for what the host itself sends over this interface.
pub async fn until_host_forwards(
    host: &Arc<dyn Host>,
    link_table: &LinkTable,
    interface: &IfName,
) -> Result<Duration, Held> {
    let held = |links: &[Link]| held_beyond(links.iter().find(|link| link.name == *interface)?, links);
    let tell = |held: &Held| tracing::info!(%interface, state = %held.state, port = %held.port, "waiting for the spanning tree");
    until_none(host, link_table, held, tell).await
}

async fn until_none(
    host: &Arc<dyn Host>,
    link_table: &LinkTable,
    held: impl Fn(&[Link]) -> Option<Held>,
    tell: impl Fn(&Held),
) -> Result<Duration, Held> {
    let begun = Instant::now();
    let mut link_table = link_table.clone();
    let mut told = BTreeSet::new();
    loop {
        link_table.seen();
        let host = host.clone();
        // What cannot be looked at holds nothing back.
        let Ok(links) = blocking(move || host.links()).await else { return Ok(begun.elapsed()) };
        let Some(held) = held(&links) else { return Ok(begun.elapsed()) };
        if told.insert(held.to_string()) {
            tell(&held);
        }
        let deadline = begun + held.at_most + SLACK;
        if tokio::time::timeout_at(deadline, link_table.changed()).await.is_err() {
            return Err(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use landline_kernel::LinkKind;
    use landline_options::Mode;

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
    fn a_child_of_the_bridge_waits_for_its_way_to_the_lan() {
        let options =
            |mode, parent: &str| NetworkOptions { mode, ..NetworkOptions::new(parent.parse().unwrap()) };
        let bridge = bridge(Some(15));
        let tagged = Link { parent: Some(3), ..link(7, "br0.12", LinkKind::Vlan { id: 12 }) };
        let nic = link(8, "eth8", LinkKind::Physical);
        let over = |mode, parent: &str, state| {
            let links = [bridge.clone(), port(2, "eth0", state), tagged.clone(), nic.clone()];
            held_back(&mark(), &options(mode, parent), &links).map(|held| held.port.to_string())
        };
        for mode in [Mode::Macvlan, Mode::Ipvlan, Mode::Routed] {
            for parent in ["br0", "br0.12"] {
                assert_eq!(
                    over(mode, parent, PortState::Learning).as_deref(),
                    Some("eth0"),
                    "{mode} {parent}"
                );
                assert_eq!(over(mode, parent, PortState::Forwarding), None);
            }
            assert_eq!(over(mode, "eth8", PortState::Learning), None, "another LAN");
            assert!(may_hold(&options(mode, "br0")));
        }
        // A port of the bridge, which a translated network has.
        let held = port(2, "eth0", PortState::Learning);
        let says = cut_off(&held, &[bridge.clone(), held.clone()]).unwrap();
        assert!(
            says.contains("holds its port eth0 back (learning), and no packet gets to the LAN"),
            "{says}"
        );
        assert_eq!(cut_off(&nic, &[bridge, held]), None);
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
