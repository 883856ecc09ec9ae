//! Events.

use landline_kernel::{
    Address, Event, Group, LinkChange, Monitor, Neighbour, Netns, NewLink, NewLinkKind, PortState, Route,
};
use tokio::time::timeout;

use crate::lab::{DEADLINE, lab, link, mac, name, pair};

/// The first event the caller wants; fails after a while.
async fn wait<T>(monitor: &mut Monitor, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(monitor.next().await) {
                return found;
            }
        }
    };
    timeout(DEADLINE, found).await.expect("the event never came")
}

#[tokio::test]
async fn links_come_change_and_go() {
    let (ns, mut netlink) = lab();
    let mut monitor = Monitor::open_in(&ns, &[Group::Links]).unwrap();
    let (a, b) = pair(&mut netlink);
    let seen = wait(&mut monitor, |event| match event {
        Event::LinkNew(link) if link.index == a.index && link.lower_up => Some(link),
        _ => None,
    });
    assert_eq!(seen.await.mac, a.mac);

    netlink.delete_link(a.index).unwrap();
    for _ in 0..2 {
        let gone = wait(&mut monitor, |event| match event {
            Event::LinkGone { index, name, netns, .. } => Some((index, name, netns)),
            _ => None,
        });
        let (index, gone, netns) = gone.await;
        assert!([a.index, b.index].contains(&index));
        assert!([Some(name("a")), Some(name("b"))].contains(&gone));
        assert_eq!(netns, None);
    }
}

#[tokio::test]
async fn a_link_that_moved_away_says_where() {
    let (ns, mut netlink) = lab();
    let elsewhere = Netns::create().unwrap();
    let (a, _) = pair(&mut netlink);
    let mut monitor = Monitor::open_in(&ns, &[Group::Links]).unwrap();
    netlink.set_link(a.index, &LinkChange::new().netns(&elsewhere).name(name("eth0"))).unwrap();
    let (gone, netns, new_index) = wait(&mut monitor, |event| match event {
        Event::LinkGone { index, name, netns, new_index } if index == a.index => {
            Some((name, netns, new_index))
        }
        _ => None,
    })
    .await;
    assert_eq!(gone, Some(name("a")));
    assert!(netns.is_some());
    assert_eq!(new_index, Some(a.index));
}

#[tokio::test]
async fn leaving_a_bridge_is_not_going_away() {
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    netlink.add_link(&NewLink::new(name("br0"), NewLinkKind::Bridge)).unwrap();
    let port_of = link(&mut netlink, "br0").index;
    let mut monitor = Monitor::open_in(&ns, &[Group::Links]).unwrap();
    netlink.set_link(a.index, &LinkChange::new().controller(Some(port_of))).unwrap();
    netlink.set_link(a.index, &LinkChange::new().controller(None)).unwrap();
    netlink.delete_link(b.index).unwrap();
    let (mut joined, mut left) = (false, false);
    wait(&mut monitor, |event| match event {
        Event::LinkNew(link) if link.index == a.index => {
            joined |= link.controller == Some(port_of);
            left |= joined && link.controller.is_none();
            None
        }
        Event::LinkGone { index, .. } if index == b.index => Some(()),
        Event::LinkGone { index, .. } if index == a.index => {
            assert!(!left || netlink.link_by_index(a.index).unwrap().is_none(), "gone while there");
            None
        }
        _ => None,
    })
    .await;
    assert!(joined && left);
}

#[tokio::test]
async fn addresses_routes_and_neighbours_come_and_go() {
    let (ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    let groups = [Group::Addresses, Group::Routes, Group::Neighbours];
    let mut monitor = Monitor::open_in(&ns, &groups).unwrap();

    let address = Address::new(a.index, "192.0.2.7/24".parse().unwrap());
    netlink.add_address(&address).unwrap();
    let route = Route::via("0.0.0.0/0".parse().unwrap(), "192.0.2.1".parse().unwrap()).oif(a.index);
    netlink.add_route(&route).unwrap();
    let neighbour = Neighbour::permanent(a.index, "192.0.2.9".parse().unwrap(), mac(9));
    netlink.add_neighbour(&neighbour).unwrap();
    netlink.delete_neighbour(&neighbour).unwrap();
    netlink.delete_route(&route).unwrap();
    netlink.delete_address(&address).unwrap();

    let mut story = Vec::new();
    wait(&mut monitor, |event| {
        match event {
            Event::AddressNew(got) if got.net == address.net => story.push("address"),
            Event::RouteNew(got) if got == route => story.push("route"),
            Event::NeighbourNew(got) if got == neighbour => story.push("neighbour"),
            Event::NeighbourGone(got) if got.address == neighbour.address => story.push("no neighbour"),
            Event::RouteGone(got) if got == route => story.push("no route"),
            Event::AddressGone(got) if got.net == address.net => return Some(()),
            _ => {}
        }
        None
    })
    .await;
    assert_eq!(story, ["address", "route", "neighbour", "no neighbour", "no route"]);
}

#[tokio::test]
async fn a_monitor_that_fell_behind_says_so() {
    let (ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    let mut monitor = Monitor::open_in(&ns, &[Group::Neighbours]).unwrap();
    // More than fits the backlog while nobody reads.
    for last in 0..8000u16 {
        let [high, low] = last.to_be_bytes();
        let address = std::net::Ipv4Addr::new(198, 51, high, low).into();
        netlink.replace_neighbour(&Neighbour::permanent(a.index, address, mac(9))).unwrap();
        netlink.delete_neighbour(&Neighbour::permanent(a.index, address, mac(9))).unwrap();
    }
    wait(&mut monitor, |event| (event == Event::Overrun).then_some(())).await;
    // From here on nothing is missing.
    let last = Neighbour::permanent(a.index, "192.0.2.9".parse().unwrap(), mac(9));
    netlink.add_neighbour(&last).unwrap();
    wait(&mut monitor, |event| (event == Event::NeighbourNew(last.clone())).then_some(())).await;
}

#[tokio::test]
async fn a_port_that_begins_to_forward_is_told() {
    let (ns, mut netlink) = lab();
    netlink.add_link(&NewLink { up: true, ..NewLink::new(name("br0"), NewLinkKind::Bridge) }).unwrap();
    let bridge = link(&mut netlink, "br0");
    assert_eq!((bridge.forward_delay, bridge.port_state), (None, None), "no spanning tree");
    // Two seconds are the least the kernel takes.
    ns.run(|| {
        std::process::Command::new("ip")
            .args(["link", "set", "br0", "type", "bridge", "stp_state", "1", "forward_delay", "200"])
            .status()
    })
    .unwrap()
    .unwrap();
    let delay = link(&mut netlink, "br0").forward_delay;
    assert_eq!(delay, Some(std::time::Duration::from_secs(2)));

    let (a, b) = pair(&mut netlink);
    netlink.set_link(b.index, &LinkChange::new().up()).unwrap();
    let mut monitor = Monitor::open_in(&ns, &[Group::Links]).unwrap();
    netlink.set_link(a.index, &LinkChange::new().controller(Some(bridge.index)).up()).unwrap();
    let mut seen = Vec::new();
    wait(&mut monitor, |event| match event {
        Event::Port { index, state } if index == a.index => {
            if seen.last() != Some(&state) {
                seen.push(state);
            }
            (state == PortState::Forwarding).then_some(())
        }
        _ => None,
    })
    .await;
    let held: Vec<_> = seen.iter().filter(|state| state.is_held()).collect();
    assert_eq!(held, [&PortState::Listening, &PortState::Learning], "{seen:?}");
    let port = link(&mut netlink, a.name.as_str());
    assert!(port.port_state == Some(PortState::Forwarding) && port.carries());
}
