//! Addresses that were named: containers come and go, NICs do, others change things, the kernel refuses.

use std::collections::BTreeSet;
use std::time::Duration;

use landline_kernel::{Address, Link, LinkKind};
use landline_links::fake::{Refused, link};
use landline_links::mark::PROTOCOL;
use landline_model::{NatOwner, NetworkRecord};
use landline_options::{Mode, NatPorts, NetworkId, NetworkOptions};

use super::world::{NIC, World, eventually, plug_in, quiet, record, seen, web};
use crate::{NatBridge, NatError, NatRecord, NatState, OpenBridges};

const A: &str = "198.51.100.100";

fn state(daemon: &super::world::Daemon) -> NatState {
    daemon.nat.views()[&web()].state.clone()
}

#[tokio::test(start_paused = true)]
async fn a_container_that_comes_is_behind_its_address_and_one_that_ends_is_not() {
    let world = World::new();
    let daemon = world.started().await;
    let view = daemon.nat.add(record(A)).await.unwrap();
    assert_eq!((view.state, world.on("eth0")), (NatState::Waiting, vec![A.to_owned()]));
    daemon.nat.see(seen(&[("web", "203.0.113.7"), ("other", "203.0.113.8")]));
    eventually("it is behind it", || state(&daemon) == NatState::Ready).await;
    assert!(world.rules().contains("203.0.113.7"));
    assert!(!world.rules().contains("203.0.113.8"), "nobody asked for that");
    daemon.nat.see(seen(&[("web", "203.0.113.9")]));
    eventually("it has another address", || world.rules().contains("203.0.113.9")).await;
    assert!(!world.rules().contains("203.0.113.7"));
    daemon.nat.see(seen(&[]));
    eventually("nothing is", || state(&daemon) == NatState::Waiting).await;
    assert!(!world.rules().contains("203.0.113"));
    assert_eq!((state(&daemon), world.on("eth0")), (NatState::Waiting, vec![A.to_owned()]), "it stays");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_removed_leaves_nothing_and_stays_removed() {
    let world = World::new();
    let before = world.fake.host(|host| host.clone());
    let daemon = world.started().await;
    daemon.nat.add(record(A)).await.unwrap();
    daemon.nat.see(seen(&[("web", "203.0.113.7")]));
    eventually("it is behind it", || world.rules().contains("203.0.113.7")).await;
    daemon.nat.remove(&web()).await.unwrap();
    assert_eq!(world.fake.host(|host| host.clone()), before);
    assert!(!world.rules().contains("203.0.113.7"));
    assert!(world.packets.state().hairpins.is_empty(), "its port is as it was");
    assert!(matches!(daemon.nat.remove(&web()).await, Err(NatError::Unknown(_))));
    assert!(world.kill(daemon).await.is_empty());
    let daemon = world.start().await;
    daemon.nat.see(seen(&[("web", "203.0.113.7")]));
    quiet().await;
    assert_eq!(world.fake.host(|host| host.clone()), before);
}

#[tokio::test(start_paused = true)]
async fn a_nic_that_goes_and_comes_back_has_the_address_again() {
    let world = World::new();
    let daemon = world.started().await;
    daemon.nat.add(record(A)).await.unwrap();
    daemon.nat.see(seen(&[("web", "203.0.113.7")]));
    eventually("it is behind it", || state(&daemon) == NatState::Ready).await;
    world.fake.host(|host| host.remove_link(NIC));
    eventually("it is shown", || state(&daemon) == NatState::Trouble("eth0 is not there, or down".into()))
        .await;
    world.fake.host(|host| plug_in(host, 40));
    eventually("it is there again", || world.on("eth0") == [A]).await;
    assert_eq!(state(&daemon), NatState::Ready);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_somebody_takes_off_the_nic_is_there_again() {
    let world = World::new();
    let daemon = world.started().await;
    daemon.nat.add(record(A)).await.unwrap();
    quiet().await;
    world.remove(A);
    eventually("it is there again", || world.on("eth0") == [A]).await;
    assert_eq!(state(&daemon), NatState::Waiting);
}

/// While it was away, another machine has taken it.
#[tokio::test(start_paused = true)]
async fn an_address_that_another_machine_has_meanwhile_is_not_put_back() {
    let world = World::new();
    let daemon = world.started().await;
    daemon.nat.add(record(A)).await.unwrap();
    world.lan.four(|lan| lan.squat(A.parse().unwrap()));
    world.remove(A);
    eventually("it is shown", || matches!(state(&daemon), NatState::Trouble(why) if why.contains("in use")))
        .await;
    quiet().await;
    assert!(world.on("eth0").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_nic_that_becomes_a_bridges_port_has_its_addresses_on_the_bridge() {
    let world = World::new();
    let daemon = world.started().await;
    daemon.nat.add(record(A)).await.unwrap();
    world.fake.host(|host| {
        let bridge = link(9, "br-eth0", LinkKind::Bridge { vlan_filtering: false });
        host.links.push(Link { mac: host.links[0].mac, ..bridge });
        host.links[0].controller = Some(9);
    });
    eventually("it is on the bridge", || world.on("br-eth0") == [A]).await;
    eventually("and not on the NIC", || world.on("eth0").is_empty()).await;
    assert_eq!(daemon.nat.views()[&web()].interface.as_str(), "br-eth0");
    world.fake.host(|host| {
        host.links[0].controller = None;
        host.remove_link(9);
    });
    eventually("it is back", || world.on("eth0") == [A]).await;
    daemon.nat.remove(&web()).await.unwrap();
    assert!(world.on("eth0").is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_somebody_has_is_refused_and_nothing_is_changed() {
    let world = World::new();
    let daemon = world.started().await;
    let before = world.fake.host(|host| host.clone());
    world.lan.four(|lan| lan.squat(A.parse().unwrap()));
    let refused = daemon.nat.add(record(A)).await;
    assert!(matches!(refused, Err(NatError::InUse { .. })), "{refused:?}");
    let refused = daemon.nat.add(record("198.51.100.5")).await;
    assert!(matches!(refused, Err(NatError::OwnAddress { .. })), "{refused:?}");
    assert_eq!(world.fake.host(|host| host.clone()), before);
    daemon.nat.add(record("198.51.100.101")).await.unwrap();
    let refused = daemon.nat.add(record("198.51.100.102")).await;
    assert!(matches!(refused, Err(NatError::Exists(_))), "{refused:?}");
    let db = NatRecord { owner: NatOwner::Container("db".into()), ..record("198.51.100.101") };
    let refused = daemon.nat.add(db).await;
    assert!(matches!(refused, Err(NatError::Taken { .. })), "{refused:?}");
    assert_eq!(world.kill(daemon).await, [record("198.51.100.101")]);
}

#[tokio::test(start_paused = true)]
async fn a_nic_that_will_not_do_is_refused() {
    let world = World::new();
    let daemon = world.started().await;
    world.fake.host(|host| host.links[0].up = false);
    assert!(matches!(daemon.nat.add(record(A)).await, Err(NatError::Down(_))));
    world.fake.host(|host| host.links[0].ethernet = false);
    assert!(matches!(daemon.nat.add(record(A)).await, Err(NatError::NotEthernet(_))));
    world.fake.host(|host| host.remove_link(NIC));
    assert!(matches!(daemon.nat.add(record(A)).await, Err(NatError::NoInterface(_))));
    assert!(world.kill(daemon).await.is_empty());
}

fn open(address: &str) -> NatRecord {
    NatRecord { open_firewall: true, ..record(address) }
}

/// All or nothing, whatever change the kernel refuses.
#[tokio::test(start_paused = true)]
async fn an_address_that_cannot_be_had_leaves_nothing() {
    for n in 0.. {
        let world = World::new();
        world.packets.state().passed_on = false;
        let daemon = world.started().await;
        daemon.nat.see(seen(&[("web", "203.0.113.7")]));
        let before = world.fake.host(|host| host.clone());
        world.fake.refuse(Some(Refused::Only(n)));
        let added = daemon.nat.add(open(A)).await;
        let refused = world.fake.asked() > n;
        assert_eq!(added.is_err(), refused, "step {n}: {added:?}");
        quiet().await;
        if !refused {
            assert!(n >= 2, "rules and an address: {n}");
            assert!(world.packets.opens("203.0.113.7/32") && world.packets.state().passed_on);
            break;
        }
        assert_eq!(world.fake.host(|host| host.clone()), before, "step {n}");
        assert!(!world.rules().contains(A) && !world.packets.opens("203.0.113.7/32"), "step {n}");
        assert!(!world.packets.state().passed_on, "step {n}");
        assert!(world.kill(daemon).await.is_empty(), "step {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_firewall_that_cannot_be_opened_refuses_the_address() {
    let world = World::new();
    let daemon = world.started().await;
    daemon.nat.see(seen(&[("web", "203.0.113.7")]));
    let before = world.fake.host(|host| host.clone());
    world.packets.state().refuses = true;
    let refused = daemon.nat.add(open(A)).await;
    assert!(matches!(refused, Err(NatError::Firewall(_))), "{refused:?}");
    assert_eq!(world.fake.host(|host| host.clone()), before);
    world.packets.state().refuses = false;
    daemon.nat.add(open(A)).await.unwrap();
    assert!(world.packets.opens("203.0.113.7/32"));
}

/// What is over and could not be removed is owed, and tried again after 1, 2, 4 … seconds.
#[tokio::test(start_paused = true)]
async fn an_address_that_cannot_be_taken_away_goes_when_it_can() {
    let world = World::new();
    let daemon = world.started().await;
    daemon.nat.add(record(A)).await.unwrap();
    quiet().await;
    world.fake.refuse(Some(Refused::From(0)));
    daemon.nat.remove(&web()).await.unwrap();
    assert_eq!(world.on("eth0"), [A]);
    let asked = world.fake.asked();
    tokio::time::sleep(Duration::from_secs(16)).await;
    let tries = world.fake.asked() - asked;
    assert!((3..=5).contains(&tries), "{tries} tries in 16 s");
    world.fake.refuse(None);
    eventually("it is gone", || world.on("eth0").is_empty()).await;
    assert!(world.kill(daemon).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_wanted_again_is_owed_no_more() {
    let world = World::new();
    let daemon = world.started().await;
    daemon.nat.add(record(A)).await.unwrap();
    world.fake.refuse(Some(Refused::From(0)));
    daemon.nat.remove(&web()).await.unwrap();
    world.fake.refuse(None);
    // It is still there, as if the state had been lost.
    daemon.nat.adopt(record(A)).await.unwrap();
    quiet().await;
    assert_eq!(world.on("eth0"), [A]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_ends_no_connection() {
    let world = World::new();
    let daemon = world.started().await;
    daemon.nat.add(record(A)).await.unwrap();
    daemon.nat.see(seen(&[("web", "203.0.113.7")]));
    eventually("it is behind it", || state(&daemon) == NatState::Ready).await;
    let rules = world.rules();
    world.kill(daemon).await;
    let loaded = world.fake.scripts().len();
    let daemon = world.start().await;
    quiet().await;
    assert_eq!((world.fake.scripts().len(), world.on("eth0")), (loaded, vec![A.to_owned()]));
    daemon.nat.see(seen(&[("web", "203.0.113.7")]));
    eventually("all is as it was", || world.fake.scripts().len() > loaded).await;
    assert_eq!(world.rules(), rules);
}

fn network_id() -> NetworkId {
    "a".repeat(64).parse().unwrap()
}

fn bridges(open: bool) -> BTreeSet<NatBridge> {
    let (bridge, nic) = ("llb0".parse().unwrap(), "eth0".parse().unwrap());
    BTreeSet::from([NatBridge { bridge, subnet: "203.0.113.0/24".parse().unwrap(), nic, open }])
}

/// A stored network of ours, whose bridge leads to the NIC.
async fn with_network(world: &World) -> super::world::Daemon {
    let daemon = world.start().await;
    let options = NetworkOptions { mode: Mode::Nat, ..NetworkOptions::new("llb0".parse().unwrap()) };
    let network = NetworkRecord {
        nic: "eth0".parse().ok(),
        bridge_address: "203.0.113.1/24".parse().ok(),
        ..NetworkRecord::new(network_id(), options)
    };
    daemon.nat.store.put(&network).await.unwrap();
    world.kill(daemon).await;
    world.start().await
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_no_record_is_swept_once_containers_are_seen_and_the_users_stay() {
    let world = World::new();
    let ours = Address { protocol: PROTOCOL, ..Address::new(NIC, "198.51.100.111/32".parse().unwrap()) };
    let theirs = Address::new(NIC, "198.51.100.112/32".parse().unwrap());
    world.fake.host(|host| host.addresses.extend([ours, theirs]));
    let daemon = with_network(&world).await;
    quiet().await;
    assert_eq!(world.on("eth0").len(), 2, "what runs is not known yet");
    daemon.nat.see(seen(&[]));
    eventually("one is left", || world.on("eth0") == ["198.51.100.112"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_private_bridge_is_in_the_table_as_long_as_it_is_there() {
    let world = World::new();
    let daemon = world.started().await;
    daemon.nat.nat_bridges(bridges(true)).await.unwrap();
    assert!(world.rules().contains("llb0") && world.packets.opens("llb0"));
    daemon.nat.nat_bridges(BTreeSet::new()).await.unwrap();
    assert!(!world.rules().contains("llb0") && !world.packets.opens("llb0"));
}

#[tokio::test(start_paused = true)]
async fn a_private_bridge_whose_rules_fail_is_not_there() {
    let world = World::new();
    let daemon = world.started().await;
    world.fake.refuse(Some(Refused::Only(0)));
    let failed = daemon.nat.nat_bridges(bridges(false)).await;
    assert!(matches!(failed, Err(NatError::Rules(_))), "{failed:?}");
    assert!(!world.rules().contains("llb0"));
    world.packets.state().refuses = true;
    let failed = daemon.nat.nat_bridges(bridges(true)).await;
    assert!(matches!(failed, Err(NatError::Firewall(_))), "{failed:?}");
    assert!(!world.rules().contains("llb0"));
    world.packets.state().refuses = false;
    daemon.nat.nat_bridges(bridges(true)).await.unwrap();
    assert!(world.rules().contains("llb0") && world.packets.opens("llb0"));
}

#[tokio::test(start_paused = true)]
async fn an_exception_that_a_firewall_has_removed_is_made_again() {
    let world = World::new();
    let daemon = world.started().await;
    daemon.nat.see(seen(&[("web", "203.0.113.7")]));
    daemon.nat.add(open(A)).await.unwrap();
    assert!(world.packets.opens("203.0.113.7/32"));
    quiet().await;
    let looks = world.packets.state().looks;
    daemon.nat.look().await;
    assert_eq!(world.packets.state().looks, looks, "nothing has changed since");
    world.packets.flush();
    eventually("it is open again", || world.packets.opens("203.0.113.7/32")).await;
    // For whoever sends the first packet, too.
    world.packets.state().rules.clear();
    world.packets.flush();
    daemon.nat.look().await;
    assert!(world.packets.opens("203.0.113.7/32"));
}

#[tokio::test(start_paused = true)]
async fn an_exception_follows_its_container() {
    let world = World::new();
    let daemon = world.started().await;
    daemon.nat.see(seen(&[("web", "203.0.113.7")]));
    daemon.nat.add(open(A)).await.unwrap();
    daemon.nat.see(seen(&[("web", "203.0.113.9")]));
    eventually("it is open for that", || world.packets.opens("203.0.113.9/32")).await;
    assert!(!world.packets.opens("203.0.113.7/32"));
    daemon.nat.see(seen(&[]));
    eventually("it is closed", || world.packets.state().rules.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn forwarding_is_switched_on_as_long_as_somebody_needs_it() {
    let world = World::new();
    world.packets.state().passed_on = false;
    let daemon = world.started().await;
    daemon.nat.add(open(A)).await.unwrap();
    assert!(world.packets.state().passed_on);
    let db = NatRecord { owner: NatOwner::Container("db".into()), ..open("198.51.100.101") };
    daemon.nat.add(db.clone()).await.unwrap();
    // The one for which it was switched on goes first.
    daemon.nat.remove(&web()).await.unwrap();
    assert!(world.packets.state().passed_on, "the other one needs it");
    daemon.nat.remove(&db.owner).await.unwrap();
    assert!(!world.packets.state().passed_on);
}

#[tokio::test(start_paused = true)]
async fn what_is_routed_is_let_through_in_the_hosts_subnets_there() {
    let world = World::new();
    let daemon = world.started().await;
    let eth0 = "eth0".parse().unwrap();
    let routed = OpenBridges { routed: BTreeSet::from([eth0]), ..OpenBridges::default() };
    daemon.nat.open_bridges(routed).await.unwrap();
    assert!(world.packets.opens("198.51.100.0/24"));
    daemon.nat.add(record(A)).await.unwrap();
    quiet().await;
    assert_eq!(world.packets.state().rules.len(), 3, "a translated address is of that subnet");
    daemon.nat.remove(&web()).await.unwrap();
    // The host is on another LAN now; in between it had no address.
    world.fake.host(|host| host.addresses.clear());
    quiet().await;
    assert!(world.packets.opens("198.51.100.0/24"));
    world.fake.host(|host| host.addresses.push(Address::new(NIC, "192.0.2.10/24".parse().unwrap())));
    eventually("it is open for that", || world.packets.opens("192.0.2.0/24")).await;
    assert!(!world.packets.opens("198.51.100.0/24"));
    daemon.nat.open_bridges(OpenBridges::default()).await.unwrap();
    assert!(world.packets.state().rules.is_empty());
}

#[tokio::test(start_paused = true)]
async fn forwarding_stays_on_for_networks_that_the_host_routes_to() {
    let world = World::new();
    world.packets.state().passed_on = false;
    let options = NetworkOptions { mode: Mode::Routed, ..NetworkOptions::new("eth0".parse().unwrap()) };
    let network = NetworkRecord::new(network_id(), options);
    let put = || world.ledger.lock().unwrap().put_network(network.clone());
    let daemon = world.started().await;
    put();
    daemon.nat.add(open(A)).await.unwrap();
    daemon.nat.remove(&web()).await.unwrap();
    assert!(world.packets.state().passed_on, "the network's containers need it");
    // The next daemon knows what is owed, whenever it learns which networks there are.
    daemon.store.upgrade().unwrap().put(&network).await.unwrap();
    world.kill(daemon).await;
    let daemon = world.started().await;
    quiet().await;
    assert!(world.packets.state().passed_on);
    put();
    quiet().await;
    assert!(world.packets.state().passed_on);
    world.ledger.lock().unwrap().remove_network(&network_id());
    eventually("it is off again", || !world.packets.state().passed_on).await;
    // That was all: what the user sets then stays.
    world.packets.state().passed_on = true;
    world.kill(daemon).await;
    let _daemon = world.started().await;
    quiet().await;
    assert!(world.packets.state().passed_on);
}

#[tokio::test(start_paused = true)]
async fn forwarding_that_the_user_switched_on_stays_on() {
    let world = World::new();
    let daemon = world.started().await;
    daemon.nat.add(open(A)).await.unwrap();
    daemon.nat.remove(&web()).await.unwrap();
    assert!(world.packets.state().passed_on);
}

#[tokio::test(start_paused = true)]
async fn what_doctor_opens_is_closed_again_on_the_same_word() {
    let world = World::new();
    world.packets.state().passed_on = false;
    let daemon = world.started().await;
    daemon.nat.see(seen(&[("web", "203.0.113.7")]));
    daemon.nat.add(record(A)).await.unwrap();
    eventually(
        "it is shown",
        || matches!(state(&daemon), NatState::Trouble(why) if why.contains("ip_forward")),
    )
    .await;
    daemon.nat.open(BTreeSet::from([web()])).await.unwrap();
    assert!(world.packets.opens("203.0.113.7/32") && world.packets.state().passed_on);
    assert_eq!(state(&daemon), NatState::Ready);
    assert!(daemon.nat.close().await.unwrap());
    assert!(world.packets.state().rules.is_empty() && !world.packets.state().passed_on);
    assert!(!daemon.nat.close().await.unwrap(), "there is nothing left of it");
    assert_eq!(world.kill(daemon).await, [NatRecord { hairpin: "veth1".parse().ok(), ..record(A) }]);
}

#[tokio::test(start_paused = true)]
async fn ports_that_were_named_are_passed_on_and_no_others() {
    let world = World::new();
    let daemon = world.started().await;
    let ports = NatPorts::Only(vec!["8080:80/tcp".parse().unwrap()]);
    daemon.nat.add(NatRecord { ports, ..record(A) }).await.unwrap();
    daemon.nat.see(seen(&[("web", "203.0.113.7")]));
    eventually("it is behind it", || world.rules().contains("203.0.113.7")).await;
    assert!(world.rules().contains("8080") && daemon.nat.views()[&web()].ports == ["8080:80/tcp"]);
}

/// Events of which nothing is its business do not wake it.
#[tokio::test(start_paused = true)]
async fn events_of_others_are_none_of_its_business() {
    let world = World::new();
    let daemon = world.started().await;
    daemon.nat.add(record(A)).await.unwrap();
    quiet().await;
    world.fake.refuse(None);
    for n in 0..20 {
        let index = 100 + n;
        world.fake.host(|host| host.links.push(link(index, &format!("x{n}"), LinkKind::Dummy)));
        world.fake.host(|host| host.remove_link(index));
    }
    quiet().await;
    assert_eq!(world.fake.asked(), 0);
}
