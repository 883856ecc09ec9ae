//! `landline doctor`: what keeps containers from being reached, and what to do about it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use landline_attach::Origin;
use landline_doctor::{Finding, Report};
use landline_links::{blocking, facts_of};
use landline_nat::NatError;
use landline_types::{IfName, chain};

use crate::alike::{self, Alike};
use crate::attach::read_config;
use crate::cli::DoctorOptions;
use crate::connections::DroppedConnection;
use crate::control::{Answer, CallError, Context, Request, call};
use crate::output::{CommandError, show};
use crate::parts::Parts;
use crate::status::DriverName;

/// Looks, mends or takes back. It fails if something is wrong.
pub(crate) async fn run(options: &DoctorOptions) -> Result<ExitCode, CommandError> {
    let DoctorOptions { control, config, fix, undo, json } = options;
    let socket = &control.control_socket;
    if *undo {
        let Answer::Undone(undone) = call(socket, &Request::DoctorUndo).await? else {
            return Err(CommandError::Unexpected);
        };
        let text = if undone {
            "undone: everything that landline doctor --fix had changed"
        } else {
            "nothing to undo"
        };
        show(&undone, *json, |_| text.into())?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = match call(socket, &Request::Doctor { fix: *fix }).await {
        Ok(Answer::Doctor(report)) => report,
        Ok(_) => return Err(CommandError::Unexpected),
        // That the daemon does not run is the first thing to be found.
        Err(CallError::Connect { source, .. }) if source.kind() != io::ErrorKind::PermissionDenied => {
            Report { found: without_daemon(socket, &source, &config.config), ..Report::default() }
        }
        Err(error) => return Err(error.into()),
    };
    show(&report, *json, text)?;
    Ok(if report.found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What keeps a daemon from running that does not answer.
pub(crate) fn without_daemon(socket: &Path, error: &io::Error, config: &Path) -> Vec<Finding> {
    let file = read_config(config).err().map(|error| {
        let says = format!("the daemon does not start with its configuration: {}", chain(&error));
        Finding::new("config", says)
    });
    let away = Finding::new(
        "daemon",
        format!(
            "the daemon does not run: nothing answers at {} ({error}); start it with systemctl start landline, and if it does \
             not stay, journalctl -u landline says why; meanwhile containers keep their addresses until their leases end, \
             and none can be started",
            socket.display()
        ),
    );
    file.into_iter().chain([away]).collect()
}

pub(crate) fn text(report: &Report) -> String {
    let fixed = report.fixed.iter().map(|finding| format!("fixed: {}", finding.says));
    let mut lines: Vec<String> =
        fixed.chain(report.found.iter().map(|finding| finding.says.clone())).collect();
    if !report.fixed.is_empty() {
        lines.push("landline doctor --undo takes back what was fixed".into());
    }
    if report.found.is_empty() {
        lines.push("no trouble found".into());
    }
    lines.extend(report.advice.iter().map(|finding| format!("note: {}", finding.says)));
    lines.join("\n")
}

/// What the daemon looks at beside the engine's own: the way from Docker to it and back.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// Where Docker looks for its plugins.
    pub(crate) sockets: Vec<PathBuf>,
    /// The names under which it finds them.
    pub(crate) drivers: Vec<DriverName>,
    /// When the daemon started (`CLOCK_BOOTTIME`).
    pub(crate) started: Duration,
    /// Where the state is.
    pub(crate) state_dir: PathBuf,
}

/// Looks, and mends what can be.
pub(crate) async fn examine(context: &Context, fix: bool) -> Result<Report, NatError> {
    let Context { parts, docker, attacher, around, .. } = context;
    let view = docker.borrow().clone();
    let mut report = if fix {
        parts.doctor.fix().await?
    } else {
        Report { found: parts.doctor.look().await, ..Report::default() }
    };
    report.advice = alike::look(parts, &view).iter().flat_map(Alike::findings).collect();
    report.advice.extend(tagged(parts).await);
    // Nobody misses it where there are attachments to other things only.
    let docker =
        view.connected || (parts.engine.network_views().is_empty() && !parts.attach.views().await.is_empty());
    let broken = attacher.broken_config().map(|error| {
        let says = format!(
            "the daemon goes on with its old configuration, because it could not read the new one: {error}"
        );
        Finding::new("config", says)
    });
    report.found.splice(0..0, around.look(docker).into_iter().chain(broken));
    report.found.extend(parts.connections.dropped().iter().map(DroppedConnection::finding));
    Ok(report)
}

/// Containers that reach VLANs which nobody allowed them.
async fn tagged(parts: &Parts) -> Vec<Finding> {
    let mut asked: BTreeMap<IfName, BTreeSet<String>> = BTreeMap::new();
    for record in parts.attach.records() {
        if let (Origin::Container(_), Some(network), Some(container)) =
            (record.origin, record.network, record.container)
            && facts_of(network.mode).is_lan_bridge()
            && network.vlan.is_none()
        {
            asked.entry(network.parent).or_default().insert(container.name);
        }
    }
    if asked.is_empty() {
        return Vec::new();
    }
    let host = parts.shared.host.clone();
    // What cannot be listed is found elsewhere.
    blocking(move || host.links())
        .await
        .map_or_else(|_| Vec::new(), |links| landline_doctor::tagged(&asked, &links))
}

impl Surroundings {
    fn look(&self, docker: bool) -> Vec<Finding> {
        let lost = self.sockets.iter().filter(|path| !is_socket(path)).map(|path| {
            let says = format!(
                "Docker does not find the network driver, because its socket {} is gone; restart the daemon \
                 (systemctl restart landline.socket landline)",
                path.display()
            );
            Finding::new("plugin-socket", says)
        });
        let away = (!docker).then(|| {
            let says = "Docker's API does not answer, so changes of containers are not seen; see whether Docker runs \
                        (systemctl status docker) and whether the daemon has the right --docker-host";
            Finding::new("docker", says.into())
        });
        lost.chain(away).collect()
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}
