//! What container runtimes ask for.

use std::path::Path;

use landline_model::{RuntimeApi, RuntimeFailure, RuntimeInterface, RuntimeOwner};
use landline_types::IfName;
use tokio_util::sync::CancellationToken;

use super::world::{Daemon, WEB, World};
use crate::AttachFailure;

const OTHER: &str = "/run/netns/other";

fn owner(container: &str, interface: &str) -> RuntimeOwner {
    RuntimeOwner {
        api: RuntimeApi::Cni,
        network: "lan".into(),
        container: container.into(),
        interface: interface.parse().unwrap(),
        name: Some("default/web".into()),
    }
}

async fn add(
    daemon: &Daemon,
    owner: &RuntimeOwner,
    sandbox: &str,
    spec: &str,
) -> Result<RuntimeInterface, AttachFailure> {
    let spec = format!("{spec} ifname={}", owner.interface).parse().unwrap();
    let made =
        daemon.attach.attach_for_runtime(owner.clone(), sandbox.into(), spec, CancellationToken::new());
    made.await
}

#[tokio::test(start_paused = true)]
async fn the_answer_is_what_the_interface_has_and_is_the_same_again() {
    let (world, daemon) = World::started().await;
    let before = world.all();
    let pod = owner("c1", "net1");
    let first = add(&daemon, &pod, WEB, "br0 198.51.100.7/24").await.unwrap();
    assert_eq!(first.name.as_str(), "net1");
    assert_eq!(first.addresses, ["198.51.100.7/24".parse().unwrap()]);
    assert_eq!(add(&daemon, &pod, WEB, "br0 198.51.100.7/24").await.unwrap(), first);
    assert_eq!(daemon.attach.runtime_interface(&pod).await.unwrap(), first);
    let daemon = world.restart(daemon).await;
    assert_eq!(daemon.attach.runtime_interface(&pod).await.unwrap(), first);
    assert!(daemon.attach.detach_for_runtime(&pod).await.unwrap());
    assert!(!daemon.attach.detach_for_runtime(&pod).await.unwrap(), "asked again, nothing is there");
    assert_eq!(world.all(), before);
}

/// A runtime gives the default route to the first of a container's networks that has one.
#[tokio::test(start_paused = true)]
async fn a_default_route_that_is_there_stays() {
    let (world, daemon) = World::started().await;
    let before = world.inside().routes;
    let pod = owner("c1", "net1");
    add(&daemon, &pod, WEB, "br0 198.51.100.7/24@198.51.100.1").await.unwrap();
    assert_eq!(world.inside().routes, before);
    daemon.attach.detach_for_runtime(&pod).await.unwrap();
    world.host.namespaces().sandbox(WEB, |inside| inside.routes.clear());
    let made = add(&daemon, &pod, WEB, "br0 198.51.100.7/24@198.51.100.1").await.unwrap();
    assert_eq!(world.inside().routes, ["0.0.0.0/0 198.51.100.1 net1"]);
    assert_eq!(made.routes.len(), 1, "it is in the answer");
}

/// The runtime has not said that the container ended, and starts it in another namespace.
#[tokio::test(start_paused = true)]
async fn what_an_owner_has_in_another_namespace_ends() {
    let (world, daemon) = World::started().await;
    let before = world.inside();
    world.host.namespaces().sandbox(OTHER, |_| ());
    let pod = owner("c1", "net1");
    add(&daemon, &pod, WEB, "br0 198.51.100.7/24").await.unwrap();
    add(&daemon, &pod, OTHER, "br0 198.51.100.7/24").await.unwrap();
    assert_eq!(world.inside(), before);
    assert_eq!(daemon.record().inside.unwrap().sandbox, Path::new(OTHER));
}

#[tokio::test(start_paused = true)]
async fn an_interface_whose_namespace_is_another_by_now_is_lost() {
    let (world, daemon) = World::started().await;
    let pod = owner("c1", "net1");
    add(&daemon, &pod, WEB, "br0 198.51.100.7/24").await.unwrap();
    world.end();
    world.begin();
    let lost = daemon.attach.runtime_interface(&pod).await.unwrap_err();
    assert_eq!(lost.kind(), RuntimeFailure::Lost);
    assert_eq!(lost.to_string(), "default/web has no interface net1 of Landline's any more");
}

#[tokio::test(start_paused = true)]
async fn what_a_runtime_does_not_keep_ends() {
    let (world, daemon) = World::started().await;
    let pods = [owner("c1", "net1"), owner("c1", "net2"), owner("c2", "net3")];
    for (pod, last) in pods.iter().zip(7..) {
        add(&daemon, pod, WEB, &format!("br0 198.51.100.{last}/24")).await.unwrap();
    }
    let kept: [(String, IfName); 1] = [("c1".into(), "net2".parse().unwrap())];
    let keep = |network: &'static str| daemon.attach.keep_for_runtime(RuntimeApi::Cni, network, &kept);
    assert_eq!(keep("another").await.unwrap(), 0);
    assert_eq!(keep("lan").await.unwrap(), 2);
    assert_eq!(world.inside().names(), ["eth0", "net2"]);
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_in_the_runtimes_words() {
    let (world, daemon) = World::started().await;
    let before = world.all();
    for (interface, sandbox, spec, kind) in [
        ("eth0", WEB, "br0 198.51.100.7/24", RuntimeFailure::NameTaken),
        ("net1", "/run/netns/gone", "br0 198.51.100.7/24", RuntimeFailure::NoSandbox),
        ("net1", WEB, "br9 198.51.100.7/24", RuntimeFailure::Later),
        ("net1", "/proc/1/ns/net", "br0 198.51.100.7/24", RuntimeFailure::Request),
        ("net1", WEB, "br9 198.51.100.7/24 create=true", RuntimeFailure::Request),
    ] {
        let refused = add(&daemon, &owner("c1", interface), sandbox, spec).await.unwrap_err();
        assert_eq!(refused.kind(), kind, "{refused}");
        assert_eq!((world.all(), daemon.attach.records().len()), (before.clone(), 0));
    }
}
