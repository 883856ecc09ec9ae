//! Traced frames in a file that Wireshark and tcpdump read.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use super::Message;

/// `LINKTYPE_ETHERNET`.
const ETHERNET: u32 = 1;
/// The longest frame that a file announces.
const LONGEST: u32 = 65_535;

/// A file of the classic format (`pcap-savefile(5)`), with times in microseconds.
#[derive(Debug)]
pub(super) struct Pcap(File);

impl Pcap {
    /// A new file, or one that is overwritten.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        let (version, zone, accuracy): ([u16; 2], u32, u32) = ([2, 4], 0, 0);
        let mut header = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        header.extend(version.iter().flat_map(|number| number.to_le_bytes()));
        header.extend([zone, accuracy, LONGEST, ETHERNET].iter().flat_map(|number| number.to_le_bytes()));
        file.write_all(&header)?;
        Ok(Self(file))
    }

    /// One more frame.
    pub(super) fn add(&mut self, message: &Message) -> io::Result<()> {
        self.0.write_all(&record(message))
    }
}

fn record(message: &Message) -> Vec<u8> {
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let (seconds, micros) = (message.at_us / 1_000_000, message.at_us % 1_000_000);
    let length = u32::try_from(message.frame.len()).unwrap_or(u32::MAX);
    let head = [number(seconds), number(micros), length, length];
    head.iter().flat_map(|number| number.to_le_bytes()).chain(message.frame.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_header_and_a_record_for_each_frame() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.pcap");
        let message = Message { at_us: 1_500_000, frame: vec![7; 60], ..Message::default() };
        let mut file = Pcap::create(&path).unwrap();
        file.add(&message).unwrap();
        let octets = std::fs::read(&path).unwrap();
        assert_eq!(
            (octets.len(), &octets[..4], &octets[20..24]),
            (24 + 16 + 60, &[0xd4, 0xc3, 0xb2, 0xa1][..], &[1, 0, 0, 0][..])
        );
        assert_eq!(octets[24..40], [[1, 0, 0, 0], [0x20, 0xa1, 7, 0], [60, 0, 0, 0], [60, 0, 0, 0]].concat());
    }
}
