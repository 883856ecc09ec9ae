//! DHCPv6 options (RFC 9915 section 21) as codes and octets.

use std::net::Ipv6Addr;

use landline_types::Shown;

use super::duid::Duid;
use super::ia::IaNa;
use crate::wire::{field, labels, names};

/// Option codes.
pub mod code {
    /// The client.
    pub const CLIENT_ID: u16 = 1;
    /// The server.
    pub const SERVER_ID: u16 = 2;
    /// An identity association for addresses.
    pub const IA_NA: u16 = 3;
    /// An address in one.
    pub const IA_ADDRESS: u16 = 5;
    /// The options a client would like.
    pub const OPTION_REQUEST: u16 = 6;
    /// How much a server wants to be chosen.
    pub const PREFERENCE: u16 = 7;
    /// How long the client has been asking, in hundredths of a second.
    pub const ELAPSED_TIME: u16 = 8;
    /// How it went.
    pub const STATUS: u16 = 13;
    /// Two messages instead of four.
    pub const RAPID_COMMIT: u16 = 14;
    /// User classes.
    pub const USER_CLASS: u16 = 15;
    /// DNS servers (RFC 3646).
    pub const DNS: u16 = 23;
    /// Domain search list (RFC 3646).
    pub const DOMAIN_SEARCH: u16 = 24;
    /// When to ask for information again.
    pub const INFORMATION_REFRESH: u16 = 32;
    /// The client's name (RFC 4704).
    pub const CLIENT_FQDN: u16 = 39;
    /// The longest time between Solicits.
    pub const SOL_MAX_RT: u16 = 82;
    /// The longest time between Information-requests.
    pub const INF_MAX_RT: u16 = 83;
}

/// Status codes (RFC 9915 section 21.13).
pub mod status {
    /// As asked.
    pub const SUCCESS: u16 = 0;
    /// Did not work, for some reason.
    pub const UNSPECIFIED: u16 = 1;
    /// The server has no address to give.
    pub const NO_ADDRESSES: u16 = 2;
    /// The server knows nothing of this association.
    pub const NO_BINDING: u16 = 3;
    /// The address is not of this link.
    pub const NOT_ON_LINK: u16 = 4;
}

/// How it went (option 13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// One of [`status`], or one of later times.
    pub code: u16,
    /// What the server says about it to humans. Control characters are left out.
    pub message: String,
}

/// Options in the order of the message. Some, such as associations, may be there more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(Vec<(u16, Vec<u8>)>);

impl Options {
    /// No options.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Reads options up to the end. One that is cut short ends them: what was whole before it stays.
    pub fn read(mut rest: &[u8]) -> Self {
        let mut options = Self::new();
        while let Some((code, value, tail)) = split(rest) {
            options.push(code, value);
            rest = tail;
        }
        options
    }

    /// Writes them. Of a value over 65 535 octets the beginning.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (code, value) in &self.0 {
            let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
            out.extend(code.to_be_bytes());
            out.extend(len.to_be_bytes());
            out.extend(&value[..usize::from(len)]);
        }
    }

    /// Adds an option behind the others.
    pub fn push(&mut self, code: u16, value: &[u8]) {
        self.0.push((code, value.to_vec()));
    }

    /// Adds an option that is a list of domain names.
    pub fn push_domains<'a>(&mut self, code: u16, domains: impl IntoIterator<Item = &'a str>) {
        let value = domains.into_iter().flat_map(labels::encode).collect();
        self.0.push((code, value));
    }

    /// The octets of the first option with this code.
    pub fn get(&self, code: u16) -> Option<&[u8]> {
        self.all(code).next()
    }

    /// The octets of all options with this code.
    pub fn all(&self, code: u16) -> impl Iterator<Item = &[u8]> {
        self.iter().filter(move |(c, _)| *c == code).map(|(_, value)| value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.0.iter().map(|(code, value)| (*code, value.as_slice()))
    }

    /// All of them, as they are kept.
    pub fn into_vec(self) -> Vec<(u16, Vec<u8>)> {
        self.0
    }

    /// An option that is one octet.
    pub fn u8(&self, code: u16) -> Option<u8> {
        let value: [u8; 1] = self.get(code)?.try_into().ok()?;
        Some(value[0])
    }

    /// An option that is a 16-bit number.
    pub fn u16(&self, code: u16) -> Option<u16> {
        self.get(code)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// An option that is a 32-bit number.
    pub fn u32(&self, code: u16) -> Option<u32> {
        self.get(code)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// An option that is a list of addresses; `None` unless it is at least one and all are whole.
    pub fn addresses(&self, code: u16) -> Option<Vec<Ipv6Addr>> {
        let (addresses, rest) = self.get(code)?.as_chunks::<16>();
        (rest.is_empty() && !addresses.is_empty())
            .then(|| addresses.iter().copied().map(Ipv6Addr::from).collect())
    }

    /// An option that is a list of domain names, in lower case; what is no name is left out.
    pub fn domains(&self, code: u16) -> Vec<String> {
        self.get(code).map(names::from_search_list).unwrap_or_default()
    }

    /// An option that is a DUID.
    pub fn duid(&self, code: u16) -> Option<Duid> {
        Duid::new(self.get(code)?).ok()
    }

    /// The status (option 13). None told is success; one that cannot be read is as good as none.
    pub fn status(&self) -> Status {
        let value = self.get(code::STATUS).unwrap_or_default();
        let text = String::from_utf8_lossy(value.get(2..).unwrap_or_default());
        Status { code: field::u16(value, 0).unwrap_or(status::SUCCESS), message: Shown(text).to_string() }
    }

    /// The associations for addresses that can be read.
    pub fn associations(&self) -> impl Iterator<Item = IaNa> {
        self.all(code::IA_NA).filter_map(IaNa::parse)
    }
}

/// The first option's code and value, and what follows it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (code, rest) = bytes.split_first_chunk::<2>()?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    Some((u16::from_be_bytes(*code), value, rest))
}

impl FromIterator<(u16, Vec<u8>)> for Options {
    fn from_iter<I: IntoIterator<Item = (u16, Vec<u8>)>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cut_options_end_the_list() {
        let bytes = [0, 7, 0, 1, 255, 0, 14, 0, 0, 0, 23, 0, 16, 1];
        let options = Options::read(&bytes);
        assert_eq!(options.iter().map(|(code, _)| code).collect::<Vec<_>>(), [7, 14]);
        assert_eq!(options.u8(code::PREFERENCE), Some(255));
        assert_eq!(options.get(code::RAPID_COMMIT), Some(&[][..]));
        for len in 0..5 {
            assert_eq!(Options::read(&bytes[..len]), Options::new());
        }
    }

    #[test]
    fn values_of_the_wrong_length_are_none() {
        let mut options = Options::new();
        for code in [code::PREFERENCE, code::SOL_MAX_RT, code::DNS, code::SERVER_ID] {
            options.push(code, &[1, 2]);
        }
        options.push(code::STATUS, &[9]);
        assert_eq!(options.u8(code::PREFERENCE), None);
        assert_eq!(options.u32(code::SOL_MAX_RT), None);
        assert_eq!(options.addresses(code::DNS), None);
        assert_eq!(options.duid(code::SERVER_ID), None);
        assert_eq!(options.status().code, status::SUCCESS);
        assert_eq!(options.domains(code::DOMAIN_SEARCH), [""; 0]);
    }

    #[test]
    fn what_servers_say_to_humans_is_cleaned() {
        let mut options = Options::new();
        options.push(code::STATUS, b"\x00\x02pool\x1b[2J is\nempty\xff");
        assert_eq!(
            options.status(),
            Status { code: 2, message: "pool\\u001b[2J is\\nempty\u{fffd}".to_owned() }
        );
    }

    #[test]
    fn domain_lists() {
        let mut options = Options::new();
        options.push_domains(code::DOMAIN_SEARCH, ["lan", "Example.org"]);
        assert_eq!(options.get(24), Some(&b"\x03lan\0\x07Example\x03org\0"[..]));
        assert_eq!(options.domains(24), ["lan", "example.org"]);
    }

    pub(in super::super) fn any_options() -> impl Strategy<Value = Options> {
        let value = prop::collection::vec(any::<u8>(), 0..60);
        let known = prop_oneof![1..40_u16, any::<u16>()];
        prop::collection::vec((known, value), 0..9).prop_map(|items| items.into_iter().collect())
    }

    proptest! {
        #[test]
        fn round_trips(options in any_options()) {
            let mut bytes = Vec::new();
            options.write(&mut bytes);
            prop_assert_eq!(Options::read(&bytes), options);
        }

        #[test]
        fn any_bytes_are_fine(bytes in prop::collection::vec(any::<u8>(), 0..400), code: u16) {
            let options = Options::read(&bytes);
            let _ = (options.u8(code), options.u16(code), options.u32(code), options.addresses(code));
            let _ = (options.domains(code), options.duid(code), options.status(), options.associations().count());
            let kept: usize = options.iter().map(|(_, value)| value.len() + 4).sum();
            prop_assert!(kept <= bytes.len());
        }
    }
}
