//! What must hold for any input; the fuzz targets and a plain test call it.
#![allow(dead_code, reason = "each target uses one")]

use landline_vde::{Command, REPLY_LEN, Request, parse_reply, reply};

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
