//! `ICMPv6` (RFC 4443) as far as neighbour discovery (RFC 4861) needs it: looking for routers and for other users of
//! an address.

use std::net::Ipv6Addr;

use landline_types::Mac;

use super::ipv6::{ICMP, solicited_node};
use super::ra::RouterAdvertisement;
use super::udp::Check;
use super::{checksum, field};

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

const SOURCE_LINK: u8 = 1;
const TARGET_LINK: u8 = 2;
const NONCE: u8 = 14;

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// The octets of a nonce that fill one unit of an option (RFC 3971 section 5.3.2).
pub type Nonce = [u8; 6];

/// A message of neighbour discovery. All of them are valid only with hop limit 255 (RFC 4861 sections 6.1 and 7.1):
/// whoever has the IP header must look, and must send them so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// "Routers, tell about yourselves."
    RouterSolicitation {
        /// The sender's hardware address; none if it has no address yet.
        source_mac: Option<Mac>,
    },
    /// What a router tells.
    RouterAdvertisement(RouterAdvertisement),
    /// "Who has `target`?"; from the unspecified address: "does anybody?".
    NeighbourSolicitation {
        /// The address it is about.
        target: Ipv6Addr,
        /// The sender's hardware address; none if it has no address yet.
        source_mac: Option<Mac>,
        /// By which a sender recognises its own question when the link brings it back (RFC 7527).
        nonce: Option<Nonce>,
    },
    /// "I have `target`."
    NeighbourAdvertisement {
        /// The address it is about.
        target: Ipv6Addr,
        /// The hardware address of that.
        target_mac: Option<Mac>,
        /// Whether the sender is a router.
        router: bool,
        /// Whether this answers a question.
        solicited: bool,
        /// Whether it replaces what caches hold.
        overrides: bool,
    },
}

impl Message {
    /// Reads an `ICMPv6` message that came in a packet from `src` to `dst`. `None` if it is none of those here, is
    /// not well formed (code 0, options that come out even and are not empty, no group as target), the checksum is
    /// wrong, or it is a probe for an address that names its sender or goes elsewhere than to the group of an address
    /// (RFC 4861 section 7.1.1).
    pub fn parse(src: Ipv6Addr, dst: Ipv6Addr, bytes: &[u8], check: Check) -> Option<Self> {
        if check == Check::Verify && checksum::ipv6(src, dst, ICMP, bytes) != 0 {
            return None;
        }
        let [kind, code, ..] = *bytes else { return None };
        if code != 0 {
            return None;
        }
        match kind {
            ROUTER_SOLICITATION => {
                let options = Options::read(bytes.get(8..)?)?;
                Some(Self::RouterSolicitation { source_mac: options.mac(SOURCE_LINK) })
            }
            ROUTER_ADVERTISEMENT => RouterAdvertisement::parse(bytes).map(Self::RouterAdvertisement),
            NEIGHBOUR_SOLICITATION => {
                let target = target(bytes)?;
                let options = Options::read(bytes.get(24..)?)?;
                let nonce = options.first(NONCE).and_then(|value| value.try_into().ok());
                let source_mac = options.mac(SOURCE_LINK);
                let is_sound = source_mac.is_none() && solicited_node(dst) == dst;
                let is_valid = !src.is_unspecified() || is_sound;
                is_valid.then_some(Self::NeighbourSolicitation { target, source_mac, nonce })
            }
            NEIGHBOUR_ADVERTISEMENT => {
                let target = target(bytes)?;
                let options = Options::read(bytes.get(24..)?)?;
                let flags = *bytes.get(4)?;
                Some(Self::NeighbourAdvertisement {
                    target,
                    target_mac: options.mac(TARGET_LINK),
                    router: flags & ROUTER != 0,
                    solicited: flags & SOLICITED != 0,
                    overrides: flags & OVERRIDE != 0,
                })
            }
            _ => None,
        }
    }

    /// The message's octets, with the checksum for a packet from `src` to `dst`.
    pub fn emit(&self, src: Ipv6Addr, dst: Ipv6Addr) -> Vec<u8> {
        let mut out = match self {
            Self::RouterSolicitation { source_mac } => {
                let mut out = header(ROUTER_SOLICITATION, [0; 4]);
                put_mac(&mut out, SOURCE_LINK, *source_mac);
                out
            }
            Self::RouterAdvertisement(advertisement) => {
                let mut out = header(ROUTER_ADVERTISEMENT, advertisement.fixed());
                advertisement.write(&mut out);
                out
            }
            Self::NeighbourSolicitation { target, source_mac, nonce } => {
                let mut out = header(NEIGHBOUR_SOLICITATION, [0; 4]);
                out.extend(target.octets());
                put_mac(&mut out, SOURCE_LINK, *source_mac);
                if let Some(nonce) = nonce {
                    put(&mut out, NONCE, nonce);
                }
                out
            }
            Self::NeighbourAdvertisement { target, target_mac, router, solicited, overrides } => {
                let flag = |set: bool, bit: u8| if set { bit } else { 0 };
                let flags = flag(*router, ROUTER) | flag(*solicited, SOLICITED) | flag(*overrides, OVERRIDE);
                let mut out = header(NEIGHBOUR_ADVERTISEMENT, [flags, 0, 0, 0]);
                out.extend(target.octets());
                put_mac(&mut out, TARGET_LINK, *target_mac);
                out
            }
        };
        let sum = checksum::ipv6(src, dst, ICMP, &out);
        out[2..4].copy_from_slice(&sum.to_be_bytes());
        out
    }
}

/// Type, code 0, room for the checksum, and the four octets after it.
fn header(kind: u8, rest: [u8; 4]) -> Vec<u8> {
    [&[kind, 0, 0, 0][..], &rest].concat()
}

fn target(bytes: &[u8]) -> Option<Ipv6Addr> {
    let target = Ipv6Addr::from(field::octets::<16>(bytes, 8)?);
    (!target.is_multicast()).then_some(target)
}

fn put_mac(out: &mut Vec<u8>, kind: u8, mac: Option<Mac>) {
    if let Some(mac) = mac {
        put(out, kind, &mac.octets());
    }
}

/// Writes an option, padded with zeros to units of eight octets. At most 2038 octets of it.
pub(super) fn put(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let value = &value[..value.len().min(255 * 8 - 2)];
    let units = (value.len() + 2).div_ceil(8);
    let end = out.len() + units * 8;
    // At most 255 units by the line above.
    out.extend([kind, u8::try_from(units).unwrap_or(u8::MAX)]);
    out.extend_from_slice(value);
    out.resize(end, 0);
}

/// The options of a message (RFC 4861 section 4.6): a type, a length in units of eight octets, a value.
pub(super) struct Options<'a>(Vec<(u8, &'a [u8])>);

impl<'a> Options<'a> {
    /// Reads options up to the end. `None` if one has no length or more of it than there is: the whole message is
    /// not valid then (RFC 4861 section 6.1.2).
    pub(super) fn read(mut rest: &'a [u8]) -> Option<Self> {
        let mut options = Vec::new();
        while let [kind, units, ..] = *rest {
            let (option, tail) = rest.split_at_checked(usize::from(units) * 8)?;
            options.push((kind, option.get(2..)?));
            rest = tail;
        }
        rest.is_empty().then_some(Self(options))
    }

    /// All options with their values (without type and length).
    pub(super) fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> {
        self.0.iter().copied()
    }

    fn first(&self, kind: u8) -> Option<&'a [u8]> {
        self.iter().find(|(k, _)| *k == kind).map(|(_, value)| value)
    }

    fn mac(&self, kind: u8) -> Option<Mac> {
        self.first(kind).and_then(|value| value.try_into().ok()).map(Mac::new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ra::tests::any_advertisement;
    use super::*;

    const MAC: Mac = Mac::new([2, 0x42, 0xc0, 0, 2, 10]);
    const SRC: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const DST: Ipv6Addr = super::super::ipv6::ALL_NODES;
    const TARGET: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);

    fn parse(bytes: &[u8]) -> Option<Message> {
        Message::parse(SRC, DST, bytes, Check::Skip)
    }

    #[test]
    fn a_router_solicitation_on_the_wire() {
        let bytes = Message::RouterSolicitation { source_mac: Some(MAC) }.emit(SRC, DST);
        assert_eq!(bytes[..2], [133, 0]);
        assert_eq!(bytes[4..], [0, 0, 0, 0, 1, 1, 2, 0x42, 0xc0, 0, 2, 10]);
        assert_eq!(Message::RouterSolicitation { source_mac: None }.emit(SRC, DST).len(), 8);
    }

    #[test]
    fn a_duplicate_address_probe_on_the_wire() {
        let probe = Message::NeighbourSolicitation {
            target: TARGET,
            source_mac: None,
            nonce: Some([1, 2, 3, 4, 5, 6]),
        };
        let bytes = probe.emit(SRC, DST);
        assert_eq!(bytes[8..24], TARGET.octets());
        assert_eq!(bytes[24..], [14, 1, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn flags_of_an_advertisement() {
        let flags = |router, solicited, overrides| {
            let advertisement = Message::NeighbourAdvertisement {
                target: TARGET,
                target_mac: Some(MAC),
                router,
                solicited,
                overrides,
            };
            advertisement.emit(SRC, DST)[4]
        };
        assert_eq!(
            [flags(true, false, false), flags(false, true, false), flags(false, false, true)],
            [128, 64, 32]
        );
    }

    #[test]
    fn the_checksum_is_of_these_addresses() {
        let bytes = Message::RouterSolicitation { source_mac: Some(MAC) }.emit(SRC, DST);
        assert!(Message::parse(SRC, DST, &bytes, Check::Verify).is_some());
        assert_eq!(Message::parse(TARGET, DST, &bytes, Check::Verify), None);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 4;
            assert_eq!(Message::parse(SRC, DST, &bad, Check::Verify), None, "octet {at}");
        }
    }

    #[test]
    fn what_is_not_well_formed() {
        let good = Message::NeighbourSolicitation { target: TARGET, source_mac: Some(MAC), nonce: None }
            .emit(SRC, DST);
        assert!(parse(&good).is_some());
        for len in 0..good.len() {
            // Up to the options' beginning it is whole without them.
            assert_eq!(parse(&good[..len]).is_some(), len == 24, "{len} octets");
        }
        for (at, value, why) in [
            (0, 128, "an echo"),
            (1, 1, "code"),
            (8, 0xff, "a group"),
            (25, 0, "empty option"),
            (25, 2, "long option"),
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(parse(&bad), None, "{why}");
        }
        let mut unknown = good.clone();
        unknown.extend([99, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(parse(&unknown), parse(&good), "an option of later times");
    }

    fn any_mac() -> impl Strategy<Value = Option<Mac>> {
        prop::option::of(any::<[u8; 6]>().prop_map(Mac::new))
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let target = any::<[u8; 15]>().prop_map(|o| {
            let mut octets = [0x20; 16];
            octets[1..].copy_from_slice(&o);
            Ipv6Addr::from(octets)
        });
        prop_oneof![
            any_mac().prop_map(|source_mac| Message::RouterSolicitation { source_mac }),
            any_advertisement().prop_map(Message::RouterAdvertisement),
            (target.clone(), any_mac(), any::<Option<Nonce>>()).prop_map(|(target, source_mac, nonce)| {
                Message::NeighbourSolicitation { target, source_mac, nonce }
            }),
            (target, any_mac(), any::<[bool; 3]>()).prop_map(
                |(target, target_mac, [router, solicited, overrides])| {
                    Message::NeighbourAdvertisement { target, target_mac, router, solicited, overrides }
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn round_trips(message in any_message()) {
            let bytes = message.emit(SRC, DST);
            prop_assert_eq!(Message::parse(SRC, DST, &bytes, Check::Verify), Some(message));
        }

        #[test]
        fn any_bytes_are_fine(
            message in any_message(),
            damage in prop::collection::vec((any::<u16>(), any::<u8>()), 0..9),
            cut: u8,
        ) {
            let mut bytes = message.emit(SRC, DST);
            for (at, value) in damage {
                let at = usize::from(at) % bytes.len();
                bytes[at] = value;
            }
            bytes.truncate(usize::from(cut));
            if let Some(again) = parse(&bytes) {
                prop_assert_eq!(parse(&again.emit(SRC, DST)), Some(again));
            }
        }
    }
}
