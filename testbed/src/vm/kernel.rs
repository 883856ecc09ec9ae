//! A distribution's kernel with its modules, fetched once and kept in a cache directory.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};

use crate::apt::{AptSuite, path, run_in, unpack};
use crate::error::{Error, Result};

/// The Debian suite the kernel is from: Linux 6.12, with all modules that container hosts use.
const SUITE: &str = "bookworm-backports";
/// The package that depends on the suite's current kernel.
const PACKAGE: &str = "linux-image-cloud-amd64";
/// Part of the directory's name; to be raised when what is made of the package changes.
const VERSION: u32 = 1;

/// An unpacked kernel: `vmlinuz`, `initramfs` and `lib/modules` in one directory.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    pub(super) dir: PathBuf,
}

impl Kernel {
    /// The kernel in the cache; if there is none it is fetched first, from the network.
    pub(super) fn get() -> Result<Self> {
        let dir = cached(&format!("kernel-{VERSION}"), |work| {
            let tree = work.join("tree");
            unpack(&fetch(work)?, &tree)?;
            prepare(&tree)?;
            Ok(tree)
        })?;
        Ok(Self { dir })
    }

    /// Its version, as `uname -r` says it.
    pub(super) fn version(&self) -> Result<String> {
        modules_of(&self.dir)
    }
}

/// The file or directory of this name in the cache. If there is none, `make` makes it in a directory that goes away afterwards, and
/// says where it is there.
pub(super) fn cached(name: &str, make: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<PathBuf> {
    let cache = cache_dir()?;
    let path = cache.join(name);
    // Several processes may want it at once: one makes it, the others wait.
    let lock = cache.join("lock");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock)
        .map_err(Error::file("cannot open", &lock))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(Error::system("cannot lock the cache"))?;
    if !path.exists() {
        let work = tempfile::tempdir_in(&cache).map_err(Error::system("cannot fill the cache"))?;
        let made = make(work.path())?;
        fs::rename(&made, &path).map_err(Error::file("cannot make", &path))?;
    }
    Ok(path)
}

/// `$LANDLINE_TESTBED_CACHE`, else `~/.cache/landline-testbed`; made if it is not there.
fn cache_dir() -> Result<PathBuf> {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()));
    let dir = std::env::var_os("LANDLINE_TESTBED_CACHE")
        .map_or_else(|| home().join(".cache/landline-testbed"), PathBuf::from);
    fs::create_dir_all(&dir).map_err(Error::file("cannot make", &dir))?;
    fs::canonicalize(&dir).map_err(Error::file("cannot find", &dir))
}

/// Downloads the suite's current kernel.
fn fetch(work: &Path) -> Result<PathBuf> {
    let suite = AptSuite::update(work.join("apt"), SUITE)?;
    let depends = suite.depends(PACKAGE)?;
    let image = depends.iter().find(|name| name.starts_with("linux-image-"));
    let none = || Error::Unexpected(format!("{PACKAGE} of {SUITE} depends on no kernel, but on {depends:?}"));
    suite.download(image.ok_or_else(none)?, work)
}

/// Makes `vmlinuz`, the index of the modules, and `initramfs`.
fn prepare(tree: &Path) -> Result<()> {
    // From Debian 13 on everything is below /usr.
    let lib = tree.join("lib");
    if !lib.exists() {
        symlink("usr/lib", &lib).map_err(Error::file("cannot make", &lib))?;
    }
    let version = modules_of(tree)?;
    let image = tree.join("boot").join(format!("vmlinuz-{version}"));
    fs::rename(&image, tree.join("vmlinuz")).map_err(Error::file("cannot find", image))?;
    let dir = tree.display().to_string();
    run_in(tree, &["depmod", "-b", &dir, &version])?;

    let modules = ["virtio_pci", "virtio_console", "virtiofs", "overlay"];
    initramfs(tree, &version, &tree.join("initramfs"), &modules, include_str!("init.sh"))
}

/// Makes an initramfs with these modules of an unpacked kernel, and those that they need, which runs `init`.
pub(super) fn initramfs(
    kernel: &Path,
    version: &str,
    file: &Path,
    modules: &[&str],
    init: &str,
) -> Result<()> {
    let mut child = Command::new("sh")
        .args(["-c", include_str!("initramfs.sh"), "initramfs"])
        .args([kernel.as_os_str(), version.as_ref(), file.as_os_str()])
        .args(modules)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .env("PATH", path())
        .spawn()
        .map_err(|source| Error::Start { command: "sh".to_owned(), source })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A script that failed early has closed it; its status says more than this would.
        let _ = stdin.write_all(init.as_bytes());
    }
    let output = child.wait_with_output().map_err(Error::system("cannot make the initramfs"))?;
    if output.status.success() && file.exists() {
        return Ok(());
    }
    Err(Error::Unexpected(format!("no initramfs: {}", String::from_utf8_lossy(&output.stderr).trim_end())))
}

/// The one version there are modules for.
fn modules_of(tree: &Path) -> Result<String> {
    let modules = tree.join("lib/modules");
    let mut entries = fs::read_dir(&modules).map_err(Error::file("cannot list", &modules))?.flatten();
    let first = entries.next().map(|entry| entry.file_name().to_string_lossy().into_owned());
    first.ok_or_else(|| Error::Unexpected(format!("{} is empty", modules.display())))
}
