//! What a container may say about an interface that it asks for.
//!
//! The list is of what is allowed: an option without a line here is the administrator's alone. An option that reaches
//! beyond the container's own namespace needs a permission of the parent's table, `[containers.allow.PARENT]`.

use std::collections::BTreeSet;

use crate::attach::{AttachError, AttachSpec};
use crate::endpoint::EndpointOptions;
use crate::given::boolean;

/// A permission of the allow table that is given by `true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// `macs`: choosing the hardware address.
    Macs,
    /// `host_access`: a shim and routes on the host.
    HostAccess,
    /// `client_ids`: choosing what a DHCP server knows and sorts clients by.
    ClientIds,
    /// `hostnames`: choosing the name that a DHCP server puts into DNS.
    Hostnames,
    /// `host_ifnames`: naming an interface of the host.
    HostIfnames,
    /// `mtus`: choosing the MTU, which a bridge takes over from its ports.
    Mtus,
    /// `bridges`: having the parent made if it is not there.
    Bridges,
}

impl Permission {
    /// All of them, in the order they are written in.
    pub const ALL: [Self; 7] = [
        Self::Macs,
        Self::HostAccess,
        Self::ClientIds,
        Self::Hostnames,
        Self::HostIfnames,
        Self::Mtus,
        Self::Bridges,
    ];

    /// The key of the allow table.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Macs => "macs",
            Self::HostAccess => "host_access",
            Self::ClientIds => "client_ids",
            Self::Hostnames => "hostnames",
            Self::HostIfnames => "host_ifnames",
            Self::Mtus => "mtus",
            Self::Bridges => "bridges",
        }
    }

    /// The option of `landline allow` that gives it.
    pub fn option(self) -> String {
        format!("--{}", self.key().replace('_', "-"))
    }
}

/// What is to be said about an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// It concerns the container alone, or is asked of the LAN as any machine might.
    Free,
    /// Only with these values.
    Only(&'static [&'static str], &'static str),
    /// With this permission.
    Needs(Permission),
    /// With this permission, unless it says no.
    NeedsIfTrue(Permission),
    /// Its value is compared with a list of the allow table.
    Listed,
    /// Nobody may but the administrator.
    Administrator,
}

const CONFLICTS: &str = "only the administrator may leave out the look for another user of an address: remove force and \
                         conflict_check";

/// The network options that an attachment may have, each with its rule.
const OPTIONS: [(&str, Rule); 44] = [
    ("mode", Rule::Listed),
    ("vlan", Rule::Listed),
    ("trunks", Rule::Listed),
    ("ipv6", Rule::Free),
    ("ipv6_address", Rule::Free),
    ("lease_timeout", Rule::Free),
    ("on_timeout", Rule::Free),
    ("release", Rule::Free),
    ("release_after", Rule::Free),
    ("rapid_commit", Rule::Free),
    ("dhcp_servers", Rule::Free),
    ("dhcp_deny_servers", Rule::Free),
    ("dns", Rule::Free),
    ("gateway", Rule::Free),
    ("skip_routes", Rule::Free),
    ("conflict_check", Rule::Only(&["fast", "wait"], CONFLICTS)),
    (
        "firewall",
        Rule::Only(&["keep"], "only the administrator may open the host's firewall: remove firewall"),
    ),
    (
        "macvlan_mode",
        Rule::Only(
            &["bridge", "private", "vepa"],
            "macvlan_mode=passthru takes the whole parent, which only the administrator may: remove it",
        ),
    ),
    ("hostname", Rule::Only(&["off", "container"], "write the name alone: hostname=NAME")),
    ("host_access", Rule::NeedsIfTrue(Permission::HostAccess)),
    ("client_id", Rule::Needs(Permission::ClientIds)),
    ("vendor_class", Rule::Needs(Permission::ClientIds)),
    ("user_class", Rule::Needs(Permission::ClientIds)),
    ("fqdn", Rule::Needs(Permission::Hostnames)),
    ("mtu", Rule::Needs(Permission::Mtus)),
    ("parent", Rule::Administrator),
    ("bridge", Rule::Administrator),
    ("addressing", Rule::Administrator),
    ("ignore_conflicts", Rule::Administrator),
    ("identity", Rule::Administrator),
    ("on_duplicate", Rule::Administrator),
    ("when_unsure", Rule::Administrator),
    ("socket_dir", Rule::Administrator),
    ("create_sockets", Rule::Administrator),
    ("management_socket", Rule::Administrator),
    ("socket_group", Rule::Administrator),
    ("socket_group_", Rule::Administrator),
    ("num_switchports", Rule::Administrator),
    ("vde_ports", Rule::Administrator),
    ("lan_ip", Rule::Administrator),
    ("ports", Rule::Administrator),
    ("ifname", Rule::Administrator),
    ("warm", Rule::Administrator),
    ("ipv6_mode", Rule::Administrator),
];

/// The permissions that a container needs for this interface, beside the parent, its kind, its VLANs and its addresses.
///
/// # Errors
/// Something that no permission allows.
pub(crate) fn permissions(spec: &AttachSpec) -> Result<BTreeSet<Permission>, AttachError> {
    // Every field is named: what is new must be decided on here.
    let AttachSpec {
        parent: _,
        link: _,
        ifname: _,
        host_end,
        mac,
        addresses: _,
        dhcp: _,
        force,
        // Needs [`Permission::Bridges`], but only where the bridge is not there.
        create: _,
        options,
        endpoint,
    } = spec;
    let EndpointOptions { client_id, id, ip: _, hostname, lan_ip, ports, ifname: inside } = endpoint;
    if *force {
        return Err(AttachError::NotHere(CONFLICTS));
    }
    if id.is_some() || lan_ip.is_some() || ports.is_some() || inside.is_some() {
        return Err(AttachError::NotHere(
            "a container may not set landline.id, lan_ip or ports: remove them",
        ));
    }
    let fields = [
        (host_end.is_some(), Permission::HostIfnames),
        (mac.is_some(), Permission::Macs),
        (client_id.is_some(), Permission::ClientIds),
        (hostname.is_some(), Permission::Hostnames),
    ];
    let mut needed: BTreeSet<Permission> =
        fields.into_iter().filter(|(said, _)| *said).map(|(_, permission)| permission).collect();
    for (option, value) in options {
        let value = value.trim();
        match rule(option) {
            Rule::Free | Rule::Listed => {}
            Rule::Only(words, why) => {
                let allowed = value.is_empty() || words.iter().any(|word| value.eq_ignore_ascii_case(word));
                if !allowed {
                    return Err(AttachError::NotHere(why));
                }
            }
            Rule::NeedsIfTrue(_) if boolean(value) == Some(false) => {}
            Rule::Needs(permission) | Rule::NeedsIfTrue(permission) => drop(needed.insert(permission)),
            Rule::Administrator => {
                return Err(AttachError::Reserved { option: crate::error::cut(option) });
            }
        }
    }
    Ok(needed)
}

fn rule(option: &str) -> Rule {
    // Docker's own spelling.
    let option = if option == crate::keys::DOCKER_MTU { "mtu" } else { option };
    OPTIONS.iter().find(|(name, _)| *name == option).map_or(Rule::Administrator, |(_, rule)| *rule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;

    fn needs(text: &str) -> Result<Vec<&'static str>, String> {
        let spec: AttachSpec = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        permissions(&spec)
            .map(|all| all.into_iter().map(Permission::key).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_option_of_the_grammar_has_a_rule() {
        let known: BTreeSet<&str> = keys::NETWORK.into_iter().chain(keys::NETWORK_NOT_YET).collect();
        let ruled: BTreeSet<&str> = OPTIONS.iter().map(|(name, _)| *name).collect();
        assert_eq!(ruled, known, "an option without a rule, or a rule without an option");
        assert_eq!(ruled.len(), OPTIONS.len(), "two rules");
        assert_eq!(rule("anything"), Rule::Administrator);
        assert_eq!(rule("com.docker.network.driver.mtu"), rule("mtu"));
    }

    /// Every option of the grammar, with a value that means something: what a container needs to say it.
    #[test]
    fn what_a_container_may_say() {
        const NONE: [&str; 0] = [];
        let table: [(&str, &str, &[&str]); 38] = [
            ("", "br0", &NONE),
            ("", "br0 none", &NONE),
            ("", "br0 192.0.2.7/24@192.0.2.1 2001:db8::7/64", &NONE),
            ("", "br0 create=true", &NONE),
            ("", "br0 ifname=eth1", &NONE),
            ("", "br0 ip=192.0.2.7", &NONE),
            ("", "br0 host_ifname=wg0", &["host_ifnames"]),
            ("", "br0 mac=02:00:00:00:00:07", &["macs"]),
            ("", "br0 mac=U:web", &["macs"]),
            ("", "br0 hostname=wpad", &["hostnames"]),
            ("", "br0 landline.client_id=x", &["client_ids"]),
            ("client_id", "br0 client_id=x", &["client_ids"]),
            ("vendor_class", "br0 vendor_class=phone", &["client_ids"]),
            ("user_class", "br0 user_class=phone", &["client_ids"]),
            ("hostname", "br0 hostname=off", &NONE),
            ("fqdn", "br0 fqdn=true", &["hostnames"]),
            ("mtu", "br0 mtu=1400", &["mtus"]),
            ("", "br0 com.docker.network.driver.mtu=68", &["mtus"]),
            ("host_access", "eth0 host_access=true mode=macvlan", &["host_access"]),
            ("", "eth0 host_access=false mode=macvlan", &NONE),
            ("mode", "eth0 mode=ipvlan", &NONE),
            ("vlan", "eth0 vlan=12", &NONE),
            ("trunks", "ovs0 vlan=10 trunks=20", &NONE),
            ("ipv6", "br0 ipv6=true", &NONE),
            ("ipv6_address", "br0 ipv6=true ipv6_address=eui64", &NONE),
            ("lease_timeout", "br0 lease_timeout=3s", &NONE),
            ("on_timeout", "br0 on_timeout=continue", &NONE),
            ("release", "br0 release=on_stop", &NONE),
            ("release_after", "br0 release_after=1m", &NONE),
            ("rapid_commit", "br0 rapid_commit=true", &NONE),
            ("dhcp_servers", "br0 dhcp_servers=192.0.2.1", &NONE),
            ("dhcp_deny_servers", "br0 dhcp_deny_servers=192.0.2.1", &NONE),
            ("dns", "br0 dns=replace", &NONE),
            ("gateway", "br0 gateway=192.0.2.1", &NONE),
            ("skip_routes", "br0 skip_routes=true", &NONE),
            ("conflict_check", "br0 conflict_check=wait", &NONE),
            ("firewall", "br0 firewall=keep", &NONE),
            ("macvlan_mode", "eth0 mode=macvlan macvlan_mode=private", &NONE),
        ];
        let reserved: Vec<&str> =
            OPTIONS.iter().filter(|(_, rule)| *rule == Rule::Administrator).map(|(name, _)| *name).collect();
        for (option, _) in OPTIONS {
            let shown = table.iter().any(|(tested, ..)| *tested == option);
            assert!(shown || reserved.contains(&option), "{option} is not in the table");
        }
        for (_, text, keys) in table {
            if text.contains("landline.client_id") {
                // Only Docker's options of endpoints have that prefix.
                assert!(text.parse::<AttachSpec>().is_err());
                continue;
            }
            assert_eq!(needs(text).as_deref(), Ok(keys), "{text}");
        }
        // Two at once.
        assert_eq!(needs("br0 hostname=a mac=02:00:00:00:00:07").unwrap(), ["macs", "hostnames"]);
    }

    #[test]
    fn what_nobody_may_but_the_administrator() {
        for text in [
            "br0 192.0.2.7/24 force=true",
            "br0 conflict_check=off",
            "br0 conflict_check=OFF",
            "br0 firewall=open",
            "eth0 mode=macvlan macvlan_mode=passthru",
        ] {
            assert!(needs(text).is_err(), "{text}");
        }
        // What the grammar does not take today is not allowed by accident tomorrow.
        for (option, _) in OPTIONS.iter().filter(|(_, rule)| *rule == Rule::Administrator) {
            let mut spec = AttachSpec::new("br0".parse().unwrap());
            spec.options.insert((*option).into(), "x".into());
            assert!(permissions(&spec).unwrap_err().to_string().contains(option));
        }
        let mut spec = AttachSpec::new("br0".parse().unwrap());
        spec.options.insert("com.docker.new".into(), "x".into());
        assert!(permissions(&spec).is_err());
        spec.options.clear();
        spec.endpoint.id = Some("other".into());
        assert!(permissions(&spec).is_err());
    }
}
