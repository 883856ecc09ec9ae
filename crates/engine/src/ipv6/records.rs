//! What is stored of IPv6.

use std::net::Ipv6Addr;
use std::time::Duration;

use ipnet::Ipv6Net;
use landline_dhcp::Instant;
use landline_dhcp::v6::{Duid, Remembered, State6};
use landline_kernel::boottime;
use serde::{Deserialize, Serialize};

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
    pub fn of(state: &State6, boot: &str) -> Self {
        Self {
            boot: boot.to_owned(),
            stored: Instant::from_boot(boottime::now()),
            wall: crate::identities::now(),
            state: state.clone(),
        }
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
    pub(crate) fn remembered(&self, boot: &str) -> Remembered {
        let now = boottime::now();
        let restored = self.restore_across_boots(boot, now, crate::identities::now());
        let ended = |state: &State6| {
            state.lease.as_ref().is_some_and(|lease| !lease.is_live(Instant::from_boot(now)))
        };
        match restored.filter(|state| !ended(state)) {
            Some(state) => state.into(),
            None => Remembered::Addresses(self.leased()),
        }
    }

    /// The addresses of its lease.
    pub fn leased(&self) -> Vec<Ipv6Addr> {
        self.state.lease.iter().flat_map(|lease| &lease.addresses).map(|leased| leased.address).collect()
    }

    /// The lease was given back: what stays is a wish.
    pub(crate) fn end_lease(&mut self) {
        let Some(lease) = &mut self.state.lease else { return };
        for leased in &mut lease.addresses {
            leased.valid_until = Some(lease.obtained);
        }
    }

    /// Whether there is a lease that lives.
    pub(crate) fn has_lease(&self, boot: &str) -> bool {
        let now = Instant::from_boot(boottime::now());
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
        let mut given_back = record();
        given_back.end_lease();
        given_back.boot = boottime::boot_id().unwrap();
        let wish = Remembered::Addresses(record().leased());
        assert_eq!(given_back.remembered(&given_back.boot), wish);
        assert!(!given_back.has_lease(&given_back.boot));
    }
}
