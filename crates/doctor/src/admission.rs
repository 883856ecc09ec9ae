//! A new network on a bridge whose packets the host's firewall drops is refused.

use std::sync::Arc;

use landline_engine::{Admission, NetworkRequest, Refusal, Verdict};
use landline_links::mark::is_implicit;
use landline_links::{blocking, facts_of};
use landline_nat::Nat;
use landline_types::IfName;

use super::firewall::{what_drops, what_drops_routed};

/// A new network's containers could not be reached.
#[derive(Debug, thiserror::Error)]
#[error(
    "the host's firewall drops what goes over {bridge} ({chain}), so containers on this network would get no address from the \
     LAN and could not be reached; add -o firewall=open to let it through (for networks that exist: landline doctor --fix), \
     or -o firewall=keep to have the network all the same"
)]
pub struct DroppedError {
    /// The bridge.
    pub bridge: IfName,
    /// The chain and the program whose it is.
    pub chain: String,
}

/// A new network's containers could not be reached.
#[derive(Debug, thiserror::Error)]
#[error(
    "the host's firewall drops what it routes between {parent} and containers ({chain}), so containers on this network could \
     not be reached; add -o firewall=open to let it through (for networks that exist: landline doctor --fix), or \
     -o firewall=keep to have the network all the same"
)]
pub struct RoutedDroppedError {
    /// The interface to the LAN.
    pub parent: IfName,
    /// The chain and the program whose it is.
    pub chain: String,
}

/// Looks at the host's firewall before there is a new network.
pub struct FirewallCheck {
    nat: Arc<Nat>,
}

impl FirewallCheck {
    /// Bridges that are let through by `nat` are not looked at.
    pub fn new(nat: Arc<Nat>) -> Self {
        Self { nat }
    }
}

impl Admission for FirewallCheck {
    /// Unless its user has it opened or wants it so.
    fn network<'a>(&'a self, network: NetworkRequest<'a>) -> Verdict<'a> {
        Box::pin(async move {
            let options = &network.record.options;
            let asked = options.open_firewall || options.keep_firewall;
            let facts = facts_of(options.mode);
            if !(facts.is_lan_bridge() || facts.host_routes())
                || asked
                || is_implicit(&network.record.id)
                || self.nat.exceptions().contains(&options.parent)
            {
                return Ok(());
            }
            let (bridge, addressing, routed) =
                (options.parent.clone(), options.addressing, facts.host_routes());
            let chain =
                blocking(
                    move || {
                        if routed { what_drops_routed(&bridge) } else { what_drops(&bridge, addressing) }
                    },
                );
            let chain = chain.await;
            let parent = options.parent.clone();
            let dropped = |chain| {
                if routed {
                    Refusal::new(RoutedDroppedError { parent, chain })
                } else {
                    Refusal::new(DroppedError { bridge: parent, chain })
                }
            };
            chain.map_or(Ok(()), |chain| Err(dropped(chain)))
        })
    }
}
