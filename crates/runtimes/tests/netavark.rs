//! Requests as netavark 1.14, 1.17 and 2.0 sent them, and made-up ones for what they did not send.

use landline_model::RuntimeInterface;
use landline_options::{LinkChoice, Parent};
use landline_runtimes::netavark::{create, info, setup, status, teardown};
use serde_json::{Value, json};

/// The arguments and standard input of each.
fn recorded() -> Vec<(Vec<String>, String)> {
    let lines = include_str!("recordings/netavark.jsonl").lines();
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let arguments = serde_json::from_value(line["argv"].clone()).unwrap();
        (arguments, line["stdin"].as_str().unwrap().to_owned())
    };
    lines.map(read).collect()
}

#[test]
fn all_versions_say_the_same() {
    let mut seen = [0; 3];
    for (arguments, input) in recorded() {
        match arguments[1].as_str() {
            "setup" => {
                let setup = setup(&arguments[2], input.as_bytes()).unwrap();
                assert_eq!(setup.owner.key(), "netavark/lan/web/eth0");
                assert!(setup.owner.container.starts_with("752947ff91f9"));
                assert_eq!(setup.netns.to_str(), Some("/run/netns/econs"));
                let spec = setup.spec;
                assert_eq!(spec.parent, Parent::Name("eth0".parse().unwrap()));
                assert_eq!((spec.link, spec.options["mode"].as_str()), (LinkChoice::Follow, "macvlan"));
                assert_eq!(spec.mac, Some("aa:bb:cc:dd:aa:00".parse().unwrap()));
                assert_eq!(spec.endpoint.hostname.unwrap().as_str(), "web");
                assert!(spec.dhcp && spec.addresses.is_empty());
                seen[0] += 1;
            }
            "teardown" => {
                assert_eq!(teardown(input.as_bytes()).unwrap().key(), "netavark/lan/web/eth0");
                seen[1] += 1;
            }
            "create" => {
                let (made, given) = (create(input.as_bytes()).unwrap(), input.parse::<Value>().unwrap());
                for key in ["name", "id", "driver"] {
                    assert_eq!(made[key], given[key], "{key}");
                }
                assert_eq!(made["ipam_options"], json!({"driver": "dhcp"}));
                assert_eq!(made["options"]["addressing"], "dhcp");
                seen[2] += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(seen, [5, 3, 1]);
}

fn network(more: &Value) -> Value {
    let mut network = json!({"name": "lan", "id": "1", "driver": "landline", "options": {"parent": "br0"}});
    network.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    network
}

#[test]
fn the_ipam_driver_goes_with_the_options() {
    let subnets = json!([{"subnet": "192.0.2.0/24", "gateway": "192.0.2.1"}]);
    for (more, driver) in [
        (json!({"dns_enabled": true}), "dhcp"),
        (json!({"ipam_options": {"driver": ""}, "subnets": []}), "dhcp"),
        (json!({"ipam_options": null, "subnets": subnets}), "host-local"),
        (json!({"ipam_options": {"driver": "none"}}), "none"),
    ] {
        let made = create(network(&more).to_string().as_bytes()).unwrap();
        assert_eq!((&made["ipam_options"]["driver"], &made["dns_enabled"]), (&json!(driver), &json!(false)));
        // What was answered comes again with every container.
        assert_eq!(create(made.to_string().as_bytes()).unwrap(), made);
    }
    for (more, part) in [
        (json!({"options": {"mode": "macvlan"}}), "a parent is missing"),
        (json!({"options": {"parnet": "eth0"}}), "did you mean parent"),
        (json!({"internal": true}), "--internal"),
        (json!({"ipam_options": {"driver": "host-local"}}), "--subnet"),
        (json!({"ipam_options": {"driver": "dhcp"}, "subnets": subnets}), "leave out --subnet"),
        (json!({"options": {"parent": "br0", "addressing": "static"}}), "--subnet"),
        (json!({"options": 7}), "standard input cannot be read"),
    ] {
        let refused = create(network(&more).to_string().as_bytes()).unwrap_err();
        assert!(refused.to_string().contains(part), "{more}: {refused}");
        assert_eq!(refused.json(), json!({"error": refused.to_string()}));
    }
}

#[test]
fn static_addresses_have_the_prefix_of_their_subnet() {
    let subnets = json!([{"subnet": "192.0.2.0/24", "gateway": "192.0.2.1"}, {"subnet": "2001:db8::/64"}]);
    let exec = json!({
        "container_id": "c1", "container_name": "web", "network": network(&json!({"subnets": subnets})),
        "network_options": {"interface_name": "eth0", "static_ips": ["192.0.2.9", "2001:db8::9"],
                            "options": {"landline.id": "shop"}},
    });
    let setup = setup("/run/netns/a", exec.to_string().as_bytes()).unwrap();
    let addresses: Vec<String> = setup.spec.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.0.2.9/24@192.0.2.1", "2001:db8::9/64"]);
    assert_eq!((setup.spec.dhcp, setup.owner.shown()), (false, "shop"));
}

#[test]
fn answers_are_what_netavark_reads() {
    let interface = RuntimeInterface {
        name: "eth0".parse().unwrap(),
        mac: Some("02:00:00:00:00:01".parse().unwrap()),
        mtu: 1500,
        addresses: vec!["192.0.2.9/24".parse().unwrap(), "2001:db8::9/64".parse().unwrap()],
        routes: vec![("0.0.0.0/0".parse().unwrap(), Some("192.0.2.1".parse().unwrap()))],
        dns: vec!["192.0.2.1".parse().unwrap(), "fe80::1".parse().unwrap()],
        search: vec!["lan.example".into()],
    };
    assert_eq!(
        status(&interface),
        json!({
            "dns_search_domains": ["lan.example"],
            "dns_server_ips": ["192.0.2.1"],
            "interfaces": {"eth0": {"mac_address": "02:00:00:00:00:01", "subnets": [
                {"ipnet": "192.0.2.9/24", "gateway": "192.0.2.1"}, {"ipnet": "2001:db8::9/64"}]}},
        })
    );
    assert_eq!(info("0.1.0"), json!({"version": "0.1.0", "api_version": "1.0.0"}));
}

#[test]
fn what_is_wrong_is_said() {
    let (_, recorded) = recorded().swap_remove(0);
    for (netns, from, to, part) in [
        ("run/netns/a", "", "", "not the path"),
        ("/run/netns/a", "\"interface_name\":\"eth0\"", "\"interface_name\":\"a/b\"", "name of an interface"),
        ("/run/netns/a", "\"name\":\"lan\"", "\"name\":\"\"", "is no name"),
        ("/run/netns/a", "aa:bb:cc:dd:aa:00", "01:00:00:00:00:01", "group address"),
        ("/run/netns/a", "\"x\":\"y\"", "\"landline.hostnam\":\"y\"", "did you mean hostname"),
    ] {
        let input = if from.is_empty() { recorded.clone() } else { recorded.replace(from, to) };
        let refused = setup(netns, input.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains(part), "{netns} {to}: {refused}");
    }
}
