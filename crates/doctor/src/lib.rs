//! What keeps containers from being reached, and what can be done about it.
//!
//! Each check looks at what there is and says nothing unless it is certain. What a host's firewall drops can be let
//! through on the administrator's word: that is what `firewall=open` does, afterwards and until it is taken back. What a firewall does with a packet is read off its rules (`filter`, `iptables`, `nft`).

mod addresses;
mod admission;
mod cures;
mod filter;
mod firewall;
mod iptables;
mod nft;
mod parents;
mod tagged;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use landline_conflicts::{Collision, with_host};
use landline_engine::{Engine, network_name};
use landline_host_access::HostAccess;
use landline_leases::Shared;
use landline_links::mark::is_implicit;
use landline_links::ovs::check_bridge;
use landline_links::{HostEnd, blocking, facts_of};
use landline_model::{NatOwner, NetworkRecord};
use landline_nat::{Nat, NatError, NatView};
use serde::{Deserialize, Serialize};

use cures::{Cure, Found, Opened, mended, opened};

pub use admission::{DroppedError, FirewallCheck, RoutedDroppedError};
pub use tagged::tagged;

/// How long somebody who only looks waits for Open vSwitch.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something that keeps containers from being reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at, in a word.
    pub check: String,
    /// What is wrong and what to do about it, in one sentence.
    pub says: String,
    /// Whether `landline doctor --fix` does that.
    pub fixable: bool,
}

impl Finding {
    /// One that the user has to do something about.
    pub fn new(check: &str, says: String) -> Self {
        Self { check: check.to_owned(), says, fixable: false }
    }
}

/// What was done, and what is still wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What was found and mended.
    pub fixed: Vec<Finding>,
    /// What is wrong.
    pub found: Vec<Finding>,
    /// What is not wrong and may surprise.
    #[serde(default)]
    pub advice: Vec<Finding>,
}

/// Finds what keeps containers from being reached, and mends what can be.
pub struct Doctor {
    shared: Shared,
    engine: Arc<Engine>,
    nat: Arc<Nat>,
    host_access: Arc<HostAccess>,
}

impl Doctor {
    /// One that looks at all of these.
    pub fn new(shared: Shared, engine: Arc<Engine>, nat: Arc<Nat>, host_access: Arc<HostAccess>) -> Self {
        Self { shared, engine, nat, host_access }
    }

    /// What keeps containers from being reached.
    pub async fn look(&self) -> Vec<Finding> {
        self.examine().await.into_iter().map(|found| found.finding).collect()
    }

    /// Mends what can be: lets through the host's firewall what that drops, and has the host pass packets on. It stays so
    /// until [`Self::unfix`], or until networks and containers need it no more.
    ///
    /// # Errors
    /// If the firewall cannot be changed, or that not be stored.
    pub async fn fix(&self) -> Result<Report, NatError> {
        let before = self.examine().await;
        let networks = self.engine.networks().clone();
        let Opened { bridges, owners } = opened(&before, &networks, self.nat.views().keys());
        for bridge in bridges {
            tracing::info!(%bridge, "let through the host's firewall, until landline doctor --undo");
            self.nat.add_exception(bridge).await?;
        }
        self.nat.reopen_firewall().await?;
        self.nat.open(owners).await?;
        let found = self.look().await;
        Ok(Report { fixed: mended(before, &found), found, ..Report::default() })
    }

    /// Takes back what [`Self::fix`] has changed; whether that was anything.
    ///
    /// # Errors
    /// As there.
    pub async fn unfix(&self) -> Result<bool, NatError> {
        let exceptions = self.nat.exceptions();
        for bridge in &exceptions {
            self.nat.forget_exception(bridge).await?;
        }
        self.nat.reopen_firewall().await?;
        Ok(self.nat.close().await? || !exceptions.is_empty())
    }

    async fn examine(&self) -> Vec<Found> {
        let networks: Vec<NetworkRecord> = self.engine.networks().values().cloned().collect();
        let mut found: Vec<Finding> =
            self.host_access.views().iter().filter_map(addresses::access_trouble).collect();
        found.extend(self.address_troubles().await);
        // Where the switch itself is out of reach there is no more to say about it.
        let mut rest = Vec::new();
        for network in networks {
            match switch_trouble(&network).await {
                Some(trouble) => found.push(trouble),
                None => rest.push(network),
            }
        }
        found.dedup();
        let (host, views, exceptions) = (self.shared.host.clone(), self.nat.views(), self.nat.exceptions());
        let looked = blocking(move || {
            found.extend(parents::look(&*host, &rest));
            if translates(&rest, &views) {
                found.extend(filter_trouble());
            }
            let found = found.into_iter().map(Found::from);
            found.chain(firewall::look(&rest, &views, &exceptions)).collect()
        });
        looked.await
    }

    /// Containers that have no address, or one that another machine has too.
    async fn address_troubles(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        for endpoint in self.engine.endpoints() {
            let record = endpoint.state.read().await;
            let v4 = endpoint.status().map(|status| status.troubles);
            let v6 = endpoint.status6().map(|status| status.troubles);
            let repeated = v4.into_iter().chain(v6).filter_map(|troubles| troubles.repeated());
            found.extend(addresses::of_record(&record, repeated));
        }
        found.extend(self.engine.client_views().await.iter().filter_map(addresses::shared_mac));
        let with_host = with_host(&self.shared.services.book, &self.engine).await.into_iter();
        found.extend(with_host.map(|Collision { holder, address, interface, .. }| {
            addresses::collision(&holder, address, &interface)
        }));
        let nats = self.nat.views();
        found.extend(nats.iter().filter_map(|(owner, view)| addresses::nat_trouble(owner, view)));
        found
    }
}

/// Whether any address of the LAN is, or is to be, translated.
fn translates(networks: &[NetworkRecord], views: &BTreeMap<NatOwner, NatView>) -> bool {
    !views.is_empty() || networks.iter().any(|network| facts_of(network.options.mode).is_translated())
}

/// How messages call a network.
fn label(network: &NetworkRecord) -> String {
    if is_implicit(&network.id) {
        return format!("attachments on {}", network.options.parent);
    }
    format!("network {}", network_name(network))
}

/// What keeps a network off Open vSwitch.
async fn switch_trouble(network: &NetworkRecord) -> Option<Finding> {
    if facts_of(network.options.mode).host_end != HostEnd::SwitchPort {
        return None;
    }
    let checked = tokio::time::timeout(PATIENCE, check_bridge(&network.options.parent)).await;
    let why = match checked {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => landline_types::chain(&error),
        Err(_) => {
            "Open vSwitch's database does not answer; restart it (systemctl restart openvswitch-switch)"
                .into()
        }
    };
    Some(Finding::new("openvswitch", format!("{}: {why}", label(network))))
}

/// Why nothing can be translated. An empty script changes nothing, and needs all that a real one does.
fn filter_trouble() -> Option<Finding> {
    let error = landline_kernel::nft::apply("").err()?;
    let says = format!(
        "no address of the LAN can be translated to a container: {}; check that the package nftables is installed",
        landline_types::chain(&error)
    );
    Some(Finding::new("nft", says))
}

#[cfg(test)]
mod tests {
    use landline_options::Mode;

    use super::*;

    /// A network, all of it as it is by default but for this.
    pub(super) fn network(mode: Mode, parent: &str) -> NetworkRecord {
        let mut options = landline_options::NetworkOptions::new(parent.parse().unwrap());
        options.mode = mode;
        NetworkRecord {
            id: "n".repeat(64).parse().unwrap(),
            name: Some("lan".into()),
            options,
            nic: None,
            ipam_gateway: None,
            ipam_gateway_v6: None,
            bridge_address: None,
        }
    }

    #[test]
    fn whether_anything_is_translated_is_for_networks_and_containers_to_say() {
        let none = BTreeMap::new();
        assert!(!translates(&[], &none));
        assert!(!translates(&[network(Mode::Bridge, "br0"), network(Mode::Routed, "eth0")], &none));
        assert!(translates(&[network(Mode::Bridge, "br0"), network(Mode::Nat, "llb0")], &none));
        let view: NatView = serde_json::from_value(serde_json::json!({
            "container": null, "address": null, "interface": "eth0", "inside": null, "ports": [], "state": "ready",
        }))
        .unwrap();
        assert!(translates(&[], &[(NatOwner::Container("web".to_owned()), view)].into()));
    }
}
