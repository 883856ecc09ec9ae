//! Requests as containerd sent them, and made-up ones for what it did not send.

use std::collections::BTreeMap;
use std::path::Path;

use landline_model::{RuntimeInterface, RuntimeOwner};
use landline_options::Parent;
use landline_runtimes::cni::{
    Call, Environment, Failure, Request, Version, difference, read, result, versions,
};
use serde_json::{Value, json};

/// The requests of `ctr run --cni` and its end (containerd 1.6).
fn recorded() -> Vec<(Environment, String)> {
    let lines = include_str!("recordings/cni-ctr.jsonl").lines();
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let variables: BTreeMap<String, String> = serde_json::from_value(line["env"].clone()).unwrap();
        (Environment::read(|name| variables.get(name).cloned()), line["stdin"].as_str().unwrap().to_owned())
    };
    lines.map(read).collect()
}

fn environment(command: &str, more: &[(&str, &str)]) -> Environment {
    let mut variables = BTreeMap::from([
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/blue"),
        ("CNI_IFNAME", "eth0"),
    ]);
    variables.extend(more.iter().copied());
    Environment::read(|name| variables.get(name).map(|value| (*value).to_owned()))
}

fn config(version: &str, more: Value) -> Value {
    let mut config = json!({"cniVersion": version, "name": "lan", "type": "landline", "parent": "br0"});
    if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
        config.extend(more);
    }
    config
}

fn ask(command: &str, variables: &[(&str, &str)], config: &Value) -> Result<Call, Failure> {
    read(&environment(command, variables), config.to_string().as_bytes())
}

fn code(result: Result<Call, Failure>) -> (u64, String) {
    let error = result.unwrap_err().json();
    (error["code"].as_u64().unwrap(), error["msg"].as_str().unwrap().to_owned())
}

fn interface() -> RuntimeInterface {
    RuntimeInterface {
        name: "eth0".parse().unwrap(),
        mac: Some("02:00:00:00:00:01".parse().unwrap()),
        mtu: 1500,
        addresses: vec!["192.0.2.9/24".parse().unwrap(), "2001:db8::9/64".parse().unwrap()],
        routes: vec![
            ("0.0.0.0/0".parse().unwrap(), Some("192.0.2.1".parse().unwrap())),
            ("198.51.100.0/24".parse().unwrap(), None),
        ],
        dns: vec!["192.0.2.1".parse().unwrap(), "fe80::1".parse().unwrap()],
        search: vec!["lan.example".into()],
    }
}

#[test]
fn containerd_adds_and_deletes() {
    let [(add, add_input), (delete, delete_input)] = <[_; 2]>::try_from(recorded()).unwrap();
    let call = read(&add, add_input.as_bytes()).unwrap();
    let Request::Add(request) = call.request else { panic!("{:?}", call.request) };
    assert_eq!((call.version, request.netns.as_path()), (Version::V1_0_0, Path::new("/proc/6164/ns/net")));
    assert_eq!(request.owner.key(), "cni/lan/default-webctr/eth0");
    assert_eq!(request.spec.parent, Parent::Name("eth0".parse().unwrap()));
    assert_eq!(request.spec.ifname, Some("eth0".parse().unwrap()));
    assert_eq!(request.spec.options["mode"], "macvlan");
    assert!(request.spec.dhcp && request.spec.endpoint.hostname.is_none());
    // Its namespace is not named at the end.
    let call = read(&delete, delete_input.as_bytes()).unwrap();
    let Request::Delete(owner) = call.request else { panic!("{:?}", call.request) };
    assert!(owner.is_same(&request.owner));
}

#[test]
fn podman_names_its_containers_and_addresses_in_arguments() {
    let arguments = "IgnoreUnknown=1;K8S_POD_NAME=web;MAC=02:00:00:00:00:07;IP=192.0.2.9";
    let wanted = config("0.4.0", json!({"runtimeConfig": {"aliases": {"lan": ["w"]}, "portMappings": []}}));
    let call = ask("ADD", &[("CNI_ARGS", arguments)], &wanted).unwrap();
    let Request::Add(add) = call.request else { panic!("{:?}", call.request) };
    assert_eq!(add.owner.name.as_deref(), Some("web"));
    assert_eq!(add.spec.mac, Some("02:00:00:00:00:07".parse().unwrap()));
    assert_eq!(add.spec.endpoint.ip, Some("192.0.2.9".parse().unwrap()));
    assert_eq!(add.spec.endpoint.hostname.unwrap().as_str(), "web");
    // VERSION comes with neither.
    let none = [("CNI_NETNS", "dummy"), ("CNI_CONTAINERID", ""), ("CNI_IFNAME", "")];
    let call = ask("VERSION", &none, &json!({"cniVersion": "0.4.0"})).unwrap();
    assert!(matches!(call.request, Request::Version));
    let answer = versions(call.version);
    assert_eq!(answer["cniVersion"], "0.4.0");
    assert_eq!(answer["supportedVersions"], json!(["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]));
    assert!(matches!(read(&environment("VERSION", &[]), b"").unwrap().request, Request::Version));
}

#[test]
fn a_pod_is_known_by_namespace_and_name() {
    let pod = |id: &str| -> RuntimeOwner {
        let arguments = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=1;IgnoreUnknown=1";
        let variables = [("CNI_ARGS", arguments), ("CNI_CONTAINERID", id)];
        match ask("DEL", &variables, &config("1.1.0", json!({}))).unwrap().request {
            Request::Delete(owner) => owner,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((pod("a").key(), pod("a").shown()), ("cni/lan/shop/web-0/eth0".into(), "shop/web-0"));
    assert_eq!(pod("a").key(), pod("b").key());
    assert!(!pod("a").is_same(&pod("b")));
}

#[test]
fn capabilities_count_more_than_arguments() {
    let wanted = config(
        "1.1.0",
        json!({"runtimeConfig": {"ips": ["192.0.2.8/24"], "mac": "02:00:00:00:00:08", "dns": {"servers": ["192.0.2.3"]}},
               "args": {"cni": {"ips": ["192.0.2.7/24"]}}, "ipv6": true, "mtu": 1400, "dhcp_servers": ["192.0.2.1"]}),
    );
    let call = ask("ADD", &[("CNI_ARGS", "IP=192.0.2.9;MAC=02:00:00:00:00:09")], &wanted).unwrap();
    let Request::Add(add) = call.request else { panic!("{:?}", call.request) };
    assert_eq!(add.spec.endpoint.ip, Some("192.0.2.8".parse().unwrap()));
    assert_eq!(add.spec.mac, Some("02:00:00:00:00:08".parse().unwrap()));
    let options = ["ipv6", "mtu", "dhcp_servers"].map(|key| add.spec.options[key].as_str());
    assert_eq!(options, ["true", "1400", "192.0.2.1"]);
    assert_eq!(add.dns, Some(json!({"nameservers": ["192.0.2.3"]})));
}

#[test]
fn each_version_has_its_result() {
    let (shown, netns) = (interface(), Path::new("/run/netns/blue"));
    let old = result(Version::V0_3_1, None, &shown, netns, None);
    assert_eq!(
        old,
        json!({
            "cniVersion": "0.3.1",
            "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/blue"}],
            "ips": [
                {"version": "4", "interface": 0, "address": "192.0.2.9/24", "gateway": "192.0.2.1"},
                {"version": "6", "interface": 0, "address": "2001:db8::9/64"},
            ],
            "routes": [{"dst": "0.0.0.0/0", "gw": "192.0.2.1"}, {"dst": "198.51.100.0/24"}],
            "dns": {"nameservers": ["192.0.2.1", "fe80::1%eth0"], "search": ["lan.example"]},
        })
    );
    let new = result(Version::V1_1_0, None, &shown, netns, Some(json!({"nameservers": ["192.0.2.3"]})));
    assert_eq!(new["interfaces"][0]["mtu"], 1500);
    assert_eq!(new["ips"][0], json!({"interface": 0, "address": "192.0.2.9/24", "gateway": "192.0.2.1"}));
    assert_eq!(new["dns"], json!({"nameservers": ["192.0.2.3"]}));
    assert!(difference(new.as_object().unwrap(), &shown).is_none());

    // Second in a list: what was made before is passed on.
    let before = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "cni0"}, {"name": "eth9", "sandbox": "/run/netns/blue"}],
        "ips": [{"interface": 1, "address": "198.51.100.9/24"}],
        "dns": {"nameservers": ["198.51.100.1"]},
    });
    let chained = result(Version::V1_0_0, before.as_object().cloned(), &shown, netns, None);
    assert_eq!(chained["interfaces"].as_array().unwrap().len(), 3);
    assert_eq!(chained["ips"][0], json!({"interface": 1, "address": "198.51.100.9/24"}));
    assert_eq!(chained["ips"][1]["interface"], 2);
    assert_eq!(chained["dns"], json!({"nameservers": ["198.51.100.1"]}));
    assert!(difference(chained.as_object().unwrap(), &shown).is_none());
}

#[test]
fn check_compares_with_what_add_said() {
    let made = result(Version::V1_0_0, None, &interface(), Path::new("/run/netns/blue"), None);
    let call = ask("CHECK", &[], &config("1.0.0", json!({"prevResult": made}))).unwrap();
    let Request::Check(check) = call.request else { panic!("{:?}", call.request) };
    let differs = |change: &dyn Fn(&mut RuntimeInterface)| {
        let mut now = interface();
        change(&mut now);
        difference(&check.previous, &now).unwrap_or_default()
    };
    assert_eq!(differs(&|_| {}), "");
    let moved = differs(&|now| now.addresses[0] = "192.0.2.10/24".parse().unwrap());
    assert!(moved.contains("does not have the address 192.0.2.9/24"), "{moved}");
    assert!(differs(&|now| now.mac = None).contains("hardware address"));
    assert!(differs(&|now| now.name = "eth1".parse().unwrap()).contains("no interface eth1"));
    // One more address is none that is lost.
    assert_eq!(differs(&|now| now.addresses.push("192.0.2.11/24".parse().unwrap())), "");
}

#[test]
fn gc_keeps_what_is_listed_and_nothing_without_a_list() {
    let valid = json!({"cni.dev/valid-attachments": [
        {"containerID": "c1", "ifname": "eth0"}, {"containerID": "c2", "ifname": "not a name of an interface"}]});
    let none = [("CNI_NETNS", ""), ("CNI_CONTAINERID", ""), ("CNI_IFNAME", "")];
    let call = ask("GC", &none, &config("1.1.0", valid)).unwrap();
    let Request::Collect { network, kept } = call.request else { panic!("{:?}", call.request) };
    assert_eq!((network.as_str(), kept), ("lan", vec![("c1".to_owned(), "eth0".parse().unwrap())]));
    assert_eq!(code(ask("GC", &none, &config("1.1.0", json!({})))).0, 7);
}

#[test]
fn what_is_wrong_has_the_code_of_the_specification() {
    let plain = |version| config(version, json!({}));
    let with = |more| config("1.1.0", more);
    for (command, variables, config, expected, part) in [
        ("ADD", &[][..], plain("2.0.0"), 1, "one of 0.3.0"),
        ("ADD", &[], json!({"name": "lan"}), 1, "0.1.0"),
        ("CHECK", &[], plain("0.3.1"), 1, "CHECK needs cniVersion 0.4.0"),
        ("GC", &[], plain("1.0.0"), 1, "GC needs cniVersion 1.1.0"),
        ("STATUS", &[], plain("1.0.0"), 1, "STATUS needs cniVersion 1.1.0"),
        ("ADD", &[("CNI_CONTAINERID", "")], plain("1.1.0"), 4, "CNI_CONTAINERID is missing"),
        ("ADD", &[("CNI_CONTAINERID", "../a")], plain("1.1.0"), 4, "CNI_CONTAINERID=../a is not"),
        ("ADD", &[("CNI_IFNAME", "a/b")], plain("1.1.0"), 4, "CNI_IFNAME"),
        ("ADD", &[("CNI_NETNS", "")], plain("1.1.0"), 4, "CNI_NETNS is missing"),
        ("ADD", &[("CNI_NETNS", "/run/../etc")], plain("1.1.0"), 4, "CNI_NETNS"),
        ("ADD", &[("CNI_ARGS", "IP")], plain("1.1.0"), 4, "CNI_ARGS"),
        ("SUB", &[], plain("1.1.0"), 4, "CNI_COMMAND=SUB"),
        ("ADD", &[], json!([]), 6, "not a JSON object"),
        ("ADD", &[], json!({"cniVersion": "1.1.0", "parent": "br0"}), 7, "has no name"),
        ("ADD", &[], with(json!({"name": "../lan"})), 7, "the name"),
        ("ADD", &[], with(json!({"parnet": "br0"})), 7, "did you mean parent"),
        ("ADD", &[], with(json!({"vlan": {"id": 7}})), 7, "vlan: write a text"),
        ("ADD", &[], with(json!({"ipam": {"type": "host-local"}})), 7, "remove ipam"),
        ("ADD", &[], with(json!({"runtimeConfig": {"deviceID": "0000:03:00.0"}})), 7, "deviceID"),
        ("ADD", &[], with(json!({"runtimeConfig": {"bandwidth": {"ingressRate": 1}}})), 7, "bandwidth"),
        ("ADD", &[], with(json!({"runtimeConfig": {"mac": "01:00:00:00:00:01"}})), 7, "group address"),
        ("CHECK", &[], plain("1.0.0"), 7, "CHECK needs prevResult"),
    ] {
        let (code, message) = code(ask(command, variables, &config));
        assert!(code == expected && message.contains(part), "{command} {config}: {code} {message}");
    }
    // Who removes a network's interface need not repair its options first.
    ask("DEL", &[("CNI_NETNS", "")], &with(json!({"parnet": "br0"}))).unwrap();
}

proptest::proptest! {
    #[test]
    fn nothing_that_comes_in_is_too_much(
        command in "(ADD|DEL|CHECK|GC|STATUS|VERSION|[A-Z]{0,3})",
        variables in proptest::array::uniform4("\\PC{0,20}"),
        version in "(1\\.1\\.0|0\\.4\\.0|\\PC{0,5})",
        key in "(ips|mac|dns|ipam|prevResult|runtimeConfig|cni.dev/valid-attachments|mode|\\PC{0,9})",
        value in "(\\PC{0,20}|\\[\\PC{0,20}\\]|\\{\"(dns|ips|type)\":\\PC{0,20}\\}|null|7)",
    ) {
        let names = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"];
        let variables: Vec<(&str, &str)> = names.into_iter().zip(variables.iter().map(String::as_str)).collect();
        let environment = environment(&command, &variables);
        let key = serde_json::to_string(&key).unwrap();
        let input = format!(r#"{{"cniVersion":"{version}","name":"lan","parent":"br0",{key}:{value}}}"#);
        if let Err(failure) = read(&environment, input.as_bytes()) {
            assert!(failure.json()["code"].is_u64());
        }
    }
}
