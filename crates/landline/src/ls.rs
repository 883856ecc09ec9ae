//! `landline ls`.

use landline_engine::EndpointView;

use crate::attach::AttachRow;
use crate::cli::{ListOptions, LsOptions};
use crate::control::{Answer, Listing, Request, call};
use crate::listing::{Rows, list};
use crate::output::{CommandError, dash, table};

/// Endpoints, and what was asked for and is not there.
const ROWS: Rows<'_> = Rows { tables: &["/endpoints", "/attachments"], names: &["container", "endpoint"] };

/// Prints what there is.
pub(crate) async fn run(options: &LsOptions) -> Result<(), CommandError> {
    let answer = call(&options.control.control_socket, &Request::Ls).await?;
    let Answer::Ls(listing) = answer else { return Err(CommandError::Unexpected) };
    list(&listing, ROWS, &options.list, |listing| render(listing, &options.list))
}

pub(crate) fn render(listing: &Listing, options: &ListOptions) -> String {
    let header = ["NETWORK", "CONTAINER", "INTERFACE", "MAC", "ADDRESS", "SERVER", "LEASE LEFT", "STATE"];
    let rows = listing.endpoints.iter().flat_map(|e| std::iter::once(row(e, options)).chain(ipv6_rows(e)));
    let rows = rows.chain(listing.attachments.iter().map(missing));
    let mut text = table(header, rows);
    for row in &listing.attachments {
        text.push_str("\n\n");
        text.push_str(&row.explain());
    }
    if !options.filter.is_empty() {
        return text;
    }
    for alike in &listing.alike {
        text.push_str("\n\n");
        text.push_str(&alike.short());
    }
    for dropped in &listing.dropped {
        text.push_str("\n\n");
        text.push_str(&dropped.says());
    }
    if !listing.docker {
        text.push_str("\n(Docker's API cannot be reached: names may be missing)");
    }
    text
}

/// What a container asks for and has not got.
fn missing(row: &AttachRow) -> [String; 8] {
    let network = row.parent.as_ref().map_or_else(dash, |parent| format!("attach:{parent}"));
    let [interface, mac, address, server, left] = [(); 5].map(|()| dash());
    [network, row.container.clone(), interface, mac, address, server, left, row.state.to_string()]
}

fn row(e: &EndpointView, options: &ListOptions) -> [String; 8] {
    [
        e.network.clone().unwrap_or_else(|| options.id(&e.network_id)),
        e.container.clone().unwrap_or_else(dash),
        e.interface.clone(),
        e.mac.to_string(),
        e.address.map_or_else(dash, |a| a.to_string()),
        e.server.map_or_else(dash, |s| s.to_string()),
        match (e.lease_left_s, e.server) {
            (Some(left), _) => span(left),
            (None, Some(_)) => "for ever".into(),
            (None, None) => dash(),
        },
        match (&e.elsewhere, &e.held) {
            (Some(link), _) => format!("{} (duplicate on {link})", e.state),
            (None, Some(held)) => format!("{} ({held})", e.state),
            (None, None) => e.state.to_string(),
        },
    ]
}

/// The lines below an endpoint's own: one for each IPv6 address, with the router in the server's place.
fn ipv6_rows(e: &EndpointView) -> Vec<[String; 8]> {
    let Some(ipv6) = &e.ipv6 else { return Vec::new() };
    let line = |address: String, left: String| {
        let router = ipv6.routers.first().map_or_else(dash, ToString::to_string);
        let [network, container, interface, mac] = [(); 4].map(|()| String::new());
        [network, container, interface, mac, address, router, left, ipv6.state.clone()]
    };
    if ipv6.addresses.is_empty() {
        return vec![line(ipv6.link_local.map_or_else(dash, |address| format!("{address}/64")), dash())];
    }
    let left = || ipv6.lease_left_s.map_or_else(dash, span);
    ipv6.addresses.iter().map(|address| line(address.to_string(), left())).collect()
}

/// The two largest units of a span of seconds.
pub(crate) fn span(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, m) => format!("{m}m{rest:02}s"),
        (0, h, m) => format!("{h}h{m:02}m"),
        (d, h, _) => format!("{d}d{h:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_show_two_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (61, "1m01s"), (3_660, "1h01m"), (90_000, "1d01h")] {
            assert_eq!(span(seconds), text);
        }
    }
}
