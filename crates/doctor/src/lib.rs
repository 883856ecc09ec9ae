//! What keeps containers from being reached, and what can be done about it.
//!
//! Each check looks at what there is and says nothing unless it is certain. What a host's firewall drops can be let
//! through on the administrator's word: that is what `firewall=open` does, afterwards and until it is taken back. What a firewall does with a packet is read off its rules (`filter`, `iptables`, `nft`).

mod admission;
mod filter;
mod firewall;
mod iptables;
mod nft;
mod parents;
mod tagged;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use landline_conflicts::{Collision, with_host};
use landline_engine::{Engine, network_name};
use landline_host_access::{AccessState, AccessView, HostAccess};
use landline_leases::Shared;
use landline_links::mark::is_implicit;
use landline_links::ovs::check_bridge;
use landline_links::{HostEnd, blocking, facts_of};
use landline_model::{NatOwner, NetworkRecord};
use landline_nat::{Nat, NatError, NatState, NatView};
use landline_types::IfName;
use serde::{Deserialize, Serialize};

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

/// What mends a finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Cure {
    /// Letting this bridge through the host's firewall.
    Bridge(IfName),
    /// The same for what is translated.
    Nat(NatOwner),
}

/// A finding, and what of it can be mended.
#[derive(Debug)]
struct Found {
    finding: Finding,
    cures: BTreeSet<Cure>,
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        Self { finding, cures: BTreeSet::new() }
    }
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
        let cures: BTreeSet<Cure> = before.iter().flat_map(|found| found.cures.iter().cloned()).collect();
        let mut owners = BTreeSet::new();
        let views = self.nat.views();
        for cure in cures {
            match cure {
                Cure::Nat(owner) => drop(owners.insert(owner)),
                Cure::Bridge(bridge) => {
                    let networks = self.engine.networks().clone();
                    let on_it = |id| networks.get(id).is_some_and(|network| network.options.parent == bridge);
                    owners.extend(views.keys().filter(|owner| owner.network().is_some_and(on_it)).cloned());
                    tracing::info!(%bridge, "let through the host's firewall, until landline doctor --undo");
                    self.nat.add_exception(bridge).await?;
                }
            }
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
        let mut found: Vec<Finding> = self.access_troubles();
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
            if !views.is_empty() || rest.iter().any(|network| facts_of(network.options.mode).is_translated())
            {
                found.extend(filter_trouble());
            }
            let found = found.into_iter().map(Found::from);
            found.chain(firewall::look(&rest, &views, &exceptions)).collect()
        });
        looked.await
    }

    /// Containers whose DHCP client declines one address after the other.
    async fn address_troubles(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        for endpoint in self.engine.endpoints() {
            let record = endpoint.state.read().await;
            found.extend(record.used_elsewhere.map(|address| lacks_address(&record.holder_name(), address)));
            let v4 = endpoint.status().map(|status| status.troubles);
            let v6 = endpoint.status6().map(|status| status.troubles);
            for (why, hint) in v4.into_iter().chain(v6).filter_map(|troubles| troubles.repeated()) {
                let holder = record.holder_name();
                found.push(Finding::new("addresses", format!("{holder}: {why}; {hint}")));
            }
        }
        for view in self.engine.client_views().await {
            if let Some(link) = view.elsewhere {
                let holder = view.container.unwrap_or(view.endpoint);
                let says = format!(
                    "another machine on the LAN of {link} has the hardware address {} of {holder}, so frames for either reach now the one, \
                     now the other: stop one of the two, or give this one another identity (landline identity forget, or \
                     another landline.id)",
                    view.mac
                );
                found.push(Finding::new("addresses", says));
            }
        }
        found.extend(with_host(&self.shared.services.book, &self.engine).await.into_iter().map(|Collision { holder, address, interface, .. }| {
            let says = format!(
                "{holder} has {address}, and so has this host itself, on {interface}: only one of the two is reached; remove \
                 it from {interface}, or give the container another address"
            );
            Finding::new("addresses", says)
        }));
        found.extend(self.nat.views().into_iter().filter_map(|(owner, view)| nat_trouble(&owner, &view)));
        found
    }

    /// Networks that the host has no access to, though it should.
    fn access_troubles(&self) -> Vec<Finding> {
        let views = self.host_access.views().into_iter().filter(|view| view.state != AccessState::Ready);
        let says = |view: AccessView| format!("host access to {}: {}", view.network, view.state);
        views.map(|view| Finding::new("host-access", says(view))).collect()
    }
}

/// A container that was recognised too late to be refused.
fn lacks_address(holder: &str, address: Ipv4Addr) -> Finding {
    let says = format!(
        "{holder} has no address: another host uses the identity that is derived for it, and has {address}. Stop the container \
         there and restart this one, give one of the two a landline.id of its own, or create the network with -o on_duplicate=fresh"
    );
    Finding::new("addresses", says)
}

/// What of this could be mended, and is found no more. Other findings go by themselves, or say it differently since: Docker has told the
/// name of a network.
fn mended(before: Vec<Found>, now: &[Finding]) -> Vec<Finding> {
    let curable = before.into_iter().filter(|found| !found.cures.is_empty()).map(|found| found.finding);
    curable.filter(|finding| !now.contains(finding)).collect()
}

/// What keeps an address on the host from being leased.
fn nat_trouble(owner: &NatOwner, view: &NatView) -> Option<Finding> {
    let is_waiting = view.address.is_some() || view.state == NatState::Asking;
    let whose = match owner {
        NatOwner::Container(name) => format!("container {name}"),
        NatOwner::Network(_) | NatOwner::Identity { .. } => view
            .container
            .as_ref()
            .map_or_else(|| "a mode=nat network".to_owned(), |name| format!("container {name}")),
    };
    let says = || format!("{whose} has no address on {}: {}", view.interface, view.state);
    (!is_waiting).then(|| Finding::new("addresses", says()))
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
    fn only_what_could_be_mended_is_reported_as_mended() {
        let finding = |says: &str| Finding::new("firewall", says.to_owned());
        let found = |says: &str, cures: &[Cure]| Found {
            finding: finding(says),
            cures: cures.iter().cloned().collect(),
        };
        let cure = [Cure::Bridge("br0".parse().unwrap())];
        let before = vec![
            found("network lan: br0 is closed", &cure),
            found("network wan: br1 is closed", &cure),
            found("network 79aeda61e747: the route leads elsewhere", &[]),
        ];
        let now = [finding("network wan: br1 is closed"), finding("network nat: the route leads elsewhere")];
        assert_eq!(mended(before, &now), [finding("network lan: br0 is closed")]);
    }
}
