//! Names as labels (RFC 1035 section 3.1), uncompressed, which is how IPv6's options want them (RFC 8106, RFC 9915).

/// The labels of a name and the root's empty one.
pub(crate) fn encode(name: &str) -> Vec<u8> {
    let mut out = encode_partial(name);
    out.push(0);
    out
}

/// The labels of a name without the root's, which says that the rest of the name is not known (RFC 4704 section 4.2).
pub(crate) fn encode_partial(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        // Names come checked; of a label that is too long for one the beginning is taken rather than its length
        // being wrong.
        let label = &label.as_bytes()[..label.len().min(63)];
        out.push(u8::try_from(label.len()).unwrap_or(63));
        out.extend_from_slice(label);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::names;

    #[test]
    fn labels_on_the_wire() {
        assert_eq!(encode("web.lan"), b"\x03web\x03lan\0");
        assert_eq!(encode_partial("web"), b"\x03web");
        assert_eq!(names::from_search_list(&encode("web.example.org")), ["web.example.org"]);
        assert_eq!(encode_partial(&"x".repeat(70)).len(), 64);
    }
}
