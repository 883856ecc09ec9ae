//! VLANs of NICs (`vlan=` with `mode=macvlan|ipvlan`): networks that hang on an 802.1Q sub-interface of their NIC.
//!
//! The sub-interface is the network's parent from its creation on. One that is there already is used and never removed;
//! one that is made here is marked, is for all networks of the same NIC and VLAN, and goes with the last of them. It comes
//! back after a reboot and when its NIC does. The host takes no part in the VLAN: no address is made up for it there, and
//! it answers no ARP.

use landline_kernel::{Link, LinkKind};
use landline_spec::{Mode, NetworkOptions, Vlan};
use landline_types::IfName;

use crate::blocking;
use crate::engine::Engine;
use crate::host::{Host, HostError};
use crate::links::{ParentError, VlanBy, facts_of, find_parent};
use crate::plan::{LinkEnd, LinkType, Plan, Step};
use crate::records::NetworkRecord;

/// What is written into the `ifalias` of sub-interfaces that are made here.
const MARK: &str = "landline:vlan";

/// Why a NIC has no interface for a VLAN.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VlanError {
    /// The NIC will not do.
    #[error(transparent)]
    Nic(#[from] ParentError),
    /// Something else has the name.
    #[error(
        "VLAN {vlan} of {nic} would be called {name}, which is something else; rename that, or make the VLAN yourself"
    )]
    Taken {
        /// The NIC.
        nic: IfName,
        /// The VLAN.
        vlan: u16,
        /// The name.
        name: IfName,
    },
    /// The kernel did not make it.
    #[error("cannot make VLAN {vlan} of {nic} (it needs the kernel's 802.1Q support: modprobe 8021q)")]
    Make {
        /// The NIC.
        nic: IfName,
        /// The VLAN.
        vlan: u16,
        /// What it said.
        #[source]
        source: HostError,
    },
    /// The host could not be looked at.
    #[error("cannot look at the host's links")]
    Host(#[source] HostError),
}

/// The VLAN a network's parent is to be of its NIC, if any.
fn of_nic(options: &NetworkOptions) -> Option<Vlan> {
    options.vlan.filter(|_| facts_of(options.mode).vlan == VlanBy::SubInterface)
}

/// The NIC's interface for the VLAN, whoever made it.
fn existing<'l>(nic: &Link, vlan: Vlan, links: &'l [Link]) -> Option<&'l Link> {
    let id = vlan.get();
    links
        .iter()
        .find(|l| l.kind == LinkKind::Vlan { id } && l.parent == Some(nic.index) && l.parent_netns.is_none())
}

/// What such an interface is called if it has to be made: `eth0.12`, as everybody has it, or something short.
fn name(nic: &IfName, vlan: Vlan) -> IfName {
    let usual = format!("{nic}.{}", vlan.get()).parse();
    usual.unwrap_or_else(|_| {
        let [.., a, b, c] = crate::mark::stable_mac(nic.as_str()).octets();
        let short = format!("llv{a:02x}{b:02x}{c:02x}.{}", vlan.get());
        // At most 3 + 6 + 5 letters and digits.
        short.parse().unwrap_or_else(|_| unreachable!("a short clean name"))
    })
}

/// What makes the interface; `None` if it is there and works.
fn plan(nic: &Link, vlan: Vlan, links: &[Link]) -> Result<(IfName, Option<Plan>), VlanError> {
    if let Some(link) = existing(nic, vlan, links) {
        // Whether another's is up is for its owner to say.
        let down = !link.up && link.alias.as_deref() == Some(MARK);
        let up = down.then(|| Plan { steps: vec![Step::Up { link: link.name.clone() }] });
        return Ok((link.name.clone(), up));
    }
    let name = name(&nic.name, vlan);
    if links.iter().any(|link| link.name == name) {
        return Err(VlanError::Taken { nic: nic.name.clone(), vlan: vlan.get(), name });
    }
    let end = LinkEnd { name: name.clone(), mac: None, mtu: nic.mtu, alias: MARK.to_owned(), silent: true };
    let add = Step::AddLink { link: end, kind: LinkType::Vlan { parent: nic.name.clone(), id: vlan.get() } };
    Ok((name.clone(), Some(Plan { steps: vec![add, Step::Up { link: name }] })))
}

/// The interface for the VLAN that these options put their NIC's children in, if they do, and what would make it.
pub(crate) fn would_open(
    options: &NetworkOptions,
    links: &[Link],
) -> Result<Option<(Link, Plan)>, VlanError> {
    let Some(vlan) = of_nic(options) else { return Ok(None) };
    let nic = find_parent(&options.parent, options.mode, links)?;
    let (name, plan) = plan(nic, vlan, links)?;
    let link = Link { name, kind: LinkKind::Vlan { id: vlan.get() }, ..nic.clone() };
    Ok(Some((link, plan.unwrap_or_default())))
}

/// Makes what is missing; the interface's name.
fn open(host: &dyn Host, nic: &IfName, vlan: Vlan, mode: Mode) -> Result<IfName, VlanError> {
    let links = host.links().map_err(VlanError::Host)?;
    let nic = find_parent(nic, mode, &links)?;
    let (name, plan) = plan(nic, vlan, &links)?;
    if let Some(plan) = plan {
        let failed = |source| VlanError::Make { nic: nic.name.clone(), vlan: vlan.get(), source };
        plan.apply(host).map_err(failed)?;
        tracing::info!(nic = %nic.name, vlan = vlan.get(), link = %name, "an interface for the VLAN is there");
    }
    Ok(name)
}

fn remove(host: &dyn Host, wanted: impl Fn(&Link) -> bool) -> Result<(), HostError> {
    for link in host.links()? {
        if link.alias.as_deref() == Some(MARK) && wanted(&link) && host.remove_marked(link.index, MARK)? {
            tracing::info!(link = %link.name, "the interface of a VLAN without networks is removed");
        }
    }
    Ok(())
}

impl Engine {
    /// Hangs a new network on its NIC's interface for its VLAN, which is made if need be. The NIC; `None`: the network
    /// is in no such VLAN.
    pub(crate) async fn enter_vlan(&self, options: &mut NetworkOptions) -> Result<Option<IfName>, VlanError> {
        let Some(vlan) = of_nic(options) else { return Ok(None) };
        let (host, nic, mode) = (self.host.clone(), options.parent.clone(), options.mode);
        let _turn = self.vlans.lock().await;
        let (nic, parent) = blocking(move || open(&*host, &nic, vlan, mode).map(|name| (nic, name))).await?;
        options.parent = parent;
        Ok(Some(nic))
    }

    /// As [`Self::enter_vlan`] for a network that exists: what cannot be made now is made when the NIC is there.
    pub(crate) async fn adopt_vlan(&self, options: &mut NetworkOptions) -> Option<IfName> {
        let vlan = of_nic(options)?;
        match self.enter_vlan(options).await {
            Ok(nic) => nic,
            Err(error) => {
                tracing::warn!(error = %crate::chain(&error), "a VLAN is missing for now");
                let nic = options.parent.clone();
                options.parent = name(&nic, vlan);
                Some(nic)
            }
        }
    }

    /// Makes the interface of a network's VLAN again, if it has one and that is gone.
    pub(crate) async fn reopen_vlan(&self, network: &NetworkRecord) {
        let (Some(vlan), Some(nic)) = (of_nic(&network.options), network.nic.clone()) else { return };
        let (host, mode) = (self.host.clone(), network.options.mode);
        let _turn = self.vlans.lock().await;
        match blocking(move || open(&*host, &nic, vlan, mode)).await {
            Ok(name) if name == network.options.parent => {}
            Ok(name) => {
                let (was, network) = (&network.options.parent, network.id.short());
                tracing::warn!(network, %was, is = %name, "the interface of a VLAN has another name now; rename it");
            }
            Err(error) => tracing::debug!(error = %crate::chain(&error), "a VLAN is missing for now"),
        }
    }

    /// After a start: every VLAN is there, and none that no network needs, unless not all networks are known.
    pub(crate) async fn reopen_vlans(&self, all_known: bool) {
        let networks: Vec<NetworkRecord> = self.networks().values().cloned().collect();
        for network in &networks {
            self.reopen_vlan(network).await;
        }
        if all_known {
            self.leave_vlans(None).await;
        }
    }

    /// Makes the VLANs of NICs that are back.
    pub(crate) async fn nics_are_up(&self, links: &[Link]) {
        let networks: Vec<NetworkRecord> = self.networks().values().cloned().collect();
        let back = |nic: &IfName| links.iter().any(|link| link.up && link.name == *nic);
        for network in networks.iter().filter(|network| network.nic.as_ref().is_some_and(back)) {
            self.reopen_vlan(network).await;
        }
    }

    /// Removes the marked interface of this name, or all of them, unless a network needs it.
    pub(crate) async fn leave_vlans(&self, which: Option<&IfName>) {
        let _turn = self.vlans.lock().await;
        let needed: Vec<IfName> = self.networks().values().map(|n| n.options.parent.clone()).collect();
        let (host, which) = (self.host.clone(), which.cloned());
        let wanted = move |link: &Link| {
            which.as_ref().is_none_or(|name| link.name == *name) && !needed.contains(&link.name)
        };
        if let Err(error) = blocking(move || remove(&*host, wanted)).await {
            tracing::warn!(error = %crate::chain(&error), "the interface of a VLAN could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::{FakeHost, link};

    fn vlan(id: u16) -> Vlan {
        id.try_into().unwrap()
    }

    #[test]
    fn names_are_the_usual_ones_and_always_fit() {
        let called = |nic: &str, id| name(&nic.parse().unwrap(), vlan(id)).to_string();
        assert_eq!(called("eth0", 12), "eth0.12");
        assert_eq!(called("enp0s31f6", 4094), "enp0s31f6.4094");
        let long = called("wlx001122334455", 4094);
        assert!(long.starts_with("llv") && long.ends_with(".4094"), "{long}");
        assert_ne!(long, called("wlx001122334466", 4094));
    }

    #[test]
    fn what_is_there_is_used_and_what_is_not_is_made() {
        let nic = link(2, "eth0", LinkKind::Physical);
        let theirs = Link { parent: Some(2), ..link(7, "guests", LinkKind::Vlan { id: 12 }) };
        let links = [nic.clone(), theirs.clone()];
        let (name, made) = plan(&nic, vlan(12), &links).unwrap();
        assert_eq!((name.as_str(), made), ("guests", None));
        let (name, made) = plan(&nic, vlan(13), &links).unwrap();
        assert_eq!((name.as_str(), made.map(|plan| plan.steps.len())), ("eth0.13", Some(2)));
        let elsewhere = [nic.clone(), Link { parent: Some(3), ..theirs }];
        assert!(plan(&nic, vlan(12), &elsewhere).unwrap().1.is_some(), "another NIC's");
        let taken = [nic.clone(), link(9, "eth0.13", LinkKind::Dummy)];
        assert!(matches!(plan(&nic, vlan(13), &taken), Err(VlanError::Taken { .. })));
    }

    #[test]
    fn only_marked_interfaces_are_removed() {
        let host = FakeHost::with_bridge_and_nic();
        let mode = Mode::Macvlan;
        let name = open(&host, &"eth0".parse().unwrap(), vlan(12), mode).unwrap();
        assert_eq!(host.names(), ["br0", "eth0", "eth0.12"]);
        assert_eq!(open(&host, &"eth0".parse().unwrap(), vlan(12), mode).unwrap(), name, "shared");
        remove(&host, |_| false).unwrap();
        remove(&host, |link| link.name == name).unwrap();
        assert_eq!(host.names(), ["br0", "eth0"]);
    }
}
