use landline_kernel::LinkKind;

use super::*;

fn link(index: u32, name: &str, kind: LinkKind) -> Link {
    Link {
        index,
        name: name.parse().unwrap(),
        mac: None,
        ethernet: true,
        mtu: 1500,
        up: true,
        running: true,
        lower_up: true,
        loopback: false,
        flags: 0,
        kind,
        controller: None,
        port_state: None,
        forward_delay: None,
        parent: None,
        parent_netns: None,
        alias: None,
        promiscuity: 0,
        wireless: false,
    }
}

fn route(net: &str, oif: u32, priority: u32) -> Route {
    Route {
        destination: net.parse().unwrap(),
        kind: RouteKind::Unicast,
        gateway: None,
        oif: Some(oif),
        multipath: false,
        table: MAIN,
        protocol: 16,
        scope: UNIVERSE,
        priority: Some(priority),
        source: None,
        onlink: false,
        mtu: None,
    }
}

/// A host whose NIC is `eth0`, with a bridge `br0`; the default route is the NIC's unless another is named.
fn host(default: u32) -> HostSeen {
    let links = vec![
        link(2, "eth0", LinkKind::Physical),
        link(3, "br0", LinkKind::Bridge { vlan_filtering: true }),
        Link { wireless: true, ..link(4, "wlan0", LinkKind::Physical) },
        Link { ethernet: false, ..link(5, "wg0", LinkKind::Other("wireguard".into())) },
    ];
    let address = |index: u32, net: &str| Address::new(index, net.parse().unwrap());
    HostSeen {
        links,
        routes: vec![route("0.0.0.0/0", default, 0)],
        addresses: vec![
            address(2, "192.0.2.10/24"),
            address(3, "198.51.100.7/25"),
            address(4, "192.0.2.11/24"),
        ],
    }
}

fn asked(options: &[(&str, &str)]) -> Asked {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Asked { name: "lan".into(), options, ..Asked::default() }
}

fn command(asked: &Asked, host: &HostSeen) -> String {
    propose(asked, host).unwrap().command()
}

fn refusal(asked: &Asked, host: &HostSeen) -> String {
    propose(asked, host).unwrap_err().to_string()
}

#[test]
fn the_default_route_names_the_parent_and_its_kind_the_mode() {
    let nic = "docker network create -d landline --ipam-driver landline --subnet 192.0.2.0/24 -o mode=macvlan -o parent=eth0 lan";
    assert_eq!(command(&asked(&[]), &host(2)), nic);
    let bridge =
        "docker network create -d landline --ipam-driver landline --subnet 198.51.100.0/25 -o bridge=br0 lan";
    assert_eq!(command(&asked(&[]), &host(3)), bridge);
    for same in [
        Asked { parent: Some("br0".parse().unwrap()), ..asked(&[]) },
        asked(&[("parent", "br0")]),
        asked(&[("bridge", "br0"), ("mode", "bridge")]),
    ] {
        assert_eq!(command(&same, &host(2)), bridge);
    }
}

#[test]
fn the_lowest_metric_counts_and_ipv4_before_ipv6() {
    let mut host = host(3);
    host.routes = vec![route("::/0", 3, 1), route("0.0.0.0/0", 3, 200), route("0.0.0.0/0", 2, 100)];
    assert!(command(&asked(&[]), &host).contains("parent=eth0"));
    host.routes.truncate(1);
    assert!(command(&asked(&[]), &host).contains("bridge=br0"));
}

#[test]
fn what_was_asked_for_stays_as_it_is() {
    let all = Asked {
        mode: Some("ipvlan".into()),
        ipv6: true,
        subnet: Some("203.0.113.0/24".parse().unwrap()),
        ..asked(&[("hostname", "it's")])
    };
    let refused = refusal(&all, &host(2));
    assert!(refused.contains("hostname"), "unknown options are found without the daemon: {refused}");
    let all = Asked { options: [("lease_timeout".into(), "20s".into())].into(), ..all };
    assert_eq!(
        command(&all, &host(2)),
        "docker network create -d landline --ipam-driver landline --subnet 203.0.113.0/24 -o mode=ipvlan -o parent=eth0 \
         -o ipv6=true -o lease_timeout=20s lan"
    );
    let request = propose(&all, &host(2)).unwrap().request();
    assert_eq!(
        request["IPAM"],
        json!({"Driver": "landline", "Config": [{"Subnet": "203.0.113.0/24"}], "Options": {}})
    );
    assert_eq!((&request["Options"]["parent"], &request["Driver"]), (&"eth0".into(), &"landline".into()));
}

#[test]
fn modes_without_the_lan_need_neither_its_subnet_nor_its_server() {
    let vde = Asked { mode: Some("vde".into()), ..asked(&[]) };
    assert_eq!(command(&vde, &host(2)), "docker network create -d landline -o mode=vde lan");
    let nat = Asked { mode: Some("nat".into()), ..asked(&[]) };
    assert_eq!(command(&nat, &host(2)), "docker network create -d landline -o mode=nat -o parent=eth0 lan");
    let none = asked(&[("addressing", "none")]);
    assert!(
        command(&none, &host(3)).contains("--ipam-driver null -o bridge=br0"),
        "{}",
        command(&none, &host(3))
    );
}

#[test]
fn a_host_that_does_not_fit_is_refused_with_what_to_use() {
    let refused = refusal(&asked(&[]), &host(4));
    assert!(
        refused.starts_with("wlan0 is a Wi-Fi interface") && refused.contains("use -o mode=routed"),
        "{refused}"
    );
    let ipvlan = Asked { mode: Some("ipvlan".into()), ..asked(&[]) };
    assert!(command(&ipvlan, &host(4)).contains("-o mode=ipvlan -o parent=wlan0"));
    let routed = Asked { mode: Some("routed".into()), ..asked(&[]) };
    assert!(command(&routed, &host(4)).contains("-o mode=routed -o parent=wlan0"));
    let tunnel = refusal(&asked(&[]), &host(5));
    assert!(
        tunnel.contains("through wg0, which is not an Ethernet") && tunnel.ends_with("(one of: eth0, br0)"),
        "{tunnel}"
    );
    let mut nothing = host(2);
    nothing.routes.clear();
    assert!(refusal(&asked(&[]), &nothing).starts_with("this host has no default route"));
    let mut bare = host(2);
    bare.addresses.clear();
    assert!(refusal(&asked(&[]), &bare).contains("eth0 has no IPv4 address"));
    assert!(refusal(&asked(&[("vlan", "12")]), &host(2)).contains("add --subnet"));
    assert!(refusal(&asked(&[("parent", "br9")]), &host(2)).contains("there is no interface br9"));
    let twice = Asked { mode: Some("bridge".into()), ..asked(&[("mode", "bridge")]) };
    assert!(refusal(&twice, &host(2)).starts_with("the mode is given twice"));
}
