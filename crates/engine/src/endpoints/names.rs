//! What networks and containers are called: in messages, and on the LAN.

use landline_model::{ContainerRecord, EndpointRecord, IdentityRecord, NetworkRecord};
use landline_options::{EndpointOptions, Hostname, HostnameMode, NetworkOptions};

use crate::identity::Candidate;

/// How messages call a network.
pub fn network_name(network: &NetworkRecord) -> String {
    network.name.clone().unwrap_or_else(|| network.id.short().to_owned())
}

/// The name for the first message, if one is known: what the endpoint's options say, else that of the only container
/// that can be starting, else that of the container whose identity this was. Should it be wrong after all, the lease
/// is renewed with the right one as soon as the container is seen.
pub(crate) fn first_name(
    given: &EndpointOptions,
    options: &NetworkOptions,
    starting: Option<&Candidate>,
    identity: &IdentityRecord,
) -> Option<String> {
    if let Some(given) = &given.hostname {
        return Some(given.to_string());
    }
    let before = identity.container.as_ref();
    match starting {
        Some(now) => name_of(options, &now.id, now.hostname.as_deref(), &now.name),
        None => before.and_then(|c| name_of(options, &c.id, c.hostname.as_deref(), &c.name)),
    }
}

/// The name a container has on the LAN: what the endpoint's options say, else the host name its user chose,
/// else its own name. A host name that Docker made up (the first digits of the id) says nothing to anybody.
/// Docker's names have underscores (`shop_web_1`), which no DNS name can have: they become hyphens.
pub(crate) fn lan_name(
    options: &NetworkOptions,
    record: &EndpointRecord,
    container: &ContainerRecord,
) -> Option<String> {
    if let Some(given) = record.given_hostname() {
        return Some(given.clone());
    }
    name_of(options, &container.id, container.hostname.as_deref(), &container.name)
}

/// The name of a container that was not asked for another.
pub fn container_name(container: &ContainerRecord) -> Option<String> {
    chosen_name(&container.id, container.hostname.as_deref(), &container.name)
}

fn name_of(options: &NetworkOptions, id: &str, hostname: Option<&str>, name: &str) -> Option<String> {
    if options.hostname == HostnameMode::Off {
        return None;
    }
    chosen_name(id, hostname, name)
}

pub(crate) fn chosen_name(id: &str, hostname: Option<&str>, name: &str) -> Option<String> {
    let chosen = hostname.filter(|hostname| !id.starts_with(hostname));
    [chosen, Some(name)]
        .into_iter()
        .flatten()
        .find_map(|name| Hostname::nearest(&name.replace('_', "-")))
        .map(|name| name.to_string())
}
