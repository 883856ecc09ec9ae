//! Keeping Open vSwitch's ports and endpoints together: after a restart of either side, a reboot, somebody's `ovs-vsctl`.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use landline_engine::{Endpoint, Engine};
use landline_kernel::NameWatch;
use landline_leases::{Inventory, Shared};
use landline_links::ovs::{CONTAINER, add_port, connect, socket, vlans};
use landline_links::{Host, HostEnd, blocking, facts_of};
use landline_options::{EndpointId, NetworkId, NetworkOptions};
use landline_ovsdb::{Client, Error, Port};
use landline_types::IfName;
use tokio::sync::watch;
use tokio::time::Instant;

use plan::{Action, Wanted, plan};

/// The pauses between attempts: the first, and the longest. One that makes its socket again is back at once.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Starts to follow the switch, while there is a network that needs it, until the daemon ends. Must be called within a tokio
/// runtime.
pub fn start(shared: &Shared, engine: &Arc<Engine>) {
    let cancel = shared.services.cancel.clone();
    let follow = follow(shared.host.clone(), engine.clone(), engine.inventory());
    tokio::spawn(cancel.run_until_cancelled_owned(follow));
}

async fn follow(host: Arc<dyn Host>, engine: Arc<Engine>, inventory: watch::Receiver<Inventory>) {
    tidy(&host, &engine).await;
    let mut ports = Ports { inventory, seen: BTreeMap::new() };
    let mut pause = PAUSES.0;
    let mut told = false;
    // From before each attempt, so that nothing is missed that comes after it.
    let mut there = None;
    loop {
        while !ports.look() {
            ports.changed().await;
        }
        let mut worked = false;
        there = there.or_else(|| NameWatch::open(&socket()).ok());
        let ended = session(&host, &engine, &mut ports, &mut worked).await;
        if worked {
            (pause, told) = (PAUSES.0, false);
        }
        match ended {
            Ok(()) => continue,
            // Said once, not at every attempt.
            Err(error) if !told => {
                tracing::warn!(error = %landline_types::chain(&error), "Open vSwitch cannot be followed");
                told = true;
            }
            Err(_) => {}
        }
        let back = NameWatch::appears_within(&mut there, pause).await;
        pause = if back { PAUSES.0 } else { PAUSES.1.min(pause * 2) };
    }
}

/// Removes what was left of networks that are gone meanwhile. Hosts without Open vSwitch are none of its business.
async fn tidy(host: &Arc<dyn Host>, engine: &Engine) {
    let Ok(mut client) = connect().await else { return };
    if let Err(error) = audit(host, engine, &mut client).await {
        tracing::debug!(error = %landline_types::chain(&error), "Open vSwitch not looked at");
    }
}

/// The time from one look at the database to the next: others may write into it as often as they like.
const MOMENT: Duration = Duration::from_millis(250);

/// One connection, to its end. `Ok`: nobody needs it any more.
async fn session(
    host: &Arc<dyn Host>,
    engine: &Engine,
    ports: &mut Ports,
    worked: &mut bool,
) -> Result<(), Error> {
    let mut client = connect().await?;
    client.watch().await?;
    while ports.look() {
        audit(host, engine, &mut client).await?;
        *worked = true;
        let next = Instant::now() + MOMENT;
        tokio::select! {
            changed = client.changed() => changed?,
            () = ports.changed() => {}
        }
        tokio::time::sleep_until(next).await;
    }
    Ok(())
}

/// The networks on the switch, and the names of the containers on each.
type Seen = BTreeMap<NetworkId, BTreeMap<EndpointId, String>>;

/// Our side of the switch.
struct Ports {
    inventory: watch::Receiver<Inventory>,
    seen: Seen,
}

impl Ports {
    /// Looks at it; whether there is a network that needs the switch.
    fn look(&mut self) -> bool {
        self.seen = seen(&self.inventory.borrow_and_update());
        !self.seen.is_empty()
    }

    /// Resolves when it is another than when it was last looked at. Cancel-safe.
    async fn changed(&mut self) {
        loop {
            if self.inventory.changed().await.is_err() {
                return std::future::pending().await;
            }
            if seen(&self.inventory.borrow_and_update()) != self.seen {
                return;
            }
        }
    }
}

/// Whether endpoints with these options have ports on the switch.
fn on_switch(options: &NetworkOptions) -> bool {
    facts_of(options.mode).host_end == HostEnd::SwitchPort
}

fn seen(inventory: &Inventory) -> Seen {
    let networks = inventory.networks.values().filter(|network| on_switch(&network.options));
    let mut seen: Seen = networks.map(|network| (network.id.clone(), BTreeMap::new())).collect();
    for record in inventory.endpoints.values().map(|present| &present.record) {
        if let (Some(names), Some(container)) = (seen.get_mut(&record.network), &record.container) {
            names.insert(record.id.clone(), container.name.clone());
        }
    }
    seen
}

/// Removes ports of ours whose links are gone, and adds those that are missing or broken.
async fn audit(host: &Arc<dyn Host>, engine: &Engine, client: &mut Client) -> Result<(), Error> {
    let switch = client.switch().await?;
    let host = host.clone();
    // Looked at after the switch: a port is made after its link.
    let ends = match blocking(move || host.links()).await {
        Ok(links) => plan::ends(&links),
        Err(error) => {
            tracing::warn!(error = %landline_types::chain(&error), "the host's links cannot be listed");
            return Ok(());
        }
    };
    let endpoints = engine.endpoints();
    let mut wanted = Vec::new();
    for endpoint in endpoints.iter().filter(|endpoint| on_switch(endpoint.state.options())) {
        let options = endpoint.state.options();
        wanted.push(Wanted {
            id: endpoint.state.id().clone(),
            bridge: options.parent.clone(),
            vlans: vlans(options),
            container: endpoint.state.read().await.container.map(|container| container.name),
        });
    }
    let mut failed = None;
    for action in plan(&switch, &ends, &wanted) {
        match action {
            Action::Remove(port) => {
                tracing::info!(
                    port = port.name,
                    bridge = port.bridge,
                    "removing a port of Landline's whose container is gone"
                );
                client.remove_port(port).await?;
            }
            Action::Name(port, name) => {
                failed = one_port(client.set_external_id(port, CONTAINER, name).await)?.or(failed);
            }
            Action::Connect { endpoint: wanted, link, old } => {
                let endpoint = endpoints.iter().find(|endpoint| *endpoint.state.id() == wanted.id);
                // What is being made or removed is looked after.
                let (Some(endpoint), Some(_turn)) = (endpoint, engine.turn_if_idle(&wanted.id)) else {
                    continue;
                };
                failed = one_port(connect_link(client, endpoint, wanted, link, old).await)?.or(failed);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn connect_link(
    client: &mut Client,
    endpoint: &Endpoint,
    wanted: &Wanted,
    link: &IfName,
    old: Option<&Port>,
) -> Result<(), Error> {
    if let Some(port) = old {
        client.remove_port(port).await?;
    }
    tracing::info!(link = %link, bridge = %wanted.bridge, "putting a link back into its Open vSwitch bridge");
    add_port(client, &wanted.id, link, &wanted.bridge, &wanted.vlans).await?;
    endpoint.reconnected();
    Ok(())
}

/// What failed for one port only: the others' ports can be put back all the same.
fn one_port(result: Result<(), Error>) -> Result<Option<Error>, Error> {
    match result {
        Ok(()) => Ok(None),
        Err(error) if of_one_port(&error) => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// Whether it says something about one port, and not about the switch.
fn of_one_port(error: &Error) -> bool {
    use Error::{NoBridge, NoDatapath, Port, PortExists, Refused};
    matches!(error, Port { .. } | PortExists(_) | Refused(_) | NoBridge { .. } | NoDatapath(_))
}

#[cfg(test)]
mod tests {
    use landline_leases::Present;
    use landline_model::{ContainerRecord, EndpointRecord, NetworkRecord};
    use landline_options::Mode;

    use super::*;

    fn network_id(n: u8) -> NetworkId {
        format!("{n:064}").parse().unwrap()
    }

    fn network(n: u8, mode: Mode) -> NetworkRecord {
        let options = NetworkOptions { mode, ..NetworkOptions::new("br0".parse().unwrap()) };
        NetworkRecord::new(network_id(n), options)
    }

    fn endpoint(n: u8, network: u8, container: Option<&str>) -> Present {
        let id: EndpointId = format!("{n:064}").parse().unwrap();
        let record: EndpointRecord = serde_json::from_value(serde_json::json!({
            "id": id, "network": network_id(network), "mac": "02:00:00:00:00:01", "link": "llc0", "prefix": "eth",
            "address": "none", "container": container.map(ContainerRecord::named),
        }))
        .unwrap();
        Present::new(&record)
    }

    /// A switch with a network, and a bridge with another.
    fn inventory(endpoints: Vec<Present>) -> Inventory {
        Inventory::of([network(1, Mode::Ovs), network(2, Mode::Bridge)], endpoints)
    }

    #[test]
    fn the_switchs_networks_count_and_the_names_on_them() {
        assert!(seen(&Inventory::default()).is_empty());
        let all = vec![
            endpoint(1, 1, Some("web")),
            endpoint(2, 1, None),
            endpoint(3, 2, Some("db")),
            endpoint(4, 9, Some("lost")),
        ];
        let names: BTreeMap<EndpointId, String> =
            [(endpoint(1, 1, None).record.id.clone(), "web".to_owned())].into();
        assert_eq!(seen(&inventory(all)), [(network_id(1), names)].into());
        // One without containers needs the switch all the same.
        assert_eq!(seen(&inventory(vec![])), [(network_id(1), BTreeMap::new())].into());
    }

    /// A switch that refuses one port, for a bridge of others or a name that is taken, still takes the others.
    #[test]
    fn what_is_said_about_one_port_keeps_no_other_from_its_place() {
        let of_one = || Error::PortExists("llh1".to_owned());
        assert!(matches!(one_port(Err(of_one())), Ok(Some(Error::PortExists(_)))));
        assert!(matches!(one_port(Ok(())), Ok(None)));
        for whole in [Error::Io(std::io::ErrorKind::ConnectionReset.into()), Error::Nonsense("rows")] {
            assert!(one_port(Err(whole)).is_err(), "there is no switch to go on with");
        }
    }

    fn ports(inventory: Inventory) -> (watch::Sender<Inventory>, Ports) {
        let (sender, receiver) = watch::channel(inventory);
        (sender, Ports { inventory: receiver, seen: Seen::new() })
    }

    #[test]
    fn the_switch_is_followed_while_a_network_needs_it() {
        let (sender, mut ports) = ports(Inventory::default());
        assert!(!ports.look());
        sender.send_replace(inventory(vec![]));
        assert!(ports.look());
        sender.send_replace(Inventory::of([network(2, Mode::Bridge)], []));
        assert!(!ports.look(), "the last one is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_but_what_the_switch_shows_wakes_it_up() {
        let (sender, mut ports) = ports(inventory(vec![endpoint(1, 1, None)]));
        ports.look();
        let wakes = async |ports: &mut Ports| {
            let waits = Duration::from_secs(1);
            tokio::time::timeout(waits, ports.changed()).await.is_ok()
        };
        assert!(!wakes(&mut ports).await);
        // A link that was set up in its sandbox, and a container of another network.
        let mut set_up = inventory(vec![endpoint(1, 1, None), endpoint(3, 2, Some("db"))]);
        set_up.endpoints.values_mut().for_each(|present| present.set_up += 1);
        sender.send_replace(set_up);
        assert!(!wakes(&mut ports).await);
        sender.send_replace(inventory(vec![endpoint(1, 1, Some("web"))]));
        assert!(wakes(&mut ports).await, "its name is known");
        ports.look();
        sender.send_replace(inventory(vec![]));
        assert!(wakes(&mut ports).await, "it has ended");
        ports.look();
        drop(sender);
        assert!(!wakes(&mut ports).await, "the engine has ended");
    }
}
