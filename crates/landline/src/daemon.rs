//! `landline daemon`: everything wired together.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use landline_docker::Watcher;
use landline_kernel::Inherited;
use landline_kernel::boottime::Alarm;
use landline_leases::{Foundation, OpenError};
use landline_links::{HostError, LinuxHost, blocking};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alone::{self, AloneError};
use crate::attach::{Attacher, DropIn, SettingsError, read_config};
use crate::bridge;
use crate::cli::{DaemonOptions, PluginName};
use crate::control;
use crate::doctor::Surroundings;
use crate::events;
use crate::frontend::{Frontend, lan_ipam_name, longest_request};
use crate::host_access;
use crate::http;
use crate::identity::{Site, SiteError};
use crate::log::{self, LevelError};
use crate::network::Lost;
use crate::parts::Parts;
use crate::preset::Preset;
use crate::starts;
use crate::status::DriverName;
use crate::watchdog;

/// How long `iptables` and `nft` may take to end when the daemon stops; they wait 5 s for each other's lock.
const HELPERS: Duration = Duration::from_secs(10);

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    #[error(transparent)]
    LogLevel(#[from] LevelError),
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
    #[error(transparent)]
    Alone(#[from] AloneError),
    #[error("cannot use the host's network; Landline needs root (CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN)")]
    Host(#[source] HostError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error("cannot watch Docker at {url:?}")]
    DockerHost {
        url: String,
        #[source]
        source: landline_docker::WatcherError,
    },
    #[error("cannot set timers")]
    Timer(#[source] io::Error),
    #[error("cannot wait for signals")]
    Signal(#[source] io::Error),
}

impl DaemonError {
    /// What to exit with. `EX_CONFIG` (sysexits.h): another start with the same words and files ends the same way, and the
    /// service manager need not try.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::LogLevel(_) | Self::Settings(_) | Self::DockerHost { .. } | Self::Site(_) => 78,
            _ => 1,
        }
    }
}

/// Runs until SIGTERM or SIGINT. Nobody's lease is released at the end.
pub(crate) async fn run(options: DaemonOptions, inherited: Inherited) -> Result<(), DaemonError> {
    serve(options, None, inherited).await
}

/// As [`run`], in the place of the docker-pipework container: what it asks of Docker is that, and it is no driver.
pub(crate) async fn run_drop_in(mut options: DaemonOptions, drop_in: DropIn) -> Result<(), DaemonError> {
    options.log_level = drop_in.debug.then(|| "debug".into());
    serve(options, Some(drop_in), Inherited::default()).await
}

async fn serve(
    options: DaemonOptions,
    drop_in: Option<DropIn>,
    inherited: Inherited,
) -> Result<(), DaemonError> {
    log::start(options.log_level.as_deref(), options.log_json)?;
    let started = landline_kernel::boottime::now();
    // What a user may have written wrong, before anything is changed.
    let config = match &drop_in {
        Some(_) => None,
        None => Some(read_config(&options.config.config)?),
    };
    let watcher = Watcher::new(&options.docker_host).map_err(|source| DaemonError::DockerHost {
        url: options.docker_host.chars().take(64).collect(),
        source,
    })?;
    if let Err(error) = landline_kernel::raise_descriptor_limit() {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Signal)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(DaemonError::Signal)?;
    // Everything made from here on is for root alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    make_directory(&options.state_dir, 0o700)?;

    make_directory(Path::new(alone::DIRECTORY), 0o700)?;
    let store = Foundation::store_in(&options.state_dir);
    let _alone = alone::alone(Path::new(alone::DIRECTORY), &store, alone::PATIENCE).await?;
    let host = Arc::new(LinuxHost::open().map_err(DaemonError::Host)?);
    let control_path = options.control.control_socket;
    let control = listen(&control_path, 0o700).await?;
    // Before anything is taken up that would have to be left again.
    let site = Site::open(&options.state_dir)?;
    let parts = Parts::start(&options.state_dir, host).await?;
    let engine = parts.engine.clone();
    let view = watcher.view();
    let name = options.plugin_socket.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let names: Arc<[Preset]> = [Preset::plain(&name)].into_iter().chain(options.driver).collect();
    let ipam_names = options.ipam_name.iter().map(|name| name.as_str().to_owned()).collect();
    let driver = drop_in.is_none();
    let config_path = options.config.config.clone();
    let attacher = Arc::new(match (drop_in, config) {
        (Some(drop_in), _) => Attacher::drop_in(parts.attach.clone(), view.clone(), drop_in),
        (None, config) => {
            Attacher::new(parts.attach.clone(), view.clone(), config.unwrap_or_default(), config_path)
        }
    });
    let frontends = Frontend::under(&names, &ipam_names, &parts, &view, &attacher.config(), &watcher);
    let lan_ipam_name = lan_ipam_name(&names);
    let lan_ipam = options.plugin_socket.with_file_name(format!("{lan_ipam_name}.sock"));
    // Those that are made here are removed at the end.
    let mut sockets = Vec::new();
    let (mut plugins, mut further) = (Vec::new(), Vec::new());
    let mut handed_over = handed_over(inherited, &[&options.plugin_socket, &lan_ipam])?;
    let given = [&options.plugin_socket, &lan_ipam].map(|path| handed_over.remove(path));
    for (path, given) in [&options.plugin_socket, &lan_ipam].into_iter().zip(given) {
        let listener = match given {
            _ if !driver => continue,
            Some(listener) => listener,
            None => {
                sockets.push(path.clone());
                listen(path, 0o755).await?
            }
        };
        let own = if *path == lan_ipam { &mut further } else { &mut plugins };
        own.push(listener);
    }
    let beside = |preset: &Preset| options.plugin_socket.with_file_name(format!("{}.sock", preset.name));
    let more_sockets: Vec<PathBuf> = names.iter().skip(1).map(beside).collect();
    for socket in &more_sockets {
        plugins.push(listen(socket, 0o755).await?);
    }
    sockets.extend(more_sockets.iter().cloned());
    let from_lan = further.into_iter().zip(frontends.first().map(Frontend::from_lan));
    let mut further: Vec<(UnixListener, Arc<Frontend>)> = from_lan.collect();
    for name in options.ipam_name.iter().filter(|name| name.as_str() != lan_ipam_name) {
        let path = options.plugin_socket.with_file_name(format!("{}.sock", name.as_str()));
        let listener = listen(&path, 0o755).await?;
        further.extend(frontends.first().map(|frontend| (listener, frontend.clone())));
        sockets.push(path);
    }

    let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
    // What is asked of the driver is finished while all the rest is still there.
    let (stopping, requests) = (CancellationToken::new(), TaskTracker::new());
    let around = Surroundings {
        sockets: if driver {
            [&options.plugin_socket].into_iter().chain(&more_sockets).cloned().collect()
        } else {
            Vec::new()
        },
        drivers: if driver { driver_names(&names, &lan_ipam_name, &options.ipam_name) } else { Vec::new() },
        started,
        state_dir: options.state_dir.clone(),
    };
    let alarm = Alarm::start().map_err(DaemonError::Timer)?;
    tasks.spawn(starts::follow(
        parts.refused_starts.clone(),
        view.clone(),
        options.docker_host.clone(),
        stopping.clone(),
    ));
    if driver {
        let (view, docker) = (view.clone(), options.docker_host.clone());
        let connections = parts.connections.clone();
        tasks.spawn(connections.follow(parts.clone(), view, watcher.doubts(), docker, stopping.clone()));
    }
    let lost = Lost::new(engine.clone(), view.clone(), options.docker_host, options.network_grace);
    tasks.spawn(lost.clone().follow(alarm, cancel.clone()));
    // Before the first request of Docker's.
    site.declare(&parts, &attacher.config().borrow());
    let follow_site = site.clone().follow(parts.clone(), attacher.config(), cancel.clone());
    let context = control::Context {
        parts: parts.clone(),
        docker: view,
        attacher: attacher.clone(),
        lost,
        site,
        around,
        http: http::Shared::default(),
    };
    let context = Arc::new(context);
    tasks.spawn(control::serve(control, context.clone(), cancel.clone()));
    tasks.spawn(events::follow_docker(context.clone(), cancel.clone()));
    tasks.spawn(http::follow(context, attacher.config(), cancel.clone()));
    tasks.spawn(control::follow_group(control_path.clone(), attacher.config(), cancel.clone()));
    tasks.spawn(follow_site);
    tasks.spawn(attacher.clone().follow(cancel.clone()));
    tasks.spawn(host_access::declare(parts.host_access.clone(), attacher.config(), cancel.clone()));
    if let Some(first) = frontends.first() {
        tasks.spawn(first.clone().follow(cancel.clone()));
    }
    tasks.spawn(watcher.run(cancel.clone()));
    tasks.spawn(bridge::follow_guards(cancel.clone()));
    tasks.spawn(watchdog::follow(engine.clone(), cancel.clone()));
    tasks.spawn(cancel.clone().run_until_cancelled_owned(bridge::sweep_left_over()));
    for (listener, frontend) in further {
        requests.spawn(landline_docker::serve_ipam(listener, frontend, stopping.clone()));
    }
    for (plugin, frontend) in plugins.into_iter().zip(frontends) {
        requests.spawn(landline_docker::serve(plugin, frontend, stopping.clone()));
    }
    tasks.close();
    requests.close();
    tell_systemd(&[sd_notify::NotifyState::Ready]);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), plugin = %options.plugin_socket.display(), "ready");

    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => if let Err(error) = attacher.reload() {
                tracing::error!(error = %landline_types::chain(&error), "the configuration stays as it was");
            },
        }
    }
    tracing::info!("stopping; leases stay with their containers");
    let longest = u32::try_from(longest_request(&engine).as_micros()).unwrap_or(u32::MAX);
    tell_systemd(&[sd_notify::NotifyState::Stopping, sd_notify::NotifyState::ExtendTimeoutUsec(longest)]);
    stopping.cancel();
    tokio::select! {
        () = requests.wait() => {}
        // Whoever says so twice does not want to wait.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    cancel.cancel();
    tasks.wait().await;
    engine.shutdown().await;
    let left = blocking(|| landline_kernel::finish_helpers(HELPERS)).await;
    if left > 0 {
        tracing::warn!(left, "programs that change the host's packet filter still run");
    }
    // Gone already is as good. What the service manager made stays its own.
    let _ = std::fs::remove_file(&control_path);
    for path in sockets {
        let _ = std::fs::remove_file(&path);
    }
    Ok(())
}

/// Under which names Docker finds what.
fn driver_names(names: &[Preset], lan_ipam: &str, ipam: &[PluginName]) -> Vec<DriverName> {
    let ipam = ipam.iter().map(PluginName::as_str).filter(|name| *name != lan_ipam);
    let ipam = std::iter::once(lan_ipam).chain(ipam);
    let networks = names.iter().map(|preset| DriverName { name: preset.name.clone(), ipam_only: false });
    networks.chain(ipam.map(|name| DriverName { name: name.to_owned(), ipam_only: true })).collect()
}

/// Readiness is a courtesy: without systemd there is nobody to tell.
pub(crate) fn tell_systemd(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

fn make_directory(path: &Path, mode: u32) -> Result<(), DaemonError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| DaemonError::Directory { path: path.into(), source })
}

/// Those of the sockets on which the service manager listens for us.
fn handed_over(
    inherited: Inherited,
    paths: &[&PathBuf],
) -> Result<BTreeMap<PathBuf, UnixListener>, DaemonError> {
    if !inherited.unusable.is_empty() {
        let descriptors = inherited.unusable;
        tracing::warn!(
            ?descriptors,
            "what LISTEN_FDS announces are no listening unix sockets; they are not used"
        );
    }
    let mut ours = BTreeMap::new();
    for listener in inherited.listeners {
        let address = listener.local_addr();
        let name = address.as_ref().ok().and_then(|address| address.as_pathname()?.file_name());
        let Some(path) = paths.iter().find(|path| name.is_some() && path.file_name() == name) else {
            tracing::warn!(?address, "a socket was handed over that is none of the plugin's");
            continue;
        };
        let failed = |source| DaemonError::Listen { path: (*path).clone(), source };
        listener.set_nonblocking(true).map_err(failed)?;
        ours.insert((*path).clone(), UnixListener::from_std(listener).map_err(failed)?);
    }
    Ok(ours)
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
    let bound = || -> io::Result<UnixListener> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // The kernel takes the file's mode from the socket, so nobody has more of it for a moment.
        rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(0o600))?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        rustix::net::listen(&socket, 128)?;
        UnixListener::from_std(socket.into())
    };
    bound().map_err(failed)
}
