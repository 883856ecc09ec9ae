//! The Client FQDN option (RFC 4702): asks the server to put the client's name into DNS.

use super::config::Fqdn;
use crate::wire::{labels, names};

/// The server is to update the address record (S), and the name is in labels (E); RFC 4702 section 2.1.
const FLAGS: u8 = 0b0101;

impl Fqdn {
    /// The option's value for this host name: flags, two obsolete octets, and the name; without the root's label if it
    /// is for the server to complete (section 2.3.1).
    pub(super) fn option(&self, hostname: &str) -> Vec<u8> {
        let whole = match &self.domain {
            Some(domain) if !hostname.contains('.') => format!("{hostname}.{domain}"),
            _ => hostname.to_owned(),
        };
        // A domain that makes the name too long is no use.
        let whole = if names::is_name(&whole) { whole } else { hostname.to_owned() };
        let labels =
            if whole.contains('.') { labels::encode(&whole) } else { labels::encode_partial(&whole) };
        [&[FLAGS, 0, 0][..], &labels].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_completed_by_the_domain_or_by_the_server() {
        let with = |domain: Option<&str>, name| Fqdn { domain: domain.map(str::to_owned) }.option(name);
        assert_eq!(with(None, "web"), b"\x05\0\0\x03web");
        assert_eq!(with(Some("lan.test"), "web"), b"\x05\0\0\x03web\x03lan\x04test\0");
        assert_eq!(with(Some("lan.test"), "web.home"), b"\x05\0\0\x03web\x04home\0");
        let long = ["x"; 126].join(".");
        assert_eq!(with(Some(&long), "web"), b"\x05\0\0\x03web", "too long together");
    }
}
