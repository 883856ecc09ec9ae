//! What servers' answers say, checked.

use std::net::Ipv6Addr;

use crate::random::Random;
use crate::time::Instant;
use crate::v6::advertised::is_host;
use crate::v6::config::Config;
use crate::v6::lease::{Lease, LeasedAddress};
use crate::v6::table::{end, is_live};
use crate::v6::timing::Terms;
use crate::wire::dhcpv6::{Duid, IaAddress, IaNa, Message, Options, code, status};

/// More addresses in one association than any server gives.
const MAX_ADDRESSES: usize = 4;
/// More than any resolver asks.
const MAX_DNS: usize = 8;

/// A server that would give addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) server: Duid,
    pub(super) preference: u8,
    pub(super) addresses: Vec<Ipv6Addr>,
}

/// What a reply says of the client's association.
#[derive(Debug)]
pub(super) enum Verdict {
    /// These addresses, of which some may be over (`gone`).
    Granted { lease: Box<Lease>, gone: Vec<Ipv6Addr> },
    /// The server knows nothing of the association.
    NoBinding,
    /// The addresses are not of this link.
    NotOnLink,
    /// The server has none to give.
    NoAddresses,
    /// Nothing that helps.
    Nothing,
}

/// The server of an answer, if it is an answer to this client.
pub(super) fn server(config: &Config, message: &Message) -> Option<Duid> {
    let to = message.options.duid(code::CLIENT_ID)?;
    if to != config.duid {
        return None;
    }
    message.options.duid(code::SERVER_ID)
}

/// What an Advertise offers; `None`: no address.
pub(super) fn offer(config: &Config, server: Duid, options: &Options) -> Option<Offer> {
    if options.status().code != status::SUCCESS {
        return None;
    }
    let association = association(config, options)?;
    if association.options.status().code != status::SUCCESS {
        return None;
    }
    let mut addresses: Vec<_> = usable(&association).map(|offered| offered.address).collect();
    addresses.truncate(MAX_ADDRESSES);
    let preference = options.u8(code::PREFERENCE).unwrap_or(0);
    (!addresses.is_empty()).then_some(Offer { server, preference, addresses })
}

/// What a Reply to Solicit, Request, Renew or Rebind says; `asked` is what its times count from.
pub(super) fn verdict(
    config: &Config,
    server: Duid,
    options: &Options,
    asked: Instant,
    now: Instant,
    rng: &mut impl Random,
) -> Verdict {
    match options.status().code {
        status::SUCCESS => {}
        code => return refusal(code),
    }
    let Some(association) = association(config, options) else { return Verdict::Nothing };
    match association.options.status().code {
        status::SUCCESS => {}
        code => return refusal(code),
    }
    let gone = association.addresses().filter(|address| address.valid == 0).map(|address| address.address);
    let gone: Vec<_> = gone.take(MAX_ADDRESSES).collect();
    let granted: Vec<_> = usable(&association).take(MAX_ADDRESSES).collect();
    let lifetimes = granted.iter().map(|address| (address.preferred, address.valid));
    let terms = Terms::new(rng, asked, (association.t1, association.t2), lifetimes);
    let addresses: Vec<_> = granted
        .iter()
        .map(|address| LeasedAddress {
            address: address.address,
            preferred_until: end(asked, address.preferred),
            valid_until: end(asked, address.valid),
        })
        .filter(|leased| is_live(leased.valid_until, now))
        .collect();
    if addresses.is_empty() && gone.is_empty() {
        return Verdict::Nothing;
    }
    let (dns, search) = parameters(options);
    let lease = Lease { server, obtained: asked, t1: terms.t1, t2: terms.t2, addresses, dns, search };
    Verdict::Granted { lease: Box::new(lease), gone }
}

fn refusal(code: u16) -> Verdict {
    match code {
        status::NO_ADDRESSES => Verdict::NoAddresses,
        status::NO_BINDING => Verdict::NoBinding,
        status::NOT_ON_LINK => Verdict::NotOnLink,
        _ => Verdict::Nothing,
    }
}

/// DNS servers and search domains.
pub(super) fn parameters(options: &Options) -> (Vec<Ipv6Addr>, Vec<String>) {
    let mut dns = options.addresses(code::DNS).unwrap_or_default();
    dns.retain(|&server| is_host(server));
    dns.truncate(MAX_DNS);
    (dns, options.domains(code::DOMAIN_SEARCH))
}

fn association(config: &Config, options: &Options) -> Option<IaNa> {
    let told_wrong = |ia: &IaNa| ia.t1 > ia.t2 && ia.t2 > 0; // RFC 9915 section 21.4: discard it
    options.associations().find(|ia| ia.iaid == config.iaid).filter(|ia| !told_wrong(ia))
}

/// The addresses that can be used: real ones, of this client's success, with sensible lifetimes, each once.
fn usable(association: &IaNa) -> impl Iterator<Item = IaAddress> {
    let mut seen = Vec::new();
    association.addresses().filter(move |address| {
        let good = address.options.status().code == status::SUCCESS
            && address.valid > 0
            && address.preferred <= address.valid
            && is_host(address.address)
            && !address.address.is_unicast_link_local();
        let new = good && !seen.contains(&address.address);
        if new {
            seen.push(address.address);
        }
        new
    })
}
