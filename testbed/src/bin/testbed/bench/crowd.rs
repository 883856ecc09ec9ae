//! How long many containers take that are started at the same moment.

use std::path::Path;
use std::time::Duration;

use landline_testbed::{Error, Result};

use super::Extent;
use super::lab::{Lab, Network};
use super::rounds::in_turn;
use super::sample::Sample;
use super::table::{Table, ms, times};

const NETWORKS: [Network; 3] = [Network::None, Network::DockerBridge, Network::Bridge];

pub(super) fn measure(landline: &Path, extent: Extent) -> Result<()> {
    let lab = Lab::new(landline)?;
    let results = in_turn(1, extent.crowd_rounds, &NETWORKS, |network| {
        let took = start(&lab, *network, extent.crowd)?;
        if *network == Network::Bridge {
            all_are_listed(&lab, landline, extent.crowd)?;
        }
        end(&lab, extent.crowd)?;
        Ok(took)
    })?;
    let samples: Vec<Sample> = results.into_iter().map(Sample::from_iter).collect();
    let [none, docker, ..] = samples.as_slice() else { return Ok(()) };
    let mut table = Table::new(&["network", "median ms", "min ms", "/ none", "/ Docker"]);
    for (network, sample) in NETWORKS.iter().zip(&samples) {
        let median = sample.median();
        let ratios = [times(median, none.median()), times(median, docker.median())];
        table.row(network.title(), [ms(median), ms(sample.min())].into_iter().chain(ratios));
    }
    print!(
        "\n## {} containers at once\n\n\
         Until the last of {} simultaneous `docker run -d` has returned. Rounds: {}, in turn (and before them one that is\n\
         not counted). DHCP server: dnsmasq --no-ping.\n\n{table}",
        extent.crowd, extent.crowd, extent.crowd_rounds,
    );
    Ok(())
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("c{n}")).collect()
}

fn start(lab: &Lab, network: Network, count: usize) -> Result<Duration> {
    lab.at_once(&names(count), |host, name| {
        let command = ["run", "-d", "--name", name, "--network", network.name(), "box", "sleep", "infinity"];
        host.docker_ok(&command).map(drop)
    })
}

fn end(lab: &Lab, count: usize) -> Result<()> {
    let names = names(count);
    let command: Vec<&str> = ["rm", "-f"].into_iter().chain(names.iter().map(String::as_str)).collect();
    lab.host.docker_ok(&command).map(drop)
}

/// A container that came up without its lease would be a fast one.
fn all_are_listed(lab: &Lab, landline: &Path, count: usize) -> Result<()> {
    let text = lab.host.landline_ok(landline, &["ls", "--json"])?;
    let listing: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let addressed = listing["endpoints"].as_array().into_iter().flatten();
    let addressed = addressed.filter(|endpoint| endpoint.to_string().contains("\"192.0.2.")).count();
    if addressed == count {
        return Ok(());
    }
    Err(Error::Unexpected(format!("{addressed} of {count} containers have an address:\n{text}")))
}
