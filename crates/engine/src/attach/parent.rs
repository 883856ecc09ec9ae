//! What an attachment hangs on: found, and made if it may be.

use landline_kernel::{Link, LinkKind as Kind};
use landline_spec::{AttachSpec, KindWord, LinkChoice, Mode, NetworkOptions, Parent};
use landline_types::IfName;

use super::{AttachFailure, AttachmentRecord, inside};
use crate::blocking;
use crate::engine::Engine;
use crate::host::HostError;
use crate::links::check_vlan;
use crate::mark::MADE;
use crate::plan::{Plan, Step};

/// How an attachment's wire runs, once its parent was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// The parent's name; `dummy` where there is none.
    pub parent: IfName,
    /// A network mode, `nic` or `dummy`.
    pub kind: String,
    /// Whether that is what the parent has by itself.
    pub followed: bool,
    /// The network's options, for a kind that is a mode.
    pub network: Option<NetworkOptions>,
    /// The parent is not there and has to be made.
    pub make: bool,
}

/// What makes a bridge that is not there.
pub(super) fn bridge_plan(name: &IfName) -> Plan {
    Plan { steps: vec![Step::MakeBridge { name: name.clone() }, Step::Up { link: name.clone() }] }
}

impl Engine {
    /// Looks at the parent and says what the link will be. Nothing is changed.
    ///
    /// # Errors
    /// There is no such parent, or an option does not go with it.
    pub async fn choose(&self, spec: &AttachSpec) -> Result<Chosen, AttachFailure> {
        let (host, spec) = (self.host.clone(), spec.clone());
        blocking(move || choose(&spec, &host.links()?)).await
    }

    /// Makes the bridge an attachment hangs on.
    pub(super) async fn make_parent(&self, name: &IfName) -> Result<(), HostError> {
        let (host, plan) = (self.host.clone(), bridge_plan(name));
        let made = blocking(move || plan.apply(&*host)).await;
        match made {
            // Two that start at once: the other one was quicker.
            Err(HostError::Netlink(error)) if error.exists() => Ok(()),
            made => made,
        }
    }

    /// Removes what was made for an attachment that is no more: its bridge, or its card's VLAN.
    pub(super) async fn leave_parent(&self, record: &AttachmentRecord) {
        let Some(network) = &record.network else { return };
        if record.nic.is_some() {
            self.leave_vlans(Some(&network.parent)).await;
        }
        if record.spec.create {
            self.unmake_parent(&network.parent).await;
        }
    }

    /// Removes a bridge that was made for an attachment and has no port any more.
    async fn unmake_parent(&self, name: &IfName) {
        let used = self.networks().values().any(|network| network.options.parent == *name);
        if used {
            return;
        }
        let (host, name) = (self.host.clone(), name.clone());
        let removed = blocking(move || {
            let links = host.links()?;
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
            tracing::warn!(error = %crate::chain(&error), "a bridge that was made for an attachment stays");
        }
    }
}

fn choose(spec: &AttachSpec, links: &[Link]) -> Result<Chosen, AttachFailure> {
    let plain = |parent: IfName, kind: &str| Chosen {
        parent,
        kind: kind.to_owned(),
        followed: true,
        network: None,
        make: false,
    };
    let (name, link) = match &spec.parent {
        Parent::Dummy => {
            if spec.dhcp {
                return Err(AttachFailure::Contradiction(
                    "a dummy interface is connected to nothing that could give it an address; write a static one",
                ));
            }
            let name = KindWord::DUMMY.parse().map_err(|_| AttachFailure::Cancelled)?;
            return Ok(plain(name, KindWord::DUMMY));
        }
        Parent::Name(name) => (name.clone(), links.iter().find(|link| link.name == *name)),
        Parent::Mac(mac) => {
            // Children of a card have addresses of their own, but bridges and bonds have those of their ports.
            let has = |link: &&Link| link.mac == Some(*mac) && link.alias.is_none();
            let card = links.iter().filter(has).find(|link| matches!(link.kind, Kind::Physical));
            let link = card.or_else(|| links.iter().find(has)).ok_or(AttachFailure::NoSuchCard(*mac))?;
            (link.name.clone(), Some(link))
        }
    };
    if spec.link == LinkChoice::Nic {
        if spec.dhcp {
            return Err(AttachFailure::Contradiction(
                "a network card that moves into the container gets static addresses only; for DHCP leave out \
                 --direct-phys (mode=nic), or run the container's own DHCP client",
            ));
        }
        return Ok(plain(name, KindWord::NIC));
    }
    let make = link.is_none() && spec.create;
    let follow = match link.map(|link| &link.kind) {
        Some(Kind::Bridge { .. }) | None => Mode::Bridge,
        Some(Kind::OpenVswitch | Kind::Tun) => Mode::Ovs,
        Some(_) => Mode::Macvlan,
    };
    let network = spec.network(&name, follow)?;
    if network.mode == Mode::Vde {
        return Err(AttachFailure::Contradiction(
            "a VDE switch has no place for what is attached; make a network with -o mode=vde and connect the container",
        ));
    }
    if network.mode == Mode::Nat {
        return Err(AttachFailure::Contradiction(
            "what is translated needs no further interface: landline nat gives a container an address on the host",
        ));
    }
    if let Some(parent) = link {
        check_vlan(&network, parent)?;
    }
    if make && network.mode != Mode::Bridge {
        return Err(AttachFailure::Contradiction("only a bridge can be made; make the parent first"));
    }
    if spec.host_end.is_some() && network.mode != Mode::Bridge {
        return Err(AttachFailure::Contradiction(
            "only a link into a bridge has an end on the host that could be named; leave out -l (host_ifname)",
        ));
    }
    let mut network = network;
    if network.gateway.is_none() && !spec.dhcp {
        network.gateway = spec.first_v4().and_then(|address| match address.gateway {
            Some(std::net::IpAddr::V4(gateway)) => Some(gateway),
            _ => None,
        });
    }
    // What is written on the container counts, and what the host's bridge has besides is none of its business.
    network.skip_routes |= !spec.dhcp;
    let kind = network.mode.to_string();
    Ok(Chosen { followed: network.mode == follow, parent: name, kind, network: Some(network), make })
}
