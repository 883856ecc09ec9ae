//! Killed at any write, the next daemon has what was answered, and can begin or end what was not.

use super::for_each_way;
use super::world::{Way, World};

/// Attaches and detaches while only this many writes reach the disk, and the daemon is killed after each. Returns how many
/// writes the longer half of that takes.
async fn killed_after(way: Way, writes: usize) -> usize {
    let (world, daemon) = World::started().await;
    let before = world.all();
    daemon.engine.store().break_after(writes);
    let attached = daemon.attach(way.request()).await.is_ok();
    let begun = daemon.engine.store().written();
    let inside = world.inside();
    let daemon = world.restart(daemon).await;
    if attached {
        assert_eq!(world.inside(), inside, "{writes} writes");
        assert!(daemon.record().inside.is_some(), "{writes} writes");
    }
    // Whoever wanted it asks again.
    daemon.attach(way.request()).await.unwrap();
    assert_eq!(world.inside().names(), ["eth0", "eth1"], "{writes} writes");
    assert_eq!(daemon.attach.records().len(), 1, "{writes} writes");

    daemon.engine.store().break_after(writes);
    let detached = daemon.detach().await.is_ok();
    let ended = daemon.engine.store().written();
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
