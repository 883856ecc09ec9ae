//! Landline at work, as a transcript that can be typed in by hand.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use landline_testbed::{Error, Result, wait_for};

use super::hands_on::{Lab, absolute, open_shell};
use super::transcript::{run, run_as, say};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The `landline` program.
    #[arg(long, value_name = "PATH")]
    landline: PathBuf,
    /// Directory of an unpacked Docker engine (see `get-engines`); default is the installed one.
    #[arg(long, value_name = "DIR")]
    engine: Option<PathBuf>,
    /// Open a shell on the Docker host afterwards, also if a step failed.
    #[arg(long, visible_alias = "keep")]
    shell: bool,
}

/// Runs the demo. The exit status is 0 only if every step succeeded.
pub(crate) fn demo(options: &Options) -> Result<u8> {
    let landline = absolute(&options.landline)?;
    say(
        "A LAN: router 192.0.2.1 with dnsmasq, peer 192.0.2.2, and a Docker host 192.0.2.10 whose NIC is in br0.",
    );
    let engine =
        options.engine.clone().map_or(landline_testbed::Engine::System, landline_testbed::Engine::Path);
    let mut lab = Lab::new(engine, None)?;
    let done = steps(&mut lab, &landline);
    if let Err(error) = &done {
        println!("\n{error}");
        if let Some(daemon) = &lab.daemon {
            println!("--- landline:\n{}", daemon.log());
        }
        println!("--- DHCP server:\n{}", lab.server.log_tail());
    }
    if options.shell {
        open_shell(&lab)?;
    }
    Ok(u8::from(done.is_err()))
}

fn steps(lab: &mut Lab, landline: &std::path::Path) -> Result<()> {
    let (host, peer) = (lab.host.node().clone(), lab.lan.peer().clone());
    let (host, peer) = (&host, &peer);
    run(host, &["ip", "-brief", "address", "show", "dev", "br0"])?;

    say("Landline runs beside Docker; Docker finds it by its socket.");
    println!("host1$ landline daemon &");
    lab.daemon = Some(lab.host.start_landline(landline, &[], &[])?);

    say(
        "A Docker network on the bridge that is there already, with the LAN's own subnet: its DHCP server gives the addresses.",
    );
    let docker = |args: &[&str]| {
        let shown = format!("docker {}", landline_testbed::shell_words(args));
        run_as("host1", &shown, || lab.host.docker(args))
    };
    let ipam = ["--ipam-driver", "landline", "--subnet", "192.0.2.0/24"];
    docker(&[&["network", "create", "-d", "landline"], &ipam[..], &["-o", "bridge=br0", "lan"]].concat())?;

    say("A container on it is a machine of the LAN.");
    docker(&["run", "-d", "--name", "web", "--network", "lan", "box", "httpd", "-f", "-h", "/www"])?;
    let shown = docker(&["exec", "web", "ip", "-4", "address", "show", "scope", "global"])?;
    let address = address_in(&shown)
        .ok_or_else(|| Error::Unexpected("the container has no address of the LAN".to_owned()))?;
    let ip = address.to_string();
    run(peer, &["ping", "-c", "3", "-i", "0.2", "-W", "2", &ip])?;
    let url = format!("http://{ip}/");
    wait_for("the container's web server", Duration::from_secs(5), || {
        peer.run(&["curl", "-sS", "--max-time", "1", &url]).success()
    })?;
    run(peer, &["curl", "-sS", "--max-time", "5", &url])?;

    say("What Landline knows, and what the DHCP server knows.");
    run_as("host1", "landline ls", || lab.host.landline(landline, &["ls"]))?;
    let row = lab.server.leases().into_iter().find(|row| row.ip == address);
    let row = row.ok_or_else(|| Error::Unexpected(format!("the DHCP server has no lease of {address}")))?;
    println!("lease of {}: {} {}", row.ip, row.mac, row.hostname.as_deref().unwrap_or("(no name)"));

    say("Restarted, it is the same machine: same address.");
    docker(&["restart", "-t", "0", "web"])?;
    let again = docker(&["exec", "web", "ip", "-4", "address", "show", "scope", "global"])?;
    if address_in(&again) != Some(address) {
        return Err(Error::Unexpected(format!("the address was {address} before the restart")));
    }

    say("And gone without a trace.");
    docker(&["rm", "-f", "web"])?;
    docker(&["network", "rm", "lan"])?;
    run(host, &["ip", "-brief", "link"])?;
    Ok(())
}

/// The first address of the LAN in what `ip address` prints.
fn address_in(text: &str) -> Option<Ipv4Addr> {
    let mut words = text.split_whitespace().skip_while(|word| *word != "inet");
    words.nth(1)?.split('/').next()?.parse().ok()
}
