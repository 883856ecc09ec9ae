//! NAKs: whose count, and what they do.

use super::*;

fn requesting() -> (Script, Sent) {
    let mut script = Script::start(no_check());
    let discover = script.message(MessageType::Discover);
    script.offer(&discover, SERVER, ADDRESS, 3600);
    let request = script.message(MessageType::Request);
    (script, request)
}

#[test]
fn of_the_chosen_server() {
    let (mut script, request) = requesting();
    script.nak(&request, SERVER);
    let discover = script.message(MessageType::Discover);
    assert_ne!(discover.message.xid, request.message.xid);
    assert_eq!(script.events(), [], "nothing was in use");
}

#[test]
fn of_a_server_that_was_not_chosen() {
    let (mut script, request) = requesting();
    script.nak(&request, SECOND);
    assert_eq!(script.client.state(), StateName::Requesting);
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert_eq!(script.client.state(), StateName::Bound);
}

#[test]
fn again_and_again() {
    let mut script = Script::start(no_check());
    let mut discovers = Vec::new();
    while script.ms() < 200_000 {
        let discover = script.message(MessageType::Discover);
        discovers.push(script.ms());
        script.offer(&discover, SERVER, ADDRESS, 3600);
        let request = script.message(MessageType::Request);
        script.nak(&request, SERVER);
        while script.sent.is_empty() {
            let due = script.client.poll_timeout().expect("goes on");
            script.run_to(u64::try_from(due.saturating_since(START).as_millis()).expect("short"));
        }
    }
    assert_eq!(discovers, [0, 0, 1000, 3000, 7000, 15_000, 31_000, 63_000, 127_000, 191_000]);
}

#[test]
fn of_the_lease_s_server_while_renewing() {
    let mut script = Script::bound(no_check(), 3600);
    script.run_to(1_800_000);
    let renew = script.message(MessageType::Request);
    script.nak(&renew, SECOND);
    assert_eq!(script.events(), [], "it was not asked");
    script.nak(&renew, SERVER);
    assert_eq!(script.events(), [lost(LossReason::Nak)]);
    assert_eq!(script.client.lease(), None);
    let discover = script.message(MessageType::Discover);
    assert_eq!(discover.address(code::REQUESTED_ADDRESS), None, "it was refused");
    // The address may well come back.
    script.offer(&discover, SERVER, ADDRESS, 3600);
    let request = script.message(MessageType::Request);
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert!(matches!(script.events()[..], [Event::Bound(_)]));
}

fn rebinding() -> (Script, Sent) {
    let mut script = Script::bound(no_check(), 3600);
    script.run_to(3_150_000);
    let rebind = script.sent.pop().expect("a request");
    script.sent.clear();
    assert_eq!(script.client.state(), StateName::Rebinding);
    (script, rebind)
}

#[test]
fn of_a_stranger_while_rebinding_an_ack_outweighs_it() {
    let (mut script, rebind) = rebinding();
    script.nak(&rebind, SECOND);
    assert_eq!(script.events(), []);
    script.run_to(script.ms() + 400);
    script.ack(&rebind, SERVER, ADDRESS, 3600);
    script.run_to(script.ms() + 10_000);
    assert!(matches!(script.events()[..], [Event::Renewed(_)]));
}

#[test]
fn of_a_stranger_while_rebinding_alone() {
    let (mut script, rebind) = rebinding();
    script.nak(&rebind, SECOND);
    script.run_to(script.ms() + 499);
    script.nak(&rebind, SECOND);
    assert_eq!(script.events(), []);
    script.run_to(script.ms() + 1);
    assert_eq!(script.events(), [lost(LossReason::Nak)]);
    assert_eq!(script.client.state(), StateName::Selecting);
}

#[test]
fn of_the_lease_s_server_while_rebinding() {
    let (mut script, rebind) = rebinding();
    script.nak(&rebind, SERVER);
    assert_eq!(script.events(), [lost(LossReason::Nak)]);
}

#[test]
fn of_servers_not_on_the_list_never() {
    let config = Config { servers: vec![SERVER], ..no_check() };
    let mut script = Script::remember(config, ADDRESS);
    let request = script.message(MessageType::Request);
    script.nak(&request, SECOND);
    script.run_to(600);
    assert_eq!(script.client.state(), StateName::Rebooting);
    script.nak(&request, SERVER);
    script.run_to(1200);
    assert_eq!(script.client.state(), StateName::Selecting);
}

#[test]
fn without_a_server_identifier_the_sender_counts() {
    let mut script = Script::bound(no_check(), 3600);
    script.run_to(1_800_000);
    let renew = script.message(MessageType::Request);
    let nak = Repr::from_client(MessageType::Nak, renew.message.xid, MAC);
    for (src, events) in [(SECOND, vec![]), (SERVER, vec![lost(LossReason::Nak)])] {
        script.client.handle_datagram(script.now, SocketAddrV4::new(src, 67), &nak.emit());
        assert_eq!(script.events(), events);
    }
}

#[test]
fn what_is_wrong_with_an_answer_is_known() {
    let mut script = Script::start(Config { servers: vec![SERVER], ..no_check() });
    assert_eq!(script.client.unusable(), None);
    let discover = script.message(MessageType::Discover);
    let mut anonymous = reply(MessageType::Offer, &discover, SERVER, ADDRESS, 3600);
    anonymous.options = anonymous.options.into_vec().into_iter().filter(|(code, _)| *code != 54).collect();
    script.receive(&anonymous);
    assert_eq!(script.client.unusable(), Some(Unusable::Anonymous { from: SERVER }));
    script.offer(&discover, SECOND, ADDRESS, 3600);
    assert_eq!(script.client.unusable(), Some(Unusable::NotAllowed { server: SECOND }));
    let address = Ipv4Addr::new(192, 0, 2, 255);
    script.offer(&discover, SERVER, address, 3600);
    assert_eq!(script.client.unusable(), Some(Unusable::NoAddress { server: SERVER, address }));
    script.offer(&discover, SERVER, ADDRESS, 3600);
    let request = script.message(MessageType::Request);
    script.ack(&request, SECOND, ADDRESS, 3600);
    assert_eq!(script.client.unusable(), Some(Unusable::Stranger { asked: SERVER, said: SECOND }));
    assert_eq!(script.client.state(), StateName::Requesting);
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert_eq!((script.client.unusable(), script.client.state()), (None, StateName::Bound));
}
