//! Writing a bridge into the configuration of whoever configures the NIC at boot.
//!
//! What is written is the manager's own configuration of the NIC, given to the bridge instead: whatever it says about
//! addresses, DHCP, routes and names stays as its user wrote it. The files that are changed or made are kept as they
//! were, beside Landline's state, until the bridge is released.

mod ifupdown;
mod networkd;
mod networkmanager;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use landline_types::{IfName, Mac};
use landline_uplink::BridgeKind;
use serde::{Deserialize, Serialize};

use crate::files;
pub(super) use networkd::notes as by_networkd;
pub(super) use networkmanager::notes as by_networkmanager;

/// Where the files as they were are kept.
const KEPT: &str = "var/lib/landline/bridges";

/// Why a bridge cannot be made to last.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PersistError {
    #[error(
        "nobody configures {0} at boot that Landline knows (systemd-networkd, NetworkManager, ifupdown); leave out \
         --persist, and make the bridge where {0} is configured"
    )]
    NoManager(IfName),
    #[error(
        "{manager} configures {nic}, but {what}; leave out --persist, or configure the bridge there by hand"
    )]
    Unclear { manager: &'static str, nic: IfName, what: String },
    #[error("cannot {verb} {path}")]
    File {
        verb: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A file as it is to be, and as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Where it is.
    path: PathBuf,
    /// What will be in it.
    text: String,
    /// What was; `None`: there was no such file.
    before: Option<String>,
    /// Its permissions.
    mode: u32,
}

/// All that makes the bridge last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changes {
    /// Who configures the NIC.
    manager: String,
    /// What has to be typed, or done, for it to take notice before the next boot; nothing has to be.
    hint: String,
    files: Vec<Change>,
    /// Whether the bridge is one of Open vSwitch's, which is to stay in its database.
    #[serde(default)]
    switch: bool,
}

/// What there is to know of the NIC and its bridge.
#[derive(Debug, Clone)]
pub(crate) struct Nic<'a> {
    /// The file system to look at; `/`, except in tests.
    pub(crate) root: &'a Path,
    pub(crate) name: &'a IfName,
    /// The NIC's index, by which managers name their notes.
    pub(crate) index: u32,
    pub(crate) mac: Option<Mac>,
    pub(crate) bridge: &'a IfName,
    pub(crate) kind: BridgeKind,
}

impl Nic<'_> {
    /// Whether the bridge is one of Open vSwitch's.
    fn switch(&self) -> bool {
        self.kind != BridgeKind::Linux
    }
}

/// What to write for the manager that has the NIC.
pub(crate) fn plan(nic: &Nic<'_>) -> Result<Changes, PersistError> {
    for manager in [networkmanager::plan, networkd::plan, ifupdown::plan] {
        if let Some(changes) = manager(nic)? {
            return Ok(changes);
        }
    }
    Err(PersistError::NoManager(nic.name.clone()))
}

impl Changes {
    /// Writes the files, the copies of what was first. All of them, or none.
    pub(crate) fn write(&self, root: &Path, bridge: &IfName) -> Result<(), PersistError> {
        let kept = root.join(KEPT);
        let failed = |source| PersistError::File { verb: "make", path: kept.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&kept).map_err(failed)?;
        let copy = kept.join(format!("{bridge}.json"));
        let text = serde_json::to_string_pretty(self).map_err(io::Error::from);
        let text = text.map_err(|source| PersistError::File { verb: "write", path: copy.clone(), source })?;
        put(&copy, &text, 0o600)?;
        let written = self.files.iter().try_for_each(|file| put(&file.path, &file.text, file.mode));
        if written.is_err() {
            // Those that were not written yet are as they were.
            Self::undo(root, bridge)?;
        }
        written
    }

    /// Puts everything back that was written for this bridge. A file that somebody has changed since is left alone, and
    /// its path returned.
    pub(crate) fn undo(root: &Path, bridge: &IfName) -> Result<Vec<PathBuf>, PersistError> {
        let copy = root.join(KEPT).join(format!("{bridge}.json"));
        let text = match fs::read_to_string(&copy) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(|source| PersistError::File { verb: "read", path: copy.clone(), source })?,
        };
        let changes: Self = serde_json::from_str(&text)
            .map_err(io::Error::from)
            .map_err(|source| PersistError::File { verb: "understand", path: copy.clone(), source })?;
        let mut left = Vec::new();
        for file in changes.files {
            if fs::read_to_string(&file.path).ok().as_ref() != Some(&file.text) {
                left.push(file.path);
                continue;
            }
            match &file.before {
                Some(before) => put(&file.path, before, file.mode)?,
                None => fs::remove_file(&file.path).map_err(|source| PersistError::File {
                    verb: "remove",
                    path: file.path.clone(),
                    source,
                })?,
            }
        }
        fs::remove_file(&copy).map_err(|source| PersistError::File { verb: "remove", path: copy, source })?;
        Ok(left)
    }

    /// Whether the bridge is one that Open vSwitch keeps.
    pub(crate) const fn keeps_switch(&self) -> bool {
        self.switch
    }

    /// What to do for the manager to take notice before the next boot.
    pub(crate) fn hint(&self) -> &str {
        &self.hint
    }

    /// What will be in which file, for the user to read.
    pub(crate) fn show(&self) -> String {
        let files = self.files.iter().map(|file| {
            let what = if file.before.is_some() { "changed" } else { "new" };
            format!("# {} ({what})\n{}\n", file.path.display(), file.text.trim_end())
        });
        format!("For {}:\n\n{}\n{}\n", self.manager, files.collect::<Vec<_>>().join("\n"), self.hint)
    }
}

fn put(path: &Path, text: &str, mode: u32) -> Result<(), PersistError> {
    files::replace(path, text, mode).map_err(|source| PersistError::File {
        verb: "write",
        path: path.to_owned(),
        source,
    })
}

/// A file that is to be written; what is there now is read.
fn change(path: PathBuf, text: String, mode: u32) -> Result<Change, PersistError> {
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => {
            Some(read.map_err(|source| PersistError::File { verb: "read", path: path.clone(), source })?)
        }
    };
    let mode = match fs::metadata(&path) {
        Ok(there) => there.permissions().mode() & 0o7777,
        Err(_) => mode,
    };
    Ok(Change { path, text, before, mode })
}

/// A file's text, if it is there.
pub(super) fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The value of `key=` in a file of such lines.
pub(super) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('=')).map(str::trim)
}

/// The sections of an ini file in order: their names and their lines.
fn sections(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        match trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(name) => found.push((name.to_owned(), Vec::new())),
            None if trimmed.is_empty() || trimmed.starts_with('#') || trimmed.starts_with(';') => {}
            None => {
                if let Some((_, lines)) = found.last_mut() {
                    lines.push(line.to_owned());
                }
            }
        }
    }
    found
}

fn write_sections(sections: &[(String, Vec<String>)]) -> String {
    let section = |(name, lines): &(String, Vec<String>)| {
        let all = std::iter::once(format!("[{name}]")).chain(lines.iter().cloned());
        all.collect::<Vec<_>>().join("\n") + "\n"
    };
    sections.iter().map(section).collect::<Vec<_>>().join("\n")
}

/// What stands at the head of every file Landline makes for others.
fn head(nic: &Nic<'_>) -> String {
    format!("# Written by `landline bridge adopt {} --as {} --persist`.\n", nic.name, nic.bridge)
}

#[cfg(test)]
mod tests;
