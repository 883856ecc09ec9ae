//! What is known from before.

use super::*;

/// A client that has all there is, and its state.
fn known(config: Config) -> (Script, State6) {
    let mut script = Script::start(config);
    script.run_to(30);
    let mut said = managed();
    said.prefixes[0].autonomous = true;
    script.advertise(ROUTER, &said);
    let solicit = script.message(MessageType::Solicit);
    script.reply(&solicit, &[(LEASED, 3600, 7200)]);
    script.run_to(10_000);
    assert_eq!(script.addresses(), [LEASED, OWN]);
    let state = script.client.current().clone();
    (script, state)
}

fn resume(config: Config, state: &State6, ms: u64) -> Script {
    let mut script = Script {
        client: Client::resume(config, state.clone(), at(ms), Seeded(9)),
        now: at(ms),
        nd: Vec::new(),
        sent: Vec::new(),
    };
    script.drain();
    script
}

#[test]
fn resumes_without_a_word() {
    let (_, state) = known(fast(Mode::Auto));
    let mut script = resume(fast(Mode::Auto), &state, 60_000);
    assert_eq!((script.nd(), script.kinds(), script.events()), (vec![], vec![], vec![]));
    assert_eq!(script.client.current(), &state);
    assert_eq!(script.client.state(), StateName::Bound);
    assert!(script.client.is_settled() && !script.client.wants_socket());
    script.run_to(500_000);
    assert_eq!((script.nd(), script.kinds()), (vec![], vec![]));
    script.run_to(1_900_000);
    assert_eq!(script.sent[0].message.kind, MessageType::Renew);
    assert_eq!(script.sent[0].addresses(), [LEASED]);
    assert!(!script.solicitations().is_empty());
    assert_eq!(script.probes(LEASED), [0; 0]);
}

#[test]
fn resumes_after_some_of_it_ended() {
    let (_, state) = known(fast(Mode::Auto));
    let mut script = resume(fast(Mode::Auto), &state, 8_000_000);
    let events = script.events();
    assert_eq!(events[0], Event::Lost { address: LEASED, reason: LossReason::Expired });
    let Event::Changed(now) = &events[1] else { panic!("changed") };
    assert_eq!((now.routers.len(), now.on_link.len(), now.lease.is_some()), (0, 1, false));
    assert_eq!(script.addresses(), [OWN]);
    assert_eq!(script.message(MessageType::Solicit).addresses(), [LEASED], "asked for");
    assert!(!script.client.is_settled());

    let mut script = resume(fast(Mode::Auto), &state, 3_000_000);
    assert_eq!(script.kinds(), [MessageType::Rebind], "T2 has passed");
}

#[test]
fn resumes_parameters_alone() {
    let mut script = Script::start(no_check(Mode::Auto));
    script.advertise(ROUTER, &RouterAdvertisement { other: true, ..advertisement() });
    let ask = script.message(MessageType::InformationRequest);
    let mut reply = bare(MessageType::Reply, &ask, 1);
    reply.options.push(code::DNS, &SECOND.octets());
    script.receive(&reply);
    let state = script.client.current().clone();
    let mut script = resume(no_check(Mode::Auto), &state, 60_000);
    assert_eq!((script.client.state(), script.kinds()), (StateName::Informed, vec![]));
    assert_eq!(script.client.current(), &state);
}

#[test]
fn nothing_to_go_on_with_is_a_start() {
    let mut script = resume(fast(Mode::Auto), &State6::default(), 0);
    assert_eq!(script.probes(OWN_LINK), [0]);
    script.run_to(2000);
    assert_eq!(script.kinds(), [MessageType::Solicit]);
}

#[test]
fn starts_with_what_it_had() {
    let (_, state) = known(fast(Mode::Auto));
    let mut script = Script::remember(fast(Mode::Auto), state.clone());
    let [Event::Changed(told)] = &script.events()[..] else { panic!("told at once") };
    assert_eq!(told, &state);
    assert_eq!(script.client.state(), StateName::Confirming);
    let confirm = script.message(MessageType::Confirm);
    assert_eq!(confirm.addresses(), [LEASED]);
    assert_eq!(confirm.message.options.get(code::SERVER_ID), None);
    let nd = script.nd();
    let probed = |address| {
        nd.iter().any(
            |nd| matches!(nd.message, Message::NeighbourSolicitation { target, .. } if target == address),
        )
    };
    assert!(probed(OWN_LINK) && probed(OWN) && probed(LEASED), "somebody may have come to use them");
    assert!(nd.iter().any(|nd| matches!(nd.message, Message::RouterSolicitation { .. })));
    script.run_to(20);
    script.advertise(ROUTER, &advertisement());
    script.receive(&with_status(MessageType::Reply, &confirm, 2, status::SUCCESS));
    assert_eq!(script.client.state(), StateName::Bound);
    script.run_to(60_000);
    assert_eq!(script.addresses(), [LEASED, OWN]);
    assert!(script.events().iter().all(|event| matches!(event, Event::Renewed(_))));
}

#[test]
fn nobody_confirms() {
    let (_, state) = known(fast(Mode::Auto));
    let mut script = Script::remember(fast(Mode::Auto), state);
    script.run_to(9000);
    assert_eq!(script.client.state(), StateName::Confirming);
    script.run_to(10_001);
    assert_eq!(script.client.state(), StateName::Bound, "nobody objected");
    assert!((3..=6).contains(&script.kinds().len()));
    assert_eq!(script.addresses(), [LEASED, OWN]);
}

#[test]
fn on_another_network() {
    let (_, state) = known(fast(Mode::Auto));
    let mut script = Script::remember(fast(Mode::Auto), state);
    script.events();
    let confirm = script.message(MessageType::Confirm);
    let mut said = managed();
    said.prefixes = vec![prefix("2001:db8:0:2::/64", 86_400, 14_400)];
    said.dns = vec![];
    script.run_to(20);
    script.advertise(ROUTER2, &said);
    script.receive(&with_status(MessageType::Reply, &confirm, 2, status::NOT_ON_LINK));
    assert_eq!(script.message(MessageType::Solicit).addresses(), [ANY; 0]);
    script.run_to(100);
    let elsewhere = Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0x42, 0xc0ff, 0xfe00, 0x20a);
    assert_eq!(script.addresses(), [OWN, elsewhere], "another router of the old network may be late");
    script.run_to(5000);
    let state = script.client.current();
    assert_eq!(script.addresses(), [elsewhere]);
    assert_eq!((state.routers.len(), state.on_link.len(), state.dns.len()), (1, 1, 0));
    let lost: Vec<_> = script.events().into_iter().filter(|e| matches!(e, Event::Lost { .. })).collect();
    let withdrawn = |address| Event::Lost { address, reason: LossReason::Withdrawn };
    assert_eq!(lost, [withdrawn(LEASED), withdrawn(OWN)]);
}

#[test]
fn without_a_router_the_old_network_is_believed() {
    let (_, state) = known(fast(Mode::Auto));
    let mut script = Script::remember(fast(Mode::Slaac), state);
    script.run_to(600_000);
    assert_eq!(script.addresses(), [OWN]);
    assert_eq!(script.client.current().routers.len(), 1);
}

#[test]
fn the_link_came_back() {
    let (mut script, _) = known(fast(Mode::Auto));
    script.events();
    script.nd.clear();
    script.client.restart(script.now);
    script.drain();
    assert_eq!(script.message(MessageType::Confirm).addresses(), [LEASED]);
    assert_eq!(script.solicitations().len(), 1);
    assert_eq!(script.events(), [], "everything is used meanwhile");
    script.advertise(ROUTER, &advertisement());
    script.run_to(script.ms() + 60_000);
    assert_eq!(script.addresses(), [LEASED, OWN]);
    assert_eq!(script.client.current().routers.len(), 1);
}

#[test]
fn a_wish_of_another_boot() {
    let mut script = Script::remember(no_check(Mode::Dhcp), Remembered::Addresses(vec![LEASED]));
    assert_eq!(script.message(MessageType::Solicit).addresses(), [LEASED]);
}

#[test]
fn another_mode_or_secret_takes_over_what_it_can() {
    let (_, state) = known(fast(Mode::Auto));
    let script = Script::remember(fast(Mode::Dhcp), state.clone());
    assert_eq!(script.addresses(), [LEASED]);
    let mut script = Script::remember(fast(Mode::Slaac), state.clone());
    assert_eq!(script.addresses(), [OWN]);
    assert_eq!(script.kinds(), []);
    let mut script = Script::remember(stable(Mode::Auto), state);
    assert_eq!(script.addresses(), [LEASED]);
    assert_eq!(script.kinds(), [], "there is no address to confirm from yet");
    script.run_to(25);
    assert_eq!(script.message(MessageType::Confirm).ms, 25);
    script.run_to(2000);
    assert_eq!(script.addresses().len(), 2);
    assert!(!script.addresses().contains(&OWN));
}

#[test]
fn a_link_that_comes_up_ends_the_wait() {
    let mut script = Script::start(no_check(Mode::Slaac));
    // Nobody is there: by now minutes pass between two questions.
    script.run_to(1_000_000);
    script.nd.clear();
    assert!(script.client.poll_timeout().is_some_and(|due| due > at(1_010_000)));
    script.client.link_up(script.now);
    script.run_to(script.ms() + 1000);
    assert_eq!(script.solicitations().len(), 1);
    script.advertise(ROUTER, &advertisement());
    assert_eq!(script.client.current().routers.len(), 1);
}

#[test]
fn a_lease_is_confirmed_when_the_link_comes_up() {
    let (mut script, _) = known(fast(Mode::Auto));
    script.events();
    script.client.link_up(script.now);
    script.run_to(script.ms() + 1000);
    assert_eq!(script.message(MessageType::Confirm).addresses(), [LEASED]);
    assert_eq!(script.events(), [], "everything is used meanwhile");
}
