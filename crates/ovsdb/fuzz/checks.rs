//! What the fuzz targets run, and what `tests/corpus.rs` runs on every file of the corpus.

#![allow(dead_code, reason = "each target uses one")]

use landline_ovsdb::{Decoder, Message, Switch};

/// Bytes from the socket: however they arrive, the same messages come out of them.
pub(crate) fn stream(data: &[u8]) {
    let whole = messages(data, data.len().max(1));
    for size in [1, 7] {
        assert_eq!(messages(data, size), whole, "in pieces of {size}");
    }
}

fn messages(data: &[u8], size: usize) -> (Vec<Option<Message>>, bool) {
    let (mut decoder, mut found) = (Decoder::default(), Vec::new());
    for piece in data.chunks(size) {
        decoder.buffer().extend_from_slice(piece);
        loop {
            match decoder.next_object() {
                Ok(Some(object)) => found.push(Message::read(&object)),
                Ok(None) => break,
                Err(_) => return (found, false),
            }
        }
    }
    (found, true)
}

/// The results of three selects: what comes of them hangs together.
pub(crate) fn rows(data: &[u8]) {
    let Ok(results) = serde_json::from_slice::<Vec<serde_json::Value>>(data) else { return };
    let [bridges, ports, interfaces] = results.as_slice() else { return };
    let switch = Switch::read(bridges, ports, interfaces);
    for port in &switch.ports {
        assert!(switch.bridge(&port.bridge).is_some(), "{port:?}");
        let said = port.interfaces.iter().filter_map(|interface| interface.error.as_ref());
        assert!(said.into_iter().all(|text| text.len() < 2000 && !text.contains('\n')), "{port:?}");
        let _ = port.trouble();
    }
}
