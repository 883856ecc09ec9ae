//! The daemon takes the place of guards that were killed.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landline_kernel::NameWatch;
use landline_kernel::boottime::Alarm;
use landline_types::chain;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::record::{GuardRecord, Phase};
use super::{BridgeError, DIRECTORY, guard};

/// Follows the guards that there are, until `cancel`. What one that was killed has left undone is done, at the same time
/// as it would have done it; what is still to be done at the end of this daemon is for the next one.
pub(crate) async fn follow(cancel: CancellationToken) {
    let _ = DirBuilder::new().recursive(true).mode(0o700).create(DIRECTORY);
    let mut written = Followed::begin(Path::new(DIRECTORY));
    let tasks = TaskTracker::new();
    let mut followed = BTreeSet::new();
    loop {
        for record in GuardRecord::all() {
            if followed.insert((record.bridge.clone(), record.guard)) {
                let cancel = cancel.clone();
                tasks.spawn(async move { cancel.run_until_cancelled(stand_in(record)).await });
            }
        }
        if cancel.run_until_cancelled(written.changed()).await.is_none() {
            break;
        }
    }
    tasks.close();
    tasks.wait().await;
}

/// A directory in which something may be written. What cannot be followed is looked at again and again, less and less often.
struct Followed {
    directory: PathBuf,
    watch: Option<NameWatch>,
    pause: Duration,
}

impl Followed {
    fn begin(directory: &Path) -> Self {
        let mut followed = Self { directory: directory.to_owned(), watch: None, pause: PAUSE };
        if let Err(error) = followed.open() {
            tracing::warn!(%error, "cannot follow the processes that hold the way back from bridges; looking again and again");
        }
        followed
    }

    fn open(&mut self) -> io::Result<()> {
        self.watch = Some(NameWatch::anything_in(&self.directory)?);
        self.pause = PAUSE;
        Ok(())
    }

    /// Returns when it is to be looked at again.
    async fn changed(&mut self) {
        if let Some(watch) = &mut self.watch {
            match watch.appeared().await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "lost sight of the processes that hold the way back from bridges");
                    self.watch = None;
                }
            }
        }
        tokio::time::sleep(self.pause).await;
        self.pause = longer(self.pause);
        // It warned when that failed first.
        let _ = self.open();
    }
}

/// The first pause before something that failed is tried again; it doubles.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_mins(1);

fn longer(pause: Duration) -> Duration {
    LONGEST.min(pause * 2)
}

/// Waits for the end of a guard; if it has left its work undone, does it.
async fn stand_in(record: GuardRecord) {
    let (bridge, nic) = (record.bridge.clone(), record.nic.clone());
    record.guard.ended().await;
    let left = || GuardRecord::read(&bridge).filter(|now| now.guard == record.guard);
    let Some(now) = left() else { return };
    if now.phase.deadline().is_none() {
        // The command notices, and puts everything back itself.
        now.command.ended().await;
    }
    if left().is_some() {
        tracing::warn!(%bridge, %nic, "the process that holds the way back was killed; the daemon takes its place");
    }
    let mut pause = PAUSE;
    while let Some(now) = left() {
        match take_over(now).await {
            Ok(true) => return tracing::info!(%bridge, "the bridge was confirmed and stays"),
            Ok(false) => {
                return tracing::warn!(%bridge, %nic, "nobody confirmed the bridge; everything is as it was");
            }
            Err(error) => {
                tracing::error!(%bridge, %nic, error = %chain(&error), "the way back did not work; trying again");
            }
        }
        tokio::time::sleep(pause).await;
        pause = longer(pause);
    }
}

/// Whether the bridge stays.
async fn take_over(record: GuardRecord) -> Result<bool, BridgeError> {
    let kept = match (record.phase, record.phase.deadline()) {
        (Phase::Waiting { .. }, Some(deadline)) => {
            let alarm = Alarm::start().map_err(BridgeError::Guard)?;
            let confirmed = async {
                match guard::listen(&record.bridge) {
                    Ok(listener) => guard::confirmed(listener).await,
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "nobody can confirm the bridge");
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                () = confirmed => true,
                // One who found nobody to confirm to has taken the record away.
                () = alarm.sleep_until(deadline) => !record.stands(),
            }
        }
        _ => false,
    };
    guard::finish(record, kept).await?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_followed_is_looked_at_until_it_can() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("guards");
        let mut followed = Followed::begin(&directory);
        followed.changed().await;
        assert!(followed.watch.is_none() && followed.pause > PAUSE);
        std::fs::create_dir(&directory).unwrap();
        followed.changed().await;
        assert!(followed.watch.is_some());
        let nothing = tokio::time::timeout(Duration::from_millis(20), followed.changed()).await;
        assert!(nothing.is_err());
        std::fs::write(directory.join("br0.guard"), "").unwrap();
        tokio::time::timeout(Duration::from_secs(10), followed.changed()).await.unwrap();
    }
}
