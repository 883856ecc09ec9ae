use super::*;
use proptest::prelude::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pool(subnet: &str, range: Option<&str>) -> Pool {
    Pool::new(net(subnet), range.map(net)).unwrap()
}

/// Takes until there is no more.
fn drain(pool: &mut Pool) -> Vec<String> {
    std::iter::from_fn(|| pool.take_any(None, |_| true).ok()).map(|address| address.to_string()).collect()
}

#[test]
fn what_cannot_be_used_is_passed_over() {
    let mut lan = pool("192.0.2.0/29", None);
    let usable = |address: IpAddr| !["192.0.2.1", "192.0.2.3"].contains(&&*address.to_string());
    let mut take = |owner| lan.take_any(owner, usable).map(|address| address.to_string());
    assert_eq!([take(None), take(Some("web"))], [Ok("192.0.2.2".into()), Ok("192.0.2.4".into())]);
    // Nor does whoever had it before get it back.
    let last: IpAddr = "192.0.2.4".parse().unwrap();
    lan.release(last);
    let others = |address: IpAddr| usable(address) && address != last;
    assert_eq!(lan.take_any(Some("web"), others).unwrap().to_string(), "192.0.2.5");
    assert_eq!(lan.take_any(None, others).unwrap().to_string(), "192.0.2.6");
    assert!(lan.take_any(None, others).is_err());
}

#[test]
fn machines_get_neither_the_subnets_own_address_nor_the_broadcast_address() {
    assert_eq!(drain(&mut pool("192.0.2.0/29", None)).len(), 6);
    assert_eq!(drain(&mut pool("192.0.2.0/30", None)), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(drain(&mut pool("192.0.2.0/31", None)), ["192.0.2.0", "192.0.2.1"]);
    assert_eq!(drain(&mut pool("192.0.2.7/32", None)), ["192.0.2.7"]);
    assert_eq!(
        drain(&mut pool("2001:db8::/126", None)),
        ["2001:db8::1", "2001:db8::2", "2001:db8::3"],
        "no broadcast in IPv6"
    );
    assert_eq!(drain(&mut pool("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127", None)).len(), 2);
    assert_eq!(drain(&mut pool("255.255.255.252/30", None)).len(), 2);
}

#[test]
fn a_gateway_that_nobody_names_is_the_first_machine() {
    for (subnet, gateway) in
        [("192.0.2.0/24", "192.0.2.1"), ("192.0.2.6/31", "192.0.2.6"), ("2001:db8::/64", "2001:db8::1")]
    {
        let mut pool = pool(subnet, None);
        assert_eq!(pool.first(), Some(ip(gateway)));
        pool.set_gateway(ip(gateway)).unwrap();
    }
}

#[test]
fn a_range_is_where_unnamed_addresses_come_from() {
    let mut lan = pool("192.0.2.0/24", Some("192.0.2.64/30"));
    lan.take_named(ip("192.0.2.9"), None).unwrap();
    assert_eq!(drain(&mut lan), ["192.0.2.64", "192.0.2.65", "192.0.2.66", "192.0.2.67"]);
    assert_eq!(lan.take_any(None, |_| true), Err(TakeError::Exhausted { range: net("192.0.2.64/30") }));
    let mut edge = pool("192.0.2.0/24", Some("192.0.2.252/30"));
    assert_eq!(drain(&mut edge), ["192.0.2.252", "192.0.2.253", "192.0.2.254"], "not the broadcast address");
}

#[test]
fn a_range_elsewhere_is_refused() {
    for range in ["198.51.100.0/25", "192.0.0.0/16", "2001:db8::/64"] {
        let error = Pool::new(net("192.0.2.0/24"), Some(net(range))).unwrap_err();
        assert_eq!(error, PoolError::Range { range: net(range), subnet: net("192.0.2.0/24") });
    }
}

#[test]
fn a_gateway_is_anywhere_in_the_subnet_and_only_for_whoever_names_it() {
    for gateway in ["192.0.2.1", "192.0.2.254", "192.0.2.65"] {
        let mut lan = pool("192.0.2.0/24", Some("192.0.2.64/30"));
        lan.set_gateway(ip(gateway)).unwrap();
        assert!(!drain(&mut lan).contains(&gateway.to_owned()), "{gateway}");
        lan.take_named(ip(gateway), Some("router")).unwrap();
        let again = lan.take_named(ip(gateway), None).unwrap_err();
        assert_eq!(again.to_string(), format!("{gateway} is in use by router"));
        assert!(lan.release(ip(gateway)));
        assert!(lan.take_any(Some("router"), |_| true).is_err(), "{gateway} was only named");
    }
    let mut lan = pool("192.0.2.0/24", None);
    assert!(matches!(lan.set_gateway(ip("198.51.100.1")), Err(TakeError::Outside { .. })));
    assert!(matches!(lan.set_gateway(ip("192.0.2.255")), Err(TakeError::NotAHost { .. })));
    assert_eq!(lan.gateway, None);
}

#[test]
fn what_was_freed_comes_last_and_longest_free_first() {
    let mut lan = pool("192.0.2.0/29", None);
    let first = lan.take_any(None, |_| true).unwrap();
    let second = lan.take_any(None, |_| true).unwrap();
    lan.release(second);
    lan.release(first);
    let rest: Vec<IpAddr> = (0..4).map(|_| lan.take_any(None, |_| true).unwrap()).collect();
    assert!(!rest.contains(&first) && !rest.contains(&second), "{rest:?}");
    assert_eq!(lan.take_any(None, |_| true), Ok(second));
    assert_eq!(lan.take_any(None, |_| true), Ok(first));
}

#[test]
fn an_owner_has_its_address_again() {
    let mut lan = pool("192.0.2.0/24", None);
    let web = lan.take_any(Some("web"), |_| true).unwrap();
    lan.release(web);
    let db = lan.take_any(Some("db"), |_| true).unwrap();
    assert_ne!(db, web);
    assert_eq!(lan.take_any(Some("web"), |_| true), Ok(web));
    assert_ne!(lan.take_any(Some("web"), |_| true), Ok(web), "it is in use");
    lan.belongs_to(db, "cache");
    lan.release(db);
    assert_eq!(lan.take_any(Some("cache"), |_| true), Ok(db));
}

#[test]
fn what_is_freed_is_forgotten_before_memory_runs_out() {
    let mut lan = pool("2001:db8::/64", None);
    for _ in 0..MOST_FREED + 10 {
        let address = lan.take_any(None, |_| true).unwrap();
        lan.release(address);
    }
    assert_eq!(lan.freed.len(), MOST_FREED);
}

#[derive(Debug, Clone)]
enum Action {
    Any(Option<u8>),
    Named(u8),
    Free(u8),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        4 => prop::option::of(0..6_u8).prop_map(Action::Any),
        1 => (0..40_u8).prop_map(Action::Named),
        3 => (0..40_u8).prop_map(Action::Free),
    ];
    prop::collection::vec(action, 0..120)
}

/// The subnet's n-th address, from a little before to a little behind it.
fn nth(subnet: IpNet, n: u8) -> IpAddr {
    let at = number(subnet.network()) + u128::from(n) - 4;
    match subnet {
        IpNet::V4(_) => Ipv4Addr::from_bits(u32::try_from(at).unwrap()).into(),
        IpNet::V6(_) => Ipv6Addr::from_bits(at).into(),
    }
}

proptest! {
    #[test]
    fn nobody_gets_what_another_has(
        v6: bool, length in 0..4_u8, range in prop::option::of(0..3_u8), gateway in prop::option::of(5..12_u8),
        actions in actions(),
    ) {
        let subnet = if v6 { format!("2001:db8::40/{}", 128 - length - 2) } else { format!("192.0.2.64/{}", 32 - length - 2) };
        let subnet = net(&subnet);
        let range = range.map(|shorter| IpNet::new(subnet.network(), (subnet.prefix_len() + shorter).min(subnet.max_prefix_len())).unwrap());
        let mut pool = Pool::new(subnet, range).unwrap();
        let gateway = gateway.map(|n| nth(subnet, n)).filter(|g| pool.set_gateway(*g).is_ok());
        // The model: who has what, and when what was freed.
        let mut held = BTreeSet::new();
        let mut freed: Vec<IpAddr> = Vec::new();
        for action in actions {
            match action {
                Action::Any(owner) => {
                    let owner = owner.map(|n| n.to_string());
                    let hadnt_any = !pool.freed.iter().any(|(a, had)| had.is_some() && *had == owner && pool.is_unnamed(*a));
                    match pool.take_any(owner.as_deref(), |_| true) {
                        Ok(address) => {
                            prop_assert!(pool.range.contains(&address));
                            prop_assert_ne!(Some(address), gateway);
                            prop_assert!(held.insert(address), "{} twice", address);
                            // Something that was used before only if it was the owner's, or nothing else is left; then
                            // the one that has been free for longest.
                            if hadnt_any && freed.contains(&address) {
                                let oldest = freed.iter().find(|a| pool.is_unnamed(**a));
                                prop_assert_eq!(Some(&address), oldest);
                                prop_assert_eq!(pool.lowest_never_used(|_| true), None);
                            }
                            freed.retain(|a| *a != address);
                        }
                        Err(error) => {
                            prop_assert_eq!(error, TakeError::Exhausted { range: pool.range });
                            let left = bounds(pool.range).filter(|n| machines(subnet).contains(n));
                            let mut left = left.map(|n| pool.address(n)).filter(|a| Some(*a) != gateway);
                            prop_assert!(left.all(|a| held.contains(&a)));
                        }
                    }
                }
                Action::Named(n) => {
                    let address = nth(subnet, n);
                    match pool.take_named(address, None) {
                        Ok(()) => {
                            prop_assert!(subnet.contains(&address) && held.insert(address));
                            freed.retain(|a| *a != address);
                        }
                        Err(TakeError::Taken { .. }) => prop_assert!(held.contains(&address)),
                        Err(_) => prop_assert!(!machines(subnet).contains(&number(address))),
                    }
                }
                Action::Free(n) => {
                    let address = nth(subnet, n);
                    prop_assert_eq!(pool.release(address), held.remove(&address));
                    if pool.freed.back().is_some_and(|(a, _)| *a == address) && !freed.contains(&address) {
                        freed.push(address);
                    }
                }
            }
            let json = serde_json::to_string(&pool).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Pool>(&json).unwrap(), &pool);
        }
    }

    #[test]
    fn never_panics(subnet in "([0-9]{1,3}\\.){3}[0-9]{1,3}/[0-9]{1,2}|[0-9a-f:]{2,20}/[0-9]{1,3}", named: [u8; 16]) {
        if let Ok(subnet) = subnet.parse::<IpNet>() {
            let mut pool = Pool::new(subnet, None).unwrap();
            let _ = pool.set_gateway(Ipv6Addr::from(named).into());
            if let Ok(address) = pool.take_any(None, |_| true) {
                prop_assert!(pool.release(address));
            }
        }
    }
}
