//! Addresses that somebody else uses.

use super::*;

fn probe() -> arp::Packet {
    arp::Packet::probe(MAC, ADDRESS)
}

fn announcement() -> arp::Packet {
    arp::Packet::announcement(MAC, ADDRESS)
}

/// Somebody's answer to a probe.
fn claim() -> arp::Packet {
    arp::Packet {
        op: arp::Operation::Reply,
        sender_mac: OTHER,
        sender_ip: ADDRESS,
        target_mac: MAC,
        target_ip: ANY,
    }
}

const CONFLICT: Event = Event::Conflict { address: ADDRESS, by: OTHER };

fn requesting(config: Config) -> (Script, Sent) {
    let mut script = Script::start(config);
    let discover = script.message(MessageType::Discover);
    script.offer(&discover, SERVER, ADDRESS, 3600);
    let request = script.message(MessageType::Request);
    (script, request)
}

fn assert_declined(script: &mut Script) -> Sent {
    let sent = std::mem::take(&mut script.sent);
    let [decline, discover] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(decline.message.kind, MessageType::Decline);
    assert_eq!((decline.src, decline.dst, decline.message.ciaddr), (ANY, ALL, ANY));
    assert_eq!(decline.address(code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(decline.address(code::SERVER_ID), Some(SERVER));
    assert!(decline.message.options.get(code::CLIENT_ID).is_some());
    assert_eq!(discover.message.kind, MessageType::Discover);
    assert_eq!(discover.address(code::REQUESTED_ADDRESS), None, "not that one");
    discover.clone()
}

#[test]
fn a_fast_check_overlaps_the_request() {
    let (mut script, request) = requesting(Config::new(MAC));
    assert_eq!(script.arps(), [(0, probe())], "with the request");
    script.run_to(3);
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert_eq!(script.client.state(), StateName::Checking);
    assert_eq!((script.events(), script.client.lease()), (vec![], None));
    script.run_to(24);
    assert_eq!(script.arps(), [(15, probe())]);
    assert_eq!(script.events(), []);
    script.run_to(25);
    assert!(matches!(script.events()[..], [Event::Bound(_)]), "25 ms after the first probe");
    assert!(script.client.wants_socket(), "there is more to hear");
    script.run_to(3000);
    assert_eq!(script.arps(), [(25, announcement()), (1025, probe()), (2025, announcement())]);
    assert!(script.client.wants_socket());
    script.run_to(3025);
    assert!(!script.client.wants_socket());
    assert_eq!(script.client.poll_timeout(), script.client.lease().and_then(|l| l.t1));
}

#[test]
fn a_slow_server_costs_no_extra_wait() {
    let (mut script, request) = requesting(Config::new(MAC));
    script.run_to(100);
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert!(matches!(script.events()[..], [Event::Bound(_)]));
}

#[test]
fn a_full_check_takes_its_time() {
    let config = Config { conflict_check: ConflictCheck::Wait, ..Config::new(MAC) };
    let (mut script, request) = requesting(config);
    script.ack(&request, SERVER, ADDRESS, 3600);
    while script.client.state() == StateName::Checking {
        assert_eq!(script.events(), []);
        script.run_to(script.ms() + 1);
    }
    let bound = script.ms();
    assert!((4000..=7003).contains(&bound), "{bound}");
    script.run_to(20_000);
    let arps = script.arps();
    let times: Vec<_> = arps.iter().map(|(at, _)| *at).collect();
    assert_eq!(arps.iter().map(|(_, p)| p.is_probe()).collect::<Vec<_>>(), [true, true, true, false, false]);
    assert!(times[0] <= 1000, "{times:?}");
    assert!(times[..3].windows(2).all(|t| (1000..=2001).contains(&(t[1] - t[0]))), "{times:?}");
    assert_eq!(times[4] - times[3], 2000);
}

#[test]
fn no_check_is_no_arp_at_all() {
    let mut script = Script::bound(no_check(), 3600);
    script.arp(&claim());
    script.run_to(10_000);
    assert_eq!((script.arps(), script.events()), (vec![], vec![]));
}

#[test]
fn found_before_the_ack_it_is_declined_after_it() {
    let (mut script, request) = requesting(Config::new(MAC));
    script.arp(&claim());
    assert_eq!(script.events(), [CONFLICT]);
    assert_eq!(script.kinds(), [], "there is no lease to decline yet");
    script.ack(&request, SERVER, ADDRESS, 3600);
    let discover = assert_declined(&mut script);
    assert_eq!(script.events(), [], "it was never in use");
    script.offer(&discover, SERVER, ELSEWHERE, 3600);
    let request = script.message(MessageType::Request);
    script.ack(&request, SERVER, ELSEWHERE, 3600);
    script.run_to(60);
    assert_eq!(script.client.lease().map(|l| l.address), Some(ELSEWHERE));
}

#[test]
fn found_after_the_window_but_before_the_ack() {
    let (mut script, request) = requesting(Config::new(MAC));
    script.run_to(50);
    script.arp(&claim());
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert_declined(&mut script);
}

#[test]
fn found_after_the_ack_it_is_declined_at_once() {
    let (mut script, request) = requesting(Config::new(MAC));
    script.ack(&request, SERVER, ADDRESS, 3600);
    script.run_to(20);
    script.arp(&claim());
    assert_eq!(script.events(), [CONFLICT]);
    assert_declined(&mut script);
    script.run_to(500);
    assert!(script.events().is_empty());
}

#[test]
fn what_is_a_conflict_while_probing() {
    let gratuitous = arp::Packet::announcement(OTHER, ADDRESS);
    for packet in [claim(), gratuitous] {
        let (mut script, _) = requesting(Config::new(MAC));
        script.arp(&packet);
        assert_eq!(script.events(), [CONFLICT], "{packet:?}");
        script.arp(&packet);
        assert_eq!(script.events(), [], "told once");
    }
}

/// Servers offer one address to several clients that ask at once, and grant it to one.
#[test]
fn who_probes_at_the_same_time_may_have_been_offered_it_too() {
    let (mut script, request) = requesting(Config::new(MAC));
    script.arp(&arp::Packet::probe(OTHER, ADDRESS));
    script.ack(&request, SERVER, ADDRESS, 3600);
    script.run_to(15);
    script.arp(&arp::Packet::probe(OTHER, ADDRESS));
    script.run_to(30);
    assert!(matches!(script.events()[..], [Event::Bound(_)]));
    assert!(script.arps().iter().any(|(_, packet)| !packet.is_probe()), "the other is told");
}

#[test]
fn in_a_full_check_which_begins_after_the_grant_neither_may_have_it() {
    let config = Config { conflict_check: ConflictCheck::Wait, ..Config::new(MAC) };
    let (mut script, request) = requesting(config);
    script.ack(&request, SERVER, ADDRESS, 3600);
    script.run_to(500);
    script.arp(&arp::Packet::probe(OTHER, ADDRESS));
    assert_eq!(script.events(), [CONFLICT]);
    assert_declined(&mut script);
}

#[test]
fn what_is_none() {
    let asks_for_it = arp::Packet { sender_ip: SERVER, ..arp::Packet::probe(OTHER, ADDRESS) };
    let another = arp::Packet::announcement(OTHER, ELSEWHERE);
    let no_sender = arp::Packet { sender_mac: Mac::new([0; 6]), ..claim() };
    for packet in [probe(), announcement(), asks_for_it, another, no_sender] {
        let (mut script, request) = requesting(Config::new(MAC));
        script.arp(&packet);
        script.ack(&request, SERVER, ADDRESS, 3600);
        script.run_to(30);
        assert!(matches!(script.events()[..], [Event::Bound(_)]), "{packet:?}");
    }
}

#[test]
fn the_second_conflict_waits() {
    let (mut script, request) = requesting(Config::new(MAC));
    script.ack(&request, SERVER, ADDRESS, 3600);
    script.arp(&claim());
    let discover = assert_declined(&mut script);
    script.offer(&discover, SERVER, ADDRESS, 3600);
    let request = script.message(MessageType::Request);
    script.arp(&claim());
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert_eq!(script.kinds(), [MessageType::Decline]);
    assert_eq!(script.client.state(), StateName::Init);
    script.run_to(9_999);
    assert_eq!(script.kinds(), []);
    script.run_to(10_000);
    assert_eq!(script.kinds(), [MessageType::Discover]);
}

#[test]
fn in_use_it_is_defended_once() {
    let mut script = Script::bound(Config::new(MAC), 3600);
    script.run_to(5000);
    assert!(!script.client.wants_socket());
    script.arps();
    script.arp(&claim());
    assert_eq!(script.events(), [CONFLICT]);
    assert_eq!(script.arps(), [(5000, announcement())]);
    assert!(script.client.wants_socket(), "the other may insist");
    script.run_to(15_000);
    assert!(!script.client.wants_socket());
    // Much later it is a new story.
    script.run_to(20_000);
    script.arp(&claim());
    assert_eq!(script.arps(), [(20_000, announcement())]);
    assert_eq!(script.client.state(), StateName::Bound);
}

#[test]
fn in_use_it_is_given_up_when_the_other_insists() {
    let mut script = Script::bound(Config::new(MAC), 3600);
    script.arp(&claim());
    script.run_to(9_000);
    script.events();
    script.arp(&claim());
    assert_eq!(script.events(), [CONFLICT, lost(LossReason::Conflict)]);
    assert_eq!(script.client.lease(), None);
    assert_declined(&mut script);
}

#[test]
fn in_use_somebody_else_s_probe_is_for_the_kernel_to_answer() {
    let mut script = Script::bound(Config::new(MAC), 3600);
    script.arps();
    script.arp(&arp::Packet::probe(OTHER, ADDRESS));
    assert_eq!((script.events(), script.arps()), (vec![], vec![]));
}

#[test]
fn a_conflict_while_renewing() {
    let mut script = Script::bound(Config::new(MAC), 3600);
    script.run_to(1_800_000);
    script.message(MessageType::Request);
    script.arp(&claim());
    script.arp(&claim());
    assert_eq!(script.events(), [CONFLICT, CONFLICT, lost(LossReason::Conflict)]);
    assert_declined(&mut script);
}

#[test]
fn a_remembered_address_is_probed_too() {
    let mut script = Script::remember(Config::new(MAC), lease(-1000, 800, 2000, 2600));
    assert_eq!(script.arps(), [(0, probe())]);
    let request = script.message(MessageType::Request);
    script.arp(&claim());
    assert_eq!(script.events(), [CONFLICT]);
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert_eq!(script.events(), [lost(LossReason::Conflict)]);
    assert_declined(&mut script);
}

#[test]
fn a_remembered_address_that_somebody_uses_and_no_server_knows() {
    let mut script = Script::remember(Config::new(MAC), lease(-1000, 800, 2000, 2600));
    script.arp(&claim());
    script.run_to(1999);
    script.sent.clear();
    script.run_to(2000);
    assert_eq!(script.events(), [CONFLICT, lost(LossReason::Conflict)]);
    assert_declined(&mut script);
}

#[test]
fn rapid_commit_is_checked_as_well() {
    let mut script = Script::start(Config { rapid_commit: true, ..Config::new(MAC) });
    let discover = script.message(MessageType::Discover);
    let mut ack = reply(MessageType::Ack, &discover, SERVER, ADDRESS, 3600);
    ack.options.append(code::RAPID_COMMIT, &[]);
    script.receive(&ack);
    assert_eq!(script.arps(), [(0, probe())]);
    assert_eq!(script.client.state(), StateName::Checking);
    script.run_to(25);
    assert!(matches!(script.events()[..], [Event::Bound(_)]));
}

#[test]
fn a_lease_shorter_than_its_check() {
    let config = Config { conflict_check: ConflictCheck::Wait, ..Config::new(MAC) };
    let (mut script, request) = requesting(config);
    script.ack(&request, SERVER, ADDRESS, 2);
    assert_eq!(script.client.state(), StateName::Checking);
    script.run_to(3000);
    assert_eq!(script.client.state(), StateName::Selecting, "starts over, and uses nothing");
    assert_eq!((script.events(), script.client.lease()), (vec![], None));
}

#[test]
fn a_sleep_does_not_shorten_the_check() {
    let (mut script, request) = requesting(Config::new(MAC));
    script.ack(&request, SERVER, ADDRESS, 3600);
    script.sleep_to(1000);
    assert_eq!(script.client.state(), StateName::Checking, "the second probe went out just now");
    script.run_to(1010);
    assert_eq!(script.client.state(), StateName::Bound);
}

fn careful() -> Config {
    Config { conflict_check: ConflictCheck::Wait, ..Config::new(MAC) }
}

/// Whether this packet is a conflict while an address is probed in full.
fn contests(heard: arp::Heard) -> bool {
    let (mut script, request) = requesting(careful());
    script.ack(&request, SERVER, ADDRESS, 3600);
    script.run_to(500);
    script.client.handle_arp(script.now, heard);
    script.drain();
    script.events() == [CONFLICT]
}

#[test]
fn which_packets_are_about_the_address() {
    let (mut script, _) = requesting(Config::new(MAC));
    let elsewhere = arp::Packet::announcement(OTHER, ELSEWHERE);
    let about = |script: &Script| {
        [claim(), arp::Packet::probe(OTHER, ADDRESS), elsewhere].map(|p| script.client.is_about_address(&p))
    };
    assert_eq!(about(&script), [true, true, false]);
    script.client.release(script.now);
    assert_eq!(about(&script), [false; 3]);
}

/// RFC 5227 section 1.1: an ARP Probe is broadcast. Switches that track hosts (Cisco's IPDT) ask a host alone, and gear
/// that asks for others has its own address in the frame.
#[test]
fn who_asks_whether_we_are_there_is_no_conflict() {
    let rival = arp::Heard::from(arp::Packet::probe(OTHER, ADDRESS));
    assert!(contests(rival));
    assert!(!contests(arp::Heard { to_all: false, ..rival }), "to us alone");
    assert!(
        !contests(arp::Heard { frame_source: Mac::new([2, 0, 0, 0, 0, 1]), ..rival }),
        "for somebody else"
    );
    assert!(!contests(arp::Heard { frame_source: MAC, ..rival }), "our own frame, changed on its way");
    // What is claimed is claimed in any frame.
    let user = arp::Heard { to_all: false, ..arp::Heard::from(claim()) };
    assert!(contests(user));
    assert!(contests(arp::Heard { frame_source: Mac::new([2, 0, 0, 0, 0, 1]), ..user }));
    assert!(!contests(arp::Heard { frame_source: MAC, ..user }));
}

fn taken(config: Config) -> Config {
    Config { taken: crate::Taken::by(|address| address == ADDRESS), ..config }
}

const REFUSED: Event = Event::Refused { address: ADDRESS, server: SERVER };

#[test]
fn a_taken_address_is_declined_whatever_the_link_says() {
    for config in [Config::new(MAC), no_check(), careful()] {
        let (mut script, request) = requesting(taken(config));
        script.ack(&request, SERVER, ADDRESS, 3600);
        let discover = assert_declined(&mut script);
        assert_eq!(
            (script.events(), script.arps()),
            (vec![REFUSED], vec![]),
            "nothing is said of it on the link"
        );
        // The server has been told once. Another one is listened to.
        script.offer(&discover, SERVER, ADDRESS, 3600);
        assert_eq!(script.kinds(), []);
        script.offer(&discover, SECOND, ELSEWHERE, 3600);
        let request = script.message(MessageType::Request);
        script.ack(&request, SECOND, ELSEWHERE, 3600);
        script.run_to(10_000);
        assert_eq!(script.client.lease().map(|lease| lease.address), Some(ELSEWHERE));
    }
}

#[test]
fn a_taken_address_is_not_asked_for_again() {
    let script = Script::remember(taken(Config::new(MAC)), lease(-1000, 800, 2000, 2600));
    assert_eq!((script.client.state(), script.client.lease()), (StateName::Selecting, None));
    let script = Script::remember(taken(Config::new(MAC)), ADDRESS);
    assert_eq!(script.client.state(), StateName::Selecting);
}

#[test]
fn an_address_that_the_host_took_meanwhile_goes_at_the_renewal() {
    let late = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is = late.clone();
    let by = move |address| address == ADDRESS && is.load(std::sync::atomic::Ordering::Relaxed);
    let mut script = Script::bound(Config { taken: crate::Taken::by(by), ..Config::new(MAC) }, 3600);
    late.store(true, std::sync::atomic::Ordering::Relaxed);
    script.run_to(1_800_000);
    let renewal = script.message(MessageType::Request);
    script.ack(&renewal, SERVER, ADDRESS, 3600);
    assert_eq!(script.events(), [REFUSED, lost(LossReason::Taken)]);
    assert_declined(&mut script);
}

#[test]
fn rapid_commit_of_a_taken_address_is_declined_as_well() {
    let mut script = Script::start(taken(Config { rapid_commit: true, ..Config::new(MAC) }));
    let discover = script.message(MessageType::Discover);
    let mut ack = reply(MessageType::Ack, &discover, SERVER, ADDRESS, 3600);
    ack.options.append(code::RAPID_COMMIT, &[]);
    script.receive(&ack);
    assert_eq!(script.events(), [REFUSED]);
    assert_declined(&mut script);
}

#[test]
fn what_another_client_of_the_same_hardware_address_has_is_not_declined() {
    let (mut script, request) = requesting(taken(Config { shares_mac: true, ..Config::new(MAC) }));
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert_eq!(script.events(), [REFUSED]);
    assert_eq!(script.kinds(), [MessageType::Discover], "a server may take it for the other's");
    // Nor is it given back.
    let (mut script, _) = requesting(taken(Config { shares_mac: true, ..Config::new(MAC) }));
    script.client.release(script.now);
    script.drain();
    assert_eq!(script.kinds(), []);
}

/// Somebody gives the host an address that a container has leased.
#[test]
fn an_address_that_becomes_taken_is_declined_at_once() {
    let taken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = taken.clone();
    let is_taken = move |address| address == ADDRESS && flag.load(std::sync::atomic::Ordering::Relaxed);
    let config = Config { taken: crate::Taken::by(is_taken), ..no_check() };
    let mut script = Script::bound(config, 3600);
    script.client.recheck(script.now);
    script.drain();
    assert_eq!((script.kinds(), script.events()), (vec![], vec![]), "nothing has changed");
    taken.store(true, std::sync::atomic::Ordering::Relaxed);
    script.client.recheck(script.now);
    script.drain();
    assert_eq!(
        script.events(),
        [Event::Refused { address: ADDRESS, server: SERVER }, lost(LossReason::Taken)]
    );
    let [decline, discover] = std::mem::take(&mut script.sent).try_into().expect("two messages");
    assert_eq!(decline.message.kind, MessageType::Decline);
    assert_eq!(decline.address(code::REQUESTED_ADDRESS), Some(ADDRESS));
    // The same once more is passed over.
    script.offer(&discover, SERVER, ADDRESS, 3600);
    assert_eq!(script.kinds(), []);
    script.offer(&discover, SERVER, ELSEWHERE, 3600);
    let request = script.message(MessageType::Request);
    script.ack(&request, SERVER, ELSEWHERE, 3600);
    assert_eq!(script.client.lease().map(|lease| lease.address), Some(ELSEWHERE));
}
