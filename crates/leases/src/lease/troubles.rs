//! What has kept a DHCP client from using the addresses it was given, and the sentence that says so.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use landline_types::Mac;

use crate::addressing::permit::NotPermitted;

/// How many conflicts are remembered.
const MOST: usize = 8;

/// As many declined addresses in a row are more than the odd squatter.
const REPEATED: u32 = 3;

/// What went wrong since an address was last used without trouble.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Troubles {
    /// Why the last address may not be used, and the `DHCPv4` server that gave it.
    refused: Option<(Option<Ipv4Addr>, NotPermitted)>,
    /// The addresses that others answered for, and who did; the newest last.
    contested: Vec<(IpAddr, Mac)>,
    /// How many of both there were.
    count: u32,
}

impl Troubles {
    /// An address was given that may not be used; by which `DHCPv4` server.
    pub fn refuse(&mut self, server: Option<Ipv4Addr>, why: NotPermitted) {
        self.count = self.count.saturating_add(1);
        self.refused = Some((server, why));
    }

    /// Another machine answered for an address.
    pub fn contest(&mut self, address: impl Into<IpAddr>, by: Mac) {
        let address = address.into();
        self.count = self.count.saturating_add(1);
        self.contested.retain(|known| *known != (address, by));
        if self.contested.len() == MOST {
            self.contested.remove(0);
        }
        self.contested.push((address, by));
    }

    /// An address is in use and stays.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether an address was refused that another on this host has.
    pub fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Whether the address that was refused is the host's or another endpoint's.
    pub fn is_shared(&self) -> bool {
        let why = self.refused.as_ref().map(|(_, why)| why);
        matches!(why, Some(NotPermitted::Host { .. } | NotPermitted::Endpoint { .. }))
    }

    /// What is wrong and what to do about it; `None`: nothing has gone wrong.
    pub fn sentence(&self) -> Option<(String, &'static str)> {
        if let Some((by, addresses)) = self.one_for_all() {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let hint = if addresses.iter().any(IpAddr::is_ipv6) {
                "if that is a router that answers neighbour solicitations for all (ndp proxy), switch that off for this \
                 LAN, or use -o conflict_check=off"
            } else {
                "if that is a router that does proxy ARP, switch it off for this LAN, or use -o conflict_check=off"
            };
            return Some((
                format!("{by} answers for every address that was given ({})", list.join(", ")),
                hint,
            ));
        }
        match &self.refused {
            Some((Some(server), why)) => {
                return Some((
                    format!("the DHCP server {server} gave an address that cannot be used: {why}"),
                    "take the address out of the server's pool, and look for a second DHCP server on this LAN",
                ));
            }
            Some((None, why)) => {
                return Some((
                    format!("an IPv6 address cannot be used: {why}"),
                    "take the address out of the DHCPv6 server's pool, or off the interface that has it",
                ));
            }
            None => {}
        }
        let who = |(address, by): &(IpAddr, Mac)| format!("{by} has {address}");
        let last: Vec<String> = self.contested.iter().rev().take(3).map(who).collect();
        let (newest, _) = self.contested.last()?;
        Some(if newest.is_ipv6() {
            (
                format!("the IPv6 addresses for it are in use: {}", last.join(", ")),
                "look for hosts with addresses from the DHCPv6 server's pool, or with the same hardware address",
            )
        } else {
            (
                format!("the addresses that a DHCP server gave are in use: {}", last.join(", ")),
                "look for hosts with addresses from the server's pool",
            )
        })
    }

    /// The same, once it has happened again and again.
    pub fn repeated(&self) -> Option<(String, &'static str)> {
        self.sentence().filter(|_| self.count >= REPEATED)
    }

    /// Who answered for several addresses, if nobody else answered for any.
    fn one_for_all(&self) -> Option<(Mac, BTreeSet<IpAddr>)> {
        let (_, first) = self.contested.first()?;
        let addresses: BTreeSet<IpAddr> = self.contested.iter().map(|(address, _)| *address).collect();
        let alone = self.contested.iter().all(|(_, by)| by == first) && self.refused.is_none();
        let several = addresses.len() > 1;
        (alone && several).then_some((*first, addresses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u8) -> Mac {
        Mac::new([2, 0, 0, 0, 0, last])
    }

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, last)
    }

    fn says(troubles: &Troubles) -> String {
        troubles.sentence().map(|(why, hint)| format!("{why}; {hint}")).unwrap_or_default()
    }

    #[test]
    fn who_answered_is_named() {
        let mut troubles = Troubles::default();
        assert_eq!(says(&troubles), "");
        troubles.contest(address(150), mac(1));
        assert!(says(&troubles).contains("in use: 02:00:00:00:00:01 has 192.0.2.150;"), "{troubles:?}");
        troubles.contest(address(151), mac(2));
        assert!(says(&troubles).contains("02:00:00:00:00:02 has 192.0.2.151, 02:00:00:00:00:01 has"));
        for last in 0..100 {
            troubles.contest(address(last), mac(last));
        }
        assert!(says(&troubles).len() < 250 && troubles.contested.len() == MOST);
    }

    #[test]
    fn one_that_answers_for_everything_does_proxy_arp() {
        let mut troubles = Troubles::default();
        troubles.contest(address(150), mac(1));
        troubles.contest(address(150), mac(1));
        assert!(!says(&troubles).contains("proxy ARP"), "the same address twice");
        troubles.contest(address(151), mac(1));
        let said = says(&troubles);
        for part in
            ["02:00:00:00:00:01 answers", "192.0.2.150, 192.0.2.151", "proxy ARP", "conflict_check=off"]
        {
            assert!(said.contains(part), "{said}");
        }
        troubles.contest(address(152), mac(2));
        assert!(!says(&troubles).contains("proxy ARP"));
    }

    #[test]
    fn what_the_host_has_comes_first() {
        let mut troubles = Troubles::default();
        troubles.contest(address(150), mac(1));
        let why = NotPermitted::Host { address: address(10).into(), interface: "eth0".parse().unwrap() };
        troubles.refuse(Some(address(2)), why);
        let said = says(&troubles);
        assert!(
            said.contains("192.0.2.2") && said.contains("this host has 192.0.2.10 itself, on eth0"),
            "{said}"
        );
    }

    #[test]
    fn a_finding_once_it_is_repeated() {
        let mut troubles = Troubles::default();
        for expected in [false, false, true, true] {
            troubles.contest(address(150), mac(1));
            assert_eq!(troubles.repeated().is_some(), expected);
        }
        troubles.clear();
        assert_eq!(troubles.repeated(), None);
    }

    #[test]
    fn ipv6_has_its_own_words() {
        let six = |last: u16| std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
        let mut troubles = Troubles::default();
        troubles.contest(six(1), mac(1));
        let said = "the IPv6 addresses for it are in use: 02:00:00:00:00:01 has 2001:db8::1;";
        assert!(says(&troubles).starts_with(said));
        troubles.contest(six(2), mac(1));
        assert!(says(&troubles).starts_with("02:00:00:00:00:01 answers for every address"));
        assert!(says(&troubles).contains("ndp proxy") && !says(&troubles).contains("ARP"));
        let why = NotPermitted::Host { address: six(10).into(), interface: "eth0".parse().unwrap() };
        troubles.refuse(None, why);
        assert!(says(&troubles).starts_with("an IPv6 address cannot be used: this host has 2001:db8::a"));
    }
}
