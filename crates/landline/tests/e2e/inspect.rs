//! `landline inspect` and `landline lease renew`.

use landline_testbed::{DhcpKind, Dnsmasq, wait_for};
use serde_json::Value;

use crate::world::{Result, SOON, World, bare, binary};

#[test]
fn inspect_says_everything_and_renew_asks_again() -> Result {
    let options = ["option:dns-server,192.0.2.1", "option:ntp-server,192.0.2.3", "option:mtu,1400"];
    let forced = ["43,01:02:fe", "224,0a:0b", "114,https://portal.test/"];
    let world = World::bridge_with(Dnsmasq {
        options: options.map(str::to_owned).to_vec(),
        extra: forced.map(|option| format!("--dhcp-option-force={option}")).to_vec(),
        ..Dnsmasq::default()
    })?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "name=lan,driver-opt=landline.id=shop", &["--hostname", "webhost"])?;
    world.run("other", "lan", &[])?;
    let row = world.row("web")?;

    let text = inspect(&world, &["web"])?;
    let address = world.address("web", "br00")?;
    for said in [
        ("address", address.as_str()),
        ("mac", row["mac"].as_str().unwrap_or_default()),
        ("state", "BOUND"),
        ("hostname", "webhost"),
        ("default route", "through this interface"),
        ("server", "192.0.2.1"),
        ("lease-time (51)", "600 s"),
        ("routers (3)", "192.0.2.1"),
        ("ntp-servers (42)", "192.0.2.3"),
        ("mtu (26)", "1400"),
        ("domain-name (15)", "lab.test"),
        ("vendor-specific (43)", "01:02:fe"),
        ("captive-portal (114)", "https://portal.test/"),
        ("unknown (224)", "0a:0b"),
    ] {
        let has = |line: &str| line.trim().strip_prefix(said.0).is_some_and(|rest| rest.trim() == said.1);
        assert!(text.lines().any(has), "{said:?}:\n{text}");
    }
    assert!(text.contains("landline.id=shop"), "{text}");

    let json = |target: &str| -> Result<Vec<Value>> {
        Ok(serde_json::from_str(&inspect(&world, &[target, "--json"])?)?)
    };
    let id = row["endpoint"].as_str().unwrap_or_default();
    for target in ["web", &id[..10]] {
        let found = json(target)?;
        assert_eq!(found.len(), 1, "{target}: {found:#?}");
        assert_eq!((&found[0]["endpoint"], &found[0]["address"]), (&row["endpoint"], &row["address"]));
        assert_eq!(found[0]["options"]["parent"], "br0");
        assert!(found[0]["lease"]["renew_in_s"].as_u64() <= Some(300), "{found:#?}");
    }
    assert_eq!(json("lan")?.len(), 2, "a network's endpoints");
    let refused = inspect(&world, &["nothing"]).err().ok_or("found")?.to_string();
    assert!(refused.contains("nothing on a Landline network is called \"nothing\""), "{refused}");

    let capture = world.lan.capture(world.lan.router(), "eth0", "udp port 67 or udp port 68")?;
    world.host.landline_ok(binary(), &["lease", "renew", "web", "lan"])?;
    wait_for("a renewal of web's lease", SOON, || {
        let messages = capture.dhcp();
        let of_web = |m: &landline_testbed::DhcpMessage| m.ciaddr.to_string() == bare(&address);
        messages.iter().any(|(_, m)| m.kind() == Some(DhcpKind::Request) && of_web(m)).then_some(())
    })?;
    assert!(world.host.landline_ok(binary(), &["lease", "renew", "web", "elsewhere"]).is_err());
    Ok(())
}

fn inspect(world: &World, args: &[&str]) -> Result<String> {
    Ok(world.host.landline_ok(binary(), &[&["inspect"], args].concat())?)
}
