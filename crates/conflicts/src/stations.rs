//! Containers whose hardware address another machine on the LAN has too, while they run.
//!
//! Two hosts with one identity may both start a container when they do not see each other: from a copy of the state, during a
//! partition, with `conflict_check=off`. Switches then send frames now to the one, now to the other. So the host's links to the LAN are listened
//! on for what comes in from a container's hardware address. That may be the container's own packet that came back; therefore the
//! link asks for the container's address, in a frame that does not pass the container. The answer is for this host alone; if it is from the container's
//! hardware address, that is another machine.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use landline_dhcp::wire::arp::{Heard, Packet};
use landline_engine::Engine;
use landline_kernel::Link;
use landline_leases::{Inventory, Shared, StationMonitor, StationWatch};
use landline_links::mark::{End, Mark};
use landline_links::{Host, blocking, facts_of, is_reflected, leads_over, mark_of};
use landline_options::{ConflictCheck, EndpointId, NetworkOptions};
use landline_types::{IfName, Mac};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How often it is asked about one endpoint at most.
const PAUSE: Duration = Duration::from_mins(1);

/// The time from one look at the host's links to the next: they may come and go as often as they like.
const MOMENT: Duration = Duration::from_secs(1);

/// How many packets may wait for an answer. Who is there speaks again.
const WAITING: usize = 16;

/// A link to the LAN and the hardware addresses that are listened for on it.
type Wanted = BTreeMap<IfName, BTreeSet<Mac>>;

/// A link that is listened on.
struct Listening {
    own: watch::Sender<BTreeSet<Mac>>,
    _task: AbortOnDropHandle<()>,
}

/// Listens, until `cancel`.
pub(crate) async fn run(shared: Shared, engine: Arc<Engine>, cancel: CancellationToken) {
    let services = &shared.services;
    let monitor = StationMonitor::new(services.link_table.clone(), services.sockets.clone());
    let (mut inventory, mut links) = (engine.inventory(), services.link_table.clone());
    let (heard, mut hears) = mpsc::channel(WAITING);
    let (mut listening, mut asked) = (BTreeMap::<IfName, Listening>::new(), BTreeMap::new());
    let follow = async {
        loop {
            let now = inventory.borrow_and_update().clone();
            let wanted = stations(&shared.host, &now).await;
            listening.retain(|link, _| wanted.contains_key(link));
            for (link, own) in wanted {
                let at = listening.entry(link.clone()).or_insert_with(|| {
                    let own = watch::Sender::default();
                    let task = listen(monitor.at(&link), own.subscribe(), link, heard.clone());
                    Listening { own, _task: AbortOnDropHandle::new(tokio::spawn(task)) }
                });
                at.own.send_if_modified(|before| std::mem::replace(before, own.clone()) != own);
            }
            // A packet changes nothing of what is listened for.
            let (next, mut changed) = (Instant::now() + MOMENT, false);
            loop {
                tokio::select! {
                    there = inventory.changed(), if !changed => match there {
                        Ok(()) => changed = true,
                        Err(_) => return,
                    },
                    () = links.changed(), if !changed => changed = true,
                    () = tokio::time::sleep_until(next), if changed => break,
                    Some((link, packet)) = hears.recv() => heard_of(&shared, &engine, &link, packet, &mut asked).await,
                }
            }
        }
    };
    cancel.run_until_cancelled(follow).await;
}

async fn listen(
    mut stations: StationWatch,
    mut own: watch::Receiver<BTreeSet<Mac>>,
    link: IfName,
    heard: mpsc::Sender<(IfName, Heard)>,
) {
    own.mark_changed();
    loop {
        tokio::select! {
            changed = own.changed() => match changed {
                Ok(()) => stations.watch(own.borrow_and_update().clone()),
                Err(_) => return,
            },
            packet = stations.next() => if heard.send((link.clone(), packet)).await.is_err() { return },
        }
    }
}

/// What is to be listened for, and where.
async fn stations(host: &Arc<dyn Host>, inventory: &Inventory) -> Wanted {
    let mut wanted = Wanted::new();
    let networks: BTreeSet<_> = inventory.endpoints.values().map(|e| e.record.network.clone()).collect();
    let networks: Vec<_> = networks
        .iter()
        .filter_map(|id| inventory.networks.get(id))
        .filter(|n| is_heard(&n.options))
        .collect();
    if networks.is_empty() {
        return wanted;
    }
    let host = host.clone();
    let Ok(links) = blocking(move || host.links()).await else { return wanted };
    for network in networks {
        let here = inventory.endpoints.values().filter(|present| present.record.network == network.id);
        let own: BTreeSet<Mac> = here.map(|present| present.record.mac).collect();
        for link in lan_links(&network.options, &links) {
            wanted.entry(link.name.clone()).or_default().extend(&own);
        }
    }
    wanted
}

/// Something came in on a link from a container's hardware address. What is for this host itself is an answer of another machine;
/// what is for all may be the container's own that came back, and is asked about.
async fn heard_of(
    shared: &Shared,
    engine: &Engine,
    link: &IfName,
    heard: Heard,
    asked: &mut BTreeMap<EndpointId, Instant>,
) {
    let (now, mac) = (Instant::now(), heard.frame_source);
    asked.retain(|_, at| now.duration_since(*at) < PAUSE);
    for endpoint in engine.endpoints() {
        let record = endpoint.state.read().await;
        // Before it is settled whose identity it has, the LAN is asked about it anyway.
        let known = endpoint.elsewhere().is_some() || !endpoint.is_settled();
        if record.mac != mac || known || !is_heard(endpoint.state.options()) {
            continue;
        }
        let v4 = |address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        };
        let addresses: Vec<Ipv4Addr> = record.addresses().filter_map(v4).collect();
        let address = heard.packet.sender_ip;
        if heard.to_all {
            if !asked.contains_key(&record.id) {
                asked.insert(record.id.clone(), now);
                if let Err(error) = ask(shared, link, &addresses).await {
                    tracing::debug!(%error, %link, "a question about a hardware address could not be sent");
                }
            }
        } else if addresses.contains(&address) && endpoint.found_elsewhere(link.clone()) {
            let (endpoint, holder) = (record.id.short(), record.holder_name());
            tracing::error!(
                endpoint, %holder, %mac, %address, %link,
                "another machine on the LAN has the hardware address and the address of this container"
            );
        }
    }
}

/// Asks the LAN of a link who has these addresses.
async fn ask(shared: &Shared, link: &IfName, addresses: &[Ipv4Addr]) -> io::Result<()> {
    let (host, name, sockets) = (shared.host.clone(), link.clone(), shared.services.sockets.clone());
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let (socket, mac) = blocking(move || {
        let links = host.links().map_err(io::Error::other)?;
        let link = links.into_iter().find(|link| link.name == name).ok_or_else(gone)?;
        Ok::<_, io::Error>((sockets.arp(link.index)?, link.mac.ok_or_else(gone)?))
    })
    .await?;
    addresses.iter().try_for_each(|address| socket.send(&Packet::probe(mac, *address)))
}

/// Whether what containers of such a network send is never received on the host's link to the LAN.
fn is_heard(options: &NetworkOptions) -> bool {
    let facts = facts_of(options.mode);
    let own_mac = !facts.shares_mac() && !facts.is_translated();
    // Frames of another VLAN are not seen there.
    let same_lan = options.trunks.is_empty() && (options.vlan.is_none() || !facts.is_lan_bridge());
    own_mac && !is_reflected(options) && same_lan && options.conflict_check != ConflictCheck::Off
}

/// The host's links by which the network's containers are on the LAN, and which are no container's.
fn lan_links<'l>(options: &NetworkOptions, links: &'l [Link]) -> Vec<&'l Link> {
    let Ok(nobody) = "0".parse().map(|id| Mark::new(&id, End::Host)) else { return Vec::new() };
    let is_nic = !facts_of(options.mode).is_lan_bridge();
    let leads = |link: &&Link| {
        mark_of(link).is_none()
            && (!is_nic || link.name == options.parent)
            && leads_over(link, &nobody, options, links)
    };
    links.iter().filter(leads).collect()
}

#[cfg(test)]
mod tests {
    use landline_kernel::LinkKind;
    use landline_links::fake::link;
    use landline_options::{MacvlanMode, Mode};

    use super::*;

    fn options(mode: Mode, parent: &str) -> NetworkOptions {
        NetworkOptions { mode, ..NetworkOptions::new(parent.parse().unwrap()) }
    }

    #[test]
    fn it_is_listened_where_the_containers_are_not() {
        let port = |index, name| Link { controller: Some(1), ..link(index, name, LinkKind::Veth) };
        let mark = Mark::new(&"e".repeat(64).parse().unwrap(), End::Host);
        let own = Link { alias: Some(mark.to_string()), ..port(4, "ll-own") };
        let links = [
            link(1, "br0", LinkKind::Bridge { vlan_filtering: false }),
            Link { controller: Some(1), ..link(2, "eth0", LinkKind::Physical) },
            port(3, "vnet0"),
            own,
            link(5, "eth1", LinkKind::Physical),
        ];
        let names = |mode, parent| -> Vec<_> {
            lan_links(&options(mode, parent), &links).iter().map(|link| link.name.to_string()).collect()
        };
        assert_eq!(names(Mode::Bridge, "br0"), ["eth0", "vnet0"]);
        assert_eq!(names(Mode::Macvlan, "eth1"), ["eth1"]);
        assert_eq!(names(Mode::Macvlan, "eth9"), [""; 0]);
    }

    #[test]
    fn what_comes_back_by_itself_is_not_listened_for() {
        let on_nic = options(Mode::Macvlan, "eth1");
        assert!(is_heard(&on_nic) && is_heard(&options(Mode::Bridge, "br0")));
        assert!(!is_heard(&NetworkOptions { macvlan_mode: MacvlanMode::Vepa, ..on_nic.clone() }));
        assert!(!is_heard(&NetworkOptions { conflict_check: ConflictCheck::Off, ..on_nic.clone() }));
        assert!(!is_heard(&options(Mode::Ipvlan, "eth1")) && !is_heard(&options(Mode::Nat, "eth1")));
        let vlan = 12.try_into().ok();
        assert!(is_heard(&NetworkOptions { vlan, ..on_nic }));
        assert!(!is_heard(&NetworkOptions { vlan, ..options(Mode::Bridge, "br0") }));
    }
}
