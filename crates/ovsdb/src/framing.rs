//! Finding the end of a JSON object in a stream of them: RFC 7047 section 4 puts nothing between.

/// The longest message that is taken, in bytes. A switch with ten thousand ports answers with a few megabytes.
const MAX_MESSAGE: usize = 32 << 20;

/// The deepest nesting that is taken. The database's own messages stay below ten.
const MAX_DEPTH: u32 = 64;

/// The most values, keys among them, that one message may have: a parsed value takes a hundred times the space of a
/// written one. A port takes some fifty.
const MAX_VALUES: u32 = 1 << 20;

/// What cannot be the beginning, or the whole, of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Something else than an object.
    #[error("what was received is not JSON-RPC")]
    NotAnObject,
    /// An object longer than any answer could be.
    #[error("a message longer than {MAX_MESSAGE} bytes was received")]
    TooLong,
    /// An object nested deeper than any answer could be.
    #[error("a message nested deeper than {MAX_DEPTH} was received")]
    TooDeep,
    /// An object with more in it than any answer could have.
    #[error("a message of more than {MAX_VALUES} values was received")]
    TooMany,
}

/// Cuts a stream into the JSON objects it is made of. It only counts braces; what is between them is for a parser.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// How much of the buffer was looked at.
    seen: usize,
    depth: u32,
    /// How many values there were so far in this object.
    values: u32,
    in_text: bool,
    escaped: bool,
}

impl Decoder {
    /// Where received bytes go.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// The next whole object; `None`: more bytes are needed.
    ///
    /// # Errors
    /// See [`FramingError`]. Nothing that follows can be made sense of.
    pub fn next_object(&mut self) -> Result<Option<Vec<u8>>, FramingError> {
        while let Some(byte) = self.buffer.get(self.seen).copied() {
            self.seen += 1;
            if self.look(byte)? {
                let rest = self.buffer.split_off(self.seen);
                (self.seen, self.values) = (0, 0);
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            if self.seen > MAX_MESSAGE {
                return Err(FramingError::TooLong);
            }
        }
        Ok(None)
    }

    /// Whether an object ends with this byte.
    fn look(&mut self, byte: u8) -> Result<bool, FramingError> {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return Ok(false);
        }
        if matches!(byte, b'{' | b'[' | b',') {
            self.values += 1;
            if self.values > MAX_VALUES {
                return Err(FramingError::TooMany);
            }
        }
        match byte {
            b'{' | b'[' if byte == b'{' || self.depth > 0 => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(FramingError::TooDeep);
                }
            }
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                return Ok(self.depth == 0);
            }
            b'"' if self.depth > 0 => self.in_text = true,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ if self.depth > 0 => {}
            _ => return Err(FramingError::NotAnObject),
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(pieces: &[&[u8]]) -> Result<Vec<String>, FramingError> {
        let (mut decoder, mut found) = (Decoder::default(), Vec::new());
        for piece in pieces {
            decoder.buffer().extend_from_slice(piece);
            while let Some(object) = decoder.next_object()? {
                found.push(String::from_utf8_lossy(&object).trim().to_owned());
            }
        }
        Ok(found)
    }

    #[test]
    fn objects_are_found_wherever_the_stream_is_cut() {
        let stream = br#"{"a":"}\"{\\"}{} {"b":[{"c":[]}]}
            {"d":1"#;
        let whole = [r#"{"a":"}\"{\\"}"#, "{}", r#"{"b":[{"c":[]}]}"#];
        for cut in 0..stream.len() {
            let (a, b) = stream.split_at(cut);
            assert_eq!(objects(&[a, b]).unwrap(), whole, "{cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(objects(&bytes).unwrap(), whole);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [&b"HTTP/1.1 400"[..], b"[1]", b"{}]", b"\0", b"\"text\""] {
            assert_eq!(objects(&[bytes]), Err(FramingError::NotAnObject), "{bytes:?}");
        }
        let deep = [b"{\"a\":".as_slice(), &[b'['; 100]].concat();
        assert_eq!(objects(&[&deep]), Err(FramingError::TooDeep));
        let long = [b"{\"a\":\"".as_slice(), &vec![b'x'; MAX_MESSAGE]].concat();
        assert_eq!(objects(&[&long]), Err(FramingError::TooLong));
        let many = [b"{\"a\":[".as_slice(), &b"[],".repeat(600_000)].concat();
        assert_eq!(objects(&[&many]), Err(FramingError::TooMany));
        // Each message for itself.
        let few = [b"{\"a\":[0".as_slice(), &b",0".repeat(600_000), b"]}"].concat();
        assert_eq!(objects(&[&few, &few]).unwrap().len(), 2);
    }
}
