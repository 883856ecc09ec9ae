use super::*;
use proptest::prelude::*;

fn map(options: &[(&str, &str)]) -> BTreeMap<String, String> {
    options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn parse(options: &[(&str, &str)]) -> Result<NetworkOptions, OptionError> {
    NetworkOptions::parse(&map(options))
}

/// The message for these options on `bridge=br0`.
fn refusal(options: &[(&str, &str)]) -> String {
    let mut all = map(options);
    all.entry("bridge".to_owned()).or_insert_with(|| "br0".to_owned());
    NetworkOptions::parse(&all).unwrap_err().to_string()
}

#[test]
fn a_bridge_is_enough() {
    let network = parse(&[("bridge", "my-bridge")]).unwrap();
    assert_eq!(network, NetworkOptions::new("my-bridge".parse().unwrap()));
    assert_eq!(network.mode, Mode::Bridge);
    assert_eq!(network.lease_timeout, Duration::from_secs(10));
    assert_eq!(network.vendor_class.as_deref(), Some("landline"));
}

#[test]
fn the_seeds_spellings_work_as_written() {
    let compose = parse(&[
        ("bridge", "my-bridge"),
        ("mode", "bridge"),
        ("ipv6", "false"),
        ("ignore_conflicts", "false"),
        ("skip_routes", "false"),
    ]);
    assert_eq!(compose.unwrap(), NetworkOptions::new("my-bridge".parse().unwrap()));
    let nic = parse(&[("bridge", "eth0"), ("mode", "macvlan"), ("lease_timeout", "60s")]).unwrap();
    assert_eq!((nic.mode, nic.parent.as_str()), (Mode::Macvlan, "eth0"));
    assert_eq!(nic.lease_timeout, Duration::from_mins(1));
}

#[test]
fn every_option_arrives() {
    let network = parse(&[
        ("mode", "macvlan"),
        ("parent", "eth0"),
        ("addressing", "DHCP"),
        ("ipv6", "Slaac"),
        ("ipv6_address", "eui64"),
        ("lease_timeout", "1m30s"),
        ("ignore_conflicts", "Yes"),
        ("skip_routes", "1"),
        ("gateway", "192.0.2.1"),
        ("client_id", "x-{mac}"),
        ("vendor_class", "acme v2"),
        ("user_class", "lab"),
        ("hostname", "Container"),
        ("fqdn", "lan.example"),
        ("rapid_commit", "true"),
        ("dhcp_servers", "192.0.2.2, 192.0.2.3"),
        ("dhcp_deny_servers", "192.0.2.4"),
        ("conflict_check", "wait"),
        ("dns", "Replace"),
        ("mtu", "1400"),
        ("macvlan_mode", "private"),
        ("on_timeout", "Continue"),
        ("identity", "derived"),
        ("on_duplicate", "Fresh"),
        ("when_unsure", "LATE"),
        ("release", "on_stop"),
        ("release_after", "1h"),
    ])
    .unwrap();
    let expected = NetworkOptions {
        mode: Mode::Macvlan,
        parent: "eth0".parse().unwrap(),
        addressing: Addressing::Dhcp,
        ipv6: Ipv6Mode::Slaac,
        ipv6_address: Ipv6Address::Eui64,
        lease_timeout: Duration::from_secs(90),
        on_timeout: OnTimeout::Continue,
        identity: Some(IdentitySource::Derived),
        on_duplicate: OnDuplicate::Fresh,
        when_unsure: WhenUnsure::Late,
        release: Release::OnStop,
        release_after: Duration::from_hours(1),
        ignore_conflicts: true,
        skip_routes: true,
        gateway: Some(Ipv4Addr::new(192, 0, 2, 1)),
        client_id: Some("x-{mac}".parse().unwrap()),
        vendor_class: Some("acme v2".to_owned()),
        user_class: Some("lab".to_owned()),
        hostname: HostnameMode::Container,
        fqdn: Fqdn::Domain("lan.example".parse().unwrap()),
        rapid_commit: true,
        dhcp_servers: vec![Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 3)],
        dhcp_deny_servers: vec![Ipv4Addr::new(192, 0, 2, 4)],
        conflict_check: ConflictCheck::Wait,
        dns: DnsMode::Replace,
        mtu: Some(LinkMtu::Fixed(1400.try_into().unwrap())),
        macvlan_mode: MacvlanMode::Private,
        host_access: false,
        open_firewall: false,
        keep_firewall: false,
        vlan: None,
        trunks: Vec::new(),
        untagged: false,
        vde: VdeOptions::default(),
        nat: NatOptions::default(),
    };
    assert_eq!(network, expected);
}

#[test]
fn an_empty_value_is_no_value() {
    let empty: Vec<(&str, &str)> =
        keys::NETWORK.iter().chain(&keys::NETWORK_NOT_YET).map(|name| (*name, " ")).collect();
    assert_eq!(parse(&empty), Err(OptionError::NoParent { mode: Mode::Bridge }));
    let mut empty = map(&empty);
    empty.insert("parent".into(), "br0".into());
    assert_eq!(NetworkOptions::parse(&empty), Ok(NetworkOptions::new("br0".parse().unwrap())));
}

#[test]
fn parent_and_bridge_are_one_option() {
    assert!(parse(&[("parent", "br0"), ("bridge", "br0")]).is_ok());
    assert_eq!(
        refusal(&[("parent", "br1")]),
        "parent=\"br1\" and bridge=\"br0\" mean the same option; give only one of them"
    );
    assert_eq!(
        parse(&[]).unwrap_err().to_string(),
        "a bridge is missing: name an existing Linux bridge on the LAN, for example -o bridge=br0, \
         or use a network card directly with -o mode=macvlan -o parent=eth0"
    );
    assert_eq!(
        parse(&[("mode", "macvlan")]).unwrap_err().to_string(),
        "a parent is missing: name the network card on the LAN, for example -o parent=eth0 (ip link lists them)"
    );
}

#[test]
fn dockers_own_options_are_ignored_except_the_mtu() {
    let network =
        parse(&[("bridge", "br0"), ("com.docker.network.driver.mtu", "1280"), ("com.docker.x", "y")]);
    assert_eq!(network.unwrap().mtu.and_then(LinkMtu::fixed), Some(1280));
    assert_eq!(
        refusal(&[("mtu", "1500"), ("com.docker.network.driver.mtu", "1280")]),
        "mtu=\"1500\" and com.docker.network.driver.mtu=\"1280\" mean the same option; give only one of them"
    );
}

#[test]
fn what_this_version_cannot_do_is_refused() {
    assert_eq!(
        refusal(&[("warm", "12")]),
        "warm is not available in this version; create the network without it"
    );
    for name in keys::NETWORK_NOT_YET {
        assert!(
            matches!(parse(&[("bridge", "br0"), (name, "x")]), Err(OptionError::NotYet { .. })),
            "{name}"
        );
    }
}

#[test]
fn vlans_are_where_something_tells_them_apart() {
    let ovs = |given: &[(&str, &str)]| parse(&[&[("mode", "ovs"), ("bridge", "br0")], given].concat());
    assert_eq!(ovs(&[("vlan", "10")]).unwrap().vlan.map(Vlan::get), Some(10));
    let both = ovs(&[("vlan", "10"), ("trunks", "20, 10,20")]).unwrap();
    assert_eq!(both.trunks.iter().map(|id| id.get()).collect::<Vec<_>>(), [10, 20]);
    for (name, value) in
        [("vlan", "0"), ("vlan", "4095"), ("vlan", "+1"), ("trunks", "10,x"), ("trunks", ",")]
    {
        assert!(matches!(ovs(&[(name, value)]), Err(OptionError::Value { .. })), "{name}={value}");
    }
    assert!(matches!(ovs(&[("trunks", "10")]), Err(OptionError::TrunksAlone { .. })));
    assert!(ovs(&[("trunks", "10"), ("addressing", "none")]).is_ok());
    assert_eq!(
        parse(&[("bridge", "br0"), ("trunks", "10")]),
        Err(OptionError::WrongMode { option: "trunks", needs: Mode::Ovs })
    );
    for mode in ["bridge", "macvlan", "ipvlan"] {
        let network = parse(&[("parent", "eth0"), ("mode", mode), ("vlan", "12")]);
        assert_eq!(network.unwrap().vlan.map(Vlan::get), Some(12), "{mode}");
    }
    assert!(matches!(parse(&[("mode", "vde"), ("vlan", "10")]), Err(OptionError::NotInMode { .. })));
}

#[test]
fn ipvlan_children_have_no_hardware_address_of_their_own() {
    let network = parse(&[("mode", "ipvlan"), ("parent", "eth0"), ("client_id", "ll-{hostname}")]).unwrap();
    assert_eq!(network.mode, Mode::Ipvlan);
    assert_eq!(
        refusal(&[("mode", "ipvlan"), ("macvlan_mode", "private")]),
        "macvlan_mode has a meaning only with mode=macvlan; remove it or use that mode"
    );
    assert_eq!(
        refusal(&[("mode", "ipvlan"), ("client_id", "ll-{mac}")]),
        "client_id=\"ll-{mac}\" would give every container the same address, because with mode=ipvlan they share \
         one hardware address; put {hostname} or {endpoint} into it, or leave it out"
    );
    assert!(matches!(parse(&[("mode", "ipvlan")]), Err(OptionError::NoParent { mode: Mode::Ipvlan })));
}

#[test]
fn ipv6_is_off_unless_asked_for() {
    for (value, mode) in [
        ("false", Ipv6Mode::Off),
        ("off", Ipv6Mode::Off),
        ("True", Ipv6Mode::Auto),
        ("1", Ipv6Mode::Auto),
        ("DHCP", Ipv6Mode::Dhcp),
        ("slaac", Ipv6Mode::Slaac),
        ("", Ipv6Mode::Off),
    ] {
        assert_eq!(parse(&[("bridge", "br0"), ("ipv6", value)]).unwrap().ipv6, mode, "{value}");
    }
    assert_eq!(
        refusal(&[("ipv6_address", "stable")]),
        "ipv6_address has no effect without IPv6; remove it or add ipv6=true"
    );
    assert_eq!(
        refusal(&[("ipv6", "true"), ("mtu", "1279")]),
        "mtu=\"1279\" cannot be used; IPv6 needs at least 1280 bytes"
    );
    let shared =
        parse(&[("mode", "ipvlan"), ("parent", "eth0"), ("ipv6", "slaac"), ("ipv6_address", "eui64")]);
    assert_eq!(
        shared.unwrap_err().to_string(),
        "ipv6_address=\"eui64\" cannot be used; with mode=ipvlan all containers have one hardware address; leave it out"
    );
}

#[test]
fn the_server_may_say_what_the_mtu_is_and_put_names_into_dns() {
    let mtu = |value| parse(&[("bridge", "br0"), ("mtu", value)]).unwrap();
    for (value, meaning) in
        [("DHCP", LinkMtu::From(MtuSource::Dhcp)), ("9000", LinkMtu::Fixed(9000.try_into().unwrap()))]
    {
        let network = mtu(value);
        assert_eq!(network.mtu, Some(meaning));
        let json = serde_json::to_string(&network).unwrap();
        assert_eq!(serde_json::from_str::<NetworkOptions>(&json).unwrap(), network, "{json}");
    }
    assert_eq!(
        refusal(&[("addressing", "none"), ("mtu", "dhcp")]),
        "mtu=dhcp has no effect with addressing=none; remove one of them"
    );
    for (value, meaning) in
        [("yes", Fqdn::Name), ("off", Fqdn::Off), ("lab.test", Fqdn::Domain("lab.test".parse().unwrap()))]
    {
        assert_eq!(parse(&[("bridge", "br0"), ("fqdn", value)]).unwrap().fqdn, meaning);
    }
    assert_eq!(
        refusal(&[("fqdn", "a_b")]),
        "fqdn=\"a_b\" cannot be used; write true, or the domain, like lan.example"
    );
    assert_eq!(
        refusal(&[("fqdn", "true"), ("hostname", "off")]),
        "fqdn=\"true\" cannot be used; with hostname=off there is no name to send; remove one of them"
    );
}

#[test]
fn ipv6_alone_has_what_ipv4_has() {
    let alone = [("bridge", "br0"), ("addressing", "none"), ("ipv6", "true"), ("lease_timeout", "5s")];
    assert_eq!(parse(&alone).unwrap().lease_timeout, Duration::from_secs(5));
    assert!(matches!(parse(&alone[..2]), Ok(NetworkOptions { ipv6: Ipv6Mode::Off, .. })));
    let four = [("bridge", "br0"), ("addressing", "none"), ("ipv6", "true"), ("vendor_class", "x")];
    assert!(matches!(parse(&four), Err(OptionError::NoDhcp { option: "vendor_class", .. })));
}

#[test]
fn typos_name_the_nearest_option() {
    assert_eq!(
        refusal(&[("lease-timeout", "5s")]),
        "there is no option \"lease-timeout\"; did you mean lease_timeout?"
    );
    let all = refusal(&[("colour", "red")]);
    assert!(all.starts_with("there is no option \"colour\"; there are mode, parent, bridge, "), "{all}");
    // A typo is one even without a value.
    assert!(matches!(parse(&[("bridge", "br0"), ("brigde", "")]), Err(OptionError::Misspelt { .. })));
}

#[test]
fn values_are_checked_and_the_message_says_what_to_write() {
    for (name, value, hint) in [
        ("mode", "bride", "write bridge, macvlan, ipvlan, ovs, vde, nat or routed"),
        ("addressing", "manual", "write dhcp, pool, static or none"),
        ("parent", "sixteen-letters!", "name a network interface, at most 15 characters long"),
        ("ipv6", "maybe", "write true, dhcp, slaac or false"),
        ("lease_timeout", "ten", "write a time from 500ms to 10m, like 10s or 1m30s"),
        ("lease_timeout", "499ms", "write a time from 500ms to 10m, like 10s or 1m30s"),
        ("lease_timeout", "601", "write a time from 500ms to 10m, like 10s or 1m30s"),
        ("skip_routes", "2", "write true or false"),
        ("gateway", "router", "write the router's IPv4 address, like 192.0.2.1"),
        ("gateway", "127.0.0.1", "write the router's IPv4 address, like 192.0.2.1"),
        ("vendor_class", "a\nb", "write at most 255 printable ASCII characters"),
        ("hostname", "web", "write container or off"),
        ("dhcp_servers", ",", "write up to 16 IPv4 addresses with commas between, like 192.0.2.1,192.0.2.2"),
        ("conflict_check", "no", "write fast, wait or off"),
        ("mtu", "+1500", "write a number of bytes from 68 to 65535, like 1500, or dhcp"),
        ("mtu", "67", "write a number of bytes from 68 to 65535, like 1500, or dhcp"),
        ("on_timeout", "never", "write fail or continue"),
        ("identity", "random", "write drawn or derived"),
        ("on_duplicate", "continue", "write fail or fresh"),
        ("when_unsure", "never", "write fresh or late"),
        ("release", "later", "write never, on_remove or on_stop"),
        ("release_after", "8d", "write a time up to a week, like 15m or 24h"),
    ] {
        let mut options = map(&[(name, value)]);
        if name != "parent" {
            options.insert("bridge".into(), "br0".into());
        }
        let error = NetworkOptions::parse(&options).unwrap_err().to_string();
        assert_eq!(error, format!("{name}={value:?} cannot be used; {hint}"));
    }
    let too_many = vec!["192.0.2.1"; 17].join(",");
    assert!(matches!(
        parse(&[("bridge", "br0"), ("dhcp_servers", &too_many)]),
        Err(OptionError::Value { .. })
    ));
    let long = "x".repeat(255);
    assert!(matches!(parse(&[("bridge", "br0"), ("user_class", &long)]), Err(OptionError::Value { .. })));
}

#[test]
fn options_without_effect_are_refused() {
    assert_eq!(
        refusal(&[("macvlan_mode", "vepa")]),
        "macvlan_mode has a meaning only with mode=macvlan; remove it or use that mode"
    );
    assert_eq!(
        refusal(&[("addressing", "static"), ("dhcp_servers", "192.0.2.1")]),
        "dhcp_servers has no effect with addressing=static; remove one of them"
    );
    assert!(refusal(&[("client_id", "same")]).contains("would give every container the same address"));
}

#[test]
fn messages_are_bounded_and_escaped() {
    let long = "\u{1b}[31m".repeat(100_000);
    for (name, value) in
        [("mode", long.as_str()), (long.as_str(), "x"), ("bridge", &long), ("client_id", &long)]
    {
        let message = refusal(&[(name, value)]);
        assert!(message.len() < 2000 && !message.contains('\u{1b}'), "{}", message.len());
    }
}

#[test]
fn a_record_with_nothing_but_the_parent_reads() {
    let network: NetworkOptions = serde_json::from_str(r#"{"parent":"br0","of_a_later_version":1}"#).unwrap();
    assert_eq!(network, NetworkOptions::new("br0".parse().unwrap()));
}

/// Options that fit together, and none that does not.
fn valid() -> impl Strategy<Value = BTreeMap<String, String>> {
    let always = (
        prop::sample::select(vec!["bridge", "parent"]),
        "[a-z][a-z0-9.-]{0,14}",
        prop::sample::select(vec!["bridge", "macvlan", "MACVLAN"]),
    );
    let any = prop::collection::btree_map(
        prop::sample::select(vec![
            ("lease_timeout", "30s"),
            ("lease_timeout", "500ms"),
            ("ignore_conflicts", "true"),
            ("skip_routes", "yes"),
            ("gateway", "192.0.2.1"),
            ("client_id", "hi-{hostname}"),
            ("vendor_class", "v"),
            ("user_class", "u u"),
            ("hostname", "off"),
            ("dhcp_servers", "192.0.2.1,198.51.100.1"),
            ("dhcp_deny_servers", "192.0.2.9"),
            ("conflict_check", "off"),
            ("mtu", "9000"),
        ]),
        Just(()),
        0..8,
    );
    (always, any).prop_map(|((parent, name, mode), rest)| {
        let mut options: BTreeMap<String, String> =
            rest.into_keys().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        options.insert(parent.to_owned(), name);
        options.insert("mode".to_owned(), mode.to_owned());
        options
    })
}

proptest! {
    #[test]
    fn valid_options_survive_the_store(options in valid()) {
        let network = NetworkOptions::parse(&options).unwrap();
        let json = serde_json::to_vec(&network).unwrap();
        prop_assert_eq!(serde_json::from_slice::<NetworkOptions>(&json).unwrap(), network);
    }

    #[test]
    fn never_panics(
        options in prop::collection::btree_map(
            prop_oneof![
                prop::sample::select(keys::NETWORK.to_vec()).prop_map(str::to_owned),
                "\\PC{0,20}",
            ],
            prop_oneof![".{0,30}", "[0-9a-z:.,{}]{0,30}", Just("br0".to_owned())],
            0..8,
        ),
    ) {
        if let Err(error) = NetworkOptions::parse(&options) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

#[test]
fn the_firewall_is_opened_for_bridges() {
    assert!(parse(&[("bridge", "br0"), ("firewall", "open")]).unwrap().open_firewall);
    let kept = parse(&[("bridge", "br0"), ("firewall", "keep")]).unwrap();
    assert!(!kept.open_firewall && kept.keep_firewall);
    assert!(!parse(&[("bridge", "br0")]).unwrap().keep_firewall);
    assert_eq!(refusal(&[("firewall", "maybe")]), "firewall=\"maybe\" cannot be used; write keep or open");
    let nic = [("parent", "eth0"), ("mode", "macvlan"), ("firewall", "open")];
    assert!(
        parse(&nic).unwrap_err().to_string().starts_with("firewall=open has a meaning only with mode=bridge")
    );
}

#[test]
fn host_access_is_for_children_of_a_nic_that_see_each_other() {
    for mode in ["macvlan", "ipvlan"] {
        assert!(parse(&[("parent", "eth0"), ("mode", mode), ("host_access", "true")]).unwrap().host_access);
    }
    let said = refusal(&[("host_access", "true")]);
    assert!(said.starts_with("host_access has no effect with mode=bridge"), "{said}");
    let apart = [("mode", "macvlan"), ("macvlan_mode", "vepa"), ("host_access", "true")];
    assert!(refusal(&apart).starts_with("host_access needs macvlan_mode=bridge"));
}
