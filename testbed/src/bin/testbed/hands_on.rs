//! A lab to look around in: `shell`, `up`, `in`, `ls`.

use std::path::Path;
use std::process::Command;

use landline_testbed::{
    Daemon, DhcpServer, Dnsmasq, DockerHost, Dockerd, Engine, Error, Lan, Node, Result, kept_labs,
};

use super::HostOptions;

/// The lab of `shell`, `up` and `demo`: dnsmasq in the router, and a Docker host with the bridge br0.
#[derive(Debug)]
pub(crate) struct Lab {
    // In the order in which they are to be ended.
    pub(crate) daemon: Option<Daemon>,
    pub(crate) host: DockerHost,
    pub(crate) server: DhcpServer,
    pub(crate) lan: Lan,
}

impl Lab {
    pub(crate) fn new(engine: Engine, landline: Option<&Path>) -> Result<Self> {
        let lan = Lan::new()?;
        let server = lan.dnsmasq(Dnsmasq::default())?;
        let mut host = lan.docker_host("host1")?;
        host.make_bridge("br0", Some("192.0.2.10/24"))?;
        host.dockerd(Dockerd { engine, ..Dockerd::default() })?;
        let mut lab = Self { daemon: None, host, server, lan };
        if let Some(binary) = landline {
            lab.daemon = Some(lab.host.start_landline(&absolute(binary)?, &[], &[])?);
        }
        Ok(lab)
    }
}

/// The program as the host can find it: its working directory is another one.
pub(crate) fn absolute(binary: &Path) -> Result<std::path::PathBuf> {
    std::fs::canonicalize(binary).map_err(|error| Error::Unexpected(format!("{}: {error}", binary.display())))
}

pub(crate) fn shell(options: &HostOptions) -> Result<u8> {
    let lab = Lab::new(options.engine(), options.landline.as_deref())?;
    open_shell(&lab)
}

/// An interactive shell on the host of a lab; returns its exit status.
pub(crate) fn open_shell(lab: &Lab) -> Result<u8> {
    eprintln!(
        "A shell on host1 (192.0.2.10 on br0), with dockerd and the image box. The peer is 192.0.2.2, the router\n\
         192.0.2.1; from another terminal: ip netns exec {0}-peer ping 192.0.2.10. Everything ends with this shell.",
        lab.lan.name()
    );
    interactive(lab.host.node(), &[])
}

pub(crate) fn up(options: &HostOptions) -> Result<u8> {
    let lab = Lab::new(options.engine(), options.landline.as_deref())?;
    lab.lan.keep()?;
    println!(
        "{} is up. Next: testbed in host1, testbed in peer ping 192.0.2.10, testbed down",
        lab.lan.name()
    );
    // Dropping them would end what is to stay.
    std::mem::forget(lab);
    Ok(0)
}

pub(crate) fn list() -> Result<u8> {
    for lab in kept_labs()? {
        let nodes: Vec<String> = Lan::kept_nodes(&lab)?.iter().map(|node| node.name().to_owned()).collect();
        println!("{lab}  {}", nodes.join(" "));
    }
    Ok(0)
}

pub(crate) fn run_in(name: &str, command: &[String]) -> Result<u8> {
    for lab in kept_labs()? {
        if let Some(node) = Lan::kept_nodes(&lab)?.iter().find(|node| node.name() == name) {
            return interactive(node, command);
        }
    }
    Err(Error::Unexpected(format!("no machine {name} is up (see `testbed ls`)")))
}

fn interactive(node: &Node, command: &[String]) -> Result<u8> {
    let shell = vec![std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned())];
    let mut process: Command = node.command(if command.is_empty() { &shell } else { command });
    let status = process.status();
    let status = status.map_err(|error| Error::Unexpected(format!("cannot start a shell: {error}")))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
