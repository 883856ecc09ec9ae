//! What the options of a lease are called and say, for people to read.

use std::net::Ipv4Addr;

use super::options::{classless_routes, static_routes};
use crate::wire::names;

/// An option as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionText {
    /// What it is called; `None`: unknown here.
    pub name: Option<&'static str>,
    /// What it says; octets in hex where that is not known or makes no sense.
    pub value: String,
}

/// How a value is read.
#[derive(Clone, Copy)]
enum Kind {
    Addresses,
    Seconds,
    SignedSeconds,
    Number,
    Text,
    SearchList,
    Routes,
    StaticRoutes,
    Fqdn,
    Flag,
    Hex,
}

/// Codes, the names the IANA registry has for them in lower case, and how their values are read (RFC 2132 if not said
/// otherwise). In order of their codes.
const KNOWN: [(u8, &str, Kind); 51] = [
    (1, "subnet-mask", Kind::Addresses),
    (2, "time-offset", Kind::SignedSeconds),
    (3, "routers", Kind::Addresses),
    (4, "time-servers", Kind::Addresses),
    (6, "dns-servers", Kind::Addresses),
    (7, "log-servers", Kind::Addresses),
    (9, "lpr-servers", Kind::Addresses),
    (12, "host-name", Kind::Text),
    (15, "domain-name", Kind::Text),
    (17, "root-path", Kind::Text),
    (19, "ip-forwarding", Kind::Number),
    (23, "default-ttl", Kind::Number),
    (26, "mtu", Kind::Number),
    (28, "broadcast-address", Kind::Addresses),
    (31, "router-discovery", Kind::Number),
    (33, "static-routes", Kind::StaticRoutes),
    (35, "arp-timeout", Kind::Seconds),
    (37, "tcp-default-ttl", Kind::Number),
    (38, "tcp-keepalive", Kind::Seconds),
    (40, "nis-domain", Kind::Text),
    (41, "nis-servers", Kind::Addresses),
    (42, "ntp-servers", Kind::Addresses),
    (43, "vendor-specific", Kind::Hex),
    (44, "netbios-name-servers", Kind::Addresses),
    (46, "netbios-node-type", Kind::Number),
    (47, "netbios-scope", Kind::Text),
    (50, "requested-address", Kind::Addresses),
    (51, "lease-time", Kind::Seconds),
    (53, "message-type", Kind::Number),
    (54, "server-identifier", Kind::Addresses),
    (56, "message", Kind::Text),
    (58, "renewal-time", Kind::Seconds),
    (59, "rebinding-time", Kind::Seconds),
    (60, "vendor-class", Kind::Text),
    (61, "client-identifier", Kind::Hex),
    (66, "tftp-server", Kind::Text),
    (67, "boot-file", Kind::Text),
    (69, "smtp-servers", Kind::Addresses),
    (80, "rapid-commit", Kind::Flag),
    (81, "client-fqdn", Kind::Fqdn),
    (82, "relay-agent", Kind::Hex),
    (100, "posix-timezone", Kind::Text),
    (101, "timezone", Kind::Text),
    (108, "ipv6-only-preferred", Kind::Seconds),
    (114, "captive-portal", Kind::Text),
    (119, "domain-search", Kind::SearchList),
    (120, "sip-servers", Kind::Hex),
    (121, "classless-routes", Kind::Routes),
    (150, "tftp-servers", Kind::Addresses),
    (249, "ms-classless-routes", Kind::Routes),
    (252, "web-proxy-autodiscovery", Kind::Text),
];

/// Says what an option of a message is.
pub fn describe(code: u8, value: &[u8]) -> OptionText {
    let known = KNOWN.iter().find(|(known, ..)| *known == code);
    let text = known.and_then(|(.., kind)| read(*kind, value));
    OptionText { name: known.map(|(_, name, _)| *name), value: text.unwrap_or_else(|| hex(value)) }
}

fn read(kind: Kind, value: &[u8]) -> Option<String> {
    match kind {
        Kind::Addresses => Some(addresses(value)?.join(", ")),
        Kind::StaticRoutes => {
            let routes = static_routes(value);
            let one = |r: &super::ClasslessRoute| format!("{} via {}", r.destination, r.gateway);
            (!routes.is_empty()).then(|| routes.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Kind::Routes => {
            let one = |r: &super::ClasslessRoute| match r.via() {
                Some(router) => format!("{} via {router}", r.destination),
                None => format!("{} on link", r.destination),
            };
            Some(classless_routes(value)?.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Kind::Seconds => match number(value)? {
            0xffff_ffff => Some("for ever".to_owned()),
            seconds => Some(format!("{seconds} s")),
        },
        Kind::SignedSeconds => Some(format!("{} s", i32::from_be_bytes(value.try_into().ok()?))),
        Kind::Number => Some(number(value)?.to_string()),
        Kind::Text => {
            let text = value.strip_suffix(b"\0").unwrap_or(value);
            Some(text.escape_ascii().to_string())
        }
        Kind::SearchList => {
            let names = names::from_search_list(value);
            (!names.is_empty()).then(|| names.join(", "))
        }
        Kind::Fqdn => fqdn(value),
        Kind::Flag => value.is_empty().then(|| "yes".to_owned()),
        Kind::Hex => None,
    }
}

fn addresses(value: &[u8]) -> Option<Vec<String>> {
    let (all, rest) = value.as_chunks::<4>();
    let whole = rest.is_empty() && !all.is_empty();
    whole.then(|| all.iter().map(|octets| Ipv4Addr::from(*octets).to_string()).collect())
}

fn number(value: &[u8]) -> Option<u32> {
    let octets: Vec<u8> = (1..=4).contains(&value.len()).then(|| value.to_vec())?;
    Some(octets.into_iter().fold(0, |number, octet| number << 8 | u32::from(octet)))
}

/// Flags, two obsolete octets and the name, in labels if the flags say so (RFC 4702 section 2).
fn fqdn(value: &[u8]) -> Option<String> {
    const IN_LABELS: u8 = 0b100;
    let (head, name) = value.split_at_checked(3)?;
    if head[0] & IN_LABELS == 0 {
        return Some(name.escape_ascii().to_string());
    }
    // A name that ends without the root's label is one to be completed.
    let whole = [name, &[0]].concat();
    names::from_search_list(&whole).into_iter().next()
}

fn hex(value: &[u8]) -> String {
    let octets: Vec<String> = value.iter().map(|octet| format!("{octet:02x}")).collect();
    octets.join(":")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn options_by_name_and_in_words() {
        for (code, value, name, text) in [
            (3, &[192, 0, 2, 1, 192, 0, 2, 2][..], "routers", "192.0.2.1, 192.0.2.2"),
            (2, &[255, 255, 255, 196], "time-offset", "-60 s"),
            (15, b"lan.example\0", "domain-name", "lan.example"),
            (15, b"a\x1b[2J", "domain-name", "a\\x1b[2J"),
            (26, &[5, 120], "mtu", "1400"),
            (51, &[255, 255, 255, 255], "lease-time", "for ever"),
            (51, &[0, 0, 14, 16], "lease-time", "3600 s"),
            (80, &[], "rapid-commit", "yes"),
            (81, b"\x01\xff\xffweb.lan", "client-fqdn", "web.lan"),
            (81, b"\x05\xff\xff\x03web\x03lan\0", "client-fqdn", "web.lan"),
            (119, b"\x03lan\0\x04corp\xc0\0", "domain-search", "lan, corp.lan"),
            (
                121,
                &[24, 203, 0, 113, 192, 0, 2, 2, 0, 0, 0, 0, 0],
                "classless-routes",
                "203.0.113.0/24 via 192.0.2.2, 0.0.0.0/0 on link",
            ),
            (33, &[203, 0, 113, 9, 192, 0, 2, 2], "static-routes", "203.0.113.9/32 via 192.0.2.2"),
            (42, &[192, 0], "ntp-servers", "c0:00"),
            (43, &[1, 2, 254], "vendor-specific", "01:02:fe"),
        ] {
            let said = describe(code, value);
            assert_eq!((said.name, said.value.as_str()), (Some(name), text));
        }
        assert_eq!(describe(224, &[10, 11]), OptionText { name: None, value: "0a:0b".to_owned() });
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(KNOWN.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    proptest! {
        #[test]
        fn whatever_a_server_sends_is_printable(code: u8, value in prop::collection::vec(any::<u8>(), 0..80)) {
            let said = describe(code, &value);
            prop_assert!(said.value.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{said:?}");
        }
    }
}
