//! A link that was made again gets what it had.

use landline_leases::fake::wait_for;

use super::world::{Daemon, WEB, Way, World, request};

/// Somebody removes the interface in the container.
fn remove(world: &World, name: &str) {
    let namespaces = world.host.namespaces();
    let netns = landline_links::Namespaces::open(&namespaces, WEB.as_ref()).unwrap();
    let mut netlink = netns.requests().unwrap();
    let link = netlink.link_by_name(&name.parse().unwrap()).unwrap().unwrap();
    netlink.delete_link(link.index).unwrap();
}

/// The interface is gone when the next daemon starts, whose engine makes it again before attachments are looked at, or after that.
async fn made_again(world: &World, daemon: Daemon, before: bool) -> Daemon {
    world.kill(daemon).await;
    remove(world, "eth1");
    assert_eq!(world.addresses("eth1").len(), 0);
    world.start_once(|| !before || world.inside().names().contains(&"eth1")).await
}

#[tokio::test(start_paused = true)]
async fn a_link_that_was_made_again_has_its_addresses_again() {
    for before in [false, true] {
        let (world, daemon) = World::started().await;
        daemon.attach(request("br0 198.51.100.7/24 198.51.100.8/24 dhcp")).await.unwrap();
        let there = world.inside();
        assert_eq!(world.addresses("eth1").len(), 3);
        let daemon = made_again(&world, daemon, before).await;
        wait_for("it is as it was", || world.inside().links == there.links).await;
        assert_eq!(daemon.record().inside.unwrap().name.as_str(), "eth1");
    }
}

/// Another interface that has the default route by then keeps it.
#[tokio::test(start_paused = true)]
async fn a_link_that_was_made_again_takes_no_default_route_from_another() {
    let (world, daemon) = World::started().await;
    daemon.attach(request("br0 dhcp 198.51.100.7/24@198.51.100.1")).await.unwrap();
    let vpn = landline_kernel::Route::via("0.0.0.0/0".parse().unwrap(), "172.17.0.7".parse().unwrap()).oif(2);
    world.host.namespaces().sandbox(WEB, |inside| inside.routes = vec![vpn]);
    let daemon = made_again(&world, daemon, false).await;
    wait_for("it is there again", || world.addresses("eth1").len() == 2).await;
    assert_eq!(world.inside().routes, ["0.0.0.0/0 172.17.0.7 eth0"]);
    daemon.detach().await.unwrap();
    assert_eq!(world.inside().routes, ["0.0.0.0/0 172.17.0.7 eth0"]);
}

/// As its address is nobody's task, it is made again when the container starts.
#[tokio::test(start_paused = true)]
async fn one_that_nobody_makes_again_is_made_again_when_it_is_asked_for() {
    let (world, daemon) = World::started().await;
    daemon.attach(Way::Dummy.request()).await.unwrap();
    let there = world.inside();
    remove(&world, "eth1");
    daemon.attach(crate::AttachRequest { again: true, ..Way::Dummy.request() }).await.unwrap();
    assert_eq!(world.inside(), there);
}
