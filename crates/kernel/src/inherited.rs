//! Sockets that were there before the program: socket activation (`sd_listen_fds(3)`).

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, sockopt};

use crate::sys;

/// The first descriptor that is handed over (`SD_LISTEN_FDS_START`).
const FIRST: i32 = 3;
/// More than anybody hands over.
const MOST: i32 = 16;

/// The listening unix sockets that the service manager handed to this process, by `LISTEN_PID` and
/// `LISTEN_FDS`. They are given once: another call finds none.
///
/// # Errors
/// When a descriptor that was announced is not a listening unix socket.
pub fn inherited_listeners() -> io::Result<Vec<UnixListener>> {
    static GIVEN: AtomicBool = AtomicBool::new(false);
    let number = |name: &str| std::env::var(name).ok()?.parse::<i64>().ok();
    let for_us = number("LISTEN_PID") == Some(i64::from(std::process::id()));
    let count = number("LISTEN_FDS").and_then(|n| i32::try_from(n).ok()).unwrap_or(0);
    if !for_us || GIVEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    (FIRST..FIRST + count.clamp(0, MOST)).map(adopt).collect()
}

fn adopt(number: i32) -> io::Result<UnixListener> {
    let fd = sys::adopt(number)?;
    fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
    if sockopt::socket_domain(&fd)? == AddressFamily::UNIX && sockopt::socket_acceptconn(&fd)? {
        Ok(fd.into())
    } else {
        Err(io::Error::other(format!("descriptor {number} is not a listening unix socket")))
    }
}
