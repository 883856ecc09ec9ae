//! The names options go by.

/// The network options of this version, in the order a message lists them.
pub(crate) const NETWORK: [&str; 41] = [
    "mode",
    "parent",
    "bridge",
    "addressing",
    "ipv6",
    "ipv6_address",
    "lease_timeout",
    "ignore_conflicts",
    "skip_routes",
    "gateway",
    "client_id",
    "vendor_class",
    "user_class",
    "hostname",
    "fqdn",
    "rapid_commit",
    "dhcp_servers",
    "dhcp_deny_servers",
    "conflict_check",
    "dns",
    "mtu",
    "macvlan_mode",
    "vlan",
    "trunks",
    "on_timeout",
    "identity",
    "on_duplicate",
    "when_unsure",
    "release",
    "release_after",
    "host_access",
    "firewall",
    "socket_dir",
    "create_sockets",
    "management_socket",
    "socket_group",
    "socket_group_",
    "num_switchports",
    "vde_ports",
    "lan_ip",
    "ports",
];

/// Options Landline knows but does not have yet: what they ask for would silently not happen.
pub(crate) const NETWORK_NOT_YET: [&str; 3] = ["ifname", "warm", "ipv6_mode"];

/// The options of one endpoint. Each may also be written with [`PREFIX`] in front; `landline.id` must be.
pub(crate) const ENDPOINT: [&str; 6] = ["landline.id", "client_id", "ip", "hostname", "lan_ip", "ports"];

/// The options of the IPAM driver.
pub(crate) const IPAM: [&str; 1] = ["addressing"];

/// What makes an endpoint option Landline's beyond doubt.
pub(crate) const PREFIX: &str = "landline.";

/// What makes an option Docker's own.
pub(crate) const DOCKER: &str = "com.docker.";

/// Docker's own name for the MTU.
pub(crate) const DOCKER_MTU: &str = "com.docker.network.driver.mtu";

/// The known name a typo most likely stands for, if one is near enough (Jaro-Winkler, which forgives swapped
/// letters and weighs the beginning).
pub(crate) fn nearest(typo: &str, known: &[&'static str]) -> Option<&'static str> {
    const NEAR: f64 = 0.8;
    // The measure takes quadratic time, and no option is long.
    if typo.len() > 64 {
        return None;
    }
    let typo = typo.to_lowercase().replace(['-', '.', ' '], "_");
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(&typo, &name.replace('.', "_")), *name))
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        for (typo, meant) in [
            ("lease-timeout", "lease_timeout"),
            ("Mode", "mode"),
            ("brigde", "bridge"),
            ("parnet", "parent"),
            ("leasetimeout", "lease_timeout"),
            ("dhcp_server", "dhcp_servers"),
            ("ignore_conflict", "ignore_conflicts"),
        ] {
            assert_eq!(nearest(typo, &NETWORK), Some(meant), "{typo}");
        }
    }

    #[test]
    fn does_not_guess_wildly() {
        for word in ["", "x", "color", "zzz", &"m".repeat(100_000)] {
            assert_eq!(nearest(word, &NETWORK), None, "{}", word.len());
        }
    }

    #[test]
    fn no_name_is_in_both_lists() {
        assert!(NETWORK.iter().all(|name| !NETWORK_NOT_YET.contains(name)));
    }
}
