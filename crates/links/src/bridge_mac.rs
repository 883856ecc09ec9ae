//! The hardware address of a bridge, which must not depend on containers.
//!
//! The kernel gives a bridge the lowest address among its ports, unless one was set. Our ports have the highest there
//! are, so they change nothing beside any other port. On a bridge that has no other they would: the bridge takes the
//! first one's address, then the next lower one's, and 00:00:00:00:00:00 when the last has gone. So its address is set to
//! what it is before our first port comes. The kernel knows no way back from that, and would no longer give the bridge the
//! address of a NIC that comes later. So what was set is stored, and when another port comes the bridge gets the address that
//! the kernel would have given it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landline_kernel::{Link, LinkKind};
use landline_options::NetworkOptions;
use landline_store::{Record, Store};
use landline_types::{IfName, Mac, chain};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::blocking;
use crate::facts_of;
use crate::host::{Host, HostError, mark_of};
use crate::mark::{End, host_end_mac, is_low};
use crate::plan::Step;

/// A bridge whose hardware address was set to what it was, so that it stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptMac {
    /// The bridge.
    pub bridge: IfName,
    /// Its address.
    pub mac: Mac,
}

impl Record for KeptMac {
    const TABLE: &'static str = "kept_macs";
    type Key = IfName;

    fn key(&self) -> &IfName {
        &self.bridge
    }

    /// The address that was set, without which the bridge would never get another port's.
    fn owed(key: &str, row: &Value) -> Option<Self> {
        Some(Self { bridge: key.parse().ok()?, mac: serde_json::from_value(row.get("mac")?.clone()).ok()? })
    }
}

/// What becomes of a bridge's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// Nothing.
    Leave,
    /// It is set to what it is.
    Keep(Mac),
    /// It becomes that of another port, as it would have without us.
    Give(Mac),
    /// It is no longer what we set: that is forgotten.
    Forget,
}

/// `others`: the addresses of ports that are not ours. `kept`: what we have set. `set`: whether the address was set by
/// anybody, ourselves included; looked at only where it counts.
fn decide(own: Mac, others: &[Mac], kept: Option<Mac>, set: impl Fn() -> bool) -> Decision {
    match (others.iter().min(), kept) {
        (Some(&lowest), Some(kept)) if kept == own && lowest != own => Decision::Give(lowest),
        (Some(_), Some(_)) => Decision::Forget,
        (Some(_), None) => Decision::Leave,
        (None, Some(kept)) if kept == own && set() => Decision::Leave,
        // A bridge without ports whose last one has gone has none.
        (None, None) if own.is_zero() => Decision::Leave,
        (None, _) if own.is_zero() || set() => Decision::Forget,
        (None, _) => Decision::Keep(own),
    }
}

/// Keeps the addresses of bridges.
pub struct BridgeMacs {
    host: Arc<dyn Host>,
    store: Arc<Store>,
    kept: Mutex<BTreeMap<IfName, Mac>>,
}

impl BridgeMacs {
    /// Goes on with what was set before.
    pub fn new(host: Arc<dyn Host>, store: Arc<Store>, kept: Vec<KeptMac>) -> Self {
        let kept = kept.into_iter().map(|record| (record.bridge, record.mac)).collect();
        Self { host, store, kept: Mutex::new(kept) }
    }

    /// To be called before a port of ours is added to `parent`. A failure is logged: the port matters more.
    pub async fn keep(self: &Arc<Self>, options: &NetworkOptions, parent: &Link, links: &[Link]) {
        if facts_of(options.mode).is_lan_bridge() {
            self.settle(parent, links).await;
        }
    }

    /// What [`Self::keep`] would do. Blocks.
    pub fn would_keep(&self, options: &NetworkOptions, parent: &Link, links: &[Link]) -> Option<Step> {
        let (LinkKind::Bridge { .. }, Some(own)) = (&parent.kind, parent.mac) else { return None };
        if !facts_of(options.mode).is_lan_bridge() {
            return None;
        }
        let others = others(parent, links);
        let kept = self.lock().get(&parent.name).copied();
        if !others.is_empty() && kept.is_none() {
            return None;
        }
        let set = || self.host.has_set_address(&parent.name).unwrap_or(true);
        match decide(own, &others, kept, set) {
            Decision::Keep(mac) | Decision::Give(mac) => {
                Some(Step::SetAddress { link: parent.name.clone(), mac })
            }
            Decision::Leave | Decision::Forget => None,
        }
    }

    /// To be called when ports that are not ours have come or gone, with all links: puts right the addresses of these
    /// bridges, and those of ports of ours that are not as high as can be.
    pub async fn follow(self: &Arc<Self>, bridges: impl Iterator<Item = &IfName>, links: &[Link]) {
        for bridge in bridges.filter_map(|name| links.iter().find(|link| link.name == *name)) {
            let ours: Vec<&Link> = ports(bridge, links).filter(|port| is_ours(port)).collect();
            if ours.is_empty() && !self.lock().contains_key(&bridge.name) {
                continue;
            }
            self.settle(bridge, links).await;
            let raise = |port: &Link| {
                let mac = port.mac.filter(|mac| is_low(*mac))?;
                Some(Step::SetAddress { link: port.name.clone(), mac: host_end_mac(mac, bridge.mac) })
            };
            self.apply(ours.into_iter().filter_map(raise).collect()).await;
        }
    }

    async fn settle(self: &Arc<Self>, bridge: &Link, links: &[Link]) {
        let (LinkKind::Bridge { .. }, Some(own)) = (&bridge.kind, bridge.mac) else { return };
        let (name, kept) = (bridge.name.clone(), self.lock().get(&bridge.name).copied());
        let others = others(bridge, links);
        if !others.is_empty() && kept.is_none() {
            return;
        }
        let this = self.clone();
        blocking(move || {
            // Where there is no telling, nothing is changed.
            let set = || this.host.has_set_address(&name).unwrap_or(true);
            if let Err(error) = this.carry_out(&name, decide(own, &others, kept, set)) {
                tracing::warn!(bridge = %name, error, "the bridge's hardware address may change with containers");
            }
        })
        .await;
    }

    fn carry_out(&self, bridge: &IfName, decision: Decision) -> Result<(), String> {
        let set = |mac| self.host.apply(&Step::SetAddress { link: bridge.clone(), mac });
        match decision {
            Decision::Leave => return Ok(()),
            Decision::Keep(mac) => {
                let record = KeptMac { bridge: bridge.clone(), mac };
                self.store.put(&record).wait().map_err(|error| chain(&error))?;
                self.lock().insert(record.bridge, mac);
                return set(mac).map_err(|error| chain(&error));
            }
            Decision::Give(mac) => {
                tracing::info!(%bridge, %mac, "the bridge gets the hardware address of its port");
                set(mac).map_err(|error| chain(&error))?;
            }
            Decision::Forget => {}
        }
        if self.lock().remove(bridge).is_some() {
            self.store.remove::<KeptMac>(bridge).wait().map_err(|error| chain(&error))?;
        }
        Ok(())
    }

    async fn apply(&self, steps: Vec<Step>) {
        if steps.is_empty() {
            return;
        }
        let host = self.host.clone();
        let applied: Result<(), HostError> =
            blocking(move || steps.iter().try_for_each(|step| host.apply(step))).await;
        if let Err(error) = applied {
            tracing::warn!(error = chain(&error), "a port keeps a hardware address that its bridge may take");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IfName, Mac>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ports<'a>(bridge: &'a Link, links: &'a [Link]) -> impl Iterator<Item = &'a Link> {
    links.iter().filter(|link| link.controller == Some(bridge.index))
}

/// The hardware addresses of ports that are not ours.
fn others(bridge: &Link, links: &[Link]) -> Vec<Mac> {
    ports(bridge, links).filter(|port| !is_ours(port)).filter_map(|port| port.mac).collect()
}

fn is_ours(port: &Link) -> bool {
    mark_of(port).is_some_and(|mark| mark.end == End::Host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIC: Mac = Mac::new([0x52, 0x54, 0, 0, 0, 1]);
    const OTHER: Mac = Mac::new([0x52, 0x54, 0, 0, 0, 2]);
    const OWN: Mac = Mac::new([0x0a, 0, 0, 0, 0, 7]);
    const NONE: Mac = Mac::new([0; 6]);

    fn told(own: Mac, others: &[Mac], kept: Option<Mac>, set: bool) -> Decision {
        decide(own, others, kept, || set)
    }

    #[test]
    fn a_bridge_without_other_ports_keeps_its_address() {
        assert_eq!(told(OWN, &[], None, false), Decision::Keep(OWN));
        assert_eq!(told(OWN, &[], Some(OWN), true), Decision::Leave, "it does already");
        assert_eq!(told(OWN, &[], None, true), Decision::Forget, "somebody else saw to that");
        assert_eq!(told(NONE, &[], None, false), Decision::Leave, "it has none");
        // A bridge of the same name that was made since.
        assert_eq!(told(OWN, &[], Some(OTHER), false), Decision::Keep(OWN));
        assert_eq!(told(OWN, &[], Some(OWN), false), Decision::Keep(OWN));
    }

    #[test]
    fn beside_other_ports_the_kernel_decides() {
        assert_eq!(told(NIC, &[NIC], None, false), Decision::Leave);
        assert_eq!(told(OWN, &[OTHER, NIC], Some(OWN), true), Decision::Give(NIC));
        assert_eq!(told(OWN, &[NIC], Some(OTHER), true), Decision::Forget, "somebody has set another since");
        assert_eq!(told(NIC, &[NIC], Some(NIC), true), Decision::Forget);
    }
}
