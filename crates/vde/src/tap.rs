//! A network interface as this crate uses it: a tap with `IFF_VNET_HDR`.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::frame::{FRAME_MAX, FRAME_MIN};
use crate::segments::{SegmentBatch, VNET_LEN};

/// What a read gave.
pub(crate) enum Taken<'a> {
    Frame(&'a [u8]),
    /// Too short or too long for a frame; an empty one is a client's goodbye.
    Odd,
    Nothing,
    Failed,
}

impl<'a> Taken<'a> {
    fn new(read: rustix::io::Result<usize>, before: usize, buffer: &'a [u8]) -> Self {
        match read {
            Ok(length) => match length.checked_sub(before) {
                Some(length @ FRAME_MIN..=FRAME_MAX) => Self::Frame(&buffer[..length]),
                _ => Self::Odd,
            },
            Err(Errno::INTR) => Self::Odd,
            Err(Errno::AGAIN) => Self::Nothing,
            Err(_) => Self::Failed,
        }
    }
}

/// The next frame of a socket.
pub(crate) fn read<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> Taken<'a> {
    Taken::new(rustix::io::read(socket, &mut *buffer), 0, buffer)
}

/// Frames that have left, or should have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    /// EIO: the interface is down, and does not hear.
    pub(crate) lost: bool,
}

/// An interface. Each read and each write is a frame behind a `virtio_net_hdr`.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) fd: OwnedFd,
    batch: SegmentBatch,
}

impl Tap {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self { fd, batch: SegmentBatch::default() }
    }

    /// The next frame. It is whole: the kernel was offered no offloads.
    pub(crate) fn read<'a>(&self, buffer: &'a mut [u8]) -> Taken<'a> {
        let mut header = [0; VNET_LEN];
        let read = rustix::io::readv(&self.fd, &mut [IoSliceMut::new(&mut header), IoSliceMut::new(buffer)]);
        Taken::new(read, VNET_LEN, buffer)
    }

    /// Sends a frame, at once or with those that follow it: [`Tap::flush`] must come. `left` is told what has left.
    pub(crate) fn send(&mut self, frame: &[u8], mut left: impl FnMut(Sent)) {
        if self.batch.push(frame) {
            return;
        }
        self.flush(&mut left);
        if self.batch.push(frame) {
            return;
        }
        let written = rustix::io::writev(&self.fd, &[IoSlice::new(&[0; VNET_LEN]), IoSlice::new(frame)]);
        left(Sent { frames: 1, bytes: frame.len() as u64, lost: written.is_err() });
    }

    /// Sends what is held back.
    pub(crate) fn flush(&mut self, mut left: impl FnMut(Sent)) {
        let Some((bytes, frames, original)) = self.batch.take() else { return };
        let lost = rustix::io::write(&self.fd, bytes).is_err();
        left(Sent { frames, bytes: original, lost });
    }
}
