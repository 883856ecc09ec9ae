//! Creating and deleting networks.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::PoisonError;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use landline_kernel::{Link, boottime};
use landline_spec::{Addressing, Ipv6Mode, LinkMtu, NetworkId, NetworkOptions, PoolSource};
use landline_types::IfName;

use crate::blocking;
use crate::engine::Engine;
use crate::host::HostError;
use crate::host_access;
use crate::links::network::{NetworkLinksError, name_bridge};
use crate::links::{HostEnd, ParentError, Shim, check_vlan, facts_of, find_parent, wants_bridge_alone};
use crate::pools::PoolId;
use crate::records::NetworkRecord;
use crate::release::Policy;
use crate::spanning_tree::LONGEST;
use crate::store::StoreError;

/// Where Docker's IPAM takes this network's addresses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipam {
    /// From nowhere: `--ipam-driver null`.
    Null,
    /// From a pool of its own.
    Pool {
        /// The pool.
        subnet: Ipv4Net,
        /// The gateway it set aside.
        gateway: Option<Ipv4Addr>,
    },
    /// From Landline's own IPAM driver.
    Landline {
        /// The pool's subnet; all addresses there are if its user gave none.
        subnet: Ipv4Net,
        /// The gateway its user named.
        gateway: Option<Ipv4Addr>,
    },
}

/// A request for a network.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateNetwork {
    /// Docker's id for it.
    pub id: NetworkId,
    /// What the user chose.
    pub options: NetworkOptions,
    /// Docker's side of the addresses.
    pub ipam: Ipam,
    /// Its side of IPv6 addresses, if it gives any.
    pub ipam_v6: Option<PoolV6>,
}

/// Where Docker's IPAM, or Landline's, takes IPv6 addresses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolV6 {
    /// The pool.
    pub subnet: Ipv6Net,
    /// The gateway that was set aside or named.
    pub gateway: Option<Ipv6Addr>,
    /// Whether it is one of Landline's IPAM driver.
    pub ours: bool,
}

/// Why a network was not created. The text goes to the user as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateNetworkError {
    /// The parent will not do.
    #[error(transparent)]
    Parent(#[from] ParentError),
    /// Docker's IPAM and the LAN's DHCP server would both give addresses.
    #[error(
        "addresses come from the LAN's DHCP server, so Docker must not give any: add --ipam-driver null \
         (or, to use Docker's addresses, -o addressing=static)"
    )]
    DockerIpam,
    /// Nobody would give addresses.
    #[error(
        "addressing=static takes the addresses that Docker's IPAM gives, but this network has none: \
         give --subnet and --gateway and leave out --ipam-driver null"
    )]
    NoIpam,
    /// Addresses were set aside that nobody uses.
    #[error("addressing=none gives no addresses, so Docker must not either: add --ipam-driver null")]
    NoAddressing,
    /// Landline's IPAM driver and the LAN's DHCP server would both give addresses.
    #[error(
        "-o addressing=dhcp takes addresses from the LAN's DHCP server, and Landline's IPAM driver takes them from \
         the subnet: leave out -o addressing, or add --ipam-opt addressing=dhcp"
    )]
    PoolWithDhcp,
    /// IPv6 addresses from a pool beside others.
    #[error(
        "IPv6 addresses come from the LAN with -o ipv6=true (or dhcp, slaac), or from an IPv6 --subnet with \
         -o addressing=static: leave out --ipv6 and its --subnet, or -o ipv6 and DHCP"
    )]
    PoolV6,
    /// Docker speaks of a pool that Landline did not make, or has forgotten.
    #[error("Landline's IPAM driver knows no pool {0} that waits for a network; try again")]
    UnknownPool(IpNet),
    /// More bytes than the parent takes: larger packets would get lost.
    #[error(
        "mtu={mtu} is more than {parent} carries, which is {carries}; leave it out, \
         or raise the MTU of {parent} and all that is connected to it"
    )]
    Mtu {
        /// What was asked for, in bytes.
        mtu: u32,
        /// The parent.
        parent: IfName,
        /// Its MTU, in bytes.
        carries: u32,
    },
    /// Its containers' addresses cannot be translated.
    #[error(transparent)]
    Private(#[from] crate::PrivateError),
    /// Its NIC has no interface for its VLAN.
    #[error(transparent)]
    Vlan(#[from] crate::VlanError),
    /// There is no VDE switch for it.
    #[error(transparent)]
    Switch(#[from] crate::VdeError),
    /// Another network has this bridge.
    #[error(
        "the bridge {bridge} is already used by the Docker network {other}; use that network, \
         name another bridge, or add -o ignore_conflicts=true (if Docker no longer has {other}: \
         landline network forget {other})"
    )]
    BridgeInUse {
        /// The bridge.
        bridge: IfName,
        /// The network that has it.
        other: String,
    },
    /// What the containers answer would be dropped on the way to the host.
    #[error("leave out host_access and decide with landline host-access enable: {0}")]
    StrictFilter(String),
    /// The id exists with other settings.
    #[error("the network exists already with other options")]
    Differs,
    /// The host's firewall drops what its containers send.
    #[error(transparent)]
    Dropped(#[from] crate::doctor::DroppedError),
    /// The host's firewall could not be opened.
    #[error(transparent)]
    Firewall(#[from] crate::nat::NatError),
    /// Open vSwitch has no such bridge, or cannot be asked.
    #[error(transparent)]
    Ovs(#[from] landline_ovsdb::Error),
    /// The host could not be looked at.
    #[error("cannot look at the host's links")]
    Host(#[source] HostError),
    /// It could not be stored.
    #[error("cannot store the network")]
    Store(#[source] StoreError),
}

impl From<NetworkLinksError> for CreateNetworkError {
    fn from(error: NetworkLinksError) -> Self {
        match error {
            NetworkLinksError::Vlan(error) => Self::Vlan(error),
            NetworkLinksError::Switch(error) => Self::Switch(error),
            NetworkLinksError::Bridge(error) => Self::Private(error.into()),
        }
    }
}

/// Why a network was not deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteNetworkError {
    /// It could not be removed from the store.
    #[error("cannot remove the network from the store")]
    Store(#[source] StoreError),
}

/// Refuses a NIC whose reverse path filter only the user may change.
fn strict_filter(parent: &Link) -> Result<(), CreateNetworkError> {
    match host_access::strict_filter(parent) {
        Some(why) => Err(CreateNetworkError::StrictFilter(why)),
        None => Ok(()),
    }
}

impl Engine {
    /// Creates a network, or confirms one that exists with the same settings.
    ///
    /// # Errors
    /// See [`CreateNetworkError`]; nothing was changed then.
    pub async fn create_network(&self, request: CreateNetwork) -> Result<(), CreateNetworkError> {
        let CreateNetwork { id, mut options, ipam, ipam_v6 } = request;
        let translated = facts_of(options.mode).is_translated();
        let mut pools = Vec::new();
        if let Some(pool) = ipam_v6 {
            if translated {
                return Err(crate::PrivateError::V6.into());
            }
            if options.addressing != Addressing::Static || options.ipv6 != Ipv6Mode::Off {
                return Err(CreateNetworkError::PoolV6);
            }
            if pool.ours {
                pools.push(self.find_pool(&id, pool.subnet.into())?.0);
            }
        }
        let mut source = None;
        if let Ipam::Landline { subnet, .. } = ipam {
            let (pool, from) = self.find_pool(&id, subnet.into())?;
            source = Some(from);
            pools.push(pool);
        }
        let ipam_gateway = match (options.addressing, ipam) {
            (Addressing::Dhcp, Ipam::Landline { gateway, .. }) => {
                if source == Some(PoolSource::Pool) {
                    return Err(CreateNetworkError::PoolWithDhcp);
                }
                options.gateway = options.gateway.or(gateway);
                None
            }
            (Addressing::Dhcp, Ipam::Pool { .. }) => return Err(CreateNetworkError::DockerIpam),
            (Addressing::None, Ipam::Pool { .. } | Ipam::Landline { .. }) => {
                return Err(CreateNetworkError::NoAddressing);
            }
            (Addressing::Static, Ipam::Null) if translated => {
                return Err(crate::PrivateError::NoPool.into());
            }
            (Addressing::Static, Ipam::Null) => return Err(CreateNetworkError::NoIpam),
            (Addressing::Static, Ipam::Pool { gateway, .. } | Ipam::Landline { gateway, .. }) => gateway,
            (_, Ipam::Null) => None,
        };
        let bridge_address = match (translated, ipam, ipam_gateway) {
            (true, Ipam::Pool { subnet, .. } | Ipam::Landline { subnet, .. }, Some(gateway)) => {
                Ipv4Net::new(gateway, subnet.prefix_len()).ok()
            }
            (true, ..) => return Err(crate::PrivateError::NoGateway.into()),
            _ => None,
        };
        let mut record = NetworkRecord {
            ipam_gateway,
            ipam_gateway_v6: ipam_v6.and_then(|pool| pool.gateway),
            bridge_address,
            ..NetworkRecord::new(id.clone(), options)
        };
        name_bridge(&mut record);
        if let Some(known) = self.networks().get(&id) {
            // The parent of one in a VLAN of its NIC is that VLAN.
            if known.nic.as_ref() == Some(&record.options.parent) {
                record.options.parent.clone_from(&known.options.parent);
                record.nic.clone_from(&known.nic);
            }
            let same = NetworkRecord { name: None, ..known.clone() } == record;
            return if same { Ok(()) } else { Err(CreateNetworkError::Differs) };
        }
        self.check_private(&record).await?;
        self.enter_network_links(&mut record).await?;
        if let Err(error) = self.open_private(&record).await {
            self.remove_network_links(&record).await;
            return Err(error.into());
        }
        let added = self.add_network(record.clone(), &pools).await;
        if added.is_err() {
            self.close_private(&record).await;
            self.remove_network_links(&record).await;
        }
        added
    }

    /// The pool of Landline's IPAM driver that the network has or is about to have.
    fn find_pool(
        &self,
        network: &NetworkId,
        subnet: IpNet,
    ) -> Result<(PoolId, PoolSource), CreateNetworkError> {
        let pool = self.pools.find(network, subnet);
        let source = pool.as_ref().and_then(|pool| self.pools.look(pool, |record| record.source));
        pool.zip(source).ok_or(CreateNetworkError::UnknownPool(subnet))
    }

    /// Checks the new network's parent and stores it, and that it has these pools.
    async fn add_network(&self, record: NetworkRecord, pools: &[PoolId]) -> Result<(), CreateNetworkError> {
        let id = record.id.clone();
        let host = self.host.clone();
        let links = blocking(move || host.links()).await.map_err(CreateNetworkError::Host)?;
        let parent = find_parent(&record.options.parent, record.options.mode, &links)?;
        check_vlan(&record.options, parent)?;
        if let Some(mtu) = record.options.mtu.and_then(LinkMtu::fixed).filter(|mtu| *mtu > parent.mtu) {
            return Err(CreateNetworkError::Mtu { mtu, parent: parent.name.clone(), carries: parent.mtu });
        }
        if facts_of(record.options.mode).host_end == HostEnd::OvsPort {
            crate::links::ovs::check_bridge(&record.options.parent).await?;
        }
        if record.options.host_access && facts_of(record.options.mode).shim == Some(Shim::Ipvlan) {
            strict_filter(parent)?;
        }
        if let Some(other) = self.other_on_bridge(&record) {
            return Err(CreateNetworkError::BridgeInUse { bridge: record.options.parent.clone(), other });
        }
        self.check_firewall(&record).await?;
        for pool in pools {
            self.pools.bind(pool, &record.id).await.map_err(CreateNetworkError::Store)?;
        }
        self.open_firewall(&record).await?;
        if let Err(error) = self.store.put(&record).await {
            self.close_firewall(&record).await;
            return Err(CreateNetworkError::Store(error));
        }
        tracing::info!(network = %id.short(), mode = %record.options.mode, parent = %record.options.parent, "network created");
        self.created.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), boottime::now());
        self.ledger.put_network(record);
        Ok(())
    }

    /// Another of our own networks on the same bridge, unless the new one does not mind.
    fn other_on_bridge(&self, new: &NetworkRecord) -> Option<String> {
        if !wants_bridge_alone(&new.options) {
            return None;
        }
        let networks = self.networks();
        let other = networks
            .values()
            .filter(|n| !crate::mark::is_implicit(&n.id))
            .find(|n| facts_of(n.options.mode).is_lan_bridge() && n.options.parent == new.options.parent)
            // In another VLAN it is another LAN.
            .filter(|n| n.options.vlan == new.options.vlan)?;
        Some(other.name.clone().unwrap_or_else(|| other.id.short().to_owned()))
    }

    /// The addresses of a host interface; empty if there is no such interface. For finding out whether a Docker
    /// network lives on a bridge.
    pub async fn parent_addresses(&self, parent: &IfName) -> Vec<IpNet> {
        let (host, parent) = (self.host.clone(), parent.clone());
        blocking(move || match host.link(&parent) {
            Ok(Some(link)) => host.addresses(link.index).unwrap_or_default(),
            _ => Vec::new(),
        })
        .await
    }

    /// Forgets a network. One that is not known is fine.
    ///
    /// # Errors
    /// See [`DeleteNetworkError`].
    pub async fn delete_network(&self, id: &NetworkId) -> Result<(), DeleteNetworkError> {
        self.store.remove::<NetworkRecord>(id).await.map_err(DeleteNetworkError::Store)?;
        let removed = self.ledger.remove_network(id);
        self.created.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        // Docker lets go of the others by name.
        for pool in self.pools.of_network(id) {
            if self.pools.look(&pool, |record| record.adopted) == Some(true) {
                self.pools.remove(&pool).await.map_err(DeleteNetworkError::Store)?;
            }
        }
        if let Some(network) = removed {
            self.close_private(&network).await;
            self.remove_network_links(&network).await;
            self.close_firewall(&network).await;
            tracing::info!(network = %id.short(), "network deleted");
        }
        Ok(())
    }

    /// When leases of this network's containers are given back.
    pub(crate) fn release_policy(&self, id: &NetworkId) -> Policy {
        let networks = self.networks();
        let options = networks.get(id).map(|network| &network.options);
        let after = options.map_or(landline_spec::DEFAULT_RELEASE_AFTER, |o| o.release_after);
        Policy { when: options.map(|o| o.release).unwrap_or_default(), after }
    }

    /// How long a start on this network may take until it has a first lease: what its user says, and what a bridge's
    /// spanning tree takes at most before that. `None`: there is no such network.
    pub fn start_limit(&self, id: &NetworkId) -> Option<std::time::Duration> {
        let networks = self.networks();
        let options = &networks.get(id)?.options;
        let is_bridge = facts_of(options.mode).is_lan_bridge();
        let spanning_tree = if is_bridge { LONGEST } else { std::time::Duration::ZERO };
        Some(options.lease_timeout + spanning_tree)
    }

    /// The watcher has seen a network's name.
    pub async fn network_seen(&self, id: &NetworkId, name: &str) {
        let Some(row) = self.ledger.name_network(id, name) else { return };
        if let Err(error) = self.store.put(&row).await {
            tracing::warn!(error = %crate::chain(&error), "a network's name could not be stored");
        }
    }
}
