//! `vm` and `vm-setup`: a distribution's kernel for one command.

use std::time::Duration;

use clap::Args;

use landline_testbed::{Result, Vm};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Memory in MiB.
    #[arg(long, default_value_t = 3072, value_name = "MIB")]
    memory: u32,
    /// Number of processors.
    #[arg(long, default_value_t = 2, value_name = "N")]
    cpus: u32,
    /// The most seconds it may take, boot included.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    limit: u64,
    /// The command. It sees this machine's files, runs in the same directory, and what it writes is lost.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Boots, runs the command, passes on what it writes and its exit status.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let vm = Vm::prepare()?;
    let vm = vm.memory_mib(options.memory).cpus(options.cpus).limit(Duration::from_secs(options.limit));
    let output = vm.run_to(&options.command, &mut std::io::stdout())?;
    Ok(output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Says what the VM will run.
pub(crate) fn set_up() -> Result<u8> {
    println!("a VM with Linux {} can run here", Vm::prepare()?.kernel_version()?);
    Ok(0)
}
