//! VLANs of NICs (`vlan=` with `mode=macvlan|ipvlan`): networks whose parent is an 802.1Q sub-interface of their NIC.
//!
//! The sub-interface is the network's parent from its creation on. One that is there already is used and never removed;
//! one that is made here is marked, is for all networks of the same NIC and VLAN, and goes with the last of them. It comes
//! back after a reboot and when its NIC does. The host takes no part in the VLAN: no address is made up for it there, and
//! it answers no ARP.

use landline_kernel::{Link, LinkKind};
use landline_model::NetworkRecord;
use landline_options::{NetworkOptions, Vlan};
use landline_types::IfName;

use crate::host::{Host, HostError};
use crate::network::{NetworkLinks, NetworkLinksError};
use crate::plan::{LinkEnd, LinkType, Plan, Step};
use crate::{ParentError, VlanBy, facts_of, find_parent};

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
}

impl From<VlanError> for NetworkLinksError {
    fn from(error: VlanError) -> Self {
        Self::Awaited(error.into())
    }
}

/// The VLAN a network's parent is to be of its NIC, if any.
pub fn of_nic(options: &NetworkOptions) -> Option<Vlan> {
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

/// What a network needs to be in a VLAN of its NIC: the NIC's interface for it.
pub(crate) fn network(network: &NetworkRecord, links: &[Link]) -> Result<NetworkLinks, VlanError> {
    let Some(vlan) = of_nic(&network.options) else { return Ok(NetworkLinks::none(network)) };
    let nic = find_parent(nic(network), network.options.mode, links)?;
    let (parent, plan) = plan(nic, vlan, links)?;
    Ok(NetworkLinks { parent, plan: plan.unwrap_or_default() })
}

/// The NIC whose VLAN it is.
fn nic(network: &NetworkRecord) -> &IfName {
    network.nic.as_ref().unwrap_or(&network.options.parent)
}

/// What is said when the host refuses that.
pub(crate) fn refused(network: &NetworkRecord, source: HostError) -> NetworkLinksError {
    match of_nic(&network.options) {
        Some(vlan) => VlanError::Make { nic: nic(network).clone(), vlan: vlan.get(), source }.into(),
        None => NetworkLinksError::Bridge(source),
    }
}

/// What a network that has this NIC as its parent will have in its place, unless its VLAN has another name already.
pub fn expected(options: &NetworkOptions) -> Option<IfName> {
    Some(name(&options.parent, of_nic(options)?))
}

/// Removes those that were made here and are not wanted any more.
pub fn remove(host: &dyn Host, wanted: impl Fn(&Link) -> bool) -> Result<(), HostError> {
    for link in host.links()? {
        if link.alias.as_deref() == Some(MARK) && wanted(&link) && host.remove_marked(link.index, MARK)? {
            tracing::info!(link = %link.name, "the interface of a VLAN without networks is removed");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use landline_options::Mode;

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
        let mut options = NetworkOptions::new("eth0".parse().unwrap());
        (options.mode, options.vlan) = (Mode::Macvlan, Some(vlan(12)));
        let network = NetworkRecord::new("n".repeat(64).parse().unwrap(), options);
        let name = crate::network::ensure(&host, &network, true).unwrap();
        assert_eq!(host.names(), ["br0", "eth0", "eth0.12"]);
        remove(&host, |_| false).unwrap();
        remove(&host, |link| link.name == name).unwrap();
        assert_eq!(host.names(), ["br0", "eth0"]);
    }
}
