//! Attachments without an endpoint: interfaces that go nowhere.

use landline_kernel::LinkChange;
use landline_kernel::sysctl::Family;
use landline_links::mark::Mark;
use landline_links::{Defaults, Host, LinkEnd, LinkType, Namespaces, Step, blocking, dress};
use landline_types::{IfName, Mac};

use super::apply::{Put, inside_error};
use super::inside::{self, InsideError};
use super::record::{AttachmentRecord, Inside};
use super::{AttachFailure, Attachments, Slot};

/// The MTU of the kernel's dummy interfaces.
const DUMMY_MTU: u32 = 1500;

impl Attachments {
    pub(super) async fn put_dummy(&self, slot: &Slot, put: &Put<'_>) -> Result<(), AttachFailure> {
        let lock = self.slots.of_sandbox(&put.request.place.sandbox);
        let alone = lock.lock().await;
        let there = self.note_place(slot, put, false, true).await?;

        let (record, netns, host) = (slot.read(), put.netns.clone(), self.shared.host.clone());
        let (spec, alias) = (record.spec.clone(), record.alias());
        let work = blocking(move || {
            let index = add_dummy(&*host, &record)?;
            netns.take(&*host, index)?;
            let mut netlink = netns.requests()?;
            let index = inside::link_with(&mut *netlink, &alias)?.ok_or(InsideError::Lost)?.index;
            let change = LinkChange { mac: spec.mac, ..LinkChange::new() };
            netlink.set_link(index, &change.name(there.name.clone()))?;
            // Without IPv6 there is nothing to set.
            let _ = netns.set(Family::V6, &there.name, "accept_ra", "0");
            netlink.set_link(index, &LinkChange::new().up())?;
            dress(&*netns, &mut *netlink, index, &spec, Defaults::Take)?;
            Ok::<_, InsideError>(())
        });
        work.await.map_err(|error| inside_error(put.request, error))?;
        drop(alone);
        let record = slot.read();
        self.wait_for_dad(&record.target, put.netns.clone(), record.alias(), &record.spec).await
    }

    /// Removes an interface that goes nowhere.
    pub(super) async fn take_dummy(
        &self,
        record: &AttachmentRecord,
        there: &Inside,
    ) -> Result<(), AttachFailure> {
        let (alias, there, host) = (record.alias(), there.clone(), self.shared.host.clone());
        let (target, namespaces) = (record.target.clone(), self.namespaces());
        let done = blocking(move || take(&*host, &*namespaces, &there, &alias));
        done.await.map_err(|error| AttachFailure::Inside { target, source: error.into() })
    }
}

/// The step that makes an interface with this mark, and what it is called on the host.
pub(super) fn step(mark: &Mark, mac: Option<Mac>) -> (Step, IfName) {
    let name = mark.link_name();
    let link = LinkEnd { name: name.clone(), mac, mtu: DUMMY_MTU, alias: mark.to_string(), silent: true };
    (Step::AddLink { link, kind: LinkType::Dummy }, name)
}

fn add_dummy(host: &dyn Host, record: &AttachmentRecord) -> Result<u32, InsideError> {
    let (step, name) = step(&record.mark(), record.spec.mac);
    host.apply(&step)?;
    Ok(host.link(&name)?.ok_or(InsideError::Lost)?.index)
}

fn take(
    host: &dyn Host,
    namespaces: &dyn Namespaces,
    there: &Inside,
    alias: &str,
) -> Result<(), InsideError> {
    if let Some(mut found) = inside::find(namespaces, there, alias)? {
        found.netlink.delete_link(found.link.index)?;
    } else if let Some(link) = host.links()?.into_iter().find(|l| l.alias.as_deref() == Some(alias)) {
        host.remove_marked(link.index, alias)?;
    }
    Ok(())
}
