//! How long containers that start at the same moment wait for the interfaces they ask for.

use std::fs;
use std::path::Path;
use std::time::Duration;

use landline_testbed::{Error, Result, wait_for};

use super::Extent;
use super::lab::Lab;
use super::rounds::in_turn;
use super::sample::Sample;
use super::table::{Table, ms, times};

/// What containers ask for in their label: the first is what no address can be quicker than.
const WISHES: [(&str, &str); 3] =
    [("none", "br0 none"), ("static", "br0 192.0.2.{}/24"), ("dhcp", "br0 dhcp")];

/// The host number of the first static address: outside the server's range there is not enough room.
const FIRST: usize = 100;

/// How long all of them may take.
const LIMIT: Duration = Duration::from_mins(2);

pub(super) fn measure(landline: &Path, extent: Extent) -> Result<()> {
    let config = std::env::temp_dir().join(format!("landline-bench-{}.toml", std::process::id()));
    fs::write(&config, "[containers.allow.br0]\n")
        .map_err(|error| Error::Unexpected(format!("cannot write {}: {error}", config.display())))?;
    let lab = Lab::configured(landline, &["--config", &config.to_string_lossy()]);
    let _ = fs::remove_file(&config);
    let lab = lab?;
    let mut first = 0;
    let counts = [1, extent.attached];
    let kinds: Vec<(usize, usize)> =
        counts.into_iter().flat_map(|count| (0..WISHES.len()).map(move |wish| (count, wish))).collect();
    let results = in_turn(1, extent.crowd_rounds, &kinds, |(count, wish)| {
        first += count;
        start(&lab, first - count, *count, WISHES[*wish].1)
    })?;
    let samples: Vec<Sample> =
        results.into_iter().map(|rounds| rounds.into_iter().flatten().collect()).collect();
    let mut table = Table::new(&["containers, address", "median ms", "min ms", "max ms", "/ none"]);
    for ((count, wish), sample) in kinds.iter().zip(&samples) {
        let floor =
            kinds.iter().position(|kind| *kind == (*count, 0)).map_or(f64::NAN, |at| samples[at].median());
        let cells = [ms(sample.median()), ms(sample.min()), ms(sample.max()), times(sample.median(), floor)];
        table.row(&format!("{count}, {}", WISHES[*wish].0), cells);
    }
    print!(
        "\n## {} containers attached at once\n\n\
         From a container's start event, as Docker dates it, until its interface is there with its address. The containers have\n\
         the label `landline.attach=br0 …` and are started by one `docker start`. Rounds: {}, in turn (and before them one that\n\
         is not counted). A static address is looked for for 80 ms. DHCP server: dnsmasq --no-ping.\n\n{table}",
        extent.attached, extent.crowd_rounds,
    );
    Ok(())
}

/// Starts them all and says how long each waited.
fn start(lab: &Lab, number: usize, count: usize, wish: &str) -> Result<Vec<Duration>> {
    let names: Vec<String> = (number..number + count).map(|n| format!("a{n}")).collect();
    lab.at_once(&names, |host, name| {
        let n = names.iter().position(|other| other == name).unwrap_or_default();
        let label = format!("landline.attach={}", wish.replace("{}", &(FIRST + n).to_string()));
        let command =
            ["create", "--name", name, "--network", "none", "--label", &label, "box", "sleep", "infinity"];
        host.docker_ok(&command).map(drop)
    })?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let since = lab.host.check(&["date", "+%s"])?;
    lab.host.docker_ok(&[&["start"], &names[..]].concat())?;
    let log = wait_for("all attachments", LIMIT, || {
        let log = lab.daemon.log();
        names.iter().all(|name| attached(&log, name).is_some()).then_some(log)
    })
    .map_err(|error| Error::Unexpected(format!("{error}\n{}", lab.daemon.log())))?;
    let until = lab.host.check(&["date", "+%s.%N"])?;
    let format = "{{.TimeNano}} {{.Actor.Attributes.name}}";
    let events = lab.host.docker_ok(&[
        "events",
        "--since",
        since.trim(),
        "--until",
        until.trim(),
        "--filter",
        "event=start",
        "--format",
        format,
    ])?;
    let took: Vec<Duration> = events
        .lines()
        .filter_map(|line| {
            let (nanos, name) = line.split_once(' ').filter(|(_, name)| names.contains(name))?;
            let started = Duration::from_nanos(nanos.parse().ok()?);
            attached(&log, name)?.checked_sub(of_day(started))
        })
        .collect();
    lab.host.docker_ok(&[&["rm", "-f"], &names[..]].concat())?;
    if took.len() == count {
        return Ok(took);
    }
    Err(Error::Unexpected(format!("{} of {count} start events were found:\n{events}", took.len())))
}

/// When the daemon said that this container was attached, since midnight.
fn attached(log: &str, name: &str) -> Option<Duration> {
    let wanted = format!("container=\"{name}\"");
    let line = log.lines().find(|line| line.contains(" attached ") && line.contains(&wanted))?;
    // 2026-01-31T12:00:00.123456Z
    let time = line.split_whitespace().next()?.split_once('T')?.1.strip_suffix('Z')?;
    let mut parts = time.splitn(3, ':');
    let (hours, minutes): (f64, f64) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let seconds: f64 = parts.next()?.parse().ok()?;
    Some(Duration::from_secs_f64(hours * 3600.0 + minutes * 60.0 + seconds))
}

fn of_day(since_epoch: Duration) -> Duration {
    Duration::from_nanos(u64::try_from(since_epoch.as_nanos() % 86_400_000_000_000).unwrap_or_default())
}
