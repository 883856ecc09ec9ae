//! The static addresses of attachments: whether anybody has them, and keeping them on the interface.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use landline_kernel::{Address, Group, LinkChange};
use landline_leases::probe::{self, Contest};
use landline_links::{Defaults, OpenNamespace, blocking, dress};
use landline_options::{AttachSpec, EndpointId, Target};
use tokio_util::sync::CancellationToken;

use super::inside::{self, InsideError};
use super::record::{AttachmentId, AttachmentRecord, Inside};
use super::{AttachFailure, Attachments, Slot};

/// How long duplicate address detection may take: a second, and up to another before it begins (RFC 4862 section 5.4).
const DAD: Duration = Duration::from_secs(5);

impl Attachments {
    /// Whether the endpoint may have the static addresses: that is not for the user to leave out. It has them from now on.
    pub(super) async fn permit_addresses(
        &self,
        record: &AttachmentRecord,
        spec: &AttachSpec,
    ) -> Result<(), AttachFailure> {
        let Some(options) = &record.network else { return Ok(()) };
        let id = record.id.endpoint();
        let endpoint = self.engine.endpoint(id);
        if let Some(endpoint) = endpoint {
            // First, so that of two that want one address at the same moment one gets it.
            let addresses = record.spec.addresses.iter().chain(&spec.addresses);
            endpoint.state.has_also(addresses.map(|address| address.net.addr()).collect()).await;
        }
        for address in &spec.addresses {
            let permitted = self.shared.services.book.permit_endpoint(address.net, options, id);
            permitted.map_err(AttachFailure::NotPermitted)?;
        }
        Ok(())
    }

    /// Looks for other users of the static addresses, over the link while it is still here.
    pub(super) async fn check_addresses(
        &self,
        record: &AttachmentRecord,
        cancel: &CancellationToken,
    ) -> Result<(), AttachFailure> {
        let addresses = inside::v4(&record.spec);
        let Some(options) = record.network.as_ref().filter(|_| !addresses.is_empty() && !record.spec.force)
        else {
            return Ok(());
        };
        let (host, alias) = (self.shared.host.clone(), record.alias());
        let link = blocking(move || {
            Ok::<_, landline_links::HostError>(
                host.links()?.into_iter().find(|link| link.alias.as_deref() == Some(&*alias)),
            )
        });
        let Some(link) = link.await? else { return Ok(()) };
        let Some(mac) = link.mac else { return Ok(()) };
        let services = &self.shared.services;
        let look = async {
            let over = probe::asked_over(services, options, link.index).await?;
            probe::contest(services, over, mac, &addresses, options.conflict_check).await
        };
        match cancel.run_until_cancelled(look).await.ok_or(AttachFailure::Cancelled)? {
            Ok(None) => Ok(()),
            Ok(Some(Contest { address, by, for_all })) => {
                tracing::warn!(%address, %by, %mac, "another host uses the address");
                Err(if for_all {
                    AttachFailure::ProxyArp { address, by }
                } else {
                    AttachFailure::InUse { address: address.into(), by: by.to_string() }
                })
            }
            Err(source) => {
                Err(AttachFailure::Inside { target: record.target.clone(), source: source.into() })
            }
        }
    }

    /// Gives an interface that is there the addresses it lacks, and takes away those nobody wants any more.
    pub(super) async fn add_addresses(
        &self,
        slot: &Slot,
        target: &Target,
        there: &Inside,
        netns: Arc<dyn OpenNamespace>,
        spec: &AttachSpec,
    ) -> Result<(), AttachFailure> {
        let record = slot.read();
        self.permit_addresses(&record, spec).await?;
        let lock = self.slots.of_sandbox(&there.sandbox);
        let alone = lock.lock().await;
        let alias = record.alias();
        let (requests, wanted, old) = (netns.clone(), spec.clone(), record.spec.clone());
        let (v4, v6) = inside::gateways(spec);
        let had = inside::gateways(&record.spec);
        let work = blocking(move || {
            let mut netlink = requests.requests()?;
            let link = inside::link_with(&mut *netlink, &alias)?.ok_or(InsideError::Lost)?;
            let replaced = inside::defaults(&mut *netlink, link.index, v4 && !had.0, v6 && !had.1)?;
            let gone = old.addresses.iter().filter(|a| wanted.addresses.iter().all(|b| b.net != a.net));
            for address in gone {
                netlink.delete_address(&Address::new(link.index, address.net))?;
            }
            dress(&*requests, &mut *netlink, link.index, &wanted, Defaults::TakeNew(&old))?;
            if let Some(mac) = link.mac {
                requests.announce(link.index, mac, &inside::announced(&wanted))?;
            }
            Ok::<_, InsideError>(replaced)
        });
        let replaced = work
            .await
            .map_err(|error| AttachFailure::Inside { target: target.clone(), source: error.into() })?;
        self.remember(slot, |record| {
            if let Some(inside) = &mut record.inside {
                inside.replaced.extend(replaced);
            }
        })
        .await?;
        drop(alone);
        self.wait_for_dad(target, netns, record.alias(), spec).await
    }

    /// Waits until the kernel knows whether anybody has the IPv6 addresses.
    pub(super) async fn wait_for_dad(
        &self,
        target: &Target,
        netns: Arc<dyn OpenNamespace>,
        alias: String,
        spec: &AttachSpec,
    ) -> Result<(), AttachFailure> {
        if spec.force || spec.addresses.iter().all(|address| address.net.addr().is_ipv4()) {
            return Ok(());
        }
        let failed =
            |source: InsideError| AttachFailure::Inside { target: target.clone(), source: source.into() };
        let watch = async {
            let mut events = netns.follow(&[Group::Addresses]).map_err(InsideError::from)?;
            loop {
                let (netns, alias) = (netns.clone(), alias.clone());
                let states = blocking(move || {
                    let mut netlink = netns.requests()?;
                    let link = inside::link_with(&mut *netlink, &alias)?.ok_or(InsideError::Lost)?;
                    let all = netlink.addresses()?.into_iter().filter(|a| a.index == link.index);
                    Ok::<_, InsideError>(all.collect::<Vec<_>>())
                })
                .await?;
                let of_spec = |address: &IpAddr| spec.addresses.iter().any(|a| a.net.addr() == *address);
                let mine: Vec<_> = states.iter().filter(|a| of_spec(&a.net.addr())).collect();
                if let Some(double) = mine.iter().find(|a| a.is_duplicate()) {
                    return Ok(Some(double.net.addr()));
                }
                if !mine.iter().any(|a| a.is_tentative()) {
                    return Ok(None);
                }
                events.next().await;
            }
        };
        match tokio::time::timeout(DAD, watch).await {
            Ok(Ok(Some(address))) => Err(AttachFailure::InUse { address, by: "another host".into() }),
            Ok(Err(error)) => Err(failed(error)),
            Ok(Ok(None)) | Err(_) => Ok(()),
        }
    }

    /// An attachment's link was made again: what its endpoint does not see to is set again.
    pub(crate) async fn dress_again(&self, endpoint: &EndpointId) {
        let Ok(id) = endpoint.as_str().parse::<AttachmentId>() else { return };
        let Some(slot) = self.slots.get(&id) else { return };
        let record = slot.read();
        let Some(there) = record.inside.clone() else { return };
        let (namespaces, alias, spec) = (self.namespaces(), record.alias(), record.spec.clone());
        let done = blocking(move || {
            let mut found = inside::find(&*namespaces, &there, &alias)?.ok_or(InsideError::Lost)?;
            found.netlink.set_link(found.link.index, &LinkChange::new().up())?;
            dress(&*found.netns, &mut *found.netlink, found.link.index, &spec, Defaults::IfFree)?;
            Ok::<_, InsideError>(())
        });
        if let Err(error) = done.await {
            tracing::warn!(error = %landline_types::chain(&error), "an attachment's addresses could not be set again");
        }
    }
}
