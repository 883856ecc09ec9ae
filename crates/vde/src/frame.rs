//! Ethernet frames as a switch sees them: two addresses and perhaps a VLAN tag (IEEE 802.3, 802.1Q).

use landline_types::Mac;

/// The shortest thing that is a frame: two addresses and a type. In bytes.
pub const FRAME_MIN: usize = 14;

/// The longest frame that is passed on: 9216 bytes of content, header and one tag. In bytes.
pub const FRAME_MAX: usize = 9216 + 14 + 4;

/// `TPID` of a VLAN tag.
const VLAN_TPID: [u8; 2] = [0x81, 0x00];

/// What a switch reads of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) destination: Mac,
    pub(crate) source: Mac,
    /// The VLAN identifier of an 802.1Q tag.
    pub(crate) tag: Option<u16>,
}

impl Header {
    /// The header, unless the frame is too short or too long to be one.
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        if frame.len() > FRAME_MAX || frame.len() < FRAME_MIN {
            return None;
        }
        let destination = Mac::new(*frame.first_chunk()?);
        let source = Mac::new(*frame.get(6..)?.first_chunk()?);
        let tag = match (frame.get(12..14), frame.get(14..16)) {
            (Some(kind), Some(&[high, low])) if *kind == VLAN_TPID => {
                Some(u16::from_be_bytes([high, low]) & 0xfff)
            }
            _ => None,
        };
        Some(Self { destination, source, tag })
    }
}

/// The frame without its tag, which it must have.
pub(crate) fn untagged(frame: &[u8]) -> Vec<u8> {
    let (head, rest) = frame.split_at(12.min(frame.len()));
    [head, rest.get(4..).unwrap_or_default()].concat()
}

/// The frame with a tag put in.
pub(crate) fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    let (head, rest) = frame.split_at(12.min(frame.len()));
    [head, &VLAN_TPID, &vlan.to_be_bytes(), rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_are_read() {
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 1, 0x08, 0x06]);
        let header = Header::read(&frame).unwrap();
        assert_eq!((header.source, header.tag), (Mac::new([2, 0, 0, 0, 0, 1]), None));
        let with = tagged(&frame, 5);
        assert_eq!(Header::read(&with).unwrap().tag, Some(5));
        assert_eq!(untagged(&with), frame);
        // A tag that is cut off is none.
        assert_eq!(Header::read(&with[..15]).unwrap().tag, None);
        assert_eq!(Header::read(&frame[..13]), None);
        assert_eq!(Header::read(&vec![0; FRAME_MAX + 1]), None);
    }

    proptest! {
        #[test]
        fn tags_come_off_as_they_went_on(frame in proptest::collection::vec(any::<u8>(), 14..100), vlan in 0u16..4096) {
            let with = tagged(&frame, vlan);
            prop_assert_eq!(Header::read(&with).unwrap().tag, Some(vlan));
            prop_assert_eq!(untagged(&with), frame);
        }
    }
}
