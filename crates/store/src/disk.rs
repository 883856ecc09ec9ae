//! The file itself: opening it whole, damaged or read-only, and starting over after a failure.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use redb::backends::InMemoryBackend;
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata as _, StorageBackend as _,
    TableDefinition, TableHandle as _,
};

use super::rescue::{rescue, shielded};
use super::rows::Rows;
use super::{StoreError, VERSION};

pub(super) const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");

/// A change of one row.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) table: Cow<'static, str>,
    pub(super) key: String,
    /// What is written there; `None`: the row is removed.
    pub(super) value: Option<Vec<u8>>,
}

pub(super) fn table(name: &str) -> TableDefinition<'_, &'static str, &'static [u8]> {
    TableDefinition::new(name)
}

#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// Open, unless the last attempt to write failed.
    db: Option<Database>,
}

impl Disk {
    pub(super) fn open(path: &Path) -> Result<(Self, Rows), StoreError> {
        let bytes = std::fs::read(path).unwrap_or_default();
        let mut incomplete = bytes.is_empty();
        let (db, mut rows) = match open_whole(path) {
            Err(error) if error.is_damage() => {
                incomplete = true;
                rescue(path, &bytes, &error)?;
                open_whole(path).map(|(db, rows)| (Some(db), rows))?
            }
            Err(error) if error.is_read_only() => {
                let rows = read_copy(path)?;
                let error = landline_types::chain(&error);
                tracing::error!(
                    error,
                    "the state cannot be written; what runs goes on, nothing new can start"
                );
                (None, rows)
            }
            opened => opened.map(|(db, rows)| (Some(db), rows))?,
        };
        rows.incomplete = incomplete;
        Ok((Self { path: path.to_owned(), db }, rows))
    }

    /// A file that is open, or is to be opened by the first write.
    #[cfg(test)]
    pub(super) fn of(path: &Path, db: Option<Database>) -> Self {
        Self { path: path.to_owned(), db }
    }

    /// One durable transaction. A failure closes the file; the next call opens it again, because after a failed
    /// write the database refuses everything.
    pub(super) fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let open = self.db.take();
        let written = shielded(|| {
            let db = match open {
                Some(db) => db,
                None => prepare(Database::create(&self.path)?)?,
            };
            transact(&db, changes)?;
            Ok(db)
        });
        self.db = Some(written?);
        Ok(())
    }
}

pub(super) fn transact(db: &Database, changes: &[Change]) -> Result<(), StoreError> {
    let write = db.begin_write()?;
    for change in changes {
        let mut rows = write.open_table(table(&change.table))?;
        match &change.value {
            Some(value) => drop(rows.insert(change.key.as_str(), value.as_slice())?),
            None => drop(rows.remove(change.key.as_str())?),
        }
    }
    Ok(write.commit()?)
}

/// Opens the file, checks it and reads all of it once: damage shows now or not at all.
fn open_whole(path: &Path) -> Result<(Database, Rows), StoreError> {
    shielded(|| {
        let mut db = prepare(Database::create(path)?)?;
        db.check_integrity()?;
        let rows = read(&db)?;
        Ok((db, rows))
    })
}

/// What is in a file that cannot be written: after a crash it wants to be repaired before it can be read, so a copy in
/// memory is. Without a file there is nothing in it.
pub(super) fn read_copy(path: &Path) -> Result<Rows, StoreError> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes.map_err(redb::Error::Io)?,
    };
    shielded(|| {
        let copy = InMemoryBackend::new();
        copy.set_len(bytes.len() as u64).and_then(|()| copy.write(0, &bytes)).map_err(redb::Error::Io)?;
        read(&prepare(Database::builder().create_with_backend(copy)?)?)
    })
}

/// Checks the format, and makes what a new file lacks.
pub(super) fn prepare(db: Database) -> Result<Database, StoreError> {
    if !has_format(&db)? {
        let write = db.begin_write()?;
        write.open_table(META)?.insert("version", VERSION)?;
        write.commit()?;
    }
    Ok(db)
}

/// Whether the file says which format it has; a newer one than this program's is an error.
pub(super) fn has_format(db: &impl ReadableDatabase) -> Result<bool, StoreError> {
    let found = match db.begin_read()?.open_table(META) {
        Ok(meta) => meta.get("version")?.map(|version| version.value()),
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    match found {
        Some(found) if found > VERSION => Err(StoreError::Newer { found }),
        found => Ok(found.is_some()),
    }
}

pub(super) fn read(db: &impl ReadableDatabase) -> Result<Rows, StoreError> {
    let read = db.begin_read()?;
    let mut all = Rows::default();
    for handle in read.list_tables()?.filter(|handle| handle.name() != META.name()) {
        let rows = read.open_table(table(handle.name()))?;
        let mut found = Vec::new();
        for row in rows.iter()? {
            let (key, value) = row?;
            found.push((key.value().to_owned(), value.value().to_vec()));
        }
        if rows.len()? != found.len() as u64 {
            let why = format!("{} of {} rows of {} can be read", found.len(), rows.len()?, handle.name());
            return Err(redb::Error::Corrupted(why).into());
        }
        all.tables.insert(handle.name().to_owned(), found);
    }
    Ok(all)
}
