//! Servers that make clients talk.

use super::*;

/// What a server says to the n-th REQUEST.
type Answers = fn(u32) -> MessageType;

/// Ten minutes with a server that answers everything at once, with leases of a second; how many messages the client sent,
/// and how many events it had.
fn ten_minutes(config: Config, answers: Answers) -> (usize, usize) {
    const END: u64 = 600_000;
    let mut script = Script::start(config);
    let (mut messages, mut events, mut requests) = (0, 0, 0);
    while script.ms() < END {
        let sent = std::mem::take(&mut script.sent);
        messages += sent.len();
        for message in &sent {
            let kind = match message.message.kind {
                MessageType::Discover => MessageType::Offer,
                MessageType::Request => {
                    requests += 1;
                    answers(requests)
                }
                _ => continue,
            };
            let mut reply = reply(kind, message, SERVER, ADDRESS, 1);
            reply.options.append(code::RENEWAL_TIME, &0_u32.to_be_bytes());
            script.receive(&reply);
        }
        if script.sent.is_empty() {
            let due = script.client.poll_timeout().expect("it goes on").saturating_since(START);
            script.run_to(u64::try_from(due.as_millis()).expect("soon").max(script.ms()) + 1);
        }
        events += script.events().len();
    }
    (messages, events)
}

#[test]
fn a_lease_of_a_second_is_renewed_twice_a_second() {
    let (messages, events) = ten_minutes(no_check(), |_| MessageType::Ack);
    assert!((600..1300).contains(&messages) && events < 1300, "{messages} messages, {events} events");
}

#[test]
fn granting_and_refusing_in_turn_costs_less_and_less() {
    for config in
        [no_check(), Config::new(MAC), Config { conflict_check: ConflictCheck::Wait, ..Config::new(MAC) }]
    {
        for (what, answers) in [
            ("every other", (|n| if n % 2 == 0 { MessageType::Nak } else { MessageType::Ack }) as Answers),
            ("two of three", |n| if n % 3 == 0 { MessageType::Ack } else { MessageType::Nak }),
            ("all", |_| MessageType::Nak),
            // To a client with a lease that is no answer, so the lease ends.
            ("granted, then silence", |n| if n % 4 == 1 { MessageType::Ack } else { MessageType::Discover }),
        ] {
            let (messages, events) = ten_minutes(config.clone(), answers);
            assert!(messages < 150 && events < 100, "{what}: {messages} messages, {events} events");
        }
    }
}

#[test]
fn a_refusal_once_in_a_while_is_no_row() {
    let mut script = Script::bound(no_check(), 600);
    for _ in 0..5 {
        script.sleep_to(script.ms() + 310_000);
        let renew = script.message(MessageType::Request);
        script.nak(&renew, SERVER);
        // At once.
        let discover = script.message(MessageType::Discover);
        script.offer(&discover, SERVER, ADDRESS, 600);
        let request = script.message(MessageType::Request);
        script.ack(&request, SERVER, ADDRESS, 600);
        assert!(matches!(script.events()[..], [Event::Lost { .. }, Event::Bound(_)]));
    }
}
