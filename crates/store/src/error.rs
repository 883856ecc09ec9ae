//! Why the store could not be used.

use std::io;
use std::sync::Arc;

use super::VERSION;

/// Why the store could not be used.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database failed: the disk is full, read-only, damaged, or another daemon has it open.
    #[error("the state file failed")]
    Database(#[source] Arc<redb::Error>),
    /// It was written by a newer Landline.
    #[error(
        "the state file has format {found}, this Landline knows up to {VERSION}; install the newer one again"
    )]
    Newer {
        /// The format of the file.
        found: u64,
    },
    /// A record cannot be written as JSON.
    #[error("a record cannot be stored ({table}, {key})")]
    Record {
        /// The table it is for.
        table: String,
        /// Its key.
        key: String,
        /// What is wrong with it.
        #[source]
        source: Arc<serde_json::Error>,
    },
    /// The thread that writes could not be started, or has ended.
    #[error("the state file is not written any more; restart Landline")]
    Ended,
}

impl StoreError {
    /// Whether the file can be read but not written.
    pub(super) fn is_read_only(&self) -> bool {
        let Self::Database(error) = self else { return false };
        matches!(&**error, redb::Error::Io(error)
            if matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied | io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// Whether what is in the file makes no sense, as against not being able to get at it.
    pub(super) fn is_damage(&self) -> bool {
        let Self::Database(error) = self else { return false };
        match &**error {
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::TableTypeMismatch { .. } => true,
            // A file that is no database, or ends too early.
            redb::Error::Io(error) => {
                matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
            }
            _ => false,
        }
    }
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(Arc::new(error.into()))
    }
}
