//! The options of a message: every one kept as its code and its octets.

use std::net::Ipv4Addr;

use crate::wire::field;

/// Option codes (RFC 2132 unless said otherwise).
pub mod code {
    /// Padding, one octet.
    pub const PAD: u8 = 0;
    /// Subnet mask.
    pub const SUBNET_MASK: u8 = 1;
    /// Routers, best first.
    pub const ROUTERS: u8 = 3;
    /// DNS servers.
    pub const DNS: u8 = 6;
    /// Host name.
    pub const HOST_NAME: u8 = 12;
    /// Domain name.
    pub const DOMAIN_NAME: u8 = 15;
    /// Interface MTU.
    pub const MTU: u8 = 26;
    /// Broadcast address.
    pub const BROADCAST: u8 = 28;
    /// Static routes to classful destinations.
    pub const STATIC_ROUTES: u8 = 33;
    /// NTP servers.
    pub const NTP: u8 = 42;
    /// The address a client asks for.
    pub const REQUESTED_ADDRESS: u8 = 50;
    /// Lease time in seconds.
    pub const LEASE_TIME: u8 = 51;
    /// Options continue in `file` (1), `sname` (2) or both (3).
    pub const OVERLOAD: u8 = 52;
    /// What kind of message it is.
    pub const MESSAGE_TYPE: u8 = 53;
    /// The server, by an address of its own.
    pub const SERVER_ID: u8 = 54;
    /// The options a client would like.
    pub const PARAMETER_LIST: u8 = 55;
    /// A text for humans, in NAK and DECLINE.
    pub const MESSAGE: u8 = 56;
    /// The longest message a client takes.
    pub const MAX_MESSAGE_SIZE: u8 = 57;
    /// T1 in seconds.
    pub const RENEWAL_TIME: u8 = 58;
    /// T2 in seconds.
    pub const REBINDING_TIME: u8 = 59;
    /// Vendor class.
    pub const VENDOR_CLASS: u8 = 60;
    /// Client identifier.
    pub const CLIENT_ID: u8 = 61;
    /// User classes (RFC 3004).
    pub const USER_CLASS: u8 = 77;
    /// Rapid commit (RFC 4039).
    pub const RAPID_COMMIT: u8 = 80;
    /// Client FQDN (RFC 4702).
    pub const CLIENT_FQDN: u8 = 81;
    /// Domain search list (RFC 3397).
    pub const DOMAIN_SEARCH: u8 = 119;
    /// Classless static routes (RFC 3442).
    pub const CLASSLESS_ROUTES: u8 = 121;
    /// Classless static routes as Microsoft had them before RFC 3442; same contents.
    pub const MS_CLASSLESS_ROUTES: u8 = 249;
    /// The end of the options, one octet.
    pub const END: u8 = 255;
}

/// Options in the order they first appeared, one entry for each code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(Vec<(u8, Vec<u8>)>);

impl Options {
    /// No options.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends octets to an option, which begins to exist by it (RFC 3396 section 5: what carries the same code is
    /// one option).
    pub fn append(&mut self, code: u8, value: &[u8]) {
        match self.0.iter_mut().find(|(c, _)| *c == code) {
            Some((_, whole)) => whole.extend_from_slice(value),
            None => self.0.push((code, value.to_vec())),
        }
    }

    /// The octets of an option.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.iter().find(|(c, _)| *c == code).map(|(_, value)| value.as_slice())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.0.iter().map(|(code, value)| (*code, value.as_slice()))
    }

    /// All of them, as they are kept.
    pub fn into_vec(self) -> Vec<(u8, Vec<u8>)> {
        self.0
    }

    /// An option that is one octet.
    pub fn u8(&self, code: u8) -> Option<u8> {
        self.fixed::<1>(code).map(|[octet]| octet)
    }

    /// An option that is a 16-bit number.
    pub fn u16(&self, code: u8) -> Option<u16> {
        self.fixed(code).map(u16::from_be_bytes)
    }

    /// An option that is a 32-bit number.
    pub fn u32(&self, code: u8) -> Option<u32> {
        self.fixed(code).map(u32::from_be_bytes)
    }

    /// An option that is one address.
    pub fn ipv4(&self, code: u8) -> Option<Ipv4Addr> {
        self.fixed::<4>(code).map(Ipv4Addr::from)
    }

    /// An option that is a list of addresses; `None` unless it is at least one and all are whole.
    pub fn ipv4_list(&self, code: u8) -> Option<Vec<Ipv4Addr>> {
        let (addresses, rest) = self.get(code)?.as_chunks::<4>();
        (rest.is_empty() && !addresses.is_empty())
            .then(|| addresses.iter().copied().map(Ipv4Addr::from).collect())
    }

    /// A value of `N` octets. A server that sends such an option twice has it concatenated: the first one counts.
    fn fixed<const N: usize>(&self, code: u8) -> Option<[u8; N]> {
        let value = self.get(code)?;
        if value.len().is_multiple_of(N) { field::octets(value, 0) } else { None }
    }

    /// Adds the options of one field of a message, up to its end mark. An option that is cut short ends them too:
    /// what was whole before it stays.
    pub(super) fn read(&mut self, field: &[u8]) {
        let mut rest = field;
        while let Some((&code, tail)) = rest.split_first() {
            match code {
                code::PAD => rest = tail,
                code::END => return,
                _ => {
                    let Some((&length, tail)) = tail.split_first() else { return };
                    let Some((value, tail)) = tail.split_at_checked(usize::from(length)) else { return };
                    self.append(code, value);
                    rest = tail;
                }
            }
        }
    }

    /// Writes the options and an end mark; values over 255 octets in pieces (RFC 3396 section 6).
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (code, value) in &self.0 {
            if value.is_empty() {
                out.extend([*code, 0]);
            }
            for piece in value.chunks(255) {
                // A piece is at most 255 octets.
                out.extend([*code, u8::try_from(piece.len()).unwrap_or(u8::MAX)]);
                out.extend_from_slice(piece);
            }
        }
        out.push(code::END);
    }
}

impl FromIterator<(u8, Vec<u8>)> for Options {
    /// Same codes become one option; the codes of padding and end, which cannot be options, are left out.
    fn from_iter<I: IntoIterator<Item = (u8, Vec<u8>)>>(items: I) -> Self {
        let mut options = Self::new();
        for (code, value) in items {
            if !matches!(code, code::PAD | code::END) {
                options.append(code, &value);
            }
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(field: &[u8]) -> Options {
        let mut options = Options::new();
        options.read(field);
        options
    }

    #[test]
    fn padding_end_and_cut_options() {
        assert_eq!(read(&[0, 0, 1, 1, 7, 0, 255, 2, 1, 9]).into_vec(), [(1, vec![7])]);
        assert_eq!(read(&[1, 1, 7]).into_vec(), [(1, vec![7])], "no end mark");
        assert_eq!(read(&[1, 1, 7, 2]).into_vec(), [(1, vec![7])], "no length");
        assert_eq!(read(&[1, 1, 7, 2, 3, 8, 8]).into_vec(), [(1, vec![7])], "value beyond the end");
        assert_eq!(read(&[80, 0, 255]).into_vec(), [(80, vec![])]);
    }

    #[test]
    fn split_options_are_joined_even_apart() {
        let options = read(&[121, 2, 1, 2, 6, 4, 192, 0, 2, 1, 121, 1, 3, 255]);
        assert_eq!(options.get(121), Some(&[1, 2, 3][..]));
        assert_eq!(options.ipv4(6), Some(Ipv4Addr::new(192, 0, 2, 1)));
    }

    #[test]
    fn values_of_the_wrong_length_are_none() {
        let options =
            read(&[51, 3, 0, 0, 1, 26, 1, 5, 1, 5, 255, 255, 255, 0, 0, 6, 5, 1, 2, 3, 4, 5, 42, 0, 255]);
        assert_eq!(options.u32(51), None);
        assert_eq!(options.u16(26), None);
        assert_eq!(options.ipv4(1), None);
        assert_eq!(options.ipv4_list(6), None);
        assert_eq!(options.ipv4_list(42), None);
        assert_eq!(options.u8(99), None);
    }

    #[test]
    fn of_a_repeated_number_the_first_counts() {
        let options = read(&[51, 4, 0, 0, 0, 60, 51, 4, 0, 0, 0, 61, 53, 1, 5, 53, 1, 6, 255]);
        assert_eq!(options.u32(51), Some(60));
        assert_eq!(options.u8(53), Some(5));
    }

    proptest! {
        #[test]
        fn round_trips(items in prop::collection::vec((1..255_u8, prop::collection::vec(any::<u8>(), 0..600)), 0..9)) {
            let options: Options = items.into_iter().collect();
            let mut bytes = Vec::new();
            options.write(&mut bytes);
            prop_assert_eq!(read(&bytes), options);
        }

        #[test]
        fn any_bytes_are_fine(bytes in prop::collection::vec(any::<u8>(), 0..400), code: u8) {
            let options = read(&bytes);
            let _ = (options.u8(code), options.u16(code), options.u32(code), options.ipv4_list(code));
            let kept: usize = options.iter().map(|(_, value)| value.len() + 2).sum();
            prop_assert!(kept <= bytes.len());
        }
    }
}
