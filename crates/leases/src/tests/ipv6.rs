//! Routers, `DHCPv6` and addresses of one's own.

use landline_dhcp::v6::StateName;
use landline_dhcp::wire::dhcpv6::MessageType;
use landline_options::Ipv6Mode;

use super::{Lab, pass, sandbox, until, wait};
use crate::ipv6::Status6;
use crate::lease::Supervised;

/// The address that the server gives first.
const LEASED: &str = "2001:db8:0:1::1:1";

fn lab(mode: Ipv6Mode) -> Lab {
    Lab::with(|options| options.ipv6 = mode)
}

fn has(status: &Status6, address: &str) -> bool {
    status.current.addresses.iter().any(|own| own.net.addr().to_string() == address)
}

fn has_own(status: &Status6) -> bool {
    status.current.addresses.iter().any(|own| own.net.addr().to_string() != LEASED)
}

/// A container that runs with all that it can have.
async fn running(mode: Ipv6Mode) -> (Lab, Supervised<Status6>) {
    let lab = lab(mode);
    let supervised = lab.start6().await;
    let all = |status: &Status6| if mode == Ipv6Mode::Slaac { has_own(status) } else { status.settled };
    wait(&supervised, "addresses", all).await;
    lab.join(&supervised, None).await;
    until("addresses in the container", || !lab.inside().is_empty()).await;
    pass(10).await;
    (lab, supervised)
}

fn leases(lab: &Lab) -> bool {
    lab.inside().iter().any(|net| net.starts_with(LEASED))
}

#[tokio::test(start_paused = true)]
async fn a_router_and_a_server_give_an_address_each() {
    let (lab, supervised) = running(Ipv6Mode::Auto).await;
    let status = supervised.status.borrow().clone();
    assert!(has(&status, LEASED) && has_own(&status), "{status:?}");
    assert!(leases(&lab));
    assert_eq!(status.current.routers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_routers_a_server_is_asked() {
    let lab = lab(Ipv6Mode::Dhcp);
    lab.lan.six(|lan| lan.route(false));
    let supervised = lab.start6().await;
    let status = wait(&supervised, "a lease", |status| has(status, LEASED)).await;
    assert!(!has_own(&status) && status.current.routers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn servers_are_not_asked_where_that_is_not_wanted() {
    let (lab, supervised) = running(Ipv6Mode::Slaac).await;
    assert!(has_own(&supervised.status.borrow()));
    assert_eq!(lab.lan.six(|lan| lan.sent(MessageType::Solicit)), 0);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_runs_has_no_socket_open_between_questions() {
    let (lab, _supervised) = running(Ipv6Mode::Auto).await;
    until("it is quiet", || lab.lan.open_sockets() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_in_time() {
    let (lab, supervised) = running(Ipv6Mode::Auto).await;
    pass(3600).await;
    assert!(has(&supervised.status.borrow(), LEASED));
    let renewed = lab.lan.six(|lan| lan.sent(MessageType::Renew));
    assert!((20..60).contains(&renewed), "{renewed} in an hour, of a lease of five minutes");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_extends_ends_and_its_address_goes() {
    let (lab, supervised) = running(Ipv6Mode::Auto).await;
    lab.lan.six(|lan| lan.serve(false));
    wait(&supervised, "its end", |status| !has(status, LEASED)).await;
    until("the address goes", || !leases(&lab)).await;
    assert!(lab.lan.six(|lan| lan.sent(MessageType::Rebind)) > 0, "others were asked");
    lab.lan.six(|lan| lan.serve(true));
    wait(&supervised, "another lease", |status| has(status, LEASED)).await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_waits_for_a_link_that_is_being_moved() {
    let lab = lab(Ipv6Mode::Dhcp);
    let supervised = lab.start6().await;
    wait(&supervised, "an address", |status| has(status, LEASED)).await;
    let before = lab.lan.six(|lan| lan.probes());
    lab.leave(&supervised);
    pass(5).await;
    assert_eq!(lab.lan.six(|lan| lan.probes()), before);
    lab.sandboxes.set_up(&sandbox(), &lab.mark(), Vec::new());
    pass(10).await;
    assert!(lab.lan.six(|lan| lan.probes()) > before);
}

#[tokio::test(start_paused = true)]
async fn an_address_of_ones_own_goes_with_its_router() {
    let (lab, supervised) = running(Ipv6Mode::Slaac).await;
    lab.lan.six(|lan| lan.route(false));
    wait(&supervised, "the router is forgotten", |status| status.current.routers.is_empty()).await;
    wait(&supervised, "the prefix ends", |status| !status.has_address()).await;
    until("the address goes", || !lab.inside().iter().any(|net| net.starts_with("2001:"))).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_router_says_unasked_is_heard_without_a_socket() {
    let lab = lab(Ipv6Mode::Auto);
    lab.lan.six(|lan| (lan.route(false), lan.serve(false)));
    let supervised = lab.start6().await;
    lab.join(&supervised, None).await;
    pass(600).await;
    assert!(!supervised.status.borrow().has_address());
    lab.lan.advertise();
    wait(&supervised, "an address", has_own).await;
}

#[tokio::test(start_paused = true)]
async fn advertisements_that_say_nothing_new_cost_nothing() {
    let (lab, _supervised) = running(Ipv6Mode::Slaac).await;
    let before = lab.store.commits();
    for _ in 0..1000 {
        lab.lan.advertise();
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(lab.store.commits(), before);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_another_has_is_declined() {
    let lab = lab(Ipv6Mode::Auto);
    let taken = lab.lan.six(crate::fake::Lan6::squat);
    let supervised = lab.start6().await;
    let status = wait(&supervised, "another one", |status| {
        status.current.addresses.iter().any(|own| own.net.addr().to_string() == "2001:db8:0:1::1:2")
    })
    .await;
    assert!(!has(&status, &taken.to_string()));
    assert!(status.conflicts > 0);
    assert_eq!(lab.lan.six(|lan| lan.sent(MessageType::Decline)), 1);
}

#[tokio::test(start_paused = true)]
async fn released_addresses_are_taken_away_until_they_are_wanted() {
    let (lab, supervised) = running(Ipv6Mode::Auto).await;
    supervised.orders.release();
    wait(&supervised, "none are left", |status| !status.has_address()).await;
    until("they are taken away", || !leases(&lab)).await;
    assert!(lab.lan.six(|lan| lan.sent(MessageType::Release)) > 0);
    pass(3600).await;
    assert!(!supervised.status.borrow().has_address());
    supervised.orders.renew();
    wait(&supervised, "they are back", |status| has(status, LEASED)).await;
    until("they are set up", || leases(&lab)).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_endpoint_gives_its_lease_back_if_it_is_to() {
    for release in [false, true] {
        let (lab, supervised) = running(Ipv6Mode::Auto).await;
        supervised.stop(release).await;
        assert_eq!(lab.lan.six(|lan| lan.sent(MessageType::Release)) > 0, release);
        assert_eq!(lab.lan.open_sockets(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_is_back_has_the_lease_confirmed() {
    let (lab, supervised) = running(Ipv6Mode::Auto).await;
    supervised.orders.link_up();
    pass(10).await;
    assert!(lab.lan.six(|lan| lan.sent(MessageType::Confirm)) > 0);
    assert!(has(&supervised.status.borrow(), LEASED));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_starts_again_goes_on() {
    let (lab, supervised) = running(Ipv6Mode::Auto).await;
    supervised.stop(false).await;
    let solicited = lab.lan.six(|lan| lan.sent(MessageType::Solicit));
    let supervised = lab.resume6().await;
    assert!(has(&supervised.status.borrow(), LEASED), "at once");
    pass(3600).await;
    assert!(has(&supervised.status.borrow(), LEASED));
    assert_eq!(lab.lan.six(|lan| lan.sent(MessageType::Solicit)), solicited);
}

#[tokio::test(start_paused = true)]
async fn what_ended_while_no_daemon_ran_goes_at_once() {
    let (lab, supervised) = running(Ipv6Mode::Auto).await;
    supervised.stop(false).await;
    lab.lan.six(|lan| (lan.serve(false), lan.route(false)));
    pass(2 * 3600).await;
    let supervised = lab.resume6().await;
    until("it is taken away", || !leases(&lab)).await;
    assert!(!has(&supervised.status.borrow(), LEASED));
}

#[tokio::test(start_paused = true)]
async fn a_setup_that_fails_is_tried_again() {
    let lab = lab(Ipv6Mode::Auto);
    let supervised = lab.start6().await;
    wait(&supervised, "addresses", |status| status.settled).await;
    lab.sandboxes.break_all(true);
    lab.join(&supervised, None).await;
    pass(30).await;
    assert_eq!(lab.inside(), [""; 0]);
    lab.sandboxes.break_all(false);
    until("it is set up", || leases(&lab)).await;
}

#[tokio::test(start_paused = true)]
async fn another_link_of_the_container_has_it_looked_at_again() {
    let (lab, _supervised) = running(Ipv6Mode::Auto).await;
    lab.sandboxes.end(&sandbox());
    lab.sandboxes.move_in(&sandbox(), &lab.mark(), Vec::new());
    assert!(!leases(&lab));
    lab.services.company.settled(&sandbox());
    until("it is set up", || leases(&lab)).await;
}

#[tokio::test(start_paused = true)]
async fn without_anybody_there_is_no_address_and_no_flood() {
    let lab = lab(Ipv6Mode::Auto);
    lab.lan.six(|lan| (lan.route(false), lan.serve(false)));
    let supervised = lab.start6().await;
    pass(3600).await;
    let status = supervised.status.borrow().clone();
    assert!(!status.has_address() && status.state != StateName::Stopped);
    let asked = lab.lan.six(|lan| lan.sent(MessageType::Solicit));
    assert!((1..200).contains(&asked), "{asked} in an hour");
}
