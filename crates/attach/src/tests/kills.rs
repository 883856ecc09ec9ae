//! Killed at any write, the next daemon has what was answered, and can begin or end what was not.

use std::future::Future as _;
use std::task::Poll;

use landline_leases::fake::wait_for;
use landline_links::blocking;

use super::for_each_way;
use super::world::{Way, World};

/// Attaches and detaches while only this many writes reach the disk, and the daemon is killed after each. Returns how many
/// writes the longer half of that takes.
async fn killed_after(way: Way, writes: usize) -> usize {
    let (world, daemon) = World::started().await;
    let before = world.all();
    daemon.shared.store.break_after(writes);
    let attached = daemon.attach(way.request()).await.is_ok();
    let begun = daemon.shared.store.written();
    let inside = world.inside();
    let daemon = world.restart(daemon).await;
    if attached {
        assert_eq!(world.inside(), inside, "{writes} writes");
        assert!(daemon.record().inside.is_some(), "{writes} writes");
    }
    // The user asks again.
    daemon.attach(way.request()).await.unwrap();
    assert_eq!(world.inside().names(), ["eth0", "eth1"], "{writes} writes");
    assert_eq!(daemon.attach.records().len(), 1, "{writes} writes");

    daemon.shared.store.break_after(writes);
    let detached = daemon.detach().await.is_ok();
    let ended = daemon.shared.store.written();
    let daemon = world.restart(daemon).await;
    if detached {
        assert!(daemon.attach.records().is_empty(), "{writes} writes");
    } else {
        daemon.detach().await.unwrap();
    }
    assert_eq!(world.all(), before, "{writes} writes");
    begun.max(ended)
}

async fn killed_after_each_write(way: Way) {
    let all = killed_after(way, usize::MAX).await;
    assert!(all > 0);
    for writes in 0..=all {
        killed_after(way, writes).await;
    }
}
for_each_way!(killed_after_each_write);

/// The daemon is killed at each moment at which something is waited for, and the next one is asked again.
async fn killed_at_each_moment(way: Way) {
    // What is under way when the daemon is killed ends before the next one starts: blocking work has one thread.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).max_blocking_threads(1).build().unwrap();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(killed(way)));
    done.await.unwrap();
}

async fn killed(way: Way) {
    let whole = {
        let (world, daemon) = World::started().await;
        daemon.attach(way.request()).await.unwrap();
        world.addresses("eth1")
    };
    for moments in 1..10_000 {
        let (world, daemon) = World::started().await;
        let before = world.all();
        let mut attached = Box::pin(daemon.attach(way.request()));
        let mut left = moments;
        let done = std::future::poll_fn(|cx| {
            left -= 1;
            match attached.as_mut().poll(cx) {
                Poll::Pending if left > 0 => Poll::Pending,
                looked => Poll::Ready(looked.is_ready()),
            }
        });
        let done = done.await;
        drop(attached);
        blocking(|| ()).await;
        let daemon = world.restart(daemon).await;
        daemon.attach(way.request()).await.unwrap();
        assert_eq!(world.inside().names(), ["eth0", "eth1"], "{moments} moments");
        // The server may have given the address of before to who was killed.
        let is_whole =
            || world.addresses("eth1").len() == whole.len() && world.inside().links[1].contains("up=true");
        wait_for("it is whole", is_whole).await;
        daemon.detach().await.unwrap();
        assert_eq!(world.all(), before, "{moments} moments");
        if done {
            return;
        }
    }
    panic!("it never ends");
}
for_each_way!(killed_at_each_moment);
