//! `landline inspect`.

use std::path::Path;

use landline_engine::{Engine, IdentityView, Inspection, LeaseView};
use landline_links::ovs::{self, Datapath, OvsView};
use landline_links::{HostEnd, facts_of};
use serde::{Deserialize, Serialize};

use crate::cli::InspectOptions;
use crate::control::{Answer, Request, call};
use crate::ls::span;
use crate::output::{CommandError, show};

/// An endpoint, and what a switch outside the kernel has of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Inspected {
    /// What the engine knows.
    #[serde(flatten)]
    pub(crate) endpoint: Inspection,
    /// Its port of Open vSwitch.
    #[serde(default)]
    pub(crate) ovs: Option<OvsView>,
}

/// The endpoints that are called so, as [`Engine::inspect`] finds them.
pub(crate) async fn look(engine: &Engine, target: &str) -> Vec<Inspected> {
    let found = engine.inspect(target).await;
    let mut found: Vec<Inspected> =
        found.into_iter().map(|endpoint| Inspected { endpoint, ovs: None }).collect();
    let on_switch = |seen: &&mut Inspected| {
        let options = seen.endpoint.options.as_ref();
        options.is_some_and(|options| facts_of(options.mode).host_end == HostEnd::SwitchPort)
    };
    let mut ports: Vec<_> = found.iter_mut().filter(on_switch).collect();
    let ids: Vec<String> = ports.iter().map(|seen| seen.endpoint.endpoint.endpoint.clone()).collect();
    if !ids.is_empty() {
        for (seen, port) in ports.iter_mut().zip(ovs::look(ids).await) {
            seen.ovs = port;
        }
    }
    found
}

/// Prints everything about what is called so.
pub(crate) async fn run(options: &InspectOptions) -> Result<(), CommandError> {
    let request = Request::Inspect { target: options.target.clone() };
    let answer = call(&options.control.control_socket, &request).await?;
    let Answer::Inspected(found) = answer else { return Err(CommandError::Unexpected) };
    if found.is_empty() {
        return Err(why_nothing(&options.control.control_socket, &options.target).await);
    }
    show(&found, options.json, |found| found.iter().map(render).collect::<Vec<_>>().join("\n\n"))
}

/// Why nothing was found that is called so: what stopped and what is empty has a name, too.
pub(crate) async fn why_nothing(socket: &Path, target: &str) -> CommandError {
    let networks = match call(socket, &Request::Networks).await {
        Ok(Answer::Networks(networks)) => networks,
        _ => Vec::new(),
    };
    if networks.iter().any(|row| row.network.name.as_deref() == Some(target)) {
        return CommandError::Empty(target.to_owned());
    }
    let identities = match call(socket, &Request::Identities).await {
        Ok(Answer::Identities(identities)) => identities,
        _ => Vec::new(),
    };
    stopped(&identities, target).unwrap_or_else(|| CommandError::NoSuch(target.to_owned()))
}

/// What is known of a container that does not run.
fn stopped(identities: &[IdentityView], target: &str) -> Option<CommandError> {
    let is_it = |identity: &&IdentityView| {
        identity.container.as_deref() == Some(target) && !identity.in_use && !identity.destroyed
    };
    let identity = identities.iter().find(is_it)?;
    Some(CommandError::Stopped {
        container: target.to_owned(),
        network: identity.network.clone()?,
        address: identity.address.map_or_else(|| "no address".to_owned(), |address| address.to_string()),
    })
}

/// One line for each thing, what belongs to another below it and further in.
pub(crate) fn render(Inspected { endpoint: seen, ovs }: &Inspected) -> String {
    let e = &seen.endpoint;
    let mut lines = Vec::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            lines.push(format!("{name:<20}{value}"));
        }
    };
    let with_id = |name: &Option<String>, id: &str| match name {
        Some(name) => format!("{name} ({})", id.chars().take(12).collect::<String>()),
        None => id.to_owned(),
    };
    line("endpoint", Some(e.endpoint.clone()));
    line("network", Some(with_id(&e.network, &e.network_id)));
    line("container", e.container_id.as_ref().map(|id| with_id(&e.container, id)));
    line("interface", Some(e.interface.clone()));
    line("mac", Some(e.mac.to_string()));
    line("address", e.address.map(|address| address.to_string()));
    line("state", Some(e.state.to_string()));
    line("refused", (e.naks > 0).then(|| times(e.naks)));
    line("conflicts", (e.conflicts > 0).then(|| times(e.conflicts)));
    line("hostname", seen.hostname.clone());
    line("client id", seen.client_id.clone());
    if let Some(identity) = &seen.identity {
        let key = identity.key.as_ref().map(|key| format!(", landline.id={key}")).unwrap_or_default();
        let end = if identity.temporary { ", for this run only" } else { "" };
        line("identity", Some(format!("{}{key}{end}", identity.id)));
    }
    line("default route", seen.applied.default_route.then(|| "through this interface".to_owned()));
    for (destination, hop) in &seen.applied.routes {
        let hop = hop.map_or_else(|| "on link".to_owned(), |hop| format!("via {hop}"));
        line("route", Some(format!("{destination} {hop}")));
    }
    seen.applied.dropped.iter().for_each(|dropped| line("route left out", Some(dropped.to_string())));
    line("mtu", seen.applied.mtu.map(|mtu| mtu.to_string()));
    if let Some(ipv6) = &e.ipv6 {
        ipv6.addresses.iter().for_each(|address| line("ipv6 address", Some(address.to_string())));
        line("ipv6 link-local", ipv6.link_local.map(|address| address.to_string()));
        ipv6.routers.iter().for_each(|router| line("ipv6 router", Some(router.to_string())));
        ipv6.dns.iter().for_each(|server| line("ipv6 dns", Some(server.to_string())));
        line("ipv6 search", (!ipv6.search.is_empty()).then(|| ipv6.search.join(", ")));
        line("ipv6 state", Some(ipv6.state.clone()));
        line("ipv6 lease left", ipv6.lease_left_s.map(span));
    }
    if let Some(port) = ovs {
        line("open vswitch", Some(render_port(port)));
        line("port's trouble", port.trouble.clone());
    }
    line("sandbox", seen.sandbox.as_ref().map(|path| path.display().to_string()));
    if let Some(lease) = &seen.lease {
        lines.extend(render_lease(lease));
    }
    lines.join("\n")
}

/// `ovs-vsctl`'s words for the VLANs.
fn render_port(port: &OvsView) -> String {
    let datapath = match port.datapath {
        Datapath::Kernel => "forwarded in the kernel",
        Datapath::UserSpace => "forwarded in user space",
        Datapath::Missing => "not forwarded: the kernel module openvswitch is missing",
    };
    let tag = port.tag.map(|tag| format!(" tag={tag}")).unwrap_or_default();
    let trunks: Vec<String> = port.trunks.iter().map(i64::to_string).collect();
    let trunks = if trunks.is_empty() { String::new() } else { format!(" trunks={}", trunks.join(",")) };
    format!("port {} of {}{tag}{trunks}, {datapath}", port.port, port.bridge)
}

fn render_lease(lease: &LeaseView) -> Vec<String> {
    let left =
        |seconds: Option<u64>| seconds.map_or_else(|| "never".to_owned(), |s| format!("in {}", span(s)));
    let times = [
        ("server", lease.server.to_string()),
        ("obtained", format!("{} ago", span(lease.obtained_s))),
        ("renews", left(lease.renew_in_s)),
        ("rebinds", left(lease.rebind_in_s)),
        ("expires", left(lease.ends_in_s)),
    ];
    let times = times.into_iter().map(|(name, value)| format!("  {name:<24}{value}"));
    let options = lease.options.iter().map(|option| {
        let name = option.name.clone().unwrap_or_else(|| "unknown".to_owned());
        format!("  {:<24}{}", format!("{} ({})", name, option.code), option.value)
    });
    std::iter::once("lease".to_owned()).chain(times).chain(options).collect()
}

fn times(count: u32) -> String {
    format!("{count} since the daemon started")
}
