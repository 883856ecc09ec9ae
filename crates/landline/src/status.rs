//! `landline status`: the daemon, Docker, the networks and what is wrong with them, on one screen.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use landline_doctor::Finding;
use landline_engine::EndpointView;
use landline_kernel::boottime;
use landline_nat::NatError;
use serde::{Deserialize, Serialize};

use crate::attach::{AttachRow, RowState};
use crate::cli::StatusOptions;
use crate::control::{Answer, CallError, Context, Request, call};
use crate::doctor::{examine, without_daemon};
use crate::exit::NO_DAEMON;
use crate::health::{Check, CheckName, Health, Level, health};
use crate::ls::span;
use crate::network::NetworkRow;
use crate::output::{CommandError, show, table};

/// How everything is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The daemon; `None`: it does not run.
    pub(crate) daemon: Option<DaemonStatus>,
    /// Docker, if the daemon runs.
    pub(crate) docker: Option<DockerStatus>,
    /// The names under which Docker finds the daemon.
    pub(crate) drivers: Vec<DriverName>,
    /// All networks that Docker knows, or knew.
    pub(crate) networks: Vec<NetworkStatus>,
    /// How many interfaces are attached to containers, processes and namespaces.
    pub(crate) attachments: usize,
    /// The results of the health checks, if the daemon runs.
    #[serde(default)]
    pub(crate) health: Option<Health>,
    /// What is wrong, each with what to do about it.
    pub(crate) problems: Vec<Finding>,
}

/// A daemon that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DaemonStatus {
    /// Its version.
    version: String,
    /// Its process.
    pid: u32,
    /// How long it has run, in seconds.
    uptime_s: u64,
}

/// What the daemon sees of Docker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DockerStatus {
    /// Whether the daemon is connected to Docker's API.
    connected: bool,
    /// Docker's version, or the one it had when it was last connected.
    version: Option<String>,
}

/// A name under which Docker finds the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DriverName {
    /// The name.
    pub(crate) name: String,
    /// Whether it is that of an IPAM driver only; the others are both network and IPAM driver.
    pub(crate) ipam_only: bool,
}

/// A network, and how many endpoints it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkStatus {
    #[serde(flatten)]
    network: NetworkRow,
    /// How many endpoints it has.
    endpoints: usize,
}

/// Prints how everything is. The exit status says whether there is a problem.
pub(crate) async fn run(options: &StatusOptions) -> Result<ExitCode, CommandError> {
    let socket = &options.control.control_socket;
    let (status, code) = match call(socket, &Request::Status).await {
        Ok(Answer::Status(status)) => {
            let code = if status.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            (*status, code)
        }
        Ok(_) => return Err(CommandError::Unexpected),
        Err(CallError::Connect { source, .. }) if source.kind() != io::ErrorKind::PermissionDenied => {
            let problems = without_daemon(socket, &source, &options.config.config);
            (Status { problems, ..Status::default() }, NO_DAEMON.into())
        }
        Err(error) => return Err(error.into()),
    };
    show(&status, options.json, text)?;
    Ok(code)
}

/// The daemon's side: what there is, with everything that `landline doctor` finds.
pub(crate) async fn status(context: &Context) -> Result<Status, NatError> {
    let mut endpoints = context.parts.engine.endpoint_views().await;
    context.parts.attach.name_containers(&mut endpoints);
    status_with(context, &endpoints).await
}

/// The same, with these endpoints, that somebody has just looked at.
pub(crate) async fn status_with(context: &Context, endpoints: &[EndpointView]) -> Result<Status, NatError> {
    let Context { parts, docker, attacher, lost, around, .. } = context;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for endpoint in endpoints {
        *counts.entry(endpoint.network_id.clone()).or_default() += 1;
    }
    let networks = lost.rows().into_iter().map(|network| {
        let endpoints = counts.get(&network.network.id).copied().unwrap_or_default();
        NetworkStatus { network, endpoints }
    });
    let networks = networks.collect();
    let mut problems = Box::pin(examine(context, false)).await?.found;
    problems.extend(context.http.failure());
    problems.extend(endpoints.iter().filter_map(without_address));
    problems.extend(attacher.rows().iter().filter_map(not_attached));
    let health = health(context, endpoints).await;
    problems.extend(health.checks.iter().filter_map(unwell));
    let view = docker.borrow().clone();
    Ok(Status {
        daemon: Some(DaemonStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: boottime::now().saturating_sub(around.started).as_secs(),
        }),
        docker: Some(DockerStatus { connected: view.connected, version: view.engine.clone() }),
        drivers: around.drivers.clone(),
        networks,
        attachments: parts.attach.records().len(),
        health: Some(health),
        problems,
    })
}

/// What is wrong with an endpoint that is to have an address, and has none.
fn without_address(endpoint: &EndpointView) -> Option<Finding> {
    if !endpoint.lacks_address() {
        return None;
    }
    let name = endpoint.container.as_deref().unwrap_or(&endpoint.endpoint);
    let network = endpoint.network.as_deref().unwrap_or(&endpoint.network_id);
    let held = endpoint.held.as_ref().map(|held| format!("; {held}")).unwrap_or_default();
    let says = format!(
        "{name} has no address on network {network} ({}{held}); check that a DHCP server serves this LAN, and that \
         its pool has free addresses",
        endpoint.state
    );
    Some(Finding::new("lease", says))
}

/// What a check of the health found that nobody else says.
fn unwell(check: &Check) -> Option<Finding> {
    let reason = check.reason.clone()?;
    match check.name {
        CheckName::Store | CheckName::Starts => Some(Finding::new(check.name.as_str(), reason)),
        // The doctor says so, and which containers have no address is listed one by one.
        CheckName::Docker | CheckName::Parents | CheckName::Leases => None,
    }
}

/// What keeps an interface from a container that asked for it.
fn not_attached(row: &AttachRow) -> Option<Finding> {
    (row.state != RowState::Ended).then(|| Finding::new("attachment", row.explain()))
}

pub(crate) fn text(status: &Status) -> String {
    let mut lines = Vec::new();
    if let Some(daemon) = &status.daemon {
        let DaemonStatus { version, pid, uptime_s } = daemon;
        lines.push(format!("daemon       version {version}, up {}, process {pid}", span(*uptime_s)));
    } else {
        lines.push("daemon       not running".to_owned());
    }
    if let Some(DockerStatus { connected, version }) = &status.docker {
        let version = version.as_ref().map_or_else(|| "unknown version".into(), |v| format!("version {v}"));
        lines.push(match connected {
            true => format!("docker       {version}"),
            false => "docker       the API is unreachable".to_owned(),
        });
    }
    if let Some(health) = &status.health {
        let troubles = health.checks.iter().filter(|check| check.level != Level::Ok);
        let troubles: Vec<String> =
            troubles.map(|check| format!("{} {}", check.name.as_str(), check.level.as_str())).collect();
        let why = if troubles.is_empty() { String::new() } else { format!(" ({})", troubles.join(", ")) };
        lines.push(format!("health       {}{why}", health.level.as_str()));
        let is_problem = |why: &&str| status.problems.iter().any(|problem| problem.says == **why);
        let reasons = health.checks.iter().filter(|check| check.level != Level::Ok);
        let reasons = reasons.filter_map(|check| Some((check.name, check.reason.as_deref()?)));
        // The problems are listed below.
        let reasons = reasons.filter(|(_, why)| !is_problem(why));
        lines.extend(reasons.map(|(name, why)| format!("             {}: {why}", name.as_str())));
    }
    if !status.drivers.is_empty() {
        let name = |driver: &DriverName| {
            let only = if driver.ipam_only { " (IPAM only)" } else { "" };
            format!("{}{only}", driver.name)
        };
        lines
            .push(format!("drivers      {}", status.drivers.iter().map(name).collect::<Vec<_>>().join(", ")));
    }
    if status.attachments > 0 {
        lines.push(format!("attachments  {}", status.attachments));
    }
    let mut text = lines.join("\n");
    if !status.networks.is_empty() {
        text.push_str("\n\n");
        text.push_str(&table(["NETWORK", "MODE", "PARENT", "ENDPOINTS"], status.networks.iter().map(row)));
    }
    text.push_str("\n\n");
    match status.problems.len() {
        0 => text.push_str("no problems"),
        1 => text.push_str("1 problem:"),
        problems => {
            let _ = write!(text, "{problems} problems:");
        }
    }
    for problem in &status.problems {
        text.push_str("\n- ");
        text.push_str(&problem.says);
    }
    text
}

fn row(status: &NetworkStatus) -> [String; 4] {
    let NetworkStatus { network: NetworkRow { network, .. }, endpoints } = status;
    [
        network.name.clone().unwrap_or_else(|| network.id.chars().take(12).collect()),
        network.mode.clone(),
        network.parent.to_string(),
        endpoints.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use landline_engine::NetworkView;

    use super::*;

    fn running() -> Status {
        let network = NetworkView {
            id: "n".repeat(64),
            name: Some("lan".into()),
            mode: "bridge".into(),
            parent: "br0".parse().unwrap(),
        };
        let network = NetworkRow { network, in_docker: Some(true), removed_in_s: None };
        let driver = |name: &str, ipam_only| DriverName { name: name.into(), ipam_only };
        Status {
            daemon: Some(DaemonStatus { version: "0.1.0".into(), pid: 812, uptime_s: 11_040 }),
            docker: Some(DockerStatus { connected: true, version: Some("29.0.1".into()) }),
            drivers: vec![driver("landline", false), driver("landline-dhcp", true)],
            networks: vec![NetworkStatus { network, endpoints: 2 }],
            attachments: 0,
            health: Some(Health::default()),
            problems: Vec::new(),
        }
    }

    #[test]
    fn a_healthy_host_fits_on_one_screen() {
        let expected = "daemon       version 0.1.0, up 3h04m, process 812\n\
                        docker       version 29.0.1\n\
                        health       ok\n\
                        drivers      landline, landline-dhcp (IPAM only)\n\n\
                        NETWORK  MODE    PARENT  ENDPOINTS\n\
                        lan      bridge  br0     2\n\n\
                        no problems";
        assert_eq!(text(&running()), expected);
    }

    #[test]
    fn each_problem_has_a_line() {
        let docker = DockerStatus { connected: false, version: Some("29.0.1".into()) };
        let problems = ["br0 is down", "no DHCP server"].map(|says| Finding::new("x", says.into())).into();
        let text = text(&Status { docker: Some(docker), problems, attachments: 3, ..running() });
        assert!(text.contains("\ndocker       the API is unreachable\n"), "{text}");
        assert!(text.contains("\nattachments  3\n"), "{text}");
        assert!(text.ends_with("\n\n2 problems:\n- br0 is down\n- no DHCP server"), "{text}");
    }

    #[test]
    fn each_check_that_is_not_ok_has_its_reason_once() {
        let check = |name, level, why: &str| Check { name, level, reason: Some(why.into()) };
        let checks = vec![
            Check { name: CheckName::Docker, level: Level::Ok, reason: None },
            check(CheckName::Leases, Level::Warn, "no DHCP server renews the lease of web"),
            check(CheckName::Store, Level::Fail, "the disk is full"),
        ];
        let problems = checks.iter().filter_map(unwell).collect();
        let health = Some(Health { level: Level::Fail, checks });
        let text = text(&Status { health, problems, ..running() });
        let lines = "\nhealth       fail (leases warn, store fail)\n             leases: no DHCP server renews the lease of web\ndrivers ";
        assert!(text.contains(lines), "{text}");
        assert_eq!(text.matches("the disk is full").count(), 1, "{text}");
    }

    #[test]
    fn a_daemon_that_does_not_run_is_the_problem() {
        let problems = vec![Finding::new("daemon", "the daemon does not run".into())];
        let text = text(&Status { problems, ..Status::default() });
        assert_eq!(text, "daemon       not running\n\n1 problem:\n- the daemon does not run");
    }

    #[test]
    fn only_who_is_to_have_an_address_lacks_one() {
        let endpoint = |state: &str, address: Option<&str>| EndpointView {
            endpoint: "e".repeat(64),
            network_id: "n".repeat(64),
            network: Some("lan".into()),
            container_id: None,
            container: Some("web".into()),
            interface: "eth0".into(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            address: address.map(|address| address.parse().unwrap()),
            server: None,
            lease_left_s: None,
            lease_ends_at: None,
            lease_length_s: None,
            state: state.parse().unwrap(),
            held: None,
            naks: 0,
            conflicts: 0,
            elsewhere: None,
            ipv6: None,
        };
        for (state, address) in [("BOUND", Some("192.0.2.7/24")), ("link only", None), ("STOPPED", None)] {
            assert_eq!(without_address(&endpoint(state, address)), None, "{state}");
        }
        let found = without_address(&endpoint("SELECTING", None)).unwrap();
        assert!(
            found.says.starts_with("web has no address on network lan (SELECTING); check that"),
            "{found:?}"
        );
    }
}
