//! Which bridges are let through the host's firewall: as their networks' users say, or the administrator.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use landline_links::{ParentIs, facts_of};
use landline_model::NetworkRecord;
use landline_store::{Record, Store};
use landline_types::IfName;
use serde::{Deserialize, Serialize};

use super::{Nat, NatError, OpenBridges, nat_bridges_of};

/// A bridge that is let through on the administrator's word (`landline doctor --fix`), whatever its networks' users say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionRecord {
    /// The bridge.
    pub bridge: IfName,
}

impl Record for ExceptionRecord {
    const TABLE: &'static str = "openings";
    type Key = IfName;

    fn key(&self) -> &IfName {
        &self.bridge
    }

    /// The key is all there is to it.
    fn owed(key: &str, _row: &serde_json::Value) -> Option<Self> {
        key.parse().ok().map(|bridge| Self { bridge })
    }
}

/// All of those; as long as a network uses them.
#[derive(Debug)]
pub(crate) struct FirewallExceptions(Mutex<BTreeSet<IfName>>);

impl FirewallExceptions {
    /// Those of the last run. One whose networks are gone is forgotten: a later one on that bridge is another.
    pub(super) async fn resume(
        records: Vec<ExceptionRecord>,
        networks: &[NetworkRecord],
        store: &Store,
    ) -> Self {
        let used: BTreeSet<&IfName> = networks.iter().map(|network| &network.options.parent).collect();
        let (kept, gone): (BTreeSet<IfName>, BTreeSet<IfName>) =
            records.into_iter().map(|record| record.bridge).partition(|bridge| used.contains(bridge));
        for bridge in gone {
            if let Err(error) = store.remove::<ExceptionRecord>(&bridge).await {
                tracing::warn!(%bridge, error = landline_types::chain(&error), "an exception that is over is still stored");
            }
        }
        Self(Mutex::new(kept))
    }

    pub(crate) fn all(&self) -> BTreeSet<IfName> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<IfName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Nat {
    /// Opens the host's firewall for a new network, if its user says so or the bridge is its own.
    pub(super) async fn open_firewall(&self, network: &NetworkRecord) -> Result<(), NatError> {
        let facts = facts_of(network.options.mode);
        let asked = network.options.open_firewall && (facts.is_lan_bridge() || facts.host_routes());
        let own = is_own(network);
        if !asked && !own {
            return Ok(());
        }
        let others = self.others(network);
        let bridges = open_bridges(others.iter().chain([network]), &self.exceptions.all());
        match self.open_bridges(bridges).await {
            // It works on every host whose firewall lets bridged packets through, and doctor knows the others.
            Err(error) if !asked => {
                tracing::warn!(bridge = %network.options.parent, error = %landline_types::chain(&error),
                    "a network's own bridge could not be let through the host's firewall");
                Ok(())
            }
            done => done,
        }
    }

    /// Before a container's first packet: the host's firewall may have been closed without a word, as the kernel's settings for bridged
    /// packets and the rules of `iptables-legacy` are.
    pub(super) async fn open_for_start(&self, network: &NetworkRecord) {
        let options = &network.options;
        let facts = facts_of(options.mode);
        let openable = facts.is_lan_bridge() || facts.is_translated() || facts.host_routes();
        if openable && (options.open_firewall || self.exceptions.all().contains(&options.parent)) {
            self.look().await;
        } else if is_own(network) {
            // What is sent on it before that is sent once more: its containers ask no DHCP server.
            drop(self.ask_to_look());
        }
    }

    /// Closes it for a network that is gone, unless another one needs it open.
    pub(super) async fn close_firewall(&self, network: &NetworkRecord) {
        let parent = &network.options.parent;
        let used = self.others(network).iter().any(|other| other.options.parent == *parent);
        let opened = !used && self.exceptions.all().contains(parent);
        let closed = async {
            if opened {
                self.forget_exception(parent).await?;
            }
            if opened || network.options.open_firewall || is_own(network) {
                self.reopen_firewall_but(Some(network)).await
            } else {
                Ok(())
            }
        };
        if let Err(error) = closed.await {
            tracing::warn!(error = %landline_types::chain(&error), "the host's firewall could not be closed");
        }
    }

    /// Opens it for a bridge.
    pub async fn add_exception(&self, bridge: IfName) -> Result<(), NatError> {
        self.store.put(&ExceptionRecord { bridge: bridge.clone() }).await?;
        self.exceptions.lock().insert(bridge);
        Ok(())
    }

    /// Closes it for a bridge again.
    pub async fn forget_exception(&self, bridge: &IfName) -> Result<(), NatError> {
        self.store.remove::<ExceptionRecord>(bridge).await?;
        self.exceptions.lock().remove(bridge);
        Ok(())
    }

    /// Has the exceptions there should be.
    pub async fn reopen_firewall(&self) -> Result<(), NatError> {
        self.reopen_firewall_but(None).await
    }

    /// As [`Self::reopen_firewall`], once this network is gone.
    async fn reopen_firewall_but(&self, gone: Option<&NetworkRecord>) -> Result<(), NatError> {
        let exceptions = self.exceptions.all();
        let (bridges, nat_bridges) = {
            let inventory = self.inventory.borrow();
            let networks = || inventory.networks.values().filter(|n| gone.is_none_or(|gone| gone.id != n.id));
            (open_bridges(networks(), &exceptions), nat_bridges_of(networks(), &exceptions))
        };
        self.open_bridges(bridges).await?;
        self.nat_bridges(nat_bridges).await
    }

    /// The bridges that are let through on the administrator's word.
    pub fn exceptions(&self) -> BTreeSet<IfName> {
        self.exceptions.all()
    }
}

/// The bridges of these networks for which the host's firewall is to be opened: as their users say, or the administrator, and
/// Landline's own, which nobody but the network's containers is on.
pub(super) fn open_bridges<'a>(
    networks: impl Iterator<Item = &'a NetworkRecord>,
    exceptions: &BTreeSet<IfName>,
) -> OpenBridges {
    let mut open = OpenBridges::default();
    for options in networks.map(|network| &network.options) {
        let asked = options.open_firewall || exceptions.contains(&options.parent);
        let facts = facts_of(options.mode);
        if facts.is_lan_bridge() && asked {
            open.asked.insert(options.parent.clone());
        } else if facts.host_routes() && asked {
            open.routed.insert(options.parent.clone());
        } else if facts.parent == ParentIs::OwnBridge {
            open.own.insert(options.parent.clone());
        }
    }
    open
}

/// Whether the network's bridge is Landline's own.
fn is_own(network: &NetworkRecord) -> bool {
    facts_of(network.options.mode).parent == ParentIs::OwnBridge
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_opened_on_its_users_word_or_the_administrators() {
        use landline_options::Mode::{Bridge, Macvlan, Routed};

        let network = |mode, parent: &str, open_firewall| {
            let options = landline_options::NetworkOptions::new(parent.parse().unwrap());
            let options = landline_options::NetworkOptions { mode, open_firewall, ..options };
            NetworkRecord::new("n".repeat(64).parse().unwrap(), options)
        };
        let networks = [
            network(Bridge, "br0", true),
            network(Routed, "wlan0", true),
            network(Routed, "eth1", false),
            network(Routed, "eth2", false),
            network(Macvlan, "eth3", false),
        ];
        let names =
            |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<BTreeSet<IfName>>();
        let open = open_bridges(networks.iter(), &names(&["eth2", "eth3"]));
        assert_eq!((open.asked, open.routed), (names(&["br0"]), names(&["eth2", "wlan0"])));
    }

    #[tokio::test]
    async fn an_exception_does_not_outlive_its_networks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        let (store, _) = Store::open(&path).unwrap();
        let record = |bridge: &str| ExceptionRecord { bridge: bridge.parse().unwrap() };
        let records = vec![record("br0"), record("br1")];
        for record in &records {
            store.put(record).await.unwrap();
        }
        let network = NetworkRecord {
            id: "n".repeat(64).parse().unwrap(),
            name: None,
            options: landline_options::NetworkOptions::new("br1".parse().unwrap()),
            nic: None,
            ipam_gateway: None,
            ipam_gateway_v6: None,
            bridge_address: None,
        };
        let exceptions = FirewallExceptions::resume(records, &[network], &store).await;
        assert_eq!(exceptions.all(), BTreeSet::from([record("br1").bridge]));
        drop(store);
        assert_eq!(Store::open(&path).unwrap().1.take::<ExceptionRecord>(), [record("br1")]);
    }
}
