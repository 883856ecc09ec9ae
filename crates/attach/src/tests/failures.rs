//! All or nothing: whatever fails, and whenever, the container and the host are as they were.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use landline_links::fake::Refused;
use tokio_util::sync::CancellationToken;

use super::for_each_way;
use super::world::{Daemon, Seen, Way, World};

fn nothing_left(world: &World, daemon: &Daemon, before: &[Seen; 2], when: &str) {
    assert_eq!(world.all(), *before, "{when}");
    assert!(daemon.attach.records().is_empty(), "{when}");
    assert!(daemon.engine.endpoints().is_empty() && daemon.engine.networks().is_empty(), "{when}");
    assert_eq!(world.lan.open_sockets(), 0, "{when}");
}

/// The host refuses each step of the plans, as many as there are.
async fn the_host_refuses_each_step(way: Way) {
    for step in 0.. {
        let (world, daemon) = World::started().await;
        let before = world.all();
        world.host.fail_at(Some(step));
        let attached = daemon.attach(way.request()).await;
        let all = world.host.taken() <= step;
        world.host.fail_at(None);
        if all {
            assert!(step > 0);
            attached.unwrap();
            return;
        }
        assert!(attached.is_err(), "step {step}");
        nothing_left(&world, &daemon, &before, &format!("step {step}: {attached:?}"));
        daemon.attach(way.request()).await.unwrap();
    }
}
for_each_way!(the_host_refuses_each_step);

/// A namespace refuses each change, as many as there are.
async fn a_namespace_refuses_each_change(way: Way) {
    for step in 0.. {
        let (world, daemon) = World::started().await;
        let (before, namespaces) = (world.all(), world.host.namespaces());
        namespaces.refuse(Some(Refused::Only(step)));
        let attached = daemon.attach(way.request()).await;
        let all = namespaces.asked() <= step;
        namespaces.refuse(None);
        if all {
            assert!(step > 0);
            attached.unwrap();
            return;
        }
        match attached {
            Err(error) => {
                nothing_left(&world, &daemon, &before, &format!("change {step}: {error:?}"));
                daemon.attach(way.request()).await.unwrap();
            }
            // Not all that is changed has to be: settings that a kernel may not have.
            Ok(_) => assert_eq!(world.inside().names(), ["eth0", "eth1"], "change {step}"),
        }
    }
}
for_each_way!(a_namespace_refuses_each_change);

/// The disk refuses each write, and works again for what is undone.
async fn the_disk_is_full(way: Way) {
    let (world, daemon) = World::started().await;
    let before = world.all();
    daemon.shared.store.break_after(0);
    let attached = daemon.attach(way.request()).await;
    daemon.shared.store.break_after(usize::MAX);
    assert!(attached.is_err());
    assert_eq!(world.all(), before);
    daemon.attach(way.request()).await.unwrap();
    daemon.detach().await.unwrap();
    nothing_left(&world, &daemon, &before, "detached");
}
for_each_way!(the_disk_is_full);

/// Gives up once a future was looked at this often.
struct GivingUp<'a, F> {
    inner: Pin<&'a mut F>,
    left: usize,
    cancel: CancellationToken,
}

impl<F: Future> Future for GivingUp<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.cancel.cancel(),
        }
        self.inner.as_mut().poll(cx)
    }
}

/// The caller gives up at each moment at which the attachment waits for something.
async fn it_is_given_up_at_each_step(way: Way) {
    for left in 0..10_000 {
        let (world, daemon) = World::started().await;
        let (before, cancel) = (world.all(), CancellationToken::new());
        let attached = pin!(daemon.attach.attach(way.request(), cancel.clone()));
        let attached = GivingUp { inner: attached, left, cancel: cancel.clone() }.await;
        if let Err(error) = attached {
            nothing_left(&world, &daemon, &before, &format!("moment {left}: {error:?}"));
            continue;
        }
        assert_eq!(world.inside().names(), ["eth0", "eth1"]);
        if !cancel.is_cancelled() {
            return;
        }
    }
    panic!("it never ends");
}
for_each_way!(it_is_given_up_at_each_step);

/// What cannot be taken away is still known, and can be tried again.
async fn a_namespace_refuses_each_change_of_the_end(way: Way) {
    for step in 0.. {
        let (world, daemon) = World::started().await;
        let (before, namespaces) = (world.all(), world.host.namespaces());
        daemon.attach(way.request()).await.unwrap();
        namespaces.refuse(Some(Refused::Only(step)));
        let detached = daemon.detach().await;
        let all = namespaces.asked() <= step;
        namespaces.refuse(None);
        if detached.is_err() {
            assert_eq!(daemon.attach.records().len(), 1, "change {step}");
            daemon.detach().await.unwrap();
        }
        assert!(daemon.attach.records().is_empty());
        if all {
            assert_eq!(world.all(), before);
            return;
        }
    }
}
for_each_way!(a_namespace_refuses_each_change_of_the_end);
