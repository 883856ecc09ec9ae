//! Taking attachments away: for good, or because their container has ended.

use std::sync::Arc;

use landline_links::blocking;
use landline_model::Holding;
use landline_options::Target;
use landline_types::IfName;

use super::inside::{self, InsideError};
use super::record::{AttachmentId, AttachmentRecord, Inside, Origin, SavedRoute};
use super::{AttachFailure, Attachments, Slot};

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
        let slots: Vec<Arc<Slot>> = self.slots.all().into_iter().filter(|slot| is_it(&slot.read())).collect();
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
        match self.slots.get(id) {
            Some(slot) => self.forget_attachment(&slot, for_good).await,
            None => Ok(false),
        }
    }

    async fn forget_attachment(&self, slot: &Slot, for_good: bool) -> Result<bool, AttachFailure> {
        let _turn = slot.turn.lock().await;
        let record = slot.read();
        if self.slots.get(&record.id).is_none() {
            return Ok(false);
        }
        let id = record.id.endpoint();
        let endpoint = self.engine.endpoint(id);
        let mut identity = None;
        if let Some(endpoint) = endpoint {
            identity = endpoint.state.read().await.identity;
            endpoint.stop(for_good).await;
        }
        self.clear(slot).await?;
        if let Some(card) = slot.read().card {
            return Err(AttachFailure::CardAway { card: card.name, target: record.target });
        }
        if for_good {
            self.engine.drop_identity(identity, &record.key()).await;
        } else if let (Some(identity), Origin::Runtime(_)) = (identity, &record.origin) {
            self.engine.container_removed(&identity, &record.id.network()).await;
        }
        self.shared.store.remove::<AttachmentRecord>(&record.id).await?;
        self.slots.lock().remove(&record.id);
        self.engine.leave_network(&record.id.network()).await;
        self.leave_parent(&record).await;
        tracing::info!(target = %record.target, "detached");
        Ok(true)
    }

    /// The container behind an attachment has ended, and its sandbox with it: the attachment waits for its next start.
    /// Does nothing if it is in another sandbox by now.
    ///
    /// # Errors
    /// Something could not be undone.
    pub async fn container_ended(&self, id: &AttachmentId) -> Result<(), AttachFailure> {
        let Some(slot) = self.slots.get(id) else { return Ok(()) };
        let _turn = slot.turn.lock().await;
        self.clear(&slot).await
    }

    /// Takes the interface out of its sandbox, wherever that is, and puts back what it had replaced.
    pub(super) async fn clear(&self, slot: &Slot) -> Result<(), AttachFailure> {
        let lock = slot.read().inside.as_ref().map(|inside| self.slots.of_sandbox(&inside.sandbox));
        let _alone = match &lock {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        self.give_up_replaced(slot).await?;
        let record = slot.read();
        // An interface that goes away takes its routes along: it goes first, so that those of before fit again.
        if let Err(error) = self.engine.delete_endpoint(record.id.endpoint()).await {
            tracing::warn!(error = %landline_types::chain(&error), "an attachment's link could not be removed");
        }
        self.give_card_back(slot).await?;
        let Some(there) = record.inside.clone() else { return Ok(()) };
        if there.dummy {
            self.take_dummy(&record, &there).await?;
        }
        self.put_back(&record, &there).await;
        self.remember(slot, |record| record.inside = None).await
    }

    /// Forgets the default routes that an attachment has replaced where its own is not there any more: somebody has replaced
    /// or removed that, a VPN or its kill switch, and what was before is not to come back. It is written down before the
    /// interface goes, which takes its routes along.
    async fn give_up_replaced(&self, slot: &Slot) -> Result<(), AttachFailure> {
        let record = slot.read();
        let Some(there) = record.inside.clone().filter(|there| !there.replaced.is_empty()) else {
            return Ok(());
        };
        if self.heir(&record, &there).is_some() || self.has_parked(&record).await {
            return Ok(());
        }
        let (namespaces, alias) = (self.namespaces(), record.alias());
        let look = blocking(move || {
            let Some(mut found) = inside::find(&*namespaces, &there, &alias)? else { return Ok(None) };
            let held = inside::held(&mut *found.netlink, found.link.index, there.replaced)?;
            Ok::<_, InsideError>(Some(held))
        });
        match look.await {
            Ok(Some(held)) => {
                self.remember(slot, |record| {
                    if let Some(inside) = &mut record.inside {
                        inside.replaced = held;
                    }
                })
                .await
            }
            Ok(None) => Ok(()),
            Err(error) => {
                tracing::debug!(error = %landline_types::chain(&error), "an attachment's default route cannot be looked at");
                Ok(())
            }
        }
    }

    /// Whether the default route of its lease is away because no server speaks of one, or with the address.
    async fn has_parked(&self, record: &AttachmentRecord) -> bool {
        let endpoint = self.engine.endpoint(record.id.endpoint());
        match endpoint {
            Some(endpoint) => endpoint.state.read().await.applied.default.holding == Holding::Parked,
            None => false,
        }
    }

    /// The attachment that has replaced this one's default route.
    fn heir(&self, record: &AttachmentRecord, there: &Inside) -> Option<Arc<Slot>> {
        self.slots.all().into_iter().find(|other| is_heir(&other.read(), record, there))
    }

    /// Sets the default routes again that an attachment has replaced, or leaves them to the one that has replaced its own.
    async fn put_back(&self, record: &AttachmentRecord, there: &Inside) {
        if there.replaced.is_empty() {
            return;
        }
        if let Some(heir) = self.heir(record, there) {
            let left = self.remember(&heir, |record| {
                if let Some(inside) = &mut record.inside {
                    inherit(inside, there);
                }
            });
            if let Err(error) = left.await {
                tracing::warn!(error = %landline_types::chain(&error), "what was replaced could not be stored");
            }
            return;
        }
        let (namespaces, there) = (self.namespaces(), there.clone());
        let done = blocking(move || {
            if let Some(netns) = inside::open(&*namespaces, &there)? {
                inside::put_back(&mut *netns.requests()?, there.replaced)?;
            }
            Ok::<_, InsideError>(())
        });
        if let Err(error) = done.await {
            tracing::warn!(error = %landline_types::chain(&error), target = %record.target, "a default route could not be set again");
        }
    }
}

/// Whether an attachment has replaced the default route of another one, which is there.
fn is_heir(heir: &AttachmentRecord, record: &AttachmentRecord, there: &Inside) -> bool {
    heir.id != record.id
        && heir.inside.as_ref().is_some_and(|inside| {
            inside.namespace == there.namespace && inside.replaced.iter().any(|route| is_over(route, there))
        })
}

/// What an attachment puts back when it ends, after the one whose route it has replaced has ended first.
fn inherit(heir: &mut Inside, there: &Inside) {
    heir.replaced.retain(|route| !is_over(route, there));
    heir.replaced.extend(there.replaced.iter().cloned());
}

/// Whether a default route leads through the interface of an attachment.
fn is_over(route: &SavedRoute, there: &Inside) -> bool {
    route.dev.as_ref() == Some(&there.name)
}

#[cfg(test)]
mod tests {
    use landline_kernel::Route;

    use super::*;

    /// An attachment in this namespace, whose interface has replaced a default route through that one.
    fn attached(n: u8, namespace: &str, name: &str, replaced: Option<&str>) -> AttachmentRecord {
        let route = |dev: &str| SavedRoute {
            dev: dev.parse().ok(),
            ..inside::saved(&Route::on_link("0.0.0.0/0".parse().unwrap(), 2), &[])
        };
        AttachmentRecord {
            id: format!("{n:032x}").parse().unwrap(),
            target: "web".parse().unwrap(),
            process: None,
            spec: "br0 dhcp".parse().unwrap(),
            origin: Origin::Command,
            container: None,
            network: None,
            nic: None,
            inside: Some(Inside {
                sandbox: "/run/netns/web".into(),
                namespace: namespace.to_owned(),
                name: name.parse().unwrap(),
                replaced: replaced.map(route).into_iter().collect(),
                dummy: false,
            }),
            card: None,
        }
    }

    fn place(record: &AttachmentRecord) -> Inside {
        record.inside.clone().unwrap()
    }

    #[test]
    fn the_heir_is_whoever_has_replaced_the_route() {
        let first = attached(1, "4026 1", "eth1", Some("eth0"));
        let is = |heir: &AttachmentRecord| is_heir(heir, &first, &place(&first));
        assert!(is(&attached(2, "4026 1", "eth2", Some("eth1"))));
        assert!(!is(&attached(2, "4026 1", "eth2", Some("eth0"))), "another route");
        assert!(!is(&attached(2, "4026 1", "eth2", None)));
        assert!(!is(&attached(2, "4026 2", "eth2", Some("eth1"))), "in another container");
        assert!(!is(&AttachmentRecord { inside: None, ..attached(2, "4026 1", "eth2", Some("eth1")) }));
        assert!(!is(&first), "nobody is one's own heir");
    }

    #[test]
    fn the_heir_puts_back_what_the_first_would_have() {
        let first = attached(1, "4026 1", "eth1", Some("eth0"));
        let mut second = place(&attached(2, "4026 1", "eth2", Some("eth1")));
        inherit(&mut second, &place(&first));
        let devs: Vec<_> = second.replaced.iter().filter_map(|route| route.dev.clone()).collect();
        assert_eq!(devs, ["eth0".parse::<IfName>().unwrap()]);
    }
}
