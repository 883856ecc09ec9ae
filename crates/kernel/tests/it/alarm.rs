//! The clock and its alarm.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use landline_kernel::boottime::{self, Alarm, Sleep};
use tokio::time::timeout;

use crate::lab::DEADLINE;

const MOMENT: Duration = Duration::from_millis(20);

#[test]
fn the_clock_runs_and_the_boot_has_a_name() {
    let before = boottime::now();
    assert!(before > Duration::ZERO);
    assert!(boottime::now() >= before);
    let id = boottime::boot_id().unwrap();
    assert_eq!((id.len(), id == boottime::boot_id().unwrap()), (36, true));
}

#[tokio::test]
async fn a_sleep_ends_when_it_should_and_not_before() {
    let alarm = Alarm::start().unwrap();
    for _ in 0..3 {
        let until = boottime::now() + MOMENT;
        timeout(DEADLINE, alarm.sleep_until(until)).await.unwrap();
        assert!(boottime::now() >= until);
    }
    // What is past is over at once.
    timeout(DEADLINE, alarm.sleep_until(Duration::ZERO)).await.unwrap();
    timeout(DEADLINE, alarm.sleep_until(boottime::now())).await.unwrap();
}

#[tokio::test]
async fn a_nearer_sleep_is_not_held_up_by_a_farther_one() {
    let alarm = Alarm::start().unwrap();
    let far = tokio::spawn(alarm.sleep_until(Duration::MAX));
    tokio::task::yield_now().await;
    timeout(DEADLINE, alarm.sleep_until(boottime::now() + MOMENT)).await.unwrap();
    assert!(!far.is_finished());
    far.abort();
}

#[tokio::test]
async fn a_dropped_sleep_takes_nobody_along() {
    let alarm = Alarm::start().unwrap();
    loop {
        let first = boottime::now() + MOMENT;
        let other = tokio::spawn(alarm.sleep_until(first + MOMENT));
        // Polled once, then dropped: it was the first in line. A busy machine may have got there after its moment.
        let dropped = timeout(Duration::ZERO, alarm.sleep_until(first)).await.is_err();
        timeout(DEADLINE, other).await.unwrap().unwrap();
        if dropped {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_sleep_at_once() {
    let alarm = Alarm::start().unwrap();
    let awake = Arc::new(AtomicUsize::new(0));
    let start = boottime::now();
    let sleepers: Vec<_> = (0..5000u64)
        .map(|number| {
            let (alarm, awake) = (alarm.clone(), Arc::clone(&awake));
            tokio::spawn(async move {
                let until = start + Duration::from_millis(number * 7919 % 100);
                alarm.sleep_until(until).await;
                assert!(boottime::now() >= until);
                awake.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    for sleeper in sleepers {
        timeout(DEADLINE, sleeper).await.unwrap().unwrap();
    }
    assert_eq!(awake.load(Ordering::Relaxed), 5000);
}

#[tokio::test]
async fn sleepers_outlive_the_alarms_handles() {
    let alarm = Alarm::start().unwrap();
    let sleep = alarm.sleep_until(boottime::now() + MOMENT);
    drop(alarm);
    timeout(DEADLINE, sleep).await.unwrap();
}

/// A waker that is the last owner of another sleep, as a task's waker may be.
struct Owner(#[expect(dead_code, reason = "held to be dropped")] Mutex<Sleep>);

impl Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test]
async fn a_waker_may_end_another_sleep_when_it_is_dropped() {
    let alarm = Alarm::start().unwrap();
    let (done, finished) = tokio::sync::oneshot::channel();
    // On a thread of its own: should it lock up, the test still ends.
    thread::spawn(move || {
        let far = boottime::now() + DEADLINE * 100;
        let owner = || {
            let mut other = alarm.sleep_until(far);
            let polled = Pin::new(&mut other).poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
            Waker::from(Arc::new(Owner(Mutex::new(other))))
        };
        let mut sleep = alarm.sleep_until(far);
        // Replaced while registered, then dropped while registered.
        for waker in [owner(), owner()] {
            assert!(Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(sleep);
        done.send(()).unwrap();
    });
    timeout(DEADLINE, finished).await.expect("locked up").unwrap();
}

#[test]
fn without_a_runtime_there_is_no_alarm() {
    assert!(Alarm::start().is_err());
}
