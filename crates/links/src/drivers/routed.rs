//! `mode=routed`: a veth whose host end is the container's next hop. The host routes to the container's address and answers for it on
//! the parent (`landline-routed`), so the LAN sees no hardware address but the parent's.
//!
//! In the container everything is as on the LAN: its address, its subnet, its router. The host end answers ARP requests for all that
//! the host routes elsewhere (RFC 1027), so the container sends everything to it, also what is for its neighbours on the LAN.

use std::{fmt, io};

use landline_kernel::sysctl::{self, Family};
use landline_kernel::{Link, LinkKind as Kind};
use landline_options::Mode;
use landline_types::IfName;

use crate::driver::describe;
use crate::facts::{HostEnd, LinkFacts, MacOf, ParentIs, Prefix, Reach, VlanBy};
use crate::host::{HostError, LinuxHost};
use crate::mark::{End, host_end_mac};
use crate::plan::{DriverStep, LinkType, Plan, Step};
use crate::uses::{Use, use_of};
use crate::{LinkDriver, LinkRequest, ParentError};

pub(crate) struct Routed;

const FACTS: LinkFacts = LinkFacts {
    parent: ParentIs::Nic,
    host_end: HostEnd::NextHop,
    // Nobody but the host sees the container's own. With the parent's, the container is told apart as the LAN does it.
    mac: MacOf::Parent,
    reach: Reach::Direct,
    vlan: VlanBy::None,
    shim: None,
    prefix: Prefix::Word("eth"),
};

impl LinkDriver for Routed {
    fn facts(&self) -> &'static LinkFacts {
        &FACTS
    }

    /// The interface by which the host itself is on the LAN, of whatever kind: nothing is attached to it.
    fn check(&self, parent: &Link, links: &[Link]) -> Result<(), ParentError> {
        let name = parent.name.clone();
        let wrong = |what, hint| {
            let name = name.clone();
            Err(ParentError::WrongKind { name, what, mode: Mode::Routed, hint })
        };
        let hint = || "name the interface that has the host's address on the LAN".to_owned();
        if parent.loopback {
            return wrong(describe(parent), hint());
        }
        if !parent.ethernet {
            return wrong("not an Ethernet interface".into(), hint());
        }
        if let Use::Port(owner) = use_of(parent, links) {
            let owner = owner.filter(|owner| owner.kind != Kind::OpenVswitch);
            let hint = owner.map_or_else(hint, |owner| format!("use its owner: -o parent={}", owner.name));
            return wrong("a port of another interface".into(), hint);
        }
        if parent.up { Ok(()) } else { Err(ParentError::Down { name }) }
    }

    fn endpoint(&self, request: &LinkRequest<'_>) -> Plan {
        let host = request.end(End::Host, host_end_mac(request.mac, request.parent.mac));
        let container = request.container_end();
        let (outer, inner) = (host.name.clone(), container.name.clone());
        Plan {
            steps: vec![
                Step::AddLink { link: host, kind: LinkType::Veth { peer: container } },
                RouteFor { link: outer.clone() }.into(),
                Step::Up { link: outer },
                Step::Up { link: inner },
            ],
        }
    }
}

/// Makes a link a container's next hop for everything: the host passes on what comes in by it, and answers there, at once, for
/// whatever it routes elsewhere (the kernel's `ip-sysctl` documentation). Ends with the link.
#[derive(Debug)]
struct RouteFor {
    link: IfName,
}

/// Settings of the link, in `net/ipv4/conf`: it forwards and answers; the container sends from its own address only, to which the one
/// route by this link leads (`rp_filter`), and there are no redirects, since nobody else is on the link.
const SETTINGS: [(&str, &str); 5] = [
    ("forwarding", "1"),
    ("proxy_arp", "1"),
    ("rp_filter", "1"),
    ("accept_redirects", "0"),
    ("send_redirects", "0"),
];

/// In `net/ipv6/conf`: the host has no business with the container there.
const NO_IPV6: (&str, &str) = ("disable_ipv6", "1");

/// In `net/ipv4/neigh`.
const AT_ONCE: (&str, &str) = ("proxy_delay", "0");

impl fmt::Display for RouteFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link } = self;
        for (key, value) in SETTINGS {
            writeln!(f, "sysctl -w net/ipv4/conf/{link}/{key}={value}")?;
        }
        let ((key, value), (at_once, none)) = (NO_IPV6, AT_ONCE);
        writeln!(f, "sysctl -w net/ipv6/conf/{link}/{key}={value}")?;
        write!(f, "sysctl -w net/ipv4/neigh/{link}/{at_once}={none}")
    }
}

impl DriverStep for RouteFor {
    fn apply(&self, _host: &LinuxHost) -> Result<(), HostError> {
        let set = |family, (key, value)| {
            let failed = |source| HostError::Sysctl { link: self.link.clone(), key, source };
            sysctl::set(family, &self.link, key, value).or_else(|error| match family {
                // A kernel without IPv6.
                Family::V6 if error.kind() == io::ErrorKind::NotFound => Ok(()),
                _ => Err(failed(error)),
            })
        };
        SETTINGS.into_iter().try_for_each(|setting| set(Family::V4, setting))?;
        set(Family::V6, NO_IPV6)?;
        set(Family::Arp, AT_ONCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::link;

    fn refusal(parent: &Link, links: &[Link]) -> String {
        Routed.check(parent, links).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn whatever_has_the_hosts_address_on_the_lan_can_be_the_parent() {
        let nic = link(2, "eth0", Kind::Physical);
        let bridge = link(3, "br0", Kind::Bridge { vlan_filtering: false });
        let radio = Link { wireless: true, ..nic.clone() };
        let child = Link { parent: Some(2), ..link(7, "child0", Kind::Macvlan { mode: None }) };
        for parent in [&nic, &bridge, &radio, &child] {
            assert_eq!(refusal(parent, std::slice::from_ref(&child)), "", "{}", parent.name);
        }
        let port = Link { controller: Some(3), ..nic.clone() };
        assert!(refusal(&port, &[bridge]).ends_with("use its owner: -o parent=br0"));
        let datapath = link(3, "ovs-system", Kind::OpenVswitch);
        let says = refusal(&port, &[datapath]);
        assert!(says.ends_with("name the interface that has the host's address on the LAN"), "{says}");
        assert!(refusal(&Link { up: false, ..nic.clone() }, &[]).ends_with("ip link set eth0 up"));
        assert!(refusal(&Link { loopback: true, ..nic }, &[]).contains("the loopback interface"));
    }

    #[test]
    fn the_hosts_end_answers_at_once_and_takes_what_is_from_the_container_only() {
        let step = RouteFor { link: "llh0".parse().unwrap() };
        assert_eq!(
            step.to_string(),
            "sysctl -w net/ipv4/conf/llh0/forwarding=1\n\
             sysctl -w net/ipv4/conf/llh0/proxy_arp=1\n\
             sysctl -w net/ipv4/conf/llh0/rp_filter=1\n\
             sysctl -w net/ipv4/conf/llh0/accept_redirects=0\n\
             sysctl -w net/ipv4/conf/llh0/send_redirects=0\n\
             sysctl -w net/ipv6/conf/llh0/disable_ipv6=1\n\
             sysctl -w net/ipv4/neigh/llh0/proxy_delay=0"
        );
    }
}
