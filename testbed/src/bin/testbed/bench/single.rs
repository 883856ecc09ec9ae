//! How long `docker run` takes, one container at a time.

use std::path::Path;

use landline_testbed::Result;

use super::Extent;
use super::lab::{Lab, Network, dnsmasq};
use super::rounds::in_turn;
use super::sample::Sample;
use super::table::{Table, ms, times};

const NETWORKS: [Network; 4] = [Network::None, Network::DockerBridge, Network::Bridge, Network::Macvlan];

pub(super) fn measure(landline: &Path, extent: Extent) -> Result<()> {
    let mut lab = Lab::new(landline)?;
    let results = in_turn(extent.warm_ups, extent.runs, &NETWORKS, |network| lab.run_once(*network, &[]))?;
    let samples: Vec<Sample> = results.into_iter().map(Sample::from_iter).collect();
    // As it comes out of the box, it makes sure for three seconds that nobody answers to a fresh address.
    lab.server.reconfigure(&dnsmasq(false))?;
    let pinged = in_turn(0, extent.pinged_runs, &[Network::None, Network::Bridge], |network| {
        lab.run_once(*network, &[])
    })?;
    let [pinged_none, pinged] = [0, 1].map(|at| pinged[at].iter().copied().collect::<Sample>());

    let [none, docker, ..] = samples.as_slice() else { return Ok(()) };
    let docker_cost = docker.beyond(none).median();
    let mut table =
        Table::new(&["network", "median ms", "min ms", "/ none", "/ Docker", "cost ms", "cost / Docker's"]);
    let mut row = |name: &str, sample: &Sample, none: &Sample| {
        let (median, cost) = (sample.median(), sample.beyond(none).median());
        let cells = [
            ms(median),
            ms(sample.min()),
            times(median, none.median()),
            times(median, docker.median()),
            ms(cost),
            times(cost, docker_cost),
        ];
        table.row(name, cells);
    };
    for (network, sample) in NETWORKS.iter().zip(&samples) {
        row(network.title(), sample, none);
    }
    row("Landline bridge, pinging server", &pinged, &pinged_none);
    print!(
        "\n## docker run --rm --network … box true\n\n\
         Runs of each: {}, in turn (and before them {} that are not counted). DHCP server: dnsmasq --no-ping; in the last\n\
         row dnsmasq without it, runs: {}. Cost: median of what a run took beyond the one on `none` of its round.\n\n{table}",
        extent.runs, extent.warm_ups, extent.pinged_runs,
    );
    Ok(())
}
