//! `landline attach`, `detach`, `pid`, `ip` and `exec`: what they ask the daemon, and print.

use std::process::ExitCode;

use landline_attach::AttachmentView;
use landline_kernel::Netns;
use landline_options::{Attach, AttachError, Pipework, Target};

use super::service::Where;
use crate::cli::{AttachOptions, ControlOptions, DetachOptions, ExecOptions, PipeworkOptions, WhereOptions};
use crate::control::{Answer, Request, call};
use crate::output::{CommandError, dash, say, show, table};

/// Why such a command did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachCommandError {
    #[error(transparent)]
    Words(#[from] AttachError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("cannot enter the network namespace of {target}")]
    Enter {
        target: Target,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot run {program}")]
    Run {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("Docker does not say which process {0} is")]
    NoProcess(Target),
    #[error("a namespace has no process of its own; ip netns pids shows those in it")]
    Namespace,
    #[error("cannot wait for the interface")]
    Wait(#[source] std::io::Error),
    #[error("the network of {target} cannot be looked at")]
    Look {
        target: Target,
        #[source]
        source: landline_kernel::NetlinkError,
    },
}

impl From<crate::control::CallError> for AttachCommandError {
    fn from(error: crate::control::CallError) -> Self {
        Self::Command(error.into())
    }
}

/// `landline attach`.
pub(crate) async fn attach(options: &AttachOptions) -> Result<(), AttachCommandError> {
    if options.list {
        let Answer::Attachments(views) = ask(&options.control, Request::Attachments).await? else {
            return Err(CommandError::Unexpected.into());
        };
        return Ok(show(&views, options.json, |views| render(views))?);
    }
    let attach = Attach::parse(&options.words())?;
    answer(options, Request::Attach { attach: Box::new(attach), dry_run: options.dry_run }).await
}

/// A table of attachments.
pub(crate) fn render(views: &[AttachmentView]) -> String {
    let header = ["CONTAINER", "INTERFACE", "PARENT", "ADDRESS", "ASKED BY", "STATE"];
    table(header, views.iter().map(row))
}

async fn answer(options: &AttachOptions, request: Request) -> Result<(), AttachCommandError> {
    match ask(&options.control, request).await? {
        Answer::Script(script) => {
            say(format_args!("{script}"));
            Ok(())
        }
        Answer::Attachments(views) => Ok(show(&views, options.json, |views| {
            views.iter().map(|view| row(view)[1..4].join(" ")).collect::<Vec<_>>().join("\n")
        })?),
        Answer::Done => Ok(()),
        _ => Err(CommandError::Unexpected.into()),
    }
}

fn row(view: &AttachmentView) -> [String; 6] {
    let leased = view.endpoint.as_ref().filter(|_| view.dhcp).and_then(|endpoint| endpoint.address);
    let mut addresses: Vec<String> = leased.iter().map(ToString::to_string).collect();
    addresses.extend(view.addresses.iter().cloned());
    let state = match (view.attached, &view.endpoint) {
        (false, _) => "waits for its container".to_owned(),
        (true, Some(endpoint)) if view.dhcp => endpoint.state.to_string(),
        (true, _) => "attached".to_owned(),
    };
    [
        view.container.clone().unwrap_or_else(|| view.target.clone()),
        view.interface.clone().unwrap_or_else(dash),
        view.parent.clone(),
        if addresses.is_empty() { dash() } else { addresses.join(",") },
        view.origin.clone(),
        state,
    ]
}

/// `landline detach`.
pub(crate) async fn detach(options: &DetachOptions) -> Result<(), AttachCommandError> {
    let request = Request::Detach { target: options.container.clone(), name: options.interface.clone() };
    match ask(&options.control, request).await? {
        Answer::Done => {
            let what = options.interface.as_ref().map_or("everything attached".into(), ToString::to_string);
            say(format_args!("detached {what} from {}", options.container));
            Ok(())
        }
        _ => Err(CommandError::Unexpected.into()),
    }
}

/// `landline pipework`.
pub(crate) async fn pipework(options: &PipeworkOptions) -> Result<(), AttachCommandError> {
    let request = match Pipework::parse(&options.words)? {
        Pipework::Wait(name) => return super::wait::wait(&name).await.map_err(AttachCommandError::Wait),
        Pipework::Attach(attach) => Request::Attach { attach: Box::new(attach), dry_run: false },
        Pipework::Change(target, change) => Request::Change { target, change },
    };
    match ask(&options.control, request).await? {
        Answer::Done | Answer::Attachments(_) => Ok(()),
        _ => Err(CommandError::Unexpected.into()),
    }
}

/// `landline pid`.
pub(crate) async fn pid(options: &WhereOptions) -> Result<(), AttachCommandError> {
    if matches!(options.container, Target::Netns(_)) {
        return Err(AttachCommandError::Namespace);
    }
    let found = locate(&options.control, &options.container).await?;
    let pid = found.pid.ok_or_else(|| AttachCommandError::NoProcess(options.container.clone()))?;
    Ok(show(&pid, false, ToString::to_string)?)
}

/// `landline ip`: the addresses of all its interfaces but the loopback one, a line each.
pub(crate) async fn ip(options: &WhereOptions) -> Result<(), AttachCommandError> {
    let target = &options.container;
    let netns = enter(&options.control, target).await?;
    let mut netlink = landline_kernel::Netlink::open_in(&netns)
        .map_err(|source| AttachCommandError::Enter { target: target.clone(), source })?;
    let look = |source| AttachCommandError::Look { target: target.clone(), source };
    let links = netlink.links().map_err(look)?;
    let addresses = netlink.addresses().map_err(look)?;
    let loopback = |index: u32| links.iter().any(|link| link.index == index && link.loopback);
    // 253: valid on the link only.
    let shown: Vec<String> = addresses
        .iter()
        .filter(|address| !loopback(address.index) && address.scope < 253)
        .map(|address| address.net.addr().to_string())
        .collect();
    Ok(show(&shown, options.json, |shown| shown.join("\n"))?)
}

/// `landline exec`: a program of this host in the container's network.
pub(crate) async fn exec(options: &ExecOptions) -> Result<ExitCode, AttachCommandError> {
    let netns = enter(&options.control, &options.container).await?;
    let Some((program, arguments)) = options.command.split_first() else { return Ok(ExitCode::SUCCESS) };
    let (target, program, arguments) = (options.container.clone(), program.clone(), arguments.to_vec());
    landline_links::blocking(move || {
        // What a thread starts is where the thread is.
        let status = netns.run(|| std::process::Command::new(&program).args(&arguments).status());
        let status = status.map_err(|source| AttachCommandError::Enter { target, source })?;
        let status = status.map_err(|source| AttachCommandError::Run { program, source })?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
    })
    .await
}

async fn enter(control: &ControlOptions, target: &Target) -> Result<Netns, AttachCommandError> {
    let found = locate(control, target).await?;
    Netns::open(&found.sandbox).map_err(|source| AttachCommandError::Enter { target: target.clone(), source })
}

async fn locate(control: &ControlOptions, target: &Target) -> Result<Where, AttachCommandError> {
    match ask(control, Request::Where { target: target.clone() }).await? {
        Answer::Where(found) => Ok(found),
        _ => Err(CommandError::Unexpected.into()),
    }
}

async fn ask(control: &ControlOptions, request: Request) -> Result<Answer, AttachCommandError> {
    Ok(call(&control.control_socket, &request).await?)
}
