//! By which names the server may be called.

use std::net::{IpAddr, Ipv6Addr};

use hyper::HeaderMap;
use hyper::header::HOST;

/// The names that requests may have in their `Host`.
#[derive(Debug)]
pub(super) struct Names(Vec<String>);

impl Names {
    /// These, besides addresses and `localhost`.
    pub(super) fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Whether a request may be answered. An address cannot be another's name, so each of them is fine.
    pub(super) fn allow(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let Ok(host) = host.to_str() else { return false };
        let Some(name) = without_port(host) else { return false };
        let six = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        six.map_or_else(
            || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()),
            |six| six.parse::<Ipv6Addr>().is_ok(),
        ) || name.eq_ignore_ascii_case("localhost")
            || self.0.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// The host of `host[:port]` (RFC 9110 section 7.2).
fn without_port(host: &str) -> Option<&str> {
    let end = host.rfind(']').map_or(0, |end| end + 1);
    match host.get(end..)?.split_once(':') {
        Some((rest, port)) => port.bytes().all(|b| b.is_ascii_digit()).then(|| &host[..end + rest.len()]),
        None => Some(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_known_names_are_answered() {
        let names = Names::new(vec!["lan.example".into()]);
        let allowed = |hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, host.parse().unwrap());
            }
            names.allow(&headers)
        };
        for host in [
            "localhost",
            "localhost:9732",
            "LOCALHOST",
            "127.0.0.1:9732",
            "192.0.2.1",
            "[::1]:9732",
            "[fe80::1]",
            "lan.example:80",
            "Lan.Example",
        ] {
            assert!(allowed(&[host]), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9732",
            "",
            "::1",
            "[localhost]",
            "localhost:evil",
            "[::1",
            "lan.example.",
            "a]b:1",
            "127.0.0.1@evil",
        ] {
            assert!(!allowed(&[host]), "{host}");
        }
        assert!(!allowed(&[]), "no name at all");
        assert!(!allowed(&["localhost", "evil.example"]));
    }
}
