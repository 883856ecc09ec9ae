//! What of a server's answer is good enough to be used.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::config::Config;
use super::lease::Lease;
use super::options::{LeaseOptions, classful_prefix, is_host};
use super::timing::{Terms, UNTOLD_LEASE_TIME};
use crate::random::Random;
use crate::time::Instant;
use crate::wire::dhcpv4::{Options, Repr, code};

/// An address a server would give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) address: Ipv4Addr,
    pub(super) server: Ipv4Addr,
}

/// Whether a reply is for this client: its hardware address and, if the reply has one (RFC 6842), its identifier.
/// On ipvlan several clients share the hardware address.
pub(super) fn is_ours(config: &Config, reply: &Repr) -> bool {
    let told = reply.options.get(code::CLIENT_ID);
    let ours = config.client_id.as_ref().is_none_or(|id| told.is_none_or(|told| told == id.as_bytes()));
    reply.mac == config.mac && ours
}

/// The server's identifier, if it could be one.
pub(super) fn server(reply: &Repr) -> Option<Ipv4Addr> {
    reply.options.ipv4(code::SERVER_ID).filter(|&server| is_host(server))
}

/// The offer in an OFFER, if the address can be used and the lease is for some time.
pub(super) fn offer(reply: &Repr) -> Option<Offer> {
    let server = server(reply)?;
    let usable = is_usable(reply.yiaddr, prefix_len(&reply.options, reply.yiaddr)) && reply.yiaddr != server;
    let time = reply.options.u32(code::LEASE_TIME) != Some(0);
    (usable && time).then_some(Offer { address: reply.yiaddr, server })
}

/// The lease in an ACK to what was asked at `asked`. `known` is the server if the reply does not say.
pub(super) fn lease(
    config: &Config,
    reply: &Repr,
    asked: Instant,
    known: Option<Ipv4Addr>,
    rng: &mut impl Random,
) -> Option<Lease> {
    let address = reply.yiaddr;
    let server = server(reply).or(known).filter(|&server| config.allows(server) && server != address)?;
    let prefix_len = prefix_len(&reply.options, address);
    if !is_usable(address, prefix_len) {
        return None;
    }
    let options = &reply.options;
    let seconds = options.u32(code::LEASE_TIME).unwrap_or(UNTOLD_LEASE_TIME);
    let (t1, t2) = (options.u32(code::RENEWAL_TIME), options.u32(code::REBINDING_TIME));
    let terms = Terms::new(rng, asked, seconds, t1, t2)?;
    Some(Lease {
        address,
        prefix_len,
        server,
        obtained: asked,
        t1: terms.t1,
        t2: terms.t2,
        expires: terms.expires,
        options: LeaseOptions::from_raw(options.clone().into_vec()),
    })
}

/// Whether a host can use this address in this subnet.
fn is_usable(address: Ipv4Addr, prefix_len: u8) -> bool {
    let Ok(net) = Ipv4Net::new(address, prefix_len) else { return false };
    // Subnets of one and two addresses have no broadcast address (RFC 3021).
    let special = prefix_len < 31 && (address == net.network() || address == net.broadcast());
    is_host(address) && !special
}

/// The subnet mask's length; of the address's class if there is none or it has holes.
fn prefix_len(options: &Options, address: Ipv4Addr) -> u8 {
    options
        .u32(code::SUBNET_MASK)
        .filter(|&mask| mask != 0 && mask.leading_ones() + mask.trailing_zeros() == 32)
        .and_then(|mask| u8::try_from(mask.leading_ones()).ok())
        .unwrap_or_else(|| classful_prefix(address))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use landline_types::Mac;

    use super::*;
    use crate::wire::dhcpv4::MessageType;

    const MAC: Mac = Mac::new([2, 0x42, 0xc0, 0, 2, 10]);
    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    struct Zero;
    impl Random for Zero {
        fn next_u32(&mut self) -> u32 {
            0
        }
    }

    fn reply(address: [u8; 4], options: &[(u8, &[u8])]) -> Repr {
        let mut reply = Repr::from_client(MessageType::Ack, 1, MAC);
        reply.yiaddr = address.into();
        reply.options.append(code::SERVER_ID, &SERVER.octets());
        for (code, value) in options {
            reply.options.append(*code, value);
        }
        reply
    }

    fn taken(reply: &Repr) -> Option<Lease> {
        lease(&Config::new(MAC), reply, Instant::from_boot(Duration::ZERO), None, &mut Zero)
    }

    const MASK: (u8, &[u8]) = (1, &[255, 255, 255, 0]);

    #[test]
    fn addresses_no_host_can_use() {
        for address in [
            [0, 0, 0, 0],
            [0, 1, 2, 3],
            [127, 0, 0, 1],
            [224, 0, 0, 1],
            [255, 255, 255, 255],
            [192, 0, 2, 0],
            [192, 0, 2, 255],
            SERVER.octets(),
        ] {
            assert_eq!(taken(&reply(address, &[MASK])), None, "{address:?}");
            assert_eq!(offer(&reply(address, &[MASK])), None, "{address:?}");
        }
        assert!(taken(&reply([192, 0, 2, 255], &[(1, &[255, 255, 254, 0])])).is_some());
        assert!(taken(&reply([192, 0, 2, 0], &[(1, &[255, 255, 255, 254])])).is_some());
    }

    #[test]
    fn masks() {
        for (mask, expected) in [
            (&[255, 255, 255, 0][..], 24),
            (&[255, 255, 255, 255], 32),
            (&[128, 0, 0, 0], 1),
            (&[255, 0, 255, 0], 24),
            (&[0, 0, 0, 0], 24),
            (&[0, 255, 255, 255], 24),
            (&[255, 255], 24),
        ] {
            let lease = taken(&reply([192, 0, 2, 10], &[(1, mask)]));
            assert_eq!(lease.map(|l| l.prefix_len), Some(expected), "{mask:?}");
        }
        assert_eq!(taken(&reply([10, 1, 2, 3], &[])).map(|l| l.prefix_len), Some(8));
        assert_eq!(taken(&reply([172, 16, 2, 3], &[])).map(|l| l.prefix_len), Some(16));
    }

    #[test]
    fn lease_times() {
        let expires = |options: &[(u8, &[u8])]| taken(&reply([192, 0, 2, 10], options)).map(|l| l.expires);
        let at = |secs| Some(Some(Instant::from_boot(Duration::from_secs(secs))));
        assert_eq!(expires(&[(51, &[0, 0, 0, 60])]), at(60));
        assert_eq!(expires(&[]), at(3600), "untold");
        assert_eq!(expires(&[(51, &[255; 4])]), Some(None));
        assert_eq!(expires(&[(51, &[0; 4])]), None);
        assert_eq!(offer(&reply([192, 0, 2, 10], &[(51, &[0; 4])])), None);
    }

    #[test]
    fn servers() {
        let mut config = Config::new(MAC);
        config.servers = vec![Ipv4Addr::new(192, 0, 2, 9)];
        let good = reply([192, 0, 2, 10], &[MASK]);
        let now = Instant::from_boot(Duration::ZERO);
        assert_eq!(lease(&config, &good, now, None, &mut Zero), None, "not on the list");
        config.servers.push(SERVER);
        assert!(lease(&config, &good, now, None, &mut Zero).is_some());
        let denies = |servers: &[Ipv4Addr]| Config { denied_servers: servers.to_vec(), ..Config::new(MAC) };
        assert_eq!(lease(&denies(&[SERVER]), &good, now, None, &mut Zero), None, "it is denied");
        let other = denies(&[Ipv4Addr::new(192, 0, 2, 9)]);
        assert!(lease(&other, &good, now, None, &mut Zero).is_some(), "another one is");
        let both = Config { denied_servers: vec![SERVER], ..config.clone() };
        assert_eq!(lease(&both, &good, now, None, &mut Zero), None, "on both lists");
        let silent: Repr = Repr { options: Options::new(), ..good };
        assert_eq!(lease(&config, &silent, now, None, &mut Zero), None);
        assert_eq!(lease(&config, &silent, now, Some(SERVER), &mut Zero).map(|l| l.server), Some(SERVER));
        assert_eq!(offer(&silent), None);
    }

    #[test]
    fn for_whom() {
        let config = Config::new(MAC);
        let mut answer = reply([192, 0, 2, 10], &[]);
        assert!(is_ours(&config, &answer), "not every server repeats the identifier");
        answer.options.append(code::CLIENT_ID, &[1, 2, 0x42, 0xc0, 0, 2, 10]);
        assert!(is_ours(&config, &answer));
        answer.options.append(code::CLIENT_ID, &[0]);
        assert!(!is_ours(&config, &answer));
        answer.mac = Mac::new([2, 0, 0, 0, 0, 1]);
        answer.options = Options::new();
        assert!(!is_ours(&config, &answer));
    }
}
