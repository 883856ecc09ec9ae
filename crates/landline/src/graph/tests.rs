use serde_json::json;

use super::*;

fn view() -> GraphView {
    let endpoint = |container: &str, network: &str, state: &str, address: Option<&str>| {
        json!({
            "endpoint": "e".repeat(64), "network_id": network.repeat(64), "network": "lan", "container": container,
            "interface": "eth0", "mac": "02:00:00:00:00:01", "address": address, "state": state,
            "lease_left_s": address.map(|_| 600), "naks": 0, "conflicts": 0,
        })
    };
    serde_json::from_value(json!({
        "host": "host1",
        "links": [
            {"name": "br0", "kind": "bridge", "up": true, "running": true, "on": "eth0", "addresses": ["192.0.2.10/24"]},
            {"name": "eth0", "kind": "nic", "up": true, "running": true, "on": null, "addresses": []},
            {"name": "eth1", "kind": "nic", "up": false, "running": false, "on": null, "addresses": []},
        ],
        "networks": [
            {"id": "a".repeat(64), "name": "lan", "mode": "bridge", "parent": "br0", "vlan": null},
            {"id": "b".repeat(64), "name": "lab", "mode": "macvlan", "parent": "eth1", "vlan": 12},
            {"id": "c".repeat(64), "name": null, "mode": "bridge", "parent": "br0", "vlan": null},
            {"id": "d".repeat(64), "name": "sim", "mode": "vde", "parent": "lo", "vlan": null},
        ],
        "endpoints": [
            endpoint("web", "a", "BOUND", Some("192.0.2.7/24")),
            endpoint("db", "b", "SELECTING", None),
            endpoint("tool", "c", "static", Some("192.0.2.9/24")),
        ],
        "nat": [{"container": "shop", "address": "192.0.2.50", "interface": "br0", "inside": "172.17.0.2",
                 "ports": ["80/tcp"], "state": "ready"}],
        "host_access": [{"network": "lab", "driver": "landline", "parent": "eth1", "interface": "llshim0",
                         "addresses": ["192.0.2.11/32"], "routes": [], "containers": [], "state": "ready"}],
    }))
    .unwrap()
}

#[test]
fn everything_hangs_on_what_it_gets_onto_the_lan_by() {
    let expected = "\
host host1
├─ NIC eth0
│  └─ bridge br0 (192.0.2.10/24)
│     ├─ network lan (bridge)
│     │  └─ container web (eth0 02:00:00:00:00:01, 192.0.2.7/24 for 10m00s)
│     ├─ container tool (eth0 02:00:00:00:00:01, 192.0.2.9/24 for 10m00s)
│     └─ NAT shop (192.0.2.50 to 172.17.0.2, 80/tcp)
├─ NIC eth1 (down) [!!]
│  ├─ network lab (macvlan, VLAN 12)
│  │  └─ container db (eth0 02:00:00:00:00:01, SELECTING) [!!]
│  └─ host access llshim0 (to lab, 192.0.2.11/32)
└─ network sim (vde)
";
    assert_eq!(draw(&view(), GraphFormat::Tree).unwrap(), expected);
}

#[test]
fn links_that_are_on_each_other_are_drawn_once() {
    let mut view = view();
    view.links[1].on = Some("br0".into());
    let text = draw(&view, GraphFormat::Tree).unwrap();
    assert_eq!((text.matches("bridge br0").count(), text.matches("NIC eth0").count()), (1, 1), "{text}");
}

#[test]
fn mermaid_and_dot_have_a_node_and_an_edge_for_each() {
    let mermaid = draw(&view(), GraphFormat::Mermaid).unwrap();
    assert!(
        mermaid.starts_with("flowchart LR\n  n0[\"host<br>host1\"]\n  n1[\"NIC<br>eth0\"]\n  n0 --- n1\n")
    );
    assert!(mermaid.contains("<br>192.0.2.7/24 for 10m00s\")\n"), "{mermaid}");
    assert!(mermaid.contains("SELECTING\"):::fail\n"), "{mermaid}");
    let dot = draw(&view(), GraphFormat::Dot).unwrap();
    assert!(dot.starts_with("graph landline {\n") && dot.ends_with("}\n"), "{dot}");
    let count = |text: &str, part: &str| text.matches(part).count();
    assert_eq!((count(&dot, "[label="), count(&dot, " -- ")), (12, 11), "{dot}");
    assert_eq!((count(&mermaid, "<br>") > 12, count(&mermaid, " --- ")), (true, 11), "{mermaid}");
}

#[test]
fn a_picture_contains_itself_and_no_name_escapes_it() {
    let mut view = view();
    view.endpoints[0].container =
        Some("</text><script>alert(\"1\")</script>]\n\";n9--n9 #quot;\u{1b}&".into());
    let svg = draw(&view, GraphFormat::Svg).unwrap();
    assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;"), "{svg}");
    assert!(!svg.contains("href") && !svg.contains("url("), "nothing is loaded");
    assert_eq!(svg.matches("http").count(), 1, "the namespace alone");
    assert!(svg.contains("prefers-color-scheme:dark"));
    let (open, close) = (svg.matches("<text").count(), svg.matches("</text>").count());
    assert_eq!(open, close);
    let mermaid = draw(&view, GraphFormat::Mermaid).unwrap();
    let evil = mermaid.lines().find(|line| line.contains("script")).unwrap();
    assert_eq!(evil.matches('"').count(), 2, "{evil}");
    assert!(!evil.replace("<br>", "").contains('<'), "{evil}");
    let dot = draw(&view, GraphFormat::Dot).unwrap();
    let evil = dot.lines().find(|line| line.contains("script")).unwrap();
    assert_eq!(evil.replace("\\\"", "").matches('"').count(), 2, "{evil}");
    for text in [&svg, &mermaid, &dot] {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    }
}

#[test]
fn nothing_in_a_picture_overlaps() {
    let svg = draw(&view(), GraphFormat::Svg).unwrap();
    let number = |rect: &str, name: &str| -> i64 {
        let (_, rest) = rect.split_once(&format!(" {name}=\"")).unwrap();
        rest.split_once('"').unwrap().0.parse().unwrap()
    };
    let boxes: Vec<[i64; 4]> = svg
        .split("<rect class=\"box\"")
        .skip(1)
        .map(|rect| ["x", "y", "width", "height"].map(|name| number(rect, name)))
        .collect();
    assert_eq!(boxes.len(), 12);
    let (_, rest) = svg.split_once("viewBox=\"0 0 ").unwrap();
    let (width, rest) = rest.split_once(' ').unwrap();
    let (width, height): (i64, i64) =
        (width.parse().unwrap(), rest.split_once('"').unwrap().0.parse().unwrap());
    for (at, [x, y, w, h]) in boxes.iter().enumerate() {
        assert!(*x >= 0 && *y >= 0 && x + w <= width && y + h <= height, "{:?}", boxes[at]);
        for [x2, y2, w2, h2] in &boxes[at + 1..] {
            let apart = x + w <= *x2 || x2 + w2 <= *x || y + h <= *y2 || y2 + h2 <= *y;
            assert!(apart, "{:?} and {:?}", boxes[at], [x2, y2, w2, h2]);
        }
    }
}
