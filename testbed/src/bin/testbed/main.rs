//! `testbed`: a LAN with real DHCP servers and Docker hosts, by hand.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use landline_testbed::{Lan, Result, clean};

/// A LAN in network namespaces with real DHCP servers and Docker hosts.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Remove labs whose owner is dead.
    Clean,
    /// A LAN and a host that live until this process ends, however it ends.
    #[command(hide = true)]
    Hold,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Task::Clean => clean(true).map(|removed| removed.iter().for_each(|name| println!("removed {name}"))),
        Task::Hold => hold(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn hold() -> Result<()> {
    let lan = Lan::new()?;
    let _host = lan.docker_host("host1")?;
    println!("{}", lan.name());
    // Until somebody kills this process, which is what it is for.
    loop {
        std::thread::park();
    }
}
