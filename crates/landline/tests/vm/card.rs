//! A network card that moves into a namespace itself comes back as it was, however that ends. The kernel puts cards into its
//! first namespace then, so that is where the daemon runs; the VM has two cards on one cable.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use landline_testbed::{Dnsmasq, LOG_IN_DETAIL, Lan, wait_for};

use crate::world::{Result, SOON, binary};

/// A program that does not outlive this value.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sh(script: &str) -> Result<String> {
    let output = Command::new("sh").args(["-ec", script]).output()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("{script}: {}{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

/// Where the daemon keeps its things.
const HERE: &str = "/run/card";

fn daemon() -> Result<Killed> {
    let log = std::fs::File::options().create(true).append(true).open(format!("{HERE}/log"))?;
    let child = Command::new(binary())
        .args(["daemon", "--state-dir", HERE, "--docker-host", "unix:///run/card/no-docker"])
        .env("LANDLINE_CONTROL_SOCKET", format!("{HERE}/control"))
        .env("LANDLINE_PLUGIN_SOCKET", format!("{HERE}/plugin"))
        .env(LOG_IN_DETAIL.0, LOG_IN_DETAIL.1)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    let daemon = Killed(child);
    wait_for("the daemon", SOON * 4, || landline("ls").is_ok())?;
    Ok(daemon)
}

fn landline(words: &str) -> Result<String> {
    sh(&format!("LANDLINE_CONTROL_SOCKET={HERE}/control {} {words}", binary().display()))
}

/// What counts of a card: its name, addresses and routes.
fn card() -> Result<String> {
    sh(
        "ip -o link show eth0 | sed 's/^[0-9]*: //; s/ state [A-Z]*//'; ip -4 -o address show eth0 | sed 's/^[0-9]*: //'; ip route; \
        sysctl net/ipv4/conf/eth0/arp_ignore",
    )
}

fn comes_back(before: &str, how: &str) -> Result {
    wait_for(format!("the card after {how}"), SOON * 2, || card().is_ok_and(|now| now == before)).map_err(
        |error| format!("{error}\n{before}\nnow:\n{}", sh("ip address; ip route").unwrap_or_default()).into(),
    )
}

#[test]
#[ignore = "moves a network card; runs in the VM"]
fn a_card_comes_back() -> Result {
    let done = cases();
    if done.is_err() {
        println!(
            "--- landline:\n{}",
            std::fs::read_to_string(Path::new(HERE).join("log")).unwrap_or_default()
        );
    }
    let _ = sh("modprobe -r virtio_net");
    done
}

fn cases() -> Result {
    std::fs::create_dir_all(HERE)?;
    sh("modprobe virtio_net")?;
    wait_for("the VM's cards", SOON, || {
        ["eth0", "eth1"].iter().all(|name| Path::new("/sys/class/net").join(name).exists())
    })?;
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    sh(&format!("ip link set eth1 netns {}", lan.switch().netns()))?;
    lan.switch().sh("ip link set eth1 master sw up")?;
    sh("sysctl -q -w net/ipv4/conf/eth0/arp_ignore=2
        ip address add 192.0.2.10/24 dev eth0
        ip link set eth0 up
        ip route add default via 192.0.2.1
        ip route add 198.51.100.0/24 via 192.0.2.9 metric 50")?;
    wait_for("the cable", SOON, || lan.peer().run(&["ping", "-c1", "-W1", "192.0.2.10"]).success())?;
    let before = card()?;
    let mut first = daemon()?;

    println!("a process with a lease is killed");
    let sleeper = || Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn().map(Killed);
    let process = sleeper()?;
    let target = format!("pid:{}", process.0.id());
    wait_for("its lease", SOON * 2, || {
        landline(&format!("attach eth0 {target} dhcp mode=nic ifname=lan0 lease_timeout=30s")).is_ok()
    })?;
    let lease = dhcp.leases().first().map(|lease| lease.ip.to_string()).ok_or("no lease")?;
    assert!(landline(&format!("ip {target}"))?.contains(&lease));
    lan.peer().check(&["ping", "-c1", "-W5", &lease])?;
    assert!(!Path::new("/sys/class/net/eth0").exists(), "it is on the host still");
    drop(process);
    comes_back(&before, "the end of its process")?;

    println!("nobody says that a namespace has ended");
    let process = sleeper()?;
    let target = format!("netns:/proc/{}/ns/net", process.0.id());
    wait_for("its lease", SOON * 2, || {
        landline(&format!("pipework --direct-phys eth0 -i lan0 {target} dhcp")).is_ok()
    })?;
    drop(process);
    comes_back(&before, "the end of a namespace")?;
    landline(&format!("detach {target}"))?;

    println!("the same while no daemon runs");
    sh("ip netns add blue")?;
    landline("attach eth0 netns:/run/netns/blue dhcp 192.0.2.61/24 mode=nic ifname=lan0 lease_timeout=30s")?;
    lan.peer().check(&["ping", "-c1", "-W5", "192.0.2.61"])?;
    first.0.kill()?;
    first.0.wait()?;
    sh("ip netns delete blue")?;
    wait_for("the card", SOON, || Path::new("/sys/class/net/lan0").exists())?;
    let _second = daemon()?;
    comes_back(&before, "the daemon's start")?;

    println!("a namespace that somebody holds");
    sh("ip netns add blue")?;
    wait_for("the attachment", SOON * 2, || {
        landline("ip netns:/run/netns/blue").is_ok_and(|all| all.contains("192.0.2.61"))
    })?;
    let holder =
        Killed(Command::new("nsenter").args(["--net=/run/netns/blue", "sleep", "infinity"]).spawn()?);
    wait_for("its holder", SOON, || {
        let inside = std::fs::read_link(format!("/proc/{}/ns/net", holder.0.id())).ok();
        inside.is_some() && inside != std::fs::read_link("/proc/self/ns/net").ok()
    })?;
    sh("ip netns delete blue")?;
    let refused = landline("detach netns:/run/netns/blue").unwrap_or_else(|error| error.to_string());
    assert!(refused.contains("has not come back"), "{refused}");
    drop(holder);
    comes_back(&before, "the end of who held it")?;
    landline("detach netns:/run/netns/blue")?;
    assert_eq!(card()?, before);
    Ok(())
}
