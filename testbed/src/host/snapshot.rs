//! The network state of a host as a set of lines, to show that nothing is left behind and nothing was touched.

use std::collections::BTreeSet;
use std::fmt;

use super::DockerHost;
use crate::error::Result;

/// What a host's network looks like at one moment: links, addresses, routes, permanent neighbours, rules, the
/// nftables ruleset and the sysctls that decide about reachability. What changes by itself (lifetimes,
/// counters, the carrier, the kernel's local routes of IPv6 addresses, which come with the end of duplicate address
/// detection) is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    lines: BTreeSet<String>,
}

/// Prints one line per fact, each starting with what kind of fact it is.
const SCRIPT: &str = r#"
ip -details -json link | jq -r '.[] | "link \(.ifname) kind=\(.linkinfo.info_kind // "-") mac=\(.address) mtu=\(.mtu) flags=\([.flags[] | select(IN("UP","NOARP","PROMISC","ALLMULTI"))] | join(",")) master=\(.master // "-") alias=\(.ifalias // "-") promiscuity=\(.promiscuity) addrgen=\(.inet6_addr_gen_mode // "-")"'
ip -json addr | jq -r '.[] | .ifname as $l | .addr_info[]? | "addr \($l) \(.local)/\(.prefixlen) scope=\(.scope) label=\(.label // "-")"'
for family in 4 6; do
	ip -$family route show table all | sed -E '/^(local|anycast) [0-9a-f:]+ .*table local proto kernel/d
		s/ (expires|hoplimit) [0-9]+(sec)?//g; s/ linkdown//; s/ +$//; s/^/route /'
	ip -$family rule | sed 's/^/rule /'
	ip -$family neigh show nud permanent | sed 's/ *$//; s/^/neigh /'
	ip -$family neigh show proxy 2>/dev/null | sed 's/ *$//; s/^/neigh-proxy /'
done
nft --stateless list ruleset | sed 's/^/nft /'
cd /proc/sys/net
grep -rs . ipv4/ip_forward ipv4/conf/*/rp_filter ipv4/conf/*/arp_ignore ipv4/conf/*/arp_announce ipv4/conf/*/arp_filter \
	ipv4/conf/*/proxy_arp ipv4/conf/*/forwarding ipv4/conf/*/accept_local ipv4/conf/*/send_redirects ipv4/conf/*/route_localnet \
	ipv6/conf/*/disable_ipv6 ipv6/conf/*/accept_ra ipv6/conf/*/forwarding ipv6/conf/*/addr_gen_mode ipv6/conf/*/autoconf \
	ipv6/conf/*/proxy_ndp ipv6/conf/*/accept_dad bridge/bridge-nf-call-* | sed 's/^/sysctl /' || :
"#;

impl DockerHost {
    /// The host's network state now.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn snapshot(&self) -> Result<HostState> {
        let text = self.node.sh(SCRIPT)?;
        Ok(HostState { lines: text.lines().map(str::to_owned).collect() })
    }
}

impl HostState {
    /// What is different in `later`, one fact per line: `- ` is gone, `+ ` is new. Empty if nothing is.
    pub fn diff(&self, later: &Self) -> String {
        let gone = self.lines.difference(&later.lines).map(|line| format!("- {line}\n"));
        let new = later.lines.difference(&self.lines).map(|line| format!("+ {line}\n"));
        gone.chain(new).collect()
    }

    /// The facts whose text contains `word`.
    pub fn lines_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().map(String::as_str).filter(move |line| line.contains(word))
    }
}

impl fmt::Display for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_says_what_went_and_what_came() {
        let state = |lines: &[&str]| HostState { lines: lines.iter().map(|l| (*l).to_owned()).collect() };
        let (before, after) = (state(&["link a", "link b"]), state(&["link b", "link c"]));
        assert_eq!(before.diff(&after), "- link a\n+ link c\n");
        assert_eq!(before.diff(&before), "");
    }
}
