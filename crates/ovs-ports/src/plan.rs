//! What is to be done so that the switch's ports and the endpoints agree, as a value.

use landline_kernel::Link;
use landline_links::mark::End;
use landline_links::mark_of;
use landline_links::ovs::{CONTAINER, owner};
use landline_options::EndpointId;
use landline_ovsdb::{Port, Switch, Vlans};
use landline_types::IfName;

/// An endpoint whose link belongs on a bridge of the switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its id.
    pub(super) id: EndpointId,
    /// The bridge.
    pub(super) bridge: IfName,
    /// The VLANs of its port.
    pub(super) vlans: Vlans,
    /// The name of its container, if that is known.
    pub(super) container: Option<String>,
}

/// One change of the switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action<'a> {
    /// Removes a port of Landline's whose link is gone.
    Remove(&'a Port),
    /// Writes the name of the container to its port, for people.
    Name(&'a Port, &'a str),
    /// Adds the port of an endpoint.
    Connect {
        /// The endpoint.
        endpoint: &'a Wanted,
        /// Its link's end on the host.
        link: &'a IfName,
        /// Its port that does not work, or is on another bridge; removed first.
        old: Option<&'a Port>,
    },
}

/// The ends of endpoints' links on the host.
pub(super) fn ends(links: &[Link]) -> Vec<(EndpointId, IfName)> {
    let end = |link: &Link| {
        let mark = mark_of(link).filter(|mark| mark.end == End::Host)?;
        Some((mark.endpoint, link.name.clone()))
    };
    links.iter().filter_map(end).collect()
}

/// The changes, in their order: ports whose links are gone are removed first, because their names may be needed. An endpoint
/// without an end on the host is being made or removed, and one whose bridge the switch does not have waits for the bridge.
pub(super) fn plan<'a>(
    switch: &'a Switch,
    ends: &'a [(EndpointId, IfName)],
    endpoints: &'a [Wanted],
) -> Vec<Action<'a>> {
    let is_stale = |port: &&Port| {
        owner(port).is_some_and(|id| !ends.iter().any(|(end, name)| *end == id && name.as_str() == port.name))
    };
    let stale = switch.ports.iter().filter(is_stale).map(Action::Remove);
    let due = endpoints.iter().filter_map(|endpoint| {
        let (_, link) = ends.iter().find(|(id, _)| *id == endpoint.id)?;
        let port = switch.port(link.as_str()).filter(|port| !is_stale(port));
        action(switch, endpoint, link, port)
    });
    stale.chain(due).collect()
}

/// What the endpoint needs. `port` has its link's name, and stays.
fn action<'a>(
    switch: &'a Switch,
    endpoint: &'a Wanted,
    link: &'a IfName,
    port: Option<&'a Port>,
) -> Option<Action<'a>> {
    let bridge = endpoint.bridge.as_str();
    if let Some(port) = port.filter(|port| port.bridge == bridge && port.trouble().is_none()) {
        let name = endpoint.container.as_ref().filter(|_| owner(port).as_ref() == Some(&endpoint.id))?;
        return (port.external_ids.get(CONTAINER) != Some(name)).then_some(Action::Name(port, name));
    }
    switch.bridge(bridge)?;
    let old = port.filter(|port| owner(port).as_ref() == Some(&endpoint.id));
    Some(Action::Connect { endpoint, link, old })
}

#[cfg(test)]
mod tests {
    use landline_kernel::LinkKind;
    use landline_links::fake::link;
    use landline_links::mark::Mark;
    use serde_json::{Value, json};

    use super::*;

    fn id(n: u8) -> EndpointId {
        format!("{n:064}").parse().unwrap()
    }

    /// The n-th endpoint, on `br0`.
    fn wanted(n: u8, container: Option<&str>) -> Wanted {
        let container = container.map(ToOwned::to_owned);
        Wanted { id: id(n), bridge: "br0".parse().unwrap(), vlans: Vlans::All, container }
    }

    /// Where the n-th endpoint's link ends on the host.
    fn end(n: u8) -> (EndpointId, IfName) {
        (id(n), format!("llh{n}").parse().unwrap())
    }

    /// A port: its name, its bridge, whose it is, and whether it works.
    #[derive(Clone, Copy)]
    struct Row(&'static str, &'static str, Owner, bool);

    #[derive(Clone, Copy)]
    enum Owner {
        /// Landline, for this endpoint, and what the port says of the container.
        Ours(u8, &'static str),
        /// Somebody else, who says the same of the endpoint.
        Theirs(u8),
        Nobody,
    }
    use Owner::{Nobody, Ours, Theirs};

    /// A switch with these bridges and ports.
    fn switch(bridges: &[&str], rows: &[Row]) -> Switch {
        let uuid = |table: u8, n: usize| json!(["uuid", format!("{table:08}-0000-4000-8000-{n:012}")]);
        let ports_of = |bridge: &str| -> Vec<Value> {
            let on_it = rows.iter().enumerate().filter(|(_, row)| row.1 == bridge);
            on_it.map(|(n, _)| uuid(2, n)).collect()
        };
        let bridge = |(n, name): (usize, &&str)| json!({"_uuid": uuid(1, n), "name": name, "ports": ["set", ports_of(name)]});
        let ids = |owner: Owner| match owner {
            Ours(n, "") => json!([["owner", "landline"], ["landline-endpoint", id(n)]]),
            Ours(n, container) => {
                json!([
                    ["owner", "landline"],
                    ["landline-endpoint", id(n)],
                    ["landline-container", container]
                ])
            }
            Theirs(n) => json!([["owner", "libvirt"], ["landline-endpoint", id(n)]]),
            Nobody => json!([]),
        };
        let port = |(n, row): (usize, &Row)| json!({"_uuid": uuid(2, n), "name": row.0, "external_ids": ["map", ids(row.2)], "interfaces": uuid(3, n)});
        let interface = |(n, row): (usize, &Row)| json!({"_uuid": uuid(3, n), "name": row.0, "ofport": if row.3 { 7 } else { -1 }});
        let bridges: Vec<Value> = bridges.iter().enumerate().map(bridge).collect();
        let ports: Vec<Value> = rows.iter().enumerate().map(port).collect();
        let interfaces: Vec<Value> = rows.iter().enumerate().map(interface).collect();
        let switch =
            Switch::read(&json!({"rows": bridges}), &json!({"rows": ports}), &json!({"rows": interfaces}));
        assert_eq!(switch.ports.len(), rows.len(), "each is on a bridge");
        switch
    }

    /// The plan, in words.
    fn says(switch: &Switch, ends: &[(EndpointId, IfName)], endpoints: &[Wanted]) -> Vec<String> {
        let say = |action: Action<'_>| match action {
            Action::Remove(port) => format!("remove {}", port.name),
            Action::Name(port, name) => format!("name {} {name}", port.name),
            Action::Connect { endpoint, link, old: None } => format!("connect {link} to {}", endpoint.bridge),
            Action::Connect { endpoint, link, old: Some(old) } => {
                format!("connect {link} to {} instead of {}", endpoint.bridge, old.bridge)
            }
        };
        plan(switch, ends, endpoints).into_iter().map(say).collect()
    }

    const NOTHING: [&str; 0] = [];

    #[test]
    fn a_port_that_works_stays_and_bears_the_containers_name() {
        let named = switch(&["br0"], &[Row("llh1", "br0", Ours(1, "web"), true)]);
        assert_eq!(says(&named, &[end(1)], &[wanted(1, Some("web"))]), NOTHING);
        assert_eq!(says(&named, &[end(1)], &[wanted(1, None)]), NOTHING, "its name is not known yet");
        assert_eq!(says(&named, &[end(1)], &[wanted(1, Some("shop"))]), ["name llh1 shop"]);
        let new = switch(&["br0"], &[Row("llh1", "br0", Ours(1, ""), true)]);
        assert_eq!(says(&new, &[end(1)], &[wanted(1, Some("web"))]), ["name llh1 web"]);
    }

    #[test]
    fn a_missing_port_is_added_where_its_bridge_is() {
        let bare = switch(&["br0"], &[]);
        assert_eq!(says(&bare, &[end(1)], &[wanted(1, Some("web"))]), ["connect llh1 to br0"]);
        assert_eq!(says(&switch(&["br1"], &[]), &[end(1)], &[wanted(1, None)]), NOTHING, "no such bridge");
    }

    #[test]
    fn a_port_that_does_not_work_or_is_on_another_bridge_is_replaced() {
        let broken = switch(&["br0"], &[Row("llh1", "br0", Ours(1, "web"), false)]);
        let all = [wanted(1, Some("web"))];
        assert_eq!(says(&broken, &[end(1)], &all), ["connect llh1 to br0 instead of br0"]);
        let moved = Row("llh1", "br1", Ours(1, "web"), true);
        assert_eq!(
            says(&switch(&["br0", "br1"], &[moved]), &[end(1)], &all),
            ["connect llh1 to br0 instead of br1"]
        );
        // Without the bridge there is nothing better.
        assert_eq!(says(&switch(&["br1"], &[moved]), &[end(1)], &all), NOTHING);
    }

    #[test]
    fn a_port_of_ours_whose_link_is_gone_is_removed() {
        let left = [Row("llh1", "br0", Ours(1, "web"), true), Row("llh2", "br1", Ours(2, ""), false)];
        let switch = switch(&["br0", "br1"], &left);
        assert_eq!(says(&switch, &[], &[]), ["remove llh1", "remove llh2"]);
        // Its endpoint is known still: it is being removed, or its link is gone meanwhile.
        assert_eq!(says(&switch, &[end(2)], &[wanted(1, Some("web"))]), ["remove llh1"]);
        // A link without a record is for the engine to remove, and its port goes then.
        assert_eq!(says(&switch, &[end(1), end(2)], &[]), NOTHING);
    }

    #[test]
    fn a_link_is_called_otherwise_than_its_port_of_before() {
        let renamed = switch(&["br0"], &[Row("old0", "br0", Ours(1, "web"), true)]);
        let all = [wanted(1, Some("web"))];
        assert_eq!(says(&renamed, &[end(1)], &all), ["remove old0", "connect llh1 to br0"]);
        // What has its name now was another endpoint's, and goes once.
        for works in [false, true] {
            let taken = switch(&["br0"], &[Row("llh1", "br0", Ours(2, ""), works)]);
            assert_eq!(says(&taken, &[end(1)], &all), ["remove llh1", "connect llh1 to br0"]);
        }
    }

    #[test]
    fn ports_of_others_are_never_changed() {
        let rows = [
            Row("eth0", "br0", Nobody, true),
            Row("br0", "br0", Nobody, true),
            Row("vnet0", "br0", Theirs(1), true),
            Row("vnet1", "br1", Nobody, false),
        ];
        assert_eq!(says(&switch(&["br0", "br1"], &rows), &[], &[wanted(1, None)]), NOTHING);
        // If somebody has put our link into the bridge by hand, that is fine.
        for theirs in [Nobody, Theirs(1)] {
            let switch = switch(&["br0"], &[Row("llh1", "br0", theirs, true)]);
            assert_eq!(says(&switch, &[end(1)], &[wanted(1, Some("web"))]), NOTHING);
        }
        // One with our link's name that is of no use is not removed: the switch refuses the new one, and says why.
        for theirs in [Row("llh1", "br1", Nobody, true), Row("llh1", "br0", Theirs(1), false)] {
            let switch = switch(&["br0", "br1"], &[theirs]);
            assert_eq!(says(&switch, &[end(1)], &[wanted(1, None)]), ["connect llh1 to br0"]);
        }
    }

    #[test]
    fn what_is_in_the_way_is_removed_before_anything_is_added() {
        let rows = [Row("llh3", "br0", Ours(3, "db"), true), Row("llh9", "br0", Ours(9, ""), true)];
        let switch = switch(&["br0"], &rows);
        let all = [wanted(1, None), wanted(3, Some("db2")), wanted(4, None)];
        assert_eq!(
            says(&switch, &[end(1), end(3), end(4)], &all),
            ["remove llh9", "connect llh1 to br0", "name llh3 db2", "connect llh4 to br0"]
        );
    }

    #[test]
    fn only_marked_ends_on_the_host_count() {
        let marked =
            |n: u32, alias: Option<String>| Link { alias, ..link(n, &format!("l{n}"), LinkKind::Veth) };
        let mark = |n, end| Some(Mark::new(&id(n), end).to_string());
        let links = [
            marked(1, mark(1, End::Host)),
            // It has not moved into its sandbox yet.
            marked(2, mark(1, End::Container)),
            marked(3, mark(3, End::Card)),
            marked(4, Some("uplink of the lab".to_owned())),
            marked(5, None),
        ];
        assert_eq!(ends(&links), [(id(1), "l1".parse().unwrap())]);
    }
}
