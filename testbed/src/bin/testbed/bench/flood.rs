//! As many frames as go: what sends them, and how many of them arrive.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use clap::Args;
use landline_testbed::{DockerHost, Error, Result};
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use super::iperf::Path;

/// Frames in one system call.
const BATCH: usize = 64;
/// 18 bytes in UDP, IPv4 and Ethernet are a frame of 60, and 64 with the check sequence that a veth does not have.
const PAYLOAD: [u8; 18] = [0; 18];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where to.
    to: IpAddr,
    /// For how many seconds.
    seconds: u64,
}

/// Sends UDP datagrams of 18 bytes to the discard port (RFC 863) as fast as it can, 64 in a system call.
pub(crate) fn flood(options: &Options) -> Result<u8> {
    let failed = |error: std::io::Error| Error::Unexpected(format!("cannot send to {}: {error}", options.to));
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(failed)?;
    socket.connect(SocketAddr::new(options.to, 9)).map_err(failed)?;
    let slice = [IoSlice::new(&PAYLOAD)];
    let mut controls: Vec<_> = std::iter::repeat_with(SendAncillaryBuffer::default).take(BATCH).collect();
    let mut messages: Vec<_> = controls.iter_mut().map(|control| MMsgHdr::new(&slice, control)).collect();
    let end = Instant::now() + Duration::from_secs(options.seconds);
    while Instant::now() < end {
        match sendmmsg(&socket, &mut messages, SendFlags::empty()) {
            // Nobody listens there, which the other side says now and then.
            Ok(_) | Err(Errno::CONNREFUSED | Errno::NOBUFS | Errno::INTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    Ok(0)
}

impl Path {
    /// How many frames of 64 bytes the receiver's interfaces get in a second, of as many as the sender can send.
    pub(super) fn packets(&self, host: &DockerHost) -> Result<f64> {
        const SECONDS: u32 = 2;
        let itself = std::env::current_exe().map_err(|error| Error::Unexpected(error.to_string()))?;
        let (sender, target) = (self.sender.join(" "), self.target);
        let before = self.received(host)?;
        host.node().sh(&format!("{sender} {} flood {target} {SECONDS}", itself.display()))?;
        Ok((self.received(host)? - before) / f64::from(SECONDS))
    }

    /// Packets that the receiver's interfaces have counted, those of the loopback apart (`proc_pid_net(5)`, `dev`).
    fn received(&self, host: &DockerHost) -> Result<f64> {
        let text = host.node().sh(&format!("{} cat /proc/net/dev", self.receiver.join(" ")))?;
        let interfaces = text.lines().filter_map(|line| line.split_once(':'));
        let counts = interfaces.filter(|(name, _)| name.trim() != "lo");
        Ok(counts.filter_map(|(_, counts)| counts.split_whitespace().nth(1)?.parse::<f64>().ok()).sum())
    }
}
