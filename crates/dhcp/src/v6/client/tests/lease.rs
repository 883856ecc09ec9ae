//! What DHCPv6 servers say.

use super::*;

#[test]
fn two_messages() {
    let mut script = Script::start(fast(Mode::Auto));
    script.run_to(30);
    script.advertise(ROUTER, &managed());
    assert_eq!(script.client.state(), StateName::Soliciting);
    let solicit = script.message(MessageType::Solicit);
    let options = &solicit.message.options;
    assert_eq!(options.u16(code::ELAPSED_TIME), Some(0));
    assert_eq!(options.get(code::RAPID_COMMIT), Some(&[][..]));
    assert_eq!(options.get(code::OPTION_REQUEST), Some(&[0, 23, 0, 24, 0, 82, 0, 83][..]));
    assert_eq!(solicit.addresses(), [ANY; 0]);
    script.run_to(40);
    script.events();
    script.reply(&solicit, &[(LEASED, 3600, 7200)]);
    assert_eq!(script.client.state(), StateName::Bound);
    assert!(!script.client.is_settled(), "not known to be free");
    script.run_to(65);
    let state = script.changed();
    let own = state.addresses[0];
    assert_eq!((own.net.addr(), own.net.prefix_len(), own.origin), (LEASED, 64, Origin::Dhcp));
    assert_eq!(own.valid_until, Some(at(7_200_030)), "from the question on, not from the answer");
    assert_eq!(state.dns.len(), 1, "told twice, there once");
    assert_eq!(state.dns[0].origin, Origin::Dhcp);
    assert!(script.client.is_settled());
    assert_eq!(state.lease.as_ref(), script.client.lease());
    script.run_to(5000);
    assert!(!script.client.wants_socket());
}

#[test]
fn four_messages() {
    let mut script = Script::start(Config { rapid_commit: false, ..fast(Mode::Dhcp) });
    script.run_to(30);
    let solicit = script.message(MessageType::Solicit);
    assert_eq!(solicit.message.options.get(code::RAPID_COMMIT), None);
    script.run_to(40);
    script.receive(&answer(MessageType::Advertise, &solicit, 1, &[(LEASED, 3600, 7200)]));
    script.run_to(50);
    script.receive(&answer(MessageType::Advertise, &solicit, 2, &[(SECOND, 3600, 7200)]));
    script.run_to(239);
    assert_eq!(script.kinds(), [], "others may be better");
    script.run_to(240);
    let request = script.message(MessageType::Request);
    assert_eq!(request.message.options.duid(code::SERVER_ID), Some(server(1)), "of equals the first");
    assert_eq!(request.addresses(), [LEASED]);
    assert_ne!(request.message.xid, solicit.message.xid);
    script.run_to(270);
    assert_eq!(script.probes(LEASED), [0; 0], "others may have been offered it as well");
    script.receive(&answer(MessageType::Reply, &request, 2, &[(SECOND, 3600, 7200)]));
    assert_eq!(script.client.state(), StateName::Requesting, "not the one that was asked");
    script.reply(&request, &[(LEASED, 3600, 7200)]);
    assert_eq!(script.client.state(), StateName::Bound);
    script.run_to(300);
    assert_eq!(script.probes(LEASED), [270, 285]);
    assert_eq!(
        script.client.current().addresses[0].net.to_string(),
        "2001:db8:0:1::10/128",
        "no router said more"
    );
}

#[test]
fn the_preferred_server_is_chosen() {
    let mut script = Script::start(no_check(Mode::Dhcp));
    let solicit = script.message(MessageType::Solicit);
    script.receive(&answer(MessageType::Advertise, &solicit, 1, &[(LEASED, 3600, 7200)]));
    let mut better = answer(MessageType::Advertise, &solicit, 2, &[(SECOND, 3600, 7200)]);
    better.options.push(code::PREFERENCE, &[9]);
    script.receive(&better);
    script.run_to(200);
    assert_eq!(script.message(MessageType::Request).addresses(), [SECOND]);

    let mut script = Script::start(no_check(Mode::Dhcp));
    let solicit = script.message(MessageType::Solicit);
    script.receive(&answer(MessageType::Advertise, &solicit, 1, &[(LEASED, 3600, 7200)]));
    let mut best = answer(MessageType::Advertise, &solicit, 2, &[(SECOND, 3600, 7200)]);
    best.options.push(code::PREFERENCE, &[255]);
    script.receive(&best);
    assert_eq!(script.message(MessageType::Request).addresses(), [SECOND], "at once");
}

#[test]
fn an_offer_needs_an_address() {
    let mut script = Script::start(no_check(Mode::Dhcp));
    let solicit = script.message(MessageType::Solicit);
    let kind = MessageType::Advertise;
    script.receive(&with_status(kind, &solicit, 1, status::NO_ADDRESSES));
    script.receive(&answer(kind, &solicit, 1, &[]));
    for bad in [ANY, Ipv6Addr::LOCALHOST, ipv6::ALL_NODES, ROUTER] {
        script.receive(&answer(kind, &solicit, 1, &[(bad, 3600, 7200)]));
    }
    script.receive(&answer(kind, &solicit, 1, &[(LEASED, 7201, 7200)]));
    script.receive(&answer(kind, &solicit, 1, &[(LEASED, 0, 0)]));
    script.run_to(300);
    assert_eq!((script.kinds(), script.client.state()), (vec![], StateName::Soliciting));
    script.receive(&answer(kind, &solicit, 1, &[(ANY, 1, 2), (LEASED, 3600, 7200), (LEASED, 1, 2)]));
    script.run_to(500);
    assert_eq!(script.message(MessageType::Request).addresses(), [LEASED]);
}

#[test]
fn answers_to_others_are_nothing() {
    let mut script = Script::start(no_check(Mode::Dhcp));
    let solicit = script.message(MessageType::Solicit);
    let good = answer(MessageType::Reply, &solicit, 1, &[(LEASED, 3600, 7200)]);
    let without = |code: u16| {
        let options = good.options.iter().filter(|(c, _)| *c != code).map(|(c, v)| (c, v.to_vec()));
        dhcpv6::Message { options: options.collect(), ..good.clone() }
    };
    let mut bad = vec![without(code::CLIENT_ID), without(code::SERVER_ID), without(code::RAPID_COMMIT)];
    bad.push(dhcpv6::Message { xid: [0, 0, 0], ..good.clone() });
    bad.push(dhcpv6::Message { kind: MessageType::Request, ..good.clone() });
    let mut to_other = without(code::CLIENT_ID);
    to_other.options.push(code::CLIENT_ID, Duid::from_mac(OTHER).as_bytes());
    bad.push(to_other);
    let mut other_association = without(code::IA_NA);
    let mut association = good.options.associations().next().expect("an association");
    association.iaid = [9; 4];
    other_association.options.push(code::IA_NA, &association.value());
    bad.push(other_association);
    for message in &bad {
        script.receive(message);
        assert_eq!(script.client.state(), StateName::Soliciting, "{message:?}");
    }
    script.client.handle_dhcp(script.now, ROUTER, b"");
    script.client.handle_dhcp(script.now, ROUTER, &good.emit()[..20]);
    script.receive(&good);
    script.receive(&good);
    assert_eq!(script.client.state(), StateName::Bound);
    assert_eq!(script.kinds(), []);
}

#[test]
fn says_who_it_is() {
    let config = Config {
        hostname: Some("web".to_owned()),
        user_class: Some("lab".to_owned()),
        duid: Duid::from_mac(MAC),
        ..no_check(Mode::Dhcp)
    };
    let mut script = Script::start(config.clone());
    let solicit = script.message(MessageType::Solicit);
    assert_eq!(solicit.message.options.get(code::CLIENT_FQDN), Some(&b"\x01\x03web"[..]));
    assert_eq!(solicit.message.options.get(code::USER_CLASS), Some(&b"\x00\x03lab"[..]));
    let full = Config { hostname: Some("web.lan".to_owned()), ..config.clone() };
    let solicit = Script::start(full).message(MessageType::Solicit);
    assert_eq!(solicit.message.options.get(code::CLIENT_FQDN), Some(&b"\x01\x03web\x03lan\0"[..]));
    let bad = Config { hostname: Some("web\nx".to_owned()), ..config };
    let solicit = Script::start(bad).message(MessageType::Solicit);
    assert_eq!(solicit.message.options.get(code::CLIENT_FQDN), None);
}

#[test]
fn a_new_host_name_is_told_at_once() {
    let mut script = Script::bound(no_check(Mode::Dhcp), 3600, 7200);
    script.client.set_hostname(script.now, Some("web".to_owned()));
    script.drain();
    let renew = script.message(MessageType::Renew);
    assert_eq!(renew.message.options.get(code::CLIENT_FQDN), Some(&b"\x01\x03web"[..]));
    script.client.set_hostname(script.now, Some("web".to_owned()));
    script.drain();
    assert_eq!(script.kinds(), []);
    script.run_to(script.ms() + 60_000);
    assert_eq!(script.kinds().len(), 2, "three in all, then T1 is waited for");
    assert_eq!(script.client.state(), StateName::Bound);
}

#[test]
fn silence_is_met_with_growing_patience() {
    let mut script = Script::start(no_check(Mode::Dhcp));
    script.run_to(40_000_000);
    let sent = std::mem::take(&mut script.sent);
    let xids: std::collections::BTreeSet<_> = sent.iter().map(|s| s.message.xid).collect();
    assert_eq!(xids.len(), 1, "one transaction (RFC 9915 section 16.1)");
    let gaps: Vec<_> = sent.windows(2).map(|pair| pair[1].ms - pair[0].ms).collect();
    let mut expected = 1000;
    for gap in &gaps[..8] {
        assert!(gap.abs_diff(expected) <= expected / 10 + 1, "{gaps:?}");
        expected = gap * 2;
    }
    assert!(gaps[15..].iter().all(|gap| gap.abs_diff(3_600_000) <= 360_001), "{gaps:?}");
    assert_eq!(sent[3].message.options.u16(code::ELAPSED_TIME).map(u64::from), Some(sent[3].ms / 10));
    assert_eq!(sent.last().and_then(|s| s.message.options.u16(code::ELAPSED_TIME)), Some(u16::MAX));
}

#[test]
fn servers_can_slow_it_down() {
    let mut script = Script::start(no_check(Mode::Dhcp));
    let solicit = script.message(MessageType::Solicit);
    let mut no = with_status(MessageType::Advertise, &solicit, 1, status::NO_ADDRESSES);
    no.options.push(code::SOL_MAX_RT, &60_u32.to_be_bytes());
    script.receive(&no);
    // It counts from the next question on; this one goes on as it began.
    script.client.restart(script.now);
    script.drain();
    script.run_to(1_000_000);
    let times = script.times();
    let last: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).rev().take(5).collect();
    assert!(last.iter().all(|gap| gap.abs_diff(60_000) <= 6001), "{last:?}");
}

#[test]
fn a_late_answer_does_not_make_a_long_past() {
    let mut script = Script::start(no_check(Mode::Dhcp));
    script.run_to(100_000);
    let last = script.sent.last().expect("a Solicit").clone();
    script.reply(&last, &[(LEASED, 50, 60)]);
    let state = script.client.current();
    let until = state.addresses[0].valid_until.expect("an end");
    assert!(
        until <= at(160_000) && until >= at(last.ms + 60_000),
        "from a question that can have been answered"
    );
}

#[test]
fn a_request_without_answer_starts_over() {
    let mut script = Script::start(no_check(Mode::Dhcp));
    let solicit = script.message(MessageType::Solicit);
    script.receive(&answer(MessageType::Advertise, &solicit, 1, &[(LEASED, 3600, 7200)]));
    script.run_to(30_000);
    let kinds = script.kinds();
    assert_eq!(kinds[..5], [[MessageType::Request; 4].as_slice(), &[MessageType::Solicit]].concat());
}

#[test]
fn refusals_of_a_request() {
    for code in [status::NO_ADDRESSES, status::NOT_ON_LINK, status::NO_BINDING] {
        let mut script = Script::start(no_check(Mode::Dhcp));
        let mut times = Vec::new();
        for _ in 0..4 {
            while script.sent.is_empty() {
                let due = script.client.poll_timeout().expect("goes on");
                script.run_to(u64::try_from(due.saturating_since(START).as_millis()).expect("soon") + 1);
            }
            let solicit = script.message(MessageType::Solicit);
            times.push(solicit.ms / 1000);
            let mut offer = answer(MessageType::Advertise, &solicit, 1, &[(LEASED, 3600, 7200)]);
            offer.options.push(code::PREFERENCE, &[255]);
            script.receive(&offer);
            let request = script.message(MessageType::Request);
            script.receive(&refused(&request, 1, code));
        }
        assert_eq!(times, [0, 0, 1, 3], "at once, then with growing pauses");
    }
}

#[test]
fn no_router_says_anything() {
    let mut script = Script::start(no_check(Mode::Auto));
    script.run_to(1499);
    assert_eq!(script.kinds(), []);
    script.run_to(1500);
    let solicit = script.message(MessageType::Solicit);
    script.reply(&solicit, &[(LEASED, 3600, 7200)]);
    assert_eq!(script.addresses(), [LEASED]);
    assert!(script.client.is_settled());
    script.advertise(ROUTER, &advertisement());
    assert_eq!(script.client.state(), StateName::Bound, "what is there stays");
    assert_eq!(script.addresses(), [LEASED, OWN]);
    assert_eq!(
        script.client.current().addresses[0].net.prefix_len(),
        128,
        "an address in use is not touched"
    );
}

#[test]
fn a_late_router_without_flag_m() {
    let mut script = Script::start(no_check(Mode::Auto));
    script.run_to(2000);
    script.message(MessageType::Solicit);
    script.advertise(ROUTER, &advertisement());
    assert_eq!(script.client.state(), StateName::Off);
    script.run_to(100_000);
    assert_eq!(script.kinds(), []);
    assert!(script.client.is_settled());
    script.advertise(ROUTER2, &managed());
    assert_eq!(script.kinds(), [MessageType::Solicit]);
    script.advertise(ROUTER, &advertisement());
    assert_eq!(script.client.state(), StateName::Soliciting, "one router that knows is enough");
}

#[test]
fn release() {
    let mut script = Script::bound(no_check(Mode::Dhcp), 3600, 7200);
    script.advertise(ROUTER, &managed());
    script.events();
    script.client.release(script.now);
    script.drain();
    assert_eq!(script.client.state(), StateName::Releasing);
    assert_eq!(script.client.current(), &State6::default());
    assert_eq!(script.events(), []);
    let release = script.message(MessageType::Release);
    assert_eq!(release.message.options.duid(code::SERVER_ID), Some(server(1)));
    assert_eq!(release.addresses(), [LEASED]);
    script.advertise(ROUTER, &advertisement());
    assert_eq!(script.client.current(), &State6::default());
    let find = Message::NeighbourSolicitation { target: OWN_LINK, source_mac: Some(OTHER), nonce: None };
    script.nd.clear();
    script.hear(ROUTER, ipv6::solicited_node(OWN_LINK), &find);
    assert_eq!(script.nd().len(), 1, "the server looks for us before it answers");
    script.receive(&with_status(MessageType::Reply, &release, 1, status::SUCCESS));
    assert_eq!(script.client.state(), StateName::Stopped);
    assert_eq!((script.client.poll_timeout(), script.client.wants_socket()), (None, false));

    let mut script = Script::bound(no_check(Mode::Dhcp), 3600, 7200);
    script.client.release(script.now);
    script.run_to(100_000);
    assert_eq!(script.kinds(), [MessageType::Release; 4], "and then it is enough");
    assert_eq!(script.client.state(), StateName::Stopped);

    let mut script = Script::start(no_check(Mode::Dhcp));
    script.message(MessageType::Solicit);
    script.client.release(script.now);
    script.drain();
    assert_eq!((script.kinds(), script.client.state()), (vec![], StateName::Stopped));
    script.client.restart(script.now);
    script.drain();
    assert_eq!(script.kinds(), [MessageType::Solicit]);
}

#[test]
fn a_request_under_way_is_given_back_too() {
    let mut script = Script::start(no_check(Mode::Dhcp));
    let solicit = script.message(MessageType::Solicit);
    let mut offer = answer(MessageType::Advertise, &solicit, 1, &[(LEASED, 3600, 7200)]);
    offer.options.push(code::PREFERENCE, &[255]);
    script.receive(&offer);
    script.message(MessageType::Request);
    script.client.release(script.now);
    script.drain();
    assert_eq!(script.message(MessageType::Release).addresses(), [LEASED]);
}
