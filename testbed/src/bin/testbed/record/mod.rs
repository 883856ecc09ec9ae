//! What real engines send a network and IPAM driver: one scripted scenario against each of them, written down as the
//! golden files that the tests of the plugin protocol replay.

mod names;
mod plugin;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use landline_testbed::{
    Dockerd, Engine, Error, Lan, Result, Signal, shell_words, unpacked_engines, upstream_version,
};

use self::names::Names;
use self::plugin::{Plugin, Request};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the golden files go, one for each engine, named after its version.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A directory of unpacked engines (see `get-engines`), recorded beside the installed one.
    #[arg(long, value_name = "DIR")]
    engines: Option<PathBuf>,
    /// Write nothing; fail if a file would be written that differs from the one that is there.
    #[arg(long)]
    check: bool,
}

/// One step of the scenario.
enum Step {
    /// A docker command that must succeed.
    Docker(&'static [&'static str]),
    /// A docker command that must fail, because the driver refuses.
    Refused(&'static [&'static str]),
    /// dockerd is killed and started again.
    Crash,
    /// dockerd ends properly and is started again.
    Restart,
}

/// The MAC whose endpoint the recording driver refuses.
const REFUSED_MAC: &str = "02:00:00:00:00:ff";

/// What every engine is made to do. Only what all of them can: the oldest is 20.10.
const SCENARIO: &[Step] = &[
    Step::Docker(&[
        "network",
        "create",
        "-d",
        "landline",
        "--ipam-driver",
        "null",
        "-o",
        "bridge=br0",
        "-o",
        "lease_timeout=5s",
        "lan",
    ]),
    Step::Docker(&[
        "network",
        "create",
        "-d",
        "landline",
        "--ipam-driver",
        "null",
        "-o",
        "bridge=br0",
        "second",
    ]),
    // The name, the host name: nothing of them reaches a driver before 29.
    Step::Docker(&[
        "run",
        "-d",
        "--name",
        "web",
        "--hostname",
        "webhost",
        "--network",
        "lan",
        "--expose",
        "443",
        "-p",
        "8080:80",
        "--mac-address",
        "02:00:00:00:00:0a",
        "box",
        "sleep",
        "infinity",
    ]),
    Step::Docker(&["inspect", "web"]),
    Step::Docker(&["restart", "web"]),
    Step::Docker(&["network", "connect", "--driver-opt", "landline.id=web-2", "second", "web"]),
    Step::Docker(&["network", "disconnect", "second", "web"]),
    Step::Docker(&["run", "-d", "--name", "plain", "--network", "lan", "box", "sleep", "infinity"]),
    Step::Docker(&["stop", "plain"]),
    Step::Docker(&["start", "plain"]),
    // One running container from here on: what ends several at once ends them in any order.
    Step::Docker(&["stop", "plain"]),
    Step::Docker(&[
        "run",
        "--name",
        "options",
        "--network",
        "name=lan,driver-opt=landline.id=fixed,alias=db",
        "box",
        "true",
    ]),
    Step::Refused(&[
        "run",
        "--name",
        "refused",
        "--network",
        "lan",
        "--mac-address",
        REFUSED_MAC,
        "box",
        "true",
    ]),
    // An IPAM driver: every kind of address there is, and none of it again when Docker starts.
    Step::Docker(&[
        "network",
        "create",
        "-d",
        "landline",
        "--ipam-driver",
        "landline",
        "--ipam-opt",
        "addressing=pool",
        "--subnet",
        "203.0.113.128/25",
        "--ip-range",
        "203.0.113.192/26",
        "--gateway",
        "203.0.113.254",
        "--aux-address",
        "nas=203.0.113.130",
        "-o",
        "bridge=br0",
        "pooled",
    ]),
    Step::Docker(&["run", "--name", "any", "--network", "pooled", "box", "true"]),
    Step::Docker(&["run", "--name", "named", "--network", "pooled", "--ip", "203.0.113.201", "box", "true"]),
    Step::Restart,
    Step::Docker(&["start", "web"]),
    Step::Crash,
    Step::Docker(&["start", "web"]),
    Step::Docker(&["rm", "-f", "web", "plain", "options", "refused", "any", "named"]),
    Step::Docker(&["network", "rm", "pooled"]),
    Step::Docker(&["network", "rm", "second"]),
    Step::Docker(&["network", "rm", "lan"]),
];

/// Records every engine. The exit status is 1 if `--check` found a difference.
pub(crate) fn record(options: &Options) -> Result<u8> {
    let mut all = vec![Engine::System];
    if let Some(dir) = &options.engines {
        all.extend(unpacked_engines(dir)?.into_iter().map(Engine::Path));
    }
    let mut differs = 0;
    for engine in all {
        let (version, text) = one(engine)?;
        let file = options.out.join(format!("{version}.json"));
        let same = fs::read_to_string(&file).is_ok_and(|present| present == text);
        println!("{}: {}", file.display(), if same { "as it was" } else { "different" });
        if same {
            continue;
        }
        if options.check {
            differs = 1;
        } else {
            write(&options.out, &file, &text)?;
        }
    }
    Ok(differs)
}

fn write(dir: &Path, file: &Path, text: &str) -> Result<()> {
    let failed = |source| Error::File { what: "cannot write", path: file.to_owned(), source };
    fs::create_dir_all(dir).and_then(|()| fs::write(file, text)).map_err(failed)
}

/// The version of an engine and its golden file.
fn one(engine: Engine) -> Result<(String, String)> {
    let lan = Lan::new()?;
    let mut host = lan.docker_host("host1")?;
    host.make_bridge("br0", Some("192.0.2.10/24"))?;
    let plugin = Plugin::start(host.node().clone(), &host.path("/run/docker/plugins/landline.sock"))?;
    host.dockerd(Dockerd { engine, ..Dockerd::default() })?;
    let version = host.docker_ok(&["version", "--format", "{{.Server.Version}}"])?;
    let version = upstream_version(&version).to_owned();
    for step in SCENARIO {
        match step {
            Step::Docker(args) => {
                plugin.during(&format!("docker {}", shell_words(args)));
                host.docker_ok(args)?;
            }
            Step::Refused(args) => {
                plugin.during(&format!("docker {} (refused)", shell_words(args)));
                let output = host.docker(args);
                if output.success() || !output.stderr.contains(plugin::REFUSAL) {
                    return Err(Error::Unexpected(format!("not refused as expected: {}", output.stderr)));
                }
            }
            Step::Restart | Step::Crash => {
                let (signal, what) = match step {
                    Step::Crash => (Signal::KILL, "dockerd is killed"),
                    _ => (Signal::TERM, "dockerd ends"),
                };
                plugin.during(what);
                host.dockerd_stop(signal)?;
                plugin.during("dockerd starts");
                host.dockerd_start()?;
            }
        }
    }
    Ok((version, to_text(plugin.requests())))
}

/// One request per line, so that a difference between two engines is one between lines.
fn to_text(requests: Vec<Request>) -> String {
    let mut names = Names::default();
    let lines: Vec<String> = requests
        .into_iter()
        .map(|Request { during, path, body }| {
            let body = if body.is_null() { Value::Null } else { names.in_place_of_ids(&path, body) };
            format!("{{\"path\": {}, \"body\": {}, \"during\": {}}}", json!(path), body, json!(during))
        })
        .collect();
    let mut text = String::new();
    let _ = writeln!(text, "[\n{}\n]", lines.join(",\n"));
    text
}
