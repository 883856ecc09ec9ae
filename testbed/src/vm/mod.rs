//! A virtual machine with a distribution's kernel over this machine's root file system, for what the kernel outside
//! cannot do (ipvlan, VLANs, Open vSwitch in the kernel).
//!
//! The processor is emulated, so no `/dev/kvm` is needed, and everything takes about ten times as long as outside. The guest sees all
//! files of the machine; what it writes is in its memory and gone with it. It has no network device but those it
//! makes, and two cards on one cable (once `virtio_net` is loaded).

mod guest;
mod kernel;
mod machine;
mod system;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::time::Duration;

use kernel::Kernel;
use machine::{CPU, CPUS, KERNEL_OPTIONS, Killed, MACHINE, QEMU, Run, check_programs};
pub use system::{SystemImage, SystemVm};

use crate::error::{Error, Result};
use crate::process::{Output, last_lines, read_lossy, shell_words, wait_child};
use crate::scratch::base_dir;

/// A virtual machine that can be started on this machine. Each run is one boot, about five seconds.
#[derive(Debug, Clone)]
pub struct Vm {
    kernel: Kernel,
    memory_mib: u32,
    limit: Duration,
    env: Vec<(String, String)>,
}

impl Vm {
    /// Checks that a VM can run here, and fetches the kernel if it is not in the cache
    /// (`$LANDLINE_TESTBED_CACHE`, default `~/.cache/landline-testbed`).
    ///
    /// # Errors
    /// Why none can run here, and which packages to install.
    pub fn prepare() -> Result<Self> {
        check_programs(&[])?;
        let kernel = Kernel::get()?;
        Ok(Self { kernel, memory_mib: 3072, limit: Duration::from_mins(5), env: Vec::new() })
    }

    /// For tests: `None`, and a line that says why, where no VM can run. In CI (`CI=true`) that is an error, so that
    /// nothing goes untested unnoticed.
    ///
    /// # Errors
    /// In CI, as [`Vm::prepare`].
    pub fn prepare_or_skip() -> Result<Option<Self>> {
        machine::or_skip(Self::prepare())
    }

    /// The kernel's version, as `uname -r` says it.
    ///
    /// # Errors
    /// If the cache is damaged.
    pub fn kernel_version(&self) -> Result<String> {
        self.kernel.version()
    }

    /// Memory in MiB (3072); what the guest writes to files lies there too.
    #[must_use]
    pub fn memory_mib(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// How long one run may take, boot included (five minutes).
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets a variable in the command's environment, which is otherwise the guest's own.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Boots, runs a command as root in the current directory, and turns the VM off. Both its streams are in
    /// `stdout`, what the kernel said is in `stderr`.
    ///
    /// # Errors
    /// If the VM does not come up, ends without a status, or takes longer than the limit.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, argv: &[S]) -> Result<Output> {
        self.run_to(argv, &mut std::io::sink())
    }

    /// As [`Vm::run`], and passes on what the command writes while it runs.
    ///
    /// # Errors
    /// As [`Vm::run`].
    pub fn run_to<S: AsRef<std::ffi::OsStr>>(
        &self,
        argv: &[S],
        sink: &mut (dyn Write + Send),
    ) -> Result<Output> {
        let words = shell_words(argv);
        let dir = tempfile::Builder::new()
            .prefix("vm-")
            .tempdir_in(base_dir()?)
            .map_err(Error::system("cannot make a directory for the VM"))?;
        let run = Run { dir: fs::canonicalize(dir.path()).map_err(Error::file("cannot find", dir.path()))? };
        run.write("guest.sh", include_str!("guest.sh"))?;
        run.write("command", &self.script(&words)?)?;
        let _files = run.serve_files(Path::new("/"), "always")?;
        let mut qemu = Killed(self.start(&run)?);
        let output = qemu.0.stdout.take();

        let (text, status) = std::thread::scope(|scope| {
            let copy = scope.spawn(|| output.map_or_else(String::new, |output| pass_on(output, sink)));
            let status = wait_child(&mut qemu.0, self.limit);
            // Ends the copying too: the pipe has no other writer.
            drop(qemu);
            (copy.join().unwrap_or_default(), status)
        });
        match status.map_err(Error::system("cannot wait for the VM"))? {
            None => Err(Error::Timeout {
                what: format!("end of `{words}` in a VM"),
                after: self.limit,
                detail: format!("\n{}", last_lines(&text, 40)),
            }),
            Some(qemu) => run.result(&words, text, qemu),
        }
    }

    /// What the guest runs.
    fn script(&self, words: &str) -> Result<String> {
        let here = std::env::current_dir().map_err(Error::system("cannot find the current directory"))?;
        let mut script = format!("cd {}\n", shell_words(&[here]));
        for (name, value) in &self.env {
            let _ = writeln!(script, "export {name}={}", shell_words(&[value]));
        }
        Ok(format!("{script}{words}\n"))
    }

    fn start(&self, run: &Run) -> Result<Child> {
        let kernel = self.kernel.dir.display();
        let append = format!("{KERNEL_OPTIONS} testbed.run={} testbed.kernel={kernel}", run.dir.display());
        let mut argv: Vec<String> = ["setpriv", "--pdeathsig=KILL", "--", QEMU].map(str::to_owned).to_vec();
        let mut add = |option: &str, value: String| argv.extend([option.to_owned(), value]);
        add("-machine", MACHINE.to_owned());
        add("-accel", "tcg,thread=multi".to_owned());
        add("-cpu", CPU.to_owned());
        add("-smp", CPUS.to_owned());
        add("-m", self.memory_mib.to_string());
        // The server of the root file system reads and writes the guest's memory.
        add("-object", format!("memory-backend-memfd,id=memory,size={}M,share=on", self.memory_mib));
        add("-numa", "node,memdev=memory".to_owned());
        add("-chardev", format!("socket,id=files,path={}", run.at("files.sock").display()));
        add("-device", "vhost-user-fs-pci,chardev=files,tag=root,queue-size=512".to_owned());
        add("-serial", format!("file:{}", run.at("console").display()));
        add("-device", "virtio-serial-pci".to_owned());
        // Its standard output, opened once more: QEMU's own messages are elsewhere.
        add("-chardev", "file,id=output,path=/proc/self/fd/1,append=on".to_owned());
        add("-device", "virtserialport,chardev=output,name=output".to_owned());
        add("-chardev", format!("file,id=control,path={}", run.at("control").display()));
        add("-device", "virtserialport,chardev=control,name=control".to_owned());
        // Two cards on one cable, which are there once somebody loads `virtio_net`. Without a ROM, which is in a package of its own.
        for card in ["card0", "card1"] {
            add("-netdev", format!("hubport,hubid=0,id={card}"));
            add(
                "-device",
                format!("virtio-net-pci,netdev={card},romfile=,mac=52:54:00:00:00:0{}", &card[4..]),
            );
        }
        add("-kernel", format!("{kernel}/vmlinuz"));
        add("-initrd", format!("{kernel}/initramfs"));
        add("-append", append);
        argv.extend(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot"].map(str::to_owned));
        run.spawn(&argv, Stdio::piped())
    }
}

impl Run {
    /// What came of it, from what the guest told before it turned itself off.
    fn result(&self, words: &str, text: String, qemu: ExitStatus) -> Result<Output> {
        let console = read_lossy(&self.at("console"));
        let control = read_lossy(&self.at("control"));
        let status = control.lines().find_map(|line| line.strip_prefix("status ")?.parse::<i32>().ok());
        let Some(status) = status else {
            return Err(Error::Unexpected(format!(
                "the VM ended ({qemu}) before `{words}` did:\n{}{}{}",
                last_lines(&text, 20),
                last_lines(&console, 20),
                self.messages()
            )));
        };
        Ok(Output { status: ExitStatus::from_raw(status << 8), stdout: text, stderr: console })
    }
}

/// Copies to `sink` what can be read, until the end; all of it as text.
fn pass_on(mut output: ChildStdout, sink: &mut (dyn Write + Send)) -> String {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = output.read(&mut buffer) {
        all.extend_from_slice(&buffer[..n]);
        // Nobody may want to see it any more; the VM goes on.
        let _ = sink.write_all(&buffer[..n]).and_then(|()| sink.flush());
    }
    String::from_utf8_lossy(&all).into_owned()
}
