//! All the pools there are, in memory and in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use landline_leases::Foundation;
use landline_options::NetworkId;
use landline_store::{Batch, Store, StoreError};
use tokio::sync::Notify;

use super::record::{PoolId, PoolRecord};

/// How long a network may take to be created after its pool was; between the two Docker does next to nothing.
const SOON: Duration = Duration::from_secs(3);

/// The pools.
#[derive(Debug)]
pub struct Pools {
    store: Arc<Store>,
    inner: Mutex<Inner>,
    /// One change at a time, so that what is stored last is what holds.
    turn: tokio::sync::Mutex<()>,
    /// Something waits no more.
    bound: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    records: BTreeMap<PoolId, PoolRecord>,
    /// Pools whose network is about to be created. Docker does not say which pool a network has, so of those with one
    /// subnet there is one at a time.
    expecting: BTreeSet<PoolId>,
}

impl Pools {
    pub(crate) fn new(store: Arc<Store>, records: Vec<PoolRecord>) -> Self {
        let records = records.into_iter().map(|r| (r.id.clone(), r)).collect();
        let inner = Mutex::new(Inner { records, ..Inner::default() });
        Self { store, inner, turn: tokio::sync::Mutex::default(), bound: Notify::new() }
    }

    /// Those of the last run.
    pub fn resume(ground: &mut Foundation) -> Arc<Self> {
        Arc::new(Self::new(ground.store.clone(), ground.rows.take()))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a pool.
    pub(crate) fn look<T>(&self, id: &PoolId, look: impl FnOnce(&PoolRecord) -> T) -> Option<T> {
        self.lock().records.get(id).map(look)
    }

    /// The pool a network has, or will have if it is created with this subnet now.
    pub(crate) fn find(&self, network: &NetworkId, subnet: IpNet) -> Option<PoolId> {
        let inner = self.lock();
        let own = |record: &&PoolRecord| record.network.as_ref() == Some(network);
        let bound = inner.records.values().find(|r| own(r) && r.pool.subnet() == subnet.trunc());
        let expecting = || inner.expecting.iter().find(|id| inner.is_of(id, subnet));
        bound.map(|record| &record.id).or_else(expecting).cloned()
    }

    /// The pools of a network.
    pub(crate) fn of_network(&self, network: &NetworkId) -> Vec<PoolId> {
        let inner = self.lock();
        let own = inner.records.values().filter(|record| record.network.as_ref() == Some(network));
        own.map(|record| record.id.clone()).collect()
    }

    /// Stores a new pool, whose network is expected from now on; waits while another with its subnet expects one.
    pub(crate) async fn add(&self, record: PoolRecord) -> Result<(), StoreError> {
        let subnet = record.pool.subnet();
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            let bound = self.bound.notified();
            tokio::pin!(bound);
            bound.as_mut().enable();
            {
                let mut inner = self.lock();
                let late = tokio::time::Instant::now() >= deadline;
                // A network of another driver never says that it is there.
                let waiting: Vec<PoolId> =
                    inner.expecting.iter().filter(|id| inner.is_of(id, subnet)).cloned().collect();
                if late {
                    inner.expecting.retain(|id| !waiting.contains(id));
                }
                if late || waiting.is_empty() {
                    inner.expecting.insert(record.id.clone());
                    inner.records.insert(record.id.clone(), record.clone());
                    break;
                }
            }
            // Either way what counts is looked at again.
            let _ = tokio::time::timeout_at(deadline, bound).await;
        }
        let stored = self.store.put(&record).await;
        if stored.is_err() {
            self.drop_from_memory(&record.id);
        }
        stored
    }

    /// Stores a pool that was lost, unless it is there after all or is just being made.
    pub(crate) async fn adopt(&self, record: PoolRecord) -> Result<bool, StoreError> {
        let _turn = self.turn.lock().await;
        {
            let inner = self.lock();
            // Of a network of another driver it is not known which it is.
            let same = |known: &PoolRecord| match &known.network {
                Some(network) => {
                    record.network.as_ref() == Some(network) && known.pool.subnet() == record.pool.subnet()
                }
                None => record.may_be(&known.id),
            };
            if inner.records.values().any(same) {
                return Ok(false);
            }
        }
        self.store.put(&record).await?;
        self.lock().records.insert(record.id.clone(), record);
        self.bound.notify_waiters();
        Ok(true)
    }

    /// Whether there is a pool of this name. One that was adopted has it from now on if it is the only one that it can
    /// mean; that such a pool is adopted is waited for.
    pub(crate) async fn recognise(&self, id: &PoolId) -> Result<bool, StoreError> {
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            let adopted = self.bound.notified();
            tokio::pin!(adopted);
            adopted.as_mut().enable();
            let known = |inner: &Inner| inner.records.contains_key(id);
            if known(&self.lock()) {
                return Ok(true);
            }
            if !id.says_which() {
                return Ok(false);
            }
            if self.name_adopted(id).await? {
                return Ok(true);
            }
            if tokio::time::timeout_at(deadline, adopted).await.is_err() {
                return Ok(known(&self.lock()));
            }
        }
    }

    async fn name_adopted(&self, id: &PoolId) -> Result<bool, StoreError> {
        let _turn = self.turn.lock().await;
        let found: Vec<PoolRecord> =
            self.lock().records.values().filter(|record| record.may_be(id)).cloned().collect();
        let [only] = found.as_slice() else {
            // Another request may have named it meanwhile.
            return Ok(self.lock().records.contains_key(id));
        };
        let before = only.id.clone();
        let source = id.source().or(only.source);
        let record = PoolRecord { id: id.clone(), adopted: false, source, ..only.clone() };
        self.store.write(Batch::default().remove::<PoolRecord>(&before).put(&record)).await?;
        let mut inner = self.lock();
        inner.records.remove(&before);
        inner.records.insert(id.clone(), record);
        Ok(true)
    }

    /// Its network is there.
    pub(crate) async fn bind(&self, id: &PoolId, network: &NetworkId) -> Result<(), StoreError> {
        self.change(id, |record| {
            record.network = Some(network.clone());
            Ok::<_, StoreError>(())
        })
        .await?;
        self.lock().expecting.remove(id);
        self.bound.notify_waiters();
        Ok(())
    }

    /// Changes a pool and stores it before that counts. `None`: there is no such pool.
    pub(crate) async fn change<T, E: From<StoreError>>(
        &self,
        id: &PoolId,
        change: impl FnOnce(&mut PoolRecord) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let _turn = self.turn.lock().await;
        self.change_in_turn(id, change).await
    }

    /// Changes all pools of a network, whatever they are called by the time it is this change's turn.
    pub(crate) async fn change_all_of(
        &self,
        network: &NetworkId,
        change: impl Fn(&mut PoolRecord),
    ) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        for id in self.of_network(network) {
            let changed = self.change_in_turn(&id, |record| {
                change(record);
                Ok::<_, StoreError>(())
            });
            changed.await?;
        }
        Ok(())
    }

    async fn change_in_turn<T, E: From<StoreError>>(
        &self,
        id: &PoolId,
        change: impl FnOnce(&mut PoolRecord) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let Some(before) = self.look(id, PoolRecord::clone) else { return Ok(None) };
        let mut record = before.clone();
        let result = change(&mut record)?;
        if record != before {
            self.store.put(&record).await?;
            self.lock().records.insert(id.clone(), record);
        }
        Ok(Some(result))
    }

    /// Forgets a pool.
    pub(crate) async fn remove(&self, id: &PoolId) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        self.store.remove::<PoolRecord>(id).await?;
        self.drop_from_memory(id);
        Ok(())
    }

    fn drop_from_memory(&self, id: &PoolId) {
        let mut inner = self.lock();
        inner.records.remove(id);
        inner.expecting.remove(id);
        drop(inner);
        self.bound.notify_waiters();
    }
}

impl Inner {
    fn is_of(&self, id: &PoolId, subnet: IpNet) -> bool {
        self.records.get(id).is_some_and(|record| record.pool.subnet() == subnet.trunc())
    }
}

#[cfg(test)]
mod tests {
    use landline_leases::OsRandom;

    use super::*;
    use landline_options::PoolSource;

    #[tokio::test]
    async fn a_pool_that_was_guessed_to_be_none_is_what_docker_calls_it() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&dir.path().join("state")).unwrap();
        let pools = Pools::new(Arc::new(store), Vec::new());
        let pool = super::super::Pool::new("192.0.2.0/24".parse().unwrap(), None).unwrap();
        let name = PoolId::random(&mut OsRandom, Some(PoolSource::Pool), &pool);
        let source = Some(PoolSource::Dhcp);
        let id = PoolId::random(&mut OsRandom, source, &pool);
        let record = PoolRecord { id, source, network: None, pool, adopted: true, guessed: true };
        pools.adopt(record).await.unwrap();
        assert!(pools.recognise(&name).await.unwrap());
        assert_eq!(
            pools.look(&name, |record| (record.source, record.guessed)),
            Some((Some(PoolSource::Pool), true))
        );
    }

    #[tokio::test]
    async fn what_is_noted_while_an_adopted_pool_gets_its_name_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&dir.path().join("state")).unwrap();
        let pools = Pools::new(Arc::new(store), Vec::new());
        let network: NetworkId = "a".repeat(64).parse().unwrap();
        let mut pool = super::super::Pool::new("192.0.2.0/24".parse().unwrap(), None).unwrap();
        let address = "192.0.2.4".parse().unwrap();
        pool.take_named(address, None).unwrap();
        let source = Some(PoolSource::Pool);
        let name = PoolId::random(&mut OsRandom, source, &pool);
        let id = PoolId::random(&mut OsRandom, source, &pool);
        let record =
            PoolRecord { id, source, network: Some(network.clone()), pool, adopted: true, guessed: false };
        pools.adopt(record).await.unwrap();

        let note = pools.change_all_of(&network, |record| record.pool.belongs_to(address, "db"));
        let (named, noted) = tokio::join!(pools.recognise(&name), note);
        assert!(named.unwrap());
        noted.unwrap();
        let error = pools.change(&name, |record| {
            Ok::<_, StoreError>(record.pool.take_named(address, None).unwrap_err().to_string())
        });
        assert_eq!(error.await.unwrap().unwrap(), "192.0.2.4 is in use by db");
    }
}
