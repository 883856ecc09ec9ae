//! What survives a crash: networks, endpoints and their leases, in one redb file.
//!
//! Every write is a durable transaction (fsync) before the call returns, so what was answered was stored.
//! Values are JSON; the file carries a format version, and one that is newer than this program is refused.

use std::io;
use std::path::{Path, PathBuf};

use landline_spec::{EndpointId, NetworkId};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::identity::{IdentityId, IdentityRecord};
use crate::records::{EndpointRecord, NetworkRecord};

/// The format this program writes. Raise it when older programs could not read what newer ones write.
const VERSION: u64 = 1;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const NETWORKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("networks");
const IDENTITIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("identities");
const ENDPOINTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("endpoints");

/// Why the store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed: the disk is full, read-only, damaged, or another daemon has it open.
    #[error("the state file failed")]
    Database(#[source] Box<redb::Error>),
    /// It was written by a newer Landline.
    #[error(
        "the state file has format {found}, this Landline knows up to {VERSION}; install the newer one again"
    )]
    Newer {
        /// The format of the file.
        found: u64,
    },
    /// A record is not what it should be.
    #[error("the state file has a record that cannot be read ({table}, {key})")]
    Record {
        /// The table it is in.
        table: String,
        /// Its key.
        key: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl StoreError {
    /// Whether what is in the file makes no sense, as against not being able to get at it.
    fn is_damage(&self) -> bool {
        match self {
            Self::Newer { .. } => false,
            Self::Record { .. } => true,
            Self::Database(error) => match &**error {
                redb::Error::Corrupted(_)
                | redb::Error::UpgradeRequired(_)
                | redb::Error::TableTypeMismatch { .. } => true,
                // A file that is no database, or ends too early.
                redb::Error::Io(error) => {
                    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
                }
                _ => false,
            },
        }
    }
}

/// Renames a damaged file to the first free `NAME.damaged-N`.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    for n in 1..1000 {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{n}"));
        let aside = PathBuf::from(name);
        if !aside.exists() {
            std::fs::rename(path, &aside)?;
            return Ok(aside);
        }
    }
    Err(io::Error::other("too many damaged state files are kept already"))
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// The store. Calls block for the time of a disk write.
#[derive(Debug)]
pub struct Store {
    db: Database,
}

impl Store {
    /// Opens the file, making it if it is not there. One that is damaged is set aside under another name, said in
    /// the log, and a new one begun: what is in the kernel, in Docker and on the LAN is found again there.
    ///
    /// # Errors
    /// See [`StoreError`]. A file of a newer version, and one that cannot be read or written (a full or read-only
    /// disk), are errors.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        match Self::open_whole(path) {
            Err(error) if error.is_damage() => {
                let aside = set_aside(path).map_err(redb::Error::Io)?;
                tracing::error!(
                    error = %crate::chain(&error),
                    "the state file is damaged; it is kept as {} and a new one is begun", aside.display()
                );
                Self::open_whole(path)
            }
            opened => opened,
        }
    }

    /// Opens the file and reads all of it once: damage shows now or not at all.
    fn open_whole(path: &Path) -> Result<Self, StoreError> {
        let store = Self::prepare(Database::create(path)?)?;
        store.networks()?;
        store.endpoints()?;
        store.identities()?;
        Ok(store)
    }

    fn prepare(db: Database) -> Result<Self, StoreError> {
        let write = db.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let found = meta.get("version")?.map_or(VERSION, |v| v.value());
            if found > VERSION {
                return Err(StoreError::Newer { found });
            }
            meta.insert("version", VERSION)?;
            // Made now so that reading never meets a missing table.
            write.open_table(NETWORKS)?;
            write.open_table(ENDPOINTS)?;
            write.open_table(IDENTITIES)?;
        }
        write.commit()?;
        Ok(Self { db })
    }

    /// All networks.
    pub fn networks(&self) -> Result<Vec<NetworkRecord>, StoreError> {
        self.all(NETWORKS)
    }

    /// All endpoints.
    pub fn endpoints(&self) -> Result<Vec<EndpointRecord>, StoreError> {
        self.all(ENDPOINTS)
    }

    /// All identities.
    pub fn identities(&self) -> Result<Vec<IdentityRecord>, StoreError> {
        self.all(IDENTITIES)
    }

    /// Writes an identity, replacing what was there.
    pub fn put_identity(&self, record: &IdentityRecord) -> Result<(), StoreError> {
        self.put(IDENTITIES, record.id.as_str(), record)
    }

    /// Forgets an identity.
    pub fn remove_identity(&self, id: &IdentityId) -> Result<(), StoreError> {
        self.remove(IDENTITIES, id.as_str())
    }

    /// Writes an endpoint and its identity, both or neither.
    pub fn begin_endpoint(
        &self,
        endpoint: &EndpointRecord,
        identity: &IdentityRecord,
    ) -> Result<(), StoreError> {
        let write = self.db.begin_write()?;
        insert(&write, ENDPOINTS, endpoint.id.as_str(), endpoint)?;
        insert(&write, IDENTITIES, identity.id.as_str(), identity)?;
        Ok(write.commit()?)
    }

    /// Forgets an endpoint and writes what became of its identity, both or neither.
    pub fn end_endpoint(&self, id: &EndpointId, identity: Option<&IdentityRecord>) -> Result<(), StoreError> {
        let write = self.db.begin_write()?;
        write.open_table(ENDPOINTS)?.remove(id.as_str())?;
        if let Some(identity) = identity {
            insert(&write, IDENTITIES, identity.id.as_str(), identity)?;
        }
        Ok(write.commit()?)
    }

    /// Writes a network, replacing what was there.
    pub fn put_network(&self, record: &NetworkRecord) -> Result<(), StoreError> {
        self.put(NETWORKS, record.id.as_str(), record)
    }

    /// Writes an endpoint that is stored already.
    pub fn put_endpoint(&self, record: &EndpointRecord) -> Result<(), StoreError> {
        self.put(ENDPOINTS, record.id.as_str(), record)
    }

    /// Forgets a network.
    pub fn remove_network(&self, id: &NetworkId) -> Result<(), StoreError> {
        self.remove(NETWORKS, id.as_str())
    }

    fn all<T: DeserializeOwned>(
        &self,
        table: TableDefinition<'_, &str, &[u8]>,
    ) -> Result<Vec<T>, StoreError> {
        let read = self.db.begin_read()?;
        let rows = read.open_table(table)?;
        let mut found = Vec::new();
        for row in rows.iter()? {
            let (key, value) = row?;
            let record = serde_json::from_slice(value.value()).map_err(|source| StoreError::Record {
                table: redb::TableHandle::name(&table).to_owned(),
                key: key.value().to_owned(),
                source,
            })?;
            found.push(record);
        }
        Ok(found)
    }

    fn put<T: Serialize>(
        &self,
        table: TableDefinition<'_, &str, &[u8]>,
        key: &str,
        record: &T,
    ) -> Result<(), StoreError> {
        let write = self.db.begin_write()?;
        insert(&write, table, key, record)?;
        Ok(write.commit()?)
    }

    fn remove(&self, table: TableDefinition<'_, &str, &[u8]>, key: &str) -> Result<(), StoreError> {
        let write = self.db.begin_write()?;
        write.open_table(table)?.remove(key)?;
        Ok(write.commit()?)
    }
}

fn insert<T: Serialize>(
    write: &WriteTransaction,
    table: TableDefinition<'_, &str, &[u8]>,
    key: &str,
    record: &T,
) -> Result<(), StoreError> {
    let value = serde_json::to_vec(record).map_err(|source| StoreError::Record {
        table: redb::TableHandle::name(&table).to_owned(),
        key: key.to_owned(),
        source,
    })?;
    write.open_table(table)?.insert(key, value.as_slice())?;
    Ok(())
}

#[cfg(test)]
mod tests;
