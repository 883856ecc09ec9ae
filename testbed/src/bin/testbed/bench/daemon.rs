//! What the daemon occupies while its containers just run.

use std::fs;
use std::path::Path;
use std::time::Duration;

use landline_testbed::{Daemon, Error, Result};

use super::Extent;
use super::lab::{Lab, Network};
use super::table::Table;

/// After this long threads that were needed for a moment have ended (the runtime keeps idle ones for ten seconds).
const REST: Duration = Duration::from_secs(12);
/// How many containers are started at a time.
const BATCH: usize = 5;

pub(super) fn measure(landline: &Path, extent: Extent) -> Result<()> {
    let lab = Lab::new(landline)?;
    let mut table =
        Table::new(&["endpoints", "RSS KiB", "PSS KiB", "threads", "descriptors", "child processes"]);
    let mut running = 0;
    for endpoints in extent.endpoints {
        let names: Vec<String> = (running..endpoints).map(|n| format!("c{n}")).collect();
        for batch in names.chunks(BATCH) {
            lab.at_once(batch, |host, name| {
                let network = Network::Bridge.name();
                let command = ["run", "-d", "--name", name, "--network", network, "box", "sleep", "infinity"];
                host.docker_ok(&command).map(drop)
            })?;
        }
        running = endpoints;
        // Nothing to wait for: the daemon at rest is what is looked at.
        std::thread::sleep(REST);
        let daemon = &lab.daemon;
        let cells = [
            daemon.rss_kib().to_string(),
            pss_kib(daemon)?.to_string(),
            daemon.threads().to_string(),
            daemon.fds().to_string(),
            daemon.children().to_string(),
        ];
        table.row(&endpoints.to_string(), cells);
    }
    print!(
        "\n## The daemon at rest\n\n\
         {} s after the last container was started. PSS counts shared pages once for all who share them.\n\n{table}",
        REST.as_secs(),
    );
    Ok(())
}

/// Its share of the memory it has, in KiB (`smaps_rollup`, `proc_pid_smaps(5)`).
fn pss_kib(daemon: &Daemon) -> Result<u64> {
    let path = format!("/proc/{}/smaps_rollup", daemon.pid()?);
    let text = fs::read_to_string(&path).map_err(|error| Error::Unexpected(format!("{path}: {error}")))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
    let number = line.trim().trim_end_matches(" kB").parse();
    number.map_err(|_| Error::Unexpected(format!("{path} says no Pss: {text}")))
}
