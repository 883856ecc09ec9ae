//! What can still be read of a damaged file, and the new file that it goes into.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{
    Database, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _,
    ReadableTableMetadata as _, TableHandle as _,
};

use super::StoreError;
use super::disk::{Change, META, has_format, prepare, table, transact};

type Table = ReadOnlyTable<&'static str, &'static [u8]>;

/// What was read of a damaged file.
#[derive(Debug, Default)]
struct Rescued {
    tables: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// What was not, in words.
    lost: Vec<String>,
}

/// Runs what reads or writes a file that may be damaged. The database panics at some kinds of damage; that is an error
/// like the others.
pub(super) fn shielded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(redb::Error::Corrupted("its contents contradict each other".into()).into()))
}

/// Puts a file with all that can be read of a damaged one into its place, and keeps the damaged one beside it. `bytes`: its
/// contents before it was opened. Only a file that was closed properly is read in part: the database refuses to repair
/// one that was in use and of which some is damaged.
pub(super) fn rescue(path: &Path, bytes: &[u8], damage: &StoreError) -> Result<(), StoreError> {
    let aside = free_name(path).map_err(redb::Error::Io)?;
    if let Err(error) = std::fs::write(&aside, bytes) {
        drop(std::fs::remove_file(&aside));
        return Err(redb::Error::Io(error).into());
    }
    let rescued = match shielded(|| read(&aside)) {
        Err(error @ StoreError::Newer { .. }) => {
            drop(std::fs::remove_file(&aside));
            return Err(error);
        }
        read => read.ok(),
    };
    let error = landline_types::chain(damage);
    let aside = aside.display();
    let Some(rescued) = rescued else {
        std::fs::remove_file(path).map_err(redb::Error::Io)?;
        tracing::error!(error, "the state file is damaged; kept as {aside}, a new one is begun");
        return Ok(());
    };
    replace(path, &rescued)?;
    let lost = if rescued.lost.is_empty() { "nothing".to_owned() } else { rescued.lost.join(", ") };
    tracing::error!(
        error,
        lost,
        "the state file is damaged; kept as {aside}, a new one has what could be read"
    );
    Ok(())
}

/// Reads each table from a database of its own: one in which the reading of a table has panicked is not used again.
fn read(path: &Path) -> Result<Rescued, StoreError> {
    // That may be damaged as well; then each row shows whether it can be read.
    if let Err(error @ StoreError::Newer { .. }) =
        shielded(|| has_format(&ReadOnlyDatabase::open(path)?).map(drop))
    {
        return Err(error);
    }
    let all = ReadOnlyDatabase::open(path)?.begin_read()?;
    let names = all.list_tables()?.map(|handle| handle.name().to_owned());
    let names: Vec<String> = names.filter(|name| name != META.name()).collect();
    let mut rescued = Rescued::default();
    for name in names {
        let mut rows = BTreeMap::new();
        let mut all = None;
        let read = shielded(|| {
            read_table(path, &name, |table| {
                all = Some(table.len()?);
                take(table.iter()?, &mut rows)
            })
        });
        if read.is_err() || all != Some(rows.len() as u64) {
            // What is behind the damage is reached from the end.
            drop(shielded(|| read_table(path, &name, |table| take(table.iter()?.rev(), &mut rows))));
            rescued.lost.push(match all.map(|all| all.saturating_sub(rows.len() as u64)) {
                Some(lost) => format!("{lost} rows of {name}"),
                None => format!("all rows of {name}"),
            });
        }
        rescued.tables.insert(name, rows);
    }
    Ok(rescued)
}

fn read_table(
    path: &Path,
    name: &str,
    read: impl FnOnce(&Table) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    read(&ReadOnlyDatabase::open(path)?.begin_read()?.open_table(table(name))?)
}

/// Takes rows until one cannot be read.
fn take<'a>(
    from: impl Iterator<Item = Result<Row<'a>, redb::StorageError>>,
    rows: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), StoreError> {
    for row in from {
        let (key, value) = row?;
        rows.insert(key.value().to_owned(), value.value().to_vec());
    }
    Ok(())
}

type Row<'a> = (redb::AccessGuard<'a, &'static str>, redb::AccessGuard<'a, &'static [u8]>);

/// Writes the new file beside the damaged one and then gives it that one's name, so that at any time there is a file which
/// has what there is.
fn replace(path: &Path, rescued: &Rescued) -> Result<(), StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(redb::Error::Io(error).into()),
        _ => {}
    }
    let rows = rescued.tables.iter().flat_map(|(table, rows)| rows.iter().map(move |row| (table, row)));
    let changes: Vec<Change> = rows
        .map(|(table, (key, value))| Change {
            table: table.clone().into(),
            key: key.clone(),
            value: Some(value.clone()),
        })
        .collect();
    transact(&prepare(Database::create(&new)?)?, &changes)?;
    Ok(std::fs::rename(&new, path).map_err(redb::Error::Io)?)
}

/// The first `NAME.damaged-N` that is free.
fn free_name(path: &Path) -> io::Result<PathBuf> {
    for n in 1..1000 {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{n}"));
        let aside = PathBuf::from(name);
        if !aside.exists() {
            return Ok(aside);
        }
    }
    Err(io::Error::other("too many damaged state files are kept already"))
}
