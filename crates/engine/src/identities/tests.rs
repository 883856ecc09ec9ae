use landline_options::Mode;

use super::*;
use landline_model::{Called, ResolverFile};
use landline_options::NetworkOptions;
use landline_types::Mac;

fn network() -> NetworkRecord {
    NetworkRecord {
        id: "net1".parse().unwrap(),
        name: Some("lan".into()),
        options: NetworkOptions::new("br0".parse().unwrap()),
        nic: None,
        ipam_gateway: None,
        ipam_gateway_v6: None,
        bridge_address: None,
    }
}

fn query<'a>(network: &'a NetworkRecord, ports: &'a BTreeSet<landline_model::Port>) -> IdentityQuery<'a> {
    IdentityQuery { ports: Some(ports), candidates: Some(&[]), ..IdentityQuery::on(network) }
}

fn endpoint(n: u8) -> EndpointId {
    format!("{n:064x}").parse().unwrap()
}

fn container(n: u8, name: &str) -> ContainerRecord {
    ContainerRecord {
        id: format!("{n:064x}"),
        name: name.into(),
        slot: None,
        hostname: None,
        resolver: ResolverFile::default(),
        auto_remove: false,
        address: None,
    }
}

/// Takes a fresh identity for `endpoint` and finds out that it is `name`'s.
fn start(identities: &Identities, n: u8, name: &str) -> IdentityRecord {
    let (network, ports) = (network(), BTreeSet::new());
    let query = query(&network, &ports);
    let identity = identities.take(&endpoint(n), &network, &query);
    identities.keep(identity.clone());
    identities.confirm(&identity.id, &query, &network.options, &container(n, name));
    identities.get(&identity.id).unwrap()
}

/// Identities that are derived on every network.
fn site() -> Identities {
    let identities = Identities::default();
    let key = Some(SiteKey::new([7; 32]));
    identities.derive(Derivation { key, by_default: true });
    identities
}

#[test]
fn who_has_a_name_is_the_same_on_every_host() {
    let (network, ports) = (network(), BTreeSet::new());
    let by_name = IdentityQuery { name: Some(Called::of("web", None)), ..query(&network, &ports) };
    let [here, there] = [1, 2].map(|n| site().take(&endpoint(n), &network, &by_name));
    assert_eq!(here.derived.as_deref(), Some("web"));
    assert_eq!((here.mac, &here.client_id, &here.ipv6), (there.mac, &there.client_id, &there.ipv6));
    assert_eq!(site().derived(&network, "web").unwrap().mac, here.mac);
    let by_key = IdentityQuery { key: Some("web"), ..query(&network, &ports) };
    assert_eq!(site().take(&endpoint(1), &network, &by_key).mac, here.mac);
    let candidates = [Candidate {
        id: "c".into(),
        name: "web".into(),
        slot: None,
        hostname: None,
        ports: None,
        address: None,
    }];
    let only = IdentityQuery { candidates: Some(&candidates), ..query(&network, &ports) };
    assert_eq!(site().take(&endpoint(1), &network, &only).mac, here.mac);
}

#[test]
fn who_has_no_certain_name_or_a_hardware_address_of_its_own_is_not_derived() {
    let (network, ports) = (network(), BTreeSet::new());
    let drawn_is = |identity: IdentityRecord| identity.derived.is_none();
    assert!(drawn_is(site().take(&endpoint(1), &network, &query(&network, &ports))), "nameless");
    let mac = Some(Mac::new([2, 0, 0, 0, 0, 1]));
    let given = IdentityQuery { mac, name: Some(Called::of("web", None)), ..query(&network, &ports) };
    let given = site().take(&endpoint(1), &network, &given);
    assert_eq!(Some(given.mac), mac);
    assert!(drawn_is(given));
    let drawn = NetworkOptions { identity: Some(IdentitySource::Drawn), ..network.options.clone() };
    let drawn = NetworkRecord { options: drawn, ..network.clone() };
    let by_name = IdentityQuery { name: Some(Called::of("web", None)), ..query(&network, &ports) };
    assert!(drawn_is(site().take(&endpoint(1), &drawn, &by_name)), "the network says otherwise");
    assert!(drawn_is(Identities::default().take(&endpoint(1), &network, &by_name)), "without a key");
}

#[test]
fn one_derived_identity_lives_once_on_a_host() {
    let (network, ports) = (network(), BTreeSet::new());
    let by_key = IdentityQuery { key: Some("web"), ..query(&network, &ports) };
    let identities = site();
    let first = identities.take(&endpoint(1), &network, &by_key);
    identities.keep(first.clone());
    let second = identities.take(&endpoint(2), &network, &by_key);
    assert!(first.derived.is_some() && second.derived.is_none());
    assert_ne!(first.mac, second.mac);
}

#[test]
fn one_derived_identity_lives_once_where_hardware_addresses_are_shared() {
    let ports = BTreeSet::new();
    let shared = NetworkOptions { mode: Mode::Ipvlan, ..network().options };
    let shared = NetworkRecord { options: shared, ..network() };
    let by_key = IdentityQuery { key: Some("web"), ..query(&shared, &ports) };
    let identities = site();
    let first = identities.take(&endpoint(1), &shared, &by_key);
    // As the start leaves it.
    identities.keep(IdentityRecord { mac: Mac::new([0x52, 0x54, 0, 0, 0, 1]), ..first.clone() });
    assert_eq!(identities.take(&endpoint(2), &shared, &by_key).derived, None);
    assert!(first.derived.is_some());
}

#[test]
fn a_container_that_was_renamed_keeps_its_derived_identity_to_itself() {
    let (network, ports) = (network(), BTreeSet::new());
    let identities = site();
    let by_name = IdentityQuery { name: Some(Called::of("web", None)), ..query(&network, &ports) };
    let old = identities.take(&endpoint(1), &network, &by_name);
    identities.keep(old.clone());
    identities.confirm(&old.id, &by_name, &network.options, &container(1, "web"));
    identities.change(&old.id, |record| record.container = Some(container(1, "web-old")));
    identities.release(&old.id);
    let new = identities.take(&endpoint(2), &network, &by_name);
    assert_eq!(new.derived, None, "web-old may come back");
}

#[test]
fn who_could_not_be_told_at_first_keeps_what_it_was_given() {
    let (network, ports) = (network(), BTreeSet::new());
    let identities = site();
    let drawn = identities.take(&endpoint(1), &network, &query(&network, &ports));
    identities.keep(drawn.clone());
    identities.confirm(&drawn.id, &query(&network, &ports), &network.options, &container(1, "web"));
    assert!(!identities.get(&drawn.id).unwrap().temporary);
    identities.release(&drawn.id);
    let by_name = IdentityQuery { name: Some(Called::of("web", None)), ..query(&network, &ports) };
    let again = identities.take(&endpoint(2), &network, &by_name);
    assert_eq!((again.id, again.mac), (drawn.id.clone(), drawn.mac));
    // Its user decides when that ends.
    identities.release(&drawn.id);
    identities.forget(&drawn.id);
    assert!(identities.take(&endpoint(3), &network, &by_name).derived.is_some());
}

#[test]
fn twins_that_start_together_keep_what_they_were_given_also_where_identities_are_derived() {
    let (network, ports) = (network(), BTreeSet::new());
    let identities = site();
    let untold = query(&network, &ports);
    let first: Vec<IdentityRecord> = (1..=3)
        .map(|n| {
            let given = identities.take(&endpoint(n), &network, &untold);
            identities.keep(given.clone());
            given
        })
        .collect();
    for (n, given) in (1..).zip(&first) {
        identities.confirm(&given.id, &untold, &network.options, &container(n, &format!("twin{n}")));
        identities.release(&given.id);
    }
    // Each is told by its name the next time.
    for (n, given) in (1..).zip(&first) {
        let name = format!("twin{n}");
        let by_name = IdentityQuery { name: Some(Called::of(&name, None)), ..query(&network, &ports) };
        assert_eq!(identities.take(&endpoint(10 + n), &network, &by_name).mac, given.mac, "{name}");
    }
}

#[test]
fn on_a_network_without_a_name_what_is_drawn_is_for_one_run() {
    let ports = BTreeSet::new();
    let nameless = NetworkRecord { name: None, ..network() };
    let identities = site();
    let untold = IdentityQuery { network_name: None, ..query(&nameless, &ports) };
    let drawn = identities.take(&endpoint(1), &nameless, &untold);
    identities.keep(drawn.clone());
    identities.confirm(&drawn.id, &untold, &nameless.options, &container(1, "web"));
    assert!(identities.get(&drawn.id).unwrap().temporary);
}

#[test]
fn what_was_drawn_stays_until_it_is_forgotten() {
    let identities = Identities::default();
    let web = start(&identities, 1, "web");
    identities.release(&web.id);
    identities.derive(Derivation { key: Some(SiteKey::new([7; 32])), by_default: true });
    let (network, ports) = (network(), BTreeSet::new());
    let by_name = IdentityQuery { name: Some(Called::of("web", None)), ..query(&network, &ports) };
    assert_eq!(identities.take(&endpoint(2), &network, &by_name).mac, web.mac);
    identities.release(&web.id);
    identities.forget(&web.id);
    let again = identities.take(&endpoint(2), &network, &by_name);
    assert!(again.derived.is_some() && again.mac != web.mac);
}

#[test]
fn what_was_derived_for_another_container_is_lent_for_one_run() {
    let (network, ports) = (network(), BTreeSet::new());
    let identities = site();
    let by_name = IdentityQuery { name: Some(Called::of("web", None)), ..query(&network, &ports) };
    let lent = identities.take(&endpoint(1), &network, &by_name);
    identities.keep(lent.clone());
    identities.confirm(&lent.id, &by_name, &network.options, &container(9, "db"));
    assert!(identities.get(&lent.id).unwrap().temporary);
    identities.release(&lent.id);
    let own = identities.take(&endpoint(2), &network, &by_name);
    assert_eq!((own.mac, own.id == lent.id), (lent.mac, false));
    identities.keep(own.clone());
    identities.confirm(&own.id, &by_name, &network.options, &container(1, "web"));
    assert!(!identities.get(&own.id).unwrap().temporary);
}

#[test]
fn the_first_identity_of_a_container_is_its_own() {
    let identities = Identities::default();
    let web = start(&identities, 1, "web");
    assert!(!web.temporary);
    assert_eq!(web.container.unwrap().name, "web");
}

#[test]
fn a_second_one_is_temporary_and_the_first_stays() {
    let identities = Identities::default();
    let first = start(&identities, 1, "web");
    identities.release(&first.id);
    let second = start(&identities, 2, "web");
    assert!(second.temporary);
    assert_ne!(first.mac, second.mac);
    // More becomes known of the container, and it is the same one.
    let (network, ports) = (network(), BTreeSet::new());
    let more = ContainerRecord { hostname: Some("web".into()), ..container(2, "web") };
    identities.confirm(&second.id, &query(&network, &ports), &network.options, &more);
    assert!(identities.get(&second.id).unwrap().temporary);
    assert!(!identities.get(&first.id).unwrap().temporary);
}

#[test]
fn a_wrong_choice_is_not_written_into_the_others_record() {
    let identities = Identities::default();
    let web = start(&identities, 1, "web");
    let (network, ports) = (network(), BTreeSet::new());
    let changed =
        identities.confirm(&web.id, &query(&network, &ports), &network.options, &container(2, "db"));
    assert_eq!(changed, None);
    assert_eq!(identities.get(&web.id), Some(web));
}

#[test]
fn an_identity_is_named_by_its_id_or_its_key() {
    let identities = Identities::default();
    let (web, db) = (start(&identities, 1, "web"), start(&identities, 2, "db"));
    identities.change(&web.id, |record| record.key = Some("shop".into()));
    identities.change(&db.id, |record| record.key = Some("shop".into()));
    let mut both = identities.named("shop");
    both.sort();
    let mut all = vec![web.id.clone(), db.id.clone()];
    all.sort();
    assert_eq!(both, all);
    assert_eq!(identities.named(web.id.as_str()), std::slice::from_ref(&web.id));
    assert!(identities.named("").is_empty() && identities.named("shop2").is_empty());
    // A key that looks like an id is a key as long as no identity has that id.
    identities.change(&db.id, |record| record.key = Some("0".repeat(16)));
    assert_eq!(identities.named(&"0".repeat(16)), [db.id]);
}

#[test]
fn what_shared_its_parents_hardware_address_gets_one_of_its_own_elsewhere() {
    let identities = Identities::default();
    let web = start(&identities, 1, "web");
    identities.change(&web.id, |r| (r.mode, r.client_id) = (Mode::Ipvlan, Some(vec![255, 1])));
    identities.release(&web.id);
    let (network, ports) = (network(), BTreeSet::new());
    let candidate = Candidate {
        id: web.container.as_ref().unwrap().id.clone(),
        name: "web".into(),
        slot: None,
        hostname: None,
        ports: None,
        address: None,
    };
    let candidates = [candidate];
    let query = IdentityQuery { candidates: Some(&candidates), ..query(&network, &ports) };
    let again = identities.take(&endpoint(2), &network, &query);
    assert_eq!((again.id, again.mode, again.client_id), (web.id, Mode::Bridge, None));
    assert_ne!(again.mac, web.mac);
    assert_eq!(again.container, web.container);
}

#[test]
fn what_is_held_is_neither_forgotten_nor_swept() {
    let identities = Identities::default();
    let web = start(&identities, 1, "web");
    identities.change(&web.id, |r| (r.destroyed, r.used) = (true, 0));
    assert_eq!(identities.forget(&web.id), None);
    assert!(identities.sweep().is_empty());
    identities.release(&web.id);
    assert_eq!(identities.sweep(), [web.id]);
}

#[test]
fn a_stopped_container_is_never_swept() {
    let identities = Identities::default();
    let web = start(&identities, 1, "web");
    identities.release(&web.id);
    identities.change(&web.id, |r| r.used = 0);
    assert!(identities.sweep().is_empty());
}

#[test]
fn hardware_addresses_are_local_and_unicast() {
    for _ in 0..100 {
        let [first, ..] = random_mac().octets();
        assert_eq!(first & 3, 2);
    }
}

#[test]
fn of_two_that_show_one_key_at_once_the_first_has_it_again() {
    let (network, ports) = (network(), BTreeSet::new());
    let by_key = IdentityQuery { key: Some("web"), ..query(&network, &ports) };
    let identities = Identities::default();
    let begin = |n: u8, name: &str| {
        let identity = identities.take(&endpoint(n), &network, &by_key);
        identities.keep(identity.clone());
        identities.confirm(&identity.id, &by_key, &network.options, &container(n, name));
        identities.get(&identity.id).unwrap()
    };
    let (first, second) = (begin(1, "blue"), begin(2, "green"));
    assert_ne!(first.mac, second.mac);
    assert!(!first.temporary && second.temporary);
    identities.release(&first.id);
    identities.release(&second.id);
    identities.change(&second.id, |record| record.used += 10);
    assert_eq!(identities.take(&endpoint(3), &network, &by_key).id, first.id);
}

#[test]
fn a_slots_next_task_is_its_last_one_and_two_at_once_are_two() {
    let (network, ports) = (network(), BTreeSet::new());
    let task = |n: u8, slot: &str| ContainerRecord {
        slot: Some(slot.into()),
        ..container(n, &format!("{slot}.task{n}"))
    };
    let identities = Identities::default();
    let begin = |n: u8, slot: &str| {
        let ContainerRecord { id, name, slot, .. } = task(n, slot);
        let candidates = [Candidate {
            id,
            name,
            slot: slot.clone(),
            hostname: None,
            ports: Some(BTreeSet::new()),
            address: None,
        }];
        let query = IdentityQuery { candidates: Some(&candidates), ..query(&network, &ports) };
        let identity = identities.take(&endpoint(n), &network, &query);
        identities.keep(identity.clone());
        identities.confirm(&identity.id, &query, &network.options, &task(n, slot.as_deref().unwrap()));
        identities.get(&identity.id).unwrap()
    };
    let (one, other) = (begin(1, "web.1"), begin(2, "web.2"));
    identities.release(&one.id);
    let again = begin(3, "web.1");
    assert_eq!((again.id.clone(), again.mac), (one.id.clone(), one.mac));
    // The update starts the next one first.
    let next = begin(4, "web.1");
    assert!(next.temporary && next.mac != one.mac && next.mac != other.mac);
    assert!(!identities.get(&one.id).unwrap().temporary);
    assert_eq!(identities.of(&network, "web.1").unwrap().id, one.id);
    // A container that happens to have such a name is another.
    identities.release(&one.id);
    let named = IdentityQuery { name: Some(Called::of("web.1", None)), ..query(&network, &ports) };
    assert_ne!(identities.take(&endpoint(5), &network, &named).id, one.id);
}

/// Its new image exposes a port: from the first start with it on, the container is known by that port.
#[test]
fn what_a_container_exposes_now_is_what_it_is_known_by_where_docker_cannot_be_seen() {
    let network = network();
    let exposed: BTreeSet<landline_model::Port> = [(6, 80)].into();
    let identities = Identities::default();
    let web = start(&identities, 1, "web");
    identities.release(&web.id);
    let candidates = [Candidate {
        id: container(1, "web").id,
        name: "web".into(),
        slot: None,
        hostname: None,
        ports: Some(exposed.clone()),
        address: None,
    }];
    let seen = IdentityQuery { candidates: Some(&candidates), ..query(&network, &exposed) };
    let again = identities.take(&endpoint(2), &network, &seen);
    assert_eq!(again.id, web.id);
    identities.keep(again);
    identities.release(&web.id);
    let blind = IdentityQuery { candidates: None, ..query(&network, &exposed) };
    assert_eq!(identities.take(&endpoint(3), &network, &blind).id, web.id);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_for_another_is_given_to_nobody_for_a_minute() {
    let identities = Identities::default();
    let web = start(&identities, 1, "web");
    identities.release(&web.id);
    let (network, ports) = (network(), BTreeSet::new());
    let blind = IdentityQuery { candidates: None, ..query(&network, &ports) };
    let taken = |n: u8| {
        let taken = identities.take(&endpoint(n), &network, &blind);
        identities.release(&taken.id);
        taken.id
    };
    assert_eq!(taken(2), web.id, "the only one there is");
    identities.suspect(&web.id);
    assert_ne!(taken(3), web.id);
    tokio::time::advance(SUSPICION).await;
    assert_eq!(taken(4), web.id);
}
