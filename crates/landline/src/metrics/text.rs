//! The names of the metrics, and their values as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use landline_dhcp::wire::{dhcpv4, dhcpv6};
use landline_engine::EndpointView;
use landline_leases::{Direction, Family};
use landline_types::{Shown, TimingsSeen};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::Scrape;

/// The labels of one series.
type Labels = Vec<(&'static str, String)>;

/// A label whose value others have chosen: on a terminal it is no more than a word.
fn label(name: &'static str, value: &str) -> (&'static str, String) {
    (name, Shown(value).to_string())
}

/// Writes everything down.
pub(super) fn write(scrape: Scrape) -> String {
    let mut registry = Registry::with_prefix("landline");
    registry.register_collector(Box::new(scrape));
    let mut text = String::new();
    // A String takes everything.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let to = &mut encoder;
        let version = ("version", env!("CARGO_PKG_VERSION").to_owned());
        gauge(to, "build_info", "The version of the daemon.", [(vec![version], 1.0)])?;
        let checks =
            self.health.checks.iter().map(|check| {
                (vec![("check", check.name.as_str().to_owned())], f64::from(check.level.number()))
            });
        gauge(to, "health", "Result of each health check: 0 ok, 1 warn, 2 fail.", checks)?;
        self.endpoints(to)?;
        self.exchanges(to)?;
        let requests =
            self.docker.iter().map(|(verb, took)| (vec![("verb", (*verb).to_owned())], took.clone()));
        let help = "How long Landline took to answer Docker's requests.";
        histogram(to, "docker_request_seconds", help, requests)?;
        let help = "Transactions written to the state file since the daemon started.";
        counter(to, "store_commits", help, [(Vec::new(), self.commits)])?;
        let results = self.reconciled.iter();
        let results = results.map(|(result, count)| (vec![("result", (*result).to_owned())], *count));
        let help = "Endpoints and links that were continued after a start, had ended, were left over, or were repaired.";
        counter(to, "reconcile", help, results)?;
        let help = "Addresses on the host that are translated to containers.";
        gauge(to, "nat_addresses", help, by_state(&self.nat))?;
        let help = "Networks that the host has access to.";
        gauge(to, "host_access_networks", help, by_state(&self.host_access))
    }
}

impl Scrape {
    fn endpoints(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut counts: BTreeMap<&str, usize> = self.networks.keys().map(|name| (&**name, 0)).collect();
        counts.entry("").or_default();
        for endpoint in &self.endpoints {
            *counts.entry(network(endpoint)).or_default() += 1;
        }
        #[expect(clippy::cast_precision_loss, reason = "there are not that many")]
        let rows = counts.iter().map(|(name, count)| (vec![label("network", name)], *count as f64));
        let help = "Container interfaces on each network; attachments have no network.";
        gauge(to, "endpoints", help, rows.collect::<Vec<_>>())?;

        let (mut states, mut ends) = (BTreeMap::new(), BTreeMap::new());
        for endpoint in &self.endpoints {
            let ipv6 = endpoint.ipv6.as_ref();
            let four = Some((Family::V4, endpoint.state.to_string(), endpoint.lease_ends_at));
            let six = ipv6.map(|six| (Family::V6, six.state.clone(), six.lease_ends_at));
            for (family, state, end) in four.into_iter().chain(six) {
                let labels = labels(endpoint, family);
                if let Some(end) = end {
                    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit for a while")]
                    ends.insert(labels.clone(), end as f64);
                }
                states.insert([labels, vec![("state", state)]].concat(), 1.0);
            }
        }
        let help = "What each interface's DHCP client is doing: 1 for its state.";
        gauge(to, "lease_state", help, states)?;
        gauge(to, "lease_expires_timestamp_seconds", "When the lease of each interface ends.", ends)
    }

    fn exchanges(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut messages, mut conflicts, mut exchanges) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for (name, meter) in &self.meters {
            for family in [Family::V4, Family::V6] {
                let meter = meter.of(family);
                let own = vec![label("network", name), ("family", family.as_str().to_owned())];
                // Two of Docker's networks may have one name.
                *conflicts.entry(own.clone()).or_insert(0) += meter.conflicts();
                if seen.insert(own.clone()) {
                    exchanges.push((own.clone(), meter.exchanges().read()));
                }
                for (kind, code) in kinds(family) {
                    for direction in Direction::ALL {
                        let count = meter.messages(direction, code);
                        if count > 0 {
                            let more =
                                vec![("type", kind.clone()), ("direction", direction.as_str().to_owned())];
                            *messages.entry([own.clone(), more].concat()).or_insert(0) += count;
                        }
                    }
                }
            }
        }
        let help = "DHCP messages that containers' clients sent, and received in answer.";
        counter(to, "dhcp_messages", help, messages)?;
        let help = "How long DHCP exchanges took, from the client's first message to the acknowledgement.";
        histogram(to, "dhcp_exchange_seconds", help, exchanges)?;
        let help = "Addresses that could not be used because another machine, or this host, has them.";
        counter(to, "conflicts", help, conflicts)
    }
}

fn network(endpoint: &EndpointView) -> &str {
    endpoint.network.as_deref().unwrap_or_default()
}

/// What tells the interface from all others.
fn labels(endpoint: &EndpointView, family: Family) -> Labels {
    let short = endpoint.endpoint.chars().take(12).collect::<String>();
    vec![
        label("network", network(endpoint)),
        label("container", endpoint.container.as_deref().unwrap_or(&short)),
        label("interface", &endpoint.interface),
        ("family", family.as_str().to_owned()),
    ]
}

/// The messages of a family: what they are called, and their codes.
fn kinds(family: Family) -> Vec<(String, u8)> {
    match family {
        Family::V4 => {
            dhcpv4::MessageType::ALL.map(|kind| (format!("{kind:?}").to_lowercase(), kind.code())).into()
        }
        Family::V6 => {
            let name = |kind: dhcpv6::MessageType| match kind {
                dhcpv6::MessageType::InformationRequest => "information-request".to_owned(),
                kind => format!("{kind:?}").to_lowercase(),
            };
            dhcpv6::MessageType::ALL.map(|kind| (name(kind), kind.code())).into()
        }
    }
}

fn by_state(counts: &BTreeMap<&'static str, usize>) -> Vec<(Labels, f64)> {
    #[expect(clippy::cast_precision_loss, reason = "there are not that many")]
    let row = |(state, count): (&&'static str, &usize)| (vec![("state", (*state).to_owned())], *count as f64);
    counts.iter().map(row).collect()
}

fn gauge(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Labels, f64)>,
) -> fmt::Result {
    let mut metric = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in rows {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

/// `name` is without `_total`, which is added.
fn counter(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Labels, u64)>,
) -> fmt::Result {
    let mut metric = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in rows {
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
    }
    Ok(())
}

fn histogram(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Labels, TimingsSeen)>,
) -> fmt::Result {
    let mut metric = to.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, seen) in rows {
        let mut series = metric.encode_family(&labels)?;
        series.encode_histogram::<NoLabelSet>(seen.sum, seen.count(), &seen.buckets, None)?;
    }
    Ok(())
}
