//! Attachments without an endpoint: interfaces that go nowhere.

use landline_kernel::{LinkChange, Netlink, Netns};
use landline_links::{Defaults, Host, LinkEnd, LinkType, Step, blocking, dress};
use landline_types::IfName;

use super::apply::{Put, inside_error};
use super::inside::{self, InsideError};
use super::record::{AttachmentRecord, Inside};
use super::{AttachFailure, Attachments, Slot};

/// The MTU of the kernel's dummy interfaces.
const DUMMY_MTU: u32 = 1500;

impl Attachments {
    pub(super) async fn put_dummy(&self, slot: &Slot, put: &Put<'_>) -> Result<(), AttachFailure> {
        let record = slot.read();
        let lock = self.attachments.of_sandbox(&put.request.place.sandbox);
        let alone = lock.lock().await;
        let copy = || put.netns.try_clone().map_err(|error| inside_error(put.request, error.into()));
        let (netns, (v4, v6)) = (copy()?, inside::gateways(&record.spec));
        let look = blocking(move || {
            let taken = inside::names(&netns)?;
            Ok::<_, InsideError>((taken, inside::defaults(&mut Netlink::open_in(&netns)?, 0, v4, v6)?))
        });
        let (taken, replaced) = look.await.map_err(|error| inside_error(put.request, error))?;
        let name = record.spec.ifname.clone().unwrap_or_else(|| inside::free_name(&taken));
        if taken.contains(&name) {
            return Err(AttachFailure::NameTaken { target: record.target.clone(), name });
        }
        let there = Inside {
            sandbox: put.request.place.sandbox.clone(),
            namespace: put.namespace.clone(),
            name: name.clone(),
            replaced,
            dummy: true,
        };
        self.remember(slot, |record| record.inside = Some(there)).await?;

        let (netns, host, spec, alias) = (copy()?, self.engine.host(), record.spec.clone(), record.alias());
        let work = blocking(move || {
            let index = add_dummy(&*host, &record, &alias)?;
            host.hand_over(index, &netns)?;
            let mut netlink = Netlink::open_in(&netns)?;
            let link = netlink.links()?.into_iter().find(|link| link.alias.as_deref() == Some(&*alias));
            let index = link.ok_or(InsideError::Lost)?.index;
            let change = LinkChange { mac: spec.mac, ..LinkChange::new() };
            netlink.set_link(index, &change.name(name.clone()))?;
            set_v6(&netns, &name);
            netlink.set_link(index, &LinkChange::new().up())?;
            dress(&netns, &mut netlink, index, &spec, Defaults::Take)?;
            Ok::<_, InsideError>(())
        });
        work.await.map_err(|error| inside_error(put.request, error))?;
        drop(alone);
        let record = slot.read();
        self.wait_for_dad(&record.target, &put.netns, record.alias(), &record.spec).await
    }

    /// Removes an interface that goes nowhere.
    pub(super) async fn take_dummy(
        &self,
        record: &AttachmentRecord,
        there: &Inside,
    ) -> Result<(), AttachFailure> {
        let (alias, there, host) = (record.alias(), there.clone(), self.engine.host());
        let target = record.target.clone();
        let done = blocking(move || take(&*host, &there, &alias));
        done.await.map_err(|error| AttachFailure::Inside { target, source: error.into() })
    }
}

fn set_v6(netns: &Netns, name: &IfName) {
    let name = name.clone();
    // Without IPv6 there is nothing to set.
    let _ = netns.run(move || {
        landline_kernel::sysctl::set(landline_kernel::sysctl::Family::V6, &name, "accept_ra", "0")
    });
}

fn add_dummy(host: &dyn Host, record: &AttachmentRecord, alias: &str) -> Result<u32, InsideError> {
    let name = landline_links::mark::Mark::new(record.id.endpoint(), landline_links::mark::End::Container)
        .link_name();
    let end = LinkEnd {
        name: name.clone(),
        mac: record.spec.mac,
        mtu: DUMMY_MTU,
        alias: alias.to_owned(),
        silent: true,
    };
    host.apply(&Step::AddLink { link: end, kind: LinkType::Dummy })?;
    let link = host.link(&name)?;
    Ok(link.ok_or(InsideError::Lost)?.index)
}

fn take(host: &dyn Host, there: &Inside, alias: &str) -> Result<(), InsideError> {
    let found = match super::place::namespace_at(&there.sandbox) {
        Some(namespace) if namespace == there.namespace => inside::find(&there.sandbox, alias)?,
        _ => None,
    };
    if let Some((_, mut netlink, link)) = found {
        netlink.delete_link(link.index)?;
    } else if let Some(link) = host.links()?.into_iter().find(|l| l.alias.as_deref() == Some(alias)) {
        host.remove_marked(link.index, alias)?;
    }
    Ok(())
}
