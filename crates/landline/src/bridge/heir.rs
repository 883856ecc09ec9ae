//! The daemon takes the place of guards that were killed.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use landline_engine::chain;
use landline_kernel::NameWatch;
use landline_kernel::boottime::Alarm;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::record::{GuardRecord, Phase};
use super::{BridgeError, DIRECTORY, guard};

/// Follows the guards that there are, until `cancel`. What one that was killed has left undone is done, at the same time
/// as it would have done it; what is still to be done at the end of this daemon is for the next one.
pub(crate) async fn follow(cancel: CancellationToken) {
    let _ = DirBuilder::new().recursive(true).mode(0o700).create(DIRECTORY);
    let mut written = match NameWatch::anything_in(Path::new(DIRECTORY)) {
        Ok(watch) => watch,
        Err(error) => {
            tracing::warn!(%error, "cannot follow the processes that hold the way back from bridges");
            return;
        }
    };
    let tasks = TaskTracker::new();
    let mut followed = BTreeSet::new();
    loop {
        for record in GuardRecord::all() {
            if followed.insert((record.bridge.clone(), record.guard)) {
                let cancel = cancel.clone();
                tasks.spawn(async move { cancel.run_until_cancelled(stand_in(record)).await });
            }
        }
        match cancel.run_until_cancelled(written.appeared()).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => break,
        }
    }
    tasks.close();
    tasks.wait().await;
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
    let Some(now) = left() else { return };
    tracing::warn!(%bridge, %nic, "the process that holds the way back was killed; the daemon takes its place");
    match take_over(now).await {
        Ok(true) => tracing::info!(%bridge, "the bridge was confirmed and stays"),
        Ok(false) => tracing::warn!(%bridge, %nic, "nobody confirmed the bridge; everything is as it was"),
        Err(error) => tracing::error!(%bridge, %nic, error = %chain(&error), "the way back did not work"),
    }
}

/// Whether the bridge stays.
async fn take_over(record: GuardRecord) -> Result<bool, BridgeError> {
    let kept = match (record.phase, record.phase.deadline()) {
        (Phase::Waiting { .. }, Some(deadline)) => {
            let alarm = Alarm::start().map_err(BridgeError::Guard)?;
            let listener = guard::listen(&record.bridge)?;
            tokio::select! {
                () = guard::confirmed(listener) => true,
                // One who found nobody to confirm to has taken the record away.
                () = alarm.sleep_until(deadline) => !record.stands(),
            }
        }
        _ => false,
    };
    guard::finish(record, kept).await?;
    Ok(kept)
}
