//! How long `docker run` takes, one container at a time.

use std::path::Path;

use landline_testbed::Result;

use super::Extent;
use super::lab::{Lab, Network, dnsmasq};
use super::rounds::in_turn;
use super::sample::Sample;
use super::table::{Table, ms, times};

const NETWORKS: [Network; 7] = [
    Network::None,
    Network::DockerBridge,
    Network::DockerMacvlan,
    Network::Bridge,
    Network::BridgeIpam,
    Network::Macvlan,
    Network::MacvlanIpam,
];

pub(super) fn measure(landline: &Path, extent: Extent) -> Result<()> {
    let mut lab = Lab::new(landline)?;
    lives(&lab, extent)?;
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

/// Start and end, each for itself.
fn lives(lab: &Lab, extent: Extent) -> Result<()> {
    let old = |network: Network| format!("old-{}", network.name());
    for network in NETWORKS {
        let run =
            ["run", "-d", "--name", &old(network), "--network", network.name(), "box", "sleep", "infinity"];
        lab.host.docker_ok(&run)?;
    }
    let results = in_turn(extent.warm_ups, extent.runs, &NETWORKS, |network| {
        lab.life(*network, &old(*network), &old(*network))
    })?;
    let olds: Vec<String> = NETWORKS.into_iter().map(old).collect();
    let remove: Vec<&str> = ["rm", "-f"].into_iter().chain(olds.iter().map(String::as_str)).collect();
    lab.host.docker_ok(&remove)?;
    let step =
        |network: usize, step: usize| -> Sample { results[network].iter().map(|life| life[step]).collect() };
    let mut table = Table::new(&[
        "network",
        "start ms",
        "beyond none ms",
        "end of a young one ms",
        "beyond none ms",
        "end of an old one ms",
        "beyond none ms",
    ]);
    for (at, network) in NETWORKS.iter().enumerate() {
        let cells = (0..3).flat_map(|which| {
            let (sample, none) = (step(at, which), step(0, which));
            [ms(sample.median()), ms(sample.beyond(&none).median())]
        });
        table.row(network.title(), cells);
    }
    print!(
        "\n## Start and end of a container\n\n\
         `docker run -d`, `docker rm -f` right after it, and `docker rm -f` of one that has lived for a round. Rounds: {}, in turn\n\
         (and before them {} that are not counted). DHCP server: dnsmasq --no-ping. Beyond none: median of what a step took beyond\n\
         the one on `none` of its round.\n\n{table}",
        extent.runs, extent.warm_ups,
    );
    Ok(())
}
