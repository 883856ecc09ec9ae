//! What Prometheus scrapes (`GET /metrics`, `landline metrics`).
//!
//! Counts are kept where things happen, as plain numbers. A scrape reads them with what there is at that moment
//! ([`look`]), and [`Scrape`] writes all of it down, so what has ended is not in the next scrape.

mod docker;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use landline_engine::EndpointView;
use landline_host_access::AccessState;
use landline_leases::NetworkMeter;
use landline_links::mark::is_implicit;
use landline_nat::NatState;
use landline_types::TimingsSeen;

pub(crate) use docker::DockerMeter;

use crate::cli::MetricsOptions;
use crate::control::{Answer, Context, Request, call};
use crate::health::{Health, health};
use crate::output::{CommandError, page};

/// The type of the text (Prometheus' text format, version 0.0.4).
pub(crate) use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// Everything that a scrape shows.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    pub(crate) health: Health,
    pub(crate) endpoints: Vec<EndpointView>,
    /// All networks by name, and how they are linked. Attachments have none.
    pub(crate) networks: BTreeMap<String, String>,
    /// What was counted of each network; attachments are the empty name.
    pub(crate) meters: Vec<(String, Arc<NetworkMeter>)>,
    /// How long Docker's requests took.
    pub(crate) docker: Vec<(&'static str, TimingsSeen)>,
    pub(crate) commits: u64,
    /// What became of what was found at the start, or repaired later.
    pub(crate) reconciled: Vec<(&'static str, u64)>,
    /// How many addresses on the host stand for containers, by their state.
    pub(crate) nat: BTreeMap<&'static str, usize>,
    /// How many networks the host has access to, by their state.
    pub(crate) host_access: BTreeMap<&'static str, usize>,
}

impl Scrape {
    /// As Prometheus reads it.
    pub(crate) fn text(self) -> String {
        text::write(self)
    }
}

/// Prints the metrics.
pub(crate) async fn run(options: &MetricsOptions) -> Result<(), CommandError> {
    match call(&options.control.control_socket, &Request::Metrics).await? {
        Answer::Metrics(text) => page(text.as_bytes()).map_err(CommandError::Print),
        _ => Err(CommandError::Unexpected),
    }
}

/// The daemon's side.
pub(crate) async fn look(context: &Context) -> Scrape {
    let parts = &context.parts;
    let services = &parts.shared.services;
    let mut endpoints = parts.engine.client_views().await;
    parts.attach.name_containers(&mut endpoints);
    let health = health(context, &endpoints).await;
    let (mut networks, mut names) = (BTreeMap::new(), BTreeMap::new());
    for network in parts.engine.networks().values().filter(|network| !is_implicit(&network.id)) {
        let name = network.name.clone().unwrap_or_else(|| network.id.short().to_owned());
        networks.insert(name.clone(), network.options.mode.to_string());
        names.insert(network.id.clone(), name);
    }
    let named = |id| match id {
        None => Some(String::new()),
        Some(id) => names.get(&id).cloned(),
    };
    let meters = services.meters.read(|id| names.contains_key(id));
    let reconciled = &services.meters.reconciled;
    let results = [
        ("recovered", &reconciled.recovered),
        ("ended", &reconciled.ended),
        ("stray", &reconciled.strays),
        ("repaired", &reconciled.repaired),
        ("failed", &reconciled.failed),
    ];
    let mut nat = BTreeMap::from(["ready", "waiting", "asking", "trouble"].map(|state| (state, 0)));
    for view in parts.nat.views().values() {
        let state = match view.state {
            NatState::Ready => "ready",
            NatState::Waiting => "waiting",
            NatState::Asking => "asking",
            NatState::Trouble(_) => "trouble",
        };
        *nat.entry(state).or_default() += 1;
    }
    let mut host_access = BTreeMap::from([("ready", 0), ("trouble", 0)]);
    for view in parts.host_access.views() {
        let state = match view.state {
            AccessState::Ready => "ready",
            AccessState::Trouble(_) => "trouble",
        };
        *host_access.entry(state).or_default() += 1;
    }
    for endpoint in &mut endpoints {
        let name = endpoint.network_id.parse().ok().and_then(|id| names.get(&id));
        endpoint.network = endpoint.network.take().or_else(|| name.cloned());
    }
    Scrape {
        health,
        endpoints,
        networks,
        meters: meters.into_iter().filter_map(|(id, meter)| Some((named(id)?, meter))).collect(),
        docker: parts.docker_requests.read(),
        commits: parts.shared.store.commits(),
        reconciled: results.map(|(result, count)| (result, count.load(Ordering::Relaxed))).into(),
        nat,
        host_access,
    }
}

#[cfg(test)]
mod tests;
