//! A running capture: `tcpdump(8)` writes a pcap file on a node, and this reads it as it grows.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::dhcp::DhcpMessage;
use super::frame::Frame;
use crate::error::{Error, Result};
use crate::lan::Lan;
use crate::node::Node;
use crate::process::{Process, Signal};
use crate::wait::wait_for;

/// Frames that pass an interface from the moment this was made. Ends when it is dropped.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Process,
    file: PathBuf,
}

impl Lan {
    /// Captures what passes `interface` of a node or Docker host and matches `filter` (`pcap-filter(7)`; empty for
    /// everything). On the switch, interface `sw` sees all frames of the LAN. Returns when it captures.
    ///
    /// # Errors
    /// If tcpdump does not start: no such interface, or a mistake in the filter.
    pub fn capture(
        &self,
        node: &(impl AsRef<Node> + ?Sized),
        interface: &str,
        filter: &str,
    ) -> Result<Capture> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let node = node.as_ref();
        let file = node.dir().join(format!("capture-{}.pcap", COUNTER.fetch_add(1, Ordering::Relaxed)));
        let name = file.to_string_lossy();
        let mut argv =
            vec!["tcpdump", "-n", "-U", "--immediate-mode", "-Z", "root", "-i", interface, "-w", &name];
        if !filter.is_empty() {
            argv.push(filter);
        }
        let mut tcpdump = node.spawn(&argv)?;
        tcpdump.wait_for_text("listening on", Duration::from_secs(10))?;
        Ok(Capture { tcpdump, file })
    }
}

impl Capture {
    /// The frames so far.
    pub fn frames(&self) -> Vec<Frame> {
        fs::read(&self.file).map(|bytes| parse(&bytes)).unwrap_or_default()
    }

    /// The frames so far as one line each, for the message of a failed assertion.
    pub fn lines(&self) -> Vec<String> {
        self.frames().iter().map(Frame::to_string).collect()
    }

    /// The DHCP messages so far, with their frames.
    pub fn dhcp(&self) -> Vec<(Frame, DhcpMessage)> {
        let frames = self.frames().into_iter();
        frames.filter_map(|frame| frame.dhcp().map(|message| (frame, message))).collect()
    }

    /// Waits until a frame is seen (or was seen already) for which `wanted` says something; that is returned.
    ///
    /// # Errors
    /// [`Error::Timeout`] with all frames that were seen.
    pub fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut wanted: impl FnMut(&Frame) -> Option<T>,
    ) -> Result<T> {
        wait_for(what, limit, || self.frames().iter().find_map(&mut wanted)).map_err(|error| match error {
            Error::Timeout { what, after, .. } => {
                let detail = format!("; seen were:\n{}", self.lines().join("\n"));
                Error::Timeout { what, after, detail }
            }
            other => other,
        })
    }

    /// Ends the capture and returns everything that passed before.
    ///
    /// # Errors
    /// If tcpdump does not end.
    pub fn stop(mut self) -> Result<Vec<Frame>> {
        self.tcpdump.signal(Signal::TERM)?;
        self.tcpdump.wait_within(Duration::from_secs(10))?;
        Ok(self.frames())
    }
}

/// The complete records of a pcap file in this machine's byte order with microseconds (`pcap-savefile(5)`).
fn parse(bytes: &[u8]) -> Vec<Frame> {
    let word =
        |at: usize| bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_ne_bytes);
    if word(0) != Some(0xa1b2_c3d4) {
        return Vec::new();
    }
    let mut frames = Vec::new();
    let mut at = 24;
    while let (Some(seconds), Some(micros), Some(length)) = (word(at), word(at + 4), word(at + 8)) {
        let start = at + 16;
        let Some(data) = bytes.get(start..start + length as usize) else { break };
        let since_1970 = Duration::from_secs(seconds.into()) + Duration::from_micros(micros.into());
        frames.push(Frame { time: SystemTime::UNIX_EPOCH + since_1970, bytes: data.to_vec() });
        at = start + length as usize;
    }
    frames
}
