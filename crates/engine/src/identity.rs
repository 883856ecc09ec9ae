//! Who a container interface is to the LAN, kept across restarts and recreation.
//!
//! An identity is what a DHCP server recognises (hardware address, client identifier) and the lease that goes
//! with it. Docker does not say which container an endpoint is being made for, so the choice here is by what is
//! known for certain, or by there being exactly one possibility; otherwise the interface gets a fresh identity
//! for as long as it lives, and the old one stays for a start that can be told apart.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use landline_model::{Called, ContainerRecord, IdentityId, IdentityRecord, KnownBy, NetworkRecord, Port};
use landline_options::NetworkId;
use landline_types::{IfName, Mac};

/// A container that may be the one that is starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The container.
    pub id: String,
    /// Its name, without the slash.
    pub name: String,
    /// The place that an orchestrator keeps for it, if its name is a new one each time.
    pub slot: Option<String>,
    /// Its host name, if known.
    pub hostname: Option<String>,
    /// The ports it exposes or publishes; `None`: nothing is known but the name.
    pub ports: Option<BTreeSet<Port>>,
    /// The address that its user named (`--ip`); no other is asked for in its name.
    pub address: Option<Ipv4Addr>,
}

impl Candidate {
    /// What it is called.
    pub(crate) fn called(&self) -> Called<'_> {
        Called::of(&self.name, self.slot.as_deref())
    }
}

/// What is known about the endpoint that is being made.
#[derive(Debug)]
pub(crate) struct IdentityQuery<'a> {
    /// The network's id.
    pub(crate) network: &'a NetworkId,
    /// What the network is called.
    pub(crate) network_name: Option<&'a str>,
    /// The network's parent.
    pub(crate) parent: &'a IfName,
    /// `--mac-address`.
    pub(crate) mac: Option<Mac>,
    /// `landline.id`.
    pub(crate) key: Option<&'a str>,
    /// What the container is called, if Docker said its name.
    pub(crate) name: Option<Called<'a>>,
    /// The address it is to have.
    pub(crate) address: Option<Ipv4Addr>,
    /// Which ports the container exposes or publishes; `None`: not known yet.
    pub(crate) ports: Option<&'a BTreeSet<Port>>,
    /// Containers attached to this network that are not running. `None`: Docker cannot be seen, as when it is just
    /// starting; then the containers of the identities themselves are all there is to go by.
    pub(crate) candidates: Option<&'a [Candidate]>,
}

impl<'a> IdentityQuery<'a> {
    /// An endpoint on this network of which nothing else is known.
    pub(crate) fn on(network: &'a NetworkRecord) -> Self {
        Self {
            network: &network.id,
            network_name: network.name.as_deref(),
            parent: &network.options.parent,
            mac: None,
            key: None,
            name: None,
            address: None,
            ports: None,
            candidates: None,
        }
    }
}

impl IdentityQuery<'_> {
    /// Whether `identity` was on this network, or on one of the same name over the same interface.
    pub(crate) fn same_network(&self, identity: &IdentityRecord) -> bool {
        let named = self.network_name.is_some() && identity.network_name.as_deref() == self.network_name;
        identity.parent == *self.parent && (identity.network == *self.network || named)
    }

    /// The identity to use, of those nobody holds. `None`: a fresh one.
    ///
    /// In this order: the hardware address the user gave, the key the user gave, the container's name, whoever had the
    /// address that it is to have, the only container it can be.
    pub(crate) fn choose<'i>(
        &self,
        identities: impl Iterator<Item = &'i IdentityRecord> + Clone,
        held: &BTreeSet<IdentityId>,
    ) -> Option<&'i IdentityRecord> {
        let busy = self.busy(identities.clone(), held);
        let free = identities.filter(|i| self.same_network(i) && !held.contains(&i.id));
        if let Some(mac) = self.mac {
            return newest(free.filter(|i| i.mac == mac));
        }
        if let Some(key) = self.key {
            return newest(free.filter(|i| i.key.as_deref() == Some(key) && !i.temporary));
        }
        // Identities with a key are for those who show the key, and temporary ones for nobody.
        let free = free.filter(|i| i.key.is_none() && !i.temporary);
        if let Some(name) = self.name {
            return newest(free.filter(|i| i.container.as_ref().is_some_and(|c| c.called() == name)));
        }
        if let Some(address) = self.address {
            let had = free.clone().filter(|i| i.lease.as_ref().is_some_and(|l| l.address == address));
            if let Some(identity) = newest(had.filter(|i| self.may_start(i))) {
                return Some(identity);
            }
        }
        let same_ports = |i: &&IdentityRecord| self.ports.is_none_or(|ports| i.ports == *ports);
        let Some(candidates) = self.candidates else {
            let stopped = free.filter(|i| i.container.is_some() && !i.destroyed).filter(same_ports);
            return only(stopped.filter(|i| self.may_have_address(i)));
        };
        let container = self.only_candidate(candidates, &busy)?;
        // A container that nothing is known about but its name may be another of several that were made at once: what
        // it was before must fit, too.
        let free = free.filter(|i| container.ports.is_some() || same_ports(i));
        let of = |test: &dyn Fn(&ContainerRecord) -> bool| {
            newest(free.clone().filter(|i| i.container.as_ref().is_some_and(test)))
        };
        of(&|c| c.id == container.id).or_else(|| of(&|c| c.called() == container.called()))
    }

    /// By what it is known whose the identity is that was chosen, or made (then it is not `known`).
    pub(crate) fn known_by(&self, identity: &IdentityRecord, known: bool) -> Option<KnownBy> {
        let has_address = || identity.lease.as_ref().is_some_and(|lease| Some(lease.address) == self.address);
        match self {
            Self { mac: Some(_), .. } => Some(KnownBy::Mac),
            Self { key: Some(_), .. } => Some(KnownBy::Key),
            Self { name: Some(_), .. } => Some(KnownBy::Name),
            _ if known && has_address() => Some(KnownBy::Address),
            _ => known.then_some(KnownBy::OnlyCandidate),
        }
    }

    /// Whether nothing tells which container it is.
    pub(crate) fn is_unsure<'i>(
        &'i self,
        identities: impl Iterator<Item = &'i IdentityRecord> + Clone,
        held: &BTreeSet<IdentityId>,
    ) -> bool {
        let told = self.mac.is_some() || self.key.is_some() || self.name.is_some() || self.address.is_some();
        !told && self.expected(identities, held).is_none()
    }

    /// How many containers may be the one that is starting, where Docker cannot be seen and nothing tells them apart.
    pub(crate) fn possible<'i>(
        &self,
        identities: impl Iterator<Item = &'i IdentityRecord> + Clone,
        held: &BTreeSet<IdentityId>,
    ) -> usize {
        let told = self.mac.is_some() || self.key.is_some() || self.name.is_some();
        if told || self.candidates.is_some() || self.choose(identities.clone(), held).is_some() {
            return 0;
        }
        let lasting = |i: &&IdentityRecord| i.key.is_none() && !i.temporary && !held.contains(&i.id);
        let of_one = |i: &&IdentityRecord| {
            let seen = i.container.as_ref().is_some_and(ContainerRecord::was_seen);
            let same_ports = self.ports.is_none_or(|ports| i.ports == *ports);
            seen && !i.destroyed && same_ports && self.may_have_address(i)
        };
        identities.filter(|i| self.same_network(i)).filter(lasting).filter(of_one).count()
    }

    /// The container that is starting, if only one can be and more is known of it than its name.
    pub(crate) fn starting<'i>(
        &self,
        identities: impl Iterator<Item = &'i IdentityRecord>,
        held: &BTreeSet<IdentityId>,
    ) -> Option<&Candidate> {
        let container = self.only_candidate(self.candidates?, &self.busy(identities, held))?;
        container.ports.is_some().then_some(container)
    }

    /// What the container that is starting is called, if only one can be, though nothing but its name may be known.
    pub(crate) fn expected<'i>(
        &'i self,
        identities: impl Iterator<Item = &'i IdentityRecord> + Clone,
        held: &BTreeSet<IdentityId>,
    ) -> Option<Called<'i>> {
        match self.candidates {
            Some(candidates) => {
                self.only_candidate(candidates, &self.busy(identities, held)).map(Candidate::called)
            }
            None => self.choose(identities, held)?.container.as_ref().map(ContainerRecord::called),
        }
    }

    fn only_candidate<'c>(
        &self,
        candidates: &'c [Candidate],
        busy: &BTreeSet<&str>,
    ) -> Option<&'c Candidate> {
        let fits = |c: &&Candidate| {
            !busy.contains(c.id.as_str())
                && c.ports.as_ref().is_none_or(|theirs| self.ports.is_none_or(|ports| theirs == ports))
                && self.may_have(c.address)
        };
        only(candidates.iter().filter(fits))
    }

    /// Whether a container whose user has named this address, or none, may be the one that starts: for one that has named an address,
    /// Docker asks for that.
    fn may_have(&self, named: Option<Ipv4Addr>) -> bool {
        named.is_none() || named == self.address
    }

    fn may_have_address(&self, identity: &IdentityRecord) -> bool {
        self.may_have(identity.container.as_ref().and_then(|container| container.address))
    }

    /// The containers that have an endpoint here already: they are not starting, even if Docker has not said so yet.
    fn busy<'i>(
        &self,
        identities: impl Iterator<Item = &'i IdentityRecord>,
        held: &BTreeSet<IdentityId>,
    ) -> BTreeSet<&'i str> {
        let here = identities.filter(|i| self.same_network(i) && held.contains(&i.id));
        here.filter_map(|i| Some(i.container.as_ref()?.id.as_str())).collect()
    }

    /// Whether the identity's container may be the one that starts. Where nobody is known to start, word of it is late.
    fn may_start(&self, identity: &IdentityRecord) -> bool {
        let (Some(container), Some(candidates)) = (&identity.container, self.candidates) else { return true };
        let late = candidates.is_empty();
        late || identity.destroyed
            || candidates.iter().any(|c| c.id == container.id || c.called() == container.called())
    }
}

/// The one there is; none if there are several.
fn only<T>(mut several: impl Iterator<Item = T>) -> Option<T> {
    several.next().filter(|_| several.next().is_none())
}

fn newest<'i>(identities: impl Iterator<Item = &'i IdentityRecord>) -> Option<&'i IdentityRecord> {
    identities.max_by_key(|identity| identity.used)
}

#[cfg(test)]
mod tests {
    use landline_options::NetworkOptions;

    use super::*;
    use landline_model::{LeaseRecord, ResolverFile};

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

    fn identity(n: u8, name: &str) -> IdentityRecord {
        let options = NetworkOptions::new("br0".parse().unwrap());
        let network = NetworkRecord {
            name: Some("lan".into()),
            ..NetworkRecord::new("net1".parse().unwrap(), options)
        };
        let (id, mac) = (format!("{n:016x}").parse().unwrap(), Mac::new([2, 0, 0, 0, 0, n]));
        let known = IdentityRecord::on(&network, id, mac);
        IdentityRecord { container: Some(container(n, name)), ..known }
    }

    fn candidate(n: u8, name: &str, ports: &[Port]) -> Candidate {
        let ports = Some(ports.iter().copied().collect());
        Candidate {
            id: format!("{n:064x}"),
            name: name.into(),
            slot: None,
            hostname: None,
            ports,
            address: None,
        }
    }

    fn with_ip(n: u8, name: &str, last: u8) -> Candidate {
        Candidate { address: Some(Ipv4Addr::new(192, 0, 2, last)), ..candidate(n, name, &[]) }
    }

    struct Case {
        network: &'static str,
        name: Option<&'static str>,
        parent: &'static str,
        mac: Option<Mac>,
        key: Option<&'static str>,
        called: Option<&'static str>,
        address: Option<Ipv4Addr>,
        ports: Option<Vec<Port>>,
        candidates: Option<Vec<Candidate>>,
        held: Vec<u8>,
    }

    impl Default for Case {
        fn default() -> Self {
            Self {
                network: "net1",
                name: Some("lan"),
                parent: "br0",
                mac: None,
                key: None,
                called: None,
                address: None,
                ports: Some(vec![]),
                candidates: Some(vec![]),
                held: vec![],
            }
        }
    }

    impl Case {
        fn choose(self, identities: &[IdentityRecord]) -> Option<u8> {
            self.ask(|query, held| query.choose(identities.iter(), held).map(|i| i.mac.octets()[5]))
        }

        fn expected(self, identities: &[IdentityRecord]) -> Option<String> {
            self.ask(|query, held| query.expected(identities.iter(), held).map(|called| called.to_string()))
        }

        fn ask<T>(self, ask: impl FnOnce(&IdentityQuery<'_>, &BTreeSet<IdentityId>) -> T) -> T {
            let ports = self.ports.map(|ports| ports.into_iter().collect());
            let query = IdentityQuery {
                network: &self.network.parse().unwrap(),
                network_name: self.name,
                parent: &self.parent.parse().unwrap(),
                mac: self.mac,
                key: self.key,
                name: self.called.map(|name| Called::of(name, None)),
                address: self.address,
                ports: ports.as_ref(),
                candidates: self.candidates.as_deref(),
            };
            let held = self.held.iter().map(|n| format!("{n:016x}").parse().unwrap()).collect();
            ask(&query, &held)
        }
    }

    #[test]
    fn a_name_is_enough_to_be_expected() {
        let known = [identity(1, "web"), identity(2, "db")];
        let by_name = |n, name| Candidate { ports: None, ..candidate(n, name, &[]) };
        let expected = |candidates: Option<Vec<Candidate>>, held: Vec<u8>| {
            let case = Case { candidates, held, ports: None, ..Case::default() };
            case.expected(&known)
        };
        assert_eq!(expected(Some(vec![by_name(9, "db")]), vec![]).as_deref(), Some("db"));
        assert_eq!(expected(Some(vec![by_name(9, "db"), by_name(8, "new")]), vec![]), None);
        assert_eq!(expected(Some(vec![]), vec![]), None);
        assert_eq!(
            expected(None, vec![1]).as_deref(),
            Some("db"),
            "the only one that Docker may be starting unseen"
        );
        assert_eq!(expected(None, vec![]), None);
    }

    #[test]
    fn while_docker_restores_its_containers_twins_may_be_each_other() {
        let known = [identity(1, "a"), identity(2, "b"), identity(3, "c")];
        let possible = |case: Case| case.ask(|query, held| query.possible(known.iter(), held));
        let unseen = || Case { candidates: None, ..Case::default() };
        assert_eq!(possible(unseen()), 3);
        assert_eq!(possible(Case { held: vec![3], ..unseen() }), 2);
        assert_eq!(possible(Case { held: vec![2, 3], ..unseen() }), 0, "it is the only one");
        assert_eq!(
            possible(Case { ports: Some(vec![(6, 80)]), ..unseen() }),
            0,
            "it has not been here before"
        );
        assert_eq!(possible(Case { key: Some("a"), ..unseen() }), 0);
        assert_eq!(possible(Case { mac: Some(Mac::new([2, 0, 0, 0, 0, 9])), ..unseen() }), 0);
        assert_eq!(possible(Case { called: Some("x"), ..unseen() }), 0);
        assert_eq!(possible(Case { network: "net2", name: Some("other"), ..unseen() }), 0);
        assert_eq!(possible(Case::default()), 0, "Docker is seen");
        let never_seen = known.each_ref().map(|i| IdentityRecord {
            container: i.container.as_ref().map(|c| ContainerRecord::named(&c.name)),
            ..i.clone()
        });
        assert_eq!(
            unseen().ask(|query, held| query.possible(never_seen.iter(), held)),
            0,
            "nobody could start it again"
        );
    }

    #[test]
    fn the_only_stopped_container_gets_its_identity_back() {
        let known = [identity(1, "web"), identity(2, "db")];
        let case = Case { candidates: Some(vec![candidate(1, "web", &[])]), ..Case::default() };
        assert_eq!(case.choose(&known), Some(1));
    }

    #[test]
    fn a_recreated_container_is_known_by_its_name() {
        let case = Case { candidates: Some(vec![candidate(9, "web", &[])]), ..Case::default() };
        assert_eq!(case.choose(&[identity(1, "web")]), Some(1));
    }

    #[test]
    fn a_name_alone_counts_if_what_it_had_fits() {
        let known = [IdentityRecord { ports: [(6, 8008)].into(), ..identity(1, "web") }];
        let by_name = || Some(vec![Candidate { ports: None, ..candidate(9, "web", &[]) }]);
        let other = Case { candidates: by_name(), ports: Some(vec![(6, 8005)]), ..Case::default() };
        assert_eq!(other.choose(&known), None, "another one that was made at the same time");
        let same = Case { candidates: by_name(), ports: Some(vec![(6, 8008)]), ..Case::default() };
        assert_eq!(same.choose(&known), Some(1));
        let changed = Some(vec![candidate(9, "web", &[(6, 8005)])]);
        let case = Case { candidates: changed, ports: Some(vec![(6, 8005)]), ..Case::default() };
        assert_eq!(case.choose(&known), Some(1), "it exposes something else now");
    }

    #[test]
    fn two_that_cannot_be_told_apart_get_nothing() {
        let candidates = Some(vec![candidate(1, "web", &[]), candidate(2, "db", &[])]);
        let case = Case { candidates, ..Case::default() };
        assert_eq!(case.choose(&[identity(1, "web"), identity(2, "db")]), None);
    }

    #[test]
    fn one_that_has_an_endpoint_already_is_not_the_one_that_starts() {
        let candidates = Some(vec![candidate(1, "web", &[]), candidate(2, "db", &[])]);
        let case = Case { candidates, held: vec![1], ..Case::default() };
        assert_eq!(case.choose(&[identity(1, "web"), identity(2, "db")]), Some(2));
    }

    #[test]
    fn ports_tell_containers_apart() {
        let candidates = Some(vec![candidate(1, "web", &[(6, 80)]), candidate(2, "db", &[(6, 5432)])]);
        let case = Case { candidates, ports: Some(vec![(6, 5432)]), ..Case::default() };
        assert_eq!(case.choose(&[identity(1, "web"), identity(2, "db")]), Some(2));
    }

    #[test]
    fn addresses_that_users_name_tell_containers_apart() {
        let known = [identity(1, "web"), identity(2, "db")];
        let both = || Some(vec![with_ip(1, "web", 7), with_ip(2, "db", 8)]);
        let asked = |last| Case { address: Some(Ipv4Addr::new(192, 0, 2, last)), ..Case::default() };
        assert_eq!(Case { candidates: both(), ..asked(8) }.choose(&known), Some(2));
        assert_eq!(Case { candidates: both(), ..asked(9) }.choose(&known), None, "neither's");
        let one = || Some(vec![with_ip(1, "web", 7), candidate(2, "db", &[])]);
        assert_eq!(Case { candidates: one(), ..asked(8) }.choose(&known), Some(2), "web would have its own");
        assert_eq!(Case { candidates: one(), ..asked(7) }.choose(&known), None, "db may be given it");
        // While Docker cannot be seen, by what was known of them.
        let mut known = known;
        for (identity, last) in known.iter_mut().zip([7, 8]) {
            identity.container.as_mut().unwrap().address = Some(Ipv4Addr::new(192, 0, 2, last));
        }
        let blind = |last| Case { candidates: None, ..asked(last) };
        assert_eq!(blind(8).choose(&known), Some(2));
        assert_eq!(blind(8).ask(|query, held| query.possible(known.iter(), held)), 0);
        assert_eq!(
            blind(9).ask(|query, held| query.possible(known.iter(), held)),
            0,
            "it has not been here before"
        );
        known[0].container.as_mut().unwrap().address = None;
        assert_eq!(blind(8).choose(&known), None);
        assert_eq!(blind(8).ask(|query, held| query.possible(known.iter(), held)), 2);
    }

    #[test]
    fn one_that_never_was_here_gets_nothing() {
        let case = Case { candidates: Some(vec![candidate(9, "new", &[])]), ..Case::default() };
        assert_eq!(case.choose(&[identity(1, "web")]), None);
    }

    #[test]
    fn what_is_held_is_not_given_again() {
        let case =
            Case { candidates: Some(vec![candidate(1, "web", &[])]), held: vec![1], ..Case::default() };
        assert_eq!(case.choose(&[identity(1, "web")]), None);
    }

    #[test]
    fn a_key_is_exact_and_private() {
        let keyed = IdentityRecord { key: Some("k1".into()), ..identity(1, "web") };
        let known = [keyed, identity(2, "web")];
        let case = |key| Case { key, candidates: Some(vec![candidate(1, "web", &[])]), ..Case::default() };
        assert_eq!(case(Some("k1")).choose(&known), Some(1));
        assert_eq!(case(Some("k2")).choose(&known), None);
        assert_eq!(case(None).choose(&known), Some(2));
    }

    #[test]
    fn a_given_hardware_address_beats_everything() {
        let mac = Some(Mac::new([2, 0, 0, 0, 0, 2]));
        let case = Case { mac, candidates: Some(vec![candidate(1, "web", &[])]), ..Case::default() };
        assert_eq!(case.choose(&[identity(1, "web"), identity(2, "db")]), Some(2));
    }

    fn with_lease(n: u8, name: &str) -> IdentityRecord {
        let lease = LeaseRecord {
            address: Ipv4Addr::new(192, 0, 2, n),
            prefix_len: 24,
            server: Ipv4Addr::new(192, 0, 2, 1),
            boot: "b".into(),
            obtained: 0,
            t1: None,
            t2: None,
            expires: None,
            wall: 0,
            options: vec![],
        };
        IdentityRecord { lease: Some(lease), ..identity(n, name) }
    }

    #[test]
    fn a_name_that_docker_says_is_enough() {
        let known = [identity(1, "web"), identity(2, "db")];
        let both = || Some(vec![candidate(1, "web", &[]), candidate(2, "db", &[])]);
        let case = |called| Case { called: Some(called), candidates: both(), ports: None, ..Case::default() };
        assert_eq!(case("db").choose(&known), Some(2));
        assert_eq!(case("new").choose(&known), None);
        assert_eq!(Case { held: vec![2], ..case("db") }.choose(&known), None);
    }

    #[test]
    fn who_had_the_address_that_is_asked_for_has_it_again() {
        let known = [with_lease(1, "web"), with_lease(2, "db")];
        let address = Some(Ipv4Addr::new(192, 0, 2, 2));
        let both = Some(vec![candidate(1, "web", &[(6, 80)]), candidate(2, "db", &[])]);
        let case = Case { address, candidates: both, ports: None, ..Case::default() };
        assert_eq!(case.choose(&known), Some(2));
        let other = Some(vec![candidate(3, "new", &[])]);
        let case = Case { address, candidates: other, ports: None, ..Case::default() };
        assert_eq!(case.choose(&known), None, "it is a living container's, which does not start");
        let case = Case { address, candidates: Some(vec![]), ports: None, ..Case::default() };
        assert_eq!(case.choose(&known), Some(2), "word of whoever starts is late");
        let gone = [IdentityRecord { destroyed: true, ..with_lease(2, "db") }];
        let other = Some(vec![candidate(3, "new", &[])]);
        let case = Case { address, candidates: other, ports: None, ..Case::default() };
        assert_eq!(case.choose(&gone), Some(2));
    }

    #[test]
    fn ports_that_are_not_known_yet_tell_nothing() {
        let candidates = || Some(vec![candidate(1, "web", &[(6, 80)])]);
        let known = [IdentityRecord { ports: [(6, 80)].into(), ..identity(1, "web") }];
        let case = Case { candidates: candidates(), ports: None, ..Case::default() };
        assert_eq!(case.choose(&known), Some(1));
        let case = Case { candidates: candidates(), ports: Some(vec![]), ..Case::default() };
        assert_eq!(case.choose(&known), None);
    }

    #[test]
    fn while_docker_cannot_be_seen_the_identities_are_what_there_is() {
        let blind = || Case { candidates: None, ..Case::default() };
        assert_eq!(blind().choose(&[identity(1, "web")]), Some(1));
        assert_eq!(blind().choose(&[identity(1, "web"), identity(2, "db")]), None);
        let removed = IdentityRecord { destroyed: true, ..identity(2, "db") };
        assert_eq!(blind().choose(&[identity(1, "web"), removed]), Some(1));
        let db = IdentityRecord { ports: BTreeSet::from([(6, 5432)]), ..identity(2, "db") };
        assert_eq!(
            Case { ports: Some(vec![(6, 5432)]), ..blind() }.choose(&[identity(1, "web"), db]),
            Some(2)
        );
    }

    #[test]
    fn networks_made_anew_keep_their_identities_if_name_and_parent_are_the_same() {
        let candidates = || Some(vec![candidate(1, "web", &[])]);
        let renewed = Case { network: "net2", candidates: candidates(), ..Case::default() };
        assert_eq!(renewed.choose(&[identity(1, "web")]), Some(1));
        let unnamed = Case { network: "net2", name: None, candidates: candidates(), ..Case::default() };
        assert_eq!(unnamed.choose(&[identity(1, "web")]), None);
        let elsewhere = Case { parent: "br1", candidates: candidates(), ..Case::default() };
        assert_eq!(elsewhere.choose(&[identity(1, "web")]), None);
    }
}
