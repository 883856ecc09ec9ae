//! What the LAN says about names, in the container's `resolv.conf` (`dns=search|replace`).
//!
//! The file is Docker's: it makes one for each container and mounts it there, so it must be written in place, and Docker
//! writes it again at every start. One task does it, whenever a lease or a router says something else, when Docker has
//! started the container, and when anything happens that may have made Docker write it again. A container on several
//! networks has one file: its content comes from all of them, the one with the default route first.

mod text;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use landline_dhcp::v4::Lease;
use landline_dhcp::v6::State6;
use landline_engine::{Admission, Done, Endpoint, Engine};
use landline_leases::{Inventory, Shared};
use landline_links::blocking;
use landline_model::{AddressRecord, ContainerRecord, EndpointRecord, ResolverFile};
use landline_options::{DnsMode, EndpointId, NetworkId};
use landline_types::IfName;
use rustix::fs::OFlags;
use tokio::sync::watch;

use text::{Names, with_names};

/// The longest file that is touched. Docker's have some hundred bytes.
const MAX_FILE: u64 = 64 << 10;

/// What one endpoint's LAN says, both families of it: the one place where they meet.
fn said(
    lease: Option<&Lease>,
    ipv6: Option<&State6>,
    interface: Option<&IfName>,
) -> (Vec<String>, Vec<String>) {
    let written = |address: IpAddr| match (address, interface) {
        (IpAddr::V6(server), Some(interface)) if is_link_local(server) => format!("{server}%{interface}"),
        (address, _) => address.to_string(),
    };
    let (servers, domains) = landline_engine::names_of(lease, ipv6);
    (servers.into_iter().map(written).collect(), domains)
}

fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

/// Keeps containers' files as their LANs have it.
#[derive(Debug, Default)]
pub struct Resolver {
    /// Held while a file is looked at and written.
    turn: tokio::sync::Mutex<()>,
}

impl Resolver {
    /// Follows what the engine's endpoints hear, until the daemon ends. Must be called within a tokio runtime.
    pub fn follow(self: &Arc<Self>, shared: &Shared, engine: &Arc<Engine>) {
        let (this, follower, inventory) = (self.clone(), engine.clone(), engine.inventory());
        let follow = async move { this.write_changes(&follower, inventory).await };
        tokio::spawn(shared.services.cancel.clone().run_until_cancelled_owned(follow));
    }

    /// Writes what changes.
    async fn write_changes(&self, engine: &Engine, mut inventory: watch::Receiver<Inventory>) {
        let mut written = Written::default();
        loop {
            let containers = written.due(&inventory.borrow_and_update());
            for container in containers.into_values() {
                self.write_names(engine, &container).await;
            }
            if inventory.changed().await.is_err() {
                return;
            }
        }
    }

    /// Brings the container's file in line with what its networks say now.
    async fn write_names(&self, engine: &Engine, container: &ContainerRecord) {
        let Some(path) = own_file(container) else { return };
        // From looking to writing nobody else.
        let _turn = self.turn.lock().await;
        let names = names_of(engine, container).await;
        let result = blocking(move || rewrite(&path, &names).map_err(|error| (path, error)));
        match result.await {
            Ok(true) => tracing::info!(container = container.name, "resolv.conf follows the LAN"),
            Ok(false) => {}
            // Its container is being removed.
            Err((_, error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err((path, error)) => {
                tracing::warn!(container = container.name, path = %path.display(), %error, "resolv.conf not written");
            }
        }
    }
}

impl Admission for Resolver {
    /// Before Docker, which may start the container again at once, writes its file again.
    fn ended<'a>(&'a self, engine: &'a Engine, endpoint: &'a Endpoint) -> Done<'a> {
        Box::pin(async move {
            let container = endpoint.state.read().await.container;
            if let Some(container) = container.filter(|_| endpoint.state.options().dns != DnsMode::Off) {
                self.write_names(engine, &container).await;
            }
        })
    }
}

/// How much of what was heard for each endpoint its container's file has.
#[derive(Debug, Default)]
struct Written(BTreeMap<EndpointId, u64>);

impl Written {
    /// The containers whose files are to be looked at, by id. They count as written.
    fn due(&mut self, inventory: &Inventory) -> BTreeMap<String, ContainerRecord> {
        self.0.retain(|id, _| inventory.endpoints.contains_key(id));
        let mut containers = BTreeMap::new();
        for (id, present) in &inventory.endpoints {
            let network = inventory.networks.get(&present.record.network);
            let follows = network.is_some_and(|network| network.options.dns != DnsMode::Off);
            if self.0.insert(id.clone(), present.names) != Some(present.names)
                && follows
                && let Some(container) = &present.record.container
            {
                containers.insert(container.id.clone(), container.clone());
            }
        }
        containers
    }
}

async fn names_of(engine: &Engine, container: &ContainerRecord) -> Names {
    let mut parts = Vec::new();
    for endpoint in engine.endpoints() {
        let record = endpoint.state.read().await;
        let mode = endpoint.state.options().dns;
        if !counts(&record, mode, container) {
            continue;
        }
        let (servers, domains) = heard(&endpoint, &record);
        parts.push(Part { rank: rank(record), mode, servers, domains });
    }
    merged(parts, &container.resolver)
}

/// Whether what an endpoint's LAN says is for this container's file.
fn counts(record: &EndpointRecord, mode: DnsMode, container: &ContainerRecord) -> bool {
    // Where a lease is still to be set up Docker is at work on the file.
    let arrived = record.interface.is_some() || !matches!(record.address, AddressRecord::Dhcp(_));
    let here = record.container.as_ref().is_some_and(|c| c.id == container.id);
    mode != DnsMode::Off && arrived && here
}

/// Which of a container's endpoints comes first: that with the default route, and then one and the same at any time.
fn rank(record: EndpointRecord) -> Rank {
    (!record.applied.default_route, record.network, record.id)
}

type Rank = (bool, NetworkId, EndpointId);

/// What one endpoint of a container contributes to its file.
struct Part {
    rank: Rank,
    mode: DnsMode,
    servers: Vec<String>,
    domains: Vec<String>,
}

/// All of them together, but for what the container's user chose.
fn merged(mut parts: Vec<Part>, file: &ResolverFile) -> Names {
    parts.sort_by(|a, b| a.rank.cmp(&b.rank));
    let mut names = Names { keep_domains: true, ..Names::default() };
    for Part { mode, servers, domains, .. } in parts {
        if mode == DnsMode::Replace {
            names.keep_domains &= domains.is_empty();
            names.servers.extend(servers);
        }
        names.domains.extend(domains);
    }
    if file.servers_given {
        names.servers.clear();
    }
    if file.domains_given {
        names.domains.clear();
    }
    names
}

fn heard(endpoint: &Endpoint, record: &EndpointRecord) -> (Vec<String>, Vec<String>) {
    let lease = endpoint.status().and_then(|status| status.lease);
    let ipv6 = endpoint.status6().map(|status| status.current);
    said(lease.as_ref(), ipv6.as_ref(), record.interface.as_ref())
}

/// The file Docker made for this container. One that its user mounted over it, or another container's, is not ours to
/// write.
fn own_file(container: &ContainerRecord) -> Option<PathBuf> {
    let path = container.resolver.path.as_deref()?;
    let owner = path.parent().and_then(Path::file_name);
    (path.is_absolute() && owner == Some(container.id.as_ref())).then(|| path.to_owned())
}

/// Writes the names into the file as it is mounted in the container: the same file, in one go. `false`: nothing changed.
fn rewrite(path: &Path, names: &Names) -> io::Result<bool> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?);
    let found = file.metadata()?;
    if !found.is_file() || found.len() > MAX_FILE {
        return Err(io::Error::other("this is not a file that Docker made"));
    }
    let mut before = Vec::new();
    (&file).take(MAX_FILE).read_to_end(&mut before)?;
    let Ok(before) = String::from_utf8(before) else {
        return Err(io::Error::other("it is not text"));
    };
    let after = with_names(&before, names);
    if after == before {
        return Ok(false);
    }
    // Whoever reads meanwhile finds the whole new text, perhaps with empty lines behind it.
    let mut padded = after.clone().into_bytes();
    padded.resize(padded.len().max(before.len()), b'\n');
    file.write_all_at(&padded, 0)?;
    file.set_len(after.len() as u64)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use landline_leases::Present;
    use landline_model::NetworkRecord;
    use landline_options::NetworkOptions;
    use rustix::fs::{CWD, FileType, Mode};
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    fn network_id(n: u8) -> NetworkId {
        format!("{n:064}").parse().unwrap()
    }

    /// An endpoint of the n-th network for this container, for which this much was heard.
    fn present(n: u8, network: u8, container: Option<&str>, names: u64) -> Present {
        let id: EndpointId = format!("{n:064}").parse().unwrap();
        let container =
            container.map(|id| ContainerRecord { id: id.to_owned(), ..ContainerRecord::named("web") });
        let record: EndpointRecord = serde_json::from_value(serde_json::json!({
            "id": id, "network": network_id(network), "mac": "02:00:00:00:00:01", "link": "llc0", "prefix": "eth",
            "address": "none", "container": container,
        }))
        .unwrap();
        Present { names, ..Present::new(&record) }
    }

    /// The first network's containers follow the LAN, the second's do not.
    fn inventory(endpoints: Vec<Present>) -> Inventory {
        let network = |n: u8, dns: DnsMode| {
            let options = NetworkOptions { dns, ..NetworkOptions::new("br0".parse().unwrap()) };
            NetworkRecord::new(network_id(n), options)
        };
        Inventory::of([network(1, DnsMode::Search), network(2, DnsMode::Off)], endpoints)
    }

    fn due(written: &mut Written, endpoints: Vec<Present>) -> Vec<String> {
        written.due(&inventory(endpoints)).into_keys().collect()
    }

    #[test]
    fn a_file_is_looked_at_once_for_everything_that_is_heard() {
        let mut written = Written::default();
        assert_eq!(due(&mut written, vec![present(1, 1, Some("c1"), 0)]), ["c1"], "it has just started");
        assert_eq!(due(&mut written, vec![present(1, 1, Some("c1"), 0)]), [""; 0]);
        assert_eq!(due(&mut written, vec![present(1, 1, Some("c1"), 3)]), ["c1"]);
        assert_eq!(due(&mut written, vec![present(1, 1, Some("c1"), 3)]), [""; 0]);
        // A container with two endpoints has one file.
        let both = || vec![present(1, 1, Some("c1"), 4), present(2, 1, Some("c1"), 1)];
        assert_eq!(due(&mut written, both()), ["c1"]);
        assert_eq!(due(&mut written, both()), [""; 0]);
    }

    #[test]
    fn files_of_networks_that_do_not_follow_the_lan_are_dockers() {
        let mut written = Written::default();
        assert_eq!(due(&mut written, vec![present(1, 2, Some("c1"), 5)]), [""; 0]);
        assert_eq!(due(&mut written, vec![present(1, 3, Some("c1"), 6)]), [""; 0], "its network is gone");
        // On both kinds, it follows the one that does.
        assert_eq!(
            due(&mut written, vec![present(1, 2, Some("c1"), 7), present(2, 1, Some("c1"), 0)]),
            ["c1"]
        );
    }

    /// Its container is known later; by then everything may have been heard, and the count goes up with it.
    #[test]
    fn an_endpoint_without_a_container_has_no_file() {
        let mut written = Written::default();
        assert_eq!(due(&mut written, vec![present(1, 1, None, 1)]), [""; 0]);
        assert_eq!(due(&mut written, vec![present(1, 1, Some("c1"), 2)]), ["c1"]);
    }

    #[test]
    fn an_endpoint_that_ended_is_forgotten() {
        let mut written = Written::default();
        assert_eq!(due(&mut written, vec![present(1, 1, Some("c1"), 1)]), ["c1"]);
        assert_eq!(due(&mut written, vec![]), [""; 0]);
        assert_eq!(due(&mut written, vec![present(1, 1, Some("c1"), 1)]), ["c1"], "it is another start");
    }

    /// The part of the n-th network's LAN.
    fn part(n: u8, default_route: bool, mode: DnsMode, servers: &[&str], domains: &[&str]) -> Part {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let mut record = present(n, n, None, 0).record.as_ref().clone();
        record.applied.default_route = default_route;
        Part { rank: rank(record), mode, servers: owned(servers), domains: owned(domains) }
    }

    fn names(servers: &[&str], domains: &[&str], keep_domains: bool) -> Names {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Names { servers: owned(servers), domains: owned(domains), keep_domains }
    }

    #[test]
    fn the_lan_of_the_default_route_comes_first() {
        let parts = || {
            vec![
                part(1, false, DnsMode::Replace, &["192.0.2.1"], &["one.example"]),
                part(2, false, DnsMode::Replace, &["192.0.2.2"], &["two.example"]),
                part(3, true, DnsMode::Replace, &["192.0.2.3"], &["three.example"]),
            ]
        };
        let all = names(
            &["192.0.2.3", "192.0.2.1", "192.0.2.2"],
            &["three.example", "one.example", "two.example"],
            false,
        );
        assert_eq!(merged(parts(), &ResolverFile::default()), all);
        let turned: Vec<Part> = parts().into_iter().rev().collect();
        assert_eq!(merged(turned, &ResolverFile::default()), all, "in whatever order they are looked at");
    }

    #[test]
    fn search_adds_domains_and_replace_takes_the_place_of_what_is_there() {
        let of = |parts| merged(parts, &ResolverFile::default());
        let search = || part(1, true, DnsMode::Search, &["192.0.2.1"], &["one.example"]);
        assert_eq!(of(vec![]), names(&[], &[], true));
        assert_eq!(of(vec![search()]), names(&[], &["one.example"], true));
        let replace = |domains| part(2, false, DnsMode::Replace, &["192.0.2.2"], domains);
        assert_eq!(of(vec![replace(&["two.example"])]), names(&["192.0.2.2"], &["two.example"], false));
        assert_eq!(of(vec![replace(&[])]), names(&["192.0.2.2"], &[], true), "nothing takes their place");
        assert_eq!(
            of(vec![search(), replace(&["two.example"])]),
            names(&["192.0.2.2"], &["one.example", "two.example"], false)
        );
        // One that names no domains keeps nobody's.
        let third = part(3, false, DnsMode::Replace, &["192.0.2.3"], &[]);
        assert_eq!(
            of(vec![replace(&["two.example"]), third]),
            names(&["192.0.2.2", "192.0.2.3"], &["two.example"], false)
        );
    }

    #[test]
    fn what_the_containers_user_chose_stays() {
        let of = |servers_given, domains_given| {
            let parts = vec![part(1, true, DnsMode::Replace, &["192.0.2.1"], &["one.example"])];
            merged(parts, &ResolverFile { path: None, servers_given, domains_given })
        };
        assert_eq!(of(true, false), names(&[], &["one.example"], false));
        assert_eq!(of(false, true), names(&["192.0.2.1"], &[], false));
        assert_eq!(of(true, true), names(&[], &[], false));
    }

    #[test]
    fn an_endpoint_counts_for_its_own_container_once_it_has_arrived() {
        let web = ContainerRecord { id: "c1".to_owned(), ..ContainerRecord::named("web") };
        let there = present(1, 1, Some("c1"), 0).record.as_ref().clone();
        assert!(counts(&there, DnsMode::Search, &web) && counts(&there, DnsMode::Replace, &web));
        assert!(!counts(&there, DnsMode::Off, &web));
        for other in [Some("c2"), None] {
            assert!(!counts(&present(1, 1, other, 0).record, DnsMode::Search, &web));
        }
        // A leased address is set up in the sandbox, under a name there.
        let mut row = serde_json::to_value(&there).unwrap();
        row["address"] = serde_json::json!({"dhcp": {}});
        let leased: EndpointRecord = serde_json::from_value(row).unwrap();
        assert!(!counts(&leased, DnsMode::Search, &web));
        let arrived = EndpointRecord { interface: Some("eth0".parse().unwrap()), ..leased };
        assert!(counts(&arrived, DnsMode::Search, &web));
    }

    #[test]
    fn only_a_file_in_the_containers_own_directory_is_written() {
        let file = |id: &str, path: Option<&str>| {
            let resolver = ResolverFile { path: path.map(PathBuf::from), ..ResolverFile::default() };
            own_file(&ContainerRecord { id: id.to_owned(), resolver, ..ContainerRecord::named("web") })
        };
        let own = "/var/lib/docker/containers/c1/resolv.conf";
        assert_eq!(file("c1", Some(own)), Some(own.into()));
        assert_eq!(file("c1", None), None, "Docker has not said it yet");
        for other in [
            "/etc/resolv.conf",
            // Of the container whose network this one shares.
            "/var/lib/docker/containers/c2/resolv.conf",
            "/var/lib/docker/containers/c12/resolv.conf",
            "/var/lib/docker/containers/c1/../c2/resolv.conf",
            "/var/lib/docker/containers/c1/mounts/resolv.conf",
            "containers/c1/resolv.conf",
            "c1/resolv.conf",
            "/c1",
            "/",
            "",
        ] {
            assert_eq!(file("c1", Some(other)), None, "{other}");
        }
        // A container of which only the name is known.
        assert_eq!(file("", Some("/var/lib/docker/containers//resolv.conf")), None);
        assert_eq!(file("", Some("/resolv.conf")), None);
    }

    const DOCKERS: &str = "nameserver 127.0.0.11\nsearch corp.example\noptions ndots:0\n";

    /// A directory with a file that has these contents.
    fn file(contents: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        std::fs::write(&path, contents).unwrap();
        (dir, path)
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn the_file_is_written_in_place_and_made_as_it_was() {
        let (_dir, path) = file(DOCKERS);
        let mounted = std::fs::metadata(&path).unwrap().ino();
        let lan = names(&["192.0.2.1", "192.0.2.2"], &["lan.example"], false);
        assert!(rewrite(&path, &lan).unwrap());
        assert_eq!(read(&path), with_names(DOCKERS, &lan));
        // A shorter one leaves nothing of the longer behind it.
        let less = names(&["192.0.2.1"], &[], true);
        assert!(rewrite(&path, &less).unwrap());
        assert_eq!(read(&path), with_names(DOCKERS, &less));
        assert!(rewrite(&path, &names(&[], &[], true)).unwrap());
        assert_eq!(read(&path), DOCKERS);
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), mounted, "the container sees this file only");
    }

    #[test]
    fn a_file_that_says_so_already_is_not_touched() {
        let lan = names(&["192.0.2.1"], &["lan.example"], false);
        let (_dir, path) = file(with_names(DOCKERS, &lan));
        let before = std::fs::metadata(&path).unwrap();
        assert!(!rewrite(&path, &lan).unwrap());
        let after = std::fs::metadata(&path).unwrap();
        assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
        let (_dir, untouched) = file(DOCKERS);
        assert!(!rewrite(&untouched, &names(&[], &[], true)).unwrap());
    }

    #[test]
    fn what_is_no_plain_file_is_not_followed_or_written() {
        let (dir, target) = file(DOCKERS);
        let lan = names(&["192.0.2.1"], &[], true);
        let at = |name: &str| dir.path().join(name);
        symlink(&target, at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        std::fs::create_dir(at("dir")).unwrap();
        rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        for name in ["link", "dangling", "dir"] {
            let error = rewrite(&at(name), &lan).unwrap_err();
            assert_ne!(error.kind(), io::ErrorKind::NotFound, "{name}");
        }
        // What can be opened is looked at before it is read.
        for path in [at("fifo"), "/dev/null".into()] {
            let error = rewrite(&path, &lan).unwrap_err();
            assert_eq!(error.to_string(), "this is not a file that Docker made");
        }
        assert_eq!(read(&target), DOCKERS);
        assert!(!at("nowhere").exists());
        // Its container is being removed; nothing is made in its place.
        assert_eq!(rewrite(&at("none"), &lan).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!at("none").exists());
    }

    #[test]
    fn a_file_that_is_too_long_or_no_text_is_left_alone() {
        let lan = names(&["192.0.2.1"], &[], true);
        let most = usize::try_from(MAX_FILE).unwrap();
        for contents in ["#".repeat(most + 1).into_bytes(), b"nameserver \xff\n".to_vec()] {
            let (_dir, path) = file(&contents);
            assert!(rewrite(&path, &lan).is_err());
            assert!(std::fs::read(&path).unwrap() == contents);
        }
        let (_dir, path) = file("#".repeat(most - 1) + "\n");
        assert!(rewrite(&path, &lan).unwrap(), "as long as may be");
    }
}
