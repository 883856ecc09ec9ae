//! `DHCPv4` messages (RFC 2131, RFC 2132) as far as tests look at them or make them up. On purpose not the
//! product's own codec: a mistake there must not hide itself here.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use super::frame::{ipv4_at, mac};

pub(super) const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// Where the options begin, behind the magic cookie.
const OPTIONS: usize = 240;

/// The message type (option 53).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names of RFC 2131 section 3.1")]
pub enum DhcpKind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Decline = 4,
    Ack = 5,
    Nak = 6,
    Release = 7,
    Inform = 8,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpMessage {
    /// 1 from a client, 2 from a server.
    pub op: u8,
    /// Transaction id.
    pub xid: u32,
    /// Seconds the client says it has been trying.
    pub secs: u16,
    /// Whether the client asks for broadcast answers.
    pub broadcast: bool,
    /// The address the client has.
    pub ciaddr: Ipv4Addr,
    /// The address the client gets.
    pub yiaddr: Ipv4Addr,
    /// The next server.
    pub siaddr: Ipv4Addr,
    /// The relay.
    pub giaddr: Ipv4Addr,
    /// The client's MAC.
    pub chaddr: [u8; 6],
    /// Options by number; parts of a split one are joined (RFC 3396).
    pub options: BTreeMap<u8, Vec<u8>>,
}

impl DhcpMessage {
    /// Takes a UDP payload apart; `None` if it is not a DHCP message.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        (bytes.get(236..OPTIONS)? == MAGIC).then_some(())?;
        let mut options: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        let mut rest = &bytes[OPTIONS..];
        while let [code, tail @ ..] = rest {
            rest = tail;
            match code {
                0 => {}
                255 => break,
                _ => {
                    let (length, tail) = rest.split_first()?;
                    let (value, tail) = tail.split_at_checked(usize::from(*length))?;
                    options.entry(*code).or_default().extend(value);
                    rest = tail;
                }
            }
        }
        Some(Self {
            op: bytes[0],
            xid: u32::from_be_bytes(bytes[4..8].try_into().ok()?),
            secs: u16::from_be_bytes(bytes[8..10].try_into().ok()?),
            broadcast: bytes[10] & 0x80 != 0,
            ciaddr: ipv4_at(bytes, 12)?,
            yiaddr: ipv4_at(bytes, 16)?,
            siaddr: ipv4_at(bytes, 20)?,
            giaddr: ipv4_at(bytes, 24)?,
            chaddr: bytes[28..34].try_into().ok()?,
            options,
        })
    }

    /// A server's answer to `request`: same transaction and client, message type and server identifier set.
    pub fn answer(request: &Self, kind: DhcpKind, server: Ipv4Addr) -> Self {
        let mut options = BTreeMap::new();
        options.insert(53, vec![kind as u8]);
        options.insert(54, server.octets().to_vec());
        Self {
            op: 2,
            secs: 0,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            options,
            ..request.clone()
        }
    }

    /// An OFFER or ACK of `address` (with a /24 mask) for `seconds`.
    pub fn grant(request: &Self, kind: DhcpKind, server: Ipv4Addr, address: Ipv4Addr, seconds: u32) -> Self {
        let mut message = Self::answer(request, kind, server);
        message.yiaddr = address;
        message.with(51, seconds.to_be_bytes()).with(1, [255, 255, 255, 0])
    }

    /// The same message with an option set.
    #[must_use]
    pub fn with(mut self, code: u8, value: impl AsRef<[u8]>) -> Self {
        self.options.insert(code, value.as_ref().to_vec());
        self
    }

    /// The same message without an option.
    #[must_use]
    pub fn without(mut self, code: u8) -> Self {
        self.options.remove(&code);
        self
    }

    /// The message type, if there is one that is known.
    pub fn kind(&self) -> Option<DhcpKind> {
        use DhcpKind::{Ack, Decline, Discover, Inform, Nak, Offer, Release, Request};
        let all = [Discover, Offer, Request, Decline, Ack, Nak, Release, Inform];
        let [value] = self.options.get(&53)?.as_slice() else { return None };
        all.into_iter().find(|kind| *kind as u8 == *value)
    }

    /// The client's MAC as `aa:bb:cc:dd:ee:ff`.
    pub fn client_mac(&self) -> String {
        mac(&self.chaddr)
    }

    /// An option that holds one address: 50 is the requested one, 54 the server.
    pub fn address_option(&self, code: u8) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.options.get(&code)?.as_slice().try_into().ok()?;
        Some(octets.into())
    }

    /// An option that holds text: 12 is the host name, 60 the vendor class.
    pub fn text_option(&self, code: u8) -> Option<String> {
        self.options.get(&code).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// The UDP payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; 236];
        bytes[..4].copy_from_slice(&[self.op, 1, 6, 0]);
        bytes[4..8].copy_from_slice(&self.xid.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.secs.to_be_bytes());
        bytes[10] = if self.broadcast { 0x80 } else { 0 };
        for (at, address) in [(12, self.ciaddr), (16, self.yiaddr), (20, self.siaddr), (24, self.giaddr)] {
            bytes[at..at + 4].copy_from_slice(&address.octets());
        }
        bytes[28..34].copy_from_slice(&self.chaddr);
        bytes.extend(MAGIC);
        for (code, value) in &self.options {
            for part in value.chunks(255) {
                bytes.extend([*code, u8::try_from(part.len()).unwrap_or(u8::MAX)]);
                bytes.extend(part);
            }
            if value.is_empty() {
                bytes.extend([*code, 0]);
            }
        }
        bytes.push(255);
        // Some clients drop what is shorter than a BOOTP message.
        bytes.resize(bytes.len().max(300), 0);
        bytes
    }
}

impl fmt::Display for DhcpMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            Some(kind) => write!(f, "DHCP {kind:?} {}", self.client_mac())?,
            None => write!(f, "DHCP ? {}", self.client_mac())?,
        }
        write!(f, " xid {:08x} ciaddr {} yiaddr {}", self.xid, self.ciaddr, self.yiaddr)?;
        self.options.iter().filter(|(code, _)| **code != 53).try_for_each(|(code, value)| {
            write!(f, " {code}=")?;
            value.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_can_be_read_again() {
        let discover = DhcpMessage {
            op: 1,
            xid: 0x0102_0304,
            secs: 3,
            broadcast: true,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr: [2, 0, 0, 0, 0, 1],
            options: BTreeMap::new(),
        }
        .with(53, [1])
        .with(12, "web")
        .with(43, vec![7; 300]);
        assert_eq!(DhcpMessage::parse(&discover.encode()).as_ref(), Some(&discover));
        let server = Ipv4Addr::new(192, 0, 2, 9);
        let offer = DhcpMessage::grant(&discover, DhcpKind::Offer, server, Ipv4Addr::new(192, 0, 2, 50), 60);
        assert_eq!(
            (offer.kind(), offer.address_option(54), offer.xid),
            (Some(DhcpKind::Offer), Some(server), discover.xid)
        );
    }

    #[test]
    fn an_option_that_runs_over_the_end_is_refused() {
        let mut bytes = vec![0; 236];
        bytes.extend(MAGIC);
        bytes.extend([12, 200, 1]);
        assert_eq!(DhcpMessage::parse(&bytes), None);
        assert_eq!(DhcpMessage::parse(&bytes[..100]), None);
    }
}
