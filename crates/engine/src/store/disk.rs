//! The file itself: opening it whole, damaged or read-only, and starting over after a failure.

use std::io;
use std::path::{Path, PathBuf};

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend as _, WriteTransaction};
use serde::de::DeserializeOwned;

use super::{
    ACCESS, ATTACHMENTS, Content, ENDPOINTS, HOST_LEASES, IDENTITIES, KEPT_MACS, LOOSENED, META, NAT,
    NETWORKS, OPENINGS, POOLS, StoreError, Table, VERSION,
};

#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    /// Open, unless the last attempt to write failed.
    db: Option<Database>,
}

impl Disk {
    pub(super) fn open(path: &Path) -> Result<(Self, Content), StoreError> {
        let (db, content) = match open_whole(path) {
            Err(error) if error.is_damage() => {
                let aside = set_aside(path).map_err(redb::Error::Io)?;
                let error = crate::chain(&error);
                tracing::error!(
                    error,
                    "the state file is damaged; kept as {}, a new one is begun",
                    aside.display()
                );
                open_whole(path).map(|(db, content)| (Some(db), content))?
            }
            Err(error) if error.is_read_only() => {
                let content = read_copy(path)?;
                let error = crate::chain(&error);
                tracing::error!(
                    error,
                    "the state cannot be written; what runs goes on, nothing new can start"
                );
                (None, content)
            }
            opened => opened.map(|(db, content)| (Some(db), content))?,
        };
        Ok((Self { path: path.to_owned(), db }, content))
    }

    /// One durable transaction. A failure closes the file; the next call opens it again, because after a failed
    /// write the database refuses everything.
    pub(super) fn write(
        &mut self,
        change: &dyn Fn(&WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let db = match self.db.take() {
            Some(db) => db,
            None => prepare(Database::create(&self.path)?)?,
        };
        transact(&db, change)?;
        self.db = Some(db);
        Ok(())
    }
}

pub(super) fn transact(
    db: &Database,
    change: &dyn Fn(&WriteTransaction) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let write = db.begin_write()?;
    change(&write)?;
    Ok(write.commit()?)
}

/// Opens the file and reads all of it once: damage shows now or not at all.
fn open_whole(path: &Path) -> Result<(Database, Content), StoreError> {
    let db = prepare(Database::create(path)?)?;
    let content = read(&db)?;
    Ok((db, content))
}

/// What is in a file that cannot be written: after a crash it wants to be repaired before it can be read, so a copy in
/// memory is. Without a file there is nothing in it.
pub(super) fn read_copy(path: &Path) -> Result<Content, StoreError> {
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
            transact(&db, &|write| {
                write.open_table(META)?.insert("version", VERSION)?;
                for table in [NETWORKS, ENDPOINTS, IDENTITIES] {
                    write.open_table(table)?;
                }
                Ok(())
            })?;
            Ok(db)
        }
    }
}

pub(super) fn read(db: &impl ReadableDatabase) -> Result<Content, StoreError> {
    Ok(Content {
        networks: all(db, NETWORKS)?,
        endpoints: all(db, ENDPOINTS)?,
        identities: all(db, IDENTITIES)?,
        host_leases: all(db, HOST_LEASES)?,
        access: all(db, ACCESS)?,
        nat: all(db, NAT)?,
        loosened: all(db, LOOSENED)?,
        pools: all(db, POOLS)?,
        attachments: all(db, ATTACHMENTS)?,
        openings: all(db, OPENINGS)?,
        kept_macs: all(db, KEPT_MACS)?,
    })
}

fn all<T: DeserializeOwned>(db: &impl ReadableDatabase, table: Table) -> Result<Vec<T>, StoreError> {
    let read = db.begin_read()?;
    let rows = match read.open_table(table) {
        // The file is from before there were such records.
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        opened => opened?,
    };
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
