//! Filters that run in the kernel, so that a socket on a busy link wakes nobody for other people's packets
//! (classic BPF, `Documentation/networking/filter.rst`).
//!
//! Offsets start at the network header: the sockets are `SOCK_DGRAM`. A load beyond the packet's end drops it.
//!
//! Frames for another station (`PACKET_OTHERHOST`) are dropped. The kernel also marks so what arrived with a
//! VLAN tag nobody on this link owns, untags it and hands it to packet sockets as if it were the link's own;
//! an ARP answer from another VLAN must not look like an address conflict in this one.

use std::net::Ipv4Addr;

use landline_types::Mac;
use socket2::SockFilter;

const ETHERNET: u32 = 1;
const IPV4: u32 = 0x0800;
const ARP: u32 = 0x0806;
const UDP: u32 = 17;
/// `MF` and the fragment offset in the fourth 16 bits of the IPv4 header (RFC 791 section 3.1).
const FRAGMENT: u32 = 0x3fff;
const DHCP_CLIENT: u32 = 68;
const ICMPV6: u32 = 58;
/// Router Solicitation, Router Advertisement, Neighbour Solicitation, Neighbour Advertisement (RFC 4861 section 4).
const DISCOVERY: std::ops::RangeInclusive<u32> = 133..=136;
/// Those of neighbours alone.
const NEIGHBOURS: std::ops::RangeInclusive<u32> = 135..=136;
const ROUTER_ADVERTISEMENT: u32 = 134;
const DHCPV6_CLIENT: u32 = 546;

/// IPv4 UDP to port 68, unfragmented.
pub(super) fn dhcp4() -> Vec<SockFilter> {
    let header_length = op(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0);
    let behind_header = |offset| op(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, offset);
    assemble(&[
        packet_type(),
        Test::Not(libc::PACKET_OTHERHOST.into()),
        load(libc::BPF_B, 9),
        Test::Is(UDP),
        load(libc::BPF_H, 6),
        Test::NoneOf(FRAGMENT),
        header_length,
        behind_header(2),
        Test::Is(DHCP_CLIENT),
    ])
}

/// ARP for IPv4 on Ethernet (RFC 826), requests and replies.
pub(super) fn arp() -> Vec<SockFilter> {
    assemble(&[
        packet_type(),
        Test::Not(libc::PACKET_OTHERHOST.into()),
        load(libc::BPF_H, 0),
        Test::Is(ETHERNET),
        load(libc::BPF_H, 2),
        Test::Is(IPV4),
        // The lengths of the two kinds of addresses.
        load(libc::BPF_H, 4),
        Test::Is(0x0604),
    ])
}

/// How many addresses are watched at most. A filter and the one that takes its place must fit into `optmem_max`, which is
/// 20 kB before Linux 6.7, as the kernel writes them: four instructions of 8 octets an address.
pub(super) const MOST_CLAIMS: usize = 256;

/// ARP for IPv4 on Ethernet in which somebody else claims one of these addresses: the sender has one of them, and none of
/// the hardware addresses, by their last four octets.
pub(super) fn claims(own: &[(Ipv4Addr, Mac)]) -> Vec<SockFilter> {
    const SENDER_MAC: u32 = 8;
    const SENDER_IP: u32 = 14;
    let own = &own[..own.len().min(MOST_CLAIMS)];
    let load = |offset| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let mut program = arp();
    // In the place of "take", in front of the "drop" that the tests jump to.
    program.truncate(program.len() - 2);
    program.extend([skip(1), leave(), load(SENDER_IP)]);
    let found = one_of(own.iter().map(|(address, _)| address.to_bits()), |ahead| skip(ahead + 1));
    program.extend(found);
    program.extend([leave(), load(SENDER_MAC + 2)]);
    program.extend(one_of(own.iter().map(|(_, mac)| last_octets(*mac)), |_| leave()));
    program.push(take());
    program
}

/// Received ARP for IPv4 on Ethernet from one of these hardware addresses, by their last four octets. The socket sees all that
/// the link sends and receives.
pub(super) fn stations(own: &[Mac]) -> Vec<SockFilter> {
    const SENDER_MAC: u32 = 8;
    let own = &own[..own.len().min(MOST_CLAIMS)];
    let mut program = assemble(&[
        packet_type(),
        Test::Not(libc::PACKET_OTHERHOST.into()),
        Test::Not(libc::PACKET_OUTGOING.into()),
        // Of no VLAN.
        load(libc::BPF_W, (libc::SKF_AD_OFF + libc::SKF_AD_VLAN_TAG_PRESENT).cast_unsigned()),
        Test::Is(0),
        load(libc::BPF_W, (libc::SKF_AD_OFF + libc::SKF_AD_PROTOCOL).cast_unsigned()),
        Test::Is(ARP),
        load(libc::BPF_H, 0),
        Test::Is(ETHERNET),
        load(libc::BPF_H, 2),
        Test::Is(IPV4),
    ]);
    // In the place of "take", in front of the "drop" that the tests jump to.
    program.truncate(program.len() - 2);
    let load = instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, SENDER_MAC + 2);
    program.extend([skip(1), leave(), load]);
    program.extend(one_of(own.iter().map(|mac| last_octets(*mac)), |ahead| skip(ahead + 1)));
    program.extend([leave(), take()]);
    program
}

fn last_octets(mac: Mac) -> u32 {
    let [_, _, last @ ..] = mac.octets();
    u32::from_be_bytes(last)
}

/// If the value loaded last is one of these, `then`, which is told how many instructions of these are still to come.
/// Otherwise what follows.
fn one_of(values: impl Iterator<Item = u32>, then: impl Fn(u32) -> SockFilter) -> Vec<SockFilter> {
    /// A comparison leads no further than 255 instructions.
    const REACH: u8 = 200;
    let values: Vec<u32> = values.collect();
    let mut program = Vec::new();
    let mut rest = &values[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(REACH.into()));
        let end = u8::try_from(now.len()).unwrap_or(REACH);
        let compare = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        program.extend((0..end).zip(now).map(|(at, value)| instruction(compare, end - at, 0, *value)));
        let chunks = later.len().div_ceil(REACH.into());
        let ahead = u32::try_from(later.len() + 2 * chunks).unwrap_or(u32::MAX);
        program.extend([skip(1), then(ahead)]);
        rest = later;
    }
    program
}

fn skip(instructions: u32) -> SockFilter {
    instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, instructions)
}

/// What a client of routers and `DHCPv6` servers hears: router and neighbour discovery, and UDP to port 546. None of it
/// has extension headers (RFC 4861 wants none in front of its messages, and fragments of them dropped: RFC 6980).
pub(super) fn ipv6() -> Vec<SockFilter> {
    ipv6_of(DISCOVERY)
}

/// The same without what routers say.
pub(super) fn ipv6_but_routers() -> Vec<SockFilter> {
    ipv6_of(NEIGHBOURS)
}

fn ipv6_of(discovery: std::ops::RangeInclusive<u32>) -> Vec<SockFilter> {
    let is = |value, when_true, when_false| {
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, when_true, when_false, value)
    };
    let compare = |how, value, when_true, when_false| {
        instruction(libc::BPF_JMP | how | libc::BPF_K, when_true, when_false, value)
    };
    let ld = |size, offset| instruction(libc::BPF_LD | size | libc::BPF_ABS, 0, 0, offset);
    vec![
        ld(libc::BPF_W, PACKET_TYPE),
        is(libc::PACKET_OTHERHOST.into(), 9, 0),
        // The next header; behind the 40 octets of this one the ICMP type, or UDP's ports.
        ld(libc::BPF_B, 6),
        is(ICMPV6, 0, 3),
        ld(libc::BPF_B, 40),
        compare(libc::BPF_JGE, *discovery.start(), 0, 5),
        compare(libc::BPF_JGT, *discovery.end(), 4, 3),
        is(UDP, 0, 3),
        ld(libc::BPF_H, 42),
        is(DHCPV6_CLIENT, 0, 1),
        take(),
        leave(),
    ]
}

/// What routers say.
pub(super) fn router_advertisements() -> Vec<SockFilter> {
    assemble(&[
        packet_type(),
        Test::Not(libc::PACKET_OTHERHOST.into()),
        load(libc::BPF_B, 6),
        Test::Is(ICMPV6),
        load(libc::BPF_B, 40),
        Test::Is(ROUTER_ADVERTISEMENT),
    ])
}

/// Nothing at all.
pub(super) fn deaf() -> Vec<SockFilter> {
    vec![leave()]
}

/// `PACKET_HOST`, `PACKET_OTHERHOST` and so on, from beside the packet.
const PACKET_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();

/// One step of a filter that takes a packet when every test holds.
#[derive(Clone, Copy)]
enum Test {
    /// An instruction without a jump.
    Do(u32, u32),
    /// The value loaded last is this.
    Is(u32),
    /// The value loaded last is not this.
    Not(u32),
    /// The value loaded last has none of these bits.
    NoneOf(u32),
}

fn op(code: u32, value: u32) -> Test {
    Test::Do(code, value)
}

fn load(size: u32, offset: u32) -> Test {
    op(libc::BPF_LD | size | libc::BPF_ABS, offset)
}

fn packet_type() -> Test {
    load(libc::BPF_W, PACKET_TYPE)
}

/// The tests, then "take all of it", then "drop", where every failed test jumps to.
fn assemble(tests: &[Test]) -> Vec<SockFilter> {
    let mut program = Vec::with_capacity(tests.len() + 2);
    for (at, test) in tests.iter().enumerate() {
        // From the next instruction to the last one; programs here have a dozen.
        let drop = u8::try_from(tests.len() - at).unwrap_or(u8::MAX);
        program.push(match *test {
            Test::Do(code, value) => instruction(code, 0, 0, value),
            Test::Is(value) => instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, drop, value),
            Test::Not(value) => instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, drop, 0, value),
            Test::NoneOf(bits) => instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, drop, 0, bits),
        });
    }
    program.push(take());
    program.push(leave());
    program
}

/// The end: the whole packet is taken.
fn take() -> SockFilter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0x4_0000)
}

/// The end: it is not.
fn leave() -> SockFilter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0)
}

fn instruction(code: u32, when_true: u8, when_false: u8, value: u32) -> SockFilter {
    // The opcodes are 16 bits wide though their constants are not.
    SockFilter::new(u16::try_from(code).unwrap_or_default(), when_true, when_false, value)
}
