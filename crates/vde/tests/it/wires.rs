//! Interfaces joined to ports. A pair of datagram sockets stands for the interface: one read is one frame there too,
//! behind the ten bytes of its `virtio_net_hdr`.

use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, channel};

use landline_vde::{WireLost, Wires};

use crate::lab::{DEADLINE, ForeignPlug, Place, frame, next, plug, wait_for};

fn interface() -> (UnixDatagram, UnixDatagram) {
    let (inside, outside) = UnixDatagram::pair().unwrap();
    outside.set_nonblocking(true).unwrap();
    inside.set_read_timeout(Some(DEADLINE)).unwrap();
    (inside, outside)
}

fn wires() -> (Wires, Receiver<WireLost>) {
    let (send, lost) = channel();
    (Wires::start(move |wire| drop(send.send(wire))).unwrap(), lost)
}

fn receive(interface: &UnixDatagram) -> Vec<u8> {
    let mut buffer = vec![0; 10_000];
    let length = interface.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..10], [0; 10]);
    buffer[10..length].to_vec()
}

fn send(interface: &UnixDatagram, frame: &[u8]) -> bool {
    interface.send(&[&[0; 10], frame].concat()).is_ok()
}

#[test]
fn frames_go_both_ways_until_the_switch_ends_and_again_after() {
    let place = Place::new();
    let mut switch = place.foreign_switch("sw", 32);
    let (wires, lost) = wires();
    let (inside, outside) = interface();
    let wire = wires.join(outside.into(), plug(&place.path("sw")));
    let mut other = ForeignPlug::start(&place.path("sw"));
    other.send(&frame(2, 0xff, 60));
    assert_eq!(receive(&inside), frame(2, 0xff, 60));
    assert!(send(&inside, &frame(1, 2, 1514)));
    assert_eq!(other.next(), frame(1, 2, 1514));

    switch.kill();
    let end = lost.recv_timeout(DEADLINE).unwrap();
    assert_eq!(end.wire, wire);
    let tap = end.tap.expect("the interface is given back");
    std::fs::remove_dir_all(place.path("sw")).unwrap();
    let _again = place.foreign_switch("sw", 32);
    let wire = wires.join(tap, plug(&place.path("sw")));
    let mut other = ForeignPlug::start(&place.path("sw"));
    other.send(&frame(2, 0xff, 60));
    assert_eq!(receive(&inside), frame(2, 0xff, 60));
    wires.cut(wire);
    wait_for("the interface is closed", || !send(&inside, &[0; 14]));
}

#[test]
fn an_interface_is_not_read_while_the_switch_does_not_keep_up() {
    let place = Place::new();
    let _switch = place.switch("sw");
    let (wires, _lost) = wires();
    let (a_inside, a_outside) = interface();
    // A port of a switch that takes nothing: a plug whose other end nobody reads.
    let listener = std::os::unix::net::UnixListener::bind(place.path("ctl")).unwrap();
    let dir = place.path("");
    let stuck = std::thread::spawn(move || plug(&dir));
    let (mut ctl, _) = listener.accept().unwrap();
    let mut request = [0; 300];
    let length = std::io::Read::read(&mut ctl, &mut request).unwrap();
    let request = landline_vde::Request::parse(&request[..length]).unwrap();
    let data = UnixDatagram::bind(place.path("001.1")).unwrap();
    data.connect(&request.path).unwrap();
    std::io::Write::write_all(&mut ctl, &landline_vde::reply(&place.path("001.1"))).unwrap();
    wires.join(a_outside.into(), stuck.join().unwrap());

    // Another wire on the same thread goes on.
    let (b_inside, b_outside) = interface();
    wires.join(b_outside.into(), plug(&place.path("sw")));
    let other = plug(&place.path("sw"));

    a_inside.set_nonblocking(true).unwrap();
    let mut sent = 0u32;
    let full = |sent: &mut u32| {
        let numbered = |n: u32| [&frame(1, 0xff, 1000)[..], &n.to_be_bytes()].concat();
        while send(&a_inside, &numbered(*sent)) {
            *sent += 1;
        }
    };
    // Until nothing more is taken for a while that is long for a thread that has nothing else to do.
    wait_for("all queues are full", || {
        let before = sent;
        full(&mut sent);
        assert!(send(&b_inside, &frame(5, 0xff, 60)));
        next(&other);
        before == sent
    });
    // Nothing was lost.
    data.set_read_timeout(Some(DEADLINE)).unwrap();
    for number in 0..sent {
        let mut buffer = [0; 2000];
        let length = data.recv(&mut buffer).unwrap();
        assert_eq!(buffer[1000..length], number.to_be_bytes());
    }
}
