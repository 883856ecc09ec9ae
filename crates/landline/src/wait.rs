//! `landline wait`.

use std::time::Duration;

use landline_attach::AttachmentRecord;
use landline_engine::{Awaited, EndpointView};
use landline_options::EndpointId;
use tokio::time::timeout;

use crate::cli::{WaitFor, WaitOptions};
use crate::control::{Answer, Context, Request, call};
use crate::output::{CommandError, show};

/// Waits, and prints the addresses.
pub(crate) async fn run(options: &WaitOptions) -> Result<(), CommandError> {
    let request = Request::Wait {
        target: options.target.clone(),
        awaited: options.until.into(),
        timeout: options.timeout,
    };
    match call(&options.control.control_socket, &request).await? {
        Answer::Waited(addresses) => show(&addresses, options.json, |addresses| addresses.join("\n")),
        Answer::TimedOut(why) => Err(CommandError::TimedOut(why)),
        _ => Err(CommandError::Unexpected),
    }
}

impl From<WaitFor> for Awaited {
    fn from(until: WaitFor) -> Self {
        match until {
            WaitFor::Address => Self::Address,
            WaitFor::Bound => Self::Bound,
            WaitFor::Reachable => Self::Reachable,
        }
    }
}

/// The daemon's side.
pub(crate) async fn wait(
    context: &Context,
    target: &str,
    awaited: Awaited,
    limit: Option<Duration>,
) -> Answer {
    let parts = &context.parts;
    let attached = is_attached_to(context, target);
    let met = parts.engine.wait_for(target, &attached, awaited);
    let met = match limit {
        Some(limit) => timeout(limit, met).await.ok(),
        None => Some(met.await),
    };
    if let Some(views) = met {
        return Answer::Waited(addresses(&views, &parts.attach.records()));
    }
    let views = parts.engine.views_of(target, attached).await;
    Answer::TimedOut(why(target, awaited, limit.unwrap_or_default(), &views))
}

/// Tells the endpoints of attachments to what is called so.
pub(crate) fn is_attached_to(context: &Context, target: &str) -> impl Fn(&EndpointId) -> bool {
    move |id| {
        let attach = &context.parts.attach;
        let is_target =
            |record: &AttachmentRecord| record.id.endpoint() == id && record.target.to_string() == target;
        attach.records().iter().any(is_target) || attach.of_container(target).contains(id)
    }
}

/// The addresses of endpoints, without the lengths of their prefixes, as `landline ip` prints them.
fn addresses(views: &[EndpointView], attachments: &[AttachmentRecord]) -> Vec<String> {
    let mut all = Vec::new();
    for view in views {
        all.extend(view.address.map(|net| net.addr().to_string()));
        all.extend(view.ipv6.iter().flat_map(|ipv6| &ipv6.addresses).map(|net| net.addr().to_string()));
        let attachment = attachments.iter().find(|record| record.id.to_string() == view.endpoint);
        all.extend(
            attachment.iter().flat_map(|record| &record.spec.addresses).map(|a| a.net.addr().to_string()),
        );
    }
    all
}

/// What was still missing.
fn why(target: &str, awaited: Awaited, limit: Duration, views: &[EndpointView]) -> String {
    if views.is_empty() {
        return format!(
            "{target} has no Landline interface after {limit:?}; landline ls shows all interfaces"
        );
    }
    let lacks = |view: &EndpointView| {
        let network = view.network.as_deref().unwrap_or(&view.network_id);
        let held = view.held.as_ref().map(|held| format!(", {held}")).unwrap_or_default();
        format!("{} on network {network}{held}", view.state)
    };
    let what = match awaited {
        Awaited::Address => "has no address",
        Awaited::Bound => "is not bound",
        Awaited::Reachable => "is not reachable",
    };
    let states: Vec<String> = views.iter().map(lacks).collect();
    format!("{target} {what} after {limit:?}: {}; landline inspect {target} shows more", states.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(state: &str, held: Option<&str>) -> EndpointView {
        EndpointView {
            endpoint: "e".repeat(64),
            network_id: "n".repeat(64),
            network: Some("lan".into()),
            container_id: None,
            container: Some("web".into()),
            interface: "eth0".into(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            address: None,
            server: None,
            lease_left_s: None,
            lease_ends_at: None,
            lease_length_s: None,
            state: state.parse().unwrap(),
            held: held.map(str::to_owned),
            naks: 0,
            conflicts: 0,
            elsewhere: None,
            ipv6: None,
        }
    }

    #[test]
    fn a_timeout_says_what_was_missing() {
        let limit = Duration::from_secs(5);
        assert_eq!(
            why("web", Awaited::Address, limit, &[view("SELECTING", None)]),
            "web has no address after 5s: SELECTING on network lan; landline inspect web shows more"
        );
        assert_eq!(
            why("web", Awaited::Reachable, limit, &[view("BOUND", Some("spanning tree: listening"))]),
            "web is not reachable after 5s: BOUND on network lan, spanning tree: listening; landline inspect web shows more"
        );
        let nothing = why("web", Awaited::Bound, Duration::from_millis(500), &[]);
        assert!(nothing.starts_with("web has no Landline interface after 500ms; "), "{nothing}");
    }

    #[test]
    fn addresses_are_printed_without_lengths() {
        let mut with = view("BOUND", None);
        with.address = Some("192.0.2.7/24".parse().unwrap());
        assert_eq!(addresses(&[with], &[]), ["192.0.2.7"]);
    }
}
