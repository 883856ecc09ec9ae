//! Network cards that move into a container themselves, and come back as they were.
//!
//! What a card was is stored before anything is done to it, and until it is that again. A container may end without a word:
//! the kernel then puts the card back into the host's namespace, a little later, down, with the name it had inside and
//! without addresses. It is known by its mark.

use std::time::Duration;

use landline_kernel::{Address, Link, LinkChange, LinkKind, Route, RouteKind};
use landline_links::mark::{End, Mark};
use landline_links::{HostError, Namespace, Namespaces, Step, blocking, find_parent, settings};
use landline_options::NetworkOptions;

use super::inside::{self, InsideError};
use super::record::{AttachmentRecord, Card, SavedAddress};
use super::{AttachFailure, Attachments, Slot};

/// How long the kernel may take over the end of a namespace.
const COMING_BACK: Duration = Duration::from_secs(5);

/// `IFAPROT_KERNEL_RA`, `IFAPROT_KERNEL_LL`: addresses that the kernel makes by itself.
const MADE_BY_KERNEL: [u8; 2] = [2, 3];

/// Where a card is.
enum Whereabouts {
    /// It is as it was.
    Back,
    /// In a namespace that ends, or in one nobody knows.
    Away,
}

impl Attachments {
    /// Writes down what a card is, and marks it.
    pub(super) async fn take_card(
        &self,
        slot: &Slot,
        options: &NetworkOptions,
    ) -> Result<Card, AttachFailure> {
        let (host, name, mode) = (self.shared.host.clone(), options.parent.clone(), options.mode);
        let mark = Mark::new(slot.read().id.endpoint(), End::Card).to_string();
        let (own, namespaces) = (mark.clone(), self.namespaces());
        let card = blocking(move || {
            let links = host.links()?;
            let link = find_parent(&name, mode, &links)?;
            if link.alias.as_deref().is_some_and(|alias| alias != own && Mark::is_cards(alias)) {
                return Err(AttachFailure::Contradiction(
                    "the card is on its way to or from another container; try again",
                ));
            }
            look(&*namespaces, link, &links).map_err(AttachFailure::Links)
        });
        let card = card.await?;
        let stored = card.clone();
        self.remember(slot, |record| record.card = Some(stored)).await?;
        let (host, link) = (self.shared.host.clone(), options.parent.clone());
        blocking(move || host.apply(&Step::SetAlias { link, alias: mark })).await?;
        Ok(card)
    }

    /// Puts the card of an attachment back as it was, wherever it is now. One whose namespace ends is waited for.
    pub(super) async fn give_card_back(&self, slot: &Slot) -> Result<(), AttachFailure> {
        let record = slot.read();
        let Some(card) = record.card.clone() else { return Ok(()) };
        let mut present = self.shared.services.link_table.clone();
        let back = async {
            loop {
                let (namespaces, record) = (self.namespaces(), record.clone());
                match blocking(move || put_back(&*namespaces, &record)).await {
                    Ok(Whereabouts::Back) => return Ok(()),
                    Ok(Whereabouts::Away) => present.changed().await,
                    Err(error) => return Err(error),
                }
            }
        };
        match tokio::time::timeout(COMING_BACK, back).await {
            Ok(Ok(())) => self.remember(slot, |record| record.card = None).await,
            Ok(Err(error)) => {
                Err(AttachFailure::Inside { target: record.target.clone(), source: error.into() })
            }
            Err(_) => {
                tracing::warn!(
                    card = %card.name,
                    "a network card has not come back; something holds the namespace it is in. It is set up when it does"
                );
                Ok(())
            }
        }
    }

    /// Cards whose containers ended while nobody looked, or just now. Called when links come and go.
    pub(crate) async fn cards_back(&self) {
        for slot in self.slots.all() {
            let record = slot.read();
            if record.card.is_none() {
                continue;
            }
            // Whoever is putting it there or back has the turn.
            let Ok(_turn) = slot.turn.try_lock() else { continue };
            let (host, alias) = (self.shared.host.clone(), record.alias());
            let here = blocking(move || {
                host.links().map(|links| links.iter().any(|l| l.alias.as_deref() == Some(&*alias)))
            });
            if here.await.unwrap_or(false)
                && let Err(error) = self.clear(&slot).await
            {
                tracing::warn!(error = %landline_types::chain(&error), "a network card could not be set up as it was");
            }
        }
    }
}

/// What the card is on the host.
fn look(namespaces: &dyn Namespaces, link: &Link, links: &[Link]) -> Result<Card, HostError> {
    let mut netlink = namespaces.host().map_err(HostError::Open)?;
    let own = |address: &Address| {
        let made = MADE_BY_KERNEL.contains(&address.protocol)
            || inside::is_automatic(&address.net)
            || address.is_temporary();
        address.index == link.index && !made
    };
    let addresses = netlink.addresses()?.into_iter().filter(own).map(saved).collect();
    let routes = netlink.routes()?;
    // Those that come with the addresses are among them, which some managers set themselves.
    let routes = routes.iter().filter(|route| {
        route.oif == Some(link.index)
            && route.kind == RouteKind::Unicast
            && route.table != Route::LOCAL_TABLE
            // What routers say, they will say again.
            && route.protocol != Route::BY_ROUTERS
    });
    Ok(Card {
        name: link.name.clone(),
        mac: link.mac,
        mtu: Some(link.mtu),
        up: link.up,
        alias: link.alias.clone().filter(|alias| !Mark::is_cards(alias)),
        returns: matches!(link.kind, LinkKind::Physical),
        addresses,
        routes: routes.map(|route| inside::saved(route, links)).collect(),
        settings: settings::read(namespaces, &link.name),
    })
}

fn saved(address: Address) -> SavedAddress {
    let without_route = !address.has_prefix_route();
    let Address { net, peer, broadcast, label, scope, protocol, metric, .. } = address;
    SavedAddress { net, peer, broadcast, label, scope, protocol, without_route, metric }
}

fn put_back(namespaces: &dyn Namespaces, record: &AttachmentRecord) -> Result<Whereabouts, InsideError> {
    let Some(card) = &record.card else { return Ok(Whereabouts::Back) };
    let alias = record.alias();
    let found = match &record.inside {
        Some(there) => inside::find(namespaces, there, &alias)?,
        None => None,
    };
    if let Some(inside::Found { netns, mut netlink, link }) = found {
        netlink.set_link(link.index, &LinkChange::new().down())?;
        // Its name on the host may be taken in there, and that in there on the host: the kernel refuses a move then.
        let between = Mark::new(record.id.endpoint(), End::Card).link_name();
        netlink.set_link(link.index, &LinkChange::new().name(between))?;
        netns.give_back(link.index)?;
    }
    let mut netlink = namespaces.host()?;
    let links = netlink.links()?;
    if let Some(link) = links.iter().find(|link| link.alias.as_deref() == Some(&*alias)) {
        restore(namespaces, &mut *netlink, link, card)?;
        return Ok(Whereabouts::Back);
    }
    // After a restart of the machine it is there as the system has set it up.
    let started_anew = links.iter().any(|link| link.name == card.name && link.mac == card.mac);
    Ok(if started_anew || !card.returns { Whereabouts::Back } else { Whereabouts::Away })
}

fn restore(
    namespaces: &dyn Namespaces,
    netlink: &mut dyn Namespace,
    link: &Link,
    card: &Card,
) -> Result<(), InsideError> {
    let (name, index) = (card.name.clone(), link.index);
    let mtu = card.mtu.unwrap_or(link.mtu);
    // One that never left has all it had.
    if (&link.name, link.mac, link.mtu, link.up) != (&card.name, card.mac, mtu, card.up) {
        netlink.set_link(index, &LinkChange::new().down())?;
        let change = LinkChange { name: Some(name), mac: card.mac, mtu: Some(mtu), ..LinkChange::new() };
        netlink.set_link(index, &change)?;
        settings::write(namespaces, &card.name, &card.settings);
        if card.up {
            netlink.set_link(index, &LinkChange::new().up())?;
        }
    }
    for saved in &card.addresses {
        let SavedAddress { net, peer, broadcast, label, scope, protocol, without_route, metric } =
            saved.clone();
        let address = Address { peer, broadcast, label, scope, protocol, metric, ..Address::new(index, net) };
        let address = if without_route { address.no_prefix_route() } else { address };
        match netlink.add_address(&address) {
            Err(error) if error.exists() => {}
            done => done?,
        }
    }
    // Networks before the routers in them.
    let (near, far): (Vec<_>, Vec<_>) =
        card.routes.iter().cloned().partition(|route| route.gateway.is_none());
    inside::restore(netlink, &near)?;
    inside::restore(netlink, &far)?;
    // At the end: until then another attempt finds it by its mark.
    let alias = card.alias.clone().unwrap_or_default();
    Ok(netlink.set_link(index, &LinkChange::new().alias(alias))?)
}
