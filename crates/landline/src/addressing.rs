//! Where a network's addresses come from: what its own options, its IPAM driver's and its subnet say together.
//!
//! A subnet alone does not say that its addresses are free. On a LAN they are the router's, the server's and everybody's; so there
//! addresses are taken from a pool only if `addressing=pool` or a range says so.

use std::collections::BTreeMap;

use ipnet::IpNet;
use landline_docker::{DockerNetwork, DockerPool};
use landline_options::{
    AddressesFrom, Addressing, Defaults, IpamOptions, NetworkOptions, OptionError, PoolSource,
};

/// The IPv4 pool of a network whose addresses come through Landline's IPAM driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OurPool {
    /// Its subnet; all addresses there are if its user gave none.
    pub(crate) subnet: IpNet,
    /// What was known of it before its network was: the IPAM driver's options, its name, a range.
    pub(crate) source: Option<PoolSource>,
}

/// Why that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressingError {
    #[error(transparent)]
    Option(#[from] OptionError),
    #[error(
        "-o addressing=pool takes addresses from the pool of Landline's IPAM driver: add --ipam-driver landline"
    )]
    NoPool,
    #[error("-o addressing=pool takes addresses from a subnet: give --subnet")]
    NoSubnet,
    #[error(
        "-o addressing=pool takes addresses from the subnet, and the IPAM driver was asked for those of the LAN's DHCP \
         server: leave out one of them"
    )]
    PoolFromLan,
}

/// A network's options, and where the addresses of its pool come from if that can be.
pub(crate) fn read(
    mut own: BTreeMap<String, String>,
    pool: Option<OurPool>,
    defaults: &Defaults,
) -> Result<(NetworkOptions, Option<PoolSource>), AddressingError> {
    let word = AddressesFrom::given(&own)?;
    let Some(OurPool { subnet, source }) = pool else {
        return match word {
            Some(AddressesFrom::Pool) => Err(AddressingError::NoPool),
            _ => Ok((defaults.complete(&own)?, None)),
        };
    };
    // Who asked for a pool need not say again that nobody is to be asked.
    if source == Some(PoolSource::Pool) && word.is_none() {
        own.insert("addressing".to_owned(), Addressing::Static.to_string());
    }
    let options = defaults.complete(&own)?;
    let source = match (source, word) {
        (Some(PoolSource::Dhcp), Some(AddressesFrom::Pool)) if subnet.prefix_len() == 0 => {
            return Err(AddressingError::NoSubnet);
        }
        (Some(PoolSource::Dhcp), Some(AddressesFrom::Pool)) => return Err(AddressingError::PoolFromLan),
        (Some(known), _) => Some(known),
        (None, Some(AddressesFrom::Dhcp)) => Some(PoolSource::Dhcp),
        (None, Some(AddressesFrom::Pool)) => Some(PoolSource::Pool),
        (None, Some(AddressesFrom::None)) => None,
        // Where each container names its own, the pool is not asked for any.
        (None, Some(AddressesFrom::Static) | None) if options.mode.asks_the_lan() => Some(PoolSource::Dhcp),
        (None, Some(AddressesFrom::Static) | None) => match options.addressing {
            Addressing::Dhcp => Some(PoolSource::Dhcp),
            Addressing::Static | Addressing::None => Some(PoolSource::Pool),
        },
    };
    Ok((options, source))
}

/// What was known of a pool before its network was, by what Docker shows of both. `from_lan`: the IPAM driver has the name that
/// says so.
pub(crate) fn source_shown(network: &DockerNetwork, pool: &DockerPool, from_lan: bool) -> Option<PoolSource> {
    let said = IpamOptions::parse(&network.ipam_options).ok().and_then(|options| options.addressing);
    said.or(from_lan.then_some(PoolSource::Dhcp)).or_else(|| match pool.subnet {
        subnet if subnet.prefix_len() == 0 => Some(PoolSource::Dhcp),
        IpNet::V6(_) => Some(PoolSource::Pool),
        // Docker shows a range that its user did not give, too: all of the subnet.
        subnet => pool.range.filter(|range| *range != subnet).map(|_| PoolSource::Pool),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use AddressingError as Error;
    use PoolSource::{Dhcp, Pool};

    fn said(
        own: &[(&str, &str)],
        subnet: &str,
        source: Option<PoolSource>,
    ) -> Result<(Addressing, Option<PoolSource>), Error> {
        let own = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let pool = OurPool { subnet: subnet.parse().unwrap(), source };
        let (options, source) = read(own, Some(pool), &Defaults::default())?;
        Ok((options.addressing, source))
    }

    const LAN: (&str, &str) = ("bridge", "br0");
    const SUBNET: &str = "192.0.2.0/24";

    #[test]
    fn on_a_lan_a_subnet_alone_is_no_pool() {
        for lan in [&[LAN][..], &[("mode", "macvlan"), ("parent", "eth0")], &[LAN, ("addressing", "dhcp")]] {
            assert_eq!(said(lan, SUBNET, None), Ok((Addressing::Dhcp, Some(Dhcp))), "{lan:?}");
        }
        let named = said(&[LAN, ("addressing", "static")], SUBNET, None);
        assert_eq!(named, Ok((Addressing::Static, Some(Dhcp))), "each container names its own");
    }

    #[test]
    fn a_range_or_the_word_makes_a_pool() {
        assert_eq!(said(&[LAN], SUBNET, Some(Pool)), Ok((Addressing::Static, Some(Pool))));
        let word = [LAN, ("addressing", "pool")];
        assert_eq!(said(&word, SUBNET, None), Ok((Addressing::Static, Some(Pool))));
        assert_eq!(said(&word, SUBNET, Some(Pool)), Ok((Addressing::Static, Some(Pool))));
        assert_eq!(said(&word, SUBNET, Some(Dhcp)), Err(Error::PoolFromLan));
        assert_eq!(said(&word, "0.0.0.0/0", Some(Dhcp)), Err(Error::NoSubnet));
    }

    #[test]
    fn what_is_on_no_lan_has_its_pool() {
        for own in [&[("mode", "vde")][..], &[("mode", "nat"), ("parent", "eth0")]] {
            assert_eq!(said(own, SUBNET, None), Ok((Addressing::Static, Some(Pool))), "{own:?}");
        }
        let asks = [("mode", "vde"), ("addressing", "dhcp")];
        assert_eq!(said(&asks, SUBNET, None), Ok((Addressing::Dhcp, Some(Dhcp))));
    }

    #[test]
    fn the_word_pool_needs_one_of_ours() {
        let own: BTreeMap<String, String> =
            [LAN, ("addressing", "pool")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(read(own, None, &Defaults::default()).unwrap_err(), Error::NoPool);
    }
}
