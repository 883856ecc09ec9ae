//! Other Docker engines, unpacked side by side from other Debian suites. The machine's own packages and
//! package lists are not touched: apt works on a state of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use landline_testbed::{Error, Result};

/// Suites whose Docker differs from each other.
const SUITES: [&str; 2] = ["trixie", "sid"];
/// An engine without these does not run; runc is the machine's, as theirs needs a newer libc.
const PACKAGES: [&str; 4] = ["docker.io", "docker-cli", "containerd", "tini"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Unpacks the engines into `DIR/<version>`; those that are there already are left as they are.
pub(crate) fn get(dir: &Path) -> Result<u8> {
    let dir = std::path::absolute(dir).map_err(failed("no such directory", dir))?;
    for suite in SUITES {
        let done = dir.join(format!(".{suite}"));
        if let Ok(version) = fs::read_to_string(&done) {
            println!("{suite}: {}", dir.join(version.trim()).display());
            continue;
        }
        let root = fetch(&dir, suite)?;
        let version = version_of(&root)?;
        let place = dir.join(&version);
        if place.exists() {
            remove(&root)?;
        } else {
            fs::rename(&root, &place).map_err(failed("cannot make", &place))?;
        }
        fs::write(&done, &version).map_err(failed("cannot write", &done))?;
        println!("{suite}: {}", place.display());
    }
    Ok(0)
}

/// The unpacked engines in a directory, oldest first.
pub(crate) fn unpacked(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(failed("cannot list", dir))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("usr/sbin/dockerd").exists())
        .collect();
    found.sort();
    found.iter().map(|path| fs::canonicalize(path).map_err(failed("cannot find", path))).collect()
}

/// Downloads and unpacks a suite's packages into a directory that has no version in its name yet.
fn fetch(dir: &Path, suite: &str) -> Result<PathBuf> {
    let state = dir.join(format!("apt-{suite}"));
    for part in ["state/lists/partial", "cache/archives/partial", "etc", "packages"] {
        let path = state.join(part);
        fs::create_dir_all(&path).map_err(failed("cannot make", &path))?;
    }
    let write = |name: &str, text: &str| {
        let path = state.join(name);
        fs::write(&path, text).map_err(failed("cannot write", &path))
    };
    write("etc/sources.list", &format!("deb [signed-by={KEYRING}] {} {suite} main\n", mirror()?))?;
    write("state/status", "")?;
    apt(&state, &["update"])?;
    apt(&state, &[&["download"], PACKAGES.as_slice()].concat())?;

    let root = dir.join(format!("new-{suite}"));
    let packages = state.join("packages");
    let entries = fs::read_dir(&packages).map_err(failed("cannot list", &packages))?;
    for package in
        entries.flatten().filter(|entry| entry.path().extension().is_some_and(|name| name == "deb"))
    {
        run(Command::new("dpkg-deb").arg("--extract").arg(package.path()).arg(&root))?;
    }
    // Package lists are large and of no further use.
    remove(&state)?;
    Ok(root)
}

fn apt(state: &Path, args: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.arg("-qq").current_dir(state.join("packages"));
    for (option, value) in [
        ("Dir::State", state.join("state")),
        ("Dir::State::status", state.join("state/status")),
        ("Dir::Cache", state.join("cache")),
        ("Dir::Etc::sourcelist", state.join("etc/sources.list")),
        ("Dir::Etc::sourceparts", PathBuf::from("/dev/null")),
        ("Dir::Etc::preferencesparts", PathBuf::from("/dev/null")),
        ("APT::Sandbox::User", PathBuf::from("root")),
    ] {
        command.arg("-o").arg(format!("{option}={}", value.display()));
    }
    run(command.args(args))
}

/// The Debian mirror this machine uses.
fn mirror() -> Result<String> {
    let deb822 = fs::read_to_string("/etc/apt/sources.list.d/debian.sources").unwrap_or_default();
    let list = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    let from_deb822 = deb822.lines().find_map(|line| line.strip_prefix("URIs:")?.split_whitespace().next());
    let from_list = list
        .lines()
        .filter(|line| line.starts_with("deb "))
        .find_map(|line| line.split_whitespace().find(|word| word.starts_with("http")));
    let found = from_deb822.or(from_list).map(str::to_owned);
    found.ok_or_else(|| Error::Unexpected("this machine's apt sources name no Debian mirror".to_owned()))
}

/// `28.5.2` of `Docker version 28.5.2+dfsg4, build …`.
fn version_of(root: &Path) -> Result<String> {
    let program = root.join("usr/sbin/dockerd");
    let output = Command::new(&program).arg("--version").output().map_err(failed("cannot run", &program))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().nth(2).map(|word| plain(word.trim_end_matches(',')));
    version.ok_or_else(|| Error::Unexpected(format!("{} does not run: {text}", program.display())))
}

/// A version without what a distribution has put behind it.
pub(crate) fn plain(version: &str) -> String {
    version.split(['+', '~', '-']).next().unwrap_or(version).to_owned()
}

fn remove(dir: &Path) -> Result<()> {
    fs::remove_dir_all(dir).map_err(failed("cannot remove", dir))
}

fn run(command: &mut Command) -> Result<()> {
    let words = format!("{command:?}");
    let output = command.output().map_err(|source| Error::Start { command: words.clone(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::Unexpected(format!("{words}: {}\n{}", output.status, said.trim())))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { what, path, source }
}
