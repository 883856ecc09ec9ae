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
use landline_model::{AddressRecord, ContainerRecord, EndpointRecord};
use landline_options::{DnsMode, EndpointId};
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
        // Where a lease is still to be set up Docker is at work on the file.
        let arrived = record.interface.is_some() || !matches!(record.address, AddressRecord::Dhcp(_));
        let here = record.container.as_ref().is_some_and(|c| c.id == container.id);
        if mode == DnsMode::Off || !arrived || !here {
            continue;
        }
        let (servers, domains) = heard(&endpoint, &record);
        parts.push(((!record.applied.default_route, record.network, record.id), mode, servers, domains));
    }
    parts.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let mut names = Names { keep_domains: true, ..Names::default() };
    for (_, mode, servers, domains) in parts {
        if mode == DnsMode::Replace {
            names.keep_domains &= domains.is_empty();
            names.servers.extend(servers);
        }
        names.domains.extend(domains);
    }
    if container.resolver.servers_given {
        names.servers.clear();
    }
    if container.resolver.domains_given {
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
    use landline_options::{NetworkId, NetworkOptions};

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
}
