//! A pool of addresses, as a value.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// How many freed addresses are remembered. Of more, those that were freed longest ago count as never used.
const MOST_FREED: usize = 1024;

/// The addresses of one network: who has which, and which are to be had.
///
/// An address nobody named is taken from the range: the one its owner had before, else the lowest that was never
/// used, else the one that was freed longest ago. The gateway is never among them; whoever names it gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pool {
    subnet: IpNet,
    /// Where unnamed addresses are from.
    range: IpNet,
    gateway: Option<IpAddr>,
    /// Addresses in use, and by whom, if that is known.
    taken: BTreeMap<IpAddr, Option<String>>,
    /// Addresses that were in use, with whoever had them; the longest free first.
    freed: VecDeque<(IpAddr, Option<String>)>,
}

/// Why there is no such pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The range leads out of the subnet.
    #[error("the range {range} is not within the subnet {subnet}; give an --ip-range that is")]
    Range {
        /// `--ip-range`.
        range: IpNet,
        /// `--subnet`.
        subnet: IpNet,
    },
}

/// Why an address cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TakeError {
    /// It is another network's.
    #[error("{address} is not within the subnet {subnet}")]
    Outside {
        /// The address.
        address: IpAddr,
        /// The subnet.
        subnet: IpNet,
    },
    /// It means the subnet itself, or all of it.
    #[error("{address} is no machine's address in the subnet {subnet}")]
    NotAHost {
        /// The address.
        address: IpAddr,
        /// The subnet.
        subnet: IpNet,
    },
    /// Somebody has it.
    #[error("{address} is in use by {}", owner.as_deref().unwrap_or("another container"))]
    Taken {
        /// The address.
        address: IpAddr,
        /// Who has it, if known.
        owner: Option<String>,
    },
    /// All are in use.
    #[error(
        "all addresses of {range} are in use; remove containers, or create the network again with a larger range"
    )]
    Exhausted {
        /// Where addresses are taken from.
        range: IpNet,
    },
}

impl Pool {
    /// An empty pool. Addresses nobody names come from `range`, or from the whole subnet.
    ///
    /// # Errors
    /// The range is not within the subnet.
    pub(crate) fn new(subnet: IpNet, range: Option<IpNet>) -> Result<Self, PoolError> {
        let subnet = subnet.trunc();
        let range = range.map_or(subnet, |range| range.trunc());
        if !subnet.contains(&range) {
            return Err(PoolError::Range { range, subnet });
        }
        Ok(Self { subnet, range, gateway: None, taken: BTreeMap::new(), freed: VecDeque::new() })
    }

    /// The subnet.
    pub(crate) fn subnet(&self) -> IpNet {
        self.subnet
    }

    /// Where addresses nobody names come from.
    pub(crate) fn range(&self) -> IpNet {
        self.range
    }

    /// The first address that a machine of the subnet can have.
    pub(crate) fn first(&self) -> Option<IpAddr> {
        let machines = machines(self.subnet);
        (!machines.is_empty()).then(|| self.address(*machines.start()))
    }

    /// Names the gateway: any machine's address in the subnet. That does not make it one that is in use.
    ///
    /// # Errors
    /// It is not in the subnet, or no machine's.
    pub(crate) fn set_gateway(&mut self, address: IpAddr) -> Result<(), TakeError> {
        self.check(address)?;
        self.gateway = Some(address);
        Ok(())
    }

    /// Takes the address somebody named, within the range or not.
    ///
    /// # Errors
    /// It is in use, or none of the subnet's.
    pub(crate) fn take_named(&mut self, address: IpAddr, owner: Option<&str>) -> Result<(), TakeError> {
        self.check(address)?;
        if let Some(owner) = self.taken.get(&address) {
            return Err(TakeError::Taken { address, owner: owner.clone() });
        }
        self.freed.retain(|(freed, _)| *freed != address);
        self.taken.insert(address, owner.map(str::to_owned));
        Ok(())
    }

    /// Takes any address that can be used.
    ///
    /// # Errors
    /// None is left.
    pub(crate) fn take_any(
        &mut self,
        owner: Option<&str>,
        usable: impl Fn(IpAddr) -> bool,
    ) -> Result<IpAddr, TakeError> {
        let good = |address: IpAddr| self.is_unnamed(address) && usable(address);
        let own = || self.freed.iter().rev().find(|(a, had)| had.as_deref() == owner && good(*a));
        let address = owner
            .and_then(|_| own().map(|(address, _)| *address))
            .or_else(|| self.lowest_never_used(&usable))
            .or_else(|| self.freed.iter().map(|(address, _)| *address).find(|a| good(*a)))
            .ok_or(TakeError::Exhausted { range: self.range })?;
        self.take_named(address, owner)?;
        Ok(address)
    }

    /// Whose an address that is in use turned out to be.
    pub(crate) fn belongs_to(&mut self, address: IpAddr, owner: &str) {
        if let Some(known) = self.taken.get_mut(&address) {
            *known = Some(owner.to_owned());
        }
    }

    /// An address that was given turned out to be in use by a machine outside: once it is free again nobody has it back.
    pub(crate) fn contested(&mut self, address: IpAddr) {
        if let Some(owner) = self.taken.get_mut(&address) {
            *owner = None;
        }
    }

    /// Frees an address. One that is not in use is free already: `false`.
    pub(crate) fn release(&mut self, address: IpAddr) -> bool {
        let Some(owner) = self.taken.remove(&address) else { return false };
        self.freed.push_back((address, owner));
        if self.freed.len() > MOST_FREED {
            self.freed.pop_front();
        }
        true
    }

    /// Whether the address is one that is given to whoever names none.
    fn is_unnamed(&self, address: IpAddr) -> bool {
        self.unnamed().contains(&number(address)) && self.gateway != Some(address)
    }

    fn lowest_never_used(&self, usable: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let used = self.taken.keys().chain(self.freed.iter().map(|(address, _)| address));
        let used: BTreeSet<u128> = used.chain(self.gateway.iter()).map(|address| number(*address)).collect();
        let range = self.unnamed();
        if range.is_empty() {
            return None;
        }
        let (mut lowest, mut used) = (*range.start(), used.range(range.clone()).peekable());
        while range.contains(&lowest) {
            if used.next_if_eq(&&lowest).is_none() && usable(self.address(lowest)) {
                return Some(self.address(lowest));
            }
            // Past the end of all addresses there is none.
            lowest = lowest.checked_add(1)?;
        }
        None
    }

    fn check(&self, address: IpAddr) -> Result<(), TakeError> {
        let subnet = self.subnet;
        if !subnet.contains(&address) {
            Err(TakeError::Outside { address, subnet })
        } else if !machines(subnet).contains(&number(address)) {
            Err(TakeError::NotAHost { address, subnet })
        } else {
            Ok(())
        }
    }

    /// The part of the range that machines can have.
    fn unnamed(&self) -> RangeInclusive<u128> {
        let (all, within) = (machines(self.subnet), bounds(self.range));
        *all.start().max(within.start())..=*all.end().min(within.end())
    }

    fn address(&self, number: u128) -> IpAddr {
        match self.subnet {
            IpNet::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            IpNet::V6(_) => Ipv6Addr::from_bits(number).into(),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn bounds(net: IpNet) -> RangeInclusive<u128> {
    number(net.network())..=number(net.broadcast())
}

/// The addresses of a subnet that machines can have. In IPv4 not the first, which is the subnet's own, and not the last,
/// the broadcast address, unless there are only two or one (RFC 3021); in IPv6 not the first, the routers'
/// anycast address (RFC 4291 section 2.6.1), unless there are only two (RFC 6164) or one.
fn machines(subnet: IpNet) -> RangeInclusive<u128> {
    let all = bounds(subnet);
    let few = subnet.max_prefix_len() - subnet.prefix_len() < 2;
    match subnet {
        _ if few => all,
        IpNet::V4(_) => all.start() + 1..=all.end() - 1,
        IpNet::V6(_) => all.start() + 1..=*all.end(),
    }
}

#[cfg(test)]
mod tests;
