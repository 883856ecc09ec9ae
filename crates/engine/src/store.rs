//! What survives a crash: networks, endpoints and their leases, in one redb file.
//!
//! Every write is a durable transaction (fsync) before the call returns, so what was answered was stored.
//! Values are JSON; the file carries a format version, and one that is newer than this program is refused.

mod disk;

use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use landline_model::{IdentityId, IdentityRecord, NatOwner};
use landline_spec::{Access, EndpointId, NetworkId};
use landline_types::IfName;
use redb::{TableDefinition, WriteTransaction};
use serde::Serialize;

use crate::attach::{AttachmentId, AttachmentRecord};
use crate::bridge_mac::KeptMac;
use crate::doctor::OpeningRecord;
use crate::host_access::LoosenedRecord;
use crate::host_lease::HostLease;
use crate::nat::NatRecord;
use crate::pools::{PoolId, PoolRecord};
use crate::records::{EndpointRecord, NetworkRecord};
use disk::Disk;

/// The format this program writes. Raise it when older programs could not read what newer ones write.
const VERSION: u64 = 1;

type Table = TableDefinition<'static, &'static str, &'static [u8]>;

const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");
const NETWORKS: Table = TableDefinition::new("networks");
const ENDPOINTS: Table = TableDefinition::new("endpoints");
const IDENTITIES: Table = TableDefinition::new("identities");
const HOST_LEASES: Table = TableDefinition::new("host_leases");
const ACCESS: Table = TableDefinition::new("host_access");
const NAT: Table = TableDefinition::new("nat");
const LOOSENED: Table = TableDefinition::new("loosened");
const POOLS: Table = TableDefinition::new("pools");
const ATTACHMENTS: Table = TableDefinition::new("attachments");
const OPENINGS: Table = TableDefinition::new("openings");
const KEPT_MACS: Table = TableDefinition::new("kept_macs");

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
    /// Whether the file can be read but not written.
    fn is_read_only(&self) -> bool {
        let Self::Database(error) = self else { return false };
        matches!(&**error, redb::Error::Io(error)
            if matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied | io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

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

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// Everything that was stored.
#[derive(Debug, Default, PartialEq)]
pub struct Content {
    /// All networks.
    pub networks: Vec<NetworkRecord>,
    /// All endpoints.
    pub endpoints: Vec<EndpointRecord>,
    /// All identities.
    pub identities: Vec<IdentityRecord>,
    /// The host's own addresses that are to be renewed.
    pub host_leases: Vec<HostLease>,
    /// All networks the host was given access to.
    pub access: Vec<Access>,
    /// All containers with an address on the host.
    pub nat: Vec<NatRecord>,
    /// All NICs whose reverse path filter was changed.
    pub loosened: Vec<LoosenedRecord>,
    /// All pools of the IPAM driver.
    pub pools: Vec<PoolRecord>,
    /// All attachments.
    pub attachments: Vec<AttachmentRecord>,
    /// All bridges that are let through the host's firewall on the administrator's word.
    pub openings: Vec<OpeningRecord>,
    /// All bridges whose hardware address was set so that it stays.
    pub kept_macs: Vec<KeptMac>,
}

/// The store. Calls block for the time of a disk write.
///
/// A write that fails changes nothing, and the next one starts over with the file: a disk that was full or
/// read-only for a while is used again as soon as it can be.
#[derive(Debug)]
pub struct Store {
    disk: Mutex<Disk>,
}

impl Store {
    /// Opens the file, making it if it is not there, and reads it.
    ///
    /// One that is damaged is set aside under another name, said in the log, and a new one begun: what is in the
    /// kernel, in Docker and on the LAN is found again there. One that can be read but not written is used
    /// as it is: what runs goes on, and nothing new can be answered until it can be written.
    ///
    /// # Errors
    /// See [`StoreError`]: a file of a newer version, one that cannot be read, and one that cannot be made.
    pub fn open(path: &Path) -> Result<(Self, Content), StoreError> {
        let (disk, content) = Disk::open(path)?;
        Ok((Self { disk: Mutex::new(disk) }, content))
    }

    fn write(&self, change: impl Fn(&WriteTransaction) -> Result<(), StoreError>) -> Result<(), StoreError> {
        // A transaction that was not committed leaves nothing, so a panic under the lock does not either.
        self.disk.lock().unwrap_or_else(PoisonError::into_inner).write(&change)
    }

    /// Writes an identity, replacing what was there.
    pub fn put_identity(&self, record: &IdentityRecord) -> Result<(), StoreError> {
        self.put(IDENTITIES, record.id.as_str(), record)
    }

    /// Forgets an identity.
    pub fn remove_identity(&self, id: &IdentityId) -> Result<(), StoreError> {
        self.remove(IDENTITIES, id.as_str())
    }

    /// Writes a pool, replacing what was there.
    pub fn put_pool(&self, record: &PoolRecord) -> Result<(), StoreError> {
        self.put(POOLS, record.id.as_str(), record)
    }

    /// Forgets a pool.
    pub fn remove_pool(&self, id: &PoolId) -> Result<(), StoreError> {
        self.remove(POOLS, id.as_str())
    }

    /// Writes a pool under the name it has now, and forgets it under the one before, both or neither.
    pub fn rename_pool(&self, before: &PoolId, record: &PoolRecord) -> Result<(), StoreError> {
        self.write(|write| {
            write.open_table(POOLS)?.remove(before.as_str())?;
            insert(write, POOLS, record.id.as_str(), record)
        })
    }

    /// Writes an endpoint and its identity, both or neither.
    pub fn begin_endpoint(
        &self,
        endpoint: &EndpointRecord,
        identity: &IdentityRecord,
    ) -> Result<(), StoreError> {
        self.write(|write| {
            insert(write, ENDPOINTS, endpoint.id.as_str(), endpoint)?;
            insert(write, IDENTITIES, identity.id.as_str(), identity)
        })
    }

    /// Forgets an endpoint and writes what became of its identity, both or neither.
    pub fn end_endpoint(&self, id: &EndpointId, identity: Option<&IdentityRecord>) -> Result<(), StoreError> {
        self.write(|write| {
            write.open_table(ENDPOINTS)?.remove(id.as_str())?;
            identity.map_or(Ok(()), |identity| insert(write, IDENTITIES, identity.id.as_str(), identity))
        })
    }

    /// Writes an address of the host's that is to be renewed.
    pub fn put_host_lease(&self, lease: &HostLease) -> Result<(), StoreError> {
        self.put(HOST_LEASES, lease.interface.as_str(), lease)
    }

    /// Forgets the address on this interface.
    pub fn remove_host_lease(&self, interface: &IfName) -> Result<(), StoreError> {
        self.remove(HOST_LEASES, interface.as_str())
    }

    /// Writes a network, replacing what was there.
    pub fn put_network(&self, record: &NetworkRecord) -> Result<(), StoreError> {
        self.put(NETWORKS, record.id.as_str(), record)
    }

    /// Writes an endpoint that is stored already.
    pub fn put_endpoint(&self, record: &EndpointRecord) -> Result<(), StoreError> {
        self.put(ENDPOINTS, record.id.as_str(), record)
    }

    /// Writes an attachment, replacing what was there.
    pub fn put_attachment(&self, record: &AttachmentRecord) -> Result<(), StoreError> {
        self.put(ATTACHMENTS, &record.id.to_string(), record)
    }

    /// Forgets an attachment.
    pub fn remove_attachment(&self, id: &AttachmentId) -> Result<(), StoreError> {
        self.remove(ATTACHMENTS, &id.to_string())
    }

    /// Forgets a network.
    pub fn remove_network(&self, id: &NetworkId) -> Result<(), StoreError> {
        self.remove(NETWORKS, id.as_str())
    }

    /// Writes what was asked for a network's host access, replacing what was there.
    pub fn put_access(&self, record: &Access) -> Result<(), StoreError> {
        self.put(ACCESS, &record.network, record)
    }

    /// Forgets a network's host access.
    pub fn remove_access(&self, network: &str) -> Result<(), StoreError> {
        self.remove(ACCESS, network)
    }

    /// Writes a container's address on the host.
    pub fn put_nat(&self, record: &NatRecord) -> Result<(), StoreError> {
        self.put(NAT, &record.owner.to_string(), record)
    }

    /// Forgets it.
    pub fn remove_nat(&self, owner: &NatOwner) -> Result<(), StoreError> {
        self.remove(NAT, &owner.to_string())
    }

    /// Writes what a NIC's reverse path filter was.
    pub fn put_loosened(&self, record: &LoosenedRecord) -> Result<(), StoreError> {
        self.put(LOOSENED, record.parent.as_str(), record)
    }

    /// Forgets it.
    pub fn remove_loosened(&self, parent: &IfName) -> Result<(), StoreError> {
        self.remove(LOOSENED, parent.as_str())
    }

    /// Writes that a bridge is let through the host's firewall.
    pub fn put_opening(&self, record: &OpeningRecord) -> Result<(), StoreError> {
        self.put(OPENINGS, record.bridge.as_str(), record)
    }

    /// Forgets it.
    pub fn remove_opening(&self, bridge: &IfName) -> Result<(), StoreError> {
        self.remove(OPENINGS, bridge.as_str())
    }

    /// Writes that a bridge's hardware address was set.
    pub fn put_kept_mac(&self, record: &KeptMac) -> Result<(), StoreError> {
        self.put(KEPT_MACS, record.bridge.as_str(), record)
    }

    /// Forgets it.
    pub fn remove_kept_mac(&self, bridge: &IfName) -> Result<(), StoreError> {
        self.remove(KEPT_MACS, bridge.as_str())
    }

    fn put<T: Serialize>(&self, table: Table, key: &str, record: &T) -> Result<(), StoreError> {
        self.write(|write| insert(write, table, key, record))
    }

    fn remove(&self, table: Table, key: &str) -> Result<(), StoreError> {
        self.write(|write| {
            write.open_table(table)?.remove(key)?;
            Ok(())
        })
    }
}

fn insert<T: Serialize>(
    write: &WriteTransaction,
    table: Table,
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
