//! Days of an IPv6 LAN where packets get lost, servers forget and hosts sleep. See `lan6` for what is simulated and
//! what must hold.

mod lan6;

use lan6::{Report, Scenario, run};

/// Runs scenarios of these seeds and adds up what happened.
fn run_all(seeds: std::ops::Range<u64>, scenario: impl Fn(u64) -> Scenario) -> Report {
    let mut total = Report::default();
    for seed in seeds {
        let report = run(&scenario(seed)).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        total.add(&report);
    }
    println!("{total}");
    total
}

#[test]
fn a_network_with_loss() {
    let total = run_all(1..8, |seed| Scenario { seed, loss: 25, ..Scenario::default() });
    let least = [
        ("network: lost", 3000),
        ("client: bound", 42),
        ("client: renewed", 2000),
        ("client: lost by expiry", 10),
    ];
    for (what, count) in least {
        assert!(total.get(what) > count, "{what}");
    }
}

#[test]
fn a_network_whose_servers_forget() {
    let total = run_all(100..107, |seed| Scenario {
        seed,
        loss: 5,
        forgetful: true,
        naps: true,
        ..Scenario::default()
    });
    let least = [
        ("fault: server forgot its leases", 30),
        ("fault: host slept", 10),
        ("fault: cable pulled", 10),
        ("fault: container stopped and started", 10),
        ("fault: program killed", 20),
    ];
    for (what, count) in least {
        assert!(total.get(what) > count, "{what}");
    }
}

#[test]
fn a_squatter_keeps_its_address() {
    let total = run_all(200..203, |seed| Scenario { seed, squatter: true, ..Scenario::default() });
    assert!(total.get("server: address declined") >= 3);
}

#[test]
fn thorough_checks_and_open_ears() {
    run_all(300..302, |seed| Scenario { seed, loss: 10, thorough: true, ..Scenario::default() });
}

#[test]
fn the_same_seed_is_the_same_day() {
    let scenario = Scenario { seed: 7, loss: 20, naps: true, ..Scenario::default() };
    assert_eq!(run(&scenario), run(&scenario));
}
