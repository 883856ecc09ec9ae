//! Tap interfaces: Ethernet devices whose other end is a descriptor (kernel documentation, `networking/tuntap`).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use landline_types::IfName;

use crate::sys;

/// Takes hold of the tap interface of this name in the calling thread's namespace, which is made if it is not there.
///
/// Each read gives a frame and each write is one, without its check sequence, behind a `virtio_net_hdr` of 10 bytes (VIRTIO
/// 1.2, 5.1.6), in which segments of TCP may be written as one; neither blocks. The interface
/// stays when the descriptor is closed, and has no carrier until somebody takes hold of it again. The descriptor stays
/// with the interface when that moves to another namespace or is renamed. Once the interface is gone reading fails
/// with `EBADFD`.
///
/// Frames leave the kernel whole, their header is zero: it segments and writes checksums before they get here.
///
/// # Errors
/// `ResourceBusy` when another descriptor holds it, `InvalidInput` when a link of another kind has this name,
/// `NotFound` when the kernel has no taps (`modprobe tun`).
pub fn open_tap(name: &IfName) -> io::Result<OwnedFd> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let tap: OwnedFd =
        File::options().read(true).write(true).custom_flags(flags).open("/dev/net/tun")?.into();
    sys::tun_set_iff(
        tap.as_fd(),
        name.as_str().as_bytes(),
        libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR,
    )?;
    sys::tun_set_persist(tap.as_fd())?;
    Ok(tap)
}
