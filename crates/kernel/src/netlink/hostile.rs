//! Whatever a message holds, reading it ends and does not panic.

use proptest::collection::vec;
use proptest::prelude::*;

use super::attr::{Message, Messages};
use super::conntrack::Connection;
use super::monitor::Event;
use super::rule::Rule;
use super::socket::verdict;

/// Attributes of every number anybody reads, with contents of every length, some of them attributes again.
fn attributes() -> impl Strategy<Value = Vec<u8>> {
    let leaf = vec(any::<u8>(), 0..24);
    leaf.prop_recursive(4, 32, 6, |inner| {
        vec((0u16..64, inner), 0..6).prop_map(|attrs| {
            let mut message = Message::new(0, 0, &[]);
            for (kind, value) in attrs {
                message.bytes(kind, &value);
            }
            message.finish(0)[super::attr::HEADER..].to_vec()
        })
    })
}

proptest! {
    #[test]
    fn reading_never_panics(
        kind in prop_oneof![0u16..40, Just(256)],
        flags: u16,
        mut body in vec(any::<u8>(), 0..20),
        family in prop_oneof![Just(0u8), Just(2), Just(10), any::<u8>()],
        attrs in attributes(),
        cut: prop::sample::Index,
    ) {
        if let Some(first) = body.first_mut() {
            *first = family;
        }
        let mut message = Message::new(kind, flags.into(), &body);
        message.raw(&attrs);
        let bytes = message.finish(1).to_vec();
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len() + 1)]] {
            for got in Messages(bytes) {
                let _ = (Event::read(&got), Rule::read(&got), Connection::read(&got), verdict(got, &String::new));
            }
        }
    }

    #[test]
    fn any_bytes_are_some_messages(bytes in vec(any::<u8>(), 0..200)) {
        for got in Messages(&bytes) {
            let _ = Event::read(&got);
        }
    }
}
