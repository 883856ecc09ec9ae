//! The default routes that attachments replace, and the changes of routes that a container asks for.

use std::path::Path;

use landline_options::{Change, Pipework, Target};

use super::world::{WEB, World, request};

const DOCKERS: &str = "0.0.0.0/0 172.17.0.1 eth0";

/// Two attachments, each with a default route: the second has replaced that of the first.
async fn two() -> (World, super::world::Daemon) {
    let (world, daemon) = World::started().await;
    for (name, last) in [("lan0", 7), ("lan1", 8)] {
        let spec = format!("br0 198.51.100.{last}/24@198.51.100.{} ifname={name}", last + 100);
        daemon.attach(request(&spec)).await.unwrap();
    }
    assert_eq!(world.inside().routes, ["0.0.0.0/0 198.51.100.108 lan1"]);
    (world, daemon)
}

fn web() -> Target {
    Target::Netns(WEB.into())
}

#[tokio::test(start_paused = true)]
async fn routes_come_back_one_after_the_other() {
    let (world, daemon) = two().await;
    daemon.attach.detach(&web(), Some(&"lan1".parse().unwrap())).await.unwrap();
    assert_eq!(world.inside().routes, ["0.0.0.0/0 198.51.100.107 lan0"]);
    daemon.attach.detach(&web(), Some(&"lan0".parse().unwrap())).await.unwrap();
    assert_eq!(world.inside().routes, [DOCKERS]);
}

#[tokio::test(start_paused = true)]
async fn the_second_puts_back_what_the_first_had_replaced() {
    let (world, daemon) = two().await;
    daemon.attach.detach(&web(), Some(&"lan0".parse().unwrap())).await.unwrap();
    assert_eq!(world.inside().routes, ["0.0.0.0/0 198.51.100.108 lan1"]);
    let daemon = world.restart(daemon).await;
    daemon.detach().await.unwrap();
    assert_eq!(world.inside().routes, [DOCKERS]);
}

#[tokio::test(start_paused = true)]
async fn a_route_that_a_kill_switch_has_removed_does_not_come_back() {
    let (world, daemon) = two().await;
    world.host.namespaces().sandbox(WEB, |inside| inside.routes.clear());
    daemon.detach().await.unwrap();
    assert_eq!(world.inside().routes, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_put_back_in_a_namespace_that_is_another_one() {
    let (world, daemon) = two().await;
    world.end();
    world.begin();
    world.host.namespaces().sandbox(WEB, |inside| inside.routes.clear());
    daemon.detach().await.unwrap();
    assert_eq!(world.inside().routes, [""; 0]);
}

fn change(words: &str) -> Change {
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    match Pipework::parse(&words).unwrap() {
        Pipework::Change(_, change) => change,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_a_container_asks_for_is_made_once_in_a_start() {
    let (world, daemon) = World::started().await;
    let asked = change("route web add 10.0.0.0/8 via 172.17.0.9");
    let added = "10.0.0.0/8 172.17.0.9 ?";
    let ask = async |daemon: &super::world::Daemon| {
        let web = web();
        let done = daemon.attach.change_once("c", &web, Path::new(WEB), ("label", &asked));
        done.await.unwrap();
    };
    ask(&daemon).await;
    assert_eq!(world.inside().routes, [DOCKERS, added]);
    world.host.namespaces().sandbox(WEB, |inside| inside.routes.truncate(1));
    ask(&daemon).await;
    assert_eq!(world.inside().routes, [DOCKERS], "a route that the user removed stays removed");
    let daemon = world.restart(daemon).await;
    ask(&daemon).await;
    assert_eq!(world.inside().routes, [DOCKERS], "after a restart of the daemon, too");
    world.end();
    world.begin();
    ask(&daemon).await;
    assert_eq!(world.inside().routes, [DOCKERS, added], "another start");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_the_kernel_refuses_can_be_tried_again() {
    let (world, daemon) = World::started().await;
    let asked = change("route web add 10.0.0.0/8 via 172.17.0.9");
    world.host.namespaces().refuse(Some(landline_links::fake::Refused::Only(0)));
    for fails in [true, false] {
        let done = daemon.attach.change_once("c", &web(), Path::new(WEB), ("label", &asked)).await;
        assert_eq!(done.is_err(), fails, "{done:?}");
        assert_eq!(world.inside().routes.len(), 2 - usize::from(fails));
    }
}
