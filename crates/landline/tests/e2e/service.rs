//! The daemon as a service: what it is started with, what it does when there is too little of something, and how it ends.

use std::time::{Duration, Instant};

use landline_testbed::{DockerHost, Lan, Process, Signal, wait_for};

use crate::tools::start_daemon;
use crate::world::{Result, SOON, World, binary};

/// Opens connections to both sockets of the daemon and says nothing, until its standard input ends.
const IDLERS: &str = r#"
import socket, sys
held = []
for path in ("/run/landline/control.sock", "/run/docker/plugins/landline.sock"):
    for _ in range(100):
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        held.append(s)
print("held", flush=True)
import time; time.sleep(1000)
"#;

fn bare_host(lan: &Lan) -> Result<DockerHost> {
    let host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    Ok(host)
}

/// A daemon that is started by a script; it runs once it answers.
fn scripted(host: &DockerHost, script: &str) -> Result<Process> {
    let daemon = host.spawn(&["sh", "-c", script, "sh", &binary().display().to_string()])?;
    wait_for("the daemon to answer", SOON, || host.landline(binary(), &["ls"]).success())
        .map_err(|error| format!("{error}\n{}", daemon.stderr()))?;
    Ok(daemon)
}

#[test]
fn descriptors_that_are_announced_and_not_there_do_no_harm() -> Result {
    let lan = Lan::new()?;
    let host = bare_host(&lan)?;
    let mut daemon = host.landline_on_demand(binary(), &[], &[("ANNOUNCED", "12")])?;
    daemon.wait_ready()?;
    host.landline_ok(binary(), &["ls"])?;
    assert!(daemon.log().contains("no listening unix sockets"), "{}", daemon.log());
    daemon.kill(Signal::TERM)?;
    assert!(daemon.wait()?.success(), "{}", daemon.log());
    Ok(())
}

#[test]
fn out_of_descriptors_the_log_stays_short() -> Result {
    let lan = Lan::new()?;
    let host = bare_host(&lan)?;
    let mut daemon = scripted(&host, "exec prlimit --nofile=64:64 \"$1\" daemon")?;
    let before = daemon.stderr().len();
    let mut idlers = host.spawn(&["python3", "-c", IDLERS])?;
    idlers.wait_for_text("held", SOON)?;
    wait_for("the daemon to run out of descriptors", SOON, || daemon.stderr().contains("not accepted"))?;
    // The flood: as long as the descriptors are missing, every attempt fails.
    std::thread::sleep(Duration::from_secs(3));
    let log = daemon.stderr();
    let lines = log[before..].lines().count();
    assert!((1..=4).contains(&lines), "{lines} lines:\n{}", &log[before..log.len().min(before + 4000)]);
    assert!(log.len() - before < 2000, "{} bytes", log.len() - before);
    idlers.signal(Signal::KILL)?;
    idlers.wait()?;
    wait_for("the daemon to answer again", SOON, || host.landline(binary(), &["ls"]).success())?;
    daemon.signal(Signal::TERM)?;
    assert!(daemon.wait()?.success());
    Ok(())
}

#[test]
fn the_soft_limit_of_descriptors_is_raised() -> Result {
    let lan = Lan::new()?;
    let host = bare_host(&lan)?;
    let daemon = scripted(&host, "exec prlimit --nofile=100:4000 \"$1\" daemon")?;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid().ok_or("it has ended")?))?;
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    assert_eq!(line.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["4000", "4000"]);
    Ok(())
}

#[test]
fn a_wrong_configuration_is_found_before_anything_is_taken_up() -> Result {
    let mut world = World::bridge()?;
    world.network("lan", &["bridge=br0"])?;
    world.run("web", "lan", &[])?;
    let address = world.address("web", "br00")?;
    world.daemon.kill(Signal::TERM)?;
    world.daemon.wait()?;
    let state =
        || world.host.check(&["sh", "-c", "cd /var/lib/landline && sha256sum * && stat -c '%n %y' *"]);
    let links = || world.host.check(&["ip", "-br", "link"]);
    let before = (state()?, links()?);

    world.host.check(&[
        "sh",
        "-c",
        "mkdir -p /etc/landline && echo '[contaners]' > /etc/landline/landline.toml",
    ])?;
    let output = world.host.landline(binary(), &["daemon"]);
    // EX_CONFIG: the unit does not start it again.
    assert_eq!(output.status.code(), Some(78), "{}", output.stderr);
    assert_eq!(output.stderr.matches("contaners").count(), 1, "{}", output.stderr);
    assert!(output.stderr.contains("/etc/landline/landline.toml:1:2: "), "{}", output.stderr);
    assert_eq!((state()?, links()?), before, "the state was touched");
    for words in [["daemon", "--log-level=loud=="], ["daemon", "--docker-host=tcp://192.0.2.1"]] {
        let output = world.host.landline(binary(), &words);
        assert_eq!(output.status.code(), Some(78), "{}", output.stderr);
    }
    // What ExecReload runs first.
    assert_eq!(world.host.landline(binary(), &["config", "check"]).status.code(), Some(1));

    world.host.check(&["rm", "/etc/landline/landline.toml"])?;
    world.daemon = start_daemon(&world.host)?;
    assert_eq!(world.address("web", "br00")?, address);
    assert_eq!(world.row("web")?["state"], "BOUND");
    Ok(())
}

#[test]
fn nobody_else_takes_the_daemons_place() -> Result {
    let lan = Lan::new()?;
    let host = bare_host(&lan)?;
    // Somebody without any privilege, in the host's network.
    let program = "import socket, time; s = socket.socket(socket.AF_UNIX); s.bind('\\0landline'); s.listen(1); \
                   print('bound', flush=True); time.sleep(1000)";
    let other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"];
    let mut squatter = host.spawn(&[&other[..], &["/usr/bin/python3", "-c", program]].concat())?;
    squatter.wait_for_text("bound", SOON)?;
    let mut first = host.start_landline(binary(), &[], &[])?;

    // A successor that comes while its predecessor is still ending waits for it.
    let mut second = host.spawn_landline(binary(), &[], &[])?;
    first.kill(Signal::TERM)?;
    assert!(first.wait()?.success());
    second.wait_ready()?;

    // One whose predecessor stays says who that is, after a while.
    let began = Instant::now();
    let third = host.landline(binary(), &["daemon"]);
    assert!(began.elapsed() > Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(third.status.code(), Some(1), "{}", third.stderr);
    let holder = format!("(process {}: ", host.pid_in_host(second.pid()?)?);
    assert!(third.stderr.contains(&holder), "{}", third.stderr);
    Ok(())
}

#[test]
fn programs_that_were_started_end_before_the_daemon() -> Result {
    let mut world = World::bridge()?;
    world.daemon.kill(Signal::TERM)?;
    world.daemon.wait()?;
    let host = &world.host;
    let dir = host.node().dir().join("bin");
    std::fs::create_dir_all(&dir)?;
    // Each takes its time and says when it is over.
    for program in ["iptables", "ip6tables", "nft"] {
        let script = format!(
            "#!/bin/sh\necho begun >> {0}/log\nsleep 1\n\"/usr/sbin/{program}\" \"$@\"\nstatus=$?\n\
             echo ended >> {0}/log\nexit $status\n",
            dir.display()
        );
        let path = dir.join(program);
        std::fs::write(&path, script)?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", dir.display());
    let mut daemon = host.start_landline(binary(), &[], &[("PATH", &path)])?;
    let counts = || {
        let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        (log.matches("begun").count(), log.matches("ended").count())
    };
    let network = ["network", "create", "-d", "landline", "--ipam-driver", "null", "-o", "bridge=br0"];
    let _asked = host.docker_spawn(&[&network[..], &["-o", "firewall=open", "lan"]].concat())?;
    wait_for("a program to run", SOON, || {
        let (begun, ended) = counts();
        begun > ended
    })?;
    daemon.kill(Signal::TERM)?;
    assert!(daemon.wait()?.success(), "{}", daemon.log());
    let (begun, ended) = counts();
    assert_eq!(begun, ended, "a program outlived the daemon:\n{}", daemon.log());
    Ok(())
}

#[test]
fn the_journal_has_priorities_and_the_time_once() -> Result {
    let lan = Lan::new()?;
    let host = bare_host(&lan)?;
    let to_file = "exec 2>/run/log; export LOG_LEVEL=debug";
    let journal = "export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2)";
    let mut daemon = scripted(&host, &format!("{to_file}; {journal}; exec \"$1\" daemon"))?;
    daemon.signal(Signal::TERM)?;
    daemon.wait()?;
    let log = std::fs::read_to_string(host.path("/run/log"))?;
    let (ready, debug) = ("<6>landline::daemon: ready", "<7>");
    assert!(log.lines().any(|line| line.starts_with(ready)), "{log}");
    assert!(log.lines().any(|line| line.starts_with(debug)), "{log}");
    for line in log.lines() {
        let priority = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        assert!(priority.is_some_and(|(number, _)| ["3", "4", "6", "7"].contains(&number)), "{line}");
        assert!(!line.contains("INFO") && !line.contains("2026-"), "{line}");
    }

    // Somebody who has the daemon write elsewhere has the time and the level in the lines.
    let script = format!("{to_file}; export JOURNAL_STREAM=1:2; exec \"$1\" daemon");
    let _daemon = scripted(&host, &script)?;
    let log = || std::fs::read_to_string(host.path("/run/log")).unwrap_or_default();
    let ready = || log().lines().any(|line| line.contains("INFO landline::daemon: ready"));
    wait_for("the daemon to say that it is ready", SOON, ready)?;
    assert!(!log().contains("<6>"), "{}", log());
    Ok(())
}
