//! An attachment's parent: found, and made if it may be.

use std::path::Path;

use landline_kernel::{Link, LinkKind as Kind};
use landline_links::mark::MADE;
use landline_links::network::name_bridge;
use landline_links::{
    HostEnd, HostError, ParentError, ParentIs, Plan, Step, blocking, check_vlan, facts_of, find_parent,
    mode_over,
};
use landline_model::NetworkRecord;
use landline_options::{AttachKind, AttachSpec, LinkChoice, NetworkOptions, Parent};
use landline_types::IfName;

use super::record::Card;
use super::{AttachFailure, AttachmentRecord, Attachments, inside};

/// How an attachment's link runs, once its parent was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedParent {
    /// The parent's name; the link's kind where there is none, or where it is a switch that has a directory instead.
    pub parent: IfName,
    /// Whether that is what the parent has by itself.
    pub followed: bool,
    /// The network's options; `None`: the link is a dummy interface.
    pub network: Option<NetworkOptions>,
    /// The parent is not there and has to be made.
    pub make: bool,
}

impl ResolvedParent {
    /// What the link would be.
    pub fn kind(&self) -> AttachKind {
        self.network.as_ref().map_or(AttachKind::Dummy, |options| AttachKind::Mode(options.mode))
    }

    /// Whether the host reaches such links only through one of its own.
    pub fn needs_shim(&self) -> bool {
        self.network.as_ref().is_some_and(|options| facts_of(options.mode).shim.is_some())
    }

    /// Whether it would be a port of Open vSwitch that carries all VLANs.
    pub fn is_open_trunk(&self) -> bool {
        let all = |options: &NetworkOptions| {
            options.vlan.is_none() && options.trunks.is_empty() && !options.untagged
        };
        self.network.as_ref().is_some_and(|options| is_on_ovs(options) && all(options))
    }

    /// The parent as the administrator calls it.
    pub fn named(&self) -> String {
        self.network.as_ref().map_or_else(|| self.parent.to_string(), parent_of)
    }
}

/// Whether links are ports of Open vSwitch.
fn is_on_ovs(network: &NetworkOptions) -> bool {
    facts_of(network.mode).host_end == HostEnd::SwitchPort
}

/// A network's parent, as the administrator calls it.
pub(super) fn parent_of(network: &NetworkOptions) -> String {
    match network.switch_dir() {
        Some(dir) => dir.display().to_string(),
        None => network.parent.to_string(),
    }
}

/// What makes a bridge that is not there. Blocks.
pub(super) fn bridge_plan(resolved: &ResolvedParent) -> Result<Plan, HostError> {
    let name = resolved.parent.clone();
    if resolved.network.as_ref().is_some_and(is_on_ovs) {
        // As pipework does: its local port is the administrator's to set up.
        let in_user_space = landline_links::ovs::in_user_space()?;
        return Ok(Plan { steps: vec![landline_links::ovs::MakeBridge { name, in_user_space }.into()] });
    }
    Ok(Plan { steps: vec![Step::add_bridge(name.clone()), Step::Up { link: name }] })
}

/// What such a bridge would look like beside the host's links.
pub(super) fn made_bridge(resolved: &ResolvedParent, links: &[Link]) -> Option<Link> {
    let on_ovs = resolved.network.as_ref().is_some_and(is_on_ovs);
    let kind = if on_ovs { Kind::OpenVswitch } else { Kind::Bridge { vlan_filtering: false } };
    let like = links.first()?.clone();
    let (name, mac, loopback, up) = (resolved.parent.clone(), None, false, true);
    Some(Link { name, kind, mtu: 1500, mac, loopback, up, ..like })
}

impl Attachments {
    /// Looks at the parent and says what the link will be. Nothing is changed.
    ///
    /// # Errors
    /// There is no such parent, or an option does not go with it.
    pub async fn resolve(&self, spec: &AttachSpec) -> Result<ResolvedParent, AttachFailure> {
        let (host, spec) = (self.shared.host.clone(), spec.clone());
        let cards: Vec<Card> = self.slots.all().iter().filter_map(|slot| slot.read().card).collect();
        blocking(move || resolve(&spec, &host.links()?, &cards)).await
    }

    /// Refuses a parent that is not there, or down. Containers wait for theirs, which at boot may be about to come; a person
    /// who has typed its name does not.
    pub(super) async fn check_parent(&self, resolved: &ResolvedParent) -> Result<(), AttachFailure> {
        let Some(options) = resolved.network.clone() else { return Ok(()) };
        if resolved.make || matches!(facts_of(options.mode).parent, ParentIs::OwnBridge | ParentIs::Itself) {
            return Ok(());
        }
        let host = self.shared.host.clone();
        let links = blocking(move || host.links()).await?;
        match find_parent(&options.parent, options.mode, &links) {
            Err(error @ (ParentError::Missing { .. } | ParentError::Down { .. })) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Makes the bridge that is an attachment's parent.
    pub(super) async fn make_parent(&self, resolved: &ResolvedParent) -> Result<(), HostError> {
        let (host, resolved) = (self.shared.host.clone(), resolved.clone());
        let made = blocking(move || bridge_plan(&resolved)?.apply(&*host)).await;
        match made {
            // Two that start at once: the other one was quicker.
            Err(HostError::Netlink(error)) if error.exists() => Ok(()),
            made => made,
        }
    }

    /// The network of an attachment, and its NIC if it is in a VLAN of it, which is made if need be. A bridge of its own has
    /// its name, and is made when the attachment is stored.
    pub(super) async fn settle_parent(
        &self,
        record: &AttachmentRecord,
        resolved: &ResolvedParent,
    ) -> Result<(Option<NetworkOptions>, Option<IfName>), AttachFailure> {
        let Some(options) = resolved.network.clone() else { return Ok((None, None)) };
        let mut network = NetworkRecord::new(record.id.network(), options);
        name_bridge(&mut network);
        if facts_of(network.options.mode).parent != ParentIs::OwnBridge {
            self.engine.parents().enter(&mut network).await?;
        }
        Ok((Some(network.options), network.nic))
    }

    /// Makes what an attachment's network needs. A switch outside the kernel must be running.
    pub(super) async fn enter_parent(&self, record: &AttachmentRecord) -> Result<(), AttachFailure> {
        if let Some(network) = record.network_record() {
            self.engine.parents().ensure(&network, true).await?;
        }
        Ok(())
    }

    /// Removes what was made for an attachment that is no more: its bridge, its card's VLAN, its port of a switch.
    pub(super) async fn leave_parent(&self, record: &AttachmentRecord) {
        let Some(network) = &record.network else { return };
        if let Some(network) = record.network_record() {
            self.engine.parents().remove(&network).await;
        }
        if record.spec.create {
            self.unmake_parent(network).await;
        }
    }

    /// Removes a bridge that was made for an attachment and has no port any more.
    async fn unmake_parent(&self, network: &NetworkOptions) {
        let (host, name, on_ovs) = (self.shared.host.clone(), network.parent.clone(), is_on_ovs(network));
        if self.engine.networks().values().any(|network| network.options.parent == name) {
            return;
        }
        let removed = blocking(move || {
            let links = host.links()?;
            if on_ovs {
                let local = links.iter().find(|link| link.name == name);
                let addresses = local.map_or(Ok(Vec::new()), |link| host.addresses(link.index))?;
                if addresses.iter().all(inside::is_automatic) {
                    landline_links::ovs::unmake_bridge(&name)?;
                }
                return Ok(true);
            }
            let Some(bridge) = links.iter().find(|l| l.name == name && l.alias.as_deref() == Some(MADE))
            else {
                return Ok(false);
            };
            let on_it = |link: &Link| {
                link.controller == Some(bridge.index)
                    || link.parent == Some(bridge.index) && link.parent_netns.is_none()
            };
            // Its link-local address the kernel has given it.
            let addressed = host.addresses(bridge.index)?.iter().any(|net| !inside::is_automatic(net));
            if links.iter().any(on_it) || addressed {
                return Ok(false);
            }
            host.remove_marked(bridge.index, MADE)
        });
        if let Err::<_, HostError>(error) = removed.await {
            tracing::warn!(error = %landline_types::chain(&error), "a bridge that was made for an attachment stays");
        }
    }
}

/// `cards`: those that are in containers.
fn resolve(spec: &AttachSpec, links: &[Link], cards: &[Card]) -> Result<ResolvedParent, AttachFailure> {
    let (name, link) = match &spec.parent {
        Parent::Dummy => {
            if spec.dhcp {
                return Err(AttachFailure::Contradiction(
                    "a dummy interface is connected to nothing that could give it an address; write a static one",
                ));
            }
            let parent = AttachKind::Dummy.as_str().parse().map_err(|_| AttachFailure::Cancelled)?;
            return Ok(ResolvedParent { parent, followed: true, network: None, make: false });
        }
        Parent::Switch(dir) => return resolve_switch(spec, dir),
        Parent::Name(name) => (name.clone(), links.iter().find(|link| link.name == *name)),
        Parent::Mac(mac) => {
            // Children of a card have addresses of their own, but bridges and bonds have those of their ports.
            let has = |link: &&Link| link.mac == Some(*mac) && link.alias.is_none();
            let card = links.iter().filter(has).find(|link| matches!(link.kind, Kind::Physical));
            let link = card.or_else(|| links.iter().find(has));
            let away = || cards.iter().find(|card| card.mac == Some(*mac)).map(|card| card.name.clone());
            let name = link.map(|link| link.name.clone()).or_else(away);
            (name.ok_or(AttachFailure::NoSuchCard(*mac))?, link)
        }
    };
    let follow = mode_over(&name, link);
    if spec.link == LinkChoice::Nic {
        if spec.host_end.is_some() {
            return Err(AttachFailure::Contradiction(
                "a network card that moves into the container leaves no end on the host that could be named; leave out \
                 -l (host_ifname)",
            ));
        }
        let network = spec.network(&name, follow)?;
        return Ok(over(spec, name, network, true));
    }
    let make = link.is_none() && spec.create;
    let network = spec.network(&name, follow)?;
    let facts = facts_of(network.mode);
    if facts.is_translated() {
        return Err(AttachFailure::Contradiction(
            "what is translated needs no further interface: landline nat gives a container an address on the host",
        ));
    }
    if let Some(parent) = link {
        check_vlan(&network, parent)?;
    }
    let switch = facts.parent == ParentIs::LanBridge;
    if make && !switch {
        return Err(AttachFailure::Contradiction("only a bridge can be made; make the parent first"));
    }
    if spec.host_end.is_some() && !switch {
        return Err(AttachFailure::Contradiction(
            "only a link into a bridge has an end on the host that could be named; leave out -l (host_ifname)",
        ));
    }
    let followed = network.mode == follow;
    Ok(ResolvedParent { make, ..over(spec, name, network, followed) })
}

/// A switch outside the kernel. Whether one runs there is seen when it is joined: a directory that a container names is not looked at
/// before it is allowed.
fn resolve_switch(spec: &AttachSpec, dir: &Path) -> Result<ResolvedParent, AttachFailure> {
    if spec.link == LinkChoice::Nic || spec.create || spec.host_end.is_some() {
        return Err(AttachFailure::Contradiction(
            "a VDE switch is joined as it is: leave out --direct-phys (mode=nic), create and -l (host_ifname)",
        ));
    }
    let network = spec.network_on_switch(dir)?;
    Ok(over(spec, network.parent.clone(), network, true))
}

/// What is the same whatever the parent.
fn over(spec: &AttachSpec, parent: IfName, mut network: NetworkOptions, followed: bool) -> ResolvedParent {
    if network.gateway.is_none() && !spec.dhcp {
        network.gateway = spec.first_v4().and_then(|address| match address.gateway {
            Some(std::net::IpAddr::V4(gateway)) => Some(gateway),
            _ => None,
        });
    }
    // What is written on the container counts, and what the host's bridge has besides is none of its business.
    network.skip_routes |= !spec.dhcp;
    ResolvedParent { followed, parent, network: Some(network), make: false }
}
