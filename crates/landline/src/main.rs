//! Landline: plugs containers into the local network. One binary, the daemon and its command line.

mod bridge;
mod cli;
mod control;
mod daemon;
mod frontend;
mod host_access;
mod identity;
mod inspect;
mod lease;
mod ls;
mod nat;
mod output;
mod preset;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Two workers carry hundreds of leases; what blocks has threads of its own.
        .worker_threads(2)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(cli));
            // Whatever still blocks in the kernel does not keep the process.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("landline: {}", landline_engine::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: cli::Cli) -> Result<(), Box<dyn std::error::Error>> {
    match cli.command {
        cli::Command::Daemon(options) => Ok(daemon::run(options).await?),
        cli::Command::Ls(options) => Ok(ls::run(&options).await?),
        cli::Command::Inspect(options) => Ok(inspect::run(&options).await?),
        cli::Command::Lease(command) => Ok(lease::run(&command).await?),
        cli::Command::Bridge(command) => Ok(bridge::run(&command).await?),
        cli::Command::Nat(options) => Ok(nat::run(options).await?),
        cli::Command::HostAccess(command) => Ok(host_access::run(command).await?),
        cli::Command::Identity(command) => Ok(identity::run(&command).await?),
    }
}

/// Runs what waits for the kernel without holding up the runtime; a panic goes on here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
