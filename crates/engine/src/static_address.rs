//! The addresses that Docker's IPAM or Landline's gave: looked for on the LAN before a container has them, and announced
//! once it does, because neighbours may remember whoever had them before.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use landline_leases::addressing::permit::NotPermitted;
use landline_leases::probe::Contest;
use landline_leases::{MoveOutcome, SandboxMove, probe, wait_for_move};
use landline_links::mark::Mark;
use landline_links::{SandboxError, Sandboxes, blocking, facts_of};
use landline_model::{AddressRecord, EndpointRecord, NetworkRecord};
use tokio_util::sync::CancellationToken;

use crate::admission::AddressNews;
use crate::endpoints::{CreateEndpointError, network_name};
use crate::engine::Engine;

/// How often an address is announced, and how far apart (RFC 5227 section 1.1; RFC 4861 section 7.2.6 allows three).
const ANNOUNCEMENTS: u32 = 2;
const BETWEEN: Duration = Duration::from_secs(2);

/// The addresses an endpoint has for good, that of IPv4 first.
fn fixed(record: &EndpointRecord) -> Vec<IpAddr> {
    let v4 = match record.address {
        AddressRecord::Static { address } => Some(IpAddr::V4(address.addr())),
        AddressRecord::None | AddressRecord::Dhcp(_) => None,
    };
    v4.into_iter().chain(record.address_v6.map(|net| IpAddr::V6(net.addr()))).collect()
}

impl Engine {
    /// Looks for another user of the endpoint's address over its link, which is on the host still.
    pub(crate) async fn check_fixed(
        &self,
        record: &EndpointRecord,
        network: &NetworkRecord,
        index: u32,
        cancel: &CancellationToken,
    ) -> Result<(), CreateEndpointError> {
        self.permit_fixed(record, network).await?;
        // On a private bridge there is nobody but the network's containers.
        let fixed = match record.address {
            AddressRecord::Static { address } if !facts_of(network.options.mode).is_translated() => {
                Some(address)
            }
            _ => None,
        };
        let Some(address) = fixed else { return Ok(()) };
        if landline_links::mark::is_implicit(&network.id) {
            // Attachments may have several, and look for all of them together.
            return Ok(());
        }
        let check = network.options.conflict_check;
        let look = async {
            let over = probe::asked_over(&self.services, &network.options, index).await?;
            probe::contest(&self.services, over, record.mac, &[address], check).await
        };
        match cancel.run_until_cancelled(Box::pin(look)).await.ok_or(CreateEndpointError::Cancelled)? {
            Ok(None) => Ok(()),
            Ok(Some(Contest { address, by, for_all })) => {
                let mac = record.mac;
                tracing::warn!(endpoint = %record.id.short(), %address, %by, %mac, "another host uses the address");
                self.admission.address(&network.id, AddressNews::Contested(address.into())).await;
                let network = network_name(network);
                Err(if for_all {
                    CreateEndpointError::ProxyArp { network, address, by }
                } else {
                    CreateEndpointError::InUse { network, address, by }
                })
            }
            Err(error) => {
                // Not to have looked is no reason not to start.
                tracing::warn!(%error, endpoint = %record.id.short(), "nobody was asked about an address");
                Ok(())
            }
        }
    }

    /// Whether the endpoint may have the addresses that it was given.
    async fn permit_fixed(
        &self,
        record: &EndpointRecord,
        network: &NetworkRecord,
    ) -> Result<(), CreateEndpointError> {
        let v4 = match record.address {
            AddressRecord::Static { address } => Some(IpNet::V4(address)),
            AddressRecord::None | AddressRecord::Dhcp(_) => None,
        };
        for net in v4.into_iter().chain(record.address_v6.map(IpNet::V6)) {
            let book = &self.services.book;
            let mut permitted = book.permit_endpoint(net, &network.options, &record.id);
            if let Err(NotPermitted::Endpoint { endpoint, .. }) = &permitted {
                // One that Docker lost in a crash has nothing any more.
                Box::pin(self.close_if_dead(endpoint)).await;
                permitted = book.permit_endpoint(net, &network.options, &record.id);
            }
            if let Err(why) = permitted {
                self.admission.address(&network.id, AddressNews::Contested(net.addr())).await;
                let hint = if landline_links::mark::is_implicit(&network.id) {
                    "choose another"
                } else {
                    "name another one with --ip, or keep what Docker gives (--ip-range) apart from it"
                };
                return Err(CreateEndpointError::NotPermitted { network: network_name(network), why, hint });
            }
        }
        Ok(())
    }

    /// Announces the endpoint's addresses as soon as Docker has put them into the sandbox. `index`: of the link on the
    /// host, if it is still there.
    pub(crate) fn announce_fixed(
        &self,
        record: &EndpointRecord,
        mark: Mark,
        index: Option<u32>,
        sandbox: PathBuf,
    ) {
        let fixed = fixed(record);
        let Some(address) = fixed.first().copied() else { return };
        let link_move = SandboxMove {
            link_table: self.services.link_table.clone(),
            sandboxes: self.services.sandboxes.clone(),
            index,
            sandbox: sandbox.clone(),
            mark: mark.clone(),
            address: Some(address),
            own_v6: false,
        };
        let sandboxes = self.services.sandboxes.clone();
        let announce = async move {
            if wait_for_move(link_move).await == MoveOutcome::Gone {
                return;
            }
            for n in 0..ANNOUNCEMENTS {
                if n > 0 {
                    tokio::time::sleep(BETWEEN).await;
                }
                let (sandbox, mark, fixed) = (sandbox.clone(), mark.clone(), fixed.clone());
                let sandboxes = sandboxes.clone();
                let said = blocking(move || announce(&*sandboxes, &sandbox, &mark, &fixed));
                if let Err(error) = said.await {
                    tracing::debug!(error = %landline_types::chain(&error), "an address was not announced");
                }
            }
        };
        tokio::spawn(self.services.cancel.clone().run_until_cancelled_owned(announce));
    }
}

/// One round of announcements over the link, if it is there; an address that it does not have, or that another machine may
/// have, is not announced.
fn announce(
    sandboxes: &dyn Sandboxes,
    sandbox: &Path,
    mark: &Mark,
    fixed: &[IpAddr],
) -> Result<(), SandboxError> {
    let Some(mut inside) = sandboxes.enter(sandbox, mark)? else { return Ok(()) };
    let usable = inside.usable()?;
    let there: Vec<IpAddr> = fixed.iter().filter(|own| usable.contains(own)).copied().collect();
    inside.announce(&there)
}
