//! Servers that make clients talk.

use super::*;

/// What a server says to the n-th message that is not a Solicit: a lease of a second, or a refusal.
type Answers = fn(u32) -> Option<u16>;

/// Ten minutes with a server that answers everything at once; how many messages the client sent, and how many events it had.
fn ten_minutes(answers: Answers) -> (usize, usize) {
    const END: u64 = 600_000;
    let mut script = Script::start(no_check(Mode::Dhcp));
    let (mut messages, mut events, mut asked) = (0, 0, 0);
    while script.ms() < END {
        let sent = std::mem::take(&mut script.sent);
        messages += sent.len();
        for message in &sent {
            if message.message.kind == MessageType::Solicit {
                let mut offer = answer(MessageType::Advertise, message, 1, &[(LEASED, 1, 1)]);
                offer.options.push(code::PREFERENCE, &[255]);
                script.receive(&offer);
                continue;
            }
            asked += 1;
            match answers(asked) {
                None => script.receive(&answer(MessageType::Reply, message, 1, &[(LEASED, 1, 1)])),
                Some(code) => script.receive(&refused(message, 1, code)),
            }
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
    let (messages, events) = ten_minutes(|_| None);
    assert!((600..1300).contains(&messages) && events < 1300, "{messages} messages, {events} events");
}

#[test]
fn granting_and_refusing_in_turn_costs_less_and_less() {
    for (what, answers) in [
        ("every other", (|n| (n % 2 == 0).then_some(status::NOT_ON_LINK)) as Answers),
        ("all", |_| Some(status::NOT_ON_LINK)),
    ] {
        let (messages, events) = ten_minutes(answers);
        assert!(messages < 100 && events < 100, "{what}: {messages} messages, {events} events");
    }
}

/// Each costs a question within the lease that is there, so no more than a few a second.
#[test]
fn refusing_to_renew_costs_a_question() {
    for code in [status::NO_ADDRESSES, status::NO_BINDING] {
        let answers: Answers = match code {
            status::NO_ADDRESSES => |n| (n % 2 == 0).then_some(status::NO_ADDRESSES),
            _ => |n| (n % 2 == 0).then_some(status::NO_BINDING),
        };
        let (messages, events) = ten_minutes(answers);
        assert!(messages < 2600 && events < 1300, "{code}: {messages} messages, {events} events");
    }
}
