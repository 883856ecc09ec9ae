//! What is decided about IPv6 routes.

use super::*;

fn default(oif: u32, protocol: u8, metric: u32) -> Route {
    let gateway: Ipv6Addr = "fe80::1".parse().unwrap();
    Route::via("::/0".parse().unwrap(), gateway.into()).oif(oif).protocol(protocol).priority(metric)
}

#[test]
fn links_of_one_container_have_metrics_of_their_own_and_keep_them() {
    let (tunnel, none) = (Some(9), None);
    // The one that Docker has chosen first.
    assert_eq!((first_metric(2, &[], Some(2)), first_metric(2, &[], none)), (1040, 1056));
    assert_eq!(first_metric(2, &[default(3, PROTOCOL, 1040)], Some(2)), 1056);
    assert_eq!(first_metric(2, &[default(3, 3, 1024), default(4, PROTOCOL, 1057)], none), 1072);
    let both = [default(3, PROTOCOL, 1040), default(2, PROTOCOL, 1057)];
    for chosen in [Some(3), tunnel, none] {
        assert_eq!((first_metric(2, &both, chosen), first_metric(3, &both, chosen)), (1056, 1040));
    }
    // Docker has chosen another since: that is left behind, and moves to the front if it can.
    assert_eq!((first_metric(3, &both, Some(2)), first_metric(2, &both, Some(2))), (1072, 1056));
    let behind = [default(3, PROTOCOL, 1057), default(2, PROTOCOL, 1072)];
    assert_eq!((first_metric(2, &behind, Some(2)), first_metric(3, &behind, Some(2))), (1040, 1088));
    assert_eq!((first_metric(2, &behind, Some(3)), first_metric(3, &behind, Some(3))), (1072, 1056));
    // What is the best stays as it is, and does not move back when a VPN takes the IPv4 default route.
    for chosen in [Some(2), tunnel, none] {
        assert_eq!(first_metric(2, &[default(2, PROTOCOL, 1056), default(3, 3, 1024)], chosen), 1056);
        assert_eq!(first_metric(2, &[default(2, PROTOCOL, 1040)], chosen), 1040);
    }
    // One that the user set does not count as ours, and one that is better than any of ours does not matter.
    assert_eq!(first_metric(2, &[default(2, 3, 1056), default(3, 3, 50)], Some(2)), 1040);
}

#[test]
fn a_default_route_that_is_gone_was_taken() {
    let [a, b]: [Ipv6Addr; 2] = ["fe80::1", "fe80::2"].map(|router| router.parse().unwrap());
    assert!(!is_taken(None, &[]), "a start");
    assert!(!is_taken(Some(&[]), &[]), "no router so far");
    assert!(!is_taken(Some(&[a, b]), &[b, a]));
    assert!(!is_taken(Some(&[a]), &[a, b]), "one more is no harm");
    assert!(is_taken(Some(&[a, b]), &[a]));
    assert!(is_taken(Some(&[a]), &[]));
}
