//! Another machine that has an address which an interface is about to have.

use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landline_options::ConflictCheck;
use landline_types::Mac;

use super::Look;
use crate::lease::Services;
use crate::random::OsRandom;

/// Somebody else has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contest {
    /// The address.
    pub address: Ipv4Addr,
    /// The hardware address that answers for it.
    pub by: Mac,
    /// Whether that answers for every address of the subnet, as a router does that does proxy ARP (RFC 1027).
    pub for_all: bool,
}

/// Looks for another machine on the LAN that has one of these addresses. The link with this index, in the host's namespace,
/// has `mac`.
///
/// # Errors
/// The link cannot be listened on, or is down.
pub async fn contest(
    services: &Services,
    index: u32,
    mac: Mac,
    wanted: &[Ipv4Net],
    check: ConflictCheck,
) -> io::Result<Option<Contest>> {
    let look = Look { services, index, mac };
    let addresses: Vec<Ipv4Addr> = wanted.iter().map(Ipv4Net::addr).collect();
    let Some((address, by)) = look.anyone(&addresses, check).await? else { return Ok(None) };
    let net = wanted.iter().find(|net| net.addr() == address);
    let for_all = match net {
        Some(net) => look.answers_for_all(*net, by, &mut OsRandom).await?,
        None => false,
    };
    Ok(Some(Contest { address, by, for_all }))
}
