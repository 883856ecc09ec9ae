use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use landline_engine::Ipv6View;
use landline_leases::Meters;
use landline_types::Timings;

use super::*;
use crate::health::{Check, CheckName, Level};

fn endpoint(number: usize, container: Option<&str>) -> EndpointView {
    EndpointView {
        endpoint: format!("{number:064x}"),
        network_id: "n".repeat(64),
        network: Some("lan".into()),
        container_id: None,
        container: container.map(str::to_owned),
        interface: "eth0".into(),
        mac: "02:00:00:00:00:01".parse().unwrap(),
        address: Some("192.0.2.7/24".parse().unwrap()),
        elsewhere: None,
        server: Some([192, 0, 2, 1].into()),
        lease_left_s: Some(600),
        lease_ends_at: Some(1_800_000_000),
        lease_length_s: None,
        state: "BOUND".parse().unwrap(),
        held: None,
        naks: 0,
        conflicts: 0,
        ipv6: Some(Ipv6View {
            addresses: Vec::new(),
            link_local: None,
            routers: Vec::new(),
            dns: Vec::new(),
            search: Vec::new(),
            lease_left_s: None,
            lease_ends_at: None,
            state: "SOLICITING".into(),
            conflicts: 0,
        }),
    }
}

fn scrape(endpoints: Vec<EndpointView>) -> Scrape {
    let timings = Timings::default();
    timings.add(Duration::from_millis(7));
    let meters = Meters::default();
    Scrape {
        health: Health {
            level: Level::Fail,
            checks: vec![
                Check { name: CheckName::Store, level: Level::Fail, reason: Some("full".into()) },
                Check { name: CheckName::Docker, level: Level::Ok, reason: None },
            ],
        },
        endpoints,
        networks: BTreeMap::from([("lan".to_owned(), "bridge".to_owned())]),
        meters: vec![
            ("lan".into(), meters.network(&"n".repeat(64).parse().unwrap())),
            // Docker may have two of one name.
            ("lan".into(), meters.network(&"m".repeat(64).parse().unwrap())),
        ],
        docker: vec![("NetworkDriver.Join", timings.read())],
        commits: 42,
        reconciled: vec![("recovered", 3)],
        nat: BTreeMap::from([("ready", 1)]),
        host_access: BTreeMap::from([("ready", 0)]),
    }
}

/// The value of the series of this name with all these labels.
fn value(text: &str, name: &str, labels: &[&str]) -> Option<String> {
    let mut found = text.lines().filter(|line| {
        line.split(['{', ' ']).next() == Some(name) && labels.iter().all(|label| line.contains(label))
    });
    let line = found.next()?;
    assert_eq!(found.next(), None, "two of them");
    line.rsplit_once(' ').map(|(_, value)| value.to_owned())
}

#[test]
fn each_interface_and_each_count_is_a_series() {
    let text = scrape(vec![endpoint(1, Some("web")), endpoint(2, None)]).text();
    let get =
        |name: &str, labels: &[&str]| value(&text, name, labels).unwrap_or_else(|| panic!("{name}: {text}"));
    assert_eq!(get("landline_health", &["check=\"store\""]), "2.0");
    assert_eq!(get("landline_health", &["check=\"docker\""]), "0.0");
    let web = ["network=\"lan\"", "container=\"web\"", "interface=\"eth0\"", "family=\"ipv4\""];
    assert_eq!(get("landline_lease_expires_timestamp_seconds", &web), "1800000000.0");
    assert_eq!(get("landline_lease_state", &[&web[..], &["state=\"BOUND\""]].concat()), "1.0");
    assert_eq!(get("landline_lease_state", &["container=\"web\"", "state=\"SOLICITING\"", "ipv6"]), "1.0");
    // Who has no name is called by its id.
    assert_eq!(
        get("landline_lease_expires_timestamp_seconds", &["container=\"000000000000\""]),
        "1800000000.0"
    );
    assert_eq!(get("landline_endpoints", &["network=\"lan\""]), "2.0");
    assert_eq!(get("landline_store_commits_total", &[]), "42");
    assert_eq!(get("landline_reconcile_total", &["result=\"recovered\""]), "3");
    assert_eq!(get("landline_docker_request_seconds_bucket", &["le=\"0.01\""]), "1");
    assert_eq!(get("landline_docker_request_seconds_bucket", &["le=\"+Inf\""]), "1");
    assert_eq!(get("landline_nat_addresses", &["state=\"ready\""]), "1.0");
    assert_eq!(get("landline_conflicts_total", &["family=\"ipv6\""]), "0");
    assert_eq!(get("landline_build_info", &["version=\"0.1.0\""]), "1.0");
}

#[test]
fn no_series_is_there_twice_and_no_name_breaks_a_line() {
    let evil = "x\"} 1\nlandline_health{check=\"all\\";
    let text = scrape(vec![endpoint(1, Some(evil)), endpoint(2, Some(evil))]).text();
    let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let mut keys: Vec<&str> = series.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all, "{text}");
    assert!(series.iter().all(|line| line.starts_with("landline_")), "{text}");
    assert!(value(&text, "landline_health", &["all"]).is_none(), "{text}");
}

#[test]
fn names_cannot_write_on_a_terminal() {
    let evil = "we\u{1b}[2Jb";
    let mut scrape = scrape(vec![EndpointView { network: Some(evil.into()), ..endpoint(1, Some(evil)) }]);
    scrape.networks.insert(evil.into(), "bridge".into());
    scrape.meters[0].0 = evil.into();
    let text = scrape.text();
    assert!(!text.contains('\u{1b}') && text.contains("2Jb"), "{text}");
    // All metrics call the network the same.
    let networks: std::collections::BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split_once("network=\"")?.1.split_once('"'))
        .map(|(name, _)| name)
        .filter(|name| name.contains("2Jb"))
        .collect();
    assert_eq!(networks.len(), 1, "{networks:?}");
}

/// Needs `promtool` of Debian's package prometheus.
#[test]
fn prometheus_finds_nothing_wrong_with_the_text() {
    let text = scrape(vec![endpoint(1, Some("we\"b\n\\")), endpoint(2, None)]).text();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of Debian's package prometheus");
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let problems = [said.stdout, said.stderr].concat();
    assert!(said.status.success() && problems.is_empty(), "{}\n{text}", String::from_utf8_lossy(&problems));
}

fn packaging(file: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(file)
}

/// Needs `promtool`, too.
#[test]
fn the_alerts_are_raised_when_they_should_be() {
    for (does, file) in
        [("check", "prometheus/landline.rules.yml"), ("test", "prometheus/landline.rules.test.yml")]
    {
        let said = Command::new("promtool").args([does, "rules"]).arg(packaging(file)).output();
        let said = said.expect("promtool, of Debian's package prometheus");
        let text = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
        assert!(said.status.success(), "{text}");
    }
}

#[test]
fn alerts_and_dashboard_name_metrics_and_labels_that_there_are() {
    let mut scrape = scrape(vec![endpoint(1, Some("web"))]);
    let meters = Meters::default();
    let meter = meters.network(&"n".repeat(64).parse().unwrap());
    scrape.meters = vec![("lan".into(), meter)];
    let text = scrape.text();
    let dashboard = std::fs::read_to_string(packaging("grafana/landline.json")).unwrap();
    let _: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let rules = std::fs::read_to_string(packaging("prometheus/landline.rules.yml")).unwrap();
    let mut named = std::collections::BTreeSet::new();
    for file in [&dashboard, &rules] {
        let words = file.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        named.extend(words.filter(|word| word.starts_with("landline_")).map(str::to_owned));
    }
    assert!(named.len() > 10, "{named:?}");
    let declared = |name: &str| {
        let name = name.trim_end_matches("_bucket");
        text.contains(&format!("# TYPE {name} "))
    };
    let unknown: Vec<_> = named.iter().filter(|name| !declared(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} of\n{text}");
}

/// Prints how long it takes to write down a thousand interfaces; what is too long is for a reader to say.
#[test]
fn a_thousand_interfaces_are_written_down() {
    let names: Vec<String> = (0..1000).map(|number| format!("web{number}")).collect();
    let endpoints = names.iter().enumerate().map(|(number, name)| endpoint(number, Some(name))).collect();
    let scrape = scrape(endpoints);
    let started = Instant::now();
    let text = scrape.text();
    crate::output::say(format_args!("{} bytes for 1000 interfaces in {:?}", text.len(), started.elapsed()));
    assert_eq!(text.lines().filter(|line| line.starts_with("landline_lease_state{")).count(), 2000);
}
