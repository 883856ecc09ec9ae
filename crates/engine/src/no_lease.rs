//! Why there is no lease, in words.

use landline_dhcp::v4::{StateName, Unusable};
use landline_links::{ParentIs, facts_of};
use landline_options::Mode;
use landline_types::IfName;

/// What is wrong, and what to do about it.
pub(crate) type Reason = (Box<str>, Box<str>);

/// How far a client that has no lease got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// The machine's state.
    pub(crate) state: StateName,
    /// What was wrong with the last answer that could not be used.
    pub(crate) unusable: Option<Unusable>,
}

/// Why there is no lease on a network of this mode and parent. `serves`: whether a DHCP server runs on this host.
pub(crate) fn reason(attempt: Attempt, mode: Mode, parent: &IfName, serves: bool) -> Reason {
    if let Some(unusable) = attempt.unusable {
        return flaw(unusable);
    }
    // A link that the host routes to is not on its NIC, and is no reason for a bridge.
    let on_nic = facts_of(mode).parent == ParentIs::Nic && !facts_of(mode).host_routes();
    match attempt.state {
        StateName::Selecting | StateName::Init if serves && on_nic => (
            "no DHCP server offered an address".into(),
            format!(
                "a DHCP server runs on this host (UDP port 67), and no packet passes between {parent} and its {mode} \
                 children; if it is to serve them, put {parent} into a bridge (landline bridge adopt {parent} --as \
                 br-{parent}) and use -o mode=bridge -o bridge=br-{parent}, or run the server on another machine"
            )
            .into(),
        ),
        StateName::Selecting | StateName::Init => (
            "no DHCP server offered an address".into(),
            "check that a server serves this LAN and has addresses left, that the parent is plugged in, and that no \
             firewall drops bridged traffic (landline doctor looks for that); a slow server needs a larger \
             -o lease_timeout"
                .into(),
        ),
        _ => {
            ("a DHCP server offered an address but did not confirm it".into(), "look at the server's log".into())
        }
    }
}

fn flaw(unusable: Unusable) -> Reason {
    match unusable {
        Unusable::Anonymous { from } => (
            format!("the DHCP server at {from} answered without its server identifier (option 54)").into(),
            "no client can use such an answer (RFC 2131 section 4.3.1); set the server to send it, or use another one"
                .into(),
        ),
        Unusable::Stranger { asked, said } => (
            format!(
                "the DHCP server {asked} offered an address, but what confirmed it calls itself {said} (option 54)"
            )
            .into(),
            "an answer of a server that was not asked is not used; look for a second server, or set the server to send \
             one identifier in all its answers"
                .into(),
        ),
        Unusable::NotAllowed { server } => (
            format!("the DHCP server {server} answered, which dhcp_servers or dhcp_deny_servers excludes, and no other one").into(),
            "check that the servers that you want run, or accept this one in -o dhcp_servers and dhcp_deny_servers"
                .into(),
        ),
        Unusable::NoAddress { server, address } => (
            format!("the DHCP server {server} offered {address}, which no host can use").into(),
            "check the server's pool, its subnet mask and its lease time".into(),
        ),
    }
}

/// Whether a table of UDP sockets (`proc_net(5)`, `/proc/net/udp`) has one on a DHCP server's port.
pub(crate) fn has_server(table: &str) -> bool {
    const SERVER_PORT: &str = ":0043";
    let local = |line: &str| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(SERVER_PORT));
    table.lines().skip(1).any(local)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn said(attempt: Attempt, mode: Mode, serves: bool) -> String {
        let (why, hint) = reason(attempt, mode, &"eth0".parse().unwrap(), serves);
        format!("{why}; {hint}")
    }

    const SILENCE: Attempt = Attempt { state: StateName::Selecting, unusable: None };

    #[test]
    fn the_cause_is_named() {
        let flawed = |unusable| said(Attempt { unusable: Some(unusable), ..SILENCE }, Mode::Bridge, false);
        assert!(flawed(Unusable::Anonymous { from: SERVER }).starts_with(
            "the DHCP server at 192.0.2.1 answered without its server identifier (option 54); "
        ));
        let stranger = flawed(Unusable::Stranger { asked: SERVER, said: Ipv4Addr::new(192, 0, 2, 9) });
        assert!(
            stranger.contains("192.0.2.1 offered an address, but what confirmed it calls itself 192.0.2.9"),
            "{stranger}"
        );
        assert!(flawed(Unusable::NotAllowed { server: SERVER }).contains("dhcp_servers"));
        assert!(
            flawed(Unusable::NoAddress { server: SERVER, address: SERVER }).contains("which no host can use")
        );
        let asked = Attempt { state: StateName::Requesting, ..SILENCE };
        assert!(said(asked, Mode::Bridge, false).contains("did not confirm it"));
    }

    #[test]
    fn a_server_on_this_host_does_not_reach_children_of_its_nic() {
        let hint = said(SILENCE, Mode::Macvlan, true);
        assert!(hint.contains("no packet passes between eth0 and its macvlan children"), "{hint}");
        assert!(hint.contains("-o mode=bridge -o bridge=br-eth0"), "{hint}");
        for (mode, serves) in [(Mode::Macvlan, false), (Mode::Bridge, true), (Mode::Routed, true)] {
            assert!(said(SILENCE, mode, serves).contains("check that a server serves this LAN"));
        }
    }

    #[test]
    fn a_server_is_seen_by_its_port() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n";
        let line =
            |local: &str| format!("{head}  321: {local} 00000000:0000 07 00000000:00000000 00:00000000\n");
        assert!(has_server(&line("00000000:0043")));
        assert!(has_server(&line("0A0200C0:0043")));
        assert!(!has_server(&line("00000000:0044")) && !has_server(head) && !has_server(""));
    }
}
