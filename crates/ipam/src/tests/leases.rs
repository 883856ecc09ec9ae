//! Leases for endpoints to come.

use std::time::Duration;

use landline_dhcp::wire::dhcpv4::MessageType;
use landline_engine::CreateEndpoint;
use landline_leases::fake::wait_for;
use landline_options::EndpointOptions;
use landline_types::chain;
use tokio_util::sync::CancellationToken;

use super::world::{Daemon, LAN, World, endpoint, ip, starting};

const FIRST: &str = "198.51.100.10/24";
const SECOND: &str = "198.51.100.11/24";

fn released(world: &World) -> usize {
    world.lan.four(|lan| lan.sent(MessageType::Release))
}

/// Why an endpoint does not get the address that was leased for it; the empty text: it does.
fn refused(daemon: &Daemon, request: &CreateEndpoint) -> String {
    daemon.ipam.reservation(request).map_or_else(|error| chain(&error), |_| String::new())
}

#[tokio::test(start_paused = true)]
async fn the_endpoint_has_the_lease_that_was_made_for_it() {
    let (world, daemon) = World::started().await;
    let pool = daemon.leased(None).await;
    let leased = daemon.address(&pool, None, starting(Some("web"))).await.unwrap();
    assert_eq!(leased.to_string(), FIRST);
    assert_eq!(daemon.says(&pool, None, Some("db")).await, SECOND);
    let request = Daemon::request(1, leased);
    let reservation = daemon.ipam.reservation(&request).unwrap();
    assert!(reservation.is_some());
    assert_eq!(daemon.ipam.reservation(&request).unwrap(), None, "it is the first one's");
    let request = CreateEndpoint { reservation, ..request };
    daemon.engine.create_endpoint(request.clone(), CancellationToken::new()).await.unwrap();
    assert_eq!(daemon.ipam.reservation(&request).unwrap(), None, "it is there");
    let lease = daemon.engine.endpoint(&endpoint(1)).unwrap().status().unwrap().lease.unwrap();
    assert_eq!(ip("198.51.100.10"), lease.address);
    assert_eq!(released(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_named_is_asked_for() {
    let (_world, daemon) = World::started().await;
    let pool = daemon.leased(Some(LAN)).await;
    assert_eq!(daemon.says(&pool, Some("198.51.100.42"), Some("web")).await, "198.51.100.42/24");
    let options = EndpointOptions { ip: "198.51.100.43".parse().ok(), ..EndpointOptions::default() };
    let labelled = landline_engine::Starting { options, ..starting(Some("db")) };
    let given = daemon.address(&pool, None, labelled).await.unwrap();
    assert_eq!(given.to_string(), "198.51.100.43/24", "in a label");
    let six = daemon.says(&pool, Some("2001:db8::7"), Some("x")).await;
    assert!(six.starts_with("which subnet 2001:db8::7 is in was not said"), "{six}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_outside_the_subnet_is_refused_and_given_back() {
    let (world, daemon) = World::started().await;
    let pool = daemon.leased(Some("192.0.2.0/24")).await;
    assert_eq!(
        daemon.says(&pool, None, Some("web")).await,
        "the DHCP server gave 198.51.100.10, which is not within --subnet 192.0.2.0/24; create the network again with the \
         LAN's own subnet"
    );
    assert_eq!(released(&world), 1);
}

/// The endpoint is never made: Docker lets go of the address.
#[tokio::test(start_paused = true)]
async fn a_lease_that_docker_lets_go_of_is_given_back() {
    let (world, daemon) = World::started().await;
    let pool = daemon.leased(None).await;
    let leased = daemon.address(&pool, None, starting(None)).await.unwrap();
    daemon.ipam.release_address(&pool, leased.addr()).await.unwrap();
    wait_for("it is given back", || released(&world) == 1).await;
    assert_eq!(daemon.ipam.reservation(&Daemon::request(1, leased)).unwrap(), None);
}

/// The endpoint is never made, and nobody says so.
#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_comes_for_is_free_after_a_minute() {
    for (seconds, gone) in [(59, 0), (61, 1)] {
        let (world, daemon) = World::started().await;
        let pool = daemon.leased(None).await;
        let leased = daemon.address(&pool, None, starting(None)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        daemon.address(&pool, None, starting(Some("db"))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(released(&world), gone, "after {seconds} s");
        if gone == 0 {
            let waits = daemon.ipam.reservation(&Daemon::request(1, leased)).unwrap();
            assert!(waits.is_some(), "after {seconds} s");
        }
    }
}

/// The next daemon does not remember whose the lease is; the server does.
#[tokio::test(start_paused = true)]
async fn after_a_restart_the_endpoint_asks_for_the_address_that_docker_has() {
    let (world, daemon) = World::started().await;
    let pool = daemon.leased(None).await;
    let leased = daemon.address(&pool, None, starting(Some("web"))).await.unwrap();
    let daemon = world.restart(daemon).await;
    let request = Daemon::request(1, leased);
    assert_eq!(daemon.ipam.reservation(&request).unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_too_late_is_refused() {
    let (_world, daemon) = World::started().await;
    let pool = daemon.leased(None).await;
    let named = daemon.address(&pool, None, starting(Some("web"))).await.unwrap();
    let nameless = daemon.address(&pool, None, starting(None)).await.unwrap();
    let mac = "02:00:00:00:00:07".parse().ok();
    let again = "only after the address was leased, because the container was just created; start it again: docker start web";
    for (address, is_named) in [(named, true), (nameless, false)] {
        let request = Daemon::request(1, address);
        let with = |change: fn(&mut EndpointOptions)| {
            let mut request = request.clone();
            change(&mut request.options);
            request
        };
        let client_id = with(|options| options.client_id = "x".parse().ok());
        let other = with(|options| options.ip = "198.51.100.99".parse().ok());
        for (option, request) in [("client_id", client_id), ("ip", other)] {
            assert_ne!(request.options, EndpointOptions::default(), "{option}");
            let says = refused(&daemon, &request);
            assert!(says.contains(option), "{says}");
            assert_eq!(says.contains(again), is_named, "{says}");
        }
        let says = refused(&daemon, &CreateEndpoint { mac, ..request.clone() });
        assert!(says.contains("--mac-address") && says.contains(again) == is_named, "{says}");
        // A key that nobody has is that of whom Docker named.
        let key = with(|options| options.id = Some("shop".into()));
        let says = refused(&daemon, &key);
        assert_eq!(says.is_empty(), is_named, "{says}");
        assert!(is_named || says.contains("landline.id"), "{says}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_has_no_lease() {
    let (world, daemon) = World::started().await;
    let pool = daemon.leased(None).await;
    world.lan.four(|lan| lan.serve(false));
    let bridges = world.host.names();
    let request = crate::RequestAddress { pool: pool.clone(), named: None, container: starting(Some("web")) };
    let cancel = CancellationToken::new();
    let (given, ()) = tokio::join!(daemon.ipam.request_address(request, cancel.clone()), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cancel.cancel();
    });
    assert!(given.is_err(), "{given:?}");
    assert_eq!((world.lan.open_sockets(), world.host.names()), (0, bridges));
    world.lan.four(|lan| lan.serve(true));
    assert_eq!(daemon.says(&pool, None, Some("web")).await, FIRST);
}
