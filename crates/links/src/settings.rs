//! A link's settings under `/proc/sys/net` (`ip-sysctl`), for a link that takes the place of another or comes back as it was.

use landline_kernel::sysctl::{self, Family};
use landline_types::IfName;
use serde::{Deserialize, Serialize};

use crate::namespaces::Namespaces;

/// What decides how the host behaves on a link. Those that follow from the link itself (its MTU) are not here.
const SETTINGS: [(Family, &[&str]); 2] = [
    (
        Family::V4,
        &[
            "accept_local",
            "accept_redirects",
            "accept_source_route",
            "arp_accept",
            "arp_announce",
            "arp_filter",
            "arp_ignore",
            "arp_notify",
            "forwarding",
            "log_martians",
            "promote_secondaries",
            "proxy_arp",
            "route_localnet",
            "secure_redirects",
            "send_redirects",
            "shared_media",
            "src_valid_mark",
        ],
    ),
    (
        Family::V6,
        &[
            "disable_ipv6",
            "addr_gen_mode",
            "accept_dad",
            "accept_ra",
            "accept_ra_defrtr",
            "accept_ra_min_hop_limit",
            "accept_ra_mtu",
            "accept_ra_pinfo",
            "accept_ra_rt_info_max_plen",
            "accept_ra_rtr_pref",
            "accept_redirects",
            "autoconf",
            "dad_transmits",
            "forwarding",
            "hop_limit",
            "max_addresses",
            "proxy_ndp",
            "temp_prefered_lft",
            "temp_valid_lft",
            "use_tempaddr",
        ],
    ),
];

/// Whether a packet must come from where an answer would go; at the end, because for a moment it does not.
const FILTER: &str = "rp_filter";

/// Lets packets in whatever their way back.
pub fn no_filter(link: &IfName) {
    set(Family::V4, link, FILTER, "0");
}

/// Gives `onto` the reverse path filter of `from`.
pub fn copy_filter(from: &IfName, onto: &IfName) {
    if let Ok(wanted) = sysctl::get(Family::V4, from, FILTER) {
        set(Family::V4, onto, FILTER, &wanted);
    }
}

/// Gives `onto` the settings of `from` where they differ, but lets packets in whatever their way back. What a kernel does
/// not have, or refuses, is left as it is.
pub fn copy(from: &IfName, onto: &IfName) {
    no_filter(onto);
    for (family, keys) in SETTINGS {
        for key in keys {
            let (Ok(wanted), Ok(there)) = (sysctl::get(family, from, key), sysctl::get(family, onto, key))
            else {
                continue;
            };
            if wanted != there
                && let Err(error) = sysctl::set(family, onto, key, &wanted)
            {
                tracing::warn!(%error, "the setting {key} of {from} was not taken over for {onto}");
            }
        }
    }
}

/// A setting of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Whether it is one of IPv6's.
    pub v6: bool,
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// The settings of a link of the host's, as far as the kernel has them.
pub fn read(host: &dyn Namespaces, link: &IfName) -> Vec<Setting> {
    let all = SETTINGS.into_iter().flat_map(|(family, keys)| keys.iter().map(move |key| (family, *key)));
    let all = all.chain([(Family::V4, FILTER)]);
    let read = all.filter_map(|(family, key)| {
        let value = host.setting(family, link, key).ok()?;
        Some(Setting { v6: family == Family::V6, key: key.to_owned(), value })
    });
    read.collect()
}

/// Gives a link of the host's settings it had before, where they differ.
pub fn write(host: &dyn Namespaces, link: &IfName, settings: &[Setting]) {
    for Setting { v6, key, value } in settings {
        let family = if *v6 { Family::V6 } else { Family::V4 };
        if host.setting(family, link, key).is_ok_and(|there| there != *value)
            && let Err(error) = host.set(family, link, key, value)
        {
            not_set(link, key, value, &error);
        }
    }
}

fn set(family: Family, link: &IfName, key: &str, value: &str) {
    if let Err(error) = sysctl::set(family, link, key, value) {
        not_set(link, key, value, &error);
    }
}

fn not_set(link: &IfName, key: &str, value: &str, error: &std::io::Error) {
    tracing::warn!(%error, "{key} of {link} could not be set to {value}");
}
