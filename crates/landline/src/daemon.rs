//! `landline daemon`: everything wired together.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixListener as StdUnixListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use landline_docker::Watcher;
use landline_engine::{Engine, HostError, LinuxHost, OpenError};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::attach::{Attacher, DropIn, SettingsError};
use crate::cli::DaemonOptions;
use crate::control;
use crate::doctor::Surroundings;
use crate::frontend::Frontend;
use crate::host_access;
use crate::preset::Preset;

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    #[error("{0:?} is not a log level; use error, warn, info, debug or trace")]
    LogLevel(String),
    #[error("cannot make the directory {path}")]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot listen on {path}")]
    Listen {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another Landline daemon already listens on {0}")]
    Running(PathBuf),
    #[error("another Landline daemon looks after this host's network already")]
    NotAlone,
    #[error("cannot make sure that no other Landline daemon runs")]
    Alone(#[source] io::Error),
    #[error("cannot use the host's network; Landline needs root (CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN)")]
    Host(#[source] HostError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("cannot watch Docker at {url:?}")]
    DockerHost {
        url: String,
        #[source]
        source: landline_docker::WatcherError,
    },
    #[error("cannot wait for signals")]
    Signal(#[source] io::Error),
}

/// Runs until SIGTERM or SIGINT. Nobody's lease is released at the end.
pub(crate) async fn run(options: DaemonOptions) -> Result<(), DaemonError> {
    serve(options, None).await
}

/// As [`run`], in the place of the docker-pipework container: what it asks of Docker is that, and it is no driver.
pub(crate) async fn run_drop_in(mut options: DaemonOptions, drop_in: DropIn) -> Result<(), DaemonError> {
    options.log_level = drop_in.debug.then(|| "debug".into());
    serve(options, Some(drop_in)).await
}

async fn serve(options: DaemonOptions, drop_in: Option<DropIn>) -> Result<(), DaemonError> {
    start_log(options.log_level.as_deref(), options.log_json)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Signal)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(DaemonError::Signal)?;
    // Everything made from here on is for root alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    make_directory(&options.state_dir, 0o700)?;

    let _alone = only_daemon()?;
    let host = Arc::new(LinuxHost::open().map_err(DaemonError::Host)?);
    let control_path = options.control.control_socket;
    let control = listen(&control_path, 0o700).await?;
    let engine = Engine::open(&options.state_dir, host).await?;
    let watcher = Watcher::new(&options.docker_host).map_err(|source| DaemonError::DockerHost {
        url: options.docker_host.chars().take(64).collect(),
        source,
    })?;
    let view = watcher.view();
    let name = options.plugin_socket.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let names: Arc<[Preset]> = [Preset::plain(&name)].into_iter().chain(options.driver).collect();
    let ipam_names = options.ipam_name.iter().map(|name| name.as_str().to_owned()).collect();
    let config = options.config.config.clone();
    let driver = drop_in.is_none();
    let attacher = Arc::new(match drop_in {
        Some(drop_in) => Attacher::drop_in(engine.clone(), view.clone(), drop_in),
        None => Attacher::new(engine.clone(), view.clone(), config)?,
    });
    let frontends = Frontend::under(&names, &ipam_names, &engine, &view, &attacher.config());
    let (plugin, handed_over) = match inherited(&options.plugin_socket)? {
        _ if !driver => (None, true),
        Some(listener) => (Some(listener), true),
        None => (Some(listen(&options.plugin_socket, 0o755).await?), false),
    };
    let beside = |preset: &Preset| options.plugin_socket.with_file_name(format!("{}.sock", preset.name));
    let more_sockets: Vec<PathBuf> = names.iter().skip(1).map(beside).collect();
    let mut plugins: Vec<UnixListener> = plugin.into_iter().collect();
    for socket in &more_sockets {
        plugins.push(listen(socket, 0o755).await?);
    }

    let mut further = Vec::new();
    for name in &options.ipam_name {
        let path = options.plugin_socket.with_file_name(format!("{}.sock", name.as_str()));
        further.push((listen(&path, 0o755).await?, path));
    }

    let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
    let around = Surroundings {
        sockets: if driver {
            [&options.plugin_socket].into_iter().chain(&more_sockets).cloned().collect()
        } else {
            Vec::new()
        },
    };
    let serving = control::serve(control, engine.clone(), view, attacher.clone(), around, cancel.clone());
    tasks.spawn(serving);
    tasks.spawn(attacher.clone().follow(cancel.clone()));
    tasks.spawn(host_access::declare(engine.clone(), attacher.config(), cancel.clone()));
    if let Some(first) = frontends.first() {
        tasks.spawn(first.clone().follow(cancel.clone()));
    }
    tasks.spawn(watcher.run(cancel.clone()));
    let mut sockets = more_sockets;
    for (listener, path) in further {
        let Some(first) = frontends.first() else { break };
        tasks.spawn(landline_docker::serve_ipam(listener, first.clone(), cancel.clone()));
        sockets.push(path);
    }
    for (plugin, frontend) in plugins.into_iter().zip(frontends) {
        tasks.spawn(landline_docker::serve(plugin, frontend, cancel.clone()));
    }
    tasks.close();
    tell_systemd(&[sd_notify::NotifyState::Ready]);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), plugin = %options.plugin_socket.display(), "ready");

    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => if let Err(error) = attacher.reload() {
                tracing::error!(error = %landline_engine::chain(&error), "the configuration stays as it was");
            },
        }
    }
    tracing::info!("stopping; leases stay with their containers");
    tell_systemd(&[sd_notify::NotifyState::Stopping]);
    cancel.cancel();
    tasks.wait().await;
    engine.shutdown().await;
    // Gone already is as good. What the service manager made stays its own.
    let _ = std::fs::remove_file(&control_path);
    if !handed_over {
        sockets.push(options.plugin_socket);
    }
    for path in sockets {
        let _ = std::fs::remove_file(&path);
    }
    Ok(())
}

/// Log lines begin with the time where `TZ` says.
struct LocalTime;

impl FormatTime for LocalTime {
    fn format_time(&self, line: &mut Writer<'_>) -> std::fmt::Result {
        let now = landline_kernel::local_time(std::time::SystemTime::now()).map_err(|_| std::fmt::Error)?;
        line.write_str(&now)
    }
}

/// Logs to standard error with the time of day of `TZ`, at the level `LOG_LEVEL` names, or all of it.
pub(crate) fn start_local_log(debug: bool) -> Result<(), DaemonError> {
    let filter = log_filter(debug.then_some("debug"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    log.log_internal_errors(false).with_ansi(false).with_timer(LocalTime).init();
    Ok(())
}

fn log_filter(level: Option<&str>) -> Result<EnvFilter, DaemonError> {
    let from_env = || std::env::var("LOG_LEVEL").ok();
    let level = level.filter(|l| !l.is_empty()).map(str::to_owned).or_else(from_env);
    let level = level.filter(|l| !l.is_empty()).unwrap_or_else(|| "info".into());
    EnvFilter::try_new(&level).map_err(|_| DaemonError::LogLevel(level.chars().take(64).collect()))
}

/// Logs to standard error, at this level or the one `LOG_LEVEL` names.
pub(crate) fn start_log(level: Option<&str>, json: bool) -> Result<(), DaemonError> {
    let filter = log_filter(level)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Whoever read it may be gone: complaints about that to the same place would be the end.
    let log = log.log_internal_errors(false);
    if json {
        log.json().init();
    } else {
        log.with_ansi(false).init();
    }
    Ok(())
}

/// Readiness is a courtesy: without systemd there is nobody to tell.
fn tell_systemd(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

fn make_directory(path: &Path, mode: u32) -> Result<(), DaemonError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| DaemonError::Directory { path: path.into(), source })
}

/// Holds the place of the one daemon of this network namespace: two would take each other's links for strays.
/// Abstract names are per namespace (unix(7)) and go with the process.
fn only_daemon() -> Result<StdUnixListener, DaemonError> {
    let address = SocketAddr::from_abstract_name("landline").map_err(DaemonError::Alone)?;
    StdUnixListener::bind_addr(&address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => DaemonError::NotAlone,
        _ => DaemonError::Alone(error),
    })
}

/// The plugin socket, if the service manager listens on it for us.
fn inherited(path: &Path) -> Result<Option<UnixListener>, DaemonError> {
    let failed = |source| DaemonError::Listen { path: path.into(), source };
    for listener in landline_kernel::inherited_listeners().map_err(failed)? {
        let address = listener.local_addr().map_err(failed)?;
        if address.as_pathname().and_then(Path::file_name) == path.file_name() {
            listener.set_nonblocking(true).map_err(failed)?;
            return UnixListener::from_std(listener).map(Some).map_err(failed);
        }
        tracing::warn!(?address, "a socket was handed over that is not the plugin socket");
    }
    Ok(None)
}

/// A listening socket that only root can use. What a dead daemon left there is replaced; a living one is not.
async fn listen(path: &Path, directory_mode: u32) -> Result<UnixListener, DaemonError> {
    if let Some(directory) = path.parent() {
        make_directory(directory, directory_mode)?;
    }
    let failed = |source| DaemonError::Listen { path: path.into(), source };
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            if tokio::net::UnixStream::connect(path).await.is_ok() {
                return Err(DaemonError::Running(path.into()));
            }
            std::fs::remove_file(path).map_err(failed)?;
        }
        Ok(_) => return Err(failed(io::Error::other("something else is there"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}
