//! The rules of nftables, as `nft -j list ruleset` lists them (libnftables-json(5)).

use serde_json::Value;

use super::filter::{Chains, Fate, Packet, Rule, Then, both, fate, is_named, is_within, protocol_number};

/// A chain that drops something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dropping {
    /// `inet`, `ip`.
    pub(super) family: String,
    pub(super) table: String,
    /// The chain that drops it.
    pub(super) chain: String,
    /// The one that the kernel calls.
    pub(super) base: String,
}

/// The chains that drop an IPv4 packet which is passed on. Each that the kernel calls decides by itself.
pub(super) fn forward(listing: &Value, packet: &Packet) -> Vec<Dropping> {
    let objects = || listing["nftables"].as_array().into_iter().flatten();
    let bases = objects().map(|object| &object["chain"]).filter(|chain| {
        chain["hook"] == "forward"
            && chain["type"] == "filter"
            && (chain["family"] == "ip" || chain["family"] == "inet")
    });
    let dropping = bases.filter_map(|base| {
        let mut chains = Chains::new();
        let rules = objects().map(|object| &object["rule"]);
        for rule in rules.filter(|rule| rule["family"] == base["family"] && rule["table"] == base["table"]) {
            chains.entry(text(&rule["chain"])).or_default().push(read(&rule["expr"], packet));
        }
        let name = text(&base["name"]);
        let Fate::Dropped(chain) = fate(&chains, &name, base["policy"] == "drop") else { return None };
        Some(Dropping { family: text(&base["family"]), table: text(&base["table"]), chain, base: name })
    });
    dropping.collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn read(statements: &Value, packet: &Packet) -> Rule {
    let (mut holds, mut then) = (Some(true), Then::Nothing);
    for (kind, what) in statements.as_array().into_iter().flatten().filter_map(Value::as_object).flatten() {
        match kind.as_str() {
            "match" => holds = both(holds, test(what, packet)),
            "accept" => then = Then::Accept,
            "drop" | "reject" => then = Then::Drop,
            "return" => then = Then::Return,
            "jump" => then = Then::Jump(text(&what["target"])),
            "goto" => then = Then::Goto(text(&what["target"])),
            "counter" | "log" | "comment" | "mangle" | "ct helper" | "notrack" => {}
            // Of iptables, or a map of verdicts, or whatever else may decide.
            _ => {
                holds = both(holds, None);
                then = Then::Ask;
            }
        }
    }
    Rule { holds, then }
}

fn test(what: &Value, packet: &Packet) -> Option<bool> {
    let (left, right) = (&what["left"], &what["right"]);
    let one = |value: &Value| -> Option<bool> {
        let word = value.as_str();
        match (left["meta"]["key"].as_str(), left["ct"]["key"].as_str(), left["payload"]["field"].as_str()) {
            (Some("iifname"), ..) => is_named(packet.input.as_deref(), word?, '*'),
            (Some("oifname"), ..) => is_named(packet.output.as_deref(), word?, '*'),
            (Some("nfproto"), ..) => Some(word? == "ipv4"),
            (Some("l4proto"), ..) => is_protocol(packet.protocol, value),
            (_, Some("state"), _) => Some(word? == "new"),
            (_, Some("status"), _) if word? == "dnat" => Some(packet.translated),
            (.., Some(field)) => payload(left["payload"]["protocol"].as_str()?, field, value, packet),
            _ => None,
        }
    };
    let values = right["set"].as_array().or(right.as_array());
    let holds = match values {
        Some(values) => {
            let each: Vec<Option<bool>> = values.iter().map(one).collect();
            let unknown = each.contains(&None) && !each.contains(&Some(true));
            (!unknown).then(|| each.contains(&Some(true)))
        }
        None => one(right),
    };
    match what["op"].as_str()? {
        "==" | "in" => holds,
        "!=" => holds.map(|holds| !holds),
        _ => None,
    }
}

fn payload(protocol: &str, field: &str, value: &Value, packet: &Packet) -> Option<bool> {
    match (protocol, field) {
        ("ip6" | "icmpv6", _) => Some(false),
        ("ip", "saddr") => is_within(packet.source, &net(value)?),
        ("ip", "daddr") => is_within(packet.destination, &net(value)?),
        ("ip", "protocol") => is_protocol(packet.protocol, value),
        ("tcp" | "udp" | "th", "dport") => {
            let transport =
                if protocol == "th" { Some(true) } else { is_protocol(packet.protocol, &protocol.into()) };
            both(transport, is_port(packet.port, value))
        }
        ("icmp" | "tcp" | "udp", _) => both(is_protocol(packet.protocol, &protocol.into()), None),
        _ => None,
    }
}

fn net(value: &Value) -> Option<String> {
    match value.as_str() {
        Some(address) => Some(address.to_owned()),
        None => Some(format!("{}/{}", value["prefix"]["addr"].as_str()?, value["prefix"]["len"].as_u64()?)),
    }
}

fn is_protocol(protocol: Option<u8>, value: &Value) -> Option<bool> {
    let wanted = match value.as_str() {
        Some(name) => protocol_number(name)?.into(),
        None => value.as_u64()?,
    };
    protocol.map(|protocol| u64::from(protocol) == wanted)
}

fn is_port(port: Option<u16>, value: &Value) -> Option<bool> {
    let range = &value["range"];
    let (from, to) = match value.as_u64() {
        Some(number) => (number, number),
        None => (range[0].as_u64()?, range[1].as_u64()?),
    };
    port.map(|port| (from..=to).contains(&u64::from(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(rules: &[&str]) -> Value {
        let chain = r#"{"chain":{"family":"inet","table":"fw","name":"f","type":"filter","hook":"forward","prio":0,"policy":"drop"}}"#;
        let rule = |expr: &&str| {
            format!(r#"{{"rule":{{"family":"inet","table":"fw","chain":"f","expr":[{expr}]}}}}"#)
        };
        let objects: Vec<String> = std::iter::once(chain.to_owned()).chain(rules.iter().map(rule)).collect();
        serde_json::from_str(&format!(r#"{{"nftables":[{}]}}"#, objects.join(","))).unwrap()
    }

    fn packet() -> Packet {
        Packet {
            input: Some("eth0".into()),
            output: Some("br0".into()),
            destination: "203.0.113.4".parse().ok(),
            protocol: Some(6),
            port: Some(80),
            ..Packet::default()
        }
    }

    fn drops(rule: &str, packet: &Packet) -> bool {
        !forward(&listing(&[&format!(r#"{rule},{{"accept":null}}"#)]), packet).is_empty()
    }

    #[test]
    fn a_chain_drops_what_no_rule_accepts() {
        let found = forward(&listing(&[]), &packet());
        let name = |name: &str| name.to_owned();
        assert_eq!(
            found,
            [Dropping { family: name("inet"), table: name("fw"), chain: name("f"), base: name("f") }]
        );
        for accepts in [
            r#"{"counter":{"packets":1,"bytes":1}}"#,
            r#"{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"eth*"}}"#,
            r#"{"match":{"op":"!=","left":{"meta":{"key":"oifname"}},"right":{"set":["br1","br2"]}}}"#,
            r#"{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["established","new"]}}"#,
            r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"daddr"}},"right":{"prefix":{"addr":"203.0.113.0","len":24}}}}"#,
            r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":{"range":[79,81]}}}"#,
            r#"{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":{"set":[17,"tcp"]}}}"#,
        ] {
            assert!(!drops(accepts, &packet()), "{accepts}");
        }
    }

    #[test]
    fn other_packets_are_others() {
        for others in [
            r#"{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"lo"}}"#,
            r#"{"match":{"op":"==","left":{"ct":{"key":"state"}},"right":{"set":["established","related"]}}}"#,
            r#"{"match":{"op":"in","left":{"ct":{"key":"status"}},"right":"dnat"}}"#,
            r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip6","field":"daddr"}},"right":"::1"}}"#,
            r#"{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":80}}"#,
            r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":443}}"#,
        ] {
            assert!(drops(others, &packet()), "{others}");
        }
        let dnat = r#"{"match":{"op":"in","left":{"ct":{"key":"status"}},"right":"dnat"}}"#;
        assert!(!drops(dnat, &Packet { translated: true, ..packet() }));
    }

    #[test]
    fn what_is_not_understood_is_no_finding() {
        for strange in [
            r#"{"xt":null}"#,
            r#"{"vmap":{"key":{"meta":{"key":"iifname"}},"data":{"set":[]}}}"#,
            r#"{"match":{"op":"==","left":{"meta":{"key":"mark"}},"right":1}}"#,
            r#"{"match":{"op":">","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":1}}"#,
        ] {
            assert!(!drops(strange, &packet()), "{strange}");
        }
        assert!(forward(&Value::Null, &packet()).is_empty());
    }
}
