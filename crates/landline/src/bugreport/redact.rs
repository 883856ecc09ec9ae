//! What a report does not tell others: keys never, and addresses if its author says so.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use landline_types::Mac;

/// What stands for a value that is left out.
const REDACTED: &str = "(redacted)";

/// A configuration file without the values of its keys: `key` of `[containers]`, and whatever else is called so.
pub(super) fn without_secrets(text: &str) -> String {
    let mut kept = Vec::new();
    // What ends a value of several lines that is left out.
    let mut until = None;
    for line in text.lines() {
        if let Some(end) = until {
            until = Some(end).filter(|end| !line.contains(*end));
            continue;
        }
        match secret_from(line) {
            Some(at) => {
                let (before, value) = line.split_at(at);
                kept.push(format!("{before} {REDACTED}"));
                until = ["\"\"\"", "'''"].into_iter().find(|quotes| value.matches(quotes).count() == 1);
            }
            None => kept.push(line.to_owned()),
        }
    }
    kept.join("\n")
}

/// Where the value of a secret begins in a line.
fn secret_from(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    let words =
        ["key", "secret", "password", "token"].into_iter().filter_map(|word| lower.find(word)).min()?;
    Some(words + lower[words..].find('=')? + 1)
}

/// The text with a number in the place of each hardware address, client identifier and IP address; the same address has the same
/// number everywhere.
pub(super) fn redact(text: &str) -> String {
    let mut known = Known::default();
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !belongs(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        // What ends a sentence or begins a list is no part of an address.
        let bare = word.trim_end_matches('.').trim_end_matches(|c| c == ':' && !word.ends_with("::"));
        // A port of an IPv4 address is no part of it.
        let bare = bare
            .split_once(':')
            .map_or(bare, |(ip, _)| if ip.parse::<Ipv4Addr>().is_ok() { ip } else { bare });
        match known.stands_for(bare) {
            Some(number) => redacted.extend([number.as_str(), &word[bare.len()..]]),
            None => redacted.push_str(word),
        }
        let next = after.find(belongs).unwrap_or(after.len());
        redacted.push_str(&after[..next]);
        rest = &after[next..];
    }
    redacted
}

/// Whether it may be in an address. Letters beyond `f` are, so that a word that begins like one is none.
fn belongs(c: char) -> bool {
    c.is_alphanumeric() || c == '.' || c == ':'
}

#[derive(Debug, Default)]
struct Known(HashMap<String, String>);

impl Known {
    fn stands_for(&mut self, word: &str) -> Option<String> {
        let kind = kind(word)?;
        let number = self.0.values().filter(|value| value.starts_with(kind)).count() + 1;
        Some(self.0.entry(word.to_ascii_lowercase()).or_insert_with(|| format!("{kind}-{number}")).clone())
    }
}

fn kind(word: &str) -> Option<&'static str> {
    let octets =
        || word.split(':').all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
    let count = word.matches(':').count();
    match word.parse::<IpAddr>() {
        // Those say nothing of anybody.
        Ok(address) if address.is_unspecified() || address.is_loopback() => None,
        Ok(IpAddr::V4(_)) => Some("ipv4"),
        // Eight octets with colons between them may be either.
        Ok(IpAddr::V6(_)) => Some("ipv6"),
        Err(_) if word.parse::<Mac>().is_ok() && count == 5 => Some("mac"),
        // A name that systemd makes of one.
        Err(_)
            if word
                .strip_prefix("enx")
                .is_some_and(|mac| mac.len() == 12 && mac.bytes().all(|b| b.is_ascii_hexdigit())) =>
        {
            Some("mac")
        }
        Err(_) if count > 5 && octets() => Some("id"),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_same_number_everywhere() {
        let text = "web 02:5b:1e:93:c4:07 has 192.0.2.137/24 from 192.0.2.1.\n2001:db8::1/64, 192.0.2.137: and 02:5B:1E:93:C4:07";
        let expected = "web mac-1 has ipv4-1/24 from ipv4-2.\nipv6-1/64, ipv4-1: and mac-1";
        assert_eq!(redact(text), expected);
        assert_eq!(redact("tcp://192.0.2.5:2375 over enx0011aabbccdd"), "tcp://ipv4-1:2375 over mac-1");
        assert_eq!(redact("client id  ff:01:02:03:04:05:06:07:08:09"), "client id  id-1");
    }

    #[test]
    fn what_is_no_address_stays() {
        for text in [
            "2026-11-30T12:34:56+00:00 landline[812]: BOUND, obtained 12:34:56 ago",
            "version 29.0.1, kernel 6.1.0-18-amd64",
            "0.0.0.0/0 via ::1 and 127.0.0.1",
            "lan: nothing tells db, web apart; added é",
            "",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn keys_are_left_out_of_the_configuration() {
        let text =
            "[containers]\nkey = \"geheim\"\nhost_routes = true\n# site_key=abc\n[containers.allow.br0]";
        let expected = "[containers]\nkey = (redacted)\nhost_routes = true\n# site_key= (redacted)\n[containers.allow.br0]";
        assert_eq!(without_secrets(text), expected);
        let text = "containers = { key = \"geheim\" }\nkey = \"\"\"\ngeheim\n\"\"\"\nname = 1";
        let expected = "containers = { key = (redacted)\nkey = (redacted)\nname = 1";
        assert_eq!(without_secrets(text), expected);
    }
}
