//! What networks have that do not say otherwise.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::error::{OptionError, cut};
use crate::keys;
use crate::network::NetworkOptions;

/// The options that can have a default: those that say how containers are treated. What a network is (its parent, mode,
/// addressing, VLAN, switch, gateway) and who its containers are (`client_id`) is for each network to say.
const KEYS: [&str; 22] = [
    "conflict_check",
    "dhcp_deny_servers",
    "dhcp_servers",
    "dns",
    "firewall",
    "fqdn",
    "host_access",
    "hostname",
    "ignore_conflicts",
    "ipv6",
    "ipv6_address",
    "lease_timeout",
    "mtu",
    "on_duplicate",
    "on_timeout",
    "rapid_commit",
    "release",
    "release_after",
    "skip_routes",
    "user_class",
    "vendor_class",
    "when_unsure",
];

/// `[defaults]`: options of networks that do not have them among their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults(BTreeMap<String, String>);

impl Defaults {
    /// What a network with these options of its own is. Its own count for more, and a default that they rule out (a lease's
    /// timeout where there is no DHCP) does not count; an empty value is none.
    ///
    /// # Errors
    /// What is wrong with its own.
    pub fn complete(&self, own: &BTreeMap<String, String>) -> Result<NetworkOptions, OptionError> {
        let mut all: BTreeMap<String, String> = own.clone();
        all.retain(|_, value| !value.trim().is_empty());
        let mut fits = NetworkOptions::parse(&all).is_ok();
        for (name, value) in &self.0 {
            if all.contains_key(name) || (name == "mtu" && all.contains_key(keys::DOCKER_MTU)) {
                continue;
            }
            all.insert(name.clone(), value.clone());
            let fits_now = NetworkOptions::parse(&all).is_ok();
            if fits && !fits_now {
                all.remove(name);
            } else {
                fits = fits_now;
            }
        }
        NetworkOptions::parse(&all).or_else(|_| NetworkOptions::parse(own))
    }

    /// A default, checked with whatever it needs beside it.
    fn add(&mut self, name: &'static str, value: String) -> Result<(), OptionError> {
        let beside: &[(&str, &str)] = match name {
            "host_access" => &[("mode", "macvlan")],
            "ipv6_address" => &[("ipv6", "true")],
            _ => &[],
        };
        let mut one: BTreeMap<String, String> =
            beside.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        one.extend([("parent".to_owned(), "any".to_owned()), (name.to_owned(), value.clone())]);
        NetworkOptions::parse(&one)?;
        self.0.insert(name.to_owned(), value);
        Ok(())
    }
}

struct Key(&'static str);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if let Some(key) = KEYS.iter().find(|key| **key == name) {
            return Ok(Self(key));
        }
        let name = cut(&name);
        let fixed = keys::NETWORK.contains(&name.as_str());
        Err(D::Error::custom(match keys::nearest(&name, &KEYS) {
            _ if fixed => {
                format!("`{name}` is for each network to say; these have defaults: {}", KEYS.join(", "))
            }
            Some(nearest) => format!("unknown option `{name}`, did you mean {nearest}?"),
            None => format!("unknown option `{name}`; these have defaults: {}", KEYS.join(", ")),
        }))
    }
}

/// A value: text, a number, true or false, or a list of texts.
struct Value(Key);

impl<'de> DeserializeSeed<'de> for Value {
    type Value = (&'static str, String);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let text = deserializer.deserialize_any(Text)?;
        let name = self.0.0;
        if text.trim().is_empty() {
            return Err(D::Error::custom("an empty value is no default; leave the line out"));
        }
        Defaults::default().add(name, text.clone()).map_err(D::Error::custom)?;
        Ok((name, text))
    }
}

struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true or false, or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<String, E> {
        Ok(yes.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<String, A::Error> {
        let mut texts: Vec<String> = Vec::new();
        while let Some(text) = list.next_element()? {
            texts.push(text);
        }
        Ok(texts.join(","))
    }
}

impl<'de> Deserialize<'de> for Defaults {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Table)
    }
}

struct Table;

impl<'de> Visitor<'de> for Table {
    type Value = Defaults;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of options")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Defaults, A::Error> {
        let mut defaults = Defaults::default();
        while let Some(key) = map.next_key::<Key>()? {
            let (name, value) = map.next_value_seed(Value(key))?;
            defaults.0.insert(name.to_owned(), value);
        }
        // Two that rule each other out would count now the one, now the other.
        let mut all = defaults.0.clone();
        all.remove("firewall");
        all.extend([("parent", "any"), ("mode", "macvlan")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        all.entry("ipv6".to_owned()).or_insert_with(|| "true".to_owned());
        NetworkOptions::parse(&all).map_err(A::Error::custom)?;
        Ok(defaults)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ConfigFile;
    use super::super::tests::refused_at;
    use super::*;
    use crate::modes::Mode;
    use crate::words::{ConflictCheck, Fqdn, Ipv6Address, Ipv6Mode, LinkMtu, Release};

    fn defaults(text: &str) -> Defaults {
        ConfigFile::parse(&format!("[defaults]\n{text}")).unwrap().defaults
    }

    fn network(defaults: &Defaults, own: &[(&str, &str)]) -> NetworkOptions {
        let own = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        defaults.complete(&own).unwrap()
    }

    const SOME: &str = "lease_timeout = \"20s\"\nhost_access = true\nmtu = 1400\nipv6 = \"slaac\"\n\
                        ipv6_address = \"eui64\"\nrelease = \"never\"\ndhcp_servers = [\"192.0.2.1\", \"192.0.2.2\"]\n\
                        conflict_check = \"off\"\nfirewall = \"open\"\n";

    #[test]
    fn a_networks_own_options_count_for_more() {
        let some = defaults(SOME);
        let all = network(&some, &[("parent", "br0")]);
        assert_eq!(
            (all.lease_timeout.as_secs(), all.ipv6, all.release),
            (20, Ipv6Mode::Slaac, Release::Never)
        );
        assert_eq!((all.ipv6_address, all.dhcp_servers.len()), (Ipv6Address::Eui64, 2));
        assert!(all.open_firewall && !all.host_access, "the host reaches what is on a bridge");
        let own = network(
            &some,
            &[("bridge", "br0"), ("lease_timeout", "5s"), ("release", ""), ("conflict_check", "wait")],
        );
        assert_eq!((own.lease_timeout.as_secs(), own.conflict_check), (5, ConflictCheck::Wait));
        assert_eq!(own.release, Release::Never, "an empty value is none");
        let docker = network(&some, &[("parent", "br0"), ("com.docker.network.driver.mtu", "1300")]);
        assert_eq!(docker.mtu.and_then(LinkMtu::fixed), Some(1300));
    }

    #[test]
    fn what_a_network_rules_out_does_not_count() {
        let some = defaults(SOME);
        let child = network(&some, &[("mode", "macvlan"), ("parent", "eth0")]);
        assert!(child.host_access && !child.open_firewall);
        let apart = network(&some, &[("mode", "macvlan"), ("parent", "eth0"), ("macvlan_mode", "private")]);
        assert!(!apart.host_access);
        let fixed = network(&some, &[("parent", "br0"), ("addressing", "static"), ("ipv6", "false")]);
        assert_eq!((fixed.lease_timeout, fixed.ipv6), (crate::DEFAULT_LEASE_TIMEOUT, Ipv6Mode::Off));
        assert_eq!(fixed.mtu.and_then(LinkMtu::fixed), Some(1400));
        let ipvlan = network(&some, &[("mode", "ipvlan"), ("parent", "eth0")]);
        assert_eq!(ipvlan.ipv6_address, Ipv6Address::Stable);
        assert_eq!(network(&some, &[("mode", "vde")]).mode, Mode::Vde);
        let unnamed = network(&defaults("fqdn = true"), &[("parent", "br0"), ("hostname", "off")]);
        assert_eq!(unnamed.fqdn, Fqdn::Off);
        // With a default a network may be right that by itself would not be.
        let own = [("parent", "br0"), ("ipv6_address", "eui64")];
        assert_eq!(network(&defaults("ipv6 = true\nrelease = \"never\""), &own).ipv6, Ipv6Mode::Auto);
    }

    #[test]
    fn a_networks_own_mistake_is_its_own() {
        let own: BTreeMap<String, String> =
            [("mode", "vde"), ("mtu", "x")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let alone = NetworkOptions::parse(&own).unwrap_err().to_string();
        assert_eq!(defaults(SOME).complete(&own).unwrap_err().to_string(), alone);
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        for (text, line, column, part) in [
            ("mtu = 1400\nlease_timout = \"5s\"", 3, 1, "did you mean lease_timeout?"),
            ("colour = 1", 2, 1, "these have defaults: conflict_check, "),
            ("bridge = \"br0\"", 2, 1, "`bridge` is for each network to say"),
            ("client_id = \"x\"", 2, 1, "for each network"),
            ("lease_timeout = \"soon\"", 2, 17, "write a time from 500ms to 10m"),
            ("lease_timeout = 5.5", 2, 17, "a text, a number"),
            ("dns = { a = 1 }", 2, 7, "a text, a number"),
            ("dns = \"\"", 2, 7, "leave the line out"),
            ("mtu = 20", 2, 7, "68 to 65535"),
            ("host_access = \"$(touch x)\"", 2, 15, "write true or false"),
            ("vendor_class = \"a\\nb\"", 2, 16, "printable"),
        ] {
            refused_at(&format!("[defaults]\n{text}\n"), (line, column), part);
        }
        let both = ConfigFile::parse("[defaults]\nfqdn = true\nhostname = \"off\"\n").unwrap_err();
        assert!(both.message.contains("hostname=off"), "{both}");
        let long = format!("[defaults]\n{} = 1\n", "a".repeat(10_000));
        assert!(ConfigFile::parse(&long).unwrap_err().to_string().len() < 400);
    }
}
