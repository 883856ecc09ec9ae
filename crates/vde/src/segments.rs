//! TCP segments that follow each other, taken together: for a network interface one long segment costs what a short one
//! does. What the kernel would make of it by segmentation offload is what came in, byte for byte, or it is not taken.
//!
//! The buffer is what is written to a tap with `IFF_VNET_HDR`: a `virtio_net_hdr` (VIRTIO 1.2, 5.1.6) and the frame.

/// The length of a `virtio_net_hdr`, in bytes.
pub(crate) const VNET_LEN: usize = 10;

const ETHERNET_LEN: usize = 14;
/// The longest packet of either version, in bytes.
const PACKET_MAX: usize = 65_535;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;
/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`
const NEEDS_CSUM: u8 = 1;
/// Where the checksum is in a TCP header.
const CSUM_OFFSET: u16 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ip {
    V4,
    V6,
}

impl Ip {
    const fn header_len(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }

    /// `VIRTIO_NET_HDR_GSO_TCPV4`, `VIRTIO_NET_HDR_GSO_TCPV6`
    const fn gso_type(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 4,
        }
    }
}

/// A segment that can be in a batch: it has data, nothing out of the ordinary, and right checksums.
#[derive(Debug, Clone, Copy)]
struct Segment<'a> {
    ip: Ip,
    frame: &'a [u8],
    /// How long all headers are, in bytes.
    headers: usize,
    sequence: u32,
    /// The IPv4 identification.
    id: u16,
    pushed: bool,
}

impl<'a> Segment<'a> {
    fn read(frame: &'a [u8]) -> Option<Self> {
        let packet = frame.get(ETHERNET_LEN..)?;
        let (ip, length) = match frame.get(12..ETHERNET_LEN)? {
            [0x08, 0x00] => {
                let header = packet.first_chunk::<20>()?;
                // No options, no fragment (what follows the first two bits), TCP.
                let plain = header[0] == 0x45 && header[6] << 2 == 0 && header[7] == 0 && header[9] == 6;
                if !plain || fold(sum(header)) != 0xffff {
                    return None;
                }
                (Ip::V4, usize::from(u16_at(header, 2)))
            }
            [0x86, 0xdd] => {
                let header = packet.first_chunk::<40>()?;
                if header[0] >> 4 != 6 || header[6] != 6 {
                    return None;
                }
                (Ip::V6, 40 + usize::from(u16_at(header, 4)))
            }
            _ => return None,
        };
        // No padding behind it.
        let tcp = packet.get(ip.header_len()..).filter(|_| length == packet.len())?;
        let header = tcp.first_chunk::<20>()?;
        let headers = usize::from(header[12] >> 4) * 4;
        let ordinary = header[12] << 4 == 0 && header[13] & !PSH == ACK && u16_at(header, 18) == 0;
        if !ordinary || headers < 20 || headers >= tcp.len() {
            return None;
        }
        if fold(pseudo(ip, packet, tcp.len()) + sum(tcp)) != 0xffff {
            return None;
        }
        Some(Self {
            ip,
            frame,
            headers: ETHERNET_LEN + ip.header_len() + headers,
            sequence: u32::from_be_bytes(*header[4..].first_chunk()?),
            id: if ip == Ip::V4 { u16_at(packet, 4) } else { 0 },
            pushed: header[13] & PSH != 0,
        })
    }

    fn data(&self) -> &'a [u8] {
        &self.frame[self.headers..]
    }
}

/// Segments that are waiting to go together, perhaps none.
#[derive(Debug)]
pub struct SegmentBatch {
    /// The header, and the first frame with the others' data behind it.
    buffer: Vec<u8>,
    /// How many frames it has.
    frames: u64,
    /// How much data each but the last has, in bytes.
    size: usize,
    headers: usize,
    ip: Ip,
    /// The sequence number and identification of the next; `None`: it takes no more.
    next: Option<(u32, u16)>,
}

impl Default for SegmentBatch {
    fn default() -> Self {
        let buffer = Vec::with_capacity(VNET_LEN + ETHERNET_LEN + PACKET_MAX);
        Self { buffer, frames: 0, size: 0, headers: 0, ip: Ip::V4, next: None }
    }
}

impl SegmentBatch {
    /// Takes a frame, if it can be the first or the next one; `false`: what is there must leave before it.
    pub fn push(&mut self, frame: &[u8]) -> bool {
        let Some(segment) = Segment::read(frame) else {
            return false;
        };
        if self.frames == 0 {
            self.buffer.clear();
            self.buffer.extend([0; VNET_LEN]);
            self.buffer.extend(frame);
            (self.headers, self.ip, self.size) = (segment.headers, segment.ip, segment.data().len());
        } else {
            if !self.is_next(&segment) {
                return false;
            }
            self.buffer.extend(segment.data());
        }
        self.frames += 1;
        let data = segment.data().len();
        // A short one is the last, and one that is pushed.
        let last = segment.pushed || data < self.size;
        let step = u32::try_from(data).unwrap_or(0);
        let next = (segment.sequence.wrapping_add(step), segment.id.wrapping_add(1));
        self.next = (!last).then_some(next);
        if segment.pushed {
            let flags = VNET_LEN + self.tcp() + 13;
            self.buffer[flags] |= PSH;
        }
        true
    }

    /// Where the TCP header is in the frame.
    const fn tcp(&self) -> usize {
        ETHERNET_LEN + self.ip.header_len()
    }

    fn is_next(&self, segment: &Segment<'_>) -> bool {
        let Some((sequence, id)) = self.next else { return false };
        let fits = self.buffer.len() - VNET_LEN - ETHERNET_LEN + segment.data().len() <= PACKET_MAX;
        let in_order = segment.sequence == sequence && (segment.ip == Ip::V6 || segment.id == id);
        let like =
            segment.ip == self.ip && segment.headers == self.headers && segment.data().len() <= self.size;
        if !(fits && in_order && like) {
            return false;
        }
        let (ours, theirs) =
            (&self.buffer[VNET_LEN..VNET_LEN + self.headers], &segment.frame[..self.headers]);
        let same = |from: usize, to: usize| ours[from..to] == theirs[from..to];
        let (ip, tcp) = (ETHERNET_LEN, self.tcp());
        let addressed = match self.ip {
            // Not the length, the identification and the checksum.
            Ip::V4 => same(0, ip + 2) && same(ip + 6, ip + 10) && same(ip + 12, tcp),
            // Not the length.
            Ip::V6 => same(0, ip + 4) && same(ip + 6, tcp),
        };
        // Not the sequence number, the flags that were looked at, and the checksum.
        addressed
            && same(tcp, tcp + 4)
            && same(tcp + 8, tcp + 13)
            && same(tcp + 14, tcp + 16)
            && same(tcp + 18, self.headers)
    }

    /// What is to be written, if there is anything; how many frames it stands for, and their bytes. It is empty then.
    pub fn take(&mut self) -> Option<(&[u8], u64, u64)> {
        let frames = std::mem::take(&mut self.frames);
        if frames == 0 {
            return None;
        }
        self.next = None;
        let bytes = (self.buffer.len() - VNET_LEN) as u64 + (frames - 1) * self.headers as u64;
        if frames > 1 {
            self.finish();
        }
        Some((&self.buffer, frames, bytes))
    }

    /// Writes the headers of several segments as those of one that is yet to be segmented.
    fn finish(&mut self) {
        let (tcp, headers) = (self.tcp(), self.headers);
        let (vnet, frame) = self.buffer.split_at_mut(VNET_LEN);
        let short = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        vnet[0] = NEEDS_CSUM;
        vnet[1] = self.ip.gso_type();
        vnet[2..4].copy_from_slice(&short(headers).to_ne_bytes());
        vnet[4..6].copy_from_slice(&short(self.size).to_ne_bytes());
        vnet[6..8].copy_from_slice(&short(tcp).to_ne_bytes());
        vnet[8..10].copy_from_slice(&CSUM_OFFSET.to_ne_bytes());
        let (length, segment) = (frame.len() - ETHERNET_LEN, frame.len() - tcp);
        let ip = &mut frame[ETHERNET_LEN..];
        match self.ip {
            Ip::V4 => {
                ip[2..4].copy_from_slice(&short(length).to_be_bytes());
                ip[10..12].fill(0);
                let checksum = !fold(sum(&ip[..20]));
                ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
            Ip::V6 => ip[4..6].copy_from_slice(&short(length - 40).to_be_bytes()),
        }
        // That of the addresses; the rest is for whoever segments it.
        let checksum = fold(pseudo(self.ip, ip, segment));
        frame[tcp + 16..tcp + 18].copy_from_slice(&checksum.to_be_bytes());
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |two| u16::from_be_bytes(*two))
}

/// The sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1) of a segment of this length.
fn pseudo(ip: Ip, packet: &[u8], length: usize) -> u64 {
    let addresses = match ip {
        Ip::V4 => 12..20,
        Ip::V6 => 8..40,
    };
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    sum(&packet[addresses]) + sum(&length.to_be_bytes()) + sum(&[0, 6])
}

/// The ones' complement sum (RFC 1071) in the machine's byte order, before it is folded.
fn sum(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(4);
    let whole: u64 = words
        .by_ref()
        .map(|word| word.first_chunk().map_or(0, |four| u64::from(u32::from_ne_bytes(*four))))
        .sum();
    let mut rest = [0; 4];
    rest[..words.remainder().len()].copy_from_slice(words.remainder());
    whole + u64::from(u32::from_ne_bytes(rest))
}

/// The sum as 16 bits, in the order of the network.
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(0).to_be()
}
