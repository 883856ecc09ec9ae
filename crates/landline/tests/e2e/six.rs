//! Looks at the IPv6 side of a world.

use std::net::Ipv6Addr;

use landline_testbed::{Frame, wait_for};
use serde_json::Value;

use crate::world::{Result, SOON, World, bare};

impl World {
    /// The IPv6 addresses (with their prefixes) on a container's interface, the link-local ones left out.
    pub(crate) fn addresses6(&self, container: &str, interface: &str) -> Result<Vec<String>> {
        let shown = self.inside(container, &["ip", "-6", "-o", "addr", "show", "dev", interface])?;
        let words =
            |line: &str| line.split_whitespace().skip_while(|w| *w != "inet6").nth(1).map(str::to_owned);
        Ok(shown.lines().filter_map(words).filter(|net| !net.starts_with("fe80:")).collect())
    }

    /// One of them that begins so, once it is there.
    pub(crate) fn address6(&self, container: &str, interface: &str, prefix: &str) -> Result<String> {
        Ok(wait_for(format!("an address {prefix}… of {container}"), SOON, || {
            let all = self.addresses6(container, interface).ok()?;
            all.into_iter().find(|net| net.starts_with(prefix))
        })?)
    }

    /// The lines of `ip -6 route` in a container.
    pub(crate) fn routes6(&self, container: &str) -> Result<Vec<String>> {
        let listed = self.inside(container, &["ip", "-6", "route"])?;
        Ok(listed.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// The next hops of a container's IPv6 default routes.
    pub(crate) fn gateways6(&self, container: &str) -> Result<Vec<String>> {
        let routes = self.routes6(container)?;
        let defaults = routes.iter().filter_map(|line| line.strip_prefix("default via "));
        Ok(defaults.filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect())
    }

    /// What `landline ls --json` says of a container's IPv6, once it is so.
    pub(crate) fn ipv6(&self, container: &str, so: impl Fn(&Value) -> bool) -> Result<Value> {
        Ok(wait_for(format!("IPv6 of {container} in landline ls"), SOON, || {
            let ipv6 = self.row(container).ok()?["ipv6"].clone();
            so(&ipv6).then_some(ipv6)
        })?)
    }

    /// The peer pings the address, and fetches a page from the container there.
    pub(crate) fn is_reached6(&self, container: &str, address: &str) -> Result {
        let address = bare(address);
        let peer = self.lan.peer();
        peer.check(&["ping", "-6", "-c1", "-W5", address])?;
        self.inside(
            container,
            &["sh", "-c", "mkdir -p /www; echo here >/www/index.html; httpd -p 8006 -h /www"],
        )?;
        let page = peer.check(&["curl", "-sS", "--max-time", "5", &format!("http://[{address}]:8006/")])?;
        assert_eq!(page.trim(), "here");
        self.inside(container, &["killall", "httpd"])?;
        Ok(())
    }
}

/// Whether this is a `DHCPv6` Decline of the address.
pub(crate) fn declines6(frame: &Frame, address: &str) -> Option<()> {
    let (_, _, _, datagram) = frame.ip().filter(|(_, _, protocol, _)| *protocol == 17)?;
    let address = address.parse::<Ipv6Addr>().ok()?.octets();
    // RFC 9915 section 7.3: message type 9, after the eight octets of UDP.
    let declines = datagram.get(8) == Some(&9) && datagram.windows(16).any(|octets| octets == address);
    declines.then_some(())
}
