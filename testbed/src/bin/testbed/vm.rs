//! `vm`, `system-vm` and `vm-setup`: a distribution's kernel for one command, and a machine of one's own.

use std::io::{BufRead as _, stdin};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use landline_testbed::{Result, SystemImage, Vm};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Memory in MiB.
    #[arg(long, default_value_t = 3072, value_name = "MIB")]
    memory: u32,
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
    let vm = vm.memory_mib(options.memory).limit(Duration::from_secs(options.limit));
    let output = vm.run_to(&options.command, &mut std::io::stdout())?;
    Ok(output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

#[derive(Debug, Args)]
pub(crate) struct SystemOptions {
    /// The directory that it sees as /host.
    #[arg(long, default_value = ".", value_name = "DIR")]
    share: PathBuf,
    /// The most seconds that one line may take.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    limit: u64,
}

/// Boots, runs each line of standard input with bash, and turns the machine off at its end. `reboot` and `cut-power` (which
/// boots again, too) are this program's own words.
pub(crate) fn run_system(options: &SystemOptions) -> Result<u8> {
    let mut vm = SystemImage::prepare()?.start(&options.share)?;
    for line in stdin().lock().lines().map_while(std::result::Result::ok) {
        match line.trim() {
            "reboot" => vm.reboot()?,
            "cut-power" => {
                vm.cut_power();
                vm.boot()?;
            }
            script => {
                let output = vm.run(script, Duration::from_secs(options.limit))?;
                print!("{}", output.stdout);
                println!("[{}]", output.status);
            }
        }
    }
    vm.power_off()?;
    Ok(0)
}

#[derive(Debug, Args)]
pub(crate) struct SetUpOptions {
    /// The disk of a machine with systemd and Docker as well, which takes some minutes to make.
    #[arg(long)]
    system: bool,
}

/// Says what the VM will run.
pub(crate) fn set_up(options: &SetUpOptions) -> Result<u8> {
    println!("a VM with Linux {} can run here", Vm::prepare()?.kernel_version()?);
    if options.system {
        SystemImage::prepare()?;
        println!("and one with systemd and Docker of its own");
    }
    Ok(0)
}
