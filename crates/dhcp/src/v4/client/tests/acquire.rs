//! From nothing to a lease.

use super::*;

#[test]
fn four_messages() {
    let mut script = Script::start(no_check());
    assert_eq!(script.client.state(), StateName::Selecting);
    let discover = script.message(MessageType::Discover);
    assert_eq!((discover.src, discover.dst), (ANY, ALL));
    assert_eq!((discover.message.secs, discover.message.broadcast), (0, true));
    assert_eq!(discover.address(code::REQUESTED_ADDRESS), None);
    assert_eq!(discover.address(code::SERVER_ID), None);
    let asked = discover.message.options.get(code::PARAMETER_LIST).expect("a list");
    assert_eq!(asked[0], code::CLASSLESS_ROUTES, "RFC 3442: before routers");
    assert!(
        discover.message.options.u16(code::MAX_MESSAGE_SIZE).is_some_and(|size| (576..=1500).contains(&size))
    );

    script.offer(&discover, SERVER, ADDRESS, 3600);
    assert_eq!(script.client.state(), StateName::Requesting);
    let request = script.message(MessageType::Request);
    assert_eq!((request.src, request.dst), (ANY, ALL));
    assert_eq!(request.message.xid, discover.message.xid);
    assert_eq!(request.message.ciaddr, ANY);
    assert_eq!(request.address(code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(request.address(code::SERVER_ID), Some(SERVER));

    script.run_to(200);
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert_eq!(script.client.state(), StateName::Bound);
    let [Event::Bound(lease)] = &script.events()[..] else { panic!("bound") };
    assert_eq!((lease.address, lease.prefix_len, lease.server), (ADDRESS, 24, SERVER));
    assert_eq!(lease.expires, Some(at(3_600_000)), "from the request on, not from the answer");
    assert_eq!(lease.options.gateway(), Some(SERVER));
    assert_eq!(script.client.lease(), Some(lease));
    assert!(!script.client.wants_socket(), "an idle lease needs nothing");
    assert_eq!(script.client.poll_timeout(), lease.t1);
}

#[test]
fn says_who_it_is_in_every_message() {
    let mut config = no_check();
    config.client_id = crate::v4::ClientId::opaque("web").ok();
    config.hostname = Some("web-1".to_owned());
    config.vendor_class = Some("landline".to_owned());
    config.user_class = Some("lab".to_owned());
    let id = config.client_id.clone().expect("an identifier");
    let mut script = Script::start(config);
    let discover = script.message(MessageType::Discover);
    script.offer(&discover, SERVER, ADDRESS, 3600);
    let take = script.message(MessageType::Request);
    script.ack(&take, SERVER, ADDRESS, 3600);
    script.run_to(1_800_000);
    let renew = script.message(MessageType::Request);
    script.client.release(script.now);
    script.drain();
    let release = script.message(MessageType::Release);
    for sent in [&discover, &take, &renew, &release] {
        assert_eq!(sent.message.options.get(code::CLIENT_ID), Some(id.as_bytes()));
        assert_eq!(sent.message.mac, MAC);
    }
    for sent in [&discover, &take, &renew] {
        assert_eq!(sent.message.options.get(code::HOST_NAME), Some(&b"web-1"[..]));
        assert_eq!(sent.message.options.get(code::VENDOR_CLASS), Some(&b"landline"[..]));
        assert_eq!(sent.message.options.get(code::USER_CLASS), Some(&b"\x03lab"[..]));
    }
}

#[test]
fn a_host_name_that_is_none_is_not_sent() {
    let mut config = no_check();
    config.hostname = Some("web\nscript /tmp/x".to_owned());
    let discover = Script::start(config).message(MessageType::Discover);
    assert_eq!(discover.message.options.get(code::HOST_NAME), None);
}

#[test]
fn a_client_fqdn_takes_the_place_of_the_host_name() {
    let mut config = no_check();
    config.hostname = Some("web".to_owned());
    config.fqdn = Some(crate::v4::Fqdn { domain: Some("lab.test".to_owned()) });
    let mut script = Script::start(config);
    let discover = script.message(MessageType::Discover);
    script.offer(&discover, SERVER, ADDRESS, 3600);
    let take = script.message(MessageType::Request);
    script.ack(&take, SERVER, ADDRESS, 3600);
    script.client.set_hostname(script.now, Some("db".to_owned()));
    script.drain();
    let renew = script.message(MessageType::Request);
    for (sent, name) in [(&discover, &b"\x03web"[..]), (&take, b"\x03web"), (&renew, b"\x02db")] {
        let value = [b"\x05\0\0", name, b"\x03lab\x04test\0"].concat();
        assert_eq!(sent.message.options.get(code::CLIENT_FQDN), Some(&*value));
        assert_eq!(sent.message.options.get(code::HOST_NAME), None);
    }
    let nameless = Config { fqdn: Some(crate::v4::Fqdn::default()), ..no_check() };
    let discover = Script::start(nameless).message(MessageType::Discover);
    assert_eq!(discover.message.options.get(code::CLIENT_FQDN), None);
}

#[test]
fn no_client_id_when_there_is_none() {
    let mut config = no_check();
    config.client_id = None;
    config.broadcast = false;
    config.requested = Some(ELSEWHERE);
    let discover = Script::start(config).message(MessageType::Discover);
    assert_eq!(discover.message.options.get(code::CLIENT_ID), None);
    assert!(!discover.message.broadcast);
    assert_eq!(discover.address(code::REQUESTED_ADDRESS), Some(ELSEWHERE));
}

#[test]
fn silence_is_met_with_growing_patience() {
    let mut script = Script::start(no_check());
    let first = script.message(MessageType::Discover);
    let mut times = Vec::new();
    let mut xids = vec![first.message.xid];
    while script.ms() < 400_000 {
        let due = script.client.poll_timeout().expect("never gives up");
        script.sleep_to(u64::try_from(due.saturating_since(START).as_millis()).expect("short") + 1);
        let discover = script.message(MessageType::Discover);
        assert_eq!(u64::from(discover.message.secs), script.ms() / 1000);
        times.push(script.ms());
        xids.push(discover.message.xid);
    }
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((750..=1252).contains(&times[0]), "{times:?}");
    assert!(times[2] < 10_000, "three more tries while Docker waits: {times:?}");
    for (gap, expected) in gaps.iter().zip([2000, 4000, 8000, 16_000, 32_000, 64_000, 64_000, 64_000]) {
        assert!(gap.abs_diff(expected) <= 1002, "{gaps:?}");
    }
    assert_eq!(xids[0], xids[2], "an early answer may be late");
    let late: std::collections::BTreeSet<_> = xids[3..].iter().collect();
    assert_eq!(late.len(), xids.len() - 3);
}

#[test]
fn an_answer_to_an_earlier_discover_counts() {
    let mut script = Script::start(no_check());
    let discover = script.message(MessageType::Discover);
    script.run_to(5000);
    let again = script.sent.pop().expect("a discover");
    script.sent.clear();
    assert!((2..=3).contains(&again.message.secs));
    script.offer(&discover, SERVER, ADDRESS, 60);
    let request = script.message(MessageType::Request);
    assert_eq!(request.message.secs, again.message.secs, "RFC 2131 section 4.4.1");
}

#[test]
fn a_request_without_answer_starts_over() {
    let mut script = Script::start(no_check());
    let discover = script.message(MessageType::Discover);
    script.offer(&discover, SERVER, ADDRESS, 60);
    let request = script.message(MessageType::Request);
    script.run_to(5999);
    assert_eq!(script.kinds(), [MessageType::Request; 2]);
    script.run_to(6000);
    let discover = script.message(MessageType::Discover);
    assert_ne!(discover.message.xid, request.message.xid);
    script.ack(&request, SERVER, ADDRESS, 60);
    assert_eq!(script.client.state(), StateName::Selecting, "too late");
    // The next time it waits before it starts over.
    script.offer(&discover, SERVER, ADDRESS, 60);
    script.run_to(12_500);
    assert_eq!(script.client.state(), StateName::Init);
    assert!(!script.client.wants_socket());
    script.run_to(13_000);
    assert_eq!(script.client.state(), StateName::Selecting);
}

#[test]
fn the_lease_counts_from_the_first_request() {
    let mut script = Script::start(no_check());
    let discover = script.message(MessageType::Discover);
    script.offer(&discover, SERVER, ADDRESS, 60);
    script.run_to(2000);
    let again = script.sent.last().expect("a request").clone();
    script.ack(&again, SERVER, ADDRESS, 60);
    assert_eq!(
        script.client.lease().and_then(|l| l.expires),
        Some(at(60_000)),
        "the server may have heard the first"
    );
}

#[test]
fn the_first_good_offer_is_taken() {
    let mut script = Script::start(no_check());
    let discover = script.message(MessageType::Discover);
    let bad_address = reply(MessageType::Offer, &discover, SECOND, Ipv4Addr::LOCALHOST, 60);
    script.receive(&bad_address);
    let mut no_server = reply(MessageType::Offer, &discover, SECOND, ELSEWHERE, 60);
    no_server.options =
        no_server.options.iter().filter(|(c, _)| *c != 54).map(|(c, v)| (c, v.to_vec())).collect();
    script.receive(&no_server);
    assert_eq!(script.client.state(), StateName::Selecting);
    script.offer(&discover, SERVER, ADDRESS, 60);
    script.offer(&discover, SECOND, ELSEWHERE, 60);
    let request = script.message(MessageType::Request);
    assert_eq!(request.address(code::SERVER_ID), Some(SERVER));
}

#[test]
fn only_allowed_servers() {
    let config = Config { servers: vec![SECOND], ..no_check() };
    let mut script = Script::start(config);
    let discover = script.message(MessageType::Discover);
    script.offer(&discover, SERVER, ADDRESS, 60);
    assert_eq!(script.client.state(), StateName::Selecting);
    script.offer(&discover, SECOND, ELSEWHERE, 60);
    let request = script.message(MessageType::Request);
    script.ack(&request, SECOND, ELSEWHERE, 60);
    assert_eq!(script.client.lease().map(|l| l.address), Some(ELSEWHERE));
}

#[test]
fn rapid_commit() {
    let config = Config { rapid_commit: true, ..no_check() };
    let mut script = Script::start(config.clone());
    let discover = script.message(MessageType::Discover);
    assert_eq!(discover.message.options.get(code::RAPID_COMMIT), Some(&[][..]));
    script.ack(&discover, SERVER, ADDRESS, 60);
    assert_eq!(script.client.state(), StateName::Selecting, "an ACK without the option is nobody's answer");
    let mut ack = reply(MessageType::Ack, &discover, SERVER, ADDRESS, 60);
    ack.options.append(code::RAPID_COMMIT, &[]);
    script.receive(&ack);
    assert_eq!(script.client.state(), StateName::Bound);

    let mut script = Script::start(no_check());
    let discover = script.message(MessageType::Discover);
    ack.xid = discover.message.xid;
    script.receive(&ack);
    assert_eq!(script.client.state(), StateName::Selecting, "not asked for");
}

#[test]
fn answers_to_others_are_nothing() {
    let mut script = Script::start(no_check());
    let discover = script.message(MessageType::Discover);
    let good = reply(MessageType::Offer, &discover, SERVER, ADDRESS, 60);
    let mut bad = vec![good.clone(); 4];
    bad[0].xid ^= 1;
    bad[1].mac = OTHER;
    bad[2].options.append(code::CLIENT_ID, b"\0somebody");
    bad[3].kind = MessageType::Ack;
    for reply in &bad {
        script.receive(reply);
        assert_eq!(script.client.state(), StateName::Selecting);
    }
    script.client.handle_datagram(script.now, SocketAddrV4::new(SERVER, 67), b"");
    script.client.handle_datagram(script.now, SocketAddrV4::new(SERVER, 67), &good.emit()[..239]);
    assert_eq!(script.kinds(), []);
    script.receive(&good);
    assert_eq!(script.client.state(), StateName::Requesting);
}

#[test]
fn the_ack_must_be_of_what_was_chosen() {
    let mut script = Script::start(no_check());
    let discover = script.message(MessageType::Discover);
    script.offer(&discover, SERVER, ADDRESS, 60);
    let request = script.message(MessageType::Request);
    script.ack(&request, SECOND, ADDRESS, 60);
    script.ack(&request, SERVER, ELSEWHERE, 60);
    script.ack(&request, SERVER, ADDRESS, 0);
    assert_eq!(script.client.state(), StateName::Requesting);
    script.ack(&request, SERVER, ADDRESS, 60);
    script.ack(&request, SERVER, ADDRESS, 60);
    assert!(matches!(script.events()[..], [Event::Bound(_)]), "and a duplicate is nothing");
}

#[test]
fn release_while_asking_gives_back_what_may_have_been_granted() {
    let mut script = Script::start(no_check());
    let discover = script.message(MessageType::Discover);
    script.offer(&discover, SERVER, ADDRESS, 60);
    script.message(MessageType::Request);
    script.client.release(script.now);
    script.drain();
    let release = script.message(MessageType::Release);
    assert_eq!((release.dst, release.message.ciaddr), (SERVER, ADDRESS));
    assert_eq!(script.client.state(), StateName::Stopped);

    let mut script = Script::start(no_check());
    script.message(MessageType::Discover);
    script.client.release(script.now);
    script.drain();
    assert_eq!(script.kinds(), []);
    assert_eq!(script.client.poll_timeout(), None);
}

#[test]
fn asking_for_an_offer_is_a_new_question() {
    let mut script = Script::start(no_check());
    script.run_to(10_000);
    let discover = script.sent.pop().expect("a discover");
    script.sent.clear();
    script.offer(&discover, SERVER, ADDRESS, 60);
    let request = script.message(MessageType::Request);
    script.run_to(13_500);
    assert_eq!(script.sent.len(), 2, "with its own patience");
    script.ack(&request, SERVER, ADDRESS, 60);
    assert_eq!(script.client.lease().and_then(|l| l.expires), Some(at(70_000)), "and its own time");
}
