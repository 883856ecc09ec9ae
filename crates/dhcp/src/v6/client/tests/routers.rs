//! What routers say.

use super::*;

#[test]
fn an_address_in_thirty_milliseconds() {
    let mut script = Script::start(fast(Mode::Auto));
    assert_eq!(script.client.state(), StateName::Off);
    script.run_to(24);
    let probes: Vec<_> = script.nd();
    assert_eq!(probes.iter().map(|nd| nd.ms).collect::<Vec<_>>(), [0, 15]);
    for probe in &probes {
        assert_eq!((probe.src, probe.dst), (ANY, ipv6::solicited_node(OWN_LINK)));
        assert_eq!(probe.to.to_string(), "33:33:ff:00:02:0a");
    }
    script.run_to(25);
    assert_eq!(script.changed().link_local, Some(OWN_LINK));
    let said = script.nd();
    assert!(
        matches!(said[0].message, Message::NeighbourAdvertisement { target: OWN_LINK, solicited: false, .. }),
        "announced"
    );
    assert_eq!((said[1].src, said[1].dst), (OWN_LINK, ipv6::ALL_ROUTERS));
    assert_eq!(said[1].message, Message::RouterSolicitation { source_mac: Some(MAC) });

    script.run_to(27);
    script.advertise(ROUTER, &advertisement());
    let state = script.changed();
    assert_eq!(state.addresses, [], "not before it is known to be free");
    assert!(!script.client.is_settled());
    assert_eq!(state.routers[0].address, ROUTER);
    assert_eq!(state.routers[0].until, Some(at(1_800_027)));
    assert_eq!(state.on_link[0].prefix, "2001:db8:0:1::/64".parse().expect("a prefix"));
    assert_eq!((state.dns[0].address, state.dns[0].origin), (DNS, Origin::Router));
    assert_eq!((state.search[0].domain.as_str(), state.mtu), ("lan", Some(1492)));

    script.run_to(52);
    let state = script.changed();
    let own = state.addresses[0];
    assert_eq!((own.net.addr(), own.net.prefix_len(), own.origin), (OWN, 64, Origin::Router));
    assert_eq!((own.preferred_until, own.valid_until), (Some(at(14_400_027)), Some(at(86_400_027))));
    assert!(script.client.is_settled());
    assert_eq!(script.kinds(), [], "no DHCPv6");
    assert_eq!(script.client.state(), StateName::Off);

    script.run_to(5000);
    assert!(!script.client.wants_socket(), "nothing is open between questions");
    let due = script.client.poll_timeout().expect("asks again");
    assert!(due >= at(500_000) && due <= at(601_000), "before half of the DNS servers' 1200 s: {due:?}");
}

#[test]
fn without_a_check_at_once() {
    let mut script = Script::start(no_check(Mode::Slaac));
    assert_eq!(script.changed().link_local, Some(OWN_LINK));
    assert_eq!(script.solicitations(), [(0, OWN_LINK)]);
    script.advertise(ROUTER, &advertisement());
    assert_eq!(script.changed().addresses[0].net.addr(), OWN);
    assert_eq!(script.nd(), [], "and nothing is announced");
}

#[test]
fn a_thorough_check_takes_its_time() {
    let config = Config { conflict_check: ConflictCheck::Wait, ..fast(Mode::Slaac) };
    let mut script = Script::start(config);
    assert_eq!(script.solicitations(), [(0, ANY)], "routers need not wait for it");
    script.run_to(10);
    script.advertise(ROUTER, &advertisement());
    script.run_to(999);
    assert_eq!(script.client.current().link_local, None);
    script.run_to(2100);
    let state = script.client.current();
    assert_eq!((state.link_local, state.addresses.len()), (Some(OWN_LINK), 1));
    assert_eq!(script.probes(OWN).len(), 1);
}

#[test]
fn asks_three_times_then_seldom() {
    let mut script = Script::start(no_check(Mode::Slaac));
    script.run_to(60_000);
    let times: Vec<_> = script.solicitations().iter().map(|(ms, _)| *ms).collect();
    assert_eq!(times[..4], [0, 4000, 8000, 12_000]);
    assert_eq!(times.len(), 6, "{times:?}");
    assert!(!script.client.wants_socket(), "not even while no router is there");
}

#[test]
fn refreshes_in_time_and_survives_a_lost_answer() {
    let mut script = Script::start(no_check(Mode::Slaac));
    script.advertise(ROUTER, &advertisement());
    script.nd.clear();
    // Nobody answers any more.
    script.run_to(1_199_999);
    let asked = script.solicitations();
    assert!(asked.len() >= 4, "{asked:?}");
    assert_eq!(script.client.current().dns.len(), 1);
    script.run_to(1_200_000);
    assert_eq!(script.client.current().dns, []);
    assert_eq!(script.client.current().routers.len(), 1);
    script.run_to(1_800_000);
    assert_eq!(script.client.current().routers, []);
    assert_eq!(script.addresses(), [OWN]);
    script.events();
    script.run_to(14_400_000);
    let [Event::Changed(state)] = &script.events()[..] else { panic!("deprecated") };
    assert!(state.addresses[0].deprecated);
    script.run_to(86_399_999);
    assert_eq!(script.addresses(), [OWN]);
    assert_eq!(script.events(), []);
    script.run_to(86_400_000);
    let events = script.events();
    assert_eq!(events[0], Event::Lost { address: OWN, reason: LossReason::Expired });
    let Event::Changed(state) = &events[1] else { panic!("changed") };
    assert_eq!((state.addresses.len(), state.on_link.len()), (0, 0));
    assert_eq!(state.link_local, Some(OWN_LINK), "that stays");
}

#[test]
fn times_alone_are_told_now_and_then() {
    let mut script = Script::start(Config { listen: true, ..no_check(Mode::Slaac) });
    script.advertise(ROUTER, &advertisement());
    script.changed();
    let mut told = Vec::new();
    for second in 1..=900 {
        script.run_to(second * 1000);
        assert!(script.client.wants_icmp(), "listens");
        script.advertise(ROUTER, &advertisement());
        for event in script.events() {
            assert!(matches!(event, Event::Renewed(_)), "{event:?}");
            told.push(second);
        }
    }
    assert!((4..=10).contains(&told.len()), "every eighth of the shortest time: {told:?}");
    assert_eq!(script.client.current().routers[0].until, Some(at(2_700_000)), "but they are known");
    assert_eq!(script.solicitations().len(), 1);
}

#[test]
fn what_a_router_takes_back() {
    let mut script = Script::start(no_check(Mode::Slaac));
    script.advertise(ROUTER, &advertisement());
    let mut end = advertisement();
    end.lifetime = 0;
    end.prefixes[0] = prefix("2001:db8:0:1::/64", 0, 0);
    end.dns[0].lifetime = 0;
    end.search[0].lifetime = 0;
    script.advertise(ROUTER, &end);
    let state = script.changed();
    assert_eq!((state.routers.len(), state.on_link.len(), state.dns.len(), state.search.len()), (0, 0, 0, 0));
    let own = state.addresses[0];
    assert!(own.deprecated);
    assert_eq!(own.valid_until, Some(at(7_200_000)), "two hours remain (RFC 4862 section 5.5.3)");
    assert_eq!(own.net.prefix_len(), 64, "and its prefix length");
}

#[test]
fn routers_in_order_of_preference() {
    let mut script = Script::start(no_check(Mode::Slaac));
    script.advertise(ROUTER, &RouterAdvertisement { preference: Preference::Low, ..advertisement() });
    script.advertise(ROUTER2, &advertisement());
    let order = |script: &Script| {
        script.client.current().routers.iter().map(|router| router.address).collect::<Vec<_>>()
    };
    assert_eq!(order(&script), [ROUTER2, ROUTER]);
    script.advertise(ROUTER, &RouterAdvertisement { preference: Preference::High, ..advertisement() });
    assert_eq!(order(&script), [ROUTER, ROUTER2]);
    let route = |text: &str, lifetime| ra::Route {
        destination: text.parse().expect("a prefix"),
        preference: Preference::Medium,
        lifetime,
    };
    let said = RouterAdvertisement {
        lifetime: 0,
        routes: vec![route("2001:db8:9::/48", 600), route("::/0", 300), route("fe80::/10", 600)],
        ..advertisement()
    };
    script.advertise(ROUTER2, &said);
    let state = script.client.current();
    assert_eq!(state.routers[1].until, Some(at(300_000)), "of the default route the option decides");
    assert_eq!(state.routes.len(), 1);
    assert_eq!(state.routes[0].gateway, ROUTER2);
    script.run_to(600_000);
    assert_eq!(script.client.current().routes, []);
}

#[test]
fn an_address_without_its_prefix_on_the_link_is_alone() {
    let mut script = Script::start(no_check(Mode::Slaac));
    let mut said = advertisement();
    said.prefixes[0].on_link = false;
    script.advertise(ROUTER, &said);
    let state = script.changed();
    assert_eq!((state.addresses[0].net.prefix_len(), state.on_link.len()), (128, 0));
}

#[test]
fn what_no_router_says() {
    let mut script = Script::start(no_check(Mode::Auto));
    script.changed();
    let good = Message::RouterAdvertisement(advertisement());
    let global = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    script.hear(global, ipv6::ALL_NODES, &good);
    let payload = good.emit(ROUTER, ipv6::ALL_NODES);
    let mut packet = Packet {
        src: ROUTER,
        dst: ipv6::ALL_NODES,
        hop_limit: 254,
        next_header: ipv6::ICMP,
        payload: &payload,
    };
    script.client.handle_packet(script.now, OTHER, &packet.emit(), Check::Verify);
    packet.hop_limit = 255;
    let mut wrong = packet.emit();
    wrong[60] ^= 1;
    script.client.handle_packet(script.now, OTHER, &wrong, Check::Verify);
    assert_eq!(script.events(), []);
    script.client.handle_packet(script.now, OTHER, &packet.emit(), Check::Verify);
    assert_eq!(script.addresses(), [OWN]);
}

#[test]
fn a_flood_fills_no_memory() {
    let mut script = Script::start(no_check(Mode::Slaac));
    for n in 0..500_u16 {
        let mut said = advertisement();
        said.prefixes = vec![prefix(&format!("2001:db8:{n:x}::/64"), 86_400, 14_400)];
        said.routes = vec![ra::Route {
            destination: format!("2001:db8:{n:x}::/48").parse().expect("a prefix"),
            preference: Preference::Medium,
            lifetime: 600,
        }];
        said.dns[0].servers = vec![Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n + 1)];
        said.search[0].domains = vec![format!("d{n}")];
        script.advertise(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, n), &said);
        script.events();
    }
    let state = script.client.current();
    let counts = [state.addresses.len(), state.routers.len(), state.on_link.len(), state.routes.len()];
    assert_eq!(counts, [8, 8, 16, 32]);
    assert_eq!((state.dns.len(), state.search.len()), (8, 16));
}

#[test]
fn parameters_by_dhcp_with_flag_o() {
    for mode in [Mode::Auto, Mode::Slaac] {
        let mut script = Script::start(no_check(mode));
        script.run_to(20);
        script.advertise(ROUTER, &RouterAdvertisement { other: true, dns: vec![], ..advertisement() });
        assert_eq!(script.client.state(), StateName::Informing);
        assert!(!script.client.is_settled());
        let ask = script.message(MessageType::InformationRequest);
        assert_eq!(ask.message.options.associations().count(), 0);
        script.run_to(500);
        let mut answer = bare(MessageType::Reply, &ask, 1);
        answer.options.push(code::DNS, &DNS.octets());
        answer.options.push_domains(code::DOMAIN_SEARCH, ["example.org"]);
        answer.options.push(code::INFORMATION_REFRESH, &10_u32.to_be_bytes());
        script.receive(&answer);
        assert_eq!(script.client.state(), StateName::Informed);
        assert!(script.client.is_settled());
        let state = script.changed();
        assert_eq!((state.dns[0].address, state.dns[0].origin), (DNS, Origin::Dhcp));
        let search: Vec<_> = state.search.iter().map(|search| search.domain.as_str()).collect();
        assert_eq!(search, ["example.org", "lan"]);
        script.run_to(600_499);
        assert_eq!(script.kinds(), [], "not more often than every ten minutes");
        script.run_to(600_500);
        assert_eq!(script.kinds(), [MessageType::InformationRequest]);
        assert_eq!(script.client.current().dns.len(), 1, "the old holds until the new is there");
    }
}

#[test]
fn flag_m_without_addresses_wanted() {
    let mut script = Script::start(no_check(Mode::Slaac));
    script.advertise(ROUTER, &managed());
    assert_eq!(script.kinds(), [MessageType::InformationRequest]);
    assert_eq!(script.addresses(), [ANY; 0]);
}

#[test]
fn an_early_router_is_obeyed_when_there_is_an_address() {
    let mut script = Script::start(fast(Mode::Auto));
    script.run_to(10);
    script.advertise(ROUTER, &RouterAdvertisement { other: true, ..advertisement() });
    assert_eq!((script.client.state(), script.kinds()), (StateName::Informing, vec![]));
    script.run_to(25);
    assert_eq!(script.message(MessageType::InformationRequest).ms, 25, "as soon as there is one to ask from");
    script.run_to(900);
    assert_eq!(script.kinds(), [], "and then in its rhythm");
}
