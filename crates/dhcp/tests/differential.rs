//! Our codec against `dhcproto`, which was written by others from the same documents.
//!
//! Where the two are known to differ, and why ours is as it is:
//! - An option it cannot decode ends its list; all options after it are missing. Ours keeps every option that is
//!   whole, so it may have more, never fewer.
//! - It joins options of one code only where they follow one another, else the last one counts. Ours joins them all
//!   (RFC 3396 section 7).
//! - It reads numbers without looking at the option's length. Ours has no value for a wrong length.
//! - It does not look into `file` and `sname` when option 52 says so. Ours does.
//! - It takes any magic number and either value of `op`. Ours takes DHCP's and the two there are.

use std::net::Ipv4Addr;

use dhcproto::v4::{self, DhcpOption, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder, Name};
use ipnet::Ipv4Net;
use landline_dhcp::v4::LeaseOptions;
use landline_dhcp::wire::dhcpv4::{MessageType, Options, Packet, Repr, code};
use landline_types::Mac;
use proptest::prelude::*;

const MAC: [u8; 6] = [2, 0x42, 0xc0, 0, 2, 10];

/// The options of an answer, as values.
#[derive(Debug, Clone)]
struct Answer {
    mask: Ipv4Addr,
    routers: Vec<Ipv4Addr>,
    dns: Vec<Ipv4Addr>,
    domain: String,
    search: Vec<String>,
    mtu: u16,
    times: [u32; 3],
    server: Ipv4Addr,
    classless: Vec<(Ipv4Net, Ipv4Addr)>,
    client_id: Vec<u8>,
}

fn host() -> impl Strategy<Value = Ipv4Addr> {
    any::<u8>().prop_map(|last| Ipv4Addr::new(192, 0, 2, last))
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-z][a-z0-9]{0,9}", 1..4).prop_map(|labels| labels.join("."))
}

fn route() -> impl Strategy<Value = (Ipv4Net, Ipv4Addr)> {
    (any::<u32>(), 0..=32_u8, host())
        .prop_map(|(to, len, via)| (Ipv4Net::new(to.into(), len).expect("a length up to 32").trunc(), via))
}

fn answer() -> impl Strategy<Value = Answer> {
    let addresses = || prop::collection::vec(host(), 1..5);
    let names = (name(), prop::collection::btree_set(name(), 1..5));
    let numbers = (68..u16::MAX, any::<[u32; 3]>());
    // Up to 80 routes: more than fits one option.
    let routes = prop::collection::vec(route(), 1..80);
    let ids = (host(), host(), prop::collection::vec(any::<u8>(), 2..200));
    (addresses(), addresses(), names, numbers, routes, ids).prop_map(
        |(routers, dns, (domain, search), (mtu, times), classless, (mask, server, client_id))| Answer {
            mask,
            routers,
            dns,
            domain,
            search: search.into_iter().collect(),
            mtu,
            times,
            server,
            classless,
            client_id,
        },
    )
}

impl Answer {
    fn theirs(&self) -> Vec<DhcpOption> {
        let names = |names: &[String]| {
            names.iter().map(|n| format!("{n}.").parse::<Name>().expect("a name")).collect()
        };
        vec![
            DhcpOption::MessageType(v4::MessageType::Ack),
            DhcpOption::SubnetMask(self.mask),
            DhcpOption::Router(self.routers.clone()),
            DhcpOption::DomainNameServer(self.dns.clone()),
            DhcpOption::DomainName(self.domain.clone()),
            DhcpOption::DomainSearch(names(&self.search)),
            DhcpOption::InterfaceMtu(self.mtu),
            DhcpOption::AddressLeaseTime(self.times[0]),
            DhcpOption::Renewal(self.times[1]),
            DhcpOption::Rebinding(self.times[2]),
            DhcpOption::ServerIdentifier(self.server),
            DhcpOption::ClasslessStaticRoute(self.classless.clone()),
            DhcpOption::ClientIdentifier(self.client_id.clone()),
        ]
    }

    /// The same options in octets, by hand.
    fn ours(&self) -> Options {
        let octets = |list: &[Ipv4Addr]| list.iter().flat_map(Ipv4Addr::octets).collect::<Vec<_>>();
        let routes = self.classless.iter().flat_map(|(to, via)| {
            let significant = usize::from(to.prefix_len().div_ceil(8));
            [&[to.prefix_len()], &to.addr().octets()[..significant], &via.octets()].concat()
        });
        let label = |label: &str| [&[u8::try_from(label.len()).expect("short")], label.as_bytes()].concat();
        let search =
            self.search.iter().flat_map(|name| [name.split('.').flat_map(label).collect(), vec![0]].concat());
        [
            (code::SUBNET_MASK, self.mask.octets().to_vec()),
            (code::ROUTERS, octets(&self.routers)),
            (code::DNS, octets(&self.dns)),
            (code::DOMAIN_NAME, self.domain.clone().into_bytes()),
            (code::DOMAIN_SEARCH, search.collect()),
            (code::MTU, self.mtu.to_be_bytes().to_vec()),
            (code::LEASE_TIME, self.times[0].to_be_bytes().to_vec()),
            (code::RENEWAL_TIME, self.times[1].to_be_bytes().to_vec()),
            (code::REBINDING_TIME, self.times[2].to_be_bytes().to_vec()),
            (code::SERVER_ID, self.server.octets().to_vec()),
            (code::CLASSLESS_ROUTES, routes.collect()),
            (code::CLIENT_ID, self.client_id.clone()),
        ]
        .into_iter()
        .collect()
    }
}

fn their_message(bytes: &[u8]) -> Option<v4::Message> {
    v4::Message::decode(&mut Decoder::new(bytes)).ok()
}

/// An option list of arbitrary values under codes both sides know, each code at most once.
fn any_values() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    const CODES: [u8; 13] = [1, 3, 6, 15, 26, 28, 33, 42, 51, 54, 58, 61, 121];
    let value = prop::collection::vec(any::<u8>(), 0..12);
    prop::collection::vec(value, CODES.len()).prop_map(|values| CODES.into_iter().zip(values).collect())
}

proptest! {
    #[test]
    fn it_reads_what_we_write(answer in answer(), xid: u32, secs: u16, broadcast: bool, ips: [[u8; 4]; 4]) {
        let mut repr = Repr::from_client(MessageType::Ack, xid, Mac::new(MAC));
        (repr.secs, repr.broadcast, repr.options) = (secs, broadcast, answer.ours());
        [repr.ciaddr, repr.yiaddr, repr.siaddr, repr.giaddr] = ips.map(Ipv4Addr::from);
        let message = their_message(&repr.emit()).expect("a message");
        prop_assert_eq!(message.opcode(), v4::Opcode::BootReply);
        prop_assert_eq!((message.xid(), message.secs(), message.flags().broadcast()), (xid, secs, broadcast));
        let theirs = [message.ciaddr(), message.yiaddr(), message.siaddr(), message.giaddr()];
        prop_assert_eq!(theirs, ips.map(Ipv4Addr::from));
        prop_assert_eq!(message.chaddr(), &MAC[..]);
        for expected in answer.theirs() {
            prop_assert_eq!(message.opts().get(OptionCode::from(&expected)), Some(&expected));
        }
    }

    #[test]
    fn we_read_what_it_writes(answer in answer(), xid: u32, ips: [[u8; 4]; 4]) {
        let [ciaddr, yiaddr, siaddr, giaddr] = ips.map(Ipv4Addr::from);
        let mut message = v4::Message::new_with_id(xid, ciaddr, yiaddr, siaddr, giaddr, &MAC);
        message.set_opcode(v4::Opcode::BootReply);
        for option in answer.theirs() {
            message.opts_mut().insert(option);
        }
        let mut bytes = Vec::new();
        message.encode(&mut Encoder::new(&mut bytes)).expect("it encodes");
        let repr = Packet::parse(&bytes).and_then(|packet| Repr::parse(&packet)).expect("a message");
        prop_assert_eq!((repr.kind, repr.xid, repr.mac), (MessageType::Ack, xid, Mac::new(MAC)));
        prop_assert_eq!([repr.ciaddr, repr.yiaddr, repr.siaddr, repr.giaddr], ips.map(Ipv4Addr::from));
        for (code, value) in answer.ours().iter() {
            if code != code::DOMAIN_SEARCH { // compressed, other octets for the same names
                prop_assert_eq!(repr.options.get(code), Some(value), "option {}", code);
            }
        }
        let lease = LeaseOptions::from_raw(repr.options.into_vec());
        prop_assert_eq!((lease.routers, lease.dns), (answer.routers, answer.dns));
        prop_assert_eq!((lease.domain, lease.mtu), (Some(answer.domain), Some(answer.mtu)));
        prop_assert_eq!(lease.search, answer.search);
        let routes = lease.classless_routes.unwrap_or_default();
        prop_assert_eq!(routes.iter().map(|r| (r.destination, r.gateway)).collect::<Vec<_>>(), answer.classless);
    }

    /// Whatever it can make of an option, ours has too, and no other value.
    #[test]
    fn arbitrary_values(values in any_values()) {
        let mut repr = Repr::from_client(MessageType::Ack, 1, Mac::new(MAC));
        repr.options = values.into_iter().collect();
        let bytes = repr.emit();
        let message = their_message(&bytes).expect("a message");
        let packet = Packet::parse(&bytes).expect("a packet");
        let ours = packet.options();
        for (code, option) in message.opts().iter() {
            let code = u8::from(*code);
            let value = ours.get(code);
            prop_assert!(value.is_some(), "option {} is missing", code);
            let length = value.map_or(0, <[u8]>::len);
            match option {
                DhcpOption::SubnetMask(a) | DhcpOption::ServerIdentifier(a) | DhcpOption::BroadcastAddr(a) => {
                    prop_assert_eq!(ours.ipv4(code), Some(*a));
                }
                DhcpOption::Router(list) | DhcpOption::DomainNameServer(list) | DhcpOption::NtpServers(list) => {
                    prop_assert_eq!(ours.ipv4_list(code).unwrap_or_default(), list.clone());
                }
                DhcpOption::AddressLeaseTime(n) | DhcpOption::Renewal(n) if length == 4 => {
                    prop_assert_eq!(ours.u32(code), Some(*n));
                }
                DhcpOption::InterfaceMtu(n) if length == 2 => prop_assert_eq!(ours.u16(code), Some(*n)),
                DhcpOption::ClientIdentifier(id) => prop_assert_eq!(value, Some(id.as_slice())),
                _ => {}
            }
        }
    }
}

#[test]
fn an_option_it_cannot_read_hides_the_rest_from_it() {
    let mut repr = Repr::from_client(MessageType::Offer, 1, Mac::new(MAC));
    repr.options.append(code::DOMAIN_NAME, b"caf\xe9");
    repr.options.append(code::LEASE_TIME, &60_u32.to_be_bytes());
    let bytes = repr.emit();
    let theirs = their_message(&bytes).expect("a message");
    assert!(theirs.opts().get(OptionCode::AddressLeaseTime).is_none());
    assert_eq!(Packet::parse(&bytes).and_then(|p| p.options().u32(code::LEASE_TIME)), Some(60));
}

#[test]
fn options_apart_are_one_to_us_only() {
    let mut bytes = Repr::from_client(MessageType::Offer, 1, Mac::new(MAC)).emit();
    bytes.truncate(243);
    bytes.extend([121, 4, 0, 192, 0, 2, 51, 4, 0, 0, 0, 60, 121, 1, 1, 255]);
    let ours = Packet::parse(&bytes).expect("a packet");
    let lease = LeaseOptions::from_raw(ours.into_options().into_vec());
    assert_eq!(lease.gateway(), Some(Ipv4Addr::new(192, 0, 2, 1)));
    let theirs = their_message(&bytes).expect("a message");
    assert!(
        !matches!(theirs.opts().get(OptionCode::ClasslessStaticRoute), Some(DhcpOption::ClasslessStaticRoute(r)) if r.len() == 1)
    );
}
