//! A lease's life: T1, T2, the end.

use super::*;

#[test]
fn renewal_by_unicast() {
    let mut script = Script::bound(no_check(), 3600);
    let t1 = script.client.lease().and_then(|l| l.t1).expect("T1");
    script.run_to(1_700_000);
    assert_eq!(script.kinds(), [], "nothing before T1");
    script.run_to(1_800_000);
    assert_eq!(script.client.state(), StateName::Renewing);
    assert!(script.client.wants_socket());
    let renew = script.message(MessageType::Request);
    assert_eq!((renew.src, renew.dst), (ADDRESS, SERVER));
    assert_eq!((renew.message.ciaddr, renew.message.broadcast, renew.message.secs), (ADDRESS, false, 0));
    assert_eq!(renew.address(code::REQUESTED_ADDRESS), None, "must not be there");
    assert_eq!(renew.address(code::SERVER_ID), None, "must not be there");
    script.ack(&renew, SERVER, ADDRESS, 3600);
    let [Event::Renewed(lease)] = &script.events()[..] else { panic!("renewed") };
    assert_eq!(lease.obtained, t1);
    assert_eq!(lease.expires, Some(t1 + Duration::from_hours(1)));
    assert_eq!(script.client.state(), StateName::Bound);
    assert!(!script.client.wants_socket());
}

#[test]
fn renewal_then_rebinding_then_the_end() {
    let mut script = Script::bound(no_check(), 3600);
    let (t2, end) = script.client.lease().map(|l| (l.t2, l.expires)).expect("a lease");
    script.run_to(3_050_000);
    let renewals = std::mem::take(&mut script.sent);
    assert!((3..=6).contains(&renewals.len()), "{}", renewals.len());
    assert!(renewals.iter().all(|sent| sent.dst == SERVER));
    let xids: std::collections::BTreeSet<_> = renewals.iter().map(|sent| sent.message.xid).collect();
    assert_eq!(xids.len(), renewals.len(), "each is asked anew, so that its lease counts from it");
    assert!(renewals.windows(2).all(|pair| pair[0].message.secs < pair[1].message.secs));

    script.run_to(3_599_999);
    assert!(t2 <= Some(script.now));
    assert_eq!(script.client.state(), StateName::Rebinding);
    let rebinds = std::mem::take(&mut script.sent);
    let rebinds: Vec<_> = rebinds.iter().filter(|sent| sent.dst == ALL).collect();
    assert!((3..=6).contains(&rebinds.len()), "{}", rebinds.len());
    let xids: std::collections::BTreeSet<_> = rebinds.iter().map(|sent| sent.message.xid).collect();
    assert_eq!(xids.len(), rebinds.len());
    assert!(rebinds.iter().all(|sent| sent.src == ADDRESS && sent.message.ciaddr == ADDRESS));
    assert!(rebinds.iter().all(|sent| sent.address(code::SERVER_ID).is_none()));
    assert!(rebinds.iter().all(|sent| sent.address(code::REQUESTED_ADDRESS).is_none()));
    assert_eq!(script.events(), []);

    assert_eq!(end, Some(at(3_600_000)));
    script.run_to(3_600_000);
    assert_eq!(script.events(), [lost(LossReason::Expired)]);
    assert_eq!(script.client.lease(), None);
    let discover = script.message(MessageType::Discover);
    assert_eq!(discover.address(code::REQUESTED_ADDRESS), Some(ADDRESS), "rather that one again");
}

#[test]
fn another_server_may_extend_it_when_all_are_asked() {
    let mut script = Script::bound(no_check(), 3600);
    script.run_to(3_150_000);
    let rebind = script.sent.pop().expect("a request");
    assert_eq!(rebind.dst, ALL);
    script.sent.clear();
    script.ack(&rebind, SECOND, ADDRESS, 3600);
    assert!(matches!(script.events()[..], [Event::Renewed(_)]));
    assert_eq!(script.client.lease().map(|l| l.server), Some(SECOND));
    script.client.renew(script.now);
    script.drain();
    assert_eq!(script.message(MessageType::Request).dst, SECOND);
}

#[test]
fn short_leases_get_several_tries() {
    for seconds in [4, 10, 20, 120] {
        let mut script = Script::bound(no_check(), seconds);
        script.run_to(u64::from(seconds) * 1000 - 1);
        let sent = std::mem::take(&mut script.sent);
        let unicast = sent.iter().filter(|sent| sent.dst == SERVER).count();
        assert!((2..=6).contains(&unicast), "{seconds} s: {unicast} renewals");
        let broadcast = sent.len() - unicast;
        assert!((1..=4).contains(&broadcast), "{seconds} s: {broadcast} rebindings");
        assert_eq!(script.events(), []);
        script.run_to(u64::from(seconds) * 1000);
        assert_eq!(script.events(), [lost(LossReason::Expired)]);
    }
}

#[test]
fn an_infinite_lease_is_left_alone() {
    let mut script = Script::bound(no_check(), u32::MAX);
    assert_eq!(script.client.poll_timeout(), None);
    assert_eq!(script.client.lease().map(|l| (l.t1, l.t2, l.expires)), Some((None, None, None)));
    // Unless somebody wants to.
    script.client.renew(script.now);
    script.drain();
    let renew = script.message(MessageType::Request);
    script.ack(&renew, SERVER, ADDRESS, 3600);
    assert!(script.client.lease().is_some_and(|l| l.expires.is_some()));
}

#[test]
fn an_early_renewal_gives_up_early() {
    let mut script = Script::bound(no_check(), 86_400);
    let t1 = script.client.lease().and_then(|l| l.t1);
    script.client.renew(script.now);
    script.drain();
    assert_eq!(script.client.state(), StateName::Renewing);
    script.run_to(60_000);
    assert_eq!(script.kinds(), [MessageType::Request; 3]);
    assert_eq!(script.client.state(), StateName::Bound);
    assert_eq!(script.client.poll_timeout(), t1);
    assert_eq!(script.events(), []);
}

#[test]
fn an_early_renewal_at_t1_becomes_an_ordinary_one() {
    let mut script = Script::bound(no_check(), 20);
    script.run_to(9_000);
    script.client.renew(script.now);
    script.drain();
    script.run_to(17_000);
    assert_eq!(script.client.state(), StateName::Renewing);
    assert!(script.sent.len() > 3);
    script.run_to(20_000);
    assert_eq!(script.events(), [lost(LossReason::Expired)]);
}

#[test]
fn a_new_host_name_is_told_at_once() {
    let mut script = Script::bound(no_check(), 3600);
    script.client.set_hostname(script.now, Some("web".to_owned()));
    script.drain();
    let renew = script.message(MessageType::Request);
    assert_eq!(renew.message.options.get(code::HOST_NAME), Some(&b"web"[..]));
    script.ack(&renew, SERVER, ADDRESS, 3600);
    assert!(matches!(script.events()[..], [Event::Renewed(_)]));
    script.client.set_hostname(script.now, Some("web".to_owned()));
    script.drain();
    assert_eq!(script.kinds(), [], "it is not new");
}

#[test]
fn a_host_name_that_comes_too_late_for_the_request_is_told_after_it() {
    let mut script = Script::start(Config::new(MAC));
    let discover = script.message(MessageType::Discover);
    script.offer(&discover, SERVER, ADDRESS, 3600);
    let request = script.message(MessageType::Request);
    script.client.set_hostname(script.now, Some("web".to_owned()));
    script.drain();
    assert_eq!(script.kinds(), []);
    script.ack(&request, SERVER, ADDRESS, 3600);
    script.run_to(30);
    assert!(matches!(script.events()[..], [Event::Bound(_)]));
    let renew = script.message(MessageType::Request);
    assert_eq!(renew.message.options.get(code::HOST_NAME), Some(&b"web"[..]));
}

#[test]
fn an_answer_after_the_end_is_too_late() {
    let mut script = Script::bound(no_check(), 60);
    script.run_to(55_000);
    let rebind = script.sent.pop().expect("a request");
    script.sent.clear();
    script.now = at(60_001);
    let mut ack = reply(MessageType::Ack, &rebind, SERVER, ADDRESS, 5);
    script.receive(&ack);
    assert_eq!(script.events(), [lost(LossReason::Expired)], "the lease in the answer is over as well");
    ack.xid ^= 1;
    script.receive(&ack);
    assert_eq!(script.client.lease(), None);
}

#[test]
fn an_ack_of_another_address_is_no_renewal() {
    let mut script = Script::bound(no_check(), 3600);
    script.client.renew(script.now);
    script.drain();
    let renew = script.message(MessageType::Request);
    script.ack(&renew, SERVER, ELSEWHERE, 3600);
    assert_eq!(script.events(), []);
    assert_eq!(script.client.state(), StateName::Renewing);
}

#[test]
fn release() {
    let mut script = Script::bound(no_check(), 3600);
    script.client.release(script.now);
    assert!(script.client.wants_socket(), "until it is sent");
    script.drain();
    let release = script.message(MessageType::Release);
    assert_eq!((release.src, release.dst, release.message.ciaddr), (ADDRESS, SERVER, ADDRESS));
    assert_eq!(release.address(code::SERVER_ID), Some(SERVER));
    assert_eq!(release.address(code::REQUESTED_ADDRESS), None);
    assert_eq!(script.client.state(), StateName::Stopped);
    assert_eq!((script.client.lease(), script.client.poll_timeout()), (None, None));
    assert!(!script.client.wants_socket());
    script.client.release(script.now);
    script.client.renew(script.now);
    script.drain();
    assert_eq!(script.kinds(), []);
    script.client.restart(script.now);
    script.drain();
    assert_eq!(script.kinds(), [MessageType::Discover]);
}

#[test]
fn a_host_name_that_the_next_request_carries_needs_no_renewal() {
    let mut script = Script::start(no_check());
    let discover = script.message(MessageType::Discover);
    script.offer(&discover, SERVER, ADDRESS, 3600);
    script.client.set_hostname(script.now, Some("web".to_owned()));
    script.run_to(6000);
    let discover = script.sent.pop().expect("it starts over");
    script.sent.clear();
    script.offer(&discover, SERVER, ADDRESS, 3600);
    let request = script.message(MessageType::Request);
    assert_eq!(request.message.options.get(code::HOST_NAME), Some(&b"web"[..]));
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert_eq!(script.kinds(), []);
}

#[test]
fn a_renewal_is_not_announced() {
    let mut script = Script::bound(Config::new(MAC), 3600);
    script.run_to(10_000);
    script.arps();
    script.client.renew(script.now);
    script.drain();
    let renew = script.message(MessageType::Request);
    script.ack(&renew, SERVER, ADDRESS, 3600);
    script.run_to(20_000);
    assert_eq!(script.arps(), []);
    assert!(!script.client.wants_socket());
}

#[test]
fn a_lease_counts_from_the_message_that_was_answered() {
    let mut script = Script::bound(no_check(), 3600);
    script.run_to(2_500_000);
    let first = script.sent.first().expect("a request").clone();
    let last = script.sent.last().expect("a request").clone();
    assert!(script.sent.len() > 1);
    let sent_at = u64::from(last.message.secs) - u64::from(first.message.secs);
    script.ack(&first, SERVER, ADDRESS, 3600);
    assert_eq!(script.events(), [], "too late: the question is another by now");
    script.ack(&last, SERVER, ADDRESS, 3600);
    let [Event::Renewed(lease)] = &script.events()[..] else { panic!("renewed") };
    let t1 = START + Duration::from_secs(1800 - 1800 / 32);
    assert!(lease.obtained >= t1 + Duration::from_secs(sent_at), "{lease:?}");
}
