//! Docker hosts: containers run, hosts do not see each other, nothing stays behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use landline_testbed::{Dnsmasq, DockerHost, Dockerd, Lan, PEER_V4, Result, Signal, wait_for};

#[test]
fn a_host_runs_a_container() -> Result<()> {
    let lan = Lan::new()?;
    let mut host = lan.docker_host("host1")?;
    host.dockerd(Dockerd::default())?;
    host.docker_ok(&["run", "-d", "--name", "box1", "--network", "none", "box", "sleep", "1000"])?;
    assert_eq!(
        host.in_container("box1", &["cat", "/www/index.html"])?.lines().next(),
        Some("<!doctype html>")
    );
    let pid = host.container_pid("box1")?;
    let outside = host.pid_outside(pid)?;
    assert_eq!(host.pid_in_host(outside)?, pid);
    assert_eq!(fs::read_to_string(format!("/proc/{outside}/comm")).unwrap_or_default(), "sleep\n");

    host.dockerd_stop(Signal::TERM)?;
    assert!(!host.docker(&["ps"]).success());
    host.dockerd_start()?;
    assert!(host.dockerd_log().matches("API listen").count() >= 2);
    host.docker_ok(&["start", "box1"])?;
    host.dockerd_stop(Signal::KILL)?;
    host.dockerd_start()?;
    assert_eq!(host.docker_ok(&["ps", "-aq"])?.lines().count(), 1);
    Ok(())
}

#[test]
fn live_restore_keeps_the_container() -> Result<()> {
    let lan = Lan::new()?;
    let mut host = lan.docker_host("host1")?;
    host.dockerd(Dockerd { live_restore: true, ..Dockerd::default() })?;
    host.docker_ok(&["run", "-d", "--name", "box1", "--network", "none", "box", "sleep", "1000"])?;
    let pid = host.container_pid("box1")?;
    host.dockerd_stop(Signal::KILL)?;
    host.dockerd_start()?;
    assert_eq!(host.container_pid("box1")?, pid);
    Ok(())
}

#[test]
fn a_bridged_host_and_a_container_on_dockers_own_bridge_reach_the_lan() -> Result<()> {
    let lan = Lan::new()?;
    let server = lan.dnsmasq(Dnsmasq::default())?;
    let mut host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    host.check(&["ping", "-c1", "-W2", PEER_V4])?;
    host.dockerd(Dockerd {
        bridge: Some("198.51.100.129/25".to_owned()),
        iptables: true,
        ..Dockerd::default()
    })?;
    host.docker_ok(&["run", "-d", "--name", "web", "-p", "8080:80", "box", "httpd", "-f", "-h", "/www"])?;
    let page = lan.peer().check(&["curl", "-sS", "--max-time", "5", "http://192.0.2.10:8080/"])?;
    assert!(page.contains("A container on the LAN."), "{page}");
    assert_eq!(server.leases(), []);
    Ok(())
}

#[test]
fn two_hosts_side_by_side_do_not_see_each_other() -> Result<()> {
    let lan = Lan::new()?;
    let (mut one, mut two) = (lan.docker_host("host1")?, lan.docker_host("host2")?);
    one.dockerd(Dockerd::default())?;
    two.dockerd(Dockerd::default())?;
    one.docker_ok(&["run", "-d", "--name", "only-here", "--network", "none", "box", "sleep", "1000"])?;
    assert_eq!(one.docker_ok(&["ps", "-q"])?.lines().count(), 1);
    assert_eq!(two.docker_ok(&["ps", "-aq"])?, "");
    one.check(&["touch", "/etc/docker/mine", "/var/lib/landline/mine", "/run/mine"])?;
    for file in ["/etc/docker/mine", "/var/lib/landline/mine", "/run/mine"] {
        assert!(!two.path(file).exists() && !Path::new(file).exists(), "{file} is seen outside");
    }
    assert_eq!(one.check(&["hostname"])?, "host1");
    assert!(
        !two.exec(&["pgrep", "-x", "sleep", "-c"]).stdout.contains('2'),
        "the pids of host1 are not seen"
    );
    Ok(())
}

#[test]
fn a_reboot_keeps_the_disk_and_nothing_else() -> Result<()> {
    let lan = Lan::new()?;
    let mut host = lan.docker_host("host1")?;
    let settled = |host: &DockerHost| {
        // Duplicate address detection of the link-local address goes on for a second or so.
        wait_for("a settled network", Duration::from_secs(10), || {
            host.snapshot().ok().filter(|state| state.lines_with("addr eth0 fe80").count() == 1)
        })
    };
    let fresh = settled(&host)?;
    let boot = host.check(&["cat", "/proc/sys/kernel/random/boot_id"])?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    let diff = fresh.diff(&host.snapshot()?);
    assert!(diff.contains("+ addr br0 192.0.2.10/24") && diff.contains("master=br0"), "{diff}");
    host.check(&["touch", "/var/lib/landline/store", "/run/pid"])?;
    host.reboot()?;
    assert_ne!(host.check(&["cat", "/proc/sys/kernel/random/boot_id"])?, boot);
    assert!(host.path("/var/lib/landline/store").exists() && !host.path("/run/pid").exists());
    assert_eq!(fresh.diff(&settled(&host)?), "");
    Ok(())
}

/// What a lab has of the machine, by its name.
fn traces(name: &str) -> Vec<String> {
    let named = |dir: &str| -> Vec<String> {
        fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)))
            .map(|path| path.display().to_string())
            .collect()
    };
    let mut found = named("/run/netns");
    let base = std::env::var_os("LANDLINE_TESTBED_DIR")
        .map_or_else(|| std::env::temp_dir().join("landline-testbed"), PathBuf::from);
    found.extend(named(&base.display().to_string()));
    for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        found.extend(named(&hierarchy.path().display().to_string()));
    }
    found.extend(named("/sys/fs/cgroup"));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    found.extend(mounts.lines().filter(|line| line.contains(name)).map(str::to_owned));
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        // Arguments and mounts: whatever ran in a host had the lab's directory mounted.
        for file in ["cmdline", "mountinfo"] {
            let text = fs::read(process.path().join(file)).unwrap_or_default();
            if String::from_utf8_lossy(&text).contains(name) {
                found.push(format!("{}: {file}", process.path().display()));
            }
        }
    }
    found
}

#[test]
fn nothing_is_left() -> Result<()> {
    let lan = Lan::new()?;
    let name = lan.name().to_owned();
    let server = lan.dnsmasq(Dnsmasq::default())?;
    let mut host = lan.docker_host("host1")?;
    host.dockerd(Dockerd::default())?;
    host.docker_ok(&["run", "-d", "--network", "none", "box", "sleep", "1000"])?;
    let _background = lan.peer().spawn(&["sleep", "1000"])?;
    let before = traces(&name);
    for what in ["/run/netns/", "/sys/fs/cgroup/", "cmdline", "mountinfo"] {
        assert!(before.iter().any(|trace| trace.contains(what)), "the search finds no {what}: {before:#?}");
    }
    drop(host);
    drop(server);
    drop(lan);
    assert_eq!(traces(&name), Vec::<String>::new(), "{name} has left something behind");
    Ok(())
}

#[test]
fn nothing_is_left_after_a_panic_or_a_killed_test() -> Result<()> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let panicked = std::thread::spawn(move || {
        let lan = Lan::new().expect("a LAN");
        let _host = lan.docker_host("host1").expect("a host");
        sender.send(lan.name().to_owned()).expect("a listener");
        panic!("as a failing test does");
    });
    let name = receiver.recv().expect("the name");
    assert!(panicked.join().is_err());
    assert_eq!(traces(&name), Vec::<String>::new());

    // A process that dies without unwinding leaves a lab without owner; the next one finds it.
    let lan = Lan::new()?;
    let testbed = env!("CARGO_BIN_EXE_testbed");
    #[expect(clippy::zombie_processes, reason = "only if this test fails, and then it ends")]
    let mut owner = std::process::Command::new(testbed)
        .args(["hold"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the testbed program");
    let mut line = String::new();
    let stdout = owner.stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
    let orphan = line.trim().to_owned();
    assert!(traces(&orphan).len() > 2, "{orphan} is up");
    landline_testbed::clean(false)?;
    assert!(traces(&orphan).len() > 2, "a lab with an owner is left alone");
    owner.kill().expect("to kill it");
    owner.wait().expect("its end");
    landline_testbed::clean(false)?;
    // Another test may have come first and be at it still.
    wait_for("end of the orphan", Duration::from_secs(10), || traces(&orphan).is_empty())?;
    lan.peer().check(&["ping", "-c1", "-W2", "192.0.2.1"])?;
    Ok(())
}
