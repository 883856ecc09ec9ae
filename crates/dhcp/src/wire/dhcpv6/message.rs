//! A DHCPv6 message between a client and a server (RFC 9915 section 8).

use super::options::Options;

/// The kinds of message that go between clients and servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// A client looks for servers.
    Solicit,
    /// A server offers itself.
    Advertise,
    /// A client asks for addresses.
    Request,
    /// A client asks whether its addresses are of this link.
    Confirm,
    /// A client asks its server for more time.
    Renew,
    /// A client asks all servers for more time.
    Rebind,
    /// A server answers.
    Reply,
    /// A client gives addresses back.
    Release,
    /// A client found that somebody else uses an address.
    Decline,
    /// A server wants to be asked again.
    Reconfigure,
    /// A client asks for parameters only.
    InformationRequest,
}

impl MessageType {
    /// In the order of their codes, from 1.
    pub const ALL: [Self; 11] = [
        Self::Solicit,
        Self::Advertise,
        Self::Request,
        Self::Confirm,
        Self::Renew,
        Self::Rebind,
        Self::Reply,
        Self::Release,
        Self::Decline,
        Self::Reconfigure,
        Self::InformationRequest,
    ];

    /// The message's first octet.
    pub fn code(self) -> u8 {
        let at = Self::ALL.iter().position(|&kind| kind == self).unwrap_or_default();
        u8::try_from(at + 1).unwrap_or_default()
    }

    /// The kind a message's first octet names. Relay agents' messages are none of them.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }
}

/// A message between a client and a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its kind.
    pub kind: MessageType,
    /// The transaction.
    pub xid: [u8; 3],
    /// What it says.
    pub options: Options,
}

impl Message {
    /// A message with nothing in it yet.
    pub fn new(kind: MessageType, xid: [u8; 3]) -> Self {
        Self { kind, xid, options: Options::new() }
    }

    /// Reads a UDP payload. `None` if it is shorter than its fixed part or of a kind that does not go between
    /// clients and servers. Options are never a reason: what can be read of them is there.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (&[kind, a, b, c], rest) = payload.split_first_chunk::<4>()?;
        Some(Self { kind: MessageType::from_code(kind)?, xid: [a, b, c], options: Options::read(rest) })
    }

    /// The message as a UDP payload.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = vec![self.kind.code()];
        out.extend(self.xid);
        self.options.write(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::options::{code, tests::any_options};
    use super::*;

    #[test]
    fn a_solicit_on_the_wire() {
        let mut solicit = Message::new(MessageType::Solicit, [1, 2, 3]);
        solicit.options.push(code::ELAPSED_TIME, &[0, 0]);
        solicit.options.push(code::RAPID_COMMIT, &[]);
        assert_eq!(solicit.emit(), [1, 1, 2, 3, 0, 8, 0, 2, 0, 0, 0, 14, 0, 0]);
    }

    #[test]
    fn codes() {
        let codes: Vec<_> = MessageType::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes, (1..=11).collect::<Vec<_>>());
        for (code, kind) in
            [(3, Some(MessageType::Request)), (7, Some(MessageType::Reply)), (0, None), (12, None)]
        {
            assert_eq!(MessageType::from_code(code), kind);
            assert_eq!(Message::parse(&[code, 0, 0, 0]).map(|m| m.kind), kind);
        }
        assert_eq!(Message::parse(&[7, 0, 0]), None);
    }

    proptest! {
        #[test]
        fn round_trips(kind in 0..11_usize, xid: [u8; 3], options in any_options()) {
            let message = Message { kind: MessageType::ALL[kind], xid, options };
            prop_assert_eq!(Message::parse(&message.emit()), Some(message));
        }

        #[test]
        fn any_bytes_are_fine(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some(message) = Message::parse(&bytes) {
                prop_assert_eq!(Message::parse(&message.emit()), Some(message));
            }
        }
    }
}
