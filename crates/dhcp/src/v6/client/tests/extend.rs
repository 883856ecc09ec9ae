//! More time for what is there, and its end.

use super::*;

#[test]
fn renews_with_its_server() {
    let mut script = Script::bound(fast(Mode::Dhcp), 3600, 7200);
    script.run_to(18_000);
    assert!(!script.client.wants_socket(), "between questions to routers that are not there");
    script.nd.clear();
    let t1 = script.client.lease().and_then(|lease| lease.t1).expect("T1");
    script.run_to(u64::try_from(t1.saturating_since(START).as_millis()).expect("soon") + 1);
    let renew = script.message(MessageType::Renew);
    assert!((1_740_000..=1_800_100).contains(&renew.ms), "T1: {}", renew.ms);
    assert!(script.client.wants_icmp(), "the server may look for us before it answers");
    assert_eq!(renew.message.options.duid(code::SERVER_ID), Some(server(1)));
    assert_eq!(renew.addresses(), [LEASED]);
    script.receive(&answer(MessageType::Reply, &renew, 2, &[(LEASED, 3600, 7200)]));
    assert_eq!(script.client.state(), StateName::Renewing, "another server was not asked");
    script.events();
    script.reply(&renew, &[(LEASED, 3600, 7200)]);
    let [Event::Renewed(state)] = &script.events()[..] else { panic!("renewed") };
    assert_eq!(state.addresses[0].valid_until, Some(t1 + Duration::from_hours(2)));
    assert_eq!(script.probes(LEASED), [0; 0], "it is in use, nobody asks about it again");
}

#[test]
fn renews_rebinds_and_loses() {
    let mut script = Script::bound(no_check(Mode::Dhcp), 3600, 7200);
    script.run_to(7_199_999);
    let sent = std::mem::take(&mut script.sent);
    let count = |kind| sent.iter().filter(|s| s.message.kind == kind).count();
    assert!(count(MessageType::Renew) >= 5 && count(MessageType::Rebind) >= 5, "{}", sent.len());
    assert_eq!(sent.len(), count(MessageType::Renew) + count(MessageType::Rebind));
    let first = sent.iter().find(|s| s.message.kind == MessageType::Rebind).expect("a Rebind");
    assert!((2_800_000..=2_880_100).contains(&first.ms), "four fifths: {}", first.ms);
    assert_eq!(first.message.options.get(code::SERVER_ID), None);
    assert!(script.client.current().addresses[0].deprecated);
    script.events();
    script.run_to(7_200_000);
    let events = script.events();
    assert_eq!(events[0], Event::Lost { address: LEASED, reason: LossReason::Expired });
    assert!(
        matches!(&events[1], Event::Changed(state) if state.addresses.is_empty() && state.lease.is_none())
    );
    assert_eq!(script.message(MessageType::Solicit).addresses(), [LEASED], "and requests it again");
}

#[test]
fn any_server_may_extend_when_rebinding() {
    let mut script = Script::bound(no_check(Mode::Dhcp), 3600, 7200);
    script.run_to(2_900_000);
    assert_eq!(script.client.state(), StateName::Rebinding);
    let rebind = script.sent.last().expect("a Rebind").clone();
    script.events();
    script.receive(&answer(MessageType::Reply, &rebind, 2, &[(LEASED, 3600, 7200)]));
    assert_eq!(script.client.state(), StateName::Bound);
    assert_eq!(script.client.lease().map(|lease| lease.server.clone()), Some(server(2)));
    assert!(matches!(script.events()[..], [Event::Renewed(_)]));
}

#[test]
fn a_server_that_forgot_is_asked_anew() {
    let mut script = Script::bound(no_check(Mode::Dhcp), 3600, 7200);
    script.run_to(1_810_000);
    let renew = script.sent.last().expect("a Renew").clone();
    script.sent.clear();
    script.receive(&refused(&renew, 1, status::NO_BINDING));
    let request = script.message(MessageType::Request);
    assert_eq!(request.addresses(), [LEASED]);
    assert_eq!(script.addresses(), [LEASED], "used meanwhile");
    script.reply(&request, &[(LEASED, 3600, 7200)]);
    assert_eq!(script.client.state(), StateName::Bound);
}

#[test]
fn another_address_replaces_the_first() {
    let mut script = Script::bound(no_check(Mode::Dhcp), 3600, 7200);
    script.run_to(1_810_000);
    let renew = script.sent.last().expect("a Renew").clone();
    script.events();
    script.reply(&renew, &[(LEASED, 0, 0), (SECOND, 3600, 7200)]);
    assert_eq!(script.addresses(), [SECOND]);
    assert_eq!(script.events()[0], Event::Lost { address: LEASED, reason: LossReason::Withdrawn });
}

#[test]
fn what_an_answer_does_not_mention_lives_on() {
    let mut script = Script::bound(no_check(Mode::Dhcp), 3600, 7200);
    script.run_to(1_810_000);
    let renew = script.sent.last().expect("a Renew").clone();
    script.reply(&renew, &[(SECOND, 3600, 7200)]);
    assert_eq!(script.addresses(), [SECOND, LEASED]);
    script.sent.clear();
    let t1 = script.client.lease().and_then(|lease| lease.t1).expect("T1");
    script.run_to(u64::try_from(t1.saturating_since(START).as_millis()).expect("soon") + 1);
    assert_eq!(script.message(MessageType::Renew).addresses(), [SECOND, LEASED]);
    script.run_to(7_210_000);
    assert_eq!(script.addresses(), [SECOND]);
}

#[test]
fn everything_taken_away() {
    let mut script = Script::bound(no_check(Mode::Dhcp), 3600, 7200);
    script.run_to(1_810_000);
    let renew = script.sent.last().expect("a Renew").clone();
    script.sent.clear();
    script.reply(&renew, &[(LEASED, 0, 0)]);
    assert_eq!(script.addresses(), [ANY; 0]);
    assert_eq!(script.message(MessageType::Solicit).addresses(), [ANY; 0], "not asked for again");
}

#[test]
fn an_endless_lease() {
    let mut script = Script::bound(no_check(Mode::Dhcp), u32::MAX, u32::MAX);
    script.run_to(500_000_000);
    assert_eq!(script.kinds(), []);
    assert_eq!(script.addresses(), [LEASED]);
    let state = script.client.current();
    assert_eq!((state.addresses[0].valid_until, state.addresses[0].deprecated), (None, false));
}

#[test]
fn a_lease_of_seconds() {
    let mut script = Script::bound(no_check(Mode::Dhcp), 3, 4);
    for _ in 0..20 {
        while script.sent.is_empty() {
            let due = script.client.poll_timeout().expect("goes on");
            script.run_to(u64::try_from(due.saturating_since(START).as_millis()).expect("soon") + 1);
        }
        let renew = script.message(MessageType::Renew);
        script.reply(&renew, &[(LEASED, 3, 4)]);
        assert_eq!(script.addresses(), [LEASED]);
    }
    assert!(script.ms() > 25_000, "not more often than needed: {}", script.ms());
    script.run_to(script.ms() + 3990);
    assert!(script.kinds().len() >= 4, "several tries in any time");
}
