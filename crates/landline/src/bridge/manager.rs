//! The network manager that has the NIC is told to leave it alone while the NIC is under a bridge that is not in its
//! configuration, and gets it back afterwards. What it is told is gone after a reboot, as the bridge is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use landline_types::IfName;
use tokio::process::Command;

use super::DIRECTORY;
use super::persist::{self, Nic};
use crate::files;

/// How long its own program may take to tell it.
const TOLD: Duration = Duration::from_secs(10);

/// Who can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Networkd,
    NetworkManager,
}

/// Why it was not told; the bridge works all the same.
#[derive(Debug, thiserror::Error)]
pub(super) enum ManagerError {
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{command}` failed: {said}")]
    Failed { command: String, said: String },
}

impl Manager {
    const ALL: [Self; 2] = [Self::Networkd, Self::NetworkManager];

    fn of(nic: &Nic<'_>) -> Option<Self> {
        Self::ALL.into_iter().find(|manager| match manager {
            Self::Networkd => persist::by_networkd(nic).is_some(),
            Self::NetworkManager => persist::by_networkmanager(nic).is_some(),
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Networkd => "systemd-networkd",
            Self::NetworkManager => "NetworkManager",
        }
    }

    async fn leave(self, nic: &IfName) -> Result<(), ManagerError> {
        match self {
            Self::Networkd => {
                let text = format!(
                    "# {nic} is the port of a bridge that Landline made.\n[Match]\nName={nic}\n\n[Link]\nUnmanaged=yes\n"
                );
                let path = networkd_file(nic);
                write(&path, &text, 0o644)?;
                call("networkctl", &["reload"]).await
            }
            // In its configuration (`unmanaged-devices`) it would take the NIC down.
            Self::NetworkManager => call("nmcli", &["device", "set", nic.as_str(), "managed", "no"]).await,
        }
    }

    async fn take(self, nic: &IfName) -> Result<(), ManagerError> {
        match self {
            Self::Networkd => {
                let _ = fs::remove_file(networkd_file(nic));
                call("networkctl", &["reload"]).await
            }
            Self::NetworkManager => call("nmcli", &["device", "set", nic.as_str(), "managed", "yes"]).await,
        }
    }
}

/// Before those that `--persist` writes, and all others.
fn networkd_file(nic: &IfName) -> PathBuf {
    PathBuf::from(format!("/run/systemd/network/04-landline-{nic}.network"))
}

/// Who was told to leave a NIC alone.
fn note(nic: &IfName) -> PathBuf {
    Path::new(DIRECTORY).join(format!("unmanaged-{nic}"))
}

/// Has whoever configures the NIC leave it alone; who that is, if anybody.
pub(super) async fn leave_alone(nic: &Nic<'_>) -> Result<Option<&'static str>, ManagerError> {
    let Some(manager) = Manager::of(nic) else { return Ok(None) };
    write(&note(nic.name), manager.name(), 0o600)?;
    manager.leave(nic.name).await?;
    Ok(Some(manager.name()))
}

/// Gives the NIC back to who had it.
pub(super) async fn give_back(nic: &IfName) -> Result<(), ManagerError> {
    let note = note(nic);
    let Ok(name) = fs::read_to_string(&note) else { return Ok(()) };
    let Some(manager) = Manager::ALL.into_iter().find(|manager| manager.name() == name) else {
        return Ok(());
    };
    manager.take(nic).await?;
    fs::remove_file(&note).map_err(|source| ManagerError::Write { path: note, source })
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), ManagerError> {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all);
    let written = written.and_then(|()| files::replace(path, text, mode));
    written.map_err(|source| ManagerError::Write { path: path.to_owned(), source })
}

/// Runs the manager's own program, which comes with it: what it would be told over D-Bus are two calls.
async fn call(program: &str, words: &[&str]) -> Result<(), ManagerError> {
    let failed =
        |said: String| ManagerError::Failed { command: format!("{program} {}", words.join(" ")), said };
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(TOLD, command.output()).await;
    let output = output.map_err(|_| failed(format!("no answer within {} s", TOLD.as_secs())))?;
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(said.lines().next().unwrap_or("it did not say why").to_owned()))
}
