//! What containers ask for in their labels and environment: given as far as it is allowed, and never run.

use std::path::Path;
use std::time::{Duration, Instant};

use landline_testbed::{Daemon, Dnsmasq, DockerHost, Dockerd, LOG_IN_DETAIL, Lan, Signal, wait_for};
use serde_json::Value;
use tempfile::TempDir;

use crate::tools::{at_once, names, second_nic};
use crate::world::{Result, SOON, World, bare, binary};

/// A world whose daemon has a configuration file of its own.
pub(crate) struct Asked {
    pub(crate) world: World,
    directory: TempDir,
}

pub(crate) fn start(host: &DockerHost, config: &Path) -> Result<Daemon> {
    let config = config.to_str().unwrap_or_default();
    Ok(host.start_landline(binary(), &["--config", config], &[LOG_IN_DETAIL])?)
}

impl Asked {
    /// A host with `br0`.
    pub(crate) fn new(config: &str) -> Result<Self> {
        Self::on(World::bridge()?, config)
    }

    /// A host that is there, with a daemon in the place of the one that runs.
    pub(crate) fn on(world: World, config: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("landline.toml");
        std::fs::write(&path, config)?;
        let World { mut daemon, host, dhcp, lan } = world;
        daemon.kill(Signal::TERM)?;
        daemon.wait()?;
        let daemon = start(&host, &path)?;
        Ok(Self { world: World { daemon, host, dhcp, lan }, directory })
    }

    pub(crate) fn config(&self) -> std::path::PathBuf {
        self.directory.path().join("landline.toml")
    }

    pub(crate) fn restart_daemon(&mut self) -> Result {
        self.world.daemon = start(&self.world.host, &self.config())?;
        Ok(())
    }

    /// Why a container has not got something.
    pub(crate) fn missing(&self, container: &str) -> Result<Vec<Value>> {
        let listing = self.world.ls()?;
        let rows = listing["attachments"].as_array().cloned().unwrap_or_default();
        Ok(rows.into_iter().filter(|row| row["container"] == container).collect())
    }
}

#[test]
fn the_articles_examples_survive_everything() -> Result {
    let mut asked = Asked::new("[containers.allow.br0]\n")?;
    let always = ["--network", "none", "--restart=always", "--stop-signal=KILL"];
    let fixed = "pipework_cmd_ip=br0 -i eth0 @CONTAINER_NAME@ 192.0.2.70/24 ";
    let leased = "pipework_cmd=br0 -i eth0 @CONTAINER_NAME@ udhcpc ";
    asked.world.run_without("test1", &[&always[..], &["-e", fixed]].concat())?;
    asked.world.run_without("test2", &[&always[..], &["-e", leased]].concat())?;
    assert_eq!(asked.world.until_addressed("test1", "eth0")?, "192.0.2.70/24");
    let address = asked.world.until_addressed("test2", "eth0")?;
    let macs = [asked.world.mac("test1", "eth0")?, asked.world.mac("test2", "eth0")?];
    let same = |asked: &Asked, when: &str| -> Result {
        let world = &asked.world;
        for (container, wanted) in [("test1", "192.0.2.70/24"), ("test2", address.as_str())] {
            wait_for(format!("{wanted} on {container} after {when}"), SOON, || {
                world.address(container, "eth0").is_ok_and(|is| is == wanted)
            })
            .map_err(|error| format!("{error}\n{}", world.daemon.log()))?;
            world.lan.peer().check(&["ping", "-c1", "-W5", bare(wanted)])?;
        }
        assert_eq!([world.mac("test1", "eth0")?, world.mac("test2", "eth0")?], macs, "after {when}");
        assert_eq!(world.interfaces("test1")?, ["eth0"], "after {when}");
        Ok(())
    };
    same(&asked, "the start")?;
    asked.world.host.docker_ok(&["restart", "-t0", "test1", "test2"])?;
    same(&asked, "their restart")?;
    asked.world.daemon.kill(Signal::KILL)?;
    same(&asked, "the daemon was killed")?;
    asked.restart_daemon()?;
    same(&asked, "the daemon's restart")?;
    asked.world.host.dockerd_stop(Signal::TERM)?;
    asked.world.host.dockerd_start()?;
    same(&asked, "dockerd's restart")?;
    asked.world.host.dockerd_stop(Signal::KILL)?;
    asked.world.host.dockerd_start()?;
    same(&asked, "dockerd was killed")?;
    asked.world.daemon.kill(Signal::KILL)?;
    asked.world.host.reboot()?;
    asked.world.host.make_bridge("br0", Some("192.0.2.10/24"))?;
    asked.restart_daemon()?;
    asked.world.host.dockerd(Dockerd::default())?;
    same(&asked, "a reboot")?;

    // Recreated under its name it is the same to the LAN.
    asked.world.host.docker_ok(&["rm", "-f", "test2"])?;
    wait_for("its attachment to be gone", SOON, || asked.world.attached().is_ok_and(|all| all.len() == 1))?;
    asked.world.run_without("test2", &[&always[..], &["-e", leased]].concat())?;
    same(&asked, "it was recreated")
}

#[test]
fn what_is_not_allowed_is_refused_until_it_is() -> Result {
    let asked = Asked::new("")?;
    let world = &asked.world;
    world.run_without(
        "web",
        &["--network", "none", "--label", "landline.attach.lan=br0 192.0.2.71/24 ifname=eth1"],
    )?;
    let row = wait_for("a refusal", SOON, || asked.missing("web").ok()?.into_iter().next())?;
    assert_eq!((row["state"].as_str(), row["allow"].as_str()), (Some("refused"), Some("landline allow br0")));
    let table = world.landline("ls")?;
    assert!(table.contains("landline.attach.lan") && table.contains("landline allow br0"), "{table}");
    assert_eq!(world.interfaces("web")?, [""; 0]);

    let config = asked.config();
    let config = config.to_str().ok_or("no path")?;
    world.landline(&format!("allow br0 --subnet 192.0.2.64/28 --config {config}"))?;
    assert_eq!(world.until_addressed("web", "eth1")?, "192.0.2.71/24");
    wait_for("no refusal", SOON, || asked.missing("web").is_ok_and(|rows| rows.is_empty()))?;
    assert!(world.landline(&format!("config check --config {config}"))?.contains("is valid"));

    // Another subnet, another kind, other people's containers, its own routes.
    for (name, label, allow) in [
        ("far", "br0 192.0.2.90/24", "landline allow br0 --subnet 192.0.2.0/24"),
        ("child", "br0 mode=macvlan 192.0.2.72/24", "landline allow br0 --kind macvlan"),
        ("card", "eth0 none mode=nic", "landline allow eth0 --kind nic"),
    ] {
        world.run_without(name, &["--network", "none", "--label", &format!("landline.attach={label}")])?;
        let row = wait_for("a refusal", SOON, || asked.missing(name).ok()?.into_iter().next())?;
        assert_eq!(row["allow"], allow, "{row}");
        assert_eq!(world.interfaces(name)?, [""; 0]);
    }
    let change = "pipework_cmd_2=route @CONTAINER_NAME@ add 198.51.100.0/24 via 192.0.2.1";
    let attach = "pipework_cmd_1=br0 @CONTAINER_NAME@ 192.0.2.73/24";
    world.run_without("routed", &["--network", "none", "-e", change, "-e", attach])?;
    world.until_addressed("routed", "eth1")?;
    let row = wait_for("a refusal", SOON, || asked.missing("routed").ok()?.into_iter().next())?;
    assert_eq!(row["allow"], "landline allow --changes");
    world.landline(&format!("allow --changes --config {config}"))?;
    wait_for("its route", SOON, || {
        world
            .routes("routed")
            .is_ok_and(|routes| routes.iter().any(|r| r.starts_with("198.51.100.0/24 via 192.0.2.1")))
    })?;

    // A file that is wrong is refused with its place, and changes nothing.
    std::fs::write(asked.config(), "[containers.allow.br0]\nsubnet = []\n")?;
    let wrong = world.refusal(&["config", "check", "--config", config])?;
    assert!(wrong.contains("landline.toml:2:1: unknown field"), "{wrong}");
    world.host.check(&["kill", "-HUP", &world.host.pid_in_host(world.daemon.pid()?)?.to_string()])?;
    wait_for("the complaint", SOON, || world.daemon.log().contains("the configuration stays as it was"))?;
    assert_eq!(world.address("web", "eth1")?, "192.0.2.71/24");
    Ok(())
}

/// What somebody changes after a container's own changes of its routes stays, though others of them are tried again and again.
#[test]
fn each_change_that_a_container_asks_for_is_made_once_in_a_start() -> Result {
    let mut asked = Asked::new("[containers]\nchanges = true\n[containers.allow.br0]\n")?;
    let attach = "pipework_cmd_1=br0 @CONTAINER_NAME@ 192.0.2.73/24";
    // None of the others' routers is there yet.
    let changes = [
        "pipework_cmd_2=route @CONTAINER_NAME@ replace default via 192.0.2.2",
        "pipework_cmd_3=route @CONTAINER_NAME@ add 198.51.100.0/25 via 10.9.1.1",
        "pipework_cmd_4=route @CONTAINER_NAME@ add 198.51.100.128/25 via 10.9.2.1",
    ];
    let variables = changes.iter().chain([&attach]).flat_map(|variable| ["-e", *variable]);
    let arguments: Vec<&str> = ["--network", "none"].into_iter().chain(variables).collect();
    asked.world.run_without("web", &arguments)?;
    let default = |world: &World, line: &str| world.gateways("web").is_ok_and(|all| all == [line]);
    wait_for("its default route", SOON, || default(&asked.world, "192.0.2.2"))?;
    let inside = |world: &World, script: &str| -> Result {
        let pid = world.host.container_pid("web")?.to_string();
        world.host.check(&["nsenter", "--net", "-t", &pid, "sh", "-ec", script])?;
        Ok(())
    };
    // A VPN.
    inside(&asked.world, "ip route replace default via 192.0.2.9")?;
    let comes = |world: &World, router: &str, route: &str| -> Result {
        inside(world, &format!("ip address add {router}/24 dev eth1"))?;
        wait_for(format!("the route to {route}"), SOON, || {
            world.routes("web").is_ok_and(|all| all.iter().any(|line| line.starts_with(route)))
        })?;
        assert!(default(world, "192.0.2.9"), "{:?}\n{}", world.routes("web"), world.daemon.log());
        Ok(())
    };
    comes(&asked.world, "10.9.1.2", "198.51.100.0/25")?;
    asked.world.daemon.kill(Signal::KILL)?;
    asked.world.daemon.wait()?;
    inside(&asked.world, "ip route del 198.51.100.0/25")?;
    asked.restart_daemon()?;
    comes(&asked.world, "10.9.2.2", "198.51.100.128/25")?;
    let routes = asked.world.routes("web")?;
    assert!(!routes.iter().any(|line| line.starts_with("198.51.100.0/25")), "{routes:?}");

    asked.world.host.docker_ok(&["restart", "-t0", "web"])?;
    wait_for("its default route after a start", SOON, || default(&asked.world, "192.0.2.2"))?;
    Ok(())
}

#[test]
fn nothing_that_a_container_says_is_ever_run() -> Result {
    let asked = Asked::new("[containers]\nchanges = true\n[containers.allow.br0]\n")?;
    let world = &asked.world;
    world.run_without("victim", &["--network", "none"])?;
    let marker = asked.directory.path().join("was-run");
    let marker = marker.to_str().ok_or("no path")?;
    let hostile = [
        format!("pipework_cmd=$(touch {marker})"),
        format!("pipework_cmd=br0 @CONTAINER_NAME@ dhcp; touch {marker}"),
        format!("pipework_cmd=br0 `touch {marker}` dhcp"),
        format!("pipework_cmd=br0 @CONTAINER_NAME@ 192.0.2.66/24 02:00:00:00:00:01 $(touch {marker})"),
        format!("pipework_cmd=br0 @CONTAINER_NAME@ dhcp\ntouch {marker}"),
        format!("pipework_cmd=br0 @CONTAINER_NAME@ 'dhcp:-s {marker}' && touch {marker}"),
        format!("pipework_cmd=tc @CONTAINER_NAME@ exec bpf import {marker} run touch {marker}"),
        format!("pipework_cmd=br0 -i ../../{marker} @CONTAINER_NAME@ dhcp"),
        "pipework_cmd=br0 victim 192.0.2.66/24".to_owned(),
        "pipework_cmd=br0 pid:1 192.0.2.66/24".to_owned(),
        "pipework_cmd=br0 netns:/proc/1/ns/net 192.0.2.66/24".to_owned(),
        "pipework_cmd=route victim add 198.51.100.0/24 dev lo".to_owned(),
        format!("pipework_cmd=br0 @CONTAINER_NAME@ {}", "1".repeat(10_000)),
    ];
    // In labels, in their names, and in what macros stand for.
    let said = format!("landline.attach.x=br0 $(touch {marker}) dhcp; touch {marker}");
    let named = "landline.attach.\u{1b}[2J=br0 dhcp";
    let variable = "pipework_cmd\u{1b}[2J\nroot, x: allowed; landline allow eth0=br0 @CONTAINER_NAME@ dhcp";
    let host = format!("$(touch {marker})");
    let project = format!("com.docker.compose.project=x; touch {marker}");
    let through = "pipework_cmd=br0 -i @COMPOSE_PROJECT_NAME@ @HOSTNAME@ dhcp";
    for (name, args) in [
        ("label", &["--label", said.as_str()][..]),
        ("named", &["--label", named, "-e", variable]),
        (
            "flags",
            &[
                "--label",
                "landline.attach=--help br0 dhcp",
                "-e",
                "pipework_cmd=--direct-phys -i -l --wait dhcp",
            ],
        ),
        ("macros", &["--hostname", "x", "--label", &project, "-e", through]),
        ("host", &["--hostname", &host[..host.len().min(60)], "-e", "pipework_cmd=br0 @HOSTNAME@ dhcp"]),
    ] {
        world.run_without(name, &[&["--network", "none"], args].concat())?;
        let row = wait_for("a refusal", SOON, || asked.missing(name).ok()?.into_iter().next())?;
        assert_eq!(row["state"], "refused", "{row}");
        assert_eq!(world.interfaces(name)?, [""; 0], "{name}");
    }
    let listing = world.landline("ls")?;
    assert!(!listing.contains('\u{1b}') && !listing.contains("\nroot, x"), "{listing:?}");
    at_once(&names("c", hostile.len()), |name| {
        let text = name.trim_start_matches('c').parse::<usize>().ok().and_then(|n| hostile.get(n));
        world.run_without(name, &["--network", "none", "-e", text.ok_or("no such text")?])
    })?;
    for name in names("c", hostile.len()) {
        let row = wait_for("a refusal", SOON, || asked.missing(&name).ok()?.into_iter().next())?;
        assert_eq!(row["state"], "refused", "{row}");
        assert!(
            row["reason"].as_str().is_some_and(|reason| !reason.is_empty() && reason.len() < 500),
            "{row}"
        );
        assert_eq!(world.interfaces(&name)?, [""; 0]);
    }
    assert_eq!(world.interfaces("victim")?, [""; 0]);
    let before = world.host.snapshot()?;
    for words in [
        &["attach", "br0", "$(touch x)", "dhcp"][..],
        &["attach", "br0", "../../etc", "dhcp"],
        &["attach", "br0", "victim", "192.0.2.66/24; touch x"],
        &["attach", "br0", "victim", "dhcp", "--ifname", "../../x"],
        &["attach", "br0", "victim", "dhcp\nnone"],
        &["attach", "br0", "netns:/run/netns/../../etc/passwd", "dhcp"],
        &["attach", "br0", "pid:1", "none"],
        &["pipework", "br0", "victim", "$(touch x)"],
        &["pipework", "br0", "victim", "dhcp", "`touch x`"],
    ] {
        world.refusal(words)?;
    }
    assert_eq!(before.diff(&world.host.snapshot()?), "");
    assert!(!Path::new(marker).exists(), "something was run");
    assert!(world.attached()?.is_empty());
    Ok(())
}

#[test]
fn each_macro_stands_for_what_is_the_containers() -> Result {
    let asked = Asked::new("[containers.allow.br0]\nmacs = true\n")?;
    let world = &asked.world;
    let variables = [
        "pipework_cmd_name=br0 -i lan1 @CONTAINER_NAME@ 192.0.2.81/24",
        "pipework_cmd_id=br0 -i lan2 @CONTAINER_ID@ 192.0.2.82/24",
        "pipework_cmd_host=br0 -i lan3 @HOSTNAME@ 192.0.2.83/24",
        "pipework_cmd_instance=br0 -i lan4 @CONTAINER_NAME@ 192.0.2.10@INSTANCE@/24@192.0.2.1",
        "pipework_cmd_project=br0 -i lan5 @CONTAINER_NAME@ 192.0.2.85/24 U:@COMPOSE_PROJECT_NAME@",
    ];
    let label = "landline.attach.own=br0 192.0.2.86/24 ifname=lan@INSTANCE@x";
    let mut args =
        vec!["--network", "none", "--hostname", "till", "--label", "com.docker.compose.project=shop"];
    args.extend(["--label", label]);
    args.extend(variables.iter().flat_map(|variable| ["-e", variable]));
    world.run_without("shop_web2_7", &args)?;
    for (interface, address) in [
        ("lan1", "192.0.2.81/24"),
        ("lan2", "192.0.2.82/24"),
        ("lan3", "192.0.2.83/24"),
        ("lan4", "192.0.2.107/24"),
        ("lan5", "192.0.2.85/24"),
        ("lan7x", "192.0.2.86/24"),
    ] {
        assert_eq!(world.until_addressed("shop_web2_7", interface)?, address);
    }
    let hash = world.host.check(&["sh", "-c", "echo shop | md5sum"])?;
    let octets: Vec<&str> = (0..5).map(|n| &hash[2 * n..2 * n + 2]).collect();
    assert_eq!(world.mac("shop_web2_7", "lan5")?, format!("02:{}", octets.join(":")));

    // One that stands for nothing, and one that nobody knows.
    world.run_without(
        "bare",
        &[
            "--network",
            "none",
            "-e",
            "pipework_cmd_a=br0 @CONTAINER_NAME@ 192.0.2.87/24 U:@COMPOSE_PROJECT_NAME@",
            "-e",
            "pipework_cmd_b=br0 @NAME@ 192.0.2.88/24",
        ],
    )?;
    let rows = wait_for("both refusals", SOON, || asked.missing("bare").ok().filter(|rows| rows.len() == 2))?;
    assert!(rows[0]["reason"].as_str().is_some_and(|r| r.contains("COMPOSE_PROJECT_NAME")), "{rows:?}");
    assert!(rows[1]["reason"].as_str().is_some_and(|r| r.contains("@NAME@ is no macro")), "{rows:?}");
    assert_eq!(world.interfaces("bare")?, [""; 0]);
    Ok(())
}

#[test]
fn a_card_that_is_allowed_moves_into_the_container_that_asks_for_it() -> Result {
    let asked = Asked::new("[containers.allow.eth1]\nkinds = [\"nic\"]\n")?;
    let world = &asked.world;
    second_nic(&world.lan, &world.host)?;
    let card = world.host.check(&["cat", "/sys/class/net/eth1/address"])?;
    let label = format!("landline.attach=mac:{} dhcp mode=nic ifname=lan0", card.trim());
    world.run_without("web", &["--network", "none", "--label", &label])?;
    let address = world.until_addressed("web", "lan0")?;
    assert_eq!(world.lease_of(card.trim())?.ip.to_string(), bare(&address));
    // While the card is away its container asks again, under another configuration.
    let config = asked.config();
    world.landline(&format!("allow br0 --config {}", config.to_str().ok_or("no path")?))?;
    world.run_without("other", &["--network", "none", "--label", &label])?;
    wait_for("the other's failure", SOON, || asked.missing("other").is_ok_and(|rows| !rows.is_empty()))?;
    assert!(asked.missing("web")?.is_empty(), "{:?}", asked.missing("web"));
    assert_eq!(world.address("web", "lan0")?, address);
    world.host.docker_ok(&["rm", "-f", "other"])?;
    world.lan.peer().check(&["ping", "-c1", "-W5", bare(&address)])?;
    Ok(())
}

#[test]
fn who_ends_in_the_middle_leaves_nothing() -> Result {
    let asked = Asked::new("[containers.allow.br9]\n")?;
    let world = &asked.world;
    // Nobody answers there.
    world.host.check(&["ip", "link", "add", "br9", "type", "bridge"])?;
    world.host.check(&["ip", "link", "set", "br9", "up"])?;
    for end in [&["rm", "-f", "mute"][..], &["kill", "mute"]] {
        world.run_without("mute", &["--network", "none", "--label", "landline.attach=br9 dhcp"])?;
        wait_for("its link", SOON, || world.marked_links().is_ok_and(|links| !links.is_empty()))?;
        world.host.docker_ok(end)?;
        wait_for("nothing", SOON, || {
            world.marked_links().is_ok_and(|links| links.is_empty())
                && world.attached().is_ok_and(|all| all.is_empty())
                && asked.missing("mute").is_ok_and(|rows| rows.is_empty())
        })
        .map_err(|error| format!("{error}\n{:?}\n{}", world.attached(), world.daemon.log()))?;
    }
    Ok(())
}

/// How many start at once.
const CROWD: usize = 30;

#[test]
fn a_crowd_that_starts_at_once_is_attached_at_once() -> Result {
    let asked = Asked::new("[containers.allow.br0]\n[containers.allow.br9]\n")?;
    let world = &asked.world;
    world.host.check(&["ip", "link", "add", "br9", "type", "bridge"])?;
    world.host.check(&["ip", "link", "set", "br9", "up"])?;
    let crowd = names("c", CROWD);
    let make = |name: &str, label: &str| -> Result {
        let label = format!("landline.attach={label}");
        let command =
            ["create", "--name", name, "--network", "none", "--label", &label, "box", "sleep", "infinity"];
        Ok(world.host.docker_ok(&command).map(drop)?)
    };
    at_once(&crowd, |name| make(name, "br0 dhcp ifname=eth1"))?;
    make("mute", "br9 dhcp")?;
    let all: Vec<&str> = std::iter::once("mute").chain(crowd.iter().map(String::as_str)).collect();
    let (before, since) = (Instant::now(), world.host.check(&["date", "+%s"])?);
    world.host.docker_ok(&[&["start"], &all[..]].concat())?;
    for name in &crowd {
        world.until_addressed(name, "eth1")?;
    }
    println!("{CROWD} containers were started and attached within {:?}", before.elapsed());
    // One that nobody answers holds up none of them, and says so when its time is over.
    wait_for("its failure", Duration::from_secs(40), || {
        asked.missing("mute").is_ok_and(|rows| rows.iter().any(|row| row["state"] == "failed"))
    })?;

    let until = world.host.check(&["date", "+%s"])?;
    let (since, until) = (since.trim().to_owned(), until.trim().to_owned());
    let format = "{{.TimeNano}} {{.Actor.Attributes.name}}";
    let events = world.host.docker_ok(&[
        "events",
        "--since",
        &since,
        "--until",
        &until,
        "--filter",
        "event=start",
        "--format",
        format,
    ])?;
    let log = world.daemon.log();
    let mut took: Vec<Duration> = events
        .lines()
        .filter_map(|line| {
            let (nanos, name) = line.split_once(' ')?;
            let started = Duration::from_nanos(nanos.parse().ok()?);
            let wanted = format!("container=\"{name}\"");
            let attached = log.lines().find(|line| line.contains(" attached ") && line.contains(&wanted))?;
            seconds_of_day(attached)?.checked_sub(started_of_day(started))
        })
        .collect();
    took.sort_unstable();
    assert!(took.len() >= CROWD, "{} of {CROWD} were found in the log:\n{events}\n{log}", took.len());
    println!(
        "from the start event to attached: median {:?}, fastest {:?}, slowest {:?}",
        took[took.len() / 2],
        took[0],
        took[took.len() - 1]
    );
    Ok(())
}

fn started_of_day(since_epoch: Duration) -> Duration {
    Duration::from_nanos(u64::try_from(since_epoch.as_nanos() % 86_400_000_000_000).unwrap_or_default())
}

/// The time of a log line, `2026-01-31T12:00:00.123456Z …`, since midnight.
fn seconds_of_day(line: &str) -> Option<Duration> {
    let time = line.split_whitespace().next()?.split_once('T')?.1.strip_suffix('Z')?;
    let mut parts = time.splitn(3, ':');
    let (hours, minutes): (f64, f64) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let seconds: f64 = parts.next()?.parse().ok()?;
    Some(Duration::from_secs_f64(hours * 3600.0 + minutes * 60.0 + seconds))
}

#[test]
fn in_the_place_of_docker_pipework() -> Result {
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let mut host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    host.dockerd(Dockerd::default())?;
    let state = tempfile::tempdir()?;
    let state = state.path().to_str().ok_or("no path")?;
    let binary = binary().to_str().ok_or("no path")?;
    let run = |name: &str, command: &str| -> Result {
        let variable = format!("pipework_cmd={command}");
        let command =
            ["run", "-d", "--name", name, "--network", "none", "-e", &variable, "box", "sleep", "infinity"];
        Ok(host.docker_ok(&command).map(drop)?)
    };
    run("before", "br0 -i eth0 @CONTAINER_NAME@ 192.0.2.70/24")?;
    run("manual", "br9 -i eth0 @CONTAINER_NAME@ 192.0.2.73/24")?;
    let environment = [
        "DOCKER_HOST=unix:///var/run/docker.sock",
        "run_mode=all",
        "allow=br0",
        "cmd=br0 -i eth7 manual 192.0.2.74/24",
    ];
    let argv = [&["env"], &environment[..], &[binary, "pipework-daemon", "--state-dir", state]].concat();
    let mut daemon = host.spawn(&argv)?;
    let has = |container: &str, address: &str| -> Result {
        let shown = || host.docker_ok(&["exec", container, "ip", "-4", "-o", "addr"]).unwrap_or_default();
        wait_for(format!("{address} on {container}"), SOON, || shown().contains(address))
            .map_err(|error| format!("{error}\n{}", shown()))?;
        Ok(())
    };
    has("before", "192.0.2.70/24")?;
    has("manual", "192.0.2.74/24")?;
    run("after", "br0 -i eth0 @CONTAINER_NAME@ udhcpc")?;
    let leased = wait_for("a lease", SOON, || dhcp.leases().first().map(|lease| lease.ip))?;
    has("after", &leased.to_string())?;
    lan.peer().check(&["ping", "-c1", "-W5", "192.0.2.70"])?;
    // What it was not allowed is not there.
    let listing: Value = serde_json::from_str(&host.check(&[binary, "ls", "--json"])?)?;
    assert_eq!(listing["attachments"][0]["allow"], "landline allow br9", "{listing}");
    daemon.signal(Signal::TERM)?;
    assert!(daemon.wait_within(SOON)?.success(), "{}", daemon.stderr());
    has("before", "192.0.2.70/24")
}

#[test]
fn the_host_reaches_whom_it_is_to_reach() -> Result {
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("landline.toml");
    std::fs::write(&config, "[containers.allow.eth0]\nhost_access = true\n")?;
    let lan = Lan::new()?;
    let dhcp = lan.dnsmasq(Dnsmasq::default())?;
    let mut host = lan.docker_host("host1")?;
    host.check(&["ip", "address", "add", "192.0.2.10/24", "dev", "eth0"])?;
    host.dockerd(Dockerd::default())?;
    let daemon = start(&host, &config)?;
    let world = World { daemon, host, dhcp, lan };
    let command = "pipework_cmd=eth0 @CONTAINER_NAME@ 192.0.2.75/24";
    world.run_without("apart", &["--network", "none", "-e", command])?;
    world.until_addressed("apart", "eth1")?;
    let other = "pipework_cmd=eth0 @CONTAINER_NAME@ 192.0.2.76/24";
    world.run_without("near", &["--network", "none", "-e", other, "-e", "pipework_host_route=true"])?;
    world.until_addressed("near", "eth1")?;
    wait_for("an answer", SOON, || world.host.exec(&["ping", "-c1", "-W1", "192.0.2.76"]).success())
        .map_err(|error| format!("{error}\n{}", world.daemon.log()))?;
    assert!(!world.host.exec(&["ping", "-c1", "-W1", "192.0.2.75"]).success(), "nobody asked for that");
    world.host.docker_ok(&["rm", "-f", "near"])?;
    wait_for("nothing of it", SOON, || {
        world.host.check(&["ip", "route"]).is_ok_and(|routes| !routes.contains("192.0.2.76"))
    })?;
    Ok(())
}
