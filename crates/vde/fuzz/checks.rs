//! What must hold for any input; the fuzz targets and a plain test call it.
#![allow(dead_code, reason = "each target uses one")]

use landline_vde::{Command, REPLY_LEN, Request, SegmentBatch, parse_reply, reply};

/// The handshake, as a client or a switch may say it.
pub(crate) fn request(data: &[u8]) {
    if let Ok(request) = Request::parse(data) {
        assert!(!request.description.chars().any(char::is_control));
        assert!(request.port < 1 << 24 && !request.path.as_os_str().is_empty());
        let again = Request::parse(&request.to_bytes()).expect("what was read can be written");
        assert_eq!(again.path, request.path);
        assert_eq!(again.version, request.version);
    }
    if let Some(path) = data.first_chunk::<REPLY_LEN>().and_then(parse_reply) {
        assert_eq!(parse_reply(&reply(&path)), Some(path));
    }
}

/// A line to the management socket.
pub(crate) fn console(data: &[u8]) {
    let _ = Command::parse(&String::from_utf8_lossy(data));
}

/// See [`batches`].
pub(crate) fn segments(data: &[u8]) {
    batches(data);
}

/// What an interface is given is what came, once it is segmented: frames that are made of `data`, the first of which is
/// `data` itself. How many batches that takes.
pub(crate) fn batches(data: &[u8]) -> usize {
    let mut frames = vec![data.to_vec()];
    let mut sequence = 0u32;
    let mut id = 0u16;
    for order in data.chunks_exact(4).take(100) {
        let (v6, padded) = (order[0] & 1 != 0, order[0] & 0x40 != 0);
        let length = if order[0] & 2 != 0 { 1448 } else { usize::from(order[1]) * 6 };
        let flags = if order[0] & 4 != 0 { order[2] } else { 0x10 };
        // Now and then something is missing, or otherwise than before.
        sequence = sequence.wrapping_add(u32::from(order[0] & 0x38 == 0x38));
        let options = usize::from(order[3] & 3) * 4;
        let mut made = segment(v6, sequence, id, flags, options, length);
        if order[0] & 0x80 != 0 {
            let at = usize::from(order[1]) % made.len();
            made[at] ^= order[2];
        }
        if padded {
            made.push(0);
        }
        sequence = sequence.wrapping_add(u32::try_from(length).unwrap());
        id = id.wrapping_add(1);
        frames.push(made);
    }
    let mut batch = SegmentBatch::default();
    let (mut left, mut batches): (Vec<Vec<u8>>, usize) = (Vec::new(), 0);
    let mut leave = |batch: &mut SegmentBatch, left: &mut Vec<Vec<u8>>| {
        let Some((bytes, count, length)) = batch.take() else { return };
        batches += 1;
        let frames = segmented(bytes);
        assert_eq!(frames.len() as u64, count);
        assert_eq!(frames.iter().map(Vec::len).sum::<usize>() as u64, length);
        left.extend(frames);
    };
    for frame in &frames {
        if !batch.push(frame) {
            leave(&mut batch, &mut left);
            if !batch.push(frame) {
                left.push(frame.clone());
            }
        }
    }
    leave(&mut batch, &mut left);
    assert!(left == frames, "what left is not what came");
    batches
}

/// What segments carry; no two places in it look alike.
#[allow(clippy::cast_possible_truncation, reason = "less than 251")]
static DATA: [u8; 1530] = {
    let mut data = [0; 1530];
    let mut at = 0;
    while at < data.len() {
        data[at] = (at % 251) as u8;
        at += 1;
    }
    data
};

/// A segment of TCP with `length` bytes of data, in its frame.
fn segment(v6: bool, sequence: u32, id: u16, flags: u8, options: usize, length: usize) -> Vec<u8> {
    let mut tcp = [&[0, 80, 0, 81][..], &sequence.to_be_bytes(), &[0, 0, 0, 9]].concat();
    tcp.extend([u8::try_from(((20 + options) / 4) << 4).unwrap(), flags, 1, 0, 0, 0, 0, 0]);
    tcp.extend(std::iter::repeat_n(1, options));
    tcp.extend(&DATA[..length]);
    let size = u16::try_from(tcp.len()).unwrap();
    let ip = if v6 {
        [&[0x60, 0, 0, 0][..], &size.to_be_bytes(), &[6, 64], &[0x20; 32]].concat()
    } else {
        let mut ip =
            [&[0x45, 0][..], &(size + 20).to_be_bytes(), &id.to_be_bytes(), &[0x40, 0, 64, 6, 0, 0]].concat();
        ip.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        let checksum = !added(&ip);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        ip
    };
    let mut frame = [&[2; 12][..], if v6 { &[0x86, 0xdd] } else { &[8, 0] }, &ip, &tcp].concat();
    checksum(&mut frame);
    frame
}

/// The ones' complement sum (RFC 1071).
fn added(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|two| (u32::from(two[0]) << 8) | two.get(1).copied().map_or(0, u32::from));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// Writes the checksum of the segment in a frame, whose own says nothing.
fn checksum(frame: &mut [u8]) {
    let (tcp, addresses) = if frame[12] == 8 { (34, 26..34) } else { (54, 22..54) };
    frame[tcp + 16..tcp + 18].fill(0);
    let length = u32::try_from(frame.len() - tcp).unwrap();
    let all = [&frame[addresses], &length.to_be_bytes(), &[0, 6], &frame[tcp..]].concat();
    let sum = !added(&all);
    frame[tcp + 16..tcp + 18].copy_from_slice(&sum.to_be_bytes());
}

/// What a kernel makes of what is written to a tap.
fn segmented(written: &[u8]) -> Vec<Vec<u8>> {
    let (vnet, frame) = written.split_at(10);
    let number = |at: usize| usize::from(u16::from_ne_bytes([vnet[at], vnet[at + 1]]));
    if vnet[0] == 0 {
        assert_eq!(vnet, [0; 10]);
        return vec![frame.to_vec()];
    }
    let (headers, size, tcp) = (number(2), number(4), number(6));
    assert!(vnet[0] == 1 && number(8) == 16 && headers > tcp && size > 0);
    let v6 = vnet[1] == 4;
    assert!(v6 || (vnet[1] == 1 && added(&frame[14..34]) == 0xffff));
    // The checksum field has the sum of what is not in the segment.
    let addresses = if v6 { 22..54 } else { 26..34 };
    let length = u32::try_from(frame.len() - tcp).unwrap();
    let pseudo = added(&[&frame[addresses], &length.to_be_bytes(), &[0, 6]].concat());
    assert_eq!(frame[tcp + 16..tcp + 18], pseudo.to_be_bytes());
    let sequence = u32::from_be_bytes(*frame[tcp + 4..].first_chunk().unwrap());
    let id = u16::from_be_bytes([frame[18], frame[19]]);
    let count = frame[headers..].len().div_ceil(size);
    let segment = |(at, data): (usize, &[u8])| {
        let mut made = [&frame[..headers], data].concat();
        let offset = u32::try_from(at * size).unwrap();
        made[tcp + 4..tcp + 8].copy_from_slice(&sequence.wrapping_add(offset).to_be_bytes());
        if at + 1 < count {
            made[tcp + 13] &= !8;
        }
        let length = u16::try_from(made.len() - 14).unwrap();
        if v6 {
            made[18..20].copy_from_slice(&(length - 40).to_be_bytes());
        } else {
            made[16..18].copy_from_slice(&length.to_be_bytes());
            made[18..20].copy_from_slice(&id.wrapping_add(u16::try_from(at).unwrap()).to_be_bytes());
            made[24..26].fill(0);
            let sum = !added(&made[14..34]);
            made[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        checksum(&mut made);
        made
    };
    frame[headers..].chunks(size).enumerate().map(segment).collect()
}
