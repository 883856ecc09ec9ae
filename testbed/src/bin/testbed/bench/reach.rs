//! How soon after `docker start` the host reaches a container that the kernel keeps it from.

use std::path::Path;
use std::time::Duration;

use landline_testbed::{Error, Result};

use super::Extent;
use super::lab::{Lab, Network};
use super::rounds::in_turn;
use super::sample::Sample;
use super::table::{Table, ms, times};

/// A container's network, what it is called in the table, and the address there.
const KINDS: [(&str, &str, &str); 2] = [
    ("Docker bridge", Network::DockerBridge.name(), "203.0.113.64"),
    ("Docker macvlan, host access", "apart", "198.51.100.64"),
];

pub(super) fn measure(landline: &Path, extent: Extent) -> Result<()> {
    let lab = Lab::new(landline)?;
    let host = &lab.host;
    host.check(&["ip", "address", "add", "198.51.100.10/24", "dev", "eth1"])?;
    let create = ["network", "create", "-d", "macvlan", "-o", "parent=eth1", "--subnet", "198.51.100.0/24"];
    host.docker_ok(&[&create[..], &["apart"]].concat())?;
    for (_, network, address) in KINDS {
        let run =
            ["create", "--name", network, "--network", network, "--ip", address, "box", "sleep", "infinity"];
        host.docker_ok(&run)?;
    }
    host.landline_ok(landline, &["host-access", "enable", "apart"])?;
    let results = in_turn(extent.warm_ups, extent.runs, &KINDS, |(_, container, address)| {
        let (status, said) = host.docker_api("POST", &format!("/containers/{container}/start"), "")?;
        if status != 204 {
            return Err(Error::Unexpected(said));
        }
        let took = host.first_answer(address, Duration::from_secs(15))?;
        host.docker_ok(&["stop", "-t0", container])?;
        Ok(took)
    })?;
    let samples: Vec<Sample> = results.into_iter().map(Sample::from_iter).collect();
    let [floor, _] = samples.as_slice() else { return Ok(()) };
    let mut table = Table::new(&["network", "median ms", "min ms", "max ms", "/ Docker bridge"]);
    for ((name, ..), sample) in KINDS.iter().zip(&samples) {
        let ratio = times(sample.median(), floor.median());
        table.row(name, [ms(sample.median()), ms(sample.min()), ms(sample.max()), ratio]);
    }
    print!(
        "\n## Host access\n\n\
         From the return of docker start (the API's) until the host has an answer to a ping, one each 5 ms. Starts of each:\n\
         {}, in turn (and before them {} that are not counted).\n\n{table}",
        extent.runs, extent.warm_ups,
    );
    Ok(())
}
