//! Simulates many days of lease life with faults and prints how often what happened.
//!
//! `cargo run -p landline-dhcp --example lease-days -- 100000 [first seed]`

#[path = "../tests/lan/mod.rs"]
mod lan;

use std::process::ExitCode;

use lan::{Report, run_all};

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse::<u32>());
    let (Ok(days), Ok(first)) = (numbers.next().unwrap_or(Ok(10_000)), numbers.next().unwrap_or(Ok(1)))
    else {
        eprintln!("usage: lease-days [DAYS [FIRST-SEED]]");
        return ExitCode::FAILURE;
    };
    let mut report = Report::default();
    let first = u64::from(first);
    let mut next = first;
    while report.lease_days() < f64::from(days) {
        match run_all(next..next + 100) {
            Ok(some) => report.add(&some),
            Err((seed, violation)) => {
                eprintln!("seed {seed}: {violation}");
                return ExitCode::FAILURE;
            }
        }
        next += 100;
    }
    println!("{report}");
    println!("{:<44}{:>14}", "scenarios, all rules kept", next - first);
    ExitCode::SUCCESS
}
