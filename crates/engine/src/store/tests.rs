use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use landline_spec::NetworkOptions;
use landline_types::Mac;
use redb::StorageBackend;

use super::*;
use crate::records::{AddressRecord, Applied};

fn network(n: u8) -> NetworkRecord {
    NetworkRecord {
        id: format!("{n:064x}").parse().unwrap(),
        name: None,
        options: NetworkOptions::new("br0".parse().unwrap()),
        ipam_gateway: None,
    }
}

fn endpoint(n: u8) -> EndpointRecord {
    EndpointRecord {
        id: format!("{n:064x}").parse().unwrap(),
        network: network(1).id,
        identity: Some(identity(n).id),
        mac: Mac::new([2, 0, 0, 0, 0, n]),
        mac_given: false,
        link: "llc0".parse().unwrap(),
        prefix: "eth".into(),
        ifname: None,
        interface: None,
        address: AddressRecord::None,
        sandbox: None,
        copied_routes: Vec::new(),
        applied: Applied::default(),
        container: None,
    }
}

fn identity(n: u8) -> IdentityRecord {
    IdentityRecord {
        id: format!("{n:016x}").parse().unwrap(),
        network: network(1).id,
        network_name: None,
        parent: "br0".parse().unwrap(),
        mode: landline_spec::Mode::Bridge,
        mac: Mac::new([2, 0, 0, 0, 0, n]),
        client_id: None,
        key: None,
        container: None,
        lease: None,
        ports: BTreeSet::new(),
        temporary: false,
        used: 0,
        destroyed: false,
    }
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let store = Store::open(&path).unwrap();
    store.put_network(&network(1)).unwrap();
    store.begin_endpoint(&endpoint(1), &identity(1)).unwrap();
    store.begin_endpoint(&endpoint(2), &identity(2)).unwrap();
    store.end_endpoint(&endpoint(2).id, Some(&identity(2))).unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.networks().unwrap(), [network(1)]);
    assert_eq!(store.endpoints().unwrap(), [endpoint(1)]);
    assert_eq!(store.identities().unwrap(), [identity(1), identity(2)]);
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
        let store = Store::open(&path).unwrap();
        (0..50).for_each(|n| store.put_network(&network(n)).unwrap());
        drop(store);
        std::fs::read(&path).unwrap()
    };
    let zeros = vec![0; whole.len()];
    let half = whole[..whole.len() / 2].to_vec();
    let mut header = whole.clone();
    header[..64].fill(0x5a);
    for (n, damaged) in [b"not a database".to_vec(), zeros, half, header].into_iter().enumerate() {
        std::fs::write(&path, &damaged).unwrap();
        let store = Store::open(&path).unwrap();
        assert_eq!(store.networks().unwrap(), [], "damage {n}");
        store.put_network(&network(1)).unwrap();
        drop(store);
        let kept = dir.path().join(format!("state.redb.damaged-{}", n + 1));
        assert!(kept.exists(), "damage {n} is kept");
    }
}

#[test]
fn a_record_that_cannot_be_read_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    drop(Store::open(&path).unwrap());
    let db = Database::create(&path).unwrap();
    let write = db.begin_write().unwrap();
    write.open_table(ENDPOINTS).unwrap().insert("x", b"{".as_slice()).unwrap();
    write.commit().unwrap();
    drop(db);
    assert_eq!(Store::open(&path).unwrap().endpoints().unwrap(), []);
}

/// A disk that loses power: what was not synced is gone, and after `left` writes nothing more is written.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    synced: Vec<u8>,
    cache: Vec<u8>,
    left: Option<usize>,
    dead: bool,
}

impl Disk {
    /// What a restarted machine finds.
    fn after_power_loss(&self) -> Self {
        let synced = self.0.lock().unwrap().synced.clone();
        Self(Arc::new(Mutex::new(Platter { cache: synced.clone(), synced, ..Platter::default() })))
    }

    fn fail_after(&self, writes: usize) {
        self.0.lock().unwrap().left = Some(writes);
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().cache.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.0.lock().unwrap();
        let from = usize::try_from(offset).unwrap();
        let bytes = platter.cache.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().cache.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        if platter.dead {
            return Err(io::Error::other("the power is gone"));
        }
        platter.synced = platter.cache.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
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

fn on(disk: &Disk) -> Result<Store, StoreError> {
    Store::prepare(Database::builder().create_with_backend(disk.clone())?)
}

#[test]
fn power_loss_at_any_write_keeps_what_was_answered_and_nothing_by_halves() {
    let mut interrupted = 0;
    for writes in 0..400 {
        let disk = Disk::default();
        let store = on(&disk).unwrap();
        store.put_network(&network(1)).unwrap();
        disk.fail_after(writes);
        let mut answered = Vec::new();
        for n in 0..4 {
            if store.begin_endpoint(&endpoint(n), &identity(n)).is_ok() {
                answered.push(n);
            }
        }
        let store = on(&disk.after_power_loss()).unwrap();
        assert_eq!(store.networks().unwrap(), [network(1)], "after {writes} writes");
        let endpoints: Vec<_> = store.endpoints().unwrap().into_iter().map(|e| e.identity.unwrap()).collect();
        let identities: Vec<_> = store.identities().unwrap().into_iter().map(|i| i.id).collect();
        assert_eq!(endpoints, identities, "both or neither, after {writes} writes");
        for n in &answered {
            assert!(identities.contains(&identity(*n).id), "{n} was answered, after {writes} writes");
        }
        interrupted += usize::from(answered.len() < 4);
        if answered.len() == 4 {
            break;
        }
    }
    assert!(interrupted > 4, "the power went at {interrupted} places only");
}
