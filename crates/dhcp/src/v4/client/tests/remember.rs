//! What was known before: INIT-REBOOT, restarts of the program, links that come back, machines that slept.

use super::*;

#[test]
fn a_known_address_is_asked_for_first() {
    let mut script = Script::remember(no_check(), ADDRESS);
    assert_eq!(script.client.state(), StateName::Rebooting);
    let request = script.message(MessageType::Request);
    assert_eq!((request.src, request.dst), (ANY, ALL));
    assert_eq!((request.message.ciaddr, request.message.broadcast), (ANY, true));
    assert_eq!(request.address(code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(request.address(code::SERVER_ID), None, "must not be there");
    assert_eq!(script.client.lease(), None, "only an address, no lease");
    script.ack(&request, SECOND, ADDRESS, 3600);
    assert!(matches!(script.events()[..], [Event::Bound(_)]));
}

#[test]
fn silence_about_it_is_short() {
    let mut script = Script::remember(no_check(), ADDRESS);
    let first = script.message(MessageType::Request);
    script.run_to(1999);
    let second = script.message(MessageType::Request);
    assert_eq!(first.message.xid, second.message.xid);
    script.run_to(2000);
    let discover = script.message(MessageType::Discover);
    assert_eq!(discover.address(code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(script.events(), []);
}

#[test]
fn a_refusal_of_it_is_shorter() {
    let mut script = Script::remember(no_check(), ADDRESS);
    let request = script.message(MessageType::Request);
    script.nak(&request, SERVER);
    assert_eq!(script.kinds(), [], "its server is not known: another may still grant it");
    script.run_to(500);
    assert_eq!(script.kinds(), [MessageType::Discover]);

    let mut script = Script::remember(no_check(), lease(-5000, -3000, -2000, -1000));
    let request = script.message(MessageType::Request);
    script.nak(&request, SERVER);
    assert_eq!(script.kinds(), [MessageType::Discover], "its server says so itself");
    assert_eq!(script.events(), []);
}

#[test]
fn a_live_lease_may_be_used_meanwhile() {
    let mut script = Script::remember(no_check(), lease(-1000, 800, 2000, 2600));
    assert_eq!(script.client.lease().map(|l| l.address), Some(ADDRESS));
    let request = script.message(MessageType::Request);
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert!(
        matches!(script.events()[..], [Event::Bound(_)]),
        "confirmed to a caller that may not have used it"
    );
    assert_eq!(script.client.lease().and_then(|l| l.expires), Some(at(3_600_000)));
}

#[test]
fn a_live_lease_outlives_silence_but_not_its_end() {
    let mut script = Script::remember(no_check(), lease(-3590, -1790, -440, 10));
    script.run_to(9_999);
    assert_eq!(script.client.state(), StateName::Selecting);
    assert_eq!(script.client.lease().map(|l| l.address), Some(ADDRESS));
    assert_eq!(script.events(), []);
    script.run_to(10_000);
    assert_eq!(script.events(), [lost(LossReason::Expired)]);
    assert_eq!(script.client.lease(), None);
    assert_eq!(script.client.state(), StateName::Selecting);
}

#[test]
fn a_live_lease_ends_with_a_refusal() {
    let mut script = Script::remember(no_check(), lease(-1000, 800, 2000, 2600));
    let request = script.message(MessageType::Request);
    script.nak(&request, SERVER);
    assert_eq!(script.events(), [lost(LossReason::Nak)]);
}

#[test]
fn a_live_lease_is_replaced_by_another() {
    let mut script = Script::remember(no_check(), lease(-1000, 800, 2000, 2600));
    script.run_to(2000);
    let discover = script.sent.pop().expect("a discover");
    script.sent.clear();
    script.offer(&discover, SECOND, ELSEWHERE, 3600);
    let request = script.message(MessageType::Request);
    assert_eq!(script.client.lease().map(|l| l.address), Some(ADDRESS), "until the other is there");
    script.ack(&request, SECOND, ELSEWHERE, 3600);
    let [Event::Bound(lease)] = &script.events()[..] else { panic!("bound") };
    assert_eq!(lease.address, ELSEWHERE);
    assert_eq!(script.client.lease(), Some(lease));
}

#[test]
fn nonsense_is_not_remembered() {
    let script = Script::remember(no_check(), Ipv4Addr::UNSPECIFIED);
    assert_eq!(script.client.state(), StateName::Selecting);
}

fn resumed(lease: Lease) -> Script {
    Script::of(Client::resume(no_check(), lease, START, Seeded(7)))
}

#[test]
fn resuming_sends_nothing_before_t1() {
    let mut script = resumed(lease(-1000, 800, 2000, 2600));
    assert_eq!(script.client.state(), StateName::Bound);
    assert!(!script.client.wants_socket());
    script.run_to(799_999);
    assert_eq!((script.kinds(), script.events()), (vec![], vec![]));
    script.run_to(800_000);
    let renew = script.message(MessageType::Request);
    script.ack(&renew, SERVER, ADDRESS, 3600);
    assert!(matches!(script.events()[..], [Event::Renewed(_)]), "it was in use all along");
}

#[test]
fn resuming_later_goes_on_where_the_clock_is() {
    let mut script = resumed(lease(-1000, -1, 1000, 2000));
    assert_eq!(script.client.state(), StateName::Renewing);
    assert_eq!(script.message(MessageType::Request).dst, SERVER);
    let mut script = resumed(lease(-1000, -500, -1, 2000));
    assert_eq!(script.client.state(), StateName::Rebinding);
    assert_eq!(script.message(MessageType::Request).dst, ALL);
}

#[test]
fn resuming_after_the_end_asks_again_first() {
    let over = lease(-5000, -3000, -2000, -1000);
    let mut script = resumed(over.clone());
    assert_eq!(script.client.state(), StateName::Rebooting);
    let request = script.message(MessageType::Request);
    assert_eq!((request.dst, request.address(code::REQUESTED_ADDRESS)), (ALL, Some(ADDRESS)));
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert!(matches!(script.events()[..], [Event::Renewed(_)]), "as if nothing had been");

    let mut script = resumed(over.clone());
    let request = script.message(MessageType::Request);
    script.nak(&request, SERVER);
    assert_eq!(script.events(), [lost(LossReason::Nak)]);

    let mut script = resumed(over);
    script.run_to(1999);
    assert_eq!(script.events(), []);
    script.run_to(2000);
    assert_eq!(script.events(), [lost(LossReason::Expired)]);
    assert_eq!(script.client.lease(), None);
}

#[test]
fn a_link_that_came_back_asks_again() {
    let mut script = Script::bound(no_check(), 3600);
    script.client.restart(script.now);
    script.drain();
    assert_eq!(script.client.state(), StateName::Rebooting);
    assert_eq!(script.client.lease().map(|l| l.address), Some(ADDRESS));
    let request = script.message(MessageType::Request);
    assert_eq!(request.address(code::REQUESTED_ADDRESS), Some(ADDRESS));
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert!(matches!(script.events()[..], [Event::Renewed(_)]));
    // On another network its server refuses.
    script.client.restart(script.now);
    script.drain();
    let request = script.message(MessageType::Request);
    script.nak(&request, SECOND);
    script.run_to(script.ms() + 500);
    assert_eq!(script.events(), [lost(LossReason::Nak)]);
}

#[test]
fn a_flapping_link_does_not_shorten_a_wait() {
    let mut script = Script::start(no_check());
    for _ in 0..2 {
        let discover = script.message(MessageType::Discover);
        script.offer(&discover, SERVER, ADDRESS, 3600);
        let request = script.message(MessageType::Request);
        script.nak(&request, SERVER);
    }
    assert_eq!(script.client.state(), StateName::Init);
    script.client.restart(script.now);
    script.drain();
    assert_eq!(script.kinds(), []);
}

#[test]
fn slept_into_renewal_and_rebinding() {
    let mut script = Script::bound(no_check(), 3600);
    script.sleep_to(2_000_000);
    assert_eq!(script.client.state(), StateName::Renewing);
    assert_eq!(script.message(MessageType::Request).dst, SERVER);
    script.sleep_to(3_300_000);
    assert_eq!(script.client.state(), StateName::Rebinding);
    assert_eq!(script.message(MessageType::Request).dst, ALL);
    script.sleep_to(4_000_000);
    assert_eq!(script.events(), [lost(LossReason::Expired)], "it had its chance");
    assert_eq!(script.kinds(), [MessageType::Discover]);
}

#[test]
fn slept_through_all_of_it() {
    let mut script = Script::bound(no_check(), 3600);
    script.sleep_to(50_000_000);
    assert_eq!(script.events(), []);
    let request = script.message(MessageType::Request);
    assert_eq!((request.dst, request.message.ciaddr), (ALL, ANY));
    script.run_to(50_002_000);
    assert_eq!(script.events(), [lost(LossReason::Expired)]);
}

#[test]
fn an_old_lease_that_ends_while_the_new_one_is_checked() {
    let config = Config { conflict_check: ConflictCheck::Wait, ..Config::new(MAC) };
    let mut script = Script::remember(config, lease(-3590, -1790, -440, 2));
    let request = script.message(MessageType::Request);
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert_eq!(script.client.state(), StateName::Checking);
    script.run_to(7_100);
    assert!(matches!(script.events()[..], [Event::Bound(_)]), "it was extended before it ended");
}

#[test]
fn an_offer_taken_back_says_nothing_about_the_old_lease() {
    let mut script = Script::remember(no_check(), lease(-1000, 800, 2000, 2600));
    script.run_to(2000);
    let discover = script.sent.pop().expect("a discover");
    script.sent.clear();
    script.offer(&discover, SECOND, ELSEWHERE, 3600);
    let request = script.message(MessageType::Request);
    script.nak(&request, SECOND);
    assert_eq!(script.events(), []);
    assert_eq!(script.client.lease().map(|l| l.address), Some(ADDRESS));
}

#[test]
fn what_is_over_is_not_given_back() {
    let mut script = resumed(lease(-5000, -3000, -2000, -1000));
    script.message(MessageType::Request);
    script.client.release(script.now);
    script.drain();
    assert_eq!(script.kinds(), []);
}

#[test]
fn what_is_asked_for_again_is_given_back_once() {
    let mut script = Script::bound(Config::new(MAC), 3600);
    script.client.restart(script.now);
    script.drain();
    let request = script.message(MessageType::Request);
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert_eq!(script.client.state(), StateName::Checking);
    script.client.release(script.now);
    script.drain();
    assert_eq!(script.kinds(), [MessageType::Release]);
}

#[test]
fn a_link_that_comes_up_ends_the_wait() {
    let mut script = Script::start(no_check());
    // Nobody is there: by now a minute passes between two questions.
    script.run_to(200_000);
    script.kinds();
    assert!(script.client.poll_timeout().is_some_and(|due| due > at(210_000)));
    script.client.link_up(script.now);
    script.run_to(201_000);
    let discover = script.message(MessageType::Discover);
    script.offer(&discover, SERVER, ADDRESS, 3600);
    let request = script.message(MessageType::Request);
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert!(matches!(script.events()[..], [Event::Bound(_)]));
}

#[test]
fn a_link_that_comes_up_may_be_of_another_network() {
    let mut script = Script::bound(no_check(), 3600);
    script.client.link_up(script.now);
    let until = script.ms() + 1000;
    script.run_to(until);
    let request = script.message(MessageType::Request);
    assert_eq!(request.address(code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(script.client.state(), StateName::Rebooting);
    assert!(script.client.lease().is_some(), "used meanwhile");
    script.ack(&request, SERVER, ADDRESS, 3600);
    assert_eq!(script.client.state(), StateName::Bound);
}

#[test]
fn a_link_that_flaps_is_not_asked_over_without_end() {
    let mut script = Script::start(no_check());
    script.kinds();
    for ms in 0..600 {
        script.client.link_up(script.now);
        script.run_to(ms * 100);
    }
    // Asked over every two to three seconds of a minute, and once more in between.
    assert!((15..=60).contains(&script.kinds().len()));
}

#[test]
fn clients_behind_one_link_do_not_ask_at_once() {
    let asked: std::collections::BTreeSet<u64> = (1..=20)
        .map(|seed| {
            let mut script = Script::of(Client::start(no_check(), None, START, Seeded(seed * 7919)));
            script.run_to(200_000);
            script.client.link_up(script.now);
            let due = script.client.poll_timeout().expect("a deadline");
            u64::try_from(due.saturating_since(script.now).as_millis()).expect("soon")
        })
        .collect();
    assert!(asked.len() > 15 && asked.last().is_some_and(|&last| last <= 1000), "{asked:?}");
}

#[test]
fn a_stopped_client_does_not_mind_its_link() {
    let mut script = Script::bound(no_check(), 3600);
    script.client.link_up(script.now);
    script.client.release(script.now);
    script.drain();
    script.client.link_up(script.now);
    assert_eq!((script.client.state(), script.client.poll_timeout()), (StateName::Stopped, None));
}
