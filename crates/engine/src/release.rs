//! Giving leases back.
//!
//! A lease outlives its endpoint, so that the next start of the container gets the same address. When the
//! network's policy says that nobody will come back for it, it is released over a link made for that moment,
//! with the identity's hardware address, because a server takes a DHCPRELEASE (RFC 2131 section 4.4.6) from its client only. A `DHCPv6` Release goes the same way.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use landline_dhcp::v4::{Client, ClientId, Config, Lease};
use landline_leases::{Location, OsRandom, Services};
use landline_links::mark::{End, Mark};
use landline_links::spanning_tree::until_forwarding;
use landline_links::{Host, HostError, Plan, apply_and_wait_for_carrier, blocking, facts_of};
use landline_model::{IdentityId, IdentityRecord, Ipv6Identity, StateRecord};
use landline_options::{EndpointId, Release};
use landline_store::Store;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::JoinMap;

use crate::identities::{Identities, erase, write};
use crate::parent_links::{ParentLinks, PlanLinkError, WantedLink};

/// When and where to release.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) when: Release,
    pub(crate) after: Duration,
}

impl Policy {
    /// How long a container that was removed may be recreated. One that removes itself is not.
    pub(crate) fn grace(&self, identity: &IdentityRecord) -> Duration {
        let own_end = identity.container.as_ref().is_some_and(|c| c.auto_remove) && identity.key.is_none();
        if own_end { Duration::ZERO } else { self.after }
    }
}

enum Order {
    /// Release after this time, unless somebody holds it again by then.
    Later(IdentityId, Duration),
    /// Release and forget; the sender holds it.
    Discard(Box<IdentityRecord>),
}

/// The task that releases leases, from outside.
pub(crate) struct Releaser {
    orders: mpsc::UnboundedSender<Order>,
}

/// The endpoint that holds an identity while it is being released. No endpoint of Docker's has such an id.
pub(crate) fn endpoint_of(id: &IdentityId) -> EndpointId {
    format!("release-{id}").parse().unwrap_or_else(|_| unreachable!("letters, digits and hyphens"))
}

impl Releaser {
    pub(crate) fn start(
        host: Arc<dyn Host>,
        store: Arc<Store>,
        parents: Arc<ParentLinks>,
        identities: Arc<Identities>,
        services: Services,
        cancel: CancellationToken,
    ) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let task = Task { host, store, parents, identities, services };
        tokio::spawn(async move { cancel.run_until_cancelled(Box::pin(task.run(inbox))).await });
        Self { orders }
    }

    /// The identity's endpoint ended and its container may come back.
    pub(crate) fn stopped(&self, identity: &IdentityRecord, policy: &Policy) {
        if policy.when == Release::OnStop && (identity.lease.is_some() || identity.ipv6.is_some()) {
            self.order(Order::Later(identity.id.clone(), Duration::ZERO));
        }
    }

    /// The user wants its lease given back now; the identity's container does not run.
    pub(crate) fn now(&self, identity: &IdentityRecord) {
        self.order(Order::Later(identity.id.clone(), Duration::ZERO));
    }

    /// The identity's container was removed.
    pub(crate) fn removed(&self, identity: &IdentityRecord, policy: &Policy) {
        if policy.when != Release::Never {
            self.order(Order::Later(identity.id.clone(), policy.grace(identity)));
        }
    }

    /// Nobody can come back for this identity, which the caller still holds.
    pub(crate) fn discard(&self, identity: IdentityRecord) {
        self.order(Order::Discard(Box::new(identity)));
    }

    fn order(&self, order: Order) {
        // Without the task the daemon is stopping; what is due is found again at its next start.
        let _ = self.orders.send(order);
    }
}

struct Task {
    host: Arc<dyn Host>,
    store: Arc<Store>,
    parents: Arc<ParentLinks>,
    identities: Arc<Identities>,
    services: Services,
}

impl Task {
    async fn run(self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        // One timer an identity; a newer order replaces the older one.
        let mut due: JoinMap<IdentityId, ()> = JoinMap::new();
        loop {
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(Order::Discard(identity)) => self.discard(*identity).await,
                    Some(Order::Later(id, Duration::ZERO)) => self.release(&id).await,
                    Some(Order::Later(id, after)) => {
                        let clock = self.services.clock.clone();
                        let deadline = (clock.now() + after).since_boot();
                        due.spawn(id, async move { clock.sleep_until(Some(deadline)).await });
                    }
                    None => return,
                },
                Some((id, slept)) = due.join_next() => if slept.is_ok() {
                    self.release(&id).await;
                },
            }
        }
    }

    async fn discard(&self, identity: IdentityRecord) {
        self.give_back(&identity).await;
        self.identities.release(&identity.id);
        self.identities.forget(&identity.id);
        erase(&self.store, identity.id).await;
    }

    async fn release(&self, id: &IdentityId) {
        let Some(identity) = self.identities.claim_if_free(id, &endpoint_of(id)) else { return };
        self.give_back(&identity).await;
        self.identities.release(id);
        let container_is_gone = identity.container.as_ref().is_some_and(|c| c.auto_remove);
        if identity.destroyed && container_is_gone && identity.key.is_none() {
            self.identities.forget(id);
            erase(&self.store, id.clone()).await;
        } else {
            let changed = self.identities.change(id, IdentityRecord::end_leases);
            write(&self.store, changed).await;
        }
    }

    /// Releases the identity's leases that live.
    async fn give_back(&self, identity: &IdentityRecord) {
        let now = self.services.clock.now();
        let boot = &*self.services.boot;
        let lease = identity.lease.as_ref().and_then(|lease| lease.restore(boot));
        let lease = lease.filter(|lease| lease.is_live(now));
        let ipv6 =
            identity.ipv6.as_ref().filter(|v6| v6.state.as_ref().is_some_and(|s| s.has_lease(boot, now)));
        let mut addresses: Vec<IpAddr> = lease.iter().map(|lease| lease.address.into()).collect();
        addresses
            .extend(ipv6.iter().flat_map(|v6| &v6.state).flat_map(StateRecord::leased).map(IpAddr::from));
        if addresses.is_empty() {
            return;
        }
        match self.send(identity, lease, ipv6).await {
            Ok(()) => tracing::info!(?addresses, "released"),
            Err(error) => tracing::warn!(?addresses, error = %landline_types::chain(&error), "not released"),
        }
    }

    /// Makes a link for the identity, sends the releases over it, and takes the link away.
    async fn send(
        &self,
        identity: &IdentityRecord,
        lease: Option<Lease>,
        ipv6: Option<&Ipv6Identity>,
    ) -> Result<(), SendError> {
        let mark = Mark::new(&endpoint_of(&identity.id), End::Container);
        // A card that was in the container is back by then, and is a link already.
        let (plan, link) = if facts_of(identity.mode).moves_parent() {
            (Plan::default(), identity.parent.clone())
        } else {
            (self.plan(identity, &mark).await?, mark.link_name())
        };
        let index = apply_and_wait_for_carrier(&self.host, &self.services.link_table, &plan, link).await?;
        let options = identity.link_options();
        if let Err(held) =
            until_forwarding(&self.host, &self.services.link_table, &mark.endpoint, &options).await
        {
            tracing::warn!(%held, "what is released may not get through");
        }
        let ipv4 = async {
            match lease {
                Some(lease) => self.transmit(identity, lease, index, &mark).await,
                None => Ok(()),
            }
        };
        let ipv6 = async {
            match ipv6 {
                Some(ipv6) => {
                    Box::pin(landline_leases::ipv6::release(ipv6, identity.mac, &self.services, index, &mark))
                        .await
                }
                None => Ok(()),
            }
        };
        let (ipv4, ipv6) = tokio::join!(ipv4, ipv6);
        let host = self.host.clone();
        blocking(move || plan.undo(&*host)).await;
        ipv4.and(ipv6).map_err(SendError::Io)
    }

    async fn plan(&self, identity: &IdentityRecord, mark: &Mark) -> Result<Plan, SendError> {
        let wanted = WantedLink { endpoint: &mark.endpoint, mac: identity.mac, host_name: None };
        Ok(self.parents.plan(&identity.link_options(), wanted).await?.plan)
    }

    async fn transmit(
        &self,
        identity: &IdentityRecord,
        lease: Lease,
        index: u32,
        mark: &Mark,
    ) -> std::io::Result<()> {
        let mut config = Config::new(identity.mac);
        config.client_id = identity.client_id.clone().and_then(|bytes| ClientId::new(bytes).ok());
        let now = self.services.clock.now();
        let mut client = Client::resume(config, lease.clone(), now, OsRandom);
        client.release(now);
        let place = Location::on_behalf(&identity.link_options()).unwrap_or(Location::Host(index));
        let mut sockets = self.services.sockets.dhcp4(&place, mark)?;
        sockets.send_release(&mut client, identity.mac, Some(&lease)).await;
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("cannot make a link")]
    Host(#[from] HostError),
    #[error(transparent)]
    Plan(#[from] PlanLinkError),
    #[error("cannot send")]
    Io(#[from] std::io::Error),
}
