//! Simulates many days of an IPv6 LAN with faults and prints how often what happened.
//!
//! `cargo run -p landline-dhcp --release --example lease-days6 -- 10000 [first seed]`

#[path = "../tests/lan6/mod.rs"]
mod lan6;

use std::process::ExitCode;

use lan6::{Report, Scenario, run};

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse::<u32>());
    let (Ok(days), Ok(first)) = (numbers.next().unwrap_or(Ok(1000)), numbers.next().unwrap_or(Ok(1))) else {
        eprintln!("usage: lease-days6 [DAYS [FIRST-SEED]]");
        return ExitCode::FAILURE;
    };
    let mut report = Report::default();
    let first = u64::from(first);
    let mut next = first;
    while report.lease_days() < f64::from(days) {
        match run(&Scenario::of(next)) {
            Ok(some) => report.add(&some),
            Err(violation) => {
                eprintln!("seed {next}: {violation}");
                return ExitCode::FAILURE;
            }
        }
        next += 1;
    }
    println!("{report}");
    println!("{:<44}{:>14}", "scenarios, all rules kept", next - first);
    ExitCode::SUCCESS
}
