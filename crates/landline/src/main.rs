//! Landline: plugs containers into the local network. One binary, the daemon and its command line.

mod addressing;
mod alike;
mod alone;
mod attach;
mod attempts;
mod bridge;
mod bugreport;
mod cli;
mod completion;
mod connections;
mod control;
mod daemon;
mod doctor;
mod events;
mod exit;
mod files;
mod frontend;
mod graph;
mod health;
mod host_access;
mod http;
mod identity;
mod inspect;
mod lease;
mod listing;
mod log;
mod ls;
mod metrics;
mod named;
mod nat;
mod network;
mod output;
mod parts;
mod placeholders;
mod plain;
mod preset;
mod refused_starts;
mod runtimes;
mod starts;
mod status;
mod trace;
mod wait;
mod watchdog;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Before the program has descriptors of its own.
    let inherited = landline_kernel::Inherited::adopt();
    log::tell_panics();
    completion::answer_shell();
    if let Some(code) = runtimes::serve() {
        return code;
    }
    let cli = cli::Cli::parse_from(cli::arguments());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Two workers carry hundreds of leases; what blocks has threads of its own. It is short, and all of it may come at
        // once when a thousand containers are taken up again: what finds no thread waits for one.
        .worker_threads(2)
        .max_blocking_threads(32)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(run(cli, inherited));
            // Whatever still blocks in the kernel does not keep the process.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            log::last_words(&landline_types::chain(&*error));
            exit::status(&*error).into()
        }
    }
}

async fn run(
    cli: cli::Cli,
    inherited: landline_kernel::Inherited,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let done: Result<(), Box<dyn std::error::Error>> = match cli.command {
        cli::Command::Daemon(options) => Ok(daemon::run(options, inherited).await?),
        cli::Command::Switches => {
            log::start(None, false)?;
            Ok(landline_links::vde::run_switches().await?)
        }
        cli::Command::Events(options) => Ok(events::run(&options).await?),
        cli::Command::Graph(options) => Ok(graph::run(&options).await?),
        cli::Command::Metrics(options) => Ok(metrics::run(&options).await?),
        cli::Command::Ls(options) => Ok(ls::run(&options).await?),
        cli::Command::Wait(options) => Ok(wait::run(&options).await?),
        cli::Command::Inspect(options) => Ok(inspect::run(&options).await?),
        cli::Command::Lease(command) => Ok(lease::run(&command).await?),
        cli::Command::Bridge(command) => Ok(bridge::run(&command).await?),
        cli::Command::Status(options) => return Ok(status::run(&options).await?),
        cli::Command::Doctor(options) => return Ok(doctor::run(&options).await?),
        cli::Command::Nat(options) => Ok(nat::run(options).await?),
        cli::Command::Network(command) => Ok(network::run(&command).await?),
        cli::Command::HostAccess(command) => Ok(host_access::run(command).await?),
        cli::Command::Identity(command) => return Ok(identity::run(&command).await?),
        cli::Command::Attach(options) => Ok(attach::attach(&options).await?),
        cli::Command::Detach(options) => Ok(attach::detach(&options).await?),
        cli::Command::Pipework(options) => Ok(attach::pipework(&options).await?),
        cli::Command::PipeworkDaemon(options) => {
            let drop_in = attach::DropIn::read(environment(), &options.words)?;
            Ok(daemon::run_drop_in(options.into_daemon(), drop_in).await?)
        }
        cli::Command::Pid(options) => Ok(attach::pid(&options).await?),
        cli::Command::Ip(options) => Ok(attach::ip(&options).await?),
        cli::Command::Exec(options) => return Ok(attach::exec(&options).await?),
        cli::Command::Allow(options) => Ok(attach::allow(&options).await?),
        cli::Command::Trace(options) => Ok(trace::run(&options).await?),
        cli::Command::Bugreport(options) => Ok(bugreport::run(&options).await?),
        cli::Command::Completions(options) => Ok(completion::print(&options)?),
        cli::Command::Man(options) => Ok(completion::man(&options)?),
        cli::Command::Config(cli::ConfigCommand::Check(options)) => Ok(attach::check(&options)?),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// The environment, as far as it is text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
