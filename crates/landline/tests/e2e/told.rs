//! What changes between Docker's question for an address and the moment it sets it.

use std::net::Ipv4Addr;

use landline_testbed::wait_for;
use serde_json::{Value, json};

use crate::bad_routes::{FIRST, Moody};
use crate::world::{Result, SOON, World};

/// What Docker does at a start, by the test's own hand: an endpoint, a sandbox (`/run/netns/s0`), and what it was told in it.
#[test]
fn an_address_that_was_lost_before_docker_set_it_is_replaced() -> Result {
    const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 61);
    let mut world = World::bridge()?;
    let server = Moody::on(&mut world)?;
    server.now(|says| {
        says.seconds = 12;
        says.options = vec![(3, vec![192, 0, 2, 1])];
    });
    let network = world.network("lan", &["bridge=br0"])?;
    let id = "e".repeat(64);
    let ask = |verb: &str, body: &Value| -> Result<Value> {
        let (status, answer) = world.daemon.request(&format!("/NetworkDriver.{verb}"), &body.to_string())?;
        let json: Value = serde_json::from_str(&answer)?;
        if status == 200 && json["Err"].is_null() { Ok(json) } else { Err(answer.into()) }
    };
    let create = json!({"NetworkID": network, "EndpointID": id, "Interface": {}, "Options": {}});
    let told = format!("{FIRST}/24");
    assert_eq!(ask("CreateEndpoint", &create)?["Interface"]["Address"], told);

    // The server takes it back at the first renewal.
    server.now(|says| {
        says.refused = Some(FIRST);
        says.address = SECOND;
    });
    let leased = |address: &str| {
        let listing = world.ls().unwrap_or_default();
        listing["endpoints"].as_array().is_some_and(|rows| rows.iter().any(|row| row["address"] == address))
    };
    let now = format!("{SECOND}/24");
    wait_for("another address", 2 * SOON, || leased(&now))?;
    assert_eq!(
        ask("CreateEndpoint", &create)?["Interface"]["Address"],
        told,
        "asked again, it is told the same"
    );

    world.host.check(&["ip", "netns", "add", "s0"])?;
    let join = json!({"NetworkID": network, "EndpointID": id, "SandboxKey": "/run/netns/s0", "Options": {}});
    let joined = ask("Join", &join)?;
    let link = joined["InterfaceName"]["SrcName"].as_str().ok_or_else(|| format!("{joined}"))?;
    assert_eq!(joined["Gateway"], "192.0.2.1");
    world.host.check(&["ip", "link", "set", link, "netns", "s0"])?;
    let inside = |words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        world.host.check(&[&["ip", "-n", "s0"], &words[..]].concat())
    };
    inside(&format!("link set {link} up"))?;
    inside(&format!("address add {told} dev {link}"))?;
    inside("route add default via 192.0.2.1")?;
    let addresses = || inside("-4 -o address");
    wait_for("the new address in the place of the old one", SOON, || {
        addresses().is_ok_and(|shown| shown.contains(&now) && !shown.contains(&told))
    })
    .map_err(|error| format!("{error}: {:?}\n{}", addresses(), world.daemon.log()))?;
    wait_for("the default route", SOON, || {
        inside("route").is_ok_and(|routes| routes.contains("default via 192.0.2.1"))
    })?;
    Ok(())
}
