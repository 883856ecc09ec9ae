//! Taking attachments away: for good, or because their container has ended.

use std::sync::Arc;

use landline_kernel::Netlink;
use landline_spec::Target;
use landline_types::IfName;

use super::inside::{self, InsideError};
use super::record::{AttachmentId, AttachmentRecord, Inside, SavedRoute};
use super::{AttachFailure, Attachments, Slot, place};
use crate::blocking;
use crate::identities::erase;

impl Attachments {
    /// Detaches what a target has attached: the interface of this name, or all. Leases are given back, and what was
    /// replaced is there again. Returns how many there were.
    ///
    /// # Errors
    /// There was none, or something could not be undone.
    pub async fn detach(&self, target: &Target, name: Option<&IfName>) -> Result<usize, AttachFailure> {
        let is_it = |record: &AttachmentRecord| {
            let container = match (target, &record.container) {
                (Target::Container(name), Some(container)) => name.means(&container.id, &container.name),
                _ => false,
            };
            (record.target == *target || container)
                && name.is_none_or(|name| record.name().as_ref() == Some(name))
        };
        let slots: Vec<Arc<Slot>> =
            self.attachments.all().into_iter().filter(|slot| is_it(&slot.read())).collect();
        if slots.is_empty() {
            return Err(AttachFailure::Unknown { target: target.clone() });
        }
        for slot in &slots {
            self.forget_attachment(slot, true).await?;
        }
        Ok(slots.len())
    }

    /// Detaches one, if it is there. `for_good`: nobody will ask for it again, so its address is given back; else that
    /// is kept for as long as a removed container's is. `false`: it was not there any more.
    ///
    /// # Errors
    /// Something could not be undone.
    pub async fn detach_by_id(&self, id: &AttachmentId, for_good: bool) -> Result<bool, AttachFailure> {
        match self.attachments.get(id) {
            Some(slot) => self.forget_attachment(&slot, for_good).await,
            None => Ok(false),
        }
    }

    async fn forget_attachment(&self, slot: &Slot, for_good: bool) -> Result<bool, AttachFailure> {
        let _turn = slot.turn.lock().await;
        let record = slot.read();
        if self.attachments.get(&record.id).is_none() {
            return Ok(false);
        }
        let id = record.id.endpoint();
        let endpoint = self.engine.slot_if_known(id).and_then(|slot| slot.current());
        let mut identity = None;
        if let Some(endpoint) = endpoint {
            identity = endpoint.cell.read().await.identity;
            endpoint.stop(for_good).await;
        }
        self.clear(slot).await?;
        if let Some(card) = slot.read().card {
            return Err(AttachFailure::CardAway { card: card.name, target: record.target });
        }
        if for_good && let Some(identity) = identity.or_else(|| self.identity_of(&record)) {
            self.engine.identities.let_go(&identity);
            if self.engine.identities.forget(&identity).is_some() {
                erase(&self.engine.store, identity).await;
            }
        }
        self.engine.store.remove::<AttachmentRecord>(&record.id).await?;
        self.engine.ledger.remove_network(&record.id.network());
        self.attachments.lock().remove(&record.id);
        if let Some(network) = record.network_record() {
            self.withdraw_network(&network).await;
        }
        self.leave_parent(&record).await;
        tracing::info!(target = %record.target, "detached");
        Ok(true)
    }

    fn identity_of(&self, record: &AttachmentRecord) -> Option<landline_model::IdentityId> {
        let key = record.key();
        self.engine.identities.all().into_iter().find(|i| i.key.as_deref() == Some(&*key)).map(|i| i.id)
    }

    /// The container behind an attachment has ended, and its sandbox with it: the attachment waits for its next start.
    /// Does nothing if it is in another sandbox by now.
    ///
    /// # Errors
    /// Something could not be undone.
    pub async fn container_ended(&self, id: &AttachmentId) -> Result<(), AttachFailure> {
        let Some(slot) = self.attachments.get(id) else { return Ok(()) };
        let _turn = slot.turn.lock().await;
        self.clear(&slot).await
    }

    /// Takes the interface out of its sandbox, wherever that is, and puts back what it had replaced.
    pub(super) async fn clear(&self, slot: &Slot) -> Result<(), AttachFailure> {
        let record = slot.read();
        let lock = record.inside.as_ref().map(|inside| self.attachments.of_sandbox(&inside.sandbox));
        let _alone = match &lock {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        // An interface that goes away takes its routes along: it goes first, so that those of before fit again.
        if let Err(error) = self.engine.delete_endpoint(record.id.endpoint()).await {
            tracing::warn!(error = %crate::chain(&error), "an attachment's link could not be removed");
        }
        self.give_card_back(slot).await?;
        let Some(there) = record.inside.clone() else { return Ok(()) };
        if there.dummy {
            self.take_dummy(&record, &there).await?;
        }
        self.put_back(&record, &there).await;
        self.remember(slot, |record| record.inside = None).await
    }

    /// Sets the default routes again that an attachment has replaced, or leaves them to the one that has replaced its own.
    async fn put_back(&self, record: &AttachmentRecord, there: &Inside) {
        if there.replaced.is_empty() {
            return;
        }
        for other in self.attachments.all() {
            let heir = other.read();
            let Some(inside) = heir.inside.as_ref() else { continue };
            let over_ours = |route: &SavedRoute| route.dev.as_ref() == Some(&there.name);
            if heir.id == record.id
                || inside.namespace != there.namespace
                || !inside.replaced.iter().any(over_ours)
            {
                continue;
            }
            let left = self.remember(&other, |record| {
                if let Some(inside) = &mut record.inside {
                    inside.replaced.retain(|route| !over_ours(route));
                    inside.replaced.extend(there.replaced.iter().cloned());
                }
            });
            if let Err(error) = left.await {
                tracing::warn!(error = %crate::chain(&error), "what was replaced could not be stored");
            }
            return;
        }
        let (path, namespace, routes) =
            (there.sandbox.clone(), there.namespace.clone(), there.replaced.clone());
        let done = blocking(move || {
            if place::namespace_at(&path).as_ref() != Some(&namespace) {
                return Ok(());
            }
            let netns = landline_kernel::Netns::open(&path)?;
            let mut netlink = Netlink::open_in(&netns)?;
            // One that somebody has set since then stays the only one.
            let defaults = netlink.routes()?;
            let free = |route: &SavedRoute| {
                !defaults.iter().any(|known| {
                    known.is_default()
                        && known.destination == route.destination
                        && known.table == landline_kernel::Route::MAIN_TABLE
                })
            };
            let routes: Vec<SavedRoute> = routes.into_iter().filter(|route| free(route)).collect();
            inside::restore(&mut netlink, &routes)?;
            Ok::<_, InsideError>(())
        });
        if let Err(error) = done.await {
            tracing::warn!(error = %crate::chain(&error), target = %record.target, "a default route could not be set again");
        }
    }
}
