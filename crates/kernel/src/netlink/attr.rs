//! The encoding of rtnetlink: messages and their nested attributes (`netlink(7)`, `rtnetlink(7)`).
//!
//! Reading is total: an attribute that is too short or unknown is as if it were absent, so that a newer
//! kernel, or a strange link of somebody else, never fails a whole listing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use landline_types::Mac;

/// Length of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
const ATTR_HEADER: usize = 4;
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

/// One request as it is built.
#[derive(Debug, Clone)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// Starts a message with its header and the fixed part that follows (`struct ifinfomsg` and so on).
    pub(crate) fn new(kind: u16, flags: i32, body: &[u8]) -> Self {
        let flags = u16::try_from(flags).unwrap_or_default() | REQUEST;
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(body);
        Self(bytes).aligned()
    }

    fn aligned(mut self) -> Self {
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// The finished message with this sequence number.
    pub(crate) fn finish(&mut self, sequence: u32) -> &[u8] {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        &self.0
    }

    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.open(kind, |inner| inner.raw(value))
    }

    pub(crate) fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    pub(crate) fn u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// A text with the NUL the kernel wants.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.open(kind, |inner| {
            inner.raw(value.as_bytes());
            inner.raw(&[0]);
        })
    }

    pub(crate) fn mac(&mut self, kind: u16, value: Mac) -> &mut Self {
        self.bytes(kind, &value.octets())
    }

    pub(crate) fn ip(&mut self, kind: u16, value: IpAddr) -> &mut Self {
        match value {
            IpAddr::V4(v4) => self.bytes(kind, &v4.octets()),
            IpAddr::V6(v6) => self.bytes(kind, &v6.octets()),
        }
    }

    /// An attribute made of attributes.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.open(kind | NESTED, fill)
    }

    /// Bytes without a header of their own, such as the `struct ifinfomsg` of a veth's peer.
    pub(crate) fn raw(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }

    fn open(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; ATTR_HEADER]);
        fill(self);
        // Nothing we send comes near 64 KiB; if it did, the kernel would refuse the clamped length.
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        self.pad();
        self
    }
}

/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;

/// The attributes of a received message, or of an attribute; ends at the first malformed one.
#[derive(Debug, Clone)]
pub(crate) struct Attrs<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(*self.0.first_chunk()?));
        let kind = u16::from_ne_bytes(*self.0.get(2..4)?.first_chunk()?);
        let value = self.0.get(ATTR_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & TYPE_MASK, Value(value)))
    }
}

/// The payload of one attribute; every reading is `None` when the payload does not fit it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a>(pub(crate) &'a [u8]);

impl<'a> Value<'a> {
    pub(crate) fn u8(self) -> Option<u8> {
        self.0.first().copied()
    }

    pub(crate) fn u16(self) -> Option<u16> {
        self.0.first_chunk().map(|b| u16::from_ne_bytes(*b))
    }

    pub(crate) fn u32(self) -> Option<u32> {
        self.0.first_chunk().map(|b| u32::from_ne_bytes(*b))
    }

    pub(crate) fn i32(self) -> Option<i32> {
        self.0.first_chunk().map(|b| i32::from_ne_bytes(*b))
    }

    /// A text up to its NUL, bad UTF-8 replaced.
    pub(crate) fn text(self) -> String {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        String::from_utf8_lossy(&self.0[..end]).into_owned()
    }

    pub(crate) fn mac(self) -> Option<Mac> {
        <[u8; 6]>::try_from(self.0).ok().map(Mac::new)
    }

    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self.0.len() {
            4 => self.0.first_chunk().map(|b| Ipv4Addr::from(*b).into()),
            16 => self.0.first_chunk().map(|b: &[u8; 16]| Ipv6Addr::from(*b).into()),
            _ => None,
        }
    }

    pub(crate) fn attrs(self) -> Attrs<'a> {
        Attrs(self.0)
    }
}

/// One message of a received datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// The messages of a received datagram; ends at the first malformed one.
#[derive(Debug)]
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Received<'a>;

    fn next(&mut self) -> Option<Received<'a>> {
        let header: &[u8; HEADER] = self.0.first_chunk()?;
        let length = usize::try_from(Value(header).u32()?).ok()?;
        let body = self.0.get(HEADER..length)?;
        let message = Received {
            kind: Value(&header[4..]).u16()?,
            flags: Value(&header[6..]).u16()?,
            sequence: Value(&header[8..]).u32()?,
            body,
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut message = Message::new(16, 0x400, &[0; 3]);
        message.u8(1, 9).u16(2, 8).u32(3, 7).text(4, "eth0");
        message.nest(5, |inner| {
            inner.mac(6, Mac::new([2, 0, 0, 0, 0, 1]));
            inner.ip(7, "192.0.2.1".parse().unwrap());
            inner.ip(8, "2001:db8::1".parse().unwrap());
        });
        let bytes = message.finish(42).to_vec();
        let got = Messages(&bytes).next().unwrap();
        assert_eq!((got.kind, got.flags, got.sequence), (16, 0x401, 42));
        let attrs: Vec<_> = Attrs(&got.body[4..]).collect();
        assert_eq!(attrs.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(attrs[0].1.u8(), Some(9));
        assert_eq!(attrs[1].1.u16(), Some(8));
        assert_eq!(attrs[2].1.u32(), Some(7));
        assert_eq!(attrs[3].1.text(), "eth0");
        let nested: Vec<_> = attrs[4].1.attrs().collect();
        assert_eq!(nested[0].1.mac(), Some(Mac::new([2, 0, 0, 0, 0, 1])));
        assert_eq!(nested[1].1.ip(), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(nested[2].1.ip(), Some("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn malformed_input_ends_the_reading() {
        // Lengths too small, too large and zero; and every truncation of a good message.
        for bytes in [&[3, 0, 1, 0][..], &[9, 0, 1, 0, 0], &[0, 0, 1, 0], &[4], &[]] {
            assert!(Attrs(bytes).next().is_none(), "{bytes:?}");
        }
        let mut message = Message::new(16, 0, &[0; 16]);
        message.text(3, "a-name").nest(18, |inner| {
            inner.u32(1, 1);
        });
        let whole = message.finish(1).to_vec();
        for end in 0..whole.len() {
            assert!(Messages(&whole[..end]).next().is_none(), "{end}");
            let _ = Attrs(&whole[16..][..end.saturating_sub(16)]).count();
        }
        assert_eq!(Value(&[1, 2]).u32(), None);
        assert_eq!(Value(&[1, 2, 3, 4, 5]).mac(), None);
        assert_eq!(Value(&[1, 2, 3, 4, 5]).ip(), None);
    }
}
