//! Other Docker engines, unpacked side by side from other Debian suites.

use std::fs;
use std::path::{Path, PathBuf};

use crate::apt::{AptSuite, run_in, unpack};
use crate::error::{Error, Result};

/// Suites whose Docker is another one.
const SUITES: [&str; 2] = ["trixie", "sid"];
/// An engine does not run without the first four; runc is the machine's, as theirs needs a newer libc. Compose 1.29 cannot
/// recreate containers on engine 28, so each engine has the Compose of its suite.
const PACKAGES: [&str; 5] = ["docker.io", "docker-cli", "containerd", "tini", "docker-compose"];

/// Unpacks the engines into `DIR/<version>` (some 230 MB each) and returns where they are. Suites whose engine is there
/// already are not asked again.
///
/// # Errors
/// If a package cannot be downloaded, or the engine in it does not run here.
pub fn fetch_engines(dir: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(dir).map_err(Error::file("cannot make", dir))?;
    let dir = fs::canonicalize(dir).map_err(Error::file("cannot find", dir))?;
    SUITES.into_iter().map(|suite| fetch(&dir, suite)).collect()
}

/// The unpacked engines in a directory, in the order of their names.
///
/// # Errors
/// If the directory cannot be listed.
pub fn unpacked_engines(dir: &Path) -> Result<Vec<PathBuf>> {
    let dir = fs::canonicalize(dir).map_err(Error::file("cannot find", dir))?;
    let entries = fs::read_dir(&dir).map_err(Error::file("cannot list", &dir))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("usr/sbin/dockerd").exists())
        .collect();
    found.sort();
    Ok(found)
}

/// A version without what a distribution has put behind it: `28.5.2+dfsg4` is `28.5.2`.
pub fn upstream_version(version: &str) -> &str {
    version.split(['+', '~', '-']).next().unwrap_or(version)
}

fn fetch(dir: &Path, suite: &'static str) -> Result<PathBuf> {
    // Says which engine a suite had when it was asked.
    let mark = dir.join(format!(".{suite}"));
    if let Some(place) =
        fs::read_to_string(&mark).ok().map(|version| dir.join(version)).filter(|dir| dir.exists())
    {
        return Ok(place);
    }
    // In the same file system, so that what is complete can be moved into place at once.
    let work =
        tempfile::tempdir_in(dir).map_err(Error::system(format!("cannot write to {}", dir.display())))?;
    let (lists, packages, tree) =
        (work.path().join("apt"), work.path().join("packages"), work.path().join("tree"));
    fs::create_dir(&packages).map_err(Error::file("cannot make", &packages))?;
    let apt = AptSuite::update(lists, suite)?;
    for package in PACKAGES {
        unpack(&apt.download(package, &packages)?, &tree)?;
    }
    let version = version_of(&tree)?;
    let place = dir.join(&version);
    if !place.exists() {
        fs::rename(&tree, &place).map_err(Error::file("cannot make", &place))?;
    }
    fs::write(&mark, version).map_err(Error::file("cannot write", mark))?;
    Ok(place)
}

/// `28.5.2` of `Docker version 28.5.2+dfsg4, build …`.
fn version_of(tree: &Path) -> Result<String> {
    let program = tree.join("usr/sbin/dockerd");
    let said = run_in(Path::new("/"), &[program.as_os_str(), "--version".as_ref()])?;
    let version = said.split_whitespace().nth(2).map(|word| upstream_version(word.trim_end_matches(',')));
    version
        .map(str::to_owned)
        .ok_or_else(|| Error::Unexpected(format!("{} says {said:?}", program.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_distribution_adds_is_left_out() {
        assert_eq!(
            ["28.5.2+dfsg4", "20.10.24", "29.0.0~rc1-1"].map(upstream_version),
            ["28.5.2", "20.10.24", "29.0.0"]
        );
    }
}
