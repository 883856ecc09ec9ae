//! The first lease of an endpoint: what Docker waits for.

use std::net::Ipv4Addr;
use std::time::Duration;

use landline_dhcp::v4::{Lease, Remembered};
use landline_leases::addressing::dhcp;
use landline_leases::{Location, Services, Status, Troubles, ipv4};
use landline_links::facts_of;
use landline_model::{AddressRecord, LeaseRecord, NetworkRecord};
use landline_options::{Mode, OnTimeout};
use landline_types::{IfName, Mac};
use tokio_util::sync::CancellationToken;

use crate::endpoints::{CreateEndpoint, CreateEndpointError, network_name};
use crate::engine::{Endpoint, Engine};
use crate::no_lease::{self, Attempt, has_server};

impl Engine {
    /// For DHCP endpoints: starts the supervisor over the link, which is there. Returns how long a remembered lease is to wait until
    /// it is confirmed. `withheld`: the address is not put on the link before that is allowed.
    pub(crate) async fn start_lease(
        &self,
        endpoint: &Endpoint,
        request: &CreateEndpoint,
        network: &NetworkRecord,
        before: Option<&LeaseRecord>,
        place: Location,
        withheld: bool,
    ) -> Option<Duration> {
        let record = endpoint.state.read().await;
        let AddressRecord::Dhcp(dhcp_record) = &record.address else { return None };
        let wanted = request.address.map(|net| net.addr());
        let config = dhcp::config(&network.options, record.mac, dhcp_record, wanted.or(request.options.ip));
        // An address somebody asked for counts more than the one of before.
        let before =
            before.filter(|lease| wanted.or(request.options.ip).is_none_or(|ip| ip == lease.address));
        let (state, services) = (endpoint.state.clone(), self.services.clone());
        let granted = before.filter(|_| request.reservation.is_some());
        let just_granted = granted.and_then(|lease| just_granted(lease, &self.services));
        let (supervised, patience) = if just_granted.is_some() {
            // The server is not asked twice, nor the LAN who has the address.
            (ipv4::resume(state, services, config, just_granted, place), Duration::ZERO)
        } else {
            let (remembered, patience) = remember(before, &self.services, network);
            let start = if withheld { ipv4::start_withheld } else { ipv4::start };
            (start(state, services, config, remembered, place), patience)
        };
        *endpoint.supervised() = Some(supervised);
        Some(patience)
    }

    /// Waits until there is an address.
    pub(crate) async fn first_lease(
        &self,
        endpoint: &Endpoint,
        request: &CreateEndpoint,
        network: &NetworkRecord,
        patience: Duration,
        cancel: &CancellationToken,
    ) -> Result<(), CreateEndpointError> {
        let Some(status) = endpoint.supervised().as_ref().map(|task| task.status.clone()) else {
            return Ok(());
        };
        let wanted = request.address.map(|net| net.addr());
        let given = match wait_for_lease(status, network, patience, cancel).await {
            Err(
                error @ (CreateEndpointError::NoLease { .. } | CreateEndpointError::NoUsableLease { .. }),
            ) if network.options.on_timeout == OnTimeout::Continue => {
                tracing::warn!(error = %landline_types::chain(&error), "the container starts without an address");
                return Ok(());
            }
            result => result?,
        };
        // A remembered lease that was not confirmed in time has not been written by the supervisor.
        let lease = endpoint.status().and_then(|status| status.lease);
        let lease =
            lease.map(|lease| LeaseRecord::of(&lease, &self.services.boot, self.services.clock.both()));
        let stored = endpoint.state.update(|record| {
            if let AddressRecord::Dhcp(dhcp) = &mut record.address
                && dhcp.lease.is_none()
            {
                dhcp.lease = lease;
            }
        });
        stored.await.map_err(CreateEndpointError::Store)?;
        match wanted {
            Some(wanted) if wanted != given => {
                Err(CreateEndpointError::OtherAddress { wanted, given, mac: endpoint.state.read().await.mac })
            }
            _ => Ok(()),
        }
    }

    /// Whose link on this parent has this hardware address, as long as that link is there: an endpoint that Docker
    /// lost in a crash does not count. A second one would get the same lease, and the switch would send frames
    /// now to the one, now to the other.
    pub(crate) async fn mac_user(&self, mac: Mac, parent: &IfName) -> Option<String> {
        for endpoint in self.endpoints() {
            let record = endpoint.state.read().await;
            if record.mac == mac
                && endpoint.state.options().parent == *parent
                && self.find(&record).await.is_some()
            {
                return Some(record.holder_name());
            }
        }
        None
    }
}

/// How long an answer waits for the server to confirm a lease that is known to live: the time in which a server
/// on the LAN answers and another user of the address shows itself.
const CONFIRMATION: Duration = Duration::from_millis(40);

/// How long after a lease for an endpoint to come its endpoint comes at most: Docker asks for one right after the other.
const JUST_NOW: Duration = Duration::from_secs(10);

/// The lease, if it was granted for the endpoint that comes now.
fn just_granted(record: &LeaseRecord, services: &Services) -> Option<Lease> {
    let lease = record.restore(&services.boot)?;
    let now = services.clock.now();
    let age = now.since_boot().saturating_sub(lease.obtained.since_boot());
    (lease.is_live(now) && age < JUST_NOW).then_some(lease)
}

/// What the client is to start with, and how long to wait until the server has confirmed it.
fn remember(
    lease: Option<&LeaseRecord>,
    services: &Services,
    network: &NetworkRecord,
) -> (Option<Remembered>, Duration) {
    let all = network.options.lease_timeout;
    let Some(record) = lease else { return (None, all) };
    let now = services.clock.both();
    let address = Remembered::Address(record.address);
    match record.restore(&services.boot) {
        Some(lease) if lease.is_live(now.instant) => (Some(lease.into()), CONFIRMATION),
        Some(_) => (Some(address), all),
        // The times of another boot are good enough for a server that does not answer, not for one that does.
        None => match record.restore_across_boots(now) {
            Some(lease) => (Some(lease.into()), all),
            None => (Some(address), all),
        },
    }
}

/// Waits for a lease a server has granted or confirmed; after `patience` a remembered one that lives will do.
async fn wait_for_lease(
    mut status: tokio::sync::watch::Receiver<Status>,
    network: &NetworkRecord,
    patience: Duration,
    cancel: &CancellationToken,
) -> Result<Ipv4Addr, CreateEndpointError> {
    let waited = network.options.lease_timeout;
    let shares_mac = facts_of(network.options.mode).shares_mac();
    let wait = async {
        // Clients that share a hardware address get the same answer again from a server that goes by it.
        let settled = |s: &Status| s.troubles.is_refused() && shares_mac;
        let confirmed = |s: &Status| (s.confirmed && s.lease.is_some()) || settled(s);
        // Either way what counts is looked at below.
        let _ = tokio::time::timeout(patience, status.wait_for(confirmed)).await;
        let rest = waited.saturating_sub(patience);
        let _ = tokio::time::timeout(rest, status.wait_for(|s| s.lease.is_some() || settled(s))).await;
    };
    if cancel.run_until_cancelled(wait).await.is_none() {
        return Err(CreateEndpointError::Cancelled);
    }
    let status = status.borrow();
    if let Some(lease) = &status.lease {
        return Ok(lease.address);
    }
    if let Some((why, hint)) = status.troubles.sentence() {
        let hint = by_hardware_address(&status.troubles, network.options.mode).unwrap_or(hint);
        let (network, parent) = (network_name(network), network.options.parent.clone());
        return Err(CreateEndpointError::NoUsableLease { network, parent, why, waited, hint });
    }
    let attempt = Attempt { state: status.state, unusable: status.unusable };
    let table = std::fs::read_to_string("/proc/self/net/udp").unwrap_or_default();
    let options = &network.options;
    let (why, hint) = no_lease::reason(attempt, options.mode, &options.parent, has_server(&table));
    Err(CreateEndpointError::NoLease {
        network: network_name(network),
        parent: network.options.parent.clone(),
        why,
        waited,
        held: Duration::ZERO,
        hint,
    })
}

/// What to do if the server gives several clients that share a hardware address one lease; `None`: that is not what is wrong.
fn by_hardware_address(troubles: &Troubles, mode: Mode) -> Option<&'static str> {
    let facts = facts_of(mode);
    if !facts.shares_mac() || !troubles.is_shared() {
        return None;
    }
    // Where the host routes, the LAN accepts no other hardware address, so another link is no way out.
    Some(if facts.host_routes() {
        "a server that tells clients apart by hardware address gives the same address to all containers with mode=routed, \
         and to the host: set it to go by client identifier, or use pools (--ipam-driver landline --subnet, --ip-range)"
    } else {
        "a server that tells clients apart by hardware address gives the same address to all containers that share one \
         (mode=ipvlan): set it to go by client identifier, or use -o mode=macvlan"
    })
}

#[cfg(test)]
mod tests {
    use landline_leases::addressing::permit::NotPermitted;

    use super::*;

    #[test]
    fn a_routed_container_is_not_told_to_use_another_link() {
        let mut troubles = Troubles::default();
        let hint = |troubles: &Troubles, mode| by_hardware_address(troubles, mode);
        assert_eq!(hint(&troubles, Mode::Routed), None, "nothing was refused");
        let (address, interface) = (Ipv4Addr::new(192, 0, 2, 10).into(), "eth0".parse().unwrap());
        troubles.refuse(None, NotPermitted::Host { address, interface });
        assert!(hint(&troubles, Mode::Ipvlan).unwrap().ends_with("or use -o mode=macvlan"));
        let routed = hint(&troubles, Mode::Routed).unwrap();
        assert!(routed.contains("client identifier") && !routed.contains("macvlan"), "{routed}");
        assert_eq!(hint(&troubles, Mode::Macvlan), None);
        troubles.refuse(None, NotPermitted::OffLan { address, subnets: Vec::new() });
        assert_eq!(hint(&troubles, Mode::Routed), None, "that is no other client's address");
    }
}
