//! Keeping ports and endpoints together: after a restart of either side, a reboot, somebody's `ovs-vsctl`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use landline_kernel::NameWatch;
use landline_ovsdb::{Client, Error, Port, Switch};
use landline_spec::{EndpointId, Mode};
use landline_types::IfName;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{CONTAINER, add_port, connect, owner, vlans};
use crate::blocking;
use crate::engine::{Endpoint, Engine};
use crate::host::mark_of;
use crate::mark::End;

/// The pauses between attempts: the first, and the longest. One that makes its socket anew is back at once.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Tells the follower that something has changed on our side.
#[derive(Debug, Clone, Default)]
pub(crate) struct Poke(Arc<Notify>);

impl Poke {
    pub(crate) fn poke(&self) {
        self.0.notify_one();
    }
}

/// Follows the switch until `cancel`, while there is a network that needs it.
pub(crate) async fn run(engine: Weak<Engine>, poke: Poke, cancel: CancellationToken) {
    let work = async {
        sweep().await;
        follow(engine, poke).await;
    };
    cancel.run_until_cancelled(work).await;
}

/// Bridges that NICs were put into in an earlier boot; systemd has seen to them unless somebody kept it from doing so.
async fn sweep() {
    match crate::uplink::sweep().await {
        Ok(swept) if swept.is_empty() => {}
        Ok(swept) => {
            tracing::warn!(bridges = ?swept, "removed from Open vSwitch: they were made for another boot");
        }
        // Most hosts have none.
        Err(error) => tracing::debug!(error = %crate::chain(&error), "Open vSwitch was not looked at"),
    }
}

async fn follow(engine: Weak<Engine>, poke: Poke) {
    tidy(&engine).await;
    let mut pause = PAUSES.0;
    let mut told = false;
    // From before each attempt, so that nothing is missed that comes after it.
    let mut socket = None;
    loop {
        while !engine.upgrade().is_some_and(|engine| engine.needs_ovs()) {
            if engine.strong_count() == 0 {
                return;
            }
            poke.0.notified().await;
        }
        let mut worked = false;
        socket = socket.or_else(|| NameWatch::open(&super::socket()).ok());
        let ended = session(&engine, &poke, &mut worked).await;
        if worked {
            (pause, told) = (PAUSES.0, false);
        }
        match ended {
            Ok(()) => continue,
            // Said once, not at every attempt.
            Err(error) if !told => {
                tracing::warn!(error = %crate::chain(&error), "Open vSwitch cannot be followed");
                told = true;
            }
            Err(_) => {}
        }
        let back = NameWatch::appears_within(&mut socket, pause).await;
        pause = if back { PAUSES.0 } else { PAUSES.1.min(pause * 2) };
    }
}

/// Removes what was left of networks that are gone meanwhile. Hosts without Open vSwitch are none of its business.
async fn tidy(engine: &Weak<Engine>) {
    let Ok(mut client) = connect().await else { return };
    let Some(engine) = engine.upgrade() else { return };
    if let Err(error) = engine.audit(&mut client).await {
        tracing::debug!(error = %crate::chain(&error), "Open vSwitch not looked at");
    }
}

/// One connection, to its end. `Ok`: nobody needs it any more.
async fn session(engine: &Weak<Engine>, poke: &Poke, worked: &mut bool) -> Result<(), Error> {
    let mut client = connect().await?;
    client.watch().await?;
    loop {
        let Some(running) = engine.upgrade().filter(|engine| engine.needs_ovs()) else { return Ok(()) };
        running.audit(&mut client).await?;
        drop(running);
        *worked = true;
        tokio::select! {
            changed = client.changed() => changed?,
            () = poke.0.notified() => {}
        }
    }
}

impl Engine {
    fn needs_ovs(&self) -> bool {
        self.networks().values().any(|network| network.options.mode == Mode::Ovs)
    }

    /// Removes ports of ours whose links are gone, and adds those that are missing or broken.
    async fn audit(&self, client: &mut Client) -> Result<(), Error> {
        let switch = client.switch().await?;
        let host = self.host.clone();
        // Looked at after the switch: a port is made after its link.
        let links = match blocking(move || host.links()).await {
            Ok(links) => links,
            Err(error) => {
                tracing::warn!(error = %crate::chain(&error), "the host's links cannot be listed");
                return Ok(());
            }
        };
        let ends: Vec<(EndpointId, IfName)> = links
            .iter()
            .filter_map(|link| {
                Some((mark_of(link).filter(|mark| mark.end == End::Host)?.endpoint, link.name.clone()))
            })
            .collect();
        for port in &switch.ports {
            let stale = owner(port)
                .is_some_and(|id| !ends.iter().any(|(end, name)| *end == id && name.as_str() == port.name));
            if stale {
                tracing::info!(
                    port = port.name,
                    bridge = port.bridge,
                    "removing a port of Landline's whose container is gone"
                );
                client.remove_port(port).await?;
            }
        }
        let mut failed = None;
        for endpoint in self.endpoints().into_iter().filter(|e| e.cell.options().mode == Mode::Ovs) {
            if let Some((_, link)) = ends.iter().find(|(id, _)| id == endpoint.cell.id()) {
                match self.audit_endpoint(client, &switch, &endpoint, link).await {
                    // The others' ports can be put back all the same.
                    Err(error) if of_one_port(&error) => failed = Some(error),
                    other => other?,
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn audit_endpoint(
        &self,
        client: &mut Client,
        switch: &Switch,
        endpoint: &Endpoint,
        link: &IfName,
    ) -> Result<(), Error> {
        let (id, options) = (endpoint.cell.id(), endpoint.cell.options());
        let port = switch.port(link.as_str());
        let container = endpoint.cell.read().await.container.map(|container| container.name);
        if let Some(port) =
            port.filter(|port| port.bridge == options.parent.as_str() && port.trouble().is_none())
        {
            return note(client, port, container).await;
        }
        let Some(slot) = self.slot_if_known(id) else { return Ok(()) };
        // What is being made or removed is looked after.
        let Ok(_turn) = slot.operation.try_lock() else { return Ok(()) };
        if switch.bridge(options.parent.as_str()).is_none() {
            return Ok(());
        }
        if let Some(port) = port.filter(|port| owner(port).as_ref() == Some(id)) {
            client.remove_port(port).await?;
        }
        tracing::info!(link = %link, bridge = %options.parent, "putting a link back into its Open vSwitch bridge");
        add_port(client, id, link, &options.parent, &vlans(options)).await?;
        for task in endpoint.tasks() {
            // It may be another LAN now.
            task.reconnected();
        }
        Ok(())
    }
}

/// Whether it says something about one port, and not about the switch.
fn of_one_port(error: &Error) -> bool {
    use Error::{NoBridge, NoDatapath, Port, PortExists, Refused};
    matches!(error, Port { .. } | PortExists(_) | Refused(_) | NoBridge { .. } | NoDatapath(_))
}

/// Writes the container's name to its port, for people.
async fn note(client: &mut Client, port: &Port, container: Option<String>) -> Result<(), Error> {
    match container {
        Some(name) if port.external_ids.get(CONTAINER) != Some(&name) => {
            client.set_external_id(port, CONTAINER, &name).await
        }
        _ => Ok(()),
    }
}
