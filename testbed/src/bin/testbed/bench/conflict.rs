//! What it costs to look for other users of an address, and how many of them are found in time.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use landline_testbed::{Dnsmasq, Reservation, Result, Squatter, Squatting};

use super::Extent;
use super::lab::Lab;
use super::rounds::in_turn;
use super::sample::Sample;
use super::table::{Table, ms};

pub(super) fn measure(landline: &Path, extent: Extent) -> Result<()> {
    cost(landline, extent)?;
    squatters(landline, extent)
}

const CHECKS: [&str; 2] = ["off", "fast"];

/// Both on the same idle LAN, in turn.
fn cost(landline: &Path, extent: Extent) -> Result<()> {
    let lab = Lab::new(landline)?;
    for check in CHECKS {
        let option = format!("conflict_check={check}");
        let options = ["-o", "bridge=br0", "-o", "ignore_conflicts=true", "-o", &option, check];
        let create = ["network", "create", "-d", "landline", "--ipam-driver", "null"];
        lab.host.docker_ok(&[&create[..], &options].concat())?;
    }
    let results = in_turn(extent.warm_ups, extent.runs, &CHECKS, |check| lab.run_on(check, &[]))?;
    let samples: Vec<Sample> = results.into_iter().map(Sample::from_iter).collect();
    let [off, _] = samples.as_slice() else { return Ok(()) };
    let mut table = Table::new(&["conflict_check", "median ms", "min ms", "max ms", "beyond off ms"]);
    for (check, sample) in CHECKS.iter().zip(&samples) {
        let beyond = sample.beyond(off).median();
        table.row(check, [ms(sample.median()), ms(sample.min()), ms(sample.max()), ms(beyond)]);
    }
    print!(
        "\n## What the conflict check costs\n\n\
         docker run --rm on a Landline bridge, runs of each: {}, in turn (and before them {} that are not counted). DHCP\n\
         server: dnsmasq --no-ping. Beyond off: median of what a run took beyond the other of its round.\n\n{table}",
        extent.runs, extent.warm_ups,
    );
    Ok(())
}

/// A kind of squatter: what it is called, its delay, and the first of the addresses it has.
const SQUATTERS: [(&str, [u64; 2], u8); 2] =
    [("answers at once", [0, 0], 12), ("answers after 5 to 20 ms", [5, 20], 115)];
/// The most addresses that a squatter can have beside those that are left for containers.
const MOST_TRIES: u8 = 100;

fn squatters(landline: &Path, extent: Extent) -> Result<()> {
    let mut lab = Lab::new(landline)?;
    let tries = extent.squatted.min(MOST_TRIES);
    let address = |first: u8, n: u8| Ipv4Addr::new(192, 0, 2, first + n);
    let mac = |first: u8, n: u8| format!("02:42:c0:00:{first:02x}:{n:02x}");
    let mut hosts = Vec::new();
    let mut running = Vec::new();
    for (kind, (_, delay, first)) in SQUATTERS.into_iter().enumerate() {
        hosts.extend((0..tries).map(|n| Reservation::new(mac(first, n), address(first, n).to_string())));
        let [least, most] = delay.map(Duration::from_millis);
        let squatting = Squatting {
            addresses: (address(first, 0), address(first, tries - 1)),
            delay: (least, most),
            ..Squatting::on(Ipv4Addr::UNSPECIFIED)
        };
        let node = lab.lan.add_node(&format!("squatter{kind}"), &format!("192.0.2.{}/24", 3 + kind))?;
        running.push(Squatter::start(&node, &squatting)?);
    }
    let range = ("192.0.2.220".to_owned(), "192.0.2.250".to_owned());
    lab.server.reconfigure(&Dnsmasq { range, hosts, ..Dnsmasq::default() })?;
    // Of each round: whether it was found.
    let mut round = [0; SQUATTERS.len()];
    let results = in_turn(0, tries.into(), &[0, 1], |&kind| {
        let (_, _, first) = SQUATTERS[kind];
        let n = round[kind];
        round[kind] += 1;
        let args = ["run", "--rm", "--network", "lan", "--mac-address", &mac(first, n), "box"];
        let seen = lab.host.docker_ok(&[&args[..], &["ip", "-4", "-o", "addr"]].concat())?;
        // Found after Docker had its answer, the address may be gone and another not be there yet.
        let found = !seen.contains(&format!("inet {}/", address(first, n)));
        Ok((found, found && seen.contains("inet 192.0.2.")))
    })?;
    let mut table = Table::new(&["another user of the address", "tries", "found", "and replaced"]);
    for ((name, ..), seen) in SQUATTERS.iter().zip(&results) {
        let count =
            |what: fn(&(bool, bool)) -> bool| seen.iter().filter(|seen| what(seen)).count().to_string();
        table.row(name, [tries.to_string(), count(|(found, _)| *found), count(|(_, replaced)| *replaced)]);
    }
    print!(
        "\n## An address that somebody else uses already\n\n\
         The server offers each container an address that another machine answers for; found is what the container's\n\
         first process does not see any more, replaced where it sees another one. conflict_check=fast, in turn.\n\n{table}"
    );
    Ok(())
}
