//! What all virtual machines have: an emulator, and a server for files of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::apt::path;
use crate::error::{Error, Result};
use crate::process::{last_lines, read_lossy, shell_words};
use crate::wait::wait_for;

/// The emulator.
pub(super) const QEMU: &str = "qemu-system-x86_64";
/// The kind of machine. It has no PIT: on a busy host its interrupts are late, and a kernel that measures the processor's clock by them
/// has its time run several times too fast. Without one, it takes the HPET.
pub(super) const MACHINE: &str = "q35,pit=off";
/// Where distributions put the program that serves the root file system: Debian 12, then later ones.
const VIRTIOFSD: [&str; 2] = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];
/// Without `cx16` QEMU 7.2 does not corrupt the guest's memory now and then, without `la57` the kernel boots faster.
pub(super) const CPU: &str = "max,-cx16,-la57";
/// Emulated processors that run at the same time now and then meet an instruction that the kernel is just replacing (a
/// static key), and it panics.
pub(super) const CPUS: &str = "1";
/// What every kernel here is told. Programs have the same addresses in each process (`norandmaps`): the emulator translates code once for
/// each address that it is at, which is what most of its time goes to.
pub(super) const KERNEL_OPTIONS: &str =
    "console=ttyS0 quiet panic=-1 mitigations=off nokaslr norandmaps tsc=reliable no_timer_check";

/// One boot: its directory, which the guest can read.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) dir: PathBuf,
}

impl Run {
    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.at(name), text).map_err(Error::file("cannot write", self.at(name)))
    }

    /// Starts a program of the VM; its messages are appended to `messages`.
    pub(super) fn spawn(&self, argv: &[String], stdout: Stdio) -> Result<Child> {
        let messages = self.at("messages");
        let messages = fs::File::options()
            .create(true)
            .append(true)
            .open(&messages)
            .map_err(Error::file("cannot open", messages))?;
        Command::new(&argv[0])
            .args(&argv[1..])
            .env("PATH", path())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(messages)
            .spawn()
            .map_err(|source| Error::Start { command: shell_words(argv), source })
    }

    /// Starts a server of the files in a directory, which the guest keeps in its memory or not (`cache`), and waits for its socket. It
    /// ends with the VM.
    pub(super) fn serve_files(&self, source: &Path, cache: &str) -> Result<Killed> {
        let socket = self.at("files.sock");
        let argv = [
            "setpriv".to_owned(),
            "--pdeathsig=KILL".to_owned(),
            "--".to_owned(),
            virtiofsd().unwrap_or_default().to_owned(),
            format!("--socket-path={}", socket.display()),
            "-o".to_owned(),
            format!("source={},cache={cache},sandbox=chroot", source.display()),
        ];
        let mut server = Killed(self.spawn(&argv, Stdio::null())?);
        let up = wait_for("socket of virtiofsd", Duration::from_secs(10), || {
            if socket.exists() { Some(true) } else { server.0.try_wait().ok().flatten().map(|_| false) }
        })?;
        if up {
            return Ok(server);
        }
        Err(Error::Unexpected(format!("virtiofsd ended at once:\n{}", self.messages())))
    }

    pub(super) fn messages(&self) -> String {
        last_lines(&read_lossy(&self.at("messages")), 20)
    }
}

/// A program that does not outlive this value.
#[derive(Debug)]
pub(super) struct Killed(pub(super) Child);

impl Killed {
    /// What it has used of the processors, as `/proc/PID/stat` has it (proc(5): fields 14 and 15).
    pub(super) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        let behind_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = behind_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<u64>().ok())
            .sum();
        // Programs are shown a hundred a second, whatever the kernel counts in.
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn installed(program: &str) -> bool {
    path().split(':').any(|dir| Path::new(dir).join(program).exists())
}

fn virtiofsd() -> Option<&'static str> {
    VIRTIOFSD.into_iter().find(|path| Path::new(path).exists())
}

/// Checks that a VM can run here, which may need further programs: each with its package.
pub(super) fn check_programs(further: &[(&'static str, &'static str)]) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::Unexpected("a VM needs root, to show it every file of the machine".to_owned()));
    }
    let programs = [
        (QEMU, "qemu-system-x86"),
        ("setpriv", "util-linux"),
        ("modprobe", "kmod"),
        ("xz", "xz-utils"),
        ("dpkg-deb", "dpkg"),
    ];
    let mut missing: Vec<&str> = programs
        .iter()
        .chain(further)
        .filter(|(program, _)| !installed(program))
        .map(|(_, package)| *package)
        .collect();
    if virtiofsd().is_none() {
        missing.push("virtiofsd (Debian 12: qemu-system-common)");
    }
    if !Path::new("/bin/busybox").exists() {
        missing.push("busybox-static");
    }
    if !missing.is_empty() {
        return Err(Error::Unexpected(format!("a VM needs these packages: {}", missing.join(", "))));
    }
    Ok(())
}

/// For tests: `None`, and a line that says why, where no VM can run; in CI (`CI=true`) that is an error.
pub(super) fn or_skip<T>(prepared: Result<T>) -> Result<Option<T>> {
    match prepared {
        Err(error) if std::env::var_os("CI").is_none_or(|ci| ci != "true") => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            eprintln!("skipped: {error}{cause}");
            Ok(None)
        }
        prepared => prepared.map(Some),
    }
}
