//! The file itself: opening it whole, damaged or read-only, and starting over after a failure.

use std::io;
use std::path::{Path, PathBuf};

use redb::backends::InMemoryBackend;
use redb::{
    Database, ReadableDatabase, ReadableTable, StorageBackend as _, TableDefinition, TableHandle as _,
};

use super::rows::Rows;
use super::{StoreError, VERSION};

pub(super) const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");

/// A change of one row.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) table: &'static str,
    pub(super) key: String,
    /// What is written there; `None`: the row is removed.
    pub(super) value: Option<Vec<u8>>,
}

fn table(name: &str) -> TableDefinition<'_, &'static str, &'static [u8]> {
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
        let (db, rows) = match open_whole(path) {
            Err(error) if error.is_damage() => {
                let aside = set_aside(path).map_err(redb::Error::Io)?;
                let error = landline_types::chain(&error);
                tracing::error!(
                    error,
                    "the state file is damaged; kept as {}, a new one is begun",
                    aside.display()
                );
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
        let db = match self.db.take() {
            Some(db) => db,
            None => prepare(Database::create(&self.path)?)?,
        };
        transact(&db, changes)?;
        self.db = Some(db);
        Ok(())
    }
}

pub(super) fn transact(db: &Database, changes: &[Change]) -> Result<(), StoreError> {
    let write = db.begin_write()?;
    for change in changes {
        let mut rows = write.open_table(table(change.table))?;
        match &change.value {
            Some(value) => drop(rows.insert(change.key.as_str(), value.as_slice())?),
            None => drop(rows.remove(change.key.as_str())?),
        }
    }
    Ok(write.commit()?)
}

/// Opens the file and reads all of it once: damage shows now or not at all.
fn open_whole(path: &Path) -> Result<(Database, Rows), StoreError> {
    let db = prepare(Database::create(path)?)?;
    let rows = read(&db)?;
    Ok((db, rows))
}

/// What is in a file that cannot be written: after a crash it wants to be repaired before it can be read, so a copy in
/// memory is. Without a file there is nothing in it.
pub(super) fn read_copy(path: &Path) -> Result<Rows, StoreError> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        bytes => bytes.map_err(redb::Error::Io)?,
    };
    let copy = InMemoryBackend::new();
    copy.set_len(bytes.len() as u64).and_then(|()| copy.write(0, &bytes)).map_err(redb::Error::Io)?;
    read(&prepare(Database::builder().create_with_backend(copy)?)?)
}

/// Checks the format, and makes what a new file lacks.
pub(super) fn prepare(db: Database) -> Result<Database, StoreError> {
    let found = match db.begin_read()?.open_table(META) {
        Ok(meta) => meta.get("version")?.map(|version| version.value()),
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    match found {
        Some(found) if found > VERSION => Err(StoreError::Newer { found }),
        Some(_) => Ok(db),
        None => {
            let write = db.begin_write()?;
            write.open_table(META)?.insert("version", VERSION)?;
            write.commit()?;
            Ok(db)
        }
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
        all.tables.insert(handle.name().to_owned(), found);
    }
    Ok(all)
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
