//! What is stored of IPv6.

use std::net::Ipv6Addr;
use std::time::Duration;

use ipnet::Ipv6Net;
use landline_dhcp::v6::{Duid, Remembered, State6};
use landline_dhcp::{Instant, Random};
use landline_types::Mac;
use serde::{Deserialize, Serialize};

use crate::Now;

/// The IPv6 side of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6Record {
    /// Who it is, and the last state.
    pub identity: Ipv6Identity,
    /// Option 39 as it is sent.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Whether the endpoint's own options chose that name.
    #[serde(default)]
    pub hostname_given: bool,
    /// The address Docker was told, which it puts on the link itself.
    #[serde(default)]
    pub told: Option<Ipv6Net>,
    /// The addresses that were put on the sandbox's link, by Docker or by us.
    #[serde(default)]
    pub applied: Vec<Ipv6Net>,
    /// Whose the default routes are.
    #[serde(default)]
    pub defaults: Defaults6,
    /// The routes other than default routes that were set on it, where the mark does not tell whose they are.
    #[serde(default)]
    pub routes: Vec<Route6>,
    /// Whether IPv6 was switched on for the link in its sandbox. That is done once: who switches it off later means it.
    #[serde(default)]
    pub switched_on: bool,
}

/// A route: its destination, its router unless that is on the link, and its metric.
pub type Route6 = (Ipv6Net, Option<Ipv6Addr>, u32);

/// Whose the IPv6 default routes of an endpoint's link are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defaults6 {
    /// The routers to which default routes were set last; `None`: none were since the container started.
    #[serde(default)]
    pub set: Option<Vec<Ipv6Addr>>,
    /// Whether another replaced or removed one of those, after which none is set until the container starts again.
    #[serde(default)]
    pub foreign: bool,
}

/// What makes addresses stay the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6Identity {
    /// Who it is to `DHCPv6` servers.
    pub duid: Duid,
    /// The number of its association.
    pub iaid: [u8; 4],
    /// What autoconfigured addresses are made of (RFC 7217).
    pub secret: Vec<u8>,
    /// What its link was last set up with.
    #[serde(default)]
    pub state: Option<StateRecord>,
}

impl Ipv6Identity {
    /// Who a container interface is in IPv6, for good. A client identifier that names a DUID (RFC 4361) decides for both
    /// families; else it is the hardware address, where that is the container's own.
    pub fn draw(mac: Mac, shared_mac: bool, client_id: Option<&[u8]>, random: &mut impl Random) -> Self {
        const RFC4361: u8 = 255;
        let [.., a, b, c, d] = mac.octets();
        let named = client_id.and_then(|id| {
            let (&[kind, a, b, c, d], duid) = id.split_first_chunk()?;
            let duid = Duid::new(duid).ok().filter(|_| kind == RFC4361)?;
            Some((duid, [a, b, c, d]))
        });
        let (duid, iaid) = named.unwrap_or_else(|| {
            let duid = if shared_mac { Duid::from_uuid(drawn_uuid(random)) } else { Duid::from_mac(mac) };
            (duid, [a, b, c, d])
        });
        let secret = [(); 4].map(|()| random.next_u32().to_be_bytes()).concat();
        Self { duid, iaid, secret, state: None }
    }
}

/// A UUID of version 4, drawn at random, of the usual variant (RFC 9562 section 5.4).
pub fn drawn_uuid(random: &mut impl Random) -> [u8; 16] {
    let mut uuid = [0; 16];
    for part in uuid.chunks_exact_mut(4) {
        part.copy_from_slice(&random.next_u32().to_be_bytes());
    }
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// A state with its times on one boot's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRecord {
    /// The boot whose clock the times are on.
    pub boot: String,
    /// When it was stored, on that clock.
    pub stored: Instant,
    /// When it was stored by the wall clock, in seconds; only looked at after another boot.
    pub wall: u64,
    /// The state.
    pub state: State6,
}

impl StateRecord {
    /// A state as it is stored during this boot.
    pub fn of(state: &State6, boot: &str, now: Now) -> Self {
        Self { boot: boot.to_owned(), stored: now.instant, wall: now.wall, state: state.clone() }
    }

    /// The state again, if its times are on the clock of this boot.
    pub fn restore(&self, boot: &str) -> Option<State6> {
        (self.boot == boot).then(|| self.state.clone())
    }

    /// The state on the clock of this boot; what has ended meanwhile ends at boot. `None` if it was stored during
    /// another boot and the wall clock does not say how long ago.
    fn restore_across_boots(&self, boot: &str, now: Duration, wall: u64) -> Option<State6> {
        if self.boot == boot {
            return Some(self.state.clone());
        }
        let age = Duration::from_secs(wall.checked_sub(self.wall)?);
        let mut state = self.state.clone();
        let was = self.stored.since_boot().saturating_add(age);
        state.map_times(|time| Instant::from_boot((time.since_boot() + now).saturating_sub(was)));
        Some(state)
    }

    /// What a client is to start with.
    pub fn remembered(&self, boot: &str, now: Now) -> Remembered {
        let restored = self.restore_across_boots(boot, now.since_boot(), now.wall);
        let ended = |state: &State6| state.lease.as_ref().is_some_and(|lease| !lease.is_live(now.instant));
        match restored.filter(|state| !ended(state)) {
            Some(state) => state.into(),
            None => Remembered::Addresses(self.leased()),
        }
    }

    /// The addresses of its lease.
    pub fn leased(&self) -> Vec<Ipv6Addr> {
        self.state.lease.iter().flat_map(|lease| &lease.addresses).map(|leased| leased.address).collect()
    }

    /// The lease was given back: what stays is what is requested again.
    pub(crate) fn end_lease(&mut self) {
        let Some(lease) = &mut self.state.lease else { return };
        for leased in &mut lease.addresses {
            leased.valid_until = Some(lease.obtained);
        }
    }

    /// Whether there is a lease that lives.
    pub fn has_lease(&self, boot: &str, now: Instant) -> bool {
        self.boot == boot && self.state.lease.as_ref().is_some_and(|lease| lease.is_live(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use landline_dhcp::v6::{Address, Lease, LeasedAddress, Origin};

    fn at(seconds: u64) -> Instant {
        Instant::from_boot(Duration::from_secs(seconds))
    }

    /// Stored at 1000 s of boot `a` and 5000 s of the wall clock, granted at 900 s for 600 s.
    fn record() -> StateRecord {
        let address: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let until = Some(at(1500));
        let lease = Lease {
            server: Duid::from_uuid([1; 16]),
            obtained: at(900),
            t1: Some(at(1200)),
            t2: Some(at(1380)),
            addresses: vec![LeasedAddress { address, preferred_until: until, valid_until: until }],
            dns: vec![],
            search: vec![],
        };
        let address = Address {
            net: address.into(),
            origin: Origin::Dhcp,
            deprecated: false,
            preferred_until: until,
            valid_until: until,
        };
        let state = State6 { addresses: vec![address], lease: Some(lease), ..State6::default() };
        StateRecord { boot: "a".into(), stored: at(1000), wall: 5000, state }
    }

    /// The same numbers in every run; they differ from each other.
    struct Counting(u32);

    impl Random for Counting {
        fn next_u32(&mut self) -> u32 {
            self.0 += 1;
            self.0.wrapping_mul(0x9e37_79b9)
        }
    }

    const MAC: Mac = Mac::new([2, 0x42, 0xc0, 0, 2, 10]);

    #[test]
    fn a_client_identifier_with_a_duid_is_the_same_in_both_families() {
        let duid = Duid::from_uuid([7; 16]);
        let id = [&[255, 0, 0, 0, 1][..], duid.as_bytes()].concat();
        let six = Ipv6Identity::draw(MAC, true, Some(&id), &mut Counting(0));
        assert_eq!((six.duid, six.iaid), (duid, [0, 0, 0, 1]));
    }

    #[test]
    fn without_one_it_is_the_hardware_address_if_that_is_its_own() {
        let mut random = Counting(0);
        for id in [None, Some(&[1, 2, 0x42, 0xc0, 0, 2, 10][..]), Some(&[255, 0, 0, 0, 1, 0, 4][..])] {
            let own = Ipv6Identity::draw(MAC, false, id, &mut random);
            assert_eq!((own.duid, own.iaid), (Duid::from_mac(MAC), [0xc0, 0, 2, 10]), "{id:?}");
        }
        let [one, other] = [(); 2].map(|()| Ipv6Identity::draw(MAC, true, None, &mut random));
        assert_ne!(one.duid, other.duid);
        assert_ne!(one.secret, other.secret);
        assert!(one.secret.len() >= 16);
    }

    #[test]
    fn a_state_is_the_same_again_after_it_was_stored() {
        let text = serde_json::to_string(&record()).unwrap();
        assert_eq!(serde_json::from_str::<StateRecord>(&text).unwrap(), record());
        assert_eq!(record().restore("a"), Some(record().state));
        assert_eq!(record().restore("b"), None);
    }

    #[test]
    fn across_boots_what_is_left_counts_from_now() {
        let after = |wall| record().restore_across_boots("b", Duration::from_secs(10), wall);
        // 200 of 500 seconds have passed.
        let lease = after(5200).unwrap().lease.unwrap();
        assert_eq!((lease.obtained, lease.t1), (at(0), Some(at(10))));
        assert_eq!(lease.expires(), Some(at(310)));
        let over = after(5501).unwrap().lease.unwrap();
        assert_eq!(over.expires(), Some(at(9)));
        assert_eq!(after(4999), None, "the clock was set back");
    }

    #[test]
    fn what_has_ended_is_a_wish() {
        let now = Now { instant: at(1000), wall: 5000 };
        assert!(record().has_lease("a", now.instant) && !record().has_lease("b", now.instant));
        let mut given_back = record();
        given_back.end_lease();
        let requested = Remembered::Addresses(record().leased());
        assert_eq!(given_back.remembered("a", now), requested);
        assert!(!given_back.has_lease("a", now.instant));
    }
}
