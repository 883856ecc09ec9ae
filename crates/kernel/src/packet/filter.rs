//! Filters that run in the kernel, so that a socket on a busy link wakes nobody for other people's packets
//! (classic BPF, `Documentation/networking/filter.rst`).
//!
//! Offsets start at the network header: the sockets are `SOCK_DGRAM`. A load beyond the packet's end drops it.
//!
//! Frames for another station (`PACKET_OTHERHOST`) are dropped. The kernel also marks so what arrived with a
//! VLAN tag nobody on this link owns, untags it and hands it to packet sockets as if it were the link's own;
//! an ARP answer from another VLAN must not look like an address conflict in this one.

use socket2::SockFilter;

const ETHERNET: u32 = 1;
const IPV4: u32 = 0x0800;
const UDP: u32 = 17;
/// `MF` and the fragment offset in the fourth 16 bits of the IPv4 header (RFC 791 section 3.1).
const FRAGMENT: u32 = 0x3fff;
const DHCP_CLIENT: u32 = 68;

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

/// Nothing at all.
pub(super) fn deaf() -> Vec<SockFilter> {
    vec![instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0)]
}

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

/// Loads `PACKET_HOST`, `PACKET_OTHERHOST` and so on from beside the packet.
fn packet_type() -> Test {
    load(libc::BPF_W, (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned())
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
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0x4_0000));
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0));
    program
}

fn instruction(code: u32, when_true: u8, when_false: u8, value: u32) -> SockFilter {
    // The opcodes are 16 bits wide though their constants are not.
    SockFilter::new(u16::try_from(code).unwrap_or_default(), when_true, when_false, value)
}
