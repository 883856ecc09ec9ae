//! Attachments whose links this machine's kernel may not have: ipvlan children, VLANs of a card, dummy interfaces.

use crate::world::{Result, World, binary};

#[test]
#[ignore = "the kernel outside may have none of it; runs in the VM"]
fn attachments() -> Result {
    let world = World::nic()?;
    let done = cases(&world);
    if done.is_err() {
        println!("--- landline:\n{}", world.daemon.log());
    }
    done
}

fn cases(world: &World) -> Result {
    for name in ["blue", "green"] {
        world.host.check(&["ip", "netns", "add", name])?;
    }
    let before = world.host.snapshot()?;
    let landline = |words: &[&str]| world.host.landline_ok(binary(), words);
    let links_of = |name: &str| world.host.check(&["ip", "-n", name, "-d", "-o", "link"]);
    let shown = || links_of("blue");

    println!("ipvlan, with a lease and with an address by hand");
    landline(&[
        "attach",
        "eth0",
        "netns:/run/netns/blue",
        "dhcp",
        "mode=ipvlan",
        "ifname=lan0",
        "lease_timeout=30s",
    ])?;
    // Not beside the other: answers to one of two ipvlan interfaces on one subnet leave by either.
    landline(&["attach", "eth0", "netns:/run/netns/green", "192.0.2.60/24", "mode=ipvlan", "ifname=lan1"])?;
    for name in ["blue", "green"] {
        let links = links_of(name)?;
        assert_eq!(links.matches("ipvlan  mode l2").count(), 1, "{links}");
    }
    assert_eq!(world.dhcp.leases().len(), 1);
    world.lan.peer().check(&["ping", "-c1", "-W5", "192.0.2.60"])?;
    let taken = world.host.landline(
        binary(),
        &["attach", "eth0", "netns:/run/netns/blue", "192.0.2.2/24", "mode=ipvlan", "ifname=lan2"],
    );
    assert!(taken.stderr.contains("192.0.2.2 is used by"), "{}", taken.stderr);
    for name in ["blue", "green"] {
        landline(&["detach", &format!("netns:/run/netns/{name}")])?;
    }

    println!("a bad wire: netem, and what else tc is asked for");
    let netns = "netns:/run/netns/blue";
    landline(&["pipework", "eth0", "-i", "lan0", netns, "192.0.2.62/24"])?;
    let ping = || -> Result<f64> {
        let said = landline(&["exec", netns, "ping", "-q", "-c2", "-i0.2", "-W5", "192.0.2.2"])?;
        let least = said.split(" = ").nth(1).and_then(|times| times.split('/').next()?.parse().ok());
        Ok(least.ok_or_else(|| format!("no times: {said}"))?)
    };
    let queue = |words: &str| -> Result<String> {
        let words: Vec<&str> = words.split(' ').collect();
        landline(&[&["pipework", "tc", netns, "qdisc"], &words[..]].concat())?;
        Ok(landline(&["exec", netns, "tc", "qdisc", "show", "dev", "lan0"])?)
    };
    ping()?;
    let quick = ping()?;
    let now = queue("add dev lan0 root netem delay 50ms")?;
    assert!(now.contains("netem") && now.contains("delay 50ms"), "{now}");
    let slow = ping()?;
    println!("without {quick} ms, with a delay of 50 ms {slow} ms");
    assert!(slow >= 50.0 && slow > quick, "{quick} {slow}");
    let now = queue("replace dev lan0 root netem loss 100%")?;
    assert!(now.contains("loss 100%"), "{now}");
    let lost = world.host.landline(binary(), &["exec", netns, "ping", "-c1", "-W1", "192.0.2.2"]);
    assert!(!lost.success(), "nothing is lost: {}", lost.stdout);
    let now = queue("replace dev lan0 root fq_codel")?;
    assert!(now.contains("fq_codel"), "{now}");
    assert!(!queue("del dev lan0 root")?.contains("fq_codel"));
    ping()?;
    landline(&["detach", netns])?;

    println!("a VLAN of the card");
    let router = world.lan.router();
    router.sh("ip link add link eth0 name eth0.12 type vlan id 12
         ip address add 203.0.113.1/24 dev eth0.12
         ip link set eth0.12 up")?;
    landline(&[
        "pipework",
        "eth0",
        "-i",
        "lan0",
        "netns:/run/netns/blue",
        "203.0.113.60/24@203.0.113.1",
        "@12",
    ])?;
    landline(&["exec", "netns:/run/netns/blue", "ping", "-c1", "-W5", "203.0.113.1"])?;
    assert!(shown()?.contains("macvlan mode bridge"));
    world.host.check(&["ip", "link", "show", "eth0.12"])?;
    landline(&["detach", "netns:/run/netns/blue"])?;
    assert!(!world.host.exec(&["ip", "link", "show", "eth0.12"]).success(), "the VLAN's interface stays");

    println!("VLANs of a Linux bridge, where pipework gives up");
    world
        .host
        .node()
        .sh("ip link add brv type bridge vlan_filtering 1 forward_delay 0\nip link set brv up")?;
    for (name, ifname, address) in [("blue", "lan0", "203.0.113.70/24"), ("green", "lan1", "203.0.113.71/24")]
    {
        let netns = format!("netns:/run/netns/{name}");
        landline(&["pipework", "brv", "-i", ifname, "-l", ifname, &netns, address, "@12"])?;
        let vlans = world.host.check(&["bridge", "vlan", "show", "dev", ifname])?;
        assert!(vlans.contains("12 PVID Egress Untagged") && !vlans.contains(" 1 "), "{vlans}");
    }
    landline(&["exec", "netns:/run/netns/blue", "ping", "-c1", "-W5", "203.0.113.71"])?;
    landline(&["detach", "netns:/run/netns/green"])?;
    let green = "netns:/run/netns/green";
    landline(&["pipework", "brv", "-i", "lan1", green, "203.0.113.71/24", "@13"])?;
    let other = world.host.landline(binary(), &["exec", green, "ping", "-c1", "-W1", "203.0.113.70"]);
    assert!(!other.success(), "two VLANs meet: {}", other.stdout);
    for name in ["blue", "green"] {
        landline(&["detach", &format!("netns:/run/netns/{name}")])?;
    }
    world.host.check(&["ip", "link", "delete", "brv"])?;

    println!("an interface that goes nowhere");
    landline(&[
        "pipework",
        "dummy",
        "-i",
        "d0",
        "netns:/run/netns/blue",
        "198.51.100.5/24",
        "02:00:00:00:00:05",
    ])?;
    let links = shown()?;
    assert!(links.contains("dummy") && links.contains("02:00:00:00:00:05"), "{links}");
    let addresses = landline(&["ip", "netns:/run/netns/blue"])?;
    assert!(addresses.contains("198.51.100.5"), "{addresses}");
    landline(&["detach", "netns:/run/netns/blue", "d0"])?;
    assert_eq!(before.diff(&world.host.snapshot()?), "");
    Ok(())
}
