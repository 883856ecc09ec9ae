//! The process that holds the way back.
//!
//! It has its own session, so that a terminal or a connection that breaks does not end it, and everything it needs in
//! memory before anything is changed. What it is about is written down too (`record.rs`), in case it is killed.

use std::fs::remove_file;
use std::time::Duration;

use landline_kernel::Acceptor;
use landline_kernel::boottime::{self, Alarm};
use landline_types::IfName;
use landline_uplink::BridgeKind;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};

use super::record::{GuardRecord, Phase};
use super::{BridgeError, CONFIRM, DONE, Pending, READY, back, socket};

/// Waits for the command's word that it is done, then for somebody's that the host is well; goes back if either does not
/// come. Without `within` the command's word is enough.
pub(super) async fn run(
    bridge: &IfName,
    nic: &IfName,
    kind: BridgeKind,
    within: Option<Duration>,
) -> Result<(), BridgeError> {
    // It leads a session already if it was started by hand; that is as good.
    let _ = rustix::process::setsid();
    // Its own name is that of the link it was started by.
    let _ = rustix::thread::set_name(c"landline-guard");
    let mut told_to_end = signal(SignalKind::terminate()).map_err(BridgeError::Guard)?;
    let alarm = Alarm::start().map_err(BridgeError::Guard)?;
    let listener = within.map(|_| listen(bridge)).transpose()?;
    let command = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
    let mut record = GuardRecord::own(bridge, nic, kind, command).map_err(BridgeError::Guard)?;
    record.enter(Phase::Working).map_err(BridgeError::Guard)?;

    let mut stdout = tokio::io::stdout();
    say(&mut stdout).await;
    let mut orders = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    let done = tokio::select! {
        read = orders.read_line(&mut line) => read.is_ok() && line == DONE,
        _ = told_to_end.recv() => false,
    };
    let kept = match (listener, within) {
        _ if !done => false,
        (Some(listener), Some(within)) => {
            let deadline = boottime::now() + within;
            // One that cannot be written is not taken over; it is kept all the same.
            let _ = record.enter(Phase::waiting(deadline));
            say(&mut stdout).await;
            tokio::select! {
                () = confirmed(listener) => true,
                () = alarm.sleep_until(deadline) => false,
                _ = told_to_end.recv() => false,
            }
        }
        _ => {
            say(&mut stdout).await;
            true
        }
    };
    finish(record, kept).await
}

/// Where a confirmation comes in.
pub(super) fn listen(bridge: &IfName) -> Result<Acceptor, BridgeError> {
    let path = socket(bridge);
    let _ = remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(|source| BridgeError::Listen { path, source })?;
    Ok(Acceptor::new(listener, "bridge guard"))
}

/// The end of a guard's work, when nobody can confirm any more.
pub(super) async fn finish(mut record: GuardRecord, kept: bool) -> Result<(), BridgeError> {
    let _ = remove_file(socket(&record.bridge));
    if !kept {
        let _ = record.enter(Phase::GoingBack);
        let _ = remove_file(Pending::path(&record.bridge));
        back(&record.bridge, &record.nic, record.kind()).await?;
    }
    record.remove();
    Ok(())
}

/// Whoever waits may be gone: then nobody hears it.
async fn say(stdout: &mut tokio::io::Stdout) {
    if stdout.write_all(READY.as_bytes()).await.is_ok() {
        let _ = stdout.flush().await;
    }
}

/// Returns when somebody has confirmed, and was told so.
pub(super) async fn confirmed(mut listener: Acceptor) {
    // Only root reaches the socket. Who connects and says something else, or nothing, is not listened to.
    while answer_one(listener.accept().await).await.is_none() {}
}

async fn answer_one(mut stream: UnixStream) -> Option<()> {
    let mut asked = vec![0; CONFIRM.len()];
    let read = tokio::time::timeout(Duration::from_secs(1), stream.read_exact(&mut asked)).await;
    read.ok()?.ok()?;
    if asked != CONFIRM.as_bytes() {
        return None;
    }
    stream.write_all(CONFIRM.as_bytes()).await.ok()
}
