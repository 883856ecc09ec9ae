//! Other users of an address.

use super::*;

#[test]
fn a_squatter_on_an_autoconfigured_address() {
    let mut script = Script::start(fast(Mode::Slaac));
    script.run_to(30);
    script.advertise(ROUTER, &advertisement());
    script.run_to(40);
    script.events();
    script.claim(OWN, OTHER);
    assert_eq!(script.events(), [Event::Conflict { address: OWN, by: OTHER }]);
    script.nd.clear();
    script.run_to(60_039);
    assert_eq!(script.addresses(), [ANY; 0], "of a hardware address there is no other");
    assert_eq!(script.probes(OWN), [0; 0]);
    assert_eq!(script.events(), []);
    script.run_to(60_100);
    assert_eq!(script.addresses(), [OWN], "but the squatter went away");
}

#[test]
fn another_address_of_the_secret() {
    let mut script = Script::start(stable(Mode::Slaac));
    script.run_to(30);
    script.advertise(ROUTER, &advertisement());
    let probed = |script: &mut Script| {
        let target = |nd: &Nd| match nd.message {
            Message::NeighbourSolicitation { target, .. } if !target.is_unicast_link_local() => Some(target),
            _ => None,
        };
        script.nd().iter().find_map(target)
    };
    let first = probed(&mut script).expect("a probe");
    script.claim(first, OTHER);
    let second = probed(&mut script).expect("another probe");
    assert_ne!(first, second);
    script.run_to(script.ms() + 100);
    assert_eq!(script.addresses(), [second]);
    // The same again in another life, with what is remembered.
    let state = script.client.current().clone();
    let again = Script::remember(stable(Mode::Slaac), state);
    assert_eq!(again.addresses(), [second]);
}

#[test]
fn a_squatter_on_the_link_local_address() {
    let mut script = Script::start(stable(Mode::Dhcp));
    let Message::NeighbourSolicitation { target: first, .. } = script.nd()[0].message else {
        panic!("a probe")
    };
    assert!(first.is_unicast_link_local());
    script.claim(first, OTHER);
    script.run_to(100);
    let own = script.client.current().link_local.expect("another one");
    assert_ne!(own, first);
    script.message(MessageType::Solicit);

    let mut script = Script::start(fast(Mode::Dhcp));
    script.claim(OWN_LINK, OTHER);
    script.run_to(59_000);
    assert_eq!((script.kinds(), script.client.current().link_local), (vec![], None), "nothing to send from");
    assert_eq!(script.solicitations()[0], (0, ANY), "but routers can be asked");
    script.run_to(61_000);
    assert_eq!(script.kinds(), [MessageType::Solicit]);
}

#[test]
fn two_probes_at_once() {
    let mut script = Script::start(fast(Mode::Slaac));
    let own = script.nd()[0].clone();
    script.hear(own.src, own.dst, &own.message);
    assert_eq!(script.events(), [], "our own, brought back by the link");
    let probe = Message::NeighbourSolicitation { target: OWN_LINK, source_mac: None, nonce: Some([9; 6]) };
    let find = Message::NeighbourSolicitation { target: OWN_LINK, source_mac: Some(OTHER), nonce: None };
    script.hear(ROUTER, own.dst, &find);
    assert_eq!(script.events(), [], "somebody looks for whoever has it");
    assert_eq!(script.nd(), [], "which is nobody yet");
    script.hear(ANY, own.dst, &probe);
    assert_eq!(script.events(), [Event::Conflict { address: OWN_LINK, by: OTHER }], "neither may have it");
}

#[test]
fn a_probe_without_nonce_counts_unless_its_frame_is_our_own() {
    for check in [ConflictCheck::Fast, ConflictCheck::Wait] {
        let mut script = Script::start(Config { conflict_check: check, ..fast(Mode::Slaac) });
        let probe = Message::NeighbourSolicitation { target: OWN_LINK, source_mac: None, nonce: None };
        let group = ipv6::solicited_node(OWN_LINK);
        script.hear_from(MAC, ANY, group, &probe);
        assert_eq!(script.events(), [], "brought back by the link");
        script.hear(ANY, group, &probe);
        assert_eq!(script.events(), [Event::Conflict { address: OWN_LINK, by: OTHER }]);
    }
}

/// RFC 4861 section 7.1.1.
#[test]
fn what_only_resembles_a_probe_is_no_conflict() {
    let mut script = Script::start(fast(Mode::Slaac));
    let named = Message::NeighbourSolicitation { target: OWN_LINK, source_mac: Some(OTHER), nonce: None };
    script.hear(ANY, ipv6::solicited_node(OWN_LINK), &named);
    let probe = Message::NeighbourSolicitation { target: OWN_LINK, source_mac: None, nonce: None };
    for dst in [OWN_LINK, ipv6::ALL_NODES] {
        script.hear(ANY, dst, &probe);
    }
    assert_eq!(script.events(), []);
    script.run_to(30);
    assert_eq!(script.client.current().link_local, Some(OWN_LINK));
}

#[test]
fn what_our_own_frames_claim_is_no_conflict() {
    let mut script = Script::start(fast(Mode::Slaac));
    let claim = Message::NeighbourAdvertisement {
        target: OWN_LINK,
        target_mac: None,
        router: false,
        solicited: false,
        overrides: true,
    };
    script.hear_from(MAC, OWN_LINK, ipv6::ALL_NODES, &claim);
    assert_eq!(script.events(), []);
    let payload = claim.emit(OWN_LINK, ipv6::ALL_NODES);
    let (src, dst, next_header) = (OWN_LINK, ipv6::ALL_NODES, ipv6::ICMP);
    let packet = Packet { src, dst, hop_limit: 255, next_header, payload: &payload }.emit();
    assert_eq!(script.client.claimed(MAC, &packet), None);
    assert_eq!(script.client.claimed(OTHER, &packet), Some(OWN_LINK));
    script.hear(OWN_LINK, ipv6::ALL_NODES, &claim);
    assert_eq!(script.events(), [Event::Conflict { address: OWN_LINK, by: OTHER }]);
}

#[test]
fn answers_for_its_addresses() {
    let mut script = Script::start(fast(Mode::Slaac));
    script.run_to(30);
    script.nd.clear();
    let group = ipv6::solicited_node(OWN_LINK);
    let find = Message::NeighbourSolicitation { target: OWN_LINK, source_mac: Some(OTHER), nonce: None };
    script.hear(ROUTER, group, &find);
    let answers = script.nd();
    assert_eq!((answers[0].to, answers[0].src, answers[0].dst), (OTHER, OWN_LINK, ROUTER));
    let Message::NeighbourAdvertisement { target_mac, solicited, overrides, .. } = answers[0].message else {
        panic!("an answer")
    };
    assert_eq!((target_mac, solicited, overrides), (Some(MAC), true, true));
    // Somebody wants to take it.
    let probe = Message::NeighbourSolicitation { target: OWN_LINK, source_mac: None, nonce: None };
    script.hear(ANY, group, &probe);
    let answers = script.nd();
    assert_eq!((answers[0].dst, answers.len()), (ipv6::ALL_NODES, 1));
    assert_eq!(script.client.current().link_local, Some(OWN_LINK), "whoever comes later has to go");
    // Nobody's business.
    let other = Message::NeighbourSolicitation { target: OWN, source_mac: Some(OTHER), nonce: None };
    script.hear(ROUTER, group, &other);
    let nameless = Message::NeighbourSolicitation { target: OWN_LINK, source_mac: None, nonce: None };
    script.hear(ROUTER, group, &nameless);
    assert_eq!(script.nd(), []);
}

#[test]
fn a_late_answer_takes_it_away() {
    let mut script = Script::start(fast(Mode::Slaac));
    script.run_to(30);
    script.advertise(ROUTER, &advertisement());
    script.run_to(500);
    assert_eq!(script.addresses(), [OWN]);
    script.claim(OWN, MAC);
    assert_eq!(script.addresses(), [OWN], "that was us");
    let group = ipv6::solicited_node(OWN);
    let probe = Message::NeighbourSolicitation { target: OWN, source_mac: None, nonce: None };
    script.nd.clear();
    script.hear_from(MAC, ANY, group, &probe);
    assert_eq!(script.nd(), [], "so was that");
    script.events();
    script.claim(OWN, OTHER);
    let events = script.events();
    assert_eq!(events[0], Event::Conflict { address: OWN, by: OTHER });
    assert_eq!(events[1], Event::Lost { address: OWN, reason: LossReason::Conflict });
    assert!(matches!(&events[2], Event::Changed(state) if state.addresses.is_empty()));
}

#[test]
fn long_after_the_check_nobody_can_take_it_away() {
    let mut script = Script::start(fast(Mode::Slaac));
    script.run_to(30);
    script.advertise(ROUTER, &advertisement());
    script.run_to(10_000);
    script.events();
    script.claim(OWN, OTHER);
    assert_eq!(script.addresses(), [OWN]);
    assert_eq!(script.events(), []);
}

#[test]
fn a_leased_address_is_declined() {
    let mut script = Script::start(fast(Mode::Dhcp));
    script.run_to(30);
    let mut declined_at = Vec::new();
    for _ in 0..3 {
        while script.sent.is_empty() {
            let due = script.client.poll_timeout().expect("goes on");
            script.run_to(u64::try_from(due.saturating_since(START).as_millis()).expect("soon") + 1);
        }
        let solicit = script.message(MessageType::Solicit);
        script.reply(&solicit, &[(LEASED, 3600, 7200)]);
        script.claim(LEASED, OTHER);
        assert_eq!(script.client.state(), StateName::Declining);
        let decline = script.message(MessageType::Decline);
        assert_eq!(decline.message.options.duid(code::SERVER_ID), Some(server(1)));
        assert_eq!(decline.addresses(), [LEASED]);
        declined_at.push(decline.ms / 1000);
        script.receive(&with_status(MessageType::Reply, &decline, 1, status::SUCCESS));
    }
    assert_eq!(declined_at, [0, 0, 10], "the first retry is free");
    assert_eq!(script.addresses(), [ANY; 0]);
    let lost = |event: &Event| matches!(event, Event::Lost { .. });
    assert!(!script.events().iter().any(lost), "it was never in use");
}

#[test]
fn the_rest_of_a_lease_is_used() {
    let mut script = Script::start(fast(Mode::Dhcp));
    script.run_to(30);
    let solicit = script.message(MessageType::Solicit);
    script.reply(&solicit, &[(LEASED, 3600, 7200), (SECOND, 3600, 7200)]);
    script.claim(LEASED, OTHER);
    script.run_to(60_000);
    assert_eq!(script.kinds(), [MessageType::Decline; 4], "nobody answers");
    assert_eq!(script.addresses(), [SECOND]);
    assert_eq!(script.client.state(), StateName::Bound);
}

fn taken(config: Config) -> Config {
    Config { taken: crate::Taken::by(|address| address == LEASED || address == OWN), ..config }
}

#[test]
fn a_taken_address_is_declined_whatever_the_link_says() {
    for config in [fast(Mode::Dhcp), no_check(Mode::Dhcp)] {
        let mut script = Script::start(taken(config));
        script.run_to(script.ms() + 50);
        let solicit = script.message(MessageType::Solicit);
        script.nd.clear();
        script.reply(&solicit, &[(LEASED, 3600, 7200)]);
        let decline = script.message(MessageType::Decline);
        assert_eq!(decline.addresses(), [LEASED]);
        let refused = |event: &Event| *event == Event::Refused { address: LEASED };
        assert_eq!(script.events().iter().filter(|event| refused(event)).count(), 1);
        assert_eq!((script.addresses(), script.probes(LEASED)), (vec![], vec![]));
    }
}

#[test]
fn of_a_prefix_with_a_taken_address_another_is_made() {
    // Of a hardware address there is no other.
    let mut script = Script::start(taken(fast(Mode::Slaac)));
    script.run_to(30);
    script.advertise(ROUTER, &advertisement());
    script.run_to(200_000);
    assert_eq!((script.addresses(), script.probes(OWN)), (vec![], vec![]));
    assert_eq!(script.events().iter().filter(|e| matches!(e, Event::Refused { .. })).count(), 1, "told once");

    let mut script = Script::start(stable(Mode::Slaac));
    script.run_to(30);
    script.advertise(ROUTER, &advertisement());
    script.run_to(100);
    let first = script.addresses()[0];
    let config = Config { taken: crate::Taken::by(move |address| address == first), ..stable(Mode::Slaac) };
    let mut script = Script::start(config);
    script.run_to(30);
    script.advertise(ROUTER, &advertisement());
    script.run_to(100);
    let second = script.addresses()[0];
    assert_ne!(first, second);
    assert_eq!(script.probes(first), [0; 0]);
}

/// Somebody gives the host addresses that a container has.
#[test]
fn addresses_that_become_taken_are_given_up_at_once() {
    let taken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = taken.clone();
    let is_taken = move |address| {
        [LEASED, OWN].map(std::net::IpAddr::from).contains(&address)
            && flag.load(std::sync::atomic::Ordering::Relaxed)
    };
    let config = Config { taken: crate::Taken::by(is_taken), ..no_check(Mode::Auto) };
    let mut script = Script::start(config);
    script.run_to(1500);
    let solicit = script.message(MessageType::Solicit);
    script.reply(&solicit, &[(LEASED, 3600, 7200)]);
    script.advertise(ROUTER, &advertisement());
    assert_eq!(script.addresses(), [LEASED, OWN]);
    script.events();
    script.client.recheck(script.now);
    assert_eq!(script.events(), [], "nothing has changed");
    taken.store(true, std::sync::atomic::Ordering::Relaxed);
    script.client.recheck(script.now);
    script.drain();
    assert_eq!(script.addresses(), [Ipv6Addr::UNSPECIFIED; 0]);
    let events = script.events();
    for address in [LEASED, OWN] {
        assert!(events.contains(&Event::Refused { address }), "{events:?}");
        assert!(events.contains(&Event::Lost { address, reason: LossReason::Conflict }), "{events:?}");
    }
    assert!(script.kinds().contains(&MessageType::Decline));
}
