//! Our client on Debian's switch.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use landline_vde::{Plug, PlugError};

use crate::lab::{DEADLINE, ForeignPlug, Place, Program, frame, next, plug, text, wait_for};

#[test]
fn it_joins_a_vde_switch_and_leaves_nothing_in_its_directory() {
    let place = Place::new();
    let mut switch = place.foreign_switch("sw", 32);
    let mut other = ForeignPlug::start(&place.path("sw"));
    let ours = plug(&place.path("sw"));
    let mut heard = None;
    wait_for("both are there", || {
        // vde_switch may still be busy with the other's request.
        ours.send(&frame(1, 0xff, 60));
        heard = other.try_next();
        heard.is_some()
    });
    assert_eq!(heard, Some(frame(1, 0xff, 60)));
    for length in [60, 1514, 1518] {
        other.send(&frame(2, 1, length));
        assert_eq!(next(&ours), frame(2, 1, length));
    }
    let hidden = std::fs::read_dir(place.path("sw")).unwrap().flatten();
    let hidden: Vec<_> =
        hidden.filter(|entry| entry.file_name().to_string_lossy().starts_with('.')).collect();
    assert!(hidden.len() <= 1, "ours is still named: {hidden:?}");

    assert!(!ours.is_gone());
    switch.kill();
    wait_for("its end is seen", || ours.is_gone());
    assert!(!ours.send(&frame(1, 0xff, 60)));
    let gone = Plug::connect(&place.path("sw"), "test", DEADLINE).unwrap_err();
    assert!(matches!(gone, PlugError::NoSwitch { .. }), "{gone:?}");
}

#[test]
fn a_vde_switch_without_a_free_port_is_not_waited_for_for_ever() {
    let place = Place::new();
    let _switch = place.foreign_switch("sw", 4);
    let mut plugs = Vec::new();
    let started = Instant::now();
    let error = loop {
        match Plug::connect(&place.path("sw"), "test", Duration::from_secs(2)) {
            Ok(plug) => plugs.push(plug),
            Err(error) => break error,
        }
        assert!(plugs.len() <= 4, "it has four ports");
    };
    assert!(matches!(error, PlugError::Silent { .. } | PlugError::Refused(_)), "{error:?}");
    assert!(plugs.len() >= 3 && started.elapsed() < DEADLINE);
}

#[test]
fn what_only_looks_like_a_switch_is_no_trap() {
    let place = Place::new();
    std::fs::create_dir(place.path("deaf")).unwrap();
    let listener = UnixListener::bind(place.path("deaf").join("ctl")).unwrap();
    let error = Plug::connect(&place.path("deaf"), "test", Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error, PlugError::Silent { .. }), "{error:?}");
    let answer = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = std::io::Write::write_all(&mut stream, &[b'?'; 200]);
        }
    });
    let error = Plug::connect(&place.path("deaf"), "test", DEADLINE).unwrap_err();
    assert!(!matches!(error, PlugError::Silent { .. }), "{error:?}");
    answer.join().unwrap();
    assert_eq!(std::fs::read_dir(place.path("deaf")).unwrap().count(), 1, "only ctl is left");
}

/// Ours, a `vde_switch`, and another one of ours, with cables of `vde2` between them.
#[test]
fn switches_in_a_chain() {
    let place = Place::new();
    let (left, right) = (place.switch("left"), place.switch("right"));
    let _middle = place.foreign_switch("middle", 32);
    let cable = |a: &str, b: &str| {
        let (a, b) = (place.path(a), place.path(b));
        Program::start(&["dpipe", "vde_plug", text(&a), "=", "vde_plug", text(&b)])
    };
    let _cables = [cable("left", "middle"), cable("middle", "right")];
    let (a, b) = (plug(&place.path("left")), plug(&place.path("right")));
    let there = |switch: &landline_vde::Switch| switch.ports().unwrap().len() == 2;
    wait_for("the cables are in", || there(&left) && there(&right));
    wait_for("a frame comes through", || {
        a.send(&frame(1, 0xff, 60));
        b.receive(&mut [0; 2000]).is_some()
    });
    wait_for("all copies are through", || b.receive(&mut [0; 2000]).is_none());
    b.send(&frame(2, 1, 1514));
    assert_eq!(next(&a), frame(2, 1, 1514));
}
