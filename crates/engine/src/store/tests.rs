use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use landline_spec::NetworkOptions;
use landline_types::Mac;
use redb::{Database, StorageBackend};

use super::*;
use crate::records::{AddressRecord, Applied};

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
    EndpointRecord {
        id: format!("{n:064x}").parse().unwrap(),
        network: network(1).id,
        identity: Some(identity(n).id),
        mac: Mac::new([2, 0, 0, 0, 0, n]),
        mac_given: false,
        link: "llc0".parse().unwrap(),
        prefix: "eth".into(),
        parent_mtu: None,
        ifname: None,
        interface: None,
        address: AddressRecord::None,
        address_v6: None,
        ipv6: None,
        nat: None,
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
        vlan: None,
        socket_dir: None,
        mac: Mac::new([2, 0, 0, 0, 0, n]),
        client_id: None,
        key: None,
        container: None,
        lease: None,
        ipv6: None,
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
    let (store, _) = Store::open(&path).unwrap();
    store.put_network(&network(1)).unwrap();
    store.begin_endpoint(&endpoint(1), &identity(1)).unwrap();
    store.begin_endpoint(&endpoint(2), &identity(2)).unwrap();
    store.end_endpoint(&endpoint(2).id, Some(&identity(2))).unwrap();
    drop(store);
    let (_, content) = Store::open(&path).unwrap();
    assert_eq!(content.networks, [network(1)]);
    assert_eq!(content.endpoints, [endpoint(1)]);
    assert_eq!(content.identities, [identity(1), identity(2)]);
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
        let (store, content) = Store::open(&path).unwrap();
        assert_eq!(content, Content::default(), "damage {n}");
        store.put_network(&network(1)).unwrap();
        drop(store);
        let kept = dir.path().join(format!("state.redb.damaged-{}", n + 1));
        assert!(kept.exists(), "damage {n} is kept");
    }
}

#[test]
fn a_disk_that_was_full_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.redb");
    let (store, _) = Store::open(&path).unwrap();
    // What a failed write leaves behind: the file closed.
    store
        .disk
        .lock()
        .unwrap()
        .write(&|_| Err(redb::Error::Io(io::ErrorKind::StorageFull.into()).into()))
        .unwrap_err();
    store.put_network(&network(1)).unwrap();
    drop(store);
    assert_eq!(Store::open(&path).unwrap().1.networks, [network(1)]);
}

#[test]
fn a_file_that_cannot_be_written_is_read_even_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (path, crashed) = (dir.path().join("state.redb"), dir.path().join("crashed.redb"));
    let (store, _) = Store::open(&path).unwrap();
    store.put_network(&network(1)).unwrap();
    // As it is on the disk while it is open, and stays when its user is killed.
    std::fs::copy(&path, &crashed).unwrap();
    let before = std::fs::read(&crashed).unwrap();
    assert_eq!(disk::read_copy(&crashed).unwrap().networks, [network(1)]);
    assert_eq!(std::fs::read(&crashed).unwrap(), before);
    assert_eq!(disk::read_copy(&dir.path().join("none.redb")).unwrap(), Content::default());
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
    assert_eq!(Store::open(&path).unwrap().1, Content::default());
}

/// A disk that loses power: what was not synced is gone, and after `left` writes nothing more is written.
#[derive(Debug, Clone, Default)]
struct PowerCut(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    synced: Vec<u8>,
    cache: Vec<u8>,
    left: Option<usize>,
    dead: bool,
}

impl PowerCut {
    /// What a restarted machine finds.
    fn after_power_loss(&self) -> Self {
        let synced = self.0.lock().unwrap().synced.clone();
        Self(Arc::new(Mutex::new(Platter { cache: synced.clone(), synced, ..Platter::default() })))
    }

    fn fail_after(&self, writes: usize) {
        self.0.lock().unwrap().left = Some(writes);
    }
}

impl StorageBackend for PowerCut {
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

fn on(platter: &PowerCut) -> Database {
    disk::prepare(Database::builder().create_with_backend(platter.clone()).unwrap()).unwrap()
}

/// What [`Store::begin_endpoint`] does, on any database.
fn begin(db: &Database, n: u8) -> Result<(), StoreError> {
    disk::transact(db, &|write| {
        insert(write, ENDPOINTS, endpoint(n).id.as_str(), &endpoint(n))?;
        insert(write, IDENTITIES, identity(n).id.as_str(), &identity(n))
    })
}

#[test]
fn power_loss_at_any_write_keeps_what_was_answered_and_nothing_by_halves() {
    let mut interrupted = 0;
    for writes in 0..400 {
        let disk = PowerCut::default();
        let db = on(&disk);
        disk.fail_after(writes);
        let answered: Vec<u8> = (0..4).filter(|n| begin(&db, *n).is_ok()).collect();
        let content = disk::read(&on(&disk.after_power_loss())).unwrap();
        let endpoints: Vec<_> = content.endpoints.into_iter().map(|e| e.identity.unwrap()).collect();
        let identities: Vec<_> = content.identities.into_iter().map(|i| i.id).collect();
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
