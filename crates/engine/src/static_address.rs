//! The addresses that Docker's IPAM or Landline's gave: looked for on the LAN before a container has them, and announced
//! once it does, because neighbours may remember whoever had them before.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use landline_dhcp::v6::Transmit;
use landline_dhcp::wire::icmpv6::Message;
use landline_dhcp::wire::ipv6::{ALL_NODES, multicast_mac};
use landline_kernel::{Netns, PacketSocket};
use landline_leases::addressing::permit::NotPermitted;
use landline_leases::probe::Contest;
use landline_leases::{MoveOutcome, SandboxMove, probe, wait_for_move};
use landline_links::mark::Mark;
use landline_links::{Sandbox, SandboxError, blocking, facts_of};
use landline_model::{AddressRecord, EndpointRecord, NetworkRecord};
use landline_types::Mac;
use tokio_util::sync::CancellationToken;

use crate::admission::AddressNews;
use crate::endpoints::{CreateEndpointError, network_name};
use crate::engine::Engine;

/// How often an address is announced, and how far apart (RFC 5227 section 1.1; RFC 4861 section 7.2.6 allows three).
const ANNOUNCEMENTS: u32 = 2;
const BETWEEN: Duration = Duration::from_secs(2);

/// What an endpoint has for good.
#[derive(Debug, Clone, Copy)]
struct Fixed {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Fixed {
    fn of(record: &EndpointRecord) -> Self {
        let v4 = match record.address {
            AddressRecord::Static { address } => Some(address.addr()),
            AddressRecord::None | AddressRecord::Dhcp(_) => None,
        };
        Self { v4, v6: record.address_v6.map(|net| net.addr()) }
    }
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
        let look = async { probe::contest(&self.services, index, record.mac, &[address], check).await };
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
        let fixed = Fixed::of(record);
        let Some(address) = fixed.v4.map(Into::into).or(fixed.v6.map(Into::into)) else { return };
        let motion = SandboxMove {
            present: self.services.link_table.clone(),
            sandboxes: self.services.sandboxes.clone(),
            index,
            sandbox: sandbox.clone(),
            mark: mark.clone(),
            address: Some(address),
            own_v6: false,
        };
        let announce = async move {
            if wait_for_move(motion).await == MoveOutcome::Gone {
                return;
            }
            for n in 0..ANNOUNCEMENTS {
                if n > 0 {
                    tokio::time::sleep(BETWEEN).await;
                }
                let (sandbox, mark) = (sandbox.clone(), mark.clone());
                if let Err(error) = blocking(move || announce(&sandbox, &mark, fixed)).await {
                    tracing::debug!(error = %landline_types::chain(&error), "an address was not announced");
                }
            }
        };
        tokio::spawn(self.services.cancel.clone().run_until_cancelled_owned(announce));
    }
}

/// One round of announcements over the link, if it is there; an address that it does not have is not announced.
fn announce(sandbox: &Path, mark: &Mark, fixed: Fixed) -> Result<(), SandboxError> {
    let Some(mut inside) = Sandbox::enter(sandbox, mark)? else { return Ok(()) };
    let Some(mac) = inside.link.mac else { return Ok(()) };
    let index = inside.link.index;
    let v4 =
        fixed.v4.filter(|own| inside.addresses().is_ok_and(|all| all.iter().any(|net| net.addr() == *own)));
    let v6 = inside.addresses_v6()?.into_iter().any(|address| {
        // Before duplicate address detection has ended nothing may be said (RFC 4862 section 5.4).
        Some(address.net.addr()) == fixed.v6.map(Into::into)
            && !address.is_tentative()
            && !address.is_duplicate()
    });
    let sent = probe::announce(&inside.netns, index, mac, v4)
        .and_then(|()| announce_v6(&inside.netns, index, mac, fixed.v6.filter(|_| v6)));
    sent.map_err(|source| SandboxError::Open { path: sandbox.into(), source })
}

/// An unsolicited Neighbour Advertisement (RFC 4861 section 7.2.6).
fn announce_v6(netns: &Netns, index: u32, mac: Mac, address: Option<Ipv6Addr>) -> io::Result<()> {
    let Some(target) = address else { return Ok(()) };
    let message = Message::NeighbourAdvertisement {
        target,
        target_mac: Some(mac),
        router: false,
        solicited: false,
        overrides: true,
    };
    let payload = message.emit(target, ALL_NODES);
    let transmit = Transmit::Icmp { to: multicast_mac(ALL_NODES), src: target, dst: ALL_NODES, payload };
    PacketSocket::ipv6(Some(netns), index)?.send(transmit.link_destination(), &transmit.to_packet())
}
