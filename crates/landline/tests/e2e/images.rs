//! The images of `packaging/`, built by their Dockerfiles around a program that needs no libraries.

use std::path::Path;
use std::process::Command;

use landline_testbed::{DockerHost, wait_for};

use crate::tree::{static_binary, tree};
use crate::world::{Result, SOON, World};

/// Builds an image of `packaging/`; no registry can be reached.
pub(crate) fn image(host: &DockerHost, name: &str) -> Result {
    let (binary, context) = (static_binary()?, tempfile::tempdir()?);
    let layout = Command::new(tree("packaging/image-context"))
        .args([Path::new(name), &binary, context.path()])
        .output()?;
    if !layout.status.success() {
        return Err(String::from_utf8_lossy(&layout.stderr).into());
    }
    let tag = format!("landline-{name}");
    host.docker_ok(&["build", "-q", "-t", &tag, &context.path().to_string_lossy()])?;
    let size = host.docker_ok(&["image", "inspect", "-f", "{{.Size}}", &tag])?;
    let mib = |bytes: u64| bytes / (1 << 20);
    println!(
        "{tag}: {} MiB, {} of them the program without optimization",
        mib(size.trim().parse()?),
        mib(binary.metadata()?.len())
    );
    Ok(())
}

/// `docker-compose -p PROJECT ARGS` with a Compose file of `packaging/` as it stands.
pub(crate) fn compose(host: &DockerHost, project: &str, settings: &[&str], args: &[&str]) -> Result {
    let file = tree(&format!("packaging/{project}/compose.yaml"));
    let file = file.to_string_lossy();
    let compose = ["docker-compose", "--no-ansi", "-p", project, "-f", &file];
    host.check(&[&["env"], settings, &compose[..], args].concat())?;
    Ok(())
}

/// What the container of such a project has said.
pub(crate) fn log(host: &DockerHost, project: &str, service: &str) -> String {
    let output = host.docker(&["logs", &format!("{project}_{service}_1")]);
    format!("{}{}", output.stdout, output.stderr)
}

#[test]
fn pipework_waits_in_a_container_without_a_c_library() -> Result {
    let world = World::bridge()?;
    image(&world.host, "pipework")?;
    let waiting = ["run", "-d", "--name", "waiter", "--network", "none", "--entrypoint", "pipework"];
    world.host.docker_ok(&[&waiting[..], &["landline-pipework", "--wait", "-i", "eth7"]].concat())?;
    let state =
        |what: &str| world.host.docker_ok(&["inspect", "-f", &format!("{{{{.State.{what}}}}}"), "waiter"]);
    let running = || state("Running").is_ok_and(|running| running.trim() == "true");
    // An interface that is up is not enough, nor is another one's address.
    world.landline("attach br0 waiter none ifname=eth7")?;
    world.landline("attach br0 waiter 192.0.2.51/24 ifname=eth8")?;
    assert!(running(), "{}", log(&world.host, "waiter", ""));
    world.landline("attach br0 waiter 192.0.2.50/24 ifname=eth7")?;
    wait_for("the end of the waiting", SOON, || !running())?;
    assert_eq!(state("ExitCode")?.trim(), "0");
    Ok(())
}
