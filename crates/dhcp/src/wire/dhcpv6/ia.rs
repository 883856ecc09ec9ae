//! Identity associations: the addresses a server keeps for a client under one number.

use std::net::Ipv6Addr;

use super::options::{Options, code};
use crate::wire::field;

/// An identity association for non-temporary addresses (RFC 9915 section 21.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IaNa {
    /// The association's number, of the client's choice.
    pub iaid: [u8; 4],
    /// When to renew, in seconds; 0: as the client likes.
    pub t1: u32,
    /// When to ask any server, in seconds; 0: as the client likes.
    pub t2: u32,
    /// Its addresses and status.
    pub options: Options,
}

/// An address in an association (RFC 9915 section 21.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IaAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// How long it is to be used for anything new, in seconds.
    pub preferred: u32,
    /// How long it may be used, in seconds; 0: not any more.
    pub valid: u32,
    /// Its status.
    pub options: Options,
}

impl IaNa {
    /// An association of a client, with addresses it would like or has.
    pub fn asking(iaid: [u8; 4], addresses: impl IntoIterator<Item = Ipv6Addr>) -> Self {
        let mut options = Options::new();
        for address in addresses {
            let wanted = IaAddress { address, preferred: 0, valid: 0, options: Options::new() };
            options.push(code::IA_ADDRESS, &wanted.value());
        }
        Self { iaid, t1: 0, t2: 0, options }
    }

    /// Reads an option's value; `None` if its fixed part is not whole.
    pub fn parse(value: &[u8]) -> Option<Self> {
        Some(Self {
            iaid: field::octets(value, 0)?,
            t1: field::u32(value, 4)?,
            t2: field::u32(value, 8)?,
            options: Options::read(value.get(12..)?),
        })
    }

    /// The option's value.
    pub fn value(&self) -> Vec<u8> {
        let mut out = self.iaid.to_vec();
        out.extend(self.t1.to_be_bytes());
        out.extend(self.t2.to_be_bytes());
        self.options.write(&mut out);
        out
    }

    /// Its addresses that can be read.
    pub fn addresses(&self) -> impl Iterator<Item = IaAddress> {
        self.options.all(code::IA_ADDRESS).filter_map(IaAddress::parse)
    }
}

impl IaAddress {
    /// Reads an option's value; `None` if its fixed part is not whole.
    pub fn parse(value: &[u8]) -> Option<Self> {
        Some(Self {
            address: field::octets::<16>(value, 0)?.into(),
            preferred: field::u32(value, 16)?,
            valid: field::u32(value, 20)?,
            options: Options::read(value.get(24..)?),
        })
    }

    /// The option's value.
    pub fn value(&self) -> Vec<u8> {
        let mut out = self.address.octets().to_vec();
        out.extend(self.preferred.to_be_bytes());
        out.extend(self.valid.to_be_bytes());
        self.options.write(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::options::tests::any_options;
    use super::*;

    #[test]
    fn an_association_on_the_wire() {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
        let value = IaNa::asking([1, 2, 3, 4], [address]).value();
        assert_eq!(value[..16], [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 24]);
        assert_eq!(value[16..32], address.octets());
        assert_eq!(value.len(), 40);
        let addresses: Vec<_> =
            IaNa::parse(&value).iter().flat_map(IaNa::addresses).map(|a| a.address).collect();
        assert_eq!(addresses, [address]);
        assert_eq!(IaNa::parse(&value[..11]), None);
        assert_eq!(IaNa::parse(&value[..39]).map(|ia| ia.addresses().count()), Some(0));
    }

    proptest! {
        #[test]
        fn round_trips(iaid: [u8; 4], t1: u32, t2: u32, octets: [u8; 16], options in any_options()) {
            let ia = IaNa { iaid, t1, t2, options: options.clone() };
            prop_assert_eq!(IaNa::parse(&ia.value()), Some(ia));
            let address = IaAddress { address: octets.into(), preferred: t1, valid: t2, options };
            prop_assert_eq!(IaAddress::parse(&address.value()), Some(address));
        }
    }
}
