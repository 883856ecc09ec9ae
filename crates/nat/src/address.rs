//! Addresses of containers on the host's NICs.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use landline_dhcp::wire::arp::Packet;
use landline_kernel::{Address, Link};
use landline_leases::probe::Prober;
use landline_links::mark::PROTOCOL;
use landline_links::{HostError, Namespace, Namespaces, blocking};
use landline_types::{IfName, Mac};

use super::NatError;

/// RFC 5227 section 2.3: this many announcements, so far apart.
const ANNOUNCEMENTS: usize = 2;
const BETWEEN: Duration = Duration::from_secs(2);

/// Whether containers' addresses can be on that interface: its index and hardware address.
pub(crate) async fn check_nic(prober: &Prober, interface: &IfName) -> Result<(u32, Mac), NatError> {
    let (link, ..) = look(prober, interface.clone()).await?;
    let Some(link) = link else { return Err(NatError::NoInterface(interface.clone())) };
    let Some(mac) = link.mac.filter(|_| link.ethernet && !link.loopback) else {
        return Err(NatError::NotEthernet(interface.clone()));
    };
    if link.up { Ok((link.index, mac)) } else { Err(NatError::Down(interface.clone())) }
}

/// Whether that address can be there: nobody has it, on the host or on the LAN.
pub(super) async fn check(prober: &Prober, interface: &IfName, address: Ipv4Addr) -> Result<(), NatError> {
    let (index, mac) = check_nic(prober, interface).await?;
    let (_, addresses, links) = look(prober, interface.clone()).await?;
    if let Some(own) = addresses.iter().find(|own| own.net.addr() == IpAddr::V4(address)) {
        let on = links.iter().find(|link| link.index == own.index).map(|link| link.name.to_string());
        return Err(NatError::OwnAddress {
            address,
            interface: on.unwrap_or_else(|| "another interface".into()),
        });
    }
    let probed = prober.user(index, mac, address).await;
    match probed.map_err(|source| NatError::Probe { address, source })? {
        Some(mac) => Err(NatError::InUse { address, mac }),
        None => Ok(()),
    }
}

/// Whether the host has the address already, other than as the one that was put on this interface before.
pub(super) async fn of_host(
    prober: &Prober,
    address: Ipv4Addr,
    interface: &IfName,
    before: Option<Ipv4Addr>,
) -> Result<bool, NatError> {
    let (link, addresses, _) = look(prober, interface.clone()).await?;
    let put = |own: &Address| {
        let ours = own.protocol == PROTOCOL || before == Some(address);
        ours && link.as_ref().is_some_and(|link| link.index == own.index) && own.net.prefix_len() == 32
    };
    Ok(addresses.iter().any(|own| own.net.addr() == IpAddr::V4(address) && !put(own)))
}

/// Puts it there, if it is not, and tells the LAN; asks there first if need be. `false`: the interface is not there, or
/// down.
pub(super) async fn put(
    prober: &Prober,
    interface: &IfName,
    address: Ipv4Addr,
    ask: bool,
) -> Result<bool, NatError> {
    let (link, addresses, _) = look(prober, interface.clone()).await?;
    let Some(link) = link.filter(|link| link.up) else { return Ok(false) };
    let there = |own: &&Address| own.index == link.index && own.net.addr() == IpAddr::V4(address);
    if addresses.iter().any(|own| there(&own)) {
        return Ok(true);
    }
    let index = link.index;
    if ask
        && let Some(mac) = link.mac
        && let Some(mac) =
            prober.user(index, mac, address).await.map_err(|source| NatError::Probe { address, source })?
    {
        return Err(NatError::InUse { address, mac });
    }
    let namespaces = prober.namespaces.clone();
    blocking(move || {
        let own = Address { protocol: PROTOCOL, ..Address::new(index, IpNet::V4(Ipv4Net::from(address))) };
        match open(&*namespaces)?.add_address(&own) {
            Err(error) if error.exists() => Ok(()),
            added => added.map_err(HostError::from),
        }
    })
    .await?;
    if let Some(mac) = link.mac {
        tokio::spawn(announce(prober.clone(), index, mac, address));
    }
    Ok(true)
}

/// Whether [`put`] has put it there.
pub(super) async fn is_there(
    prober: &Prober,
    interface: &IfName,
    address: Ipv4Addr,
) -> Result<bool, NatError> {
    let (link, addresses, _) = look(prober, interface.clone()).await?;
    Ok(link.is_some_and(|link| addresses.iter().any(|own| is_put(own, &link, address))))
}

/// Kernels before 5.18 do not keep whose an address is.
fn is_put(own: &Address, link: &Link, address: Ipv4Addr) -> bool {
    own.index == link.index
        && own.net == IpNet::V4(Ipv4Net::from(address))
        && [0, PROTOCOL].contains(&own.protocol)
}

/// Takes away those that were put there for nobody who is known; what nobody renews is somebody else's soon. Kernels before
/// 5.18 do not keep whose an address is.
pub(super) async fn sweep(
    prober: &Prober,
    interface: &IfName,
    known: &BTreeSet<Ipv4Addr>,
) -> Result<(), NatError> {
    let (link, addresses, _) = look(prober, interface.clone()).await?;
    let put = addresses.into_iter().filter(|own| own.protocol == PROTOCOL && own.net.prefix_len() == 32);
    for own in put.filter(|own| link.as_ref().is_some_and(|link| link.index == own.index)) {
        if let IpAddr::V4(address) = own.net.addr()
            && !known.contains(&address)
        {
            tracing::warn!(%address, %interface, "an address that is nobody's any more is removed");
            delete(prober, own).await?;
        }
    }
    Ok(())
}

/// Takes it away, if it was put there by [`put`].
pub(super) async fn take(prober: &Prober, interface: &IfName, address: Ipv4Addr) -> Result<(), NatError> {
    let (link, addresses, _) = look(prober, interface.clone()).await?;
    let Some(link) = link else { return Ok(()) };
    let Some(own) = addresses.into_iter().find(|own| is_put(own, &link, address)) else { return Ok(()) };
    Ok(delete(prober, own).await?)
}

async fn delete(prober: &Prober, own: Address) -> Result<(), HostError> {
    let namespaces = prober.namespaces.clone();
    blocking(move || Ok(open(&*namespaces)?.delete_address(&own).map(drop)?)).await
}

async fn announce(prober: Prober, index: u32, mac: Mac, address: Ipv4Addr) {
    let sockets = prober.sockets.clone();
    let Ok(socket) = blocking(move || sockets.arp(index)).await else { return };
    for n in 0..ANNOUNCEMENTS {
        if n > 0 {
            tokio::time::sleep(BETWEEN).await;
        }
        if let Err(error) = socket.send(&Packet::announcement(mac, address)) {
            tracing::debug!(%address, %error, "an address was not announced");
            return;
        }
    }
}

type HostSnapshot = (Option<Link>, Vec<Address>, Vec<Link>);

async fn look(prober: &Prober, interface: IfName) -> Result<HostSnapshot, NatError> {
    let namespaces = prober.namespaces.clone();
    let looked = blocking(move || {
        let mut netlink = open(&*namespaces)?;
        let links = netlink.links()?;
        let link = links.iter().find(|link| link.name == interface).cloned();
        Ok::<_, HostError>((link, netlink.addresses()?, links))
    });
    Ok(looked.await?)
}

fn open(namespaces: &dyn Namespaces) -> Result<Box<dyn Namespace>, HostError> {
    namespaces.host().map_err(HostError::Open)
}
