//! Days of lease life on a LAN where everything goes wrong, in a few seconds. See `lan` for what is simulated and
//! what must hold; `cargo run -p landline-dhcp --example lease-days -- 100000` runs more of it.

mod lan;

use lan::{Bug, Scenario, run, run_all};

#[test]
fn a_thousand_lease_days() {
    let report = run_all(1..401).unwrap_or_else(|(seed, violation)| panic!("seed {seed}: {violation}"));
    println!("{report}");
    assert!(report.lease_days() > 1000.0);
    // A quiet network would prove nothing.
    for what in [
        "client: bound",
        "client: renewed",
        "client: lost by expiry",
        "client: lost by NAK",
        "client: lost by conflict",
        "sent: DECLINE",
        "sent: RELEASE",
        "servers: NAK",
        "network: lost",
        "network: duplicated",
        "network: delayed and reordered",
        "fault: host slept",
        "fault: program killed",
        "fault: host rebooted",
        "scenarios with several servers",
    ] {
        assert!(report.get(what) > 10, "{what}: {}", report.get(what));
    }
}

#[test]
fn the_same_seed_is_the_same_day() {
    let once = run(Scenario { seed: 7, bug: None }).map(|report| report.to_string());
    let again = run(Scenario { seed: 7, bug: None }).map(|report| report.to_string());
    assert_eq!(once, again);
}

#[test]
fn known_mistakes_are_noticed() {
    let mut unnoticed = Vec::new();
    for bug in Bug::ALL {
        match (1..200).find_map(|seed| run(Scenario { seed, bug: Some(bug) }).err().map(|v| (seed, v))) {
            Some((seed, violation)) => println!("{bug:?}: seed {seed}: {}", violation.rule),
            None => unnoticed.push(bug),
        }
    }
    assert_eq!(unnoticed, []);
}
