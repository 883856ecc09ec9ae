//! The process that holds the way back.
//!
//! It has its own session, so that a terminal or a connection that breaks does not end it, and everything it needs in
//! memory before anything is changed.

use std::fs::remove_file;
use std::time::Duration;

use landline_engine::uplink::BridgeKind;
use landline_kernel::boottime::{self, Alarm};
use landline_types::IfName;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};

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
    let mut told_to_end = signal(SignalKind::terminate()).map_err(BridgeError::Guard)?;
    let alarm = Alarm::start().map_err(BridgeError::Guard)?;
    let path = socket(bridge);
    let listener = match within {
        Some(_) => {
            let failed = |source| BridgeError::Listen { path: path.clone(), source };
            let _ = remove_file(&path);
            Some(UnixListener::bind(&path).map_err(failed)?)
        }
        None => None,
    };

    let mut stdout = tokio::io::stdout();
    say(&mut stdout).await;
    let mut orders = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    let done = tokio::select! {
        read = orders.read_line(&mut line) => read.is_ok() && line == DONE,
        _ = told_to_end.recv() => false,
    };
    let kept = match (&listener, within) {
        _ if !done => false,
        (Some(listener), Some(within)) => {
            let deadline = boottime::now() + within;
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
    // From here on nobody can confirm any more.
    drop(listener);
    if within.is_some() {
        let _ = remove_file(&path);
    }
    if !kept {
        let _ = remove_file(Pending::path(bridge));
        back(bridge, nic, kind).await?;
    }
    Ok(())
}

/// Whoever waits may be gone: then nobody hears it.
async fn say(stdout: &mut tokio::io::Stdout) {
    if stdout.write_all(READY.as_bytes()).await.is_ok() {
        let _ = stdout.flush().await;
    }
}

/// Returns when somebody has confirmed, and was told so.
async fn confirmed(listener: &UnixListener) {
    loop {
        // Only root reaches the socket. Who connects and says something else, or nothing, is not listened to.
        let Ok((stream, _)) = listener.accept().await else { std::future::pending().await };
        if converse(stream).await.is_some() {
            return;
        }
    }
}

async fn converse(mut stream: UnixStream) -> Option<()> {
    let mut asked = vec![0; CONFIRM.len()];
    let read = tokio::time::timeout(Duration::from_secs(1), stream.read_exact(&mut asked)).await;
    read.ok()?.ok()?;
    if asked != CONFIRM.as_bytes() {
        return None;
    }
    stream.write_all(CONFIRM.as_bytes()).await.ok()
}
