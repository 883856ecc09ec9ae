//! Addresses made of routers' prefixes (RFC 4862 section 5.5).

use std::net::Ipv6Addr;
use std::time::Duration;

use ipnet::Ipv6Net;

use super::advertised::is_usable;
use super::config::Config;
use super::table::{earlier, end, is_live};
use crate::time::Instant;
use crate::wire::ra::Prefix;

/// With more prefixes than this on a link the rest is ignored.
const MAX_ADDRESSES: usize = 8;
/// Interface identifiers are 64 bits long (RFC 4291 section 2.5.1), so prefixes are too.
pub(super) const PREFIX_LEN: u8 = 64;
/// Advertisements, which anybody can forge, do not shorten what is left of an address's life below this.
const TWO_HOURS: Duration = Duration::from_hours(2);
/// How often another address is made after a conflict (RFC 7217: `IDGEN_RETRIES`).
const MAX_CONFLICTS: u8 = 3;

/// An address made of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Autoconf {
    pub(super) prefix: Ipv6Net,
    pub(super) address: Ipv6Addr,
    /// Conflicts so far.
    conflicts: u8,
    pub(super) preferred_until: Option<Instant>,
    pub(super) valid_until: Option<Instant>,
    /// Its prefix was said on this network, as far as is known.
    heard: bool,
}

/// All of them, one for each prefix.
#[derive(Debug, Clone, Default)]
pub(super) struct Slaac(Vec<Autoconf>);

impl Slaac {
    /// An address from before; `heard`: on this network.
    pub(super) fn remember(
        &mut self,
        config: &Config,
        address: Ipv6Addr,
        preferred_until: Option<Instant>,
        valid_until: Option<Instant>,
        heard: bool,
    ) {
        let Ok(prefix) = Ipv6Net::new(address, PREFIX_LEN).map(|net| net.trunc()) else { return };
        let known = self.0.iter().any(|own| own.prefix == prefix);
        if known || !is_usable(prefix) || self.0.len() >= MAX_ADDRESSES {
            return;
        }
        // One that is not made the way it would be made now is given up.
        let conflicts =
            (0..=MAX_CONFLICTS).find(|&n| make(config, prefix, n) == address).unwrap_or(MAX_CONFLICTS);
        let address = make(config, prefix, conflicts);
        self.0.push(Autoconf { prefix, address, conflicts, preferred_until, valid_until, heard });
    }

    /// A prefix with flag A.
    pub(super) fn hear(&mut self, now: Instant, config: &Config, said: &Prefix) {
        let ok = said.autonomous
            && said.prefix.prefix_len() == PREFIX_LEN
            && is_usable(said.prefix)
            && said.preferred <= said.valid;
        if !ok {
            return;
        }
        if let Some(own) = self.0.iter_mut().find(|own| own.prefix == said.prefix) {
            own.refresh(now, said);
        } else if said.valid > 0 && self.0.len() < MAX_ADDRESSES {
            self.0.push(Autoconf {
                prefix: said.prefix,
                address: make(config, said.prefix, 0),
                conflicts: 0,
                preferred_until: end(now, said.preferred),
                valid_until: end(now, said.valid),
                heard: true,
            });
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Autoconf> {
        self.0.iter()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.0.retain(|own| is_live(own.valid_until, now));
    }

    pub(super) fn doubt(&mut self) {
        self.0.iter_mut().for_each(|own| own.heard = false);
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.0.iter().any(|own| !own.heard)
    }

    pub(super) fn drop_doubted(&mut self) {
        self.0.retain(|own| own.heard);
    }

    /// When addresses stop to be preferred, and to be.
    pub(super) fn ends(&self) -> impl Iterator<Item = Instant> {
        self.0.iter().flat_map(|own| [own.preferred_until, own.valid_until]).flatten()
    }

    /// Somebody else has this address: another is made, if there is another.
    pub(super) fn replace(&mut self, config: &Config, address: Ipv6Addr) {
        if let Some(own) = self.0.iter_mut().find(|own| own.address == address)
            && config.interface_id.has_next()
            && own.conflicts < MAX_CONFLICTS
        {
            own.conflicts += 1;
            own.address = make(config, own.prefix, own.conflicts);
        }
    }
}

impl Autoconf {
    /// The prefix again (RFC 4862 section 5.5.3 (e)).
    fn refresh(&mut self, now: Instant, said: &Prefix) {
        self.heard = true;
        let told = end(now, said.valid);
        let floor = now + TWO_HOURS;
        let is_long = told.is_none_or(|told| told > floor);
        let is_longer = match (told, self.valid_until) {
            (None, _) => true,
            (Some(told), Some(present)) => told > present,
            (Some(_), None) => false,
        };
        if is_long || is_longer {
            self.valid_until = told;
        } else if self.valid_until.is_none_or(|present| present > floor) {
            self.valid_until = Some(floor);
        }
        self.preferred_until = match end(now, said.preferred) {
            None => self.valid_until,
            told => earlier(told, self.valid_until),
        };
    }
}

fn make(config: &Config, prefix: Ipv6Net, conflicts: u8) -> Ipv6Addr {
    config.interface_id.address(config.mac, prefix.network(), conflicts)
}

#[cfg(test)]
mod tests {
    use landline_types::Mac;

    use super::*;
    use crate::v6::InterfaceId;
    use crate::wire::ra::INFINITE;

    const NOW: Instant = Instant::from_boot(Duration::from_secs(1_000_000));

    fn config() -> Config {
        Config::new(Mac::new([2, 0x42, 0xc0, 0, 2, 10]))
    }

    fn prefix(text: &str, valid: u32, preferred: u32) -> Prefix {
        Prefix { prefix: text.parse().expect("a prefix"), on_link: true, autonomous: true, valid, preferred }
    }

    fn left(end: Option<Instant>, now: Instant) -> Option<u64> {
        end.map(|end| end.saturating_since(now).as_secs())
    }

    #[test]
    fn which_prefixes_make_an_address() {
        let count = |prefix: &Prefix| {
            let mut slaac = Slaac::default();
            slaac.hear(NOW, &config(), prefix);
            slaac.iter().count()
        };
        let good = prefix("2001:db8::/64", 7200, 3600);
        assert_eq!(count(&good), 1);
        assert_eq!(count(&Prefix { autonomous: false, ..good }), 0);
        for (bad, why) in [
            (prefix("2001:db8::/56", 7200, 3600), "not 64 bits"),
            (prefix("2001:db8::/65", 7200, 3600), "not 64 bits"),
            (prefix("fe80::/64", 7200, 3600), "link-local"),
            (prefix("ff02::/64", 7200, 3600), "groups"),
            (prefix("::/64", 7200, 3600), "nothing"),
            (prefix("2001:db8::/64", 3600, 7200), "preferred longer than valid"),
            (prefix("2001:db8::/64", 0, 0), "over"),
        ] {
            assert_eq!(count(&bad), 0, "{why}");
        }
    }

    #[test]
    fn not_more_than_a_few() {
        let mut slaac = Slaac::default();
        for n in 1..100 {
            slaac.hear(NOW, &config(), &prefix(&format!("2001:db8:{n}::/64"), 7200, 3600));
        }
        assert_eq!(slaac.iter().count(), MAX_ADDRESSES);
    }

    /// Hears a prefix for `first` seconds, and 1000 s later for `second`: what is left then.
    fn then(first: u32, second: u32) -> Option<u64> {
        let mut slaac = Slaac::default();
        slaac.hear(NOW, &config(), &prefix("2001:db8::/64", first, first));
        let later = NOW + Duration::from_secs(1000);
        slaac.hear(later, &config(), &prefix("2001:db8::/64", second, second));
        let own = slaac.iter().next().expect("an address");
        assert!(own.valid_until.is_none() || own.preferred_until <= own.valid_until);
        left(own.valid_until, later)
    }

    #[test]
    fn lives_are_not_cut_short() {
        assert_eq!(then(86_400, 7201), Some(7201), "over two hours counts");
        assert_eq!(then(86_400, 100), Some(7200), "no less than two hours are left");
        assert_eq!(then(86_400, 0), Some(7200));
        assert_eq!(then(INFINITE, 0), Some(7200));
        assert_eq!(then(5000, 100), Some(4000), "what is short stays as it is");
        assert_eq!(then(5000, 4001), Some(4001), "longer counts");
        assert_eq!(then(5000, INFINITE), None);
        assert_eq!(then(INFINITE, INFINITE), None);
    }

    #[test]
    fn preference_can_end_at_once() {
        let mut slaac = Slaac::default();
        slaac.hear(NOW, &config(), &prefix("2001:db8::/64", 86_400, 86_400));
        slaac.hear(NOW, &config(), &prefix("2001:db8::/64", 0, 0));
        let own = slaac.iter().next().expect("an address");
        assert_eq!((left(own.preferred_until, NOW), left(own.valid_until, NOW)), (Some(0), Some(7200)));
    }

    #[test]
    fn conflicts_make_other_addresses_up_to_a_point() {
        let mut config = config();
        let mut slaac = Slaac::default();
        slaac.hear(NOW, &config, &prefix("2001:db8::/64", 7200, 3600));
        let address = |slaac: &Slaac| slaac.iter().next().expect("an address").address;
        let first = address(&slaac);
        slaac.replace(&config, first);
        assert_eq!(address(&slaac), first, "EUI-64 has no other");

        config.interface_id =
            InterfaceId::Stable { secret: vec![1; 32], interface: b"web".to_vec(), network: Vec::new() };
        let mut slaac = Slaac::default();
        slaac.hear(NOW, &config, &prefix("2001:db8::/64", 7200, 3600));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..9 {
            seen.insert(address(&slaac));
            let contested = address(&slaac);
            slaac.replace(&config, contested);
        }
        assert_eq!(seen.len(), 4);

        let last = address(&slaac);
        let mut again = Slaac::default();
        again.remember(&config, last, None, None, true);
        assert_eq!(address(&again), last, "conflicts are not forgotten");
    }
}
