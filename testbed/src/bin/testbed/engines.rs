//! The end-to-end tests against one Docker engine after the other, and what came of it as tables.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use landline_testbed::{Engine, Error, Result, fetch_engines, unpacked_engines};

use crate::matrix::Matrix;

/// The tests that restart everything under ten containers, and note what became of them.
const TEN: &str = "test(twins::ten_)";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the engines are, or are unpacked if there are none (see `get-engines`).
    dir: PathBuf,
    /// How often in a row the ten containers live through everything.
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// Which other tests to run, as `cargo nextest run -E` takes them; `none()` for none.
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
    let (mut failed, mut matrix) = (false, Matrix::default());
    let mut table = format!("{:<12} {:<12} {:<12} OTHER TESTS\n", "ENGINE", "CONTAINERD", "IMAGE STORE");
    for engine in engines {
        let (docker, containerd) = (version(&engine, "dockerd", 2)?, version(&engine, "containerd", 2)?);
        let stores: &[&str] =
            if has_stores(&docker) { &["graphdriver", "containerd"] } else { &["graphdriver"] };
        for store in stores {
            println!("\n=== Docker {docker}, {store} ===");
            let cannot =
                |source| Error::System { what: "cannot keep what the tests note".to_owned(), source };
            let notes = tempfile::NamedTempFile::new().map_err(cannot)?;
            let run = Run { engine: &engine, store };
            // One at a time: what the others do would count among the seconds.
            let envs = [
                ("LANDLINE_TEST_ROUNDS", options.rounds.to_string()),
                ("LANDLINE_TEST_TABLE", notes.path().display().to_string()),
            ];
            failed |= !run.nextest(TEN, &["--test-threads", "1"], &envs)?.passed;
            let noted = std::fs::read_to_string(notes.path()).map_err(cannot)?;
            let engine = format!("{docker} {store}");
            matrix
                .add(engine, &noted)
                .map_err(|line| Error::Unexpected(format!("a test has noted {line:?}")))?;
            // So that what there is so far is not lost with a run that is ended.
            println!("\n{}", matrix.table());
            let others = run.nextest(&format!("({}) & !{TEN}", options.tests), &[], &[])?;
            failed |= !others.passed;
            let _ = writeln!(table, "{docker:<12} {containerd:<12} {store:<12} {}", others.counted);
        }
    }
    println!("\n{table}\n{}", matrix.table());
    Ok(u8::from(failed || !matrix.is_kept()))
}

/// Tests with one engine.
#[derive(Debug)]
struct Run<'a> {
    engine: &'a Engine,
    store: &'a str,
}

/// What nextest counted, and whether all tests passed.
struct Outcome {
    counted: String,
    passed: bool,
}

impl Run<'_> {
    /// Runs these tests; what they print is shown. That none is chosen is fine.
    fn nextest(&self, tests: &str, args: &[&str], envs: &[(&str, String)]) -> Result<Outcome> {
        let mut command = Command::new("cargo");
        command.args(["nextest", "run", "--locked", "-p", "landline", "--test", "e2e", "-E", tests]);
        command.args(["--success-output", "immediate", "--no-tests", "pass"]).args(args);
        command.env("LANDLINE_TEST_IMAGE_STORE", self.store);
        command.envs(envs.iter().map(|(name, value)| (name, value)));
        if let Engine::Path(dir) = self.engine {
            command.env("LANDLINE_TEST_ENGINE", dir);
        }
        let failed = |source| Error::Start { command: "cargo nextest".to_owned(), source };
        let mut child = command.stderr(Stdio::piped()).spawn().map_err(failed)?;
        let mut counted = "no summary".to_owned();
        for line in child.stderr.take().into_iter().flat_map(|said| BufReader::new(said).lines()) {
            let line = line.map_err(failed)?;
            eprintln!("{line}");
            if let Some((_, said)) = line.split_once("tests run: ").filter(|_| line.contains("Summary")) {
                said.trim().clone_into(&mut counted);
            }
        }
        let passed = child.wait().map_err(failed)?.success();
        Ok(Outcome { counted, passed })
    }
}

/// Whether an engine of this version has containerd's image store as well, with the containers of one or the other.
fn has_stores(docker: &str) -> bool {
    docker.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major >= 28)
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
