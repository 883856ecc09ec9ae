//! Hardware addresses made of a text, as pipework makes them.

use landline_types::Mac;

/// `U:TEXT`: 02 and the first five octets of the MD5 digest (RFC 1321) of the text and a line feed, which pipework's
/// `echo` appends.
pub(crate) fn made_of_text(text: &str) -> Mac {
    let [a, b, c, d, e, ..] = md5(format!("{text}\n").as_bytes());
    Mac::new([0x02, a, b, c, d, e])
}

/// The MD5 digest (RFC 1321). It tells texts apart here and keeps no secret.
fn md5(data: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut padded = data.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((data.len() as u64).wrapping_mul(8).to_le_bytes());

    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        let word = |i: usize| block[4 * i..4 * i + 4].iter().rev().fold(0, |n, b| n << 8 | u32::from(*b));
        let [mut a, mut b, mut c, mut d] = state;
        for (step, constant) in (0..64).map(|i| (i, sine(i))) {
            let (mixed, index) = match step / 16 {
                0 => (b & c | !b & d, step),
                1 => (d & b | !d & c, 5 * step + 1),
                2 => (b ^ c ^ d, 3 * step + 5),
                _ => (c ^ (b | !d), 7 * step),
            };
            let sum = a.wrapping_add(mixed).wrapping_add(constant).wrapping_add(word(index % 16));
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(SHIFTS[step / 16][step % 4])));
        }
        for (total, part) in state.iter_mut().zip([a, b, c, d]) {
            *total = total.wrapping_add(part);
        }
    }
    let mut digest = [0; 16];
    for (out, value) in digest.chunks_exact_mut(4).zip(state) {
        out.copy_from_slice(&value.to_le_bytes());
    }
    digest
}

/// The whole part of 2^32 times |sin(i + 1)| (RFC 1321 section 3.4).
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn sine(i: usize) -> u32 {
    (((i + 1) as f64).sin().abs() * 4_294_967_296.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digest: [u8; 16]) -> String {
        format!("{:032x}", u128::from_be_bytes(digest))
    }

    #[test]
    fn the_digests_of_rfc_1321() {
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            assert_eq!(hex(md5(text.as_bytes())), digest, "{text}");
        }
    }

    #[test]
    fn the_address_of_pipeworks_manual() {
        assert_eq!(made_of_text("myhost.foo.com").to_string(), "02:72:6c:cd:9b:8d");
    }
}
