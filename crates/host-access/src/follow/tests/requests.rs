//! What commands, the configuration and Docker's networks ask for.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::*;

fn numbered(address: &str) -> Access {
    Access { addresses: vec![address.parse().unwrap()], ..Access::new("lan") }
}

#[tokio::test(start_paused = true)]
async fn what_a_command_enabled_outlives_the_daemon_until_it_is_disabled() {
    let world = World::new();
    let daemon = world.started();
    world.network(Mode::Macvlan, false);
    let before = world.picture();
    let view = daemon.access.enable(Access::new("lan")).await.unwrap();
    assert_eq!((view.state, view.by), (AccessState::Ready, AccessOrigin::Command));
    let (records, _) = world.kill(daemon).await;
    assert_eq!(records, [Access::new("lan")]);
    let daemon = world.started();
    quiet().await;
    assert!(world.shim().is_some());
    daemon.access.disable("lan").await.unwrap();
    assert_eq!(world.picture(), before);
    assert!(matches!(daemon.access.disable("lan").await, Err(AccessError::NotEnabled(_))));
    let (records, _) = world.kill(daemon).await;
    assert!(records.is_empty());
    let _daemon = world.started();
    quiet().await;
    assert_eq!(world.picture(), before, "what its user removed stays removed");
}

/// A kernel that refuses everything from some step on: the command fails, it is not stored, and what could not be taken back
/// then is when something happens next.
#[tokio::test(start_paused = true)]
async fn a_command_that_fails_leaves_nothing() {
    let mut failed = 0;
    for n in 0.. {
        let world = World::new();
        let daemon = world.started();
        world.network(Mode::Macvlan, false);
        quiet().await;
        let before = world.picture();
        world.fake.refuse(Some(Refused::From(n)));
        let enabled = daemon.access.enable(numbered("198.51.100.200/24")).await;
        let refused = world.fake.asked() > n;
        world.fake.refuse(None);
        world.container(1, "198.51.100.65");
        quiet().await;
        assert_eq!(enabled.is_err(), refused, "step {n}: {enabled:?}");
        assert_eq!(world.picture() == before, refused, "step {n}");
        assert_eq!(world.kill(daemon).await.0.is_empty(), refused, "step {n}");
        if !refused {
            break;
        }
        failed += 1;
    }
    assert!(failed >= 4, "a shim, rules, settings, an address: {failed}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_a_machine_on_the_lan_has_is_refused() {
    let world = World::new();
    let squatted: Ipv4Addr = "198.51.100.200".parse().unwrap();
    world.lan.four(|lan| lan.squat(squatted));
    let daemon = world.started();
    world.network(Mode::Macvlan, false);
    let before = world.picture();
    let refused = daemon.access.enable(numbered("198.51.100.200/24")).await;
    assert!(matches!(refused, Err(AccessError::Unfit(Unfit::InUse { .. }))), "{refused:?}");
    assert_eq!(world.picture(), before);
    for taken in ["198.51.100.10/24", "198.51.100.65/24"] {
        world.container(1, "198.51.100.65");
        let refused = daemon.access.enable(numbered(taken)).await;
        assert!(matches!(refused, Err(AccessError::Unfit(Unfit::InUse { .. }))), "{refused:?}");
    }
    daemon.access.enable(numbered("198.51.100.201/24")).await.unwrap();
    assert_eq!(world.routes(), ["198.51.100.65/32 src 198.51.100.201"]);
}

#[tokio::test(start_paused = true)]
async fn a_line_of_the_configuration_is_done_and_its_removal_undoes_it() {
    let world = World::new();
    let daemon = world.started();
    world.network(Mode::Macvlan, false);
    let before = world.picture();
    daemon.access.declare(vec![Access::new("lan"), Access::new("nowhere")]);
    eventually("there is a shim", || world.shim().is_some()).await;
    quiet().await;
    assert!(state(&daemon)[1].starts_with("there is no Docker network nowhere"), "{:?}", state(&daemon));
    assert!(matches!(daemon.access.disable("lan").await, Err(AccessError::Declared(_))));
    daemon.access.declare(Vec::new());
    eventually("it is gone", || world.shim().is_none()).await;
    assert_eq!(world.picture(), before);
    assert!(world.kill(daemon).await.0.is_empty(), "it is not stored");
}

#[tokio::test(start_paused = true)]
async fn an_address_of_the_configuration_is_waited_for_until_it_is_free() {
    let world = World::new();
    let daemon = world.started();
    world.network(Mode::Macvlan, false);
    world.container(1, "198.51.100.200");
    daemon.access.declare(vec![numbered("198.51.100.200/24")]);
    eventually("it is shown", || state(&daemon).iter().any(|s| s.contains("container web1 has it"))).await;
    assert_eq!(world.shim(), None);
    world.container_ends(1);
    eventually("it has it then", || world.shim().is_some_and(|shim| shim.up)).await;
    assert_eq!(state(&daemon), ["ready"]);
}

#[tokio::test(start_paused = true)]
async fn a_shim_with_an_address_has_rules_and_takes_them_along() {
    let world = World::new();
    let daemon = world.started();
    world.network(Mode::Macvlan, false);
    daemon.access.declare(vec![numbered("198.51.100.200/24")]);
    eventually("there is a shim", || world.shim().is_some_and(|shim| shim.up)).await;
    assert!(
        world.fake.scripts()[0].contains("arp daddr ip 198.51.100.200 drop"),
        "{:?}",
        world.fake.scripts()
    );
    daemon.access.declare(Vec::new());
    eventually("it is gone", || world.shim().is_none()).await;
    assert_eq!(world.fake.scripts().len(), 2, "and its rules");
}

fn loosely() -> Access {
    Access { loosen: true, ..Access::new("lan") }
}

#[tokio::test(start_paused = true)]
async fn a_strict_filter_is_the_users_to_loosen_and_is_put_back() {
    let world = World::new();
    world.fake.write("eth0", "rp_filter", "1");
    let daemon = world.started();
    world.network(Mode::Ipvlan, false);
    let refused = daemon.access.enable(Access::new("lan")).await;
    assert!(matches!(refused, Err(AccessError::Unfit(Unfit::Unsuitable(_)))), "{refused:?}");
    assert_eq!(world.fake.read("eth0", "rp_filter").unwrap(), "1");
    daemon.access.enable(loosely()).await.unwrap();
    assert_eq!(world.fake.read("eth0", "rp_filter").unwrap(), "2");
    let (_, loosened) = world.kill(daemon).await;
    assert_eq!(loosened, [RpFilterRecord { parent: "eth0".parse().unwrap(), before: 1 }]);
    let daemon = world.started();
    daemon.access.disable("lan").await.unwrap();
    assert_eq!(world.fake.read("eth0", "rp_filter").unwrap(), "1");
    assert!(world.kill(daemon).await.1.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_somebody_has_set_meanwhile_stays() {
    let world = World::new();
    world.fake.write("eth0", "rp_filter", "1");
    let daemon = world.started();
    world.network(Mode::Ipvlan, false);
    daemon.access.enable(loosely()).await.unwrap();
    world.fake.write("eth0", "rp_filter", "0");
    daemon.access.disable("lan").await.unwrap();
    assert_eq!(world.fake.read("eth0", "rp_filter").unwrap(), "0");
    assert!(world.kill(daemon).await.1.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_cannot_be_put_back_is_owed() {
    let world = World::new();
    world.fake.write("eth0", "rp_filter", "1");
    let daemon = world.started();
    world.network(Mode::Ipvlan, false);
    daemon.access.enable(loosely()).await.unwrap();
    quiet().await;
    world.fake.refuse(Some(Refused::From(0)));
    daemon.access.disable("lan").await.unwrap();
    assert_eq!(world.fake.read("eth0", "rp_filter").unwrap(), "2");
    let (_, loosened) = world.kill(daemon).await;
    assert_eq!(loosened.len(), 1);
    world.fake.refuse(None);
    let daemon = world.started();
    eventually("it is put back", || world.fake.read("eth0", "rp_filter").unwrap() == "1").await;
    eventually("so is the shim", || world.shim().is_none()).await;
    assert!(world.kill(daemon).await.1.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_network_of_another_driver_is_reached_as_docker_says_it_is() {
    let world = World::new();
    let daemon = world.started();
    let member = crate::Member {
        endpoint: "e1".parse().unwrap(),
        container: Some("db".into()),
        mac: Some(mac(5)),
        addresses: vec![ip("198.51.100.70")],
        sandbox: Some(PathBuf::from("/sandbox/5")),
    };
    let network = SeenNetwork {
        name: "theirs".into(),
        driver: "macvlan".into(),
        wire: Wire::Macvlan,
        parent: Some("eth0".parse().unwrap()),
        subnets: vec!["198.51.100.0/24".parse().unwrap()],
        members: vec![member],
    };
    let networks = BTreeMap::from([("b".repeat(64).parse().unwrap(), network)]);
    assert!(matches!(
        daemon.access.enable(Access::new("theirs")).await,
        Err(AccessError::Unfit(Unfit::NoNetwork(_)))
    ));
    daemon.access.see(Seen { connected: true, complete: true, networks });
    daemon.access.enable(Access::new("theirs")).await.unwrap();
    assert_eq!(world.routes(), ["198.51.100.70/32 src 198.51.100.10"]);
    daemon.access.see(Seen { connected: true, complete: true, networks: BTreeMap::new() });
    eventually("it went", || state(&daemon) == ["there is no such network now"]).await;
    assert!(world.shim().is_none());
}
