//! What survives a crash, in one redb file: records of any kind, a table for each kind.
//!
//! Every write is part of a durable transaction (fsync) before it is answered, so what was answered was stored. Writes
//! that wait at the same time share one transaction. Values are JSON; the file carries a format version, and a file of a
//! newer version is refused. The store knows no kind of record: each is declared beside its feature, as a [`Record`].

mod disk;
mod error;
mod rescue;
mod rows;
mod writer;

use std::path::Path;
use std::sync::Arc;

use disk::{Change, Disk};
pub use error::StoreError;
pub use landline_model::Record;
pub use rows::Rows;
pub use writer::Stored;
use writer::Writer;

/// The format this program writes. Raise it when older programs could not read what newer ones write.
const VERSION: u64 = 1;

/// Changes that are stored together, all of them or none.
#[derive(Debug, Default)]
#[must_use = "nothing is stored until it is written"]
pub struct Batch {
    changes: Vec<Change>,
    unfit: Option<StoreError>,
}

impl Batch {
    /// Writes a record, replacing the one with its key.
    pub fn put<R: Record>(mut self, record: &R) -> Self {
        let (table, key) = (R::TABLE, record.key().to_string());
        match serde_json::to_vec(record) {
            Ok(value) => self.changes.push(Change { table: table.into(), key, value: Some(value) }),
            Err(source) => {
                let (table, source) = (table.to_owned(), Arc::new(source));
                self.unfit = Some(StoreError::Record { table, key, source });
            }
        }
        self
    }

    /// Removes the record with this key, if there is one.
    pub fn remove<R: Record>(mut self, key: &R::Key) -> Self {
        self.changes.push(Change { table: R::TABLE.into(), key: key.to_string(), value: None });
        self
    }
}

/// The store.
///
/// Changes are stored in the order in which they were asked for, whether or not the answer is waited for. A write that
/// fails changes nothing, and the next one starts over with the file: a disk that was full or read-only for a while is
/// used again as soon as it can be.
#[derive(Debug)]
pub struct Store {
    writer: Writer,
    /// How many writes still reach the disk.
    #[cfg(any(test, feature = "testing"))]
    left: std::sync::atomic::AtomicUsize,
    #[cfg(any(test, feature = "testing"))]
    written: std::sync::atomic::AtomicUsize,
}

impl Store {
    /// Opens the file, making it if it is not there, and reads it.
    ///
    /// A file that is damaged is kept under another name, and what can be read of it goes into a new one; the log says what
    /// was lost. What is in the kernel, in Docker and on the LAN is found again there. A file that can be read but not
    /// written is used as it is: what runs goes on, and nothing new can be answered until the file can be written.
    ///
    /// # Errors
    /// See [`StoreError`]: a file of a newer version, one that cannot be read, and one that cannot be made.
    pub fn open(path: &Path) -> Result<(Self, Rows), StoreError> {
        let (disk, rows) = Disk::open(path)?;
        let writer = Writer::start(disk)?;
        let store = Self {
            writer,
            #[cfg(any(test, feature = "testing"))]
            left: usize::MAX.into(),
            #[cfg(any(test, feature = "testing"))]
            written: 0.into(),
        };
        Ok((store, rows))
    }

    /// Writes a record, replacing the one with its key.
    pub fn put<R: Record>(&self, record: &R) -> Stored {
        self.write(Batch::default().put(record))
    }

    /// Removes the record with this key, if there is one.
    pub fn remove<R: Record>(&self, key: &R::Key) -> Stored {
        self.write(Batch::default().remove::<R>(key))
    }

    /// Makes these changes, all of them or none.
    pub fn write(&self, batch: Batch) -> Stored {
        #[cfg(any(test, feature = "testing"))]
        if !self.reaches_the_disk() {
            return Stored::refused(StoreError::Ended);
        }
        match batch.unfit {
            Some(error) => Stored::refused(error),
            None => self.writer.write(batch.changes),
        }
    }

    /// No write but the next few reaches the disk from now on.
    #[cfg(any(test, feature = "testing"))]
    pub fn break_after(&self, writes: usize) {
        self.left.store(writes, std::sync::atomic::Ordering::Relaxed);
        self.written.store(0, std::sync::atomic::Ordering::Relaxed);
    }

    /// How many writes there were since [`Self::break_after`] was last called.
    #[cfg(any(test, feature = "testing"))]
    pub fn written(&self) -> usize {
        self.written.load(std::sync::atomic::Ordering::Relaxed)
    }

    #[cfg(any(test, feature = "testing"))]
    fn reaches_the_disk(&self) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        self.written.fetch_add(1, Relaxed);
        self.left.load(Relaxed) == usize::MAX
            || self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// How many transactions were committed since the file was opened.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    /// Why the last write failed; `None`: it succeeded, or there was none yet.
    pub fn failure(&self) -> Option<String> {
        self.writer.failure()
    }

    /// Writes nothing, durably: finds out whether the file can be written now.
    pub fn probe(&self) -> Stored {
        self.write(Batch::default())
    }
}

#[cfg(test)]
mod tests;
