//! The one request of a client and the one answer of the switch.
//!
//! Both are C structures as they lie in memory: native byte order, no padding. A request is 122 bytes (version 3) or
//! 124 (version 1) and a description of up to 128 more; the answer is a socket address. There are no error codes: a
//! switch that refuses closes the connection.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use landline_types::{Mac, Shown};

/// The longest request, in bytes; `vde_switch` reads no more.
pub const REQUEST_MAX: usize = 256;

/// The length of an answer: `struct sockaddr_un`, in bytes.
pub const REPLY_LEN: usize = 2 + SUN_PATH;

const MAGIC: u32 = 0xfeed_face;
const SUN_PATH: usize = 108;
const AF_UNIX: u16 = 1;
/// The longest description, in bytes.
const DESCRIPTION_MAX: usize = 128;

/// Which of the two layouts a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Of old clients. Has a hardware address that nobody reads, and cannot name a port.
    One {
        /// That address.
        mac: Mac,
    },
    /// Of every client today (libvdeplug 2 and 4).
    Three,
}

/// A client's request for a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its layout.
    pub version: Version,
    /// The port it wants, 1 to 2^24-1; 0: any.
    pub port: u32,
    /// The path of the client's datagram socket.
    pub path: PathBuf,
    /// Who asks, for people to read: `QEMU user=root pid=17`. Control characters are escaped when it is parsed.
    pub description: String,
}

/// Why bytes are no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// More bytes must come before it can be told what this is.
    #[error("the request is cut short")]
    Short,
    /// Something else talks to this socket.
    #[error("this is not the VDE protocol")]
    Magic,
    /// A version there is no layout for.
    #[error("there is no version {0} of the VDE protocol")]
    Version(u32),
    /// A request for something else than a port.
    #[error("request {0} is not for a port")]
    Kind(u8),
    /// The client's socket has no name in the file system.
    #[error("the client's socket has no path")]
    Path,
    /// More than a request may have.
    #[error("the request is too long")]
    Long,
}

impl Request {
    /// A request in the newer layout, for any port.
    pub fn new(path: PathBuf, description: &str) -> Self {
        Self { version: Version::Three, port: 0, path, description: description.to_owned() }
    }

    /// The bytes; a path of more than 107 bytes and a description of more than 128 are cut.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        let kind = (self.port << 8).to_ne_bytes();
        match self.version {
            Version::One { mac } => {
                bytes.extend(kind);
                bytes.extend(mac.octets());
            }
            Version::Three => {
                bytes.extend(3u32.to_ne_bytes());
                bytes.extend(kind);
            }
        }
        bytes.extend(reply(&self.path));
        bytes.extend(self.description.bytes().take(DESCRIPTION_MAX));
        bytes
    }

    /// Reads a request. [`RequestError::Short`] says that it may still become one.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.len() > REQUEST_MAX {
            return Err(RequestError::Long);
        }
        let word = |at: usize| {
            let four = bytes.get(at..).and_then(<[u8]>::first_chunk);
            four.map(|four| u32::from_ne_bytes(*four)).ok_or(RequestError::Short)
        };
        if word(0)? != MAGIC {
            return Err(RequestError::Magic);
        }
        // The second word is the version, or in the old layout the kind, which is 0 or 1.
        let (version, kind, rest) = match word(4)? {
            3 => (Version::Three, word(8)?, bytes.get(12..)),
            kind @ (0 | 1) => {
                let mac = bytes.get(8..).and_then(<[u8]>::first_chunk).ok_or(RequestError::Short)?;
                (Version::One { mac: Mac::new(*mac) }, kind, bytes.get(14..))
            }
            other => return Err(RequestError::Version(other)),
        };
        let address = rest.and_then(<[u8]>::first_chunk::<REPLY_LEN>).ok_or(RequestError::Short)?;
        // The low byte says what is wanted (1: the port called 0, which is no port to switch), the others which port.
        let [what, port @ ..] = kind.to_le_bytes();
        if what > 1 {
            return Err(RequestError::Kind(what));
        }
        let [low, middle, high] = port;
        let port = u32::from_le_bytes([low, middle, high, 0]);
        let path = parse_reply(address).ok_or(RequestError::Path)?;
        let description = rest.and_then(|rest| rest.get(REPLY_LEN..)).unwrap_or_default();
        Ok(Self { version, port, path, description: clean(description) })
    }
}

/// The switch's answer: the address of the socket that is the port.
pub fn reply(path: &Path) -> [u8; REPLY_LEN] {
    let mut bytes = [0; REPLY_LEN];
    bytes[..2].copy_from_slice(&AF_UNIX.to_ne_bytes());
    // The last byte stays zero.
    let room = &mut bytes[2..REPLY_LEN - 1];
    let path = path.as_os_str().as_bytes();
    let length = path.len().min(room.len());
    room[..length].copy_from_slice(&path[..length]);
    bytes
}

/// The path in an answer; `None` if it is not the address of a socket with a path that ends in a zero byte.
pub fn parse_reply(bytes: &[u8; REPLY_LEN]) -> Option<PathBuf> {
    let (family, path) = bytes.split_first_chunk()?;
    let end = path.iter().position(|b| *b == 0)?;
    let path = path.get(..end)?;
    let named = u16::from_ne_bytes(*family) == AF_UNIX && !path.is_empty();
    named.then(|| PathBuf::from(std::ffi::OsStr::from_bytes(path)))
}

/// What a client says of itself, fit for a terminal.
fn clean(description: &[u8]) -> String {
    let text = description.split(|b| *b == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(&text[..text.len().min(DESCRIPTION_MAX)]);
    Shown(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_layouts_are_those_of_libvdeplug() {
        let mut request = Request::new("/run/sw/.00017-00001".into(), "QEMU user=root pid=17");
        request.port = 5;
        let bytes = request.to_bytes();
        assert_eq!(bytes.len(), 122 + 21);
        assert_eq!(&bytes[..4], &0xfeed_face_u32.to_ne_bytes());
        assert_eq!(&bytes[4..8], &3u32.to_ne_bytes());
        assert_eq!(&bytes[8..12], &0x500u32.to_ne_bytes());
        assert_eq!(&bytes[12..14], &1u16.to_ne_bytes());
        assert_eq!(&bytes[14..34], b"/run/sw/.00017-00001");
        assert_eq!(&bytes[122..], b"QEMU user=root pid=17");
        assert_eq!(Request::parse(&bytes), Ok(request));

        let old =
            Request { version: Version::One { mac: Mac::new([2; 6]) }, ..Request::new("/a".into(), "old") };
        assert_eq!(old.to_bytes().len(), 124 + 3);
        assert_eq!(Request::parse(&old.to_bytes()), Ok(old));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let good = Request::new("/a".into(), "").to_bytes();
        for cut in 0..good.len() {
            assert_eq!(Request::parse(&good[..cut]), Err(RequestError::Short), "{cut}");
        }
        let with = |at: usize, bytes: &[u8]| {
            let mut changed = good.clone();
            changed[at..at + bytes.len()].copy_from_slice(bytes);
            Request::parse(&changed)
        };
        assert_eq!(with(0, b"GET "), Err(RequestError::Magic));
        assert_eq!(with(4, &2u32.to_ne_bytes()), Err(RequestError::Version(2)));
        assert_eq!(with(4, &4u32.to_ne_bytes()), Err(RequestError::Version(4)));
        assert_eq!(with(8, &7u32.to_ne_bytes()), Err(RequestError::Kind(7)));
        assert_eq!(with(12, &2u16.to_ne_bytes()), Err(RequestError::Path), "not a unix address");
        assert_eq!(with(14, &[0, b'a']), Err(RequestError::Path), "abstract");
        assert_eq!(with(14, &[b'/'; 108]), Err(RequestError::Path), "without an end");
        assert_eq!(Request::parse(&[0; REQUEST_MAX + 1]), Err(RequestError::Long));
    }

    #[test]
    fn descriptions_cannot_play_with_a_terminal() {
        let mut request = Request::new("/a".into(), "\x1b[2J\u{85}caf\u{e9}\n");
        request.description.push_str(&"x".repeat(200));
        let read = Request::parse(&request.to_bytes()).unwrap();
        assert!(read.description.starts_with("\\u001b[2J\\u0085caf\u{e9}\\nxxx"), "{:?}", read.description);
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Request::parse(&bytes);
        }

        #[test]
        fn requests_round_trip(port in 0u32..1 << 24, path in "/[a-z0-9./]{0,100}", description in "[ -~]{0,128}") {
            let request = Request { port, ..Request::new(path.into(), &description) };
            prop_assert_eq!(Request::parse(&request.to_bytes()), Ok(request));
        }
    }
}
