//! One kernel timer for any number of sleepers (`timerfd_create(2)`).
//!
//! tokio's own timers count `CLOCK_MONOTONIC`, which stands still while the machine sleeps: a lease would
//! outlive itself on a laptop that was closed over night. One task waits for the descriptor and wakes whoever
//! is due; sleepers only touch a sorted map.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

use super::now;
use crate::sys;

/// An alarm clock on `CLOCK_BOOTTIME`. Clones share one timer and one task, which end with the last clone and
/// the last sleep. The task ends with its runtime, too: nobody wakes who still sleeps on another one then.
#[derive(Debug, Clone)]
pub struct Alarm(Arc<Driven>);

/// Ends the task with its last user.
#[derive(Debug)]
struct Driven {
    clock: Arc<Clock>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Clock {
    timer: AsyncFd<OwnedFd>,
    sleepers: Mutex<Sleepers>,
}

/// Who sleeps until when; the number tells apart those who sleep until the same moment.
///
/// A waker is never dropped or woken with the lock held: it may be the last that holds a task, whose end may
/// drop another sleep, which takes the lock.
#[derive(Debug, Default)]
struct Sleepers {
    by_time: BTreeMap<(Duration, u64), Waker>,
    next_number: u64,
}

impl Alarm {
    /// A new alarm clock. Must be called within a tokio runtime, which runs its task.
    pub fn start() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let timer = sys::register(timer)?;
        let clock = Arc::new(Clock { timer, sleepers: Mutex::default() });
        let task = tokio::spawn(Arc::clone(&clock).run()).abort_handle();
        Ok(Self(Arc::new(Driven { clock, task })))
    }

    /// Sleeps until [`now`] is at least `deadline`: at once if it is already. Dropping the future ends the
    /// sleep and leaves nothing behind.
    pub fn sleep_until(&self, deadline: Duration) -> Sleep {
        Sleep { alarm: Arc::clone(&self.0), deadline, number: None }
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Clock {
    async fn run(self: Arc<Self>) {
        loop {
            let mut expirations = [0; 8];
            let read = self.timer.async_io(sys::READABLE, |fd| Ok(rustix::io::read(fd, &mut expirations)?));
            if let Err(error) = read.await {
                tracing::error!(%error, "the alarm clock stopped");
                return;
            }
            self.wake_due();
        }
    }

    fn wake_due(&self) {
        let mut sleepers = self.lock();
        // Everything up to now, whatever its number.
        let later = sleepers.by_time.split_off(&(now(), u64::MAX));
        let due = std::mem::replace(&mut sleepers.by_time, later);
        self.arm(&sleepers);
        drop(sleepers);
        for waker in due.into_values() {
            waker.wake();
        }
    }

    /// Sets the timer to the first sleeper. With the lock held, so that it is always the first.
    fn arm(&self, sleepers: &Sleepers) {
        let Some(((first, _), _)) = sleepers.by_time.first_key_value() else { return };
        // The kernel takes a far future for "never"; zero would disarm, but nobody sleeps until zero.
        let at = Timespec {
            tv_sec: i64::try_from(first.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(first.subsec_nanos()),
        };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        if let Err(error) = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec) {
            tracing::error!(%error, "cannot set the alarm clock");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sleepers> {
        // Nothing here leaves the map half-changed when it panics.
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sleep; see [`Alarm::sleep_until`].
#[derive(Debug)]
#[must_use = "a future does nothing unless awaited"]
pub struct Sleep {
    alarm: Arc<Driven>,
    deadline: Duration,
    /// Set while this is in the map, or was and has been woken.
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if now() >= self.deadline {
            self.leave();
            return Poll::Ready(());
        }
        let alarm = Arc::clone(&self.alarm);
        let mut sleepers = alarm.clock.lock();
        let number = *self.number.get_or_insert_with(|| {
            sleepers.next_number += 1;
            sleepers.next_number
        });
        let key = (self.deadline, number);
        let replaced = sleepers.by_time.insert(key, context.waker().clone());
        if sleepers.by_time.first_key_value().is_some_and(|(first, _)| *first == key) {
            alarm.clock.arm(&sleepers);
        }
        drop(sleepers);
        drop(replaced);
        Poll::Pending
    }
}

impl Sleep {
    fn leave(&mut self) {
        if let Some(number) = self.number.take() {
            // The timer may still go off for it; that wakes nobody.
            let waker = self.alarm.clock.lock().by_time.remove(&(self.deadline, number));
            drop(waker);
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.leave();
    }
}
