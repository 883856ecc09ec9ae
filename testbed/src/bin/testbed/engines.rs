//! The end-to-end tests against one Docker engine after the other, and what came of it as a table.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use landline_testbed::{Engine, Error, Result, fetch_engines, unpacked_engines};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the engines are, or are unpacked if there are none (see `get-engines`).
    dir: PathBuf,
    /// Which tests, as `cargo nextest run -E` takes them.
    #[arg(
        long,
        default_value = "test(basics::) | test(identity::) | test(restart::) | test(boot::) | test(default_routes::) | \
                         test(twins::) | test(ten::) | test(compose::) | test(derived::) | test(late::) | test(ipam_dhcp::)"
    )]
    tests: String,
}

/// Runs the tests with the installed engine and with each unpacked one. The exit status says whether all passed.
pub(crate) fn test(options: &Options) -> Result<u8> {
    let mut unpacked = unpacked_engines(&options.dir).unwrap_or_default();
    if unpacked.is_empty() {
        fetch_engines(&options.dir)?;
        unpacked = unpacked_engines(&options.dir)?;
    }
    let engines = std::iter::once(Engine::System).chain(unpacked.into_iter().map(Engine::Path));
    let mut failed = false;
    let mut table = format!("{:<12} {:<12} {:<12} RESULT\n", "ENGINE", "CONTAINERD", "IMAGE STORE");
    for engine in engines {
        let (docker, containerd) = (version(&engine, "dockerd", 2)?, version(&engine, "containerd", 2)?);
        let stores: &[&str] =
            if has_stores(&docker) { &["graphdriver", "containerd"] } else { &["graphdriver"] };
        for store in stores {
            println!("\n=== Docker {docker}, {store} ===");
            let result = one(&engine, store, &options.tests)?;
            failed |= !result.1;
            let _ = writeln!(table, "{docker:<12} {containerd:<12} {store:<12} {}", result.0);
        }
    }
    println!("\n{table}");
    Ok(u8::from(failed))
}

/// Whether an engine of this version has containerd's image store as well, with the containers of one or the other.
fn has_stores(docker: &str) -> bool {
    docker.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major >= 28)
}

/// What nextest counted, and whether all tests passed. Those that restart everything do it twice in a row, and what they print is
/// shown.
fn one(engine: &Engine, store: &str, tests: &str) -> Result<(String, bool)> {
    let mut command = Command::new("cargo");
    command.args(["nextest", "run", "--locked", "-p", "landline", "--test", "e2e", "-E", tests]);
    command.args(["--success-output", "immediate"]);
    command.envs([("LANDLINE_TEST_ROUNDS", "2"), ("LANDLINE_TEST_IMAGE_STORE", store)]);
    if let Engine::Path(dir) = engine {
        command.env("LANDLINE_TEST_ENGINE", dir);
    }
    let failed = |source| Error::Start { command: "cargo nextest".to_owned(), source };
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(failed)?;
    let mut summary = "no summary".to_owned();
    for line in child.stderr.take().into_iter().flat_map(|said| BufReader::new(said).lines()) {
        let line = line.map_err(failed)?;
        eprintln!("{line}");
        if let Some((_, counted)) = line.split_once("tests run: ").filter(|_| line.contains("Summary")) {
            counted.trim().clone_into(&mut summary);
        }
    }
    Ok((summary, child.wait().map_err(failed)?.success()))
}

/// The word at `place` of what `PROGRAM --version` says, without what a distribution has put behind it.
fn version(engine: &Engine, program: &str, place: usize) -> Result<String> {
    let path = match engine {
        Engine::System => PathBuf::from(program),
        Engine::Path(dir) => ["usr/sbin", "usr/bin"]
            .map(|bin| dir.join(bin).join(program))
            .into_iter()
            .find(|path| path.exists())
            .unwrap_or_else(|| Path::new(program).to_owned()),
    };
    let output = Command::new(&path).arg("--version").output();
    let output = output.map_err(|source| Error::Start { command: path.display().to_string(), source })?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let word = said.split_whitespace().nth(place).unwrap_or_default().trim_end_matches(',');
    Ok(landline_testbed::upstream_version(word).to_owned())
}
