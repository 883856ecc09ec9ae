//! Twenty containers at once have an address each, and neither the LAN nor the host notices how they come and go:
//! one hardware address answers for each of the host's addresses, the bridge keeps its face, and afterwards
//! everything is as it was.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use landline_testbed::{Frame, Node, Process, wait_for};

use crate::tools::{at_once, names};
use crate::world::{Result, SOON, World, bare};

/// As many as start at the same time.
const CROWD: usize = 20;
/// The host's addresses on the LAN; the first is there already.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 10), Ipv4Addr::new(192, 0, 2, 11)];

#[test]
fn a_crowd_on_a_bridge_goes_unnoticed() -> Result {
    unnoticed(&World::bridge()?, "br0", &["bridge=br0"], "br00")
}

#[test]
fn a_crowd_of_macvlans_goes_unnoticed() -> Result {
    unnoticed(&World::nic()?, "eth0", &["mode=macvlan", "parent=eth0"], "eth0")
}

fn unnoticed(world: &World, parent: &str, options: &[&str], interface: &str) -> Result {
    let (host, peer) = (&world.host, world.lan.peer());
    host.check(&["ip", "address", "add", &format!("{}/24", ADDRESSES[1]), "dev", parent])?;
    let mac = host.node().mac(parent)?;
    let before = host.snapshot()?;
    let face = face(host.node(), parent)?;
    world.network("lan", options)?;

    let capture = world.lan.capture(peer, "eth0", "arp or ip6")?;
    let asking: Vec<Process> = ADDRESSES
        .iter()
        .map(|address| {
            let question = format!("while :; do arping -q -b -c 1 -w 1 -I eth0 {address}; sleep 0.03; done");
            peer.spawn(&["sh", "-c", &question])
        })
        .collect::<std::result::Result<_, _>>()?;
    for address in ADDRESSES {
        capture.wait_for("an ARP answer of the host", SOON, |frame| answers_for(frame, address))?;
    }

    let crowd = names("c", CROWD);
    let seen = while_running(
        || face_now(host.node(), parent),
        || {
            at_once(&crowd, |name| world.run(name, "lan", &[]))?;
            all_answer(world, &crowd, interface)?;
            at_once(&crowd, |name| Ok(host.docker_ok(&["rm", "-f", name]).map(drop)?))
        },
    )?;
    assert_eq!(seen, BTreeSet::from([face]), "{parent} changed while containers came and went");

    // A last question and answer, when all is over.
    let asked = capture.frames().len();
    wait_for("the peer to ask once more", SOON, || {
        let later = capture.frames();
        later.iter().skip(asked).any(|frame| answers_for(frame, ADDRESSES[1]).is_some())
    })?;
    drop(asking);
    let frames = capture.stop()?;
    for address in ADDRESSES {
        let answers: Vec<String> = frames.iter().filter_map(|frame| answers_for(frame, address)).collect();
        assert!(answers.len() > CROWD, "the peer asked too rarely: {} answers", answers.len());
        assert_eq!(BTreeSet::from_iter(answers), BTreeSet::from([mac.clone()]), "who answers for {address}");
    }
    let known: Vec<String> = [world.lan.router(), peer, host.node()]
        .iter()
        .map(|node| node.mac("eth0"))
        .collect::<std::result::Result<_, _>>()?;
    let strangers: Vec<String> = frames
        .iter()
        .filter(|frame| frame.ethertype() == Some(0x86dd) && !known.contains(&frame.source()))
        .map(ToString::to_string)
        .collect();
    assert!(strangers.is_empty(), "IPv6 from container links:\n{}", strangers.join("\n"));

    assert_eq!(before.diff(&host.snapshot()?), "", "the containers left something behind");
    host.docker_ok(&["network", "rm", "lan"])?;
    assert_eq!(before.diff(&host.snapshot()?), "", "the network left something behind");
    Ok(())
}

/// Each has an address of its own, at which the peer reaches it.
fn all_answer(world: &World, containers: &[String], interface: &str) -> Result {
    let addresses =
        containers.iter().map(|name| world.address(name, interface)).collect::<Result<Vec<_>>>()?;
    assert_eq!(BTreeSet::from_iter(&addresses).len(), containers.len(), "{addresses:?}");
    at_once(&addresses, |address| {
        Ok(world.lan.peer().check(&["ping", "-c1", "-W5", bare(address)]).map(drop)?)
    })
}

/// Who claims to have `address` in this frame, in an answer or in passing.
fn answers_for(frame: &Frame, address: Ipv4Addr) -> Option<String> {
    frame.arp().filter(|arp| arp.sender_ip == address).map(|arp| arp.sender_mac)
}

/// What others see of an interface: its hardware address, MTU and whether it is up.
fn face(node: &Node, interface: &str) -> Result<String> {
    let link = node.ip_json(&["link", "show", "dev", interface])?;
    let up = link[0]["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "UP"));
    Ok(format!("{} mtu {} up {up}", link[0]["address"], link[0]["mtu"]))
}

fn face_now(node: &Node, interface: &str) -> String {
    face(node, interface).unwrap_or_else(|error| error.to_string())
}

/// Everything `look` returned while `work` was done.
fn while_running(
    look: impl Fn() -> String + Sync,
    work: impl FnOnce() -> Result,
) -> Result<BTreeSet<String>> {
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut seen = BTreeSet::from([look()]);
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                seen.insert(look());
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            seen.insert(look());
            seen
        });
        let worked = work();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let seen = looking.join().map_err(|_| "the onlooker panicked")?;
        worked.map(|()| seen)
    })
}
