//! A virtual machine that is one: its own disk with a Debian whose init is systemd, with Docker as Debian ships it and its
//! firewall on. What it writes stays over its reboots, each of which is a new start of the emulator on the same disk, and goes
//! with the value.
//!
//! The LANs it is plugged into (router, DHCP server, peer) are in network namespaces inside it, and are there before its network
//! is set up. On the first are `eth0` (in `br0`, 192.0.2.10), `eth1` (without an address) and `eth2` (in `br1`), on others `eth3`
//! (198.51.100.13) and `eth4` (203.0.113.13), by systemd-networkd; `NetworkManager` is configured in the same way, and disabled.

mod agent;
mod disk;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use super::kernel::Kernel;
use super::machine::{CPUS, KERNEL_OPTIONS, Killed, MACHINE, QEMU, Run, check_programs, or_skip};
use crate::error::{Error, Result};
use crate::process::{Output, last_lines, read_lossy, wait_child};
use crate::scratch::base_dir;
use agent::Agent;
use disk::Disk;

const MEMORY_MIB: u32 = 1536;
/// An old one: what its instructions save a real one costs an emulator more (17 % of a boot with Docker and seven containers). Without
/// `cx16` as in all our machines.
const CPU: &str = "Nehalem,-cx16";
/// How long a boot may take until the machine runs what it is told: emulated, beside other tests.
const BOOT: Duration = Duration::from_mins(3);
/// How long it may take to end everything and turn itself off.
const SHUTDOWN: Duration = Duration::from_mins(2);

/// What such machines are started from.
#[derive(Debug, Clone)]
pub struct SystemImage {
    kernel: Kernel,
    disk: Disk,
}

impl SystemImage {
    /// Checks that such a VM can run here, and makes its disk if it is not in the cache, for which packages are fetched.
    ///
    /// # Errors
    /// Why none can run here, and which packages to install.
    pub fn prepare() -> Result<Self> {
        check_programs(&[("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs")])?;
        let kernel = Kernel::get()?;
        let disk = Disk::get(&kernel)?;
        Ok(Self { kernel, disk })
    }

    /// For tests: as [`Vm::prepare_or_skip`](super::Vm::prepare_or_skip).
    ///
    /// # Errors
    /// In CI, as [`Self::prepare`].
    pub fn prepare_or_skip() -> Result<Option<Self>> {
        or_skip(Self::prepare())
    }

    /// Starts a machine. It sees `share`, a directory of this machine, as `/host`, and can only read it.
    ///
    /// # Errors
    /// If it does not come up; what it wrote to its console is in the message.
    pub fn start(&self, share: &Path) -> Result<SystemVm> {
        let dir = tempfile::Builder::new()
            .prefix("vm-")
            .tempdir_in(base_dir()?)
            .map_err(Error::system("cannot make a directory for the VM"))?;
        let run = Run { dir: fs::canonicalize(dir.path()).map_err(Error::file("cannot find", dir.path()))? };
        self.disk.copy(&run.at("disk"))?;
        let share = fs::canonicalize(share).map_err(Error::file("cannot find", share))?;
        let used = Duration::ZERO;
        let mut vm = SystemVm { machine: None, image: self.clone(), share, run, used, _dir: dir };
        vm.boot()?;
        Ok(vm)
    }
}

/// A machine. It ends with this value.
#[derive(Debug)]
pub struct SystemVm {
    machine: Option<Machine>,
    image: SystemImage,
    share: PathBuf,
    run: Run,
    /// What emulators of before used of the processors.
    used: Duration,
    _dir: TempDir,
}

/// One that is switched on.
#[derive(Debug)]
struct Machine {
    agent: Agent,
    emulator: Killed,
    _files: Killed,
}

impl SystemVm {
    /// Switches it on, and waits until it runs what it is told. Services may be starting still: `systemctl is-system-running
    /// --wait` waits for them.
    ///
    /// # Errors
    /// If it does not come up in time; what it wrote to its console is in the message.
    pub fn boot(&mut self) -> Result<()> {
        // It ends with the emulator before, and its socket is in the way.
        let _ = fs::remove_file(self.run.at("files.sock"));
        let files = self.run.serve_files(&self.share, "none")?;
        let line = self.run.at("agent.sock");
        let listener = agent::listen(&line)?;
        let emulator = Killed(self.run.spawn(&self.argv(&line), Stdio::null())?);
        let agent = Agent::ready(&listener, BOOT).map_err(|error| self.in_context(&error))?;
        self.machine = Some(Machine { agent, emulator, _files: files });
        Ok(())
    }

    /// Runs a script as root with bash (`-euo pipefail`); it is ended after `limit`, with status 124. Both its streams are in
    /// `stdout`.
    ///
    /// # Errors
    /// If the machine is switched off, or does not answer.
    pub fn run(&mut self, script: &str, limit: Duration) -> Result<Output> {
        let off = || Error::Unexpected("the VM is switched off".to_owned());
        let machine = self.machine.as_mut().ok_or_else(off)?;
        machine.agent.run(script, limit).map_err(|error| self.in_context(&error))
    }

    /// As [`Self::run`] for a script that must succeed; what it wrote, without the line break at the end.
    ///
    /// # Errors
    /// As there, or if it fails.
    pub fn check(&mut self, script: &str, limit: Duration) -> Result<String> {
        self.run(script, limit)?.into_result(script, "the VM")
    }

    /// What it has used of this machine's processors until now; what it took to switch itself off is left out.
    pub fn processor_time(&self) -> Duration {
        self.used + self.machine.as_ref().map(|machine| machine.emulator.processor_time()).unwrap_or_default()
    }

    /// Has it end everything and switch itself off.
    ///
    /// # Errors
    /// If it does not.
    pub fn power_off(&mut self) -> Result<()> {
        // What answers may be ended before it does.
        let _ = self.run("systemctl poweroff --no-block", Duration::from_mins(1));
        self.used = self.processor_time();
        let Some(mut machine) = self.machine.take() else { return Ok(()) };
        let ended = wait_child(&mut machine.emulator.0, SHUTDOWN);
        if ended.map_err(Error::system("cannot wait for the VM"))?.is_some() {
            return Ok(());
        }
        let late = Error::Timeout { what: "end of the VM".into(), after: SHUTDOWN, detail: String::new() };
        Err(self.in_context(&late))
    }

    /// Cuts its power: nothing is written any more.
    pub fn cut_power(&mut self) {
        self.used = self.processor_time();
        self.machine = None;
    }

    /// Has it end everything, and boots it again.
    ///
    /// # Errors
    /// As [`Self::power_off`] and [`Self::boot`].
    pub fn reboot(&mut self) -> Result<()> {
        self.power_off()?;
        self.boot()
    }

    /// What the kernel and init wrote to its console, of all boots.
    pub fn console(&self) -> String {
        read_lossy(&self.run.at("console"))
    }

    fn in_context(&self, error: &Error) -> Error {
        let (console, messages) = (last_lines(&self.console(), 30), self.run.messages());
        Error::Unexpected(format!("{error}\n{console}{messages}"))
    }

    fn argv(&self, line: &Path) -> Vec<String> {
        let mut argv: Vec<String> = ["setpriv", "--pdeathsig=KILL", "--", QEMU].map(str::to_owned).to_vec();
        let mut add = |option: &str, value: String| argv.extend([option.to_owned(), value]);
        add("-machine", MACHINE.to_owned());
        add("-accel", "tcg,thread=multi".to_owned());
        add("-cpu", CPU.to_owned());
        add("-smp", CPUS.to_owned());
        add("-m", MEMORY_MIB.to_string());
        add("-object", format!("memory-backend-memfd,id=memory,size={MEMORY_MIB}M,share=on"));
        add("-numa", "node,memdev=memory".to_owned());
        add("-chardev", format!("socket,id=files,path={}", self.run.at("files.sock").display()));
        add("-device", "vhost-user-fs-pci,chardev=files,tag=host,queue-size=512".to_owned());
        // Everything that was written survives the emulator, though not this machine.
        let disk = self.run.at("disk");
        add("-drive", format!("file={},format=raw,if=virtio,cache=unsafe", disk.display()));
        add("-chardev", format!("file,id=console,path={},append=on", self.run.at("console").display()));
        add("-serial", "chardev:console".to_owned());
        add("-device", "virtio-serial-pci".to_owned());
        add("-chardev", format!("socket,id=agent,path={}", line.display()));
        add("-device", "virtserialport,chardev=agent,name=agent".to_owned());
        add("-kernel", self.image.kernel.dir.join("vmlinuz").display().to_string());
        add("-initrd", self.image.disk.initramfs().display().to_string());
        add("-append", format!("{KERNEL_OPTIONS} net.ifnames=0 systemd.show_status=0"));
        argv.extend(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot"].map(str::to_owned));
        argv
    }
}
