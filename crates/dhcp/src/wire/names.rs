//! Host and domain names that a server or a user gave: only what RFC 1035 and RFC 1123 let a name be gets through,
//! because names end up in files such as `resolv.conf`.

/// The longest name in text form (RFC 1035: 255 octets on the wire).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;
/// More pointers than a sensible name has; without a limit a long option of nothing but pointers is slow to read.
const MAX_POINTERS: usize = 16;
/// More search domains than any resolver uses.
const MAX_NAMES: usize = 32;

/// Whether `text` is a host or domain name: labels of letters, digits and inner hyphens, with dots between.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME && text.split('.').all(|label| is_label(label.as_bytes()))
}

fn is_label(label: &[u8]) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-')
        && label.first() != Some(&b'-')
        && label.last() != Some(&b'-')
}

/// A name an option carries as text. Servers append NULs or a final dot, and some put a whole search list into the
/// domain name option: the first name counts.
pub(crate) fn from_text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end_matches('\0');
    let first = text.split(' ').find(|word| !word.is_empty())?;
    let name = first.strip_suffix('.').unwrap_or(first);
    is_name(name).then(|| name.to_ascii_lowercase())
}

/// The names of a domain search list (RFC 3397), compressed as RFC 1035 section 4.1.4 says, relative to the
/// option's first octet. A name with other characters is left out; where the encoding is broken the list ends.
pub(crate) fn from_search_list(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < bytes.len() && names.len() < MAX_NAMES {
        let Some((name, next)) = decode(bytes, at) else { break };
        at = next;
        if is_name(&name) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The name at `start` and where the next one begins. Pointers must lead strictly back, so they cannot loop.
fn decode(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut at = start;
    let mut earliest = start;
    let mut next = None;
    let mut pointers = 0;
    loop {
        let length = *bytes.get(at)?;
        match length {
            0 => return Some((name, next.unwrap_or(at + 1))),
            1..=63 => {
                let label = bytes.get(at + 1..at + 1 + usize::from(length))?;
                if !name.is_empty() {
                    name.push('.');
                }
                // Octets beyond ASCII become characters that no name has.
                name.extend(label.iter().map(|&b| char::from(b.to_ascii_lowercase())));
                if name.len() > 2 * MAX_NAME {
                    return None;
                }
                at += 1 + usize::from(length);
            }
            0xc0.. => {
                let target = (usize::from(length & 0x3f) << 8) | usize::from(*bytes.get(at + 1)?);
                next = next.or(Some(at + 2));
                pointers += 1;
                if target >= earliest || pointers > MAX_POINTERS {
                    return None;
                }
                (earliest, at) = (target, target);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_letters_digits_and_hyphens() {
        for good in ["lan", "example.org", "a-1.b", "3com.example", "xn--caf-dma.example"] {
            assert!(is_name(good), "{good}");
        }
        let long = "a".repeat(64);
        let many = ["a"; 128].join(".");
        for bad in ["", ".", "a..b", "-a", "a-", "a b", "a\nsearch b", "caf\u{e9}", "a_b", "a.", &long, &many]
        {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn text_as_servers_send_it() {
        assert_eq!(from_text(b"Example.org").as_deref(), Some("example.org"));
        assert_eq!(from_text(b"example.org\0").as_deref(), Some("example.org"));
        assert_eq!(from_text(b"example.org.").as_deref(), Some("example.org"));
        assert_eq!(from_text(b"example.org lan").as_deref(), Some("example.org"));
        for bad in [&b""[..], b"\0", b".", b"caf\xe9", b"a\nnameserver 192.0.2.66", b"a\0b", b"a;b"] {
            assert_eq!(from_text(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn compressed_search_list() {
        // The example of RFC 3397 section 2: eng.apple.com. and marketing.apple.com.
        let list = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
        assert_eq!(from_search_list(list), ["eng.apple.com", "marketing.apple.com"]);
    }

    #[test]
    fn long_chains_of_pointers() {
        // "a", then names that each point to the one before, then "b".
        let chain = |links: u8| {
            let pointers = (0..links).flat_map(|n| [0xc0, if n == 0 { 0 } else { 1 + 2 * n }]);
            [&b"\x01a\x00"[..], &pointers.collect::<Vec<_>>(), b"\x01b\x00"].concat()
        };
        assert_eq!(from_search_list(&chain(16)), ["a", "b"]);
        assert_eq!(from_search_list(&chain(17)), ["a"], "the list ends where it gets silly");
    }

    #[test]
    fn hostile_search_lists() {
        assert!(from_search_list(b"\xc0\x00").is_empty(), "points at itself");
        assert!(from_search_list(b"\x01a\xc0\x00").is_empty(), "loops through itself");
        assert!(from_search_list(b"\xc0\x02\xc0\x00").is_empty(), "forward, then back");
        assert!(from_search_list(b"\x3fabc").is_empty(), "label beyond the end");
        assert!(from_search_list(b"\x80a").is_empty(), "reserved label type");
        assert_eq!(
            from_search_list(b"\x02ok\x00\x04a\nb \x00\x03lan\x00"),
            ["ok", "lan"],
            "a bad name alone"
        );
        assert_eq!(from_search_list(b"\x02ok\x00\x05lan"), ["ok"], "what was whole stays");
        assert_eq!(from_search_list(&b"\x01a\x00".repeat(9)), ["a"]);
    }

    proptest! {
        #[test]
        fn whatever_comes_out_is_a_name(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(from_search_list(&bytes).iter().all(|name| is_name(name)));
            prop_assert!(from_text(&bytes).is_none_or(|name| is_name(&name)));
        }

        #[test]
        fn pointer_soup_ends(bytes in prop::collection::vec(prop_oneof![Just(0xc0_u8), 0..8_u8], 0..300)) {
            let _ = from_search_list(&bytes);
        }
    }
}
