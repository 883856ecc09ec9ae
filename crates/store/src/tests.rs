use std::io;
use std::sync::{Arc, Condvar, Mutex};

use landline_model::{AddressRecord, EndpointRecord, IdentityRecord, NetworkRecord};
use landline_options::NetworkOptions;
use landline_types::Mac;
use redb::{Database, ReadableDatabase, StorageBackend, TableDefinition};

use super::disk::META;
use super::*;

fn network(n: u8) -> NetworkRecord {
    NetworkRecord {
        id: format!("{n:064x}").parse().unwrap(),
        name: None,
        options: NetworkOptions::new("br0".parse().unwrap()),
        nic: None,
        ipam_gateway: None,
        ipam_gateway_v6: None,
        bridge_address: None,
    }
}

fn endpoint(n: u8) -> EndpointRecord {
    let (id, on) = (format!("{n:064x}").parse().unwrap(), network(1).id);
    let (link, mac) = ("llc0".parse().unwrap(), Mac::new([2, 0, 0, 0, 0, n]));
    let record = EndpointRecord::new(id, on, link, mac, AddressRecord::None);
    EndpointRecord { identity: Some(identity(n).id), prefix: "eth".into(), ..record }
}

fn identity(n: u8) -> IdentityRecord {
    IdentityRecord::on(&network(1), format!("{n:016x}").parse().unwrap(), Mac::new([2, 0, 0, 0, 0, n]))
}

fn begin(n: u8) -> Batch {
    Batch::default().put(&endpoint(n)).put(&identity(n))
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let (store, _) = Store::open(&path).unwrap();
    store.put(&network(1)).wait().unwrap();
    store.write(begin(1)).wait().unwrap();
    store.write(begin(2)).wait().unwrap();
    store.write(Batch::default().remove::<EndpointRecord>(&endpoint(2).id).put(&identity(2))).wait().unwrap();
    store.put(&network(2)).wait().unwrap();
    store.remove::<NetworkRecord>(&network(2).id).wait().unwrap();
    drop(store);
    let (_, mut rows) = Store::open(&path).unwrap();
    assert_eq!(rows.take::<NetworkRecord>(), [network(1)]);
    assert_eq!(rows.take::<EndpointRecord>(), [endpoint(1)]);
    assert_eq!(rows.take::<IdentityRecord>(), [identity(1), identity(2)]);
    assert_eq!(rows.take::<landline_options::Access>(), []);
}

#[test]
fn a_newer_file_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    drop(Store::open(&path).unwrap());
    let db = Database::create(&path).unwrap();
    let write = db.begin_write().unwrap();
    write.open_table(META).unwrap().insert("version", VERSION + 1).unwrap();
    write.commit().unwrap();
    drop(db);
    let error = Store::open(&path).unwrap_err();
    assert!(error.to_string().contains("install the newer one"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn damaged_files_are_set_aside_whatever_the_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let whole = {
        let (store, _) = Store::open(&path).unwrap();
        for n in 0..50 {
            store.put(&network(n)).wait().unwrap();
        }
        drop(store);
        std::fs::read(&path).unwrap()
    };
    let zeros = vec![0; whole.len()];
    let half = whole[..whole.len() / 2].to_vec();
    let mut header = whole.clone();
    header[..64].fill(0x5a);
    for (n, damaged) in [b"not a database".to_vec(), zeros, half, header].into_iter().enumerate() {
        std::fs::write(&path, &damaged).unwrap();
        let (store, rows) = Store::open(&path).unwrap();
        assert_eq!(rows.tables, Rows::default().tables, "damage {n}");
        assert!(rows.lacks::<NetworkRecord>(), "damage {n}");
        store.put(&network(1)).wait().unwrap();
        drop(store);
        let kept = dir.path().join(format!("state.redb.damaged-{}", n + 1));
        assert!(kept.exists(), "damage {n} is kept");
    }
}

/// Whatever page of the file is damaged: no table but the one on it loses a row, the others are written again, and the
/// damaged file is kept. A page of the database's own may cost all.
#[test]
fn damage_costs_only_what_it_hits() {
    const PAGE: usize = 4096;
    const EACH: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let (store, _) = Store::open(&path).unwrap();
    for n in 0..40 {
        store.write(begin(n).put(&network(n))).wait().unwrap();
    }
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let aside = dir.path().join("state.redb.damaged-1");
    let counts = |mut rows: Rows| {
        let networks = rows.take::<NetworkRecord>().len();
        [networks, rows.take::<EndpointRecord>().len(), rows.take::<IdentityRecord>().len()]
    };
    let (mut in_part, mut beyond_reading) = (0, 0);
    let pages = whole.chunks(PAGE).enumerate().filter(|(_, page)| page.iter().any(|octet| *octet != 0));
    for (page, _) in pages {
        let mut damaged = whole.clone();
        damaged[page * PAGE..][..PAGE].fill([0, 0x5a, 0xff][page % 3]);
        std::fs::write(&path, &damaged).unwrap();
        let (store, rows) = Store::open(&path).unwrap();
        let kept = counts(rows);
        store.put(&network(200)).wait().unwrap();
        drop(store);
        let there = counts(Store::open(&path).unwrap().1);
        let what = format!("page {page}: {kept:?}, then {there:?}");
        assert_eq!(there, [kept[0] + 1, kept[1], kept[2]], "{what}");
        let lacking: Vec<usize> = kept.into_iter().filter(|count| *count != EACH).collect();
        match lacking[..] {
            [] => {}
            [some] => in_part += usize::from(some > 0),
            _ => {
                assert_eq!(kept, [0; 3], "{what}");
                beyond_reading += 1;
            }
        }
        if !lacking.is_empty() {
            assert_eq!(std::fs::read(&aside).unwrap(), damaged, "{what}");
        }
        drop(std::fs::remove_file(&aside));
    }
    assert!(in_part > 10, "{in_part} tables were damaged in part");
    assert!(beyond_reading <= 8, "{beyond_reading} files could not be read at all");
}

/// A process that is killed leaves its file as one that is in use, which the database repairs only if all of it is sound.
#[test]
fn a_file_that_was_in_use_and_is_damaged_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let (path, crashed) = (dir.path().join("state.redb"), dir.path().join("crashed.redb"));
    let (store, _) = Store::open(&path).unwrap();
    for n in 0..40 {
        store.write(begin(n).put(&network(n))).wait().unwrap();
    }
    std::fs::copy(&path, &crashed).unwrap();
    drop(store);
    let mut bytes = std::fs::read(&crashed).unwrap();
    for page in bytes.chunks_mut(4096).skip(1) {
        page[0] = 0x5a;
    }
    std::fs::write(&crashed, &bytes).unwrap();
    let (store, rows) = Store::open(&crashed).unwrap();
    assert_eq!(rows.tables, Rows::default().tables);
    assert!(rows.lacks::<NetworkRecord>(), "there may have been some");
    store.put(&network(1)).wait().unwrap();
    drop(store);
    assert_eq!(std::fs::read(dir.path().join("crashed.redb.damaged-1")).unwrap(), bytes);
    assert_eq!(Store::open(&crashed).unwrap().1.take::<NetworkRecord>(), [network(1)]);
}

#[test]
fn a_disk_that_was_full_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    drop(Store::open(&path).unwrap());
    // What a failed write leaves behind: the file closed.
    let full = PowerCut::default();
    let writer = Writer::start(Disk::of(&path, Some(on(&full)))).unwrap();
    full.fail_after(0);
    let store = Store { writer, left: usize::MAX.into(), written: 0.into() };
    let error = store.put(&network(2)).wait().unwrap_err();
    assert!(landline_types::chain(&error).contains("power"), "{error}");
    assert!(store.failure().unwrap().contains("power"));
    store.probe().wait().unwrap();
    assert_eq!((store.failure(), store.commits()), (None, 1), "there is room again");
    store.put(&network(1)).wait().unwrap();
    assert_eq!(store.commits(), 2);
    drop(store);
    assert_eq!(Store::open(&path).unwrap().1.take::<NetworkRecord>(), [network(1)]);
}

#[test]
fn a_file_that_cannot_be_written_is_read_even_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (path, crashed) = (dir.path().join("state.redb"), dir.path().join("crashed.redb"));
    let (store, _) = Store::open(&path).unwrap();
    store.put(&network(1)).wait().unwrap();
    // As it is on the disk while it is open, and stays when its user is killed.
    std::fs::copy(&path, &crashed).unwrap();
    let before = std::fs::read(&crashed).unwrap();
    assert_eq!(disk::read_copy(&crashed).unwrap().take::<NetworkRecord>(), [network(1)]);
    assert_eq!(std::fs::read(&crashed).unwrap(), before);
    assert_eq!(disk::read_copy(&dir.path().join("none.redb")).unwrap(), Rows::default());
}

/// Puts this row into the file, past the store.
fn put_raw(path: &Path, table: &str, key: &str, value: &str) {
    let db = Database::create(path).unwrap();
    let write = db.begin_write().unwrap();
    let rows = TableDefinition::<&str, &[u8]>::new(table);
    write.open_table(rows).unwrap().insert(key, value.as_bytes()).unwrap();
    write.commit().unwrap();
}

fn raw(path: &Path, table: &str, key: &str) -> Option<Vec<u8>> {
    let read = Database::create(path).unwrap().begin_read().unwrap();
    let rows = read.open_table(TableDefinition::<&str, &[u8]>::new(table)).unwrap();
    rows.get(key).unwrap().map(|value| value.value().to_vec())
}

#[test]
fn a_record_that_cannot_be_read_takes_no_other_along_and_stays_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let (store, _) = Store::open(&path).unwrap();
    store.put(&network(1)).wait().unwrap();
    store.write(begin(1)).wait().unwrap();
    drop(store);
    let unreadable = ["{", "[]", "{\"id\":7}", "\u{0}"];
    for (n, text) in unreadable.iter().enumerate() {
        put_raw(&path, "endpoints", &format!("x{n}"), text);
    }
    put_raw(&path, "networks", "y", "");
    for _ in 0..2 {
        let (store, mut rows) = Store::open(&path).unwrap();
        assert_eq!(rows.take::<NetworkRecord>(), [network(1)]);
        assert_eq!(rows.take::<EndpointRecord>(), [endpoint(1)]);
        assert_eq!(rows.take::<IdentityRecord>(), [identity(1)]);
        assert!(rows.lacks::<NetworkRecord>() && rows.lacks::<EndpointRecord>());
        assert!(!rows.lacks::<IdentityRecord>());
        store.put(&endpoint(1)).wait().unwrap();
    }
    for (n, text) in unreadable.iter().enumerate() {
        assert_eq!(raw(&path, "endpoints", &format!("x{n}")).unwrap(), text.as_bytes());
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was set aside");
}

#[test]
fn writes_that_wait_share_a_transaction_and_are_answered_when_it_is_on_disk() {
    let slow = PowerCut::default();
    let writer = Writer::start(Disk::of(Path::new("/nowhere"), Some(on(&slow)))).unwrap();
    let store = Store { writer, left: usize::MAX.into(), written: 0.into() };
    slow.hold_syncs(true);
    let mut first = store.put(&network(0));
    slow.wait_for_a_sync();
    let mut others: Vec<Stored> = (1..50).map(|n| store.write(begin(n))).collect();
    let unanswered = |stored: &mut Stored| stored.try_answer().is_none();
    assert!(unanswered(&mut first) && others.iter_mut().all(unanswered), "nothing is on disk yet");
    slow.hold_syncs(false);
    first.wait().unwrap();
    for stored in others {
        stored.wait().unwrap();
    }
    assert_eq!(store.commits(), 2);
    let mut rows = disk::read(&on(&slow.after_power_loss())).unwrap();
    assert_eq!(rows.take::<NetworkRecord>().len(), 1);
    assert_eq!(rows.take::<EndpointRecord>().len(), 49);
}

/// A disk that loses power: what was not synced is gone, and after `left` writes nothing more is written.
#[derive(Debug, Clone, Default)]
struct PowerCut(Arc<(Mutex<Platter>, Condvar)>);

#[derive(Debug, Default)]
struct Platter {
    synced: Vec<u8>,
    cache: Vec<u8>,
    left: Option<usize>,
    dead: bool,
    /// Syncs wait.
    held: bool,
    waiting: bool,
}

impl PowerCut {
    /// What a restarted machine finds.
    fn after_power_loss(&self) -> Self {
        let synced = self.lock().synced.clone();
        let platter = Platter { cache: synced.clone(), synced, ..Platter::default() };
        Self(Arc::new((Mutex::new(platter), Condvar::new())))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Platter> {
        self.0.0.lock().unwrap()
    }

    fn hold_syncs(&self, held: bool) {
        self.lock().held = held;
        self.0.1.notify_all();
    }

    fn wait_for_a_sync(&self) {
        drop(self.0.1.wait_while(self.lock(), |platter| !platter.waiting).unwrap());
    }

    fn fail_after(&self, writes: usize) {
        self.lock().left = Some(writes);
    }
}

impl StorageBackend for PowerCut {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().cache.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.lock();
        let from = usize::try_from(offset).unwrap();
        let bytes = platter.cache.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.lock().cache.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.lock().waiting = true;
        self.0.1.notify_all();
        let mut platter = self.0.1.wait_while(self.lock(), |platter| platter.held).unwrap();
        platter.waiting = false;
        if platter.dead {
            return Err(io::Error::other("the power is gone"));
        }
        platter.synced = platter.cache.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.lock();
        match &mut platter.left {
            Some(0) => {
                platter.dead = true;
                return Err(io::Error::other("the power is gone"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let from = usize::try_from(offset).unwrap();
        platter.cache[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn on(platter: &PowerCut) -> Database {
    disk::prepare(Database::builder().create_with_backend(platter.clone()).unwrap()).unwrap()
}

#[test]
fn power_loss_at_any_write_keeps_what_was_answered_and_nothing_by_halves() {
    // Alone, and with others in one transaction.
    for together in [1, 3] {
        let mut interrupted = 0;
        for writes in 0..400 {
            let disk = PowerCut::default();
            let db = on(&disk);
            disk.fail_after(writes);
            let groups = (0..4 * together).collect::<Vec<u8>>();
            let groups = groups.chunks(together.into()).map(|group| {
                let changes = group.iter().flat_map(|n| begin(*n).changes).collect::<Vec<_>>();
                (group, disk::transact(&db, &changes))
            });
            let answered: Vec<u8> =
                groups.filter(|(_, done)| done.is_ok()).flat_map(|(group, _)| group.to_vec()).collect();
            let mut rows = disk::read(&on(&disk.after_power_loss())).unwrap();
            let endpoints: Vec<_> =
                rows.take::<EndpointRecord>().into_iter().map(|e| e.identity.unwrap()).collect();
            let identities: Vec<_> = rows.take::<IdentityRecord>().into_iter().map(|i| i.id).collect();
            assert_eq!(endpoints, identities, "both or neither, after {writes} writes");
            assert_eq!(endpoints.len() % usize::from(together), 0, "a group is whole, after {writes} writes");
            for n in &answered {
                assert!(identities.contains(&identity(*n).id), "{n} was answered, after {writes} writes");
            }
            let all = answered.len() == 4 * usize::from(together);
            interrupted += usize::from(!all);
            if all {
                break;
            }
        }
        assert!(interrupted > 4, "the power went at {interrupted} places only");
    }
}
