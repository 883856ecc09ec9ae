//! The key that the hosts of a site share, and what the configuration makes of it.

use std::fs::File;
use std::fs::Permissions;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use landline_engine::Derivation;
use landline_model::{SiteKey, SiteKeyError};
use landline_options::ConfigFile;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::files;
use crate::parts::Parts;

/// The longest file that can be a key and the end of its line, in octets.
const MAX_FILE: u64 = 128;

/// Why there is no site key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteError {
    #[error("cannot use the site key in {path}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{path} has no site key in it; remove the file to have a new one made, or put the key of another host there"
    )]
    Damaged {
        path: PathBuf,
        #[source]
        source: SiteKeyError,
    },
    #[error(transparent)]
    Key(#[from] SiteKeyError),
}

/// The site key, in its file.
#[derive(Debug)]
pub(crate) struct Site {
    path: PathBuf,
    key: watch::Sender<SiteKey>,
    /// Whether it is in the file.
    stored: AtomicBool,
}

impl Site {
    /// Reads the key in this directory, or makes one for the first time: for root alone.
    pub(crate) fn open(state_dir: &Path) -> Result<Arc<Self>, SiteError> {
        let path = state_dir.join("site.key");
        let failed = |source| SiteError::File { path: path.clone(), source };
        let mut stored = true;
        let key = match File::open(&path) {
            Ok(file) => {
                // A copy from another host may be readable for all.
                if let Err(error) = file.set_permissions(Permissions::from_mode(0o600)) {
                    tracing::warn!(%error, path = %path.display(), "the site key may be readable for others");
                }
                let mut text = String::new();
                file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
                text.parse().map_err(|source| SiteError::Damaged { path: path.clone(), source })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = draw().map_err(failed)?;
                if let Err(error) = files::replace(&path, &format!("{key}\n"), 0o600) {
                    // Containers go on as they are; what would be derived from a key that is lost is drawn.
                    tracing::warn!(%error, path = %path.display(), "the site key cannot be stored; no identity is derived");
                    stored = false;
                }
                key
            }
            Err(error) => return Err(failed(error)),
        };
        Ok(Arc::new(Self { path, key: watch::Sender::new(key), stored: AtomicBool::new(stored) }))
    }

    /// The key as text.
    pub(crate) fn text(&self) -> String {
        self.key.borrow().to_string()
    }

    /// Takes the key of another host. Identities that there are stay as they are.
    pub(crate) fn replace(&self, text: &str) -> Result<(), SiteError> {
        let key: SiteKey = text.parse()?;
        let written = files::replace(&self.path, &format!("{key}\n"), 0o600);
        written.map_err(|source| SiteError::File { path: self.path.clone(), source })?;
        self.stored.store(true, Ordering::Relaxed);
        self.key.send_replace(key);
        Ok(())
    }

    /// Declares what identities are derived from, and what becomes of containers that have none for certain.
    pub(crate) fn declare(&self, parts: &Parts, config: &ConfigFile) {
        let key = self.key.borrow().of_site(&config.identity.site);
        let key = Some(key).filter(|_| self.stored.load(Ordering::Relaxed));
        parts.engine.derive_identities(Derivation { key, by_default: config.identity.derive });
        parts.refused_starts.allow(config.identity.restart_unsure);
    }

    /// Does so whenever the key or the configuration changes, until `cancel`.
    pub(crate) fn follow(
        self: Arc<Self>,
        parts: Arc<Parts>,
        mut config: watch::Receiver<Arc<ConfigFile>>,
        cancel: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        // From now on, not from the first poll.
        let mut key = self.key.subscribe();
        async move {
            loop {
                let changed = async {
                    tokio::select! {
                        changed = config.changed() => changed,
                        changed = key.changed() => changed,
                    }
                };
                match cancel.run_until_cancelled(changed).await {
                    Some(Ok(())) => self.declare(&parts, &config.borrow_and_update().clone()),
                    Some(Err(_)) | None => return,
                }
            }
        }
    }
}

/// A new key.
fn draw() -> io::Result<SiteKey> {
    let mut octets = [0; 32];
    getrandom::fill(&mut octets).map_err(io::Error::other)?;
    Ok(SiteKey::new(octets))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_is_for_root_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Site::open(dir.path()).unwrap().text();
        assert_eq!(Site::open(dir.path()).unwrap().text(), first);
        let file = dir.path().join("site.key");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{first}\n"));
        assert_ne!(Site::open(tempfile::tempdir().unwrap().path()).unwrap().text(), first);
    }

    #[test]
    fn the_key_of_another_host_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::open(dir.path()).unwrap();
        let other = "ab".repeat(32);
        site.replace(&format!("{other}\n")).unwrap();
        assert_eq!((site.text(), Site::open(dir.path()).unwrap().text()), (other.clone(), other));
        let before = site.text();
        site.replace("no key").unwrap_err();
        assert_eq!((site.text(), Site::open(dir.path()).unwrap().text()), (before.clone(), before));
    }

    #[test]
    fn a_damaged_file_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("site.key");
        for text in ["", "xyz", &"0".repeat(5000)] {
            fs::write(&file, text).unwrap();
            assert!(Site::open(dir.path()).unwrap_err().to_string().contains("site.key"));
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }
}
