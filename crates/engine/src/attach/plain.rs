//! Attachments without an endpoint: interfaces that go nowhere, and network cards that move in themselves.

use landline_kernel::{LinkChange, Netlink, Netns};
use landline_spec::{KindWord, LinkChoice};
use landline_types::IfName;

use super::apply::{Put, inside_error};
use super::inside::{self, InsideError};
use super::record::{AttachmentRecord, Card, Inside, Plain};
use super::{AttachFailure, Chosen, Slot};
use crate::blocking;
use crate::engine::Engine;
use crate::host::Host;
use crate::plan::{LinkEnd, Step};
use crate::probe;

/// The MTU of the kernel's dummy interfaces.
const DUMMY_MTU: u32 = 1500;

impl Engine {
    pub(super) async fn put_plain(
        &self,
        slot: &Slot,
        put: &Put<'_>,
        chosen: &Chosen,
    ) -> Result<(), AttachFailure> {
        let record = slot.read();
        let lock = self.attachments.of_sandbox(&put.request.place.sandbox);
        let alone = lock.lock().await;
        let copy = || put.netns.try_clone().map_err(|error| inside_error(put.request, error.into()));
        let (netns, (v4, v6)) = (copy()?, inside::gateways(&record.spec));
        let look = blocking(move || {
            let taken = inside::names(&netns)?;
            Ok::<_, InsideError>((taken, inside::defaults(&mut Netlink::open_in(&netns)?, 0, v4, v6)?))
        });
        let (taken, replaced) = look.await.map_err(|error| inside_error(put.request, error))?;
        let name = record.spec.ifname.clone().unwrap_or_else(|| inside::free_name(&taken));
        if taken.contains(&name) {
            return Err(AttachFailure::NameTaken { target: record.target.clone(), name });
        }
        let card =
            if chosen.kind == KindWord::NIC { Some(self.look_at_card(&chosen.parent).await?) } else { None };
        let there = Inside {
            sandbox: put.request.place.sandbox.clone(),
            namespace: put.namespace.clone(),
            name: name.clone(),
            replaced,
            plain: Some(Plain { card }),
        };
        self.remember(slot, |record| record.inside = Some(there)).await?;

        let (netns, host, parent, spec) =
            (copy()?, self.host.clone(), chosen.parent.clone(), record.spec.clone());
        let alias = record.alias();
        let work = blocking(move || {
            let index = match spec.link {
                LinkChoice::Nic => mark_card(&*host, &parent, &alias)?,
                LinkChoice::Follow => add_dummy(&*host, &record, &alias)?,
            };
            host.hand_over(index, &netns)?;
            let mut netlink = Netlink::open_in(&netns)?;
            let link = netlink.links()?.into_iter().find(|link| link.alias.as_deref() == Some(&*alias));
            let index = link.ok_or(InsideError::Lost)?.index;
            let change = LinkChange { mac: spec.mac, ..LinkChange::new() };
            netlink.set_link(index, &change.name(name.clone()))?;
            set_v6(&netns, &name);
            netlink.set_link(index, &LinkChange::new().up())?;
            inside::dress(&netns, &mut netlink, index, &spec)?;
            let mac = netlink.link_by_index(index)?.and_then(|link| link.mac);
            if let Some(mac) = mac.filter(|_| spec.link == LinkChoice::Nic) {
                probe::announce(&netns, index, mac, &inside::v4(&spec))?;
            }
            Ok::<_, InsideError>(())
        });
        work.await.map_err(|error| inside_error(put.request, error))?;
        drop(alone);
        let record = slot.read();
        self.wait_for_dad(&record.target, &put.netns, record.alias(), &record.spec).await
    }

    /// What a card has on the host, to be put back one day.
    async fn look_at_card(&self, name: &IfName) -> Result<Card, AttachFailure> {
        let (host, name) = (self.host.clone(), name.clone());
        let card = blocking(move || {
            let links = host.links()?;
            let Some(link) = links.iter().find(|link| link.name == name) else {
                return Err(crate::HostError::NoLink(name));
            };
            let routes = host.routes()?;
            let own = routes.iter().filter(|route| route.oif == Some(link.index) && route.protocol != KERNEL);
            Ok(Card {
                name,
                mac: link.mac,
                up: link.up,
                addresses: host
                    .addresses(link.index)?
                    .into_iter()
                    .filter(|net| !inside::is_automatic(net))
                    .collect(),
                routes: own.map(|route| inside::saved(route, &links)).collect(),
            })
        });
        Ok(card.await?)
    }

    /// Removes an interface that goes nowhere, or puts a card back as it was.
    pub(super) async fn take_plain(
        &self,
        record: &AttachmentRecord,
        there: &Inside,
    ) -> Result<(), AttachFailure> {
        let (alias, there, host) = (record.alias(), there.clone(), self.host.clone());
        let target = record.target.clone();
        let done = blocking(move || take(&*host, &there, &alias));
        done.await.map_err(|error| AttachFailure::Inside { target, source: error.into() })
    }

    /// Cards whose containers ended while nobody looked, or just now: the kernel has put them back, with the name they had
    /// inside. Called when links come and go.
    pub(crate) async fn cards_back(&self) {
        for slot in self.attachments.all() {
            let record = slot.read();
            let is_card =
                record.inside.as_ref().and_then(|i| i.plain.as_ref()).is_some_and(|p| p.card.is_some());
            if !is_card {
                continue;
            }
            // Whoever is putting it there has the turn.
            let Ok(_turn) = slot.turn.try_lock() else { continue };
            let (host, alias) = (self.host.clone(), record.alias());
            let here = blocking(move || {
                host.links().map(|links| links.iter().any(|l| l.alias.as_deref() == Some(&*alias)))
            });
            if here.await.unwrap_or(false)
                && let Err(error) = self.clear(&slot).await
            {
                tracing::warn!(error = %crate::chain(&error), "a network card could not be set up as it was");
            }
        }
    }
}

/// `rtm_protocol` of what the kernel sets by itself.
const KERNEL: u8 = 2;

fn set_v6(netns: &Netns, name: &IfName) {
    let name = name.clone();
    // Without IPv6 there is nothing to set.
    let _ = netns.run(move || {
        landline_kernel::sysctl::set(landline_kernel::sysctl::Family::V6, &name, "accept_ra", "0")
    });
}

fn add_dummy(host: &dyn Host, record: &AttachmentRecord, alias: &str) -> Result<u32, InsideError> {
    let name = crate::mark::Mark::new(record.id.endpoint(), crate::mark::End::Container).link_name();
    let end = LinkEnd {
        name: name.clone(),
        mac: record.spec.mac,
        mtu: DUMMY_MTU,
        alias: alias.to_owned(),
        silent: true,
    };
    host.apply(&Step::AddDummy { container: end })?;
    let link = host.link(&name)?;
    Ok(link.ok_or(InsideError::Lost)?.index)
}

fn mark_card(host: &dyn Host, name: &IfName, alias: &str) -> Result<u32, InsideError> {
    let link = host.link(name)?.ok_or(InsideError::Lost)?;
    host.apply(&Step::SetAlias { link: name.clone(), alias: alias.to_owned() })?;
    Ok(link.index)
}

fn take(host: &dyn Host, there: &Inside, alias: &str) -> Result<(), InsideError> {
    let found = match super::place::namespace_at(&there.sandbox) {
        Some(namespace) if namespace == there.namespace => inside::find(&there.sandbox, alias)?,
        _ => None,
    };
    let Some(card) = there.plain.as_ref().and_then(|plain| plain.card.as_ref()) else {
        if let Some((_, mut netlink, link)) = found {
            netlink.delete_link(link.index)?;
        } else if let Some(link) = host.links()?.into_iter().find(|l| l.alias.as_deref() == Some(alias)) {
            host.remove_marked(link.index, alias)?;
        }
        return Ok(());
    };
    let own = Netns::current()?;
    if let Some((_, mut netlink, link)) = found {
        netlink.set_link(link.index, &LinkChange::new().down())?;
        // Its name here may be taken there; the kernel refuses a move then.
        netlink.set_link(link.index, &LinkChange::new().name(card.name.clone()))?;
        netlink.set_link(link.index, &LinkChange::new().netns(&own))?;
    }
    let mut netlink = Netlink::open()?;
    let link = netlink.links()?.into_iter().find(|link| link.alias.as_deref() == Some(alias));
    let Some(link) = link else { return Ok(()) };
    netlink.set_link(link.index, &LinkChange::new().down())?;
    let change = LinkChange { name: Some(card.name.clone()), mac: card.mac, ..LinkChange::new() };
    netlink.set_link(link.index, &change.alias(""))?;
    if card.up {
        netlink.set_link(link.index, &LinkChange::new().up())?;
    }
    for net in &card.addresses {
        let mut address = landline_kernel::Address::new(link.index, *net);
        if let ipnet::IpNet::V4(v4) = net
            && v4.prefix_len() < 31
        {
            address = address.broadcast(v4.broadcast());
        }
        match netlink.add_address(&address) {
            Err(error) if error.exists() => {}
            done => done?,
        }
    }
    // Routes to routers on routes: in the order the kernel listed them those on the link come first or fail once.
    let (near, far): (Vec<_>, Vec<_>) =
        card.routes.iter().cloned().partition(|route| route.gateway.is_none());
    inside::restore(&mut netlink, &near)?;
    Ok(inside::restore(&mut netlink, &far)?)
}
