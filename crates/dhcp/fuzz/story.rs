//! What the checks of both clients are made of.

use landline_dhcp::Random;

/// Numbers that are the same every time.
pub(crate) struct Counter(pub(crate) u32);

impl Random for Counter {
    fn next_u32(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(0x9e37_79b1).wrapping_add(1);
        self.0
    }
}

/// Input as a story: what comes to a client, step by step.
pub(crate) struct Story<'a>(pub(crate) &'a [u8]);

impl<'a> Story<'a> {
    pub(crate) fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn number(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*first))
    }

    pub(crate) fn some(&mut self, len: usize) -> &'a [u8] {
        let (some, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        some
    }
}
