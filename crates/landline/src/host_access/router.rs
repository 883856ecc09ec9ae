//! `landline host-access run`: one network, in the foreground, with macvlan-router's settings.

use std::sync::Arc;

use landline_docker::{DockerView, Watcher, WatcherError};
use landline_host_access::{AccessError, HostAccess, Keeper, Unfit};
use landline_options::{Access, AccessRequest, AccessSpecError};
use landline_types::IfName;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::seen;
use crate::cli::RouterOptions;
use crate::daemon::DaemonError;
use crate::log;

/// Why it did not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouterError {
    #[error("MACVLAN_DOCKER_NETWORK is not set; it names the Docker network")]
    NoNetwork,
    #[error("MACVLAN_BRIDGE_IP is not set; it names a free address in the network's subnet, like 192.0.2.50")]
    NoAddress,
    #[error(
        "{0:?} cannot be the name of an interface; set MACVLAN_BRIDGE_INTERFACE_NAME to at most 15 letters and digits"
    )]
    Name(String),
    #[error("CLEANUP_ON_EXIT is {0:?}; write true or false")]
    CleanUp(String),
    #[error("DEBUG is {0:?}; write true or false")]
    Debug(String),
    #[error(transparent)]
    Settings(#[from] AccessSpecError),
    #[error(transparent)]
    Start(#[from] DaemonError),
    #[error("cannot watch Docker")]
    Docker(#[from] WatcherError),
    #[error("cannot wait for signals")]
    Signal(#[source] std::io::Error),
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// Runs until SIGTERM, SIGINT or SIGHUP.
pub(crate) async fn run(options: RouterOptions) -> Result<(), RouterError> {
    let debug = switch(options.debug.as_deref()).map_err(RouterError::Debug)?;
    let clean_up = switch(options.cleanup.as_deref()).map_err(RouterError::CleanUp)?;
    let (record, name) = read(&options)?;
    log::start_local(debug).map_err(DaemonError::from)?;
    let watcher = Watcher::new(&options.docker_host)?;
    let mut signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()]
        .map(|kind| signal(kind).map_err(RouterError::Signal));
    let cancel = CancellationToken::new();
    let access = HostAccess::alone(Keeper::Command(name), cancel.clone());
    let view = watcher.view();
    let watching = tokio::spawn(watcher.run(cancel.clone()));

    let network = record.network.clone();
    let work = follow(&access, view, record);
    let [terminate, interrupt, hangup] = &mut signals;
    let [Ok(terminate), Ok(interrupt), Ok(hangup)] = [terminate, interrupt, hangup] else {
        return signals.into_iter().find_map(Result::err).map_or(Ok(()), Err);
    };
    let worked = tokio::select! {
        worked = work => worked,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    };
    if clean_up && worked.is_ok() {
        match access.disable(&network).await {
            Ok(()) => tracing::info!(network, "cleaned up"),
            // It never came so far.
            Err(AccessError::NotEnabled(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    cancel.cancel();
    // A task that failed has said so.
    let _ = watching.await;
    Ok(worked?)
}

/// Hands on what Docker has, and asks for access as soon as the network is there. Ends only when that is refused.
async fn follow(
    access: &HostAccess,
    mut view: watch::Receiver<Arc<DockerView>>,
    record: Access,
) -> Result<(), AccessError> {
    let mut waiting = Some(record);
    let mut said = false;
    loop {
        let docker = view.borrow_and_update().clone();
        access.see(seen(&docker));
        if let Some(record) = waiting.take_if(|_| docker.connected) {
            match access.enable(record.clone()).await {
                Ok(done) => {
                    let interface = done.interface.map(|name| name.to_string()).unwrap_or_default();
                    tracing::info!(
                        network = done.network,
                        interface,
                        "the host reaches the network's containers"
                    );
                }
                Err(error @ AccessError::Unfit(Unfit::NoNetwork(_))) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!("{error}; waiting for it");
                    }
                    waiting = Some(record);
                }
                Err(error) => return Err(error),
            }
        }
        if view.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// The settings, and the interface's name.
fn read(options: &RouterOptions) -> Result<(Access, IfName), RouterError> {
    let set =
        |value: &Option<String>| value.as_deref().map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned);
    let network = set(&options.network).ok_or(RouterError::NoNetwork)?;
    let address = set(&options.ip).ok_or(RouterError::NoAddress)?;
    let name = set(&options.interface).unwrap_or_else(|| network.clone());
    let routes = set(&options.routes).unwrap_or_default();
    let request = AccessRequest {
        network,
        addresses: address.split([' ', ',']).filter(|a| !a.is_empty()).map(str::to_owned).collect(),
        routes: routes.split_whitespace().map(str::to_owned).collect(),
        interface: Some(name),
        loosen: false,
    };
    let access = request.read().map_err(|error| match error {
        AccessSpecError::Interface(name) => RouterError::Name(name),
        error => error.into(),
    })?;
    // It was given one above.
    let interface = access.interface.clone().ok_or(RouterError::NoAddress)?;
    Ok((access, interface))
}

/// Yes or no; no if it is not set.
fn switch(value: Option<&str>) -> Result<bool, String> {
    match value.map(|value| value.trim().to_ascii_lowercase()).as_deref() {
        Some("true" | "1" | "yes" | "on") => Ok(true),
        None | Some("" | "false" | "0" | "no" | "off") => Ok(false),
        Some(other) => Err(other.chars().take(64).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(settings: &[(&str, &str)]) -> RouterOptions {
        let get = |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
        RouterOptions {
            network: get("MACVLAN_DOCKER_NETWORK"),
            ip: get("MACVLAN_BRIDGE_IP"),
            interface: get("MACVLAN_BRIDGE_INTERFACE_NAME"),
            routes: get("ADDITIONAL_ROUTES"),
            cleanup: None,
            debug: None,
            interval: None,
            docker_host: String::new(),
        }
    }

    #[test]
    fn macvlan_routers_settings() {
        let (access, name) = read(&options(&[
            ("MACVLAN_DOCKER_NETWORK", " macvlan "),
            ("MACVLAN_BRIDGE_IP", "192.0.2.50/24 2001:db8::50"),
            ("MACVLAN_BRIDGE_INTERFACE_NAME", ""),
            ("ADDITIONAL_ROUTES", "203.0.113.7  198.51.100.0/24\n"),
        ]))
        .unwrap();
        assert_eq!((access.network.as_str(), name.as_str()), ("macvlan", "macvlan"));
        assert_eq!((access.addresses.len(), access.routes.len()), (2, 2));
        for (text, is) in [("true", true), ("1", true), (" YES ", true), ("false", false), ("", false)] {
            assert_eq!(switch(Some(text)), Ok(is), "{text}");
        }
        assert_eq!(switch(None), Ok(false));
    }

    #[test]
    fn what_is_hostile_is_refused_in_a_sentence() {
        let long = "a".repeat(10_000);
        let good = [("MACVLAN_DOCKER_NETWORK", "lan"), ("MACVLAN_BRIDGE_IP", "192.0.2.50")];
        for bad in ["$(touch x)", "../../etc/x", "a\nb", "`id`", "x;y/z", long.as_str()] {
            for name in [
                "MACVLAN_DOCKER_NETWORK",
                "MACVLAN_BRIDGE_IP",
                "MACVLAN_BRIDGE_INTERFACE_NAME",
                "ADDITIONAL_ROUTES",
            ] {
                let mut settings = vec![(name, bad)];
                settings.extend(good.iter().filter(|(key, _)| *key != name));
                // What would be a network's name if it were shorter or had no line end in it.
                if name == "MACVLAN_DOCKER_NETWORK" && !bad.contains('/') && bad.len() < 255 {
                    settings.push(("MACVLAN_BRIDGE_INTERFACE_NAME", "lan0"));
                }
                match read(&options(&settings)) {
                    Err(error) => {
                        let text = error.to_string();
                        assert!(text.len() < 400 && !text.contains('\n'), "{name}={bad:?}: {text}");
                    }
                    Ok((access, _)) => assert_eq!(access.network, bad, "only an odd name is one"),
                }
            }
            assert!(switch(Some(bad)).is_err_and(|text| text.len() < 300), "{bad:?}");
        }
    }
}
