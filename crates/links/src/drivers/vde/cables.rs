//! Taps plugged into switches that others run, and plugged in again when such a switch comes back.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use landline_types::IfName;
use landline_vde::{Plug, PlugError, WireId, WireLost, Wires};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::runtime::Handle;

use super::board::BoardError;
use crate::blocking;

/// How long a switch may take to give out a port.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first pause before a switch that has gone is tried again; it doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest.
const LONGEST: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
struct Cable {
    tap: IfName,
    dir: PathBuf,
    /// When it was plugged in last.
    since: Instant,
    /// The pause before that: zero, unless the switch keeps ending the connection.
    pause: Duration,
}

/// How long a switch that ended a connection is left alone. One that held is worth another try at once; whoever ends each
/// of them is asked less and less often.
fn pause_after(held: Duration, before: Duration) -> Duration {
    if held >= LONGEST { Duration::ZERO } else { (before * 2).clamp(PAUSE, LONGEST) }
}

/// What starts the wires; the system may have no thread or descriptor for them.
struct Starter(fn(Lost) -> io::Result<Wires>);

type Lost = Box<dyn Fn(WireLost) + Send>;

impl Default for Starter {
    fn default() -> Self {
        Self(Wires::start)
    }
}

/// All cables. Each ends with its tap.
#[derive(Default)]
pub(crate) struct Cables {
    starter: Starter,
    wires: OnceLock<Wires>,
    plugged: Mutex<BTreeMap<WireId, Cable>>,
    /// Those whose switch is waited for.
    waiting: Mutex<Vec<IfName>>,
}

impl Cables {
    fn plugged(&self) -> MutexGuard<'_, BTreeMap<WireId, Cable>> {
        self.plugged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<IfName>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.plugged().is_empty() && self.waiting().is_empty()
    }

    /// Whether a tap has a cable, if only one whose other end is loose.
    pub(crate) fn has(&self, tap: &IfName) -> bool {
        self.plugged().values().any(|cable| cable.tap == *tap) || self.waiting().contains(tap)
    }

    /// Plugs a tap, which is called `name` on the host, into the switch in `dir`. A `patient` one is plugged in behind the
    /// caller's back, at once or when the switch is there. Must be called within a runtime.
    pub(crate) fn plug_in(
        self: &Arc<Self>,
        name: &IfName,
        tap: OwnedFd,
        dir: &Path,
        patient: bool,
    ) -> Result<(), BoardError> {
        let cable =
            Cable { tap: name.clone(), dir: dir.to_owned(), since: Instant::now(), pause: Duration::ZERO };
        if patient {
            self.wait(&Handle::current(), cable, tap);
            return Ok(());
        }
        let plug = connect(&cable).map_err(BoardError::Plug)?;
        self.join(self.wires().map_err(BoardError::Wires)?, cable, tap, plug);
        Ok(())
    }

    /// What moves the frames, from the first cable on.
    fn wires(self: &Arc<Self>) -> io::Result<&Wires> {
        if let Some(wires) = self.wires.get() {
            return Ok(wires);
        }
        let (cables, runtime) = (Arc::downgrade(self), Handle::current());
        let started = (self.starter.0)(Box::new(move |lost| {
            if let Some(cables) = cables.upgrade() {
                cables.lost(&runtime, lost);
            }
        }))?;
        Ok(self.wires.get_or_init(|| started))
    }

    fn join(&self, wires: &Wires, cable: Cable, tap: OwnedFd, plug: Plug) {
        // Whoever reports its end waits until it is known.
        let mut plugged = self.plugged();
        plugged.insert(wires.join(tap, plug), cable);
    }

    fn lost(self: &Arc<Self>, runtime: &Handle, lost: WireLost) {
        let cable = self.plugged().remove(&lost.wire);
        // Without a tap the container has ended, or was disconnected.
        let (Some(mut cable), Some(tap)) = (cable, lost.tap) else { return };
        let before = cable.pause;
        cable.pause = pause_after(cable.since.elapsed(), before);
        if before.is_zero() {
            tracing::warn!(dir = %cable.dir.display(), tap = %cable.tap, "a VDE switch has ended; waiting for it");
        }
        self.wait(runtime, cable, tap);
    }

    /// Tries after the cable's pause, and again and again, until the switch is back or the tap is gone.
    fn wait(self: &Arc<Self>, runtime: &Handle, mut cable: Cable, tap: OwnedFd) {
        self.waiting().push(cable.tap.clone());
        let cables = Arc::downgrade(self);
        runtime.spawn(async move {
            let mut pause = cable.pause;
            loop {
                tokio::time::sleep(pause).await;
                if is_gone(&tap) {
                    break;
                }
                let wanted = cable.clone();
                let plug = blocking(move || connect(&wanted)).await.map_err(BoardError::Plug);
                let Some(cables) = cables.upgrade() else { return };
                match plug.and_then(|plug| Ok((cables.wires().map_err(BoardError::Wires)?, plug))) {
                    Ok((wires, plug)) => {
                        if cable.pause.is_zero() {
                            tracing::info!(dir = %cable.dir.display(), tap = %cable.tap, "plugged into its VDE switch");
                        }
                        cable.since = Instant::now();
                        cables.waiting().retain(|name| *name != cable.tap);
                        return cables.join(wires, cable, tap, plug);
                    }
                    Err(error) if pause.is_zero() => {
                        let (dir, error) = (cable.dir.display(), landline_types::chain(&error));
                        tracing::warn!(%dir, tap = %cable.tap, %error, "waiting for a VDE switch");
                    }
                    Err(_) => {}
                }
                pause = (pause * 2).clamp(PAUSE, LONGEST);
            }
            if let Some(cables) = cables.upgrade() {
                cables.waiting().retain(|name| *name != cable.tap);
            }
        });
    }
}

fn connect(cable: &Cable) -> Result<Plug, PlugError> {
    let description = format!("landline {} pid={}", cable.tap, std::process::id());
    Plug::connect(&cable.dir, &description, PATIENCE)
}

/// Whether the interface of a tap is gone.
fn is_gone(tap: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(tap, PollFlags::IN)];
    let polled = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_ok() && fds[0].revents().contains(PollFlags::ERR)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use landline_vde::{Switch, SwitchConfig};

    use super::*;

    #[test]
    fn a_switch_that_ends_every_connection_is_asked_less_and_less_often() {
        let (mut pause, mut waited, mut tries) = (Duration::ZERO, Duration::ZERO, 0);
        while waited < Duration::from_mins(1) {
            pause = pause_after(Duration::from_millis(1), pause);
            (waited, tries) = (waited + pause, tries + 1);
        }
        assert!((12..20).contains(&tries), "{tries} tries in a minute");
        assert_eq!(pause_after(LONGEST, pause), Duration::ZERO, "one that held is worth a try at once");
    }

    #[tokio::test]
    async fn a_cable_is_not_lost_if_it_cannot_be_joined_at_once() {
        static TRIES: AtomicUsize = AtomicUsize::new(0);
        let starter = Starter(|lost| match TRIES.fetch_add(1, Ordering::Relaxed) {
            0 => Err(io::ErrorKind::OutOfMemory.into()),
            _ => Wires::start(lost),
        });
        let above = tempfile::tempdir().unwrap();
        let dir = above.path().join("switch");
        let config = SwitchConfig { dir: dir.clone(), management: None, group: None, ports: 4 };
        let switch = Switch::start(&config, || {}).unwrap();
        let (tap, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        tap.set_nonblocking(true).unwrap();
        let cables = Arc::new(Cables { starter, ..Cables::default() });
        cables.plug_in(&"tap0".parse().unwrap(), tap.into(), &dir, true).unwrap();
        let joined = async {
            while cables.plugged().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), joined).await.unwrap();
        assert_eq!(TRIES.load(Ordering::Relaxed), 2);
        assert!(cables.waiting().is_empty());
        switch.remove();
    }
}
