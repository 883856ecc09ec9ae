//! The clock and its alarm.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use landline_kernel::boottime::{self, Alarm};
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
    let first = boottime::now() + MOMENT;
    let other = tokio::spawn(alarm.sleep_until(first + MOMENT));
    // Polled once, then dropped: it was the first in line.
    let dropped = timeout(Duration::ZERO, alarm.sleep_until(first)).await;
    assert!(dropped.is_err());
    timeout(DEADLINE, other).await.unwrap().unwrap();
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
async fn a_sleeper_may_hold_another_sleep_when_it_ends() {
    // The waker in the map is the last to hold this task once the handle is gone; waking ends the task, whose
    // end drops the other sleep.
    let alarm = Alarm::start().unwrap();
    let (first, second) = (boottime::now() + MOMENT, boottime::now() + MOMENT * 500);
    let (done, finished) = tokio::sync::oneshot::channel();
    let inner = alarm.clone();
    drop(tokio::spawn(async move {
        let mut other = std::pin::pin!(inner.sleep_until(second));
        tokio::select! {
            () = &mut other => {}
            () = inner.sleep_until(first) => {}
        }
        let _ = done.send(());
    }));
    timeout(DEADLINE, finished).await.unwrap().unwrap();
}

#[test]
fn without_a_runtime_there_is_no_alarm() {
    assert!(Alarm::start().is_err());
}
