//! The disk of a Debian machine with systemd and Docker, made once and kept in the cache.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::kernel::{Kernel, cached, initramfs};
use crate::apt::{mirror, run_in, run_within};
use crate::error::{Error, Result};

const SUITE: &str = "bookworm";
/// What is on it beside what every Debian has: all as it comes from Debian.
const PACKAGES: [&str; 18] = [
    "systemd",
    "systemd-sysv",
    "udev",
    "dbus",
    "docker.io",
    "apparmor",
    "iptables",
    "nftables",
    "iproute2",
    "dnsmasq-base",
    "busybox-static",
    "iputils-ping",
    "procps",
    "kmod",
    "jq",
    "network-manager",
    "wget",
    "ca-certificates",
];
const SIZE: &str = "4G";
/// How long its packages may take to be fetched and installed.
const INSTALL: Duration = Duration::from_mins(20);
/// What the kernel needs to find it, and the line to the outer machine.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_console", "virtio_blk", "ext4"];
/// Programs of the machine, by name.
const PROGRAMS: [(&str, &str); 2] = [("agent", include_str!("agent.sh")), ("lan", include_str!("lan.sh"))];
const SETUP: &str = include_str!("setup.sh");
const INIT: &str = include_str!("init.sh");

/// A directory with `disk` and `initramfs`.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    dir: PathBuf,
}

impl Disk {
    /// That in the cache; if there is none of the same kernel, packages and scripts it is made, for which packages are fetched.
    pub(super) fn get(kernel: &Kernel) -> Result<Self> {
        let version = kernel.version()?;
        let mut inputs = DefaultHasher::new();
        (&version, SUITE, PACKAGES, SIZE, MODULES, PROGRAMS, SETUP, INIT).hash(&mut inputs);
        let dir = cached(&format!("system-{:016x}", inputs.finish()), |work| {
            let made = work.join("made");
            fs::create_dir(&made).map_err(Error::file("cannot make", &made))?;
            let root = made.join("root");
            install(&root)?;
            set_up(&root, kernel, &version)?;
            let disk = made.join("disk").display().to_string();
            let tree = root.display().to_string();
            run_in(work, &["mke2fs", "-q", "-t", "ext4", "-d", &tree, &disk, SIZE])?;
            fs::remove_dir_all(&root).map_err(Error::file("cannot remove", &root))?;
            initramfs(&kernel.dir, &version, &made.join("initramfs"), &MODULES, INIT)?;
            Ok(made)
        })?;
        Ok(Self { dir })
    }

    /// A copy of it that may be written, which shares with it what the file system allows.
    pub(super) fn copy(&self, to: &Path) -> Result<()> {
        let (from, to) = (self.dir.join("disk").display().to_string(), to.display().to_string());
        run_in(&self.dir, &["cp", "--reflink=auto", "--sparse=always", &from, &to]).map(drop)
    }

    pub(super) fn initramfs(&self) -> PathBuf {
        self.dir.join("initramfs")
    }
}

fn install(root: &Path) -> Result<()> {
    let (tree, mirror) = (root.display().to_string(), mirror());
    let include = format!("--include={}", PACKAGES.join(","));
    // It mounts things in the tree, which are gone with it however it ends.
    let mut argv = vec!["unshare", "--mount", "mmdebstrap", "--quiet", "--variant=minbase", &include];
    argv.extend([
        "--dpkgopt=force-unsafe-io",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
    ]);
    let source = format!("deb {mirror} {SUITE} main");
    argv.extend([SUITE, &tree, &source]);
    run_within(INSTALL, Path::new("/"), &argv).map(drop)
}

fn set_up(root: &Path, kernel: &Kernel, version: &str) -> Result<()> {
    for (name, text) in PROGRAMS {
        let file = root.join("usr/local/sbin").join(name);
        fs::write(&file, text).map_err(Error::file("cannot write", &file))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
            .map_err(Error::file("cannot mark as a program", &file))?;
    }
    let (root, kernel) = (root.display().to_string(), kernel.dir.display().to_string());
    run_in(Path::new("/"), &["sh", "-c", SETUP, "setup", &root, &kernel, version]).map(drop)
}
