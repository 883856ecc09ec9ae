//! What a DHCPv4 message means.

use std::net::Ipv4Addr;

use landline_types::Mac;

use super::options::{Options, code};
use super::packet::Packet;
use super::{BOOTREPLY, BOOTREQUEST, BROADCAST_FLAG, ETHERNET, MAGIC, at};

/// Relays and servers of BOOTP's time expect at least this much (RFC 951: 300 octets).
const MIN_LEN: usize = 300;

/// The kinds of message of RFC 2131.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// A client looks for servers.
    Discover,
    /// A server offers an address.
    Offer,
    /// A client asks for an address, or for more time with the one it has.
    Request,
    /// A client found that somebody else uses the address.
    Decline,
    /// The server grants it.
    Ack,
    /// The server refuses.
    Nak,
    /// The client gives the address back.
    Release,
    /// A client with an address asks for the other parameters.
    Inform,
}

impl MessageType {
    /// All of them, in the order of their codes, from 1.
    pub const ALL: [Self; 8] = [
        Self::Discover,
        Self::Offer,
        Self::Request,
        Self::Decline,
        Self::Ack,
        Self::Nak,
        Self::Release,
        Self::Inform,
    ];

    /// The value of option 53.
    pub fn code(self) -> u8 {
        match self {
            Self::Discover => 1,
            Self::Offer => 2,
            Self::Request => 3,
            Self::Decline => 4,
            Self::Ack => 5,
            Self::Nak => 6,
            Self::Release => 7,
            Self::Inform => 8,
        }
    }

    /// The kind a value of option 53 names.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Whether servers send it.
    pub(crate) fn is_reply(self) -> bool {
        matches!(self, Self::Offer | Self::Ack | Self::Nak)
    }
}

/// A message between a client on Ethernet and a server. Whatever stands here is a message that makes sense; what
/// does not cannot be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repr {
    /// Kind (option 53) and direction.
    pub kind: MessageType,
    /// The transaction.
    pub xid: u32,
    /// Seconds since the client began to ask.
    pub secs: u16,
    /// Whether answers are to be broadcast.
    pub broadcast: bool,
    /// The address the client uses.
    pub ciaddr: Ipv4Addr,
    /// The address the client gets.
    pub yiaddr: Ipv4Addr,
    /// The next server of a network boot.
    pub siaddr: Ipv4Addr,
    /// The relay agent on the way.
    pub giaddr: Ipv4Addr,
    /// The client's hardware address.
    pub mac: Mac,
    /// All options but 52 and 53, which are encoding and `kind`.
    pub options: Options,
}

impl Repr {
    /// A message of a client, with nothing in it yet.
    pub fn from_client(kind: MessageType, xid: u32, mac: Mac) -> Self {
        let none = Ipv4Addr::UNSPECIFIED;
        Self {
            kind,
            xid,
            secs: 0,
            broadcast: false,
            ciaddr: none,
            yiaddr: none,
            siaddr: none,
            giaddr: none,
            mac,
            options: Options::new(),
        }
    }

    /// The meaning of a packet. `None` if it has no known kind, goes in the direction its kind does not, or is not
    /// for Ethernet.
    pub fn parse(packet: &Packet<'_>) -> Option<Self> {
        let kind = packet.message_type()?;
        if kind.is_reply() != packet.is_reply() || packet.hardware_type() != ETHERNET {
            return None;
        }
        let mac = Mac::new(packet.hardware_address().try_into().ok()?);
        let options = packet.options().iter().filter(|(code, _)| !is_encoding(*code));
        Some(Self {
            kind,
            xid: packet.xid(),
            secs: packet.secs(),
            broadcast: packet.broadcast(),
            ciaddr: packet.ciaddr(),
            yiaddr: packet.yiaddr(),
            siaddr: packet.siaddr(),
            giaddr: packet.giaddr(),
            mac,
            options: options.map(|(code, value)| (code, value.to_vec())).collect(),
        })
    }

    /// The message as a UDP payload.
    pub fn emit(&self) -> Vec<u8> {
        let mut fixed = [0; at::OPTIONS];
        let mut put = |at: usize, octets: &[u8]| fixed[at..at + octets.len()].copy_from_slice(octets);
        put(at::OP, &[if self.kind.is_reply() { BOOTREPLY } else { BOOTREQUEST }]);
        put(at::HTYPE, &[ETHERNET]);
        put(at::HLEN, &[6]);
        put(at::XID, &self.xid.to_be_bytes());
        put(at::SECS, &self.secs.to_be_bytes());
        put(at::FLAGS, &if self.broadcast { BROADCAST_FLAG } else { 0 }.to_be_bytes());
        put(at::CIADDR, &self.ciaddr.octets());
        put(at::YIADDR, &self.yiaddr.octets());
        put(at::SIADDR, &self.siaddr.octets());
        put(at::GIADDR, &self.giaddr.octets());
        put(at::CHADDR.start, &self.mac.octets());
        put(at::MAGIC.start, &MAGIC);

        let mut out = fixed.to_vec();
        out.extend([code::MESSAGE_TYPE, 1, self.kind.code()]);
        let options: Options =
            self.options.iter().filter(|(c, _)| !is_encoding(*c)).map(|(c, v)| (c, v.to_vec())).collect();
        options.write(&mut out);
        if out.len() < MIN_LEN {
            out.resize(MIN_LEN, code::PAD);
        }
        out
    }
}

fn is_encoding(option: u8) -> bool {
    matches!(option, code::MESSAGE_TYPE | code::OVERLOAD)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: Mac = Mac::new([2, 0x42, 0xc0, 0, 2, 10]);

    fn discover() -> Repr {
        let mut repr = Repr::from_client(MessageType::Discover, 0x0102_0304, MAC);
        repr.secs = 7;
        repr.broadcast = true;
        repr.options.append(code::HOST_NAME, b"web");
        repr
    }

    #[test]
    fn a_discover_on_the_wire() {
        let bytes = discover().emit();
        assert_eq!(&bytes[..12], &[1, 1, 6, 0, 1, 2, 3, 4, 0, 7, 0x80, 0]);
        assert_eq!(&bytes[28..34], &MAC.octets());
        assert_eq!(&bytes[236..250], &[99, 130, 83, 99, 53, 1, 1, 12, 3, b'w', b'e', b'b', 255, 0]);
        assert_eq!(bytes.len(), 300);
    }

    #[test]
    fn overload_continues_in_file_then_sname() {
        let mut bytes = discover().emit();
        bytes.truncate(243);
        bytes.extend([52, 1, 3, 121, 1, 1, 255]);
        bytes[108..113].copy_from_slice(&[121, 1, 2, 255, 9]);
        bytes[44..50].copy_from_slice(&[121, 1, 3, 6, 9, 9]); // option 6 is cut short by nothing but its length
        let packet = Packet::parse(&bytes);
        let options = packet.as_ref().map(Packet::options);
        assert_eq!(options.and_then(|o| o.get(121)), Some(&[1, 2, 3][..]));
        assert!(options.and_then(|o| o.get(6)).is_some());

        bytes[245] = 1;
        assert_eq!(Packet::parse(&bytes).as_ref().and_then(|p| p.options().get(121)), Some(&[1, 2][..]));
        bytes[245] = 2;
        assert_eq!(Packet::parse(&bytes).as_ref().and_then(|p| p.options().get(121)), Some(&[1, 3][..]));
    }

    #[test]
    fn what_is_not_a_message() {
        let good = discover().emit();
        assert!(Packet::parse(&good[..239]).is_none(), "short");
        assert!(Packet::parse(&good[..240]).is_some(), "no options is a packet");
        assert!(Packet::parse(&good[..240]).and_then(|p| Repr::parse(&p)).is_none(), "but no message");
        for (at, value, why) in
            [(0, 2, "kind and direction"), (1, 6, "hardware"), (2, 16, "address length"), (242, 9, "kind")]
        {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(Packet::parse(&bad).and_then(|p| Repr::parse(&p)).is_none(), "{why}");
        }
        for (at, value) in [(0, 3), (236, 0)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(Packet::parse(&bad).is_none(), "octet {at}");
        }
    }

    #[test]
    fn an_absurd_address_length_is_readable() {
        let mut bytes = discover().emit();
        bytes[2] = 255;
        assert_eq!(Packet::parse(&bytes).map(|p| p.hardware_address().len()), Some(16));
    }

    fn any_repr() -> impl Strategy<Value = Repr> {
        let options = prop::collection::vec((1..255_u8, prop::collection::vec(any::<u8>(), 0..300)), 0..8);
        let numbers = (0..8_usize, any::<u32>(), any::<u16>(), any::<bool>());
        (numbers, any::<[[u8; 4]; 4]>(), any::<[u8; 6]>(), options).prop_map(
            |((kind, xid, secs, broadcast), ips, mac, options)| Repr {
                kind: MessageType::ALL[kind],
                xid,
                secs,
                broadcast,
                ciaddr: ips[0].into(),
                yiaddr: ips[1].into(),
                siaddr: ips[2].into(),
                giaddr: ips[3].into(),
                mac: Mac::new(mac),
                options: options.into_iter().filter(|(c, _)| !is_encoding(*c)).collect(),
            },
        )
    }

    proptest! {
        #[test]
        fn round_trips(repr in any_repr()) {
            let bytes = repr.emit();
            prop_assert_eq!(Packet::parse(&bytes).and_then(|p| Repr::parse(&p)), Some(repr));
        }

        #[test]
        fn any_bytes_are_fine(repr in any_repr(), damage in prop::collection::vec((any::<u16>(), any::<u8>()), 0..40), cut: u16) {
            let mut bytes = repr.emit();
            for (at, value) in damage {
                let at = usize::from(at) % bytes.len();
                bytes[at] = value;
            }
            bytes.truncate(usize::from(cut));
            if let Some(packet) = Packet::parse(&bytes) {
                let _ = packet.hardware_address();
                if let Some(again) = Repr::parse(&packet) {
                    let bytes = again.emit();
                    prop_assert_eq!(Packet::parse(&bytes).and_then(|p| Repr::parse(&p)), Some(again));
                }
            }
        }
    }
}
