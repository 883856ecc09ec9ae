//! Creating and deleting networks.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use landline_kernel::boottime;
use landline_links::network::{NetworkLinksError, name_bridge};
use landline_links::spanning_tree::{LONGEST, may_hold};
use landline_links::{
    HostError, ParentError, blocking, check_vlan, driver_of, facts_of, find_parent, wants_bridge_alone,
};
use landline_model::NetworkRecord;
use landline_options::{Addressing, Ipv6Mode, LinkMtu, Mode, NetworkId, NetworkOptions, PoolSource};
use landline_store::StoreError;
use landline_types::IfName;

use crate::admission::{NetworkRequest, Refusal, Withdrawn};
use crate::engine::Engine;
use crate::release::Policy;
use crate::translated::TranslatedError;

/// Where Docker's IPAM takes this network's addresses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkIpam {
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
        /// Where the pool's addresses come from, if it is known.
        source: Option<PoolSource>,
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
    pub ipam: NetworkIpam,
    /// Its side of IPv6 addresses, if it gives any.
    pub ipam_v6: Option<PoolV6>,
}

impl CreateNetwork {
    /// Whether who gives addresses and where they come from go together.
    fn check(&self) -> Result<(), CreateNetworkError> {
        let options = &self.options;
        let translated = facts_of(options.mode).is_translated();
        if self.ipam_v6.is_some() {
            if translated {
                return Err(TranslatedError::V6.into());
            }
            if !options.mode.has_ipv6() {
                return Err(CreateNetworkError::NoIpv6 { mode: options.mode });
            }
            if options.addressing != Addressing::Static || options.ipv6 != Ipv6Mode::Off {
                return Err(CreateNetworkError::PoolV6);
            }
        }
        match (options.addressing, self.ipam) {
            (Addressing::Dhcp, NetworkIpam::Landline { source: Some(PoolSource::Pool), .. }) => {
                Err(CreateNetworkError::PoolWithDhcp)
            }
            (Addressing::Dhcp, NetworkIpam::Pool { .. }) => Err(CreateNetworkError::DockerIpam),
            (Addressing::None, NetworkIpam::Pool { .. } | NetworkIpam::Landline { .. }) => {
                Err(CreateNetworkError::NoAddressing)
            }
            (Addressing::Static, NetworkIpam::Null) if translated => Err(TranslatedError::NoPool.into()),
            (Addressing::Static, NetworkIpam::Null) => Err(CreateNetworkError::NoIpam),
            _ => Ok(()),
        }
    }

    /// The subnets of its pools that are of Landline's IPAM driver.
    fn own_pools(&self) -> Vec<IpNet> {
        let v6 = self.ipam_v6.filter(|pool| pool.ours).map(|pool| pool.subnet.into());
        let v4 = match self.ipam {
            NetworkIpam::Landline { subnet, .. } => Some(subnet.into()),
            NetworkIpam::Null | NetworkIpam::Pool { .. } => None,
        };
        v6.into_iter().chain(v4).collect()
    }

    /// The network as it is kept, before its parent was looked at.
    pub(crate) fn into_record(self) -> NetworkRecord {
        let Self { id, mut options, ipam, ipam_v6 } = self;
        let (subnet, gateway) = match ipam {
            NetworkIpam::Null => (None, None),
            NetworkIpam::Pool { subnet, gateway } | NetworkIpam::Landline { subnet, gateway, .. } => {
                (Some(subnet), gateway)
            }
        };
        let asks = options.addressing == Addressing::Dhcp;
        if asks {
            options.gateway = options.gateway.or(gateway);
        }
        let on_bridge = subnet.zip(gateway).filter(|_| facts_of(options.mode).is_translated());
        let mut record = NetworkRecord {
            ipam_gateway: gateway.filter(|_| !asks),
            ipam_gateway_v6: ipam_v6.and_then(|pool| pool.gateway),
            bridge_address: on_bridge.and_then(|(subnet, own)| Ipv4Net::new(own, subnet.prefix_len()).ok()),
            ..NetworkRecord::new(id, options)
        };
        name_bridge(&mut record);
        record
    }
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
        "addresses come from the LAN's DHCP server, so Docker must not give any: add --ipam-driver landline \
         or null (to use Docker's addresses, add -o addressing=static)"
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
        "-o addressing=dhcp takes addresses from the LAN's DHCP server, and --ip-range or --ipam-opt addressing=pool takes \
         them from the subnet: leave out one of them"
    )]
    PoolWithDhcp,
    /// IPv6 addresses from a pool beside others.
    #[error(
        "IPv6 addresses come from the LAN with -o ipv6=true (or dhcp, slaac), or from an IPv6 --subnet with \
         -o addressing=pool or static: leave out --ipv6 and its --subnet, or -o ipv6 and DHCP"
    )]
    PoolV6,
    /// The mode has no IPv6.
    #[error("mode={mode} supports IPv4 only; leave out --ipv6 and its --subnet")]
    NoIpv6 {
        /// The mode.
        mode: Mode,
    },
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
    Private(#[from] TranslatedError),
    /// What it needs on the host cannot be had.
    #[error(transparent)]
    Links(#[from] NetworkLinksError),
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
    /// The id exists with other settings.
    #[error("the network exists already with other options")]
    Differs,
    /// A feature does not admit it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The switch outside the kernel has no such parent, or cannot be asked.
    #[error(transparent)]
    Unconfirmed(HostError),
    /// The host could not be looked at.
    #[error("cannot look at the host's links")]
    Host(#[source] HostError),
    /// It could not be stored.
    #[error("cannot store the network")]
    Store(#[source] StoreError),
}

/// Why a network was not deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteNetworkError {
    /// It could not be removed from the store.
    #[error("cannot remove the network from the store")]
    Store(#[source] StoreError),
    /// A feature could not give up what it has.
    #[error(transparent)]
    Feature(#[from] Refusal),
}

impl Engine {
    /// Creates a network, or confirms one that exists with the same settings.
    ///
    /// # Errors
    /// See [`CreateNetworkError`]; nothing was changed then.
    pub async fn create_network(&self, request: CreateNetwork) -> Result<(), CreateNetworkError> {
        request.check()?;
        let (id, pools) = (request.id.clone(), request.own_pools());
        let mut record = request.into_record();
        if facts_of(record.options.mode).is_translated() && record.bridge_address.is_none() {
            return Err(TranslatedError::NoGateway.into());
        }
        if let Some(known) = self.networks().get(&id) {
            // The parent of one in a VLAN of its NIC is that VLAN.
            if known.nic.as_ref() == Some(&record.options.parent) {
                record.options.parent.clone_from(&known.options.parent);
                record.nic.clone_from(&known.nic);
            }
            let same = NetworkRecord { name: None, ..known.clone() } == record;
            return if same { Ok(()) } else { Err(CreateNetworkError::Differs) };
        }
        let proposal = NetworkRequest { record: &record, pools: &pools, parent: None };
        self.admission.proposed(proposal).await?;
        self.parents.enter(&mut record).await?;
        let made = self.add_network(record.clone(), &pools).await;
        if made.is_err() {
            self.parents.remove(&record).await;
            let withdrawn = Withdrawn::Network { id: &record.id, record: Some(&record), forgotten: false };
            if let Err(error) = self.admission.withdrawn(withdrawn).await {
                tracing::warn!(error = %landline_types::chain(&error), "something of a network that was not created is left");
            }
        }
        made
    }

    /// Checks the new network's parent, has the features admit it, and stores it.
    async fn add_network(&self, record: NetworkRecord, pools: &[IpNet]) -> Result<(), CreateNetworkError> {
        let id = record.id.clone();
        let host = self.host.clone();
        let links = blocking(move || host.links()).await.map_err(CreateNetworkError::Host)?;
        let parent = find_parent(&record.options.parent, record.options.mode, &links)?;
        check_vlan(&record.options, parent)?;
        if let Some(mtu) = record.options.mtu.and_then(LinkMtu::fixed).filter(|mtu| *mtu > parent.mtu) {
            return Err(CreateNetworkError::Mtu { mtu, parent: parent.name.clone(), carries: parent.mtu });
        }
        if let Some(step) = driver_of(record.options.mode).confirm(&record.options.parent) {
            let host = self.host.clone();
            blocking(move || host.apply(&step)).await.map_err(CreateNetworkError::Unconfirmed)?;
        }
        if let Some(other) = self.other_on_bridge(&record) {
            return Err(CreateNetworkError::BridgeInUse { bridge: record.options.parent.clone(), other });
        }
        self.admission.network(NetworkRequest { record: &record, pools, parent: Some(parent) }).await?;
        self.store.put(&record).await.map_err(CreateNetworkError::Store)?;
        tracing::info!(network = %id.short(), mode = %record.options.mode, parent = %record.options.parent, "network created");
        self.ledger.create_network(record, boottime::now());
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
            .filter(|n| !landline_links::mark::is_implicit(&n.id))
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
        self.remove_network(id, false).await
    }

    /// Removes a network with all that was made for it. `forgotten`: Docker does not have it any more.
    pub(crate) async fn remove_network(
        &self,
        id: &NetworkId,
        forgotten: bool,
    ) -> Result<(), DeleteNetworkError> {
        self.store.remove::<NetworkRecord>(id).await.map_err(DeleteNetworkError::Store)?;
        let removed = self.ledger.remove_network(id);
        let withdrawn =
            self.admission.withdrawn(Withdrawn::Network { id, record: removed.as_ref(), forgotten }).await;
        // Whatever a feature could not do: a repeat of the request no longer knows the links.
        if let Some(network) = removed {
            self.parents.remove(&network).await;
            tracing::info!(network = %id.short(), "network deleted");
        }
        Ok(withdrawn?)
    }

    /// When leases of this network's containers are given back.
    pub(crate) fn release_policy(&self, id: &NetworkId) -> Policy {
        let networks = self.networks();
        let options = networks.get(id).map(|network| &network.options);
        let after = options.map_or(landline_options::DEFAULT_RELEASE_AFTER, |o| o.release_after);
        Policy { when: options.map(|o| o.release).unwrap_or_default(), after }
    }

    /// How long a start on this network may take until it has a first lease: what its user says, and what a bridge's
    /// spanning tree takes at most before that. `None`: there is no such network.
    pub fn start_limit(&self, id: &NetworkId) -> Option<std::time::Duration> {
        let networks = self.networks();
        let options = &networks.get(id)?.options;
        let spanning_tree = if may_hold(options) { LONGEST } else { std::time::Duration::ZERO };
        Some(options.lease_timeout + spanning_tree)
    }

    /// The watcher has seen a network's name.
    pub async fn network_seen(&self, id: &NetworkId, name: &str) {
        let Some(row) = self.ledger.name_network(id, name) else { return };
        if let Err(error) = self.store.put(&row).await {
            tracing::warn!(error = %landline_types::chain(&error), "a network's name could not be stored");
        }
    }
}
