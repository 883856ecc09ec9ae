//! Taps, and bridges that forward everything.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use landline_kernel::{Link, LinkChange, LinkKind, Netlink, Netns, NewLink, NewLinkKind, open_tap};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::lab::{DEADLINE, lab, link, name};

/// A tap that is up, and its index.
fn tap(ns: &Netns, netlink: &mut Netlink, text: &str) -> (OwnedFd, Link) {
    let fd = ns.run(|| open_tap(&name(text))).unwrap().unwrap();
    let made = link(netlink, text);
    netlink.set_link(made.index, &LinkChange::new().addr_gen_none()).unwrap();
    netlink.set_link(made.index, &LinkChange::new().up()).unwrap();
    (fd, made)
}

/// Sends a frame, behind a header that says nothing.
fn put(tap: &OwnedFd, frame: &[u8]) {
    rustix::io::write(tap, &[&[0; 10], frame].concat()).unwrap();
}

/// Returns when there is something to read, or a moment has passed without.
fn readable(tap: &OwnedFd) {
    let moment = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    poll(&mut [PollFd::new(tap, PollFlags::IN)], Some(&moment)).unwrap();
}

/// The next frame to this destination; nothing else of interest is on these wires.
fn heard(tap: &OwnedFd, destination: [u8; 6], tries: u32) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 10_000];
    for _ in 0..tries {
        match rustix::io::read(tap, &mut buffer) {
            Ok(length) if buffer[10..].starts_with(&destination) => return Some(buffer[10..length].to_vec()),
            Ok(_) => {}
            Err(rustix::io::Errno::AGAIN) => readable(tap),
            Err(error) => panic!("{error}"),
        }
    }
    None
}

fn frame(destination: [u8; 6], length: usize) -> Vec<u8> {
    let mut frame = destination.to_vec();
    frame.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    frame.resize(length, 7);
    frame
}

#[test]
fn a_tap_moves_with_its_descriptor_and_outlives_it() {
    let (ns, mut netlink) = lab();
    let (there, mut inside) = lab();
    let (fd, made) = tap(&ns, &mut netlink, "tap0");
    assert_eq!(made.kind, LinkKind::Tun);
    let busy = ns.run(|| open_tap(&name("tap0"))).unwrap().unwrap_err();
    assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);
    netlink.set_link(made.index, &LinkChange::new().name(name("eth0")).netns(&there)).unwrap();
    let moved = link(&mut inside, "eth0");
    inside.set_link(moved.index, &LinkChange::new().up()).unwrap();
    assert!(link(&mut inside, "eth0").running);
    put(&fd, &frame([0xff; 6], 60));
    drop(fd);
    assert!(!link(&mut inside, "eth0").running, "nobody holds it");

    let again = there.run(|| open_tap(&name("eth0"))).unwrap().unwrap();
    let now = link(&mut inside, "eth0");
    assert!(now.running && now.index == moved.index);
    inside.delete_link(now.index).unwrap();
    assert_eq!(rustix::io::read(&again, &mut [0; 100]), Err(rustix::io::Errno::BADFD));
    let taken = ns.run(|| open_tap(&name("lo"))).unwrap().unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn reserved_groups_pass_a_bridge_that_is_told_so() {
    let (ns, mut netlink) = lab();
    let mut new = NewLink::new(name("br0"), NewLinkKind::Bridge);
    new.addr_gen_none = true;
    new.up = true;
    netlink.add_link(&new).unwrap();
    let bridge = link(&mut netlink, "br0").index;
    netlink.flood_multicast(bridge).unwrap();
    let (a, a_link) = tap(&ns, &mut netlink, "a");
    let (b, b_link) = tap(&ns, &mut netlink, "b");
    for port in [&a_link, &b_link] {
        netlink.set_link(port.index, &LinkChange::new().mtu(9216).controller(Some(bridge))).unwrap();
    }
    let started = Instant::now();
    let passes = |destination: [u8; 6], tries| {
        put(&a, &frame(destination, 60));
        heard(&b, destination, tries).is_some()
    };
    while !passes([0xff; 6], 50) {
        assert!(started.elapsed() < DEADLINE, "the bridge forwards nothing");
    }
    let group = |last| [0x01, 0x80, 0xc2, 0, 0, last];
    assert!(!passes(group(0x0e), 50), "LLDP stays on its link unless it is told otherwise");
    netlink.forward_reserved_groups(a_link.index).unwrap();
    for last in (0..=0x0f).filter(|last| *last != 1) {
        assert!(passes(group(last), 5000), "01:80:c2:00:00:{last:02x}");
    }
    assert!(!passes(group(1), 50), "PAUSE is for the link itself");
    // A tag, and a large frame.
    let tagged = [&frame([0xff; 6], 60)[..12], &[0x81, 0, 0, 5], &frame([0xff; 6], 9000)[12..]].concat();
    put(&a, &tagged);
    assert_eq!(heard(&b, [0xff; 6], 5000), Some(tagged));
}
