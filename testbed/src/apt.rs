//! Packages of other Debian suites than the machine's: downloaded with apt, which checks their signatures, with a
//! state of its own, so that the machine's packages and package lists stay as they are.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::process::{run, shell_words};

/// Where to ask if this machine's own sources do not say.
const MIRROR: &str = "http://deb.debian.org/debian";
/// Signs what comes from there.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A suite and the directory of its package lists.
#[derive(Debug)]
pub(crate) struct AptSuite {
    dir: PathBuf,
    name: &'static str,
}

impl AptSuite {
    /// Fetches the suite's package lists into `dir`.
    pub(crate) fn update(dir: PathBuf, name: &'static str) -> Result<Self> {
        for part in ["lists/partial", "archives/partial"] {
            let part = dir.join(part);
            fs::create_dir_all(&part).map_err(Error::file("cannot make", &part))?;
        }
        let write = |file: &str, text: String| {
            let path = dir.join(file);
            fs::write(&path, text).map_err(Error::file("cannot write", path))
        };
        write("sources.list", format!("deb [arch=amd64 signed-by={KEYRING}] {} {name} main\n", mirror()))?;
        write("status", String::new())?;
        let suite = Self { dir, name };
        suite.apt("apt-get", &["-q", "update"], &suite.dir)?;
        Ok(suite)
    }

    /// The packages that a package needs directly.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let said = self.apt("apt-cache", &["depends", "--important", package], &self.dir)?;
        let words = said.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(words.map(|name| name.trim().to_owned()).collect())
    }

    /// Downloads a package into the directory `to`; its file there.
    pub(crate) fn download(&self, package: &str, to: &Path) -> Result<PathBuf> {
        self.apt("apt-get", &["-q", "download", package], to)?;
        let entries = fs::read_dir(to).map_err(Error::file("cannot list", to))?;
        let prefix = format!("{package}_");
        let mut files = entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(&prefix));
        let file = files.next().map(|entry| entry.path());
        file.ok_or_else(|| Error::Unexpected(format!("apt-get downloaded no {package} of {}", self.name)))
    }

    fn apt(&self, program: &str, args: &[&str], dir: &Path) -> Result<String> {
        let at = self.dir.display();
        let mut argv = vec![program.to_owned()];
        for option in [
            format!("Dir::State={at}"),
            format!("Dir::State::status={at}/status"),
            format!("Dir::Cache={at}"),
            format!("Dir::Etc::sourcelist={at}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            // The user apt would change to cannot write to a home directory.
            "APT::Sandbox::User=root".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ] {
            argv.extend(["-o".to_owned(), option]);
        }
        argv.extend(args.iter().map(|&arg| arg.to_owned()));
        run_in(dir, &argv)
    }
}

/// Unpacks a package's files into a directory.
pub(crate) fn unpack(package: &Path, tree: &Path) -> Result<()> {
    run_in(Path::new("/"), &[OsStr::new("dpkg-deb"), OsStr::new("-x"), package.as_os_str(), tree.as_os_str()])
        .map(drop)
}

/// Runs a program that must succeed in a directory; its standard output.
pub(crate) fn run_in(dir: &Path, argv: &[impl AsRef<OsStr>]) -> Result<String> {
    run_within(Duration::from_mins(5), dir, argv)
}

/// As [`run_in`], for at most `limit`.
pub(crate) fn run_within(limit: Duration, dir: &Path, argv: &[impl AsRef<OsStr>]) -> Result<String> {
    let words = shell_words(argv);
    let mut command = Command::new(argv[0].as_ref());
    command.args(&argv[1..]).current_dir(dir).env("PATH", path()).env("LC_ALL", "C");
    run(command, &words, limit).into_result(&words, "the machine")
}

/// `PATH` with the places of administrators' programs.
pub(crate) fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned()))
}

/// The mirror in this machine's own Debian sources: it is near, or the only one that can be reached.
pub(crate) fn mirror() -> String {
    let files = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let paths =
        std::iter::once(PathBuf::from("/etc/apt/sources.list")).chain(files.map(|entry| entry.path()));
    let texts: Vec<String> = paths.filter_map(|path| fs::read_to_string(path).ok()).collect();
    mirror_in(&texts).unwrap_or_else(|| MIRROR.to_owned())
}

/// The first address of the form `http://HOST/debian` on a line that is in use.
fn mirror_in(texts: &[String]) -> Option<String> {
    let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
    let mut words = lines
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches('/'));
    words.find(|word| word.starts_with("http") && word.ends_with("/debian")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_machines_own() {
        let mirror_in =
            |texts: &[&str]| mirror_in(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        let modern =
            "Types: deb\n# http://old.test/debian\nURIs: http://near.test/debian/\nSuites: bookworm\n";
        let security = "URIs: http://near.test/debian-security\n";
        assert_eq!(mirror_in(&[security, modern]).as_deref(), Some("http://near.test/debian"));
        let classic = "deb [arch=amd64] https://near.test/debian bookworm main\n";
        assert_eq!(mirror_in(&["", classic]).as_deref(), Some("https://near.test/debian"));
        assert_eq!(mirror_in(&["deb http://x.test/ubuntu noble main"]), None);
    }
}
