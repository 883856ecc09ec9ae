//! Packet sockets: what their filters let through, and what `arp_ignore` silences.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use std::time::Duration;

use landline_kernel::{
    Group, Groups, LinkChange, MacvlanMode, Monitor, Netns, NewLink, NewLinkKind, PacketSocket, Received,
    UnicastSocket,
};
use landline_types::Mac;
use tokio::time::timeout;

use crate::lab::{DEADLINE, give, lab, link, mac, name, pair, send_frame, who_has};

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// An IPv4 UDP packet from the server to everybody, checksums left zero, with this many 32-bit words of IP
/// options (RFC 791, RFC 768).
fn datagram(port: u16, options: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + 4 * usize::from(options) + 8 + payload.len()).unwrap();
    let mut packet = vec![0x45 + options, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, 17, 0, 0]);
    packet.extend(SERVER.octets());
    packet.extend([255; 4]);
    packet.extend(vec![1; 4 * usize::from(options)]);
    packet.extend([0, 67]);
    packet.extend(port.to_be_bytes());
    packet.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}

async fn receive(socket: &PacketSocket) -> (Received, Vec<u8>) {
    let mut buffer = [0; 1500];
    let received = timeout(DEADLINE, socket.recv(&mut buffer)).await.expect("nothing came").unwrap();
    (received, buffer[..received.len].to_vec())
}

#[tokio::test]
async fn only_dhcp_for_a_client_comes_through() {
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    let (client, server) = (PacketSocket::dhcp4(Some(&ns), a.index), PacketSocket::dhcp4(Some(&ns), b.index));
    let (client, server) = (client.unwrap(), server.unwrap());

    let mut fragment = datagram(68, 0, b"fragment");
    fragment[6] = 0x20;
    let mut rest = datagram(68, 0, b"rest of it");
    rest[7] = 1;
    let mut tcp = datagram(68, 0, b"other protocol");
    tcp[9] = 6;
    for dropped in
        [datagram(67, 0, b"wrong port"), datagram(546, 0, b"wrong port"), fragment, rest, tcp, vec![0x45; 9]]
    {
        server.send(Mac::BROADCAST, &dropped).unwrap();
    }
    server.send(mac(0xee), &datagram(68, 0, b"for another station")).unwrap();
    let mut whole = datagram(68, 0, b"broadcast");
    // "Don't fragment" is not a fragment.
    whole[6] = 0x40;
    let wanted = [(Mac::BROADCAST, whole), (a.mac.unwrap(), datagram(68, 3, b"to us, with IP options"))];
    for (to, packet) in &wanted {
        server.send(*to, packet).unwrap();
    }
    for (_, packet) in &wanted {
        let (received, got) = receive(&client).await;
        assert_eq!(&got, packet);
        assert_eq!((received.source_mac, received.own), (b.mac.unwrap(), false));
    }
}

#[tokio::test]
async fn what_a_socket_sends_it_does_not_hear() {
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    let (one, two) = (PacketSocket::arp(Some(&ns), a.index), PacketSocket::arp(Some(&ns), b.index));
    let (one, two) = (one.unwrap(), two.unwrap());
    one.send(Mac::BROADCAST, &who_has(mac(0xa), SERVER)).unwrap();
    two.send(Mac::BROADCAST, &who_has(mac(0xb), SERVER)).unwrap();
    assert_eq!(receive(&one).await.1, who_has(mac(0xb), SERVER));
    assert_eq!(receive(&two).await.1, who_has(mac(0xa), SERVER));
}

#[tokio::test]
async fn only_others_claims_come_through() {
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    let (listener, speaker) =
        (PacketSocket::claims(Some(&ns), a.index), PacketSocket::arp(Some(&ns), b.index));
    let (listener, speaker) = (listener.unwrap(), speaker.unwrap());
    let claim = |by: Mac, last: u8| {
        let mut packet = who_has(by, SERVER);
        packet[14..18].copy_from_slice(&[192, 0, 2, last]);
        packet
    };
    let watched: Vec<(Ipv4Addr, Mac)> = (1..=250).map(|n| (Ipv4Addr::new(192, 0, 2, n), mac(n))).collect();
    let others = [claim(mac(0xff), 1), claim(mac(0xfe), 250)];
    speaker.send(Mac::BROADCAST, &others[0]).unwrap();
    listener.watch_claims(&watched).unwrap();
    for dropped in [claim(mac(1), 1), claim(mac(250), 250), claim(mac(0xff), 251), vec![0; 28], vec![0, 1]] {
        speaker.send(Mac::BROADCAST, &dropped).unwrap();
    }
    for wanted in &others {
        speaker.send(Mac::BROADCAST, wanted).unwrap();
        assert_eq!(&receive(&listener).await.1, wanted);
    }
    // No longer watched, and one more than there is room for.
    let many = vec![(SERVER, mac(1)); 600];
    for _ in 0..3 {
        listener.watch_claims(&many).unwrap();
    }
    speaker.send(Mac::BROADCAST, &others[1]).unwrap();
    speaker.send(Mac::BROADCAST, &others[0]).unwrap();
    assert_eq!(receive(&listener).await.1, others[0]);
}

#[tokio::test]
async fn only_known_stations_come_through_and_nothing_of_ones_own() {
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    let open = |index| PacketSocket::arp(Some(&ns), index).unwrap();
    let (listener, own, other) =
        (PacketSocket::stations(Some(&ns), a.index).unwrap(), open(a.index), open(b.index));
    let watched: Vec<Mac> = (1..=250).map(mac).collect();
    listener.watch_stations(&watched).unwrap();
    own.send(Mac::BROADCAST, &who_has(mac(1), SERVER)).unwrap();
    for dropped in [who_has(mac(0xff), SERVER), vec![0; 28], vec![0, 1]] {
        other.send(Mac::BROADCAST, &dropped).unwrap();
    }
    for n in [1, 250] {
        other.send(Mac::BROADCAST, &who_has(mac(n), SERVER)).unwrap();
        assert_eq!(receive(&listener).await.1, who_has(mac(n), SERVER));
    }
    listener.watch_stations(&[mac(3)]).unwrap();
    other.send(Mac::BROADCAST, &who_has(mac(1), SERVER)).unwrap();
    other.send(Mac::BROADCAST, &who_has(mac(3), SERVER)).unwrap();
    assert_eq!(receive(&listener).await.1, who_has(mac(3), SERVER));
}

#[tokio::test]
async fn a_packet_longer_than_the_buffer_is_dropped() {
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    let client = PacketSocket::dhcp4(Some(&ns), a.index).unwrap();
    let server = PacketSocket::dhcp4(Some(&ns), b.index).unwrap();
    server.send(Mac::BROADCAST, &datagram(68, 0, &[7; 100])).unwrap();
    let short = datagram(68, 0, b"short");
    server.send(Mac::BROADCAST, &short).unwrap();
    let mut buffer = [0; 64];
    let received = timeout(DEADLINE, client.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(&buffer[..received.len], short);
}

#[tokio::test]
async fn a_checksum_left_to_hardware_is_reported() {
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    give(&mut netlink, b.index, "192.0.2.1/24");
    let client = PacketSocket::dhcp4(Some(&ns), a.index).unwrap();
    let server = PacketSocket::dhcp4(Some(&ns), b.index).unwrap();

    // Made by hand: the checksum is what it is.
    server.send(Mac::BROADCAST, &datagram(68, 0, b"by hand")).unwrap();
    assert!(!receive(&client).await.0.checksum_valid_or_unknown);

    // Sent through the stack over a veth, which claims to compute checksums and never does.
    ns.run(|| {
        let socket = std::net::UdpSocket::bind((SERVER, 67)).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.send_to(b"through the stack", (Ipv4Addr::new(192, 0, 2, 255), 68)).unwrap();
    })
    .unwrap();
    let (received, packet) = receive(&client).await;
    assert!(packet.ends_with(b"through the stack"));
    assert!(received.checksum_valid_or_unknown);
}

#[tokio::test]
async fn arp_of_another_vlan_does_not_come_through() {
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    let listener = PacketSocket::arp(Some(&ns), a.index).unwrap();
    let frame = |tag: &[u8], packet: &[u8]| {
        let addresses = [Mac::BROADCAST.octets(), mac(0xb).octets()].concat();
        [&addresses, tag, &[0x08, 0x06], packet].concat()
    };
    let [tagged, plain] = [SERVER, Ipv4Addr::new(192, 0, 2, 2)].map(|ip| who_has(mac(0xb), ip));
    send_frame(&ns, b.index, &frame(&[0x81, 0x00, 0, 42], &tagged));
    send_frame(&ns, b.index, &frame(&[], &plain));
    assert_eq!(receive(&listener).await.1, plain);
}

#[tokio::test]
async fn other_peoples_kinds_of_arp_do_not_come_through() {
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    let listener = PacketSocket::arp(Some(&ns), a.index).unwrap();
    let sender = PacketSocket::arp(Some(&ns), b.index).unwrap();
    let good = who_has(mac(0xb), SERVER);
    for (at, value) in [(1, 6), (2, 0x86), (4, 8), (5, 16)] {
        let mut odd = good.clone();
        odd[at] = value;
        sender.send(Mac::BROADCAST, &odd).unwrap();
    }
    sender.send(Mac::BROADCAST, &good[..4]).unwrap();
    sender.send(Mac::BROADCAST, &good).unwrap();
    assert_eq!(receive(&listener).await.1, good);
}

#[tokio::test]
async fn arp_ignore_8_silences_a_link() {
    let (_ns, mut netlink) = lab();
    let (far, mut netlink_far) = lab();
    let (a, b) = pair(&mut netlink);
    netlink.set_link(b.index, &LinkChange::new().netns(&far).up()).unwrap();
    // The host's own addresses: one on lo, one on the link itself.
    give(&mut netlink, 1, "203.0.113.5/32");
    give(&mut netlink, a.index, "192.0.2.5/24");
    netlink.set_link(1, &LinkChange::new().up()).unwrap();
    assert!(netlink_far.link_by_index(b.index).unwrap().unwrap().up);
    let asker = PacketSocket::arp(Some(&far), b.index).unwrap();
    let ask = |last| asker.send(Mac::BROADCAST, &who_has(mac(0xb), last)).unwrap();
    let answer = async || loop {
        let (_, packet) = receive(&asker).await;
        // Replies only; who asks there is not the question.
        if packet[7] == 2 {
            return Ipv4Addr::new(packet[14], packet[15], packet[16], packet[17]);
        }
    };
    let [on_lo, own] = [Ipv4Addr::new(203, 0, 113, 5), Ipv4Addr::new(192, 0, 2, 5)];

    // By default a link answers for every address of its host.
    for address in [on_lo, own] {
        ask(address);
        assert_eq!(answer().await, address);
    }
    netlink.set_link(a.index, &LinkChange::new().arp_ignore(8)).unwrap();
    ask(on_lo);
    ask(own);
    // ARP is answered in order and at once, so an answer to a later question shows there was none before.
    netlink.set_link(a.index, &LinkChange::new().arp_ignore(1)).unwrap();
    ask(on_lo);
    ask(own);
    assert_eq!(answer().await, own);
    netlink.set_link(a.index, &LinkChange::new().arp_ignore(0)).unwrap();
    ask(on_lo);
    assert_eq!(answer().await, on_lo);
}

/// An IPv6 packet with this header behind its own (RFC 8200), to a group that nobody has joined.
fn packet6(next_header: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next_header, 255];
    packet.extend("fe80::1".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend("ff02::1:ff00:7".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend(rest);
    packet
}

/// The frame's address of the group of [`packet6`] (RFC 2464 section 7).
const GROUP: Mac = Mac::new([0x33, 0x33, 0xff, 0, 0, 7]);

#[tokio::test]
async fn only_discovery_and_dhcpv6_for_a_client_come_through() {
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    let [ear, mouth] = [a.index, b.index].map(|index| PacketSocket::ipv6(Some(&ns), index).unwrap());
    let udp = |port: u8| packet6(17, &[2, 35, 2, port, 0, 9, 0, 0, 1]);
    let wanted: Vec<_> = (133..=136).map(|kind| packet6(58, &[kind, 0, 0, 0])).chain([udp(34)]).collect();
    for dropped in
        [packet6(58, &[132, 0]), packet6(58, &[137, 0]), packet6(58, &[]), udp(35), packet6(6, &[134; 20])]
    {
        mouth.send(GROUP, &dropped).unwrap();
    }
    mouth.send(mac(0xee), &wanted[0]).unwrap();
    let routers = PacketSocket::router_advertisements(Some(&ns), a.index).unwrap();
    for packet in &wanted {
        mouth.send(GROUP, packet).unwrap();
    }
    // The second of four kinds, and then nothing that it would have to pass over first.
    assert_eq!(receive(&routers).await.1, wanted[1]);
    mouth.send(GROUP, &wanted[1]).unwrap();
    assert_eq!(receive(&routers).await.1, wanted[1]);
    for packet in &wanted {
        assert_eq!(receive(&ear).await.1, *packet);
    }
}

#[tokio::test]
async fn an_ipv6_socket_hears_groups_that_its_link_has_not_joined() {
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    let kind = NewLinkKind::Macvlan { parent: a.index, mode: MacvlanMode::Bridge };
    netlink.add_link(&NewLink { up: true, addr_gen_none: true, ..NewLink::new(name("m"), kind) }).unwrap();
    let child = link(&mut netlink, "m");
    let mouth = PacketSocket::ipv6(Some(&ns), b.index).unwrap();
    let ear = PacketSocket::ipv6(Some(&ns), child.index).unwrap();
    let packet = packet6(58, &[135, 0, 0, 0]);
    mouth.send(GROUP, &packet).unwrap();
    assert_eq!(receive(&ear).await.1, packet);
}

#[tokio::test]
async fn who_joins_a_group_says_so_even_without_an_address() {
    let (ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    let group: Ipv6Addr = "ff02::1:ff00:7".parse().unwrap();
    let joined = || {
        let listed = ns.run(|| std::fs::read_to_string("/proc/thread-self/net/igmp6").unwrap()).unwrap();
        listed.lines().any(|line| line.contains(" a ") && line.contains("ff0200000000000000000001ff000007"))
    };
    let groups = Groups::open(Some(&ns)).unwrap();
    assert!(!joined());
    for _ in 0..2 {
        groups.join(a.index, group).unwrap();
        assert!(joined());
    }
    drop(groups);
    assert!(!joined());
}

#[tokio::test]
async fn a_socket_whose_link_went_says_so() {
    let (ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    let socket = PacketSocket::arp(Some(&ns), a.index).unwrap();
    netlink.delete_link(a.index).unwrap();
    let error = timeout(DEADLINE, socket.recv(&mut [0; 64])).await.unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENETDOWN));
    let error = socket.send(Mac::BROADCAST, &who_has(mac(1), SERVER)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
}

#[tokio::test]
async fn a_socket_hears_again_when_its_link_is_up_again() {
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    let socket = PacketSocket::arp(Some(&ns), a.index).unwrap();
    netlink.set_link(a.index, &LinkChange::new().down()).unwrap();
    let error = timeout(DEADLINE, socket.recv(&mut [0; 64])).await.unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENETDOWN));
    netlink.set_link(a.index, &LinkChange::new().up()).unwrap();
    let sender = PacketSocket::arp(Some(&ns), b.index).unwrap();
    // Frames are lost until the other end has noticed the carrier.
    let packet = who_has(mac(0xb), SERVER);
    let mut monitor = Monitor::open_in(&ns, &[Group::Links]).unwrap();
    while !netlink.link_by_index(b.index).unwrap().unwrap().running {
        timeout(DEADLINE, monitor.next()).await.unwrap();
    }
    sender.send(Mac::BROADCAST, &packet).unwrap();
    assert_eq!(receive(&socket).await.1, packet);
}

#[tokio::test]
async fn a_socket_whose_link_moved_away_is_left_behind() {
    let (ns, mut netlink) = lab();
    let (far, _) = lab();
    let (a, _) = pair(&mut netlink);
    let socket = PacketSocket::arp(Some(&ns), a.index).unwrap();
    netlink.set_link(a.index, &LinkChange::new().netns(&far).up()).unwrap();
    let error = timeout(DEADLINE, socket.recv(&mut [0; 64])).await.unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENETDOWN));
    let error = socket.send(Mac::BROADCAST, &who_has(mac(0xa), SERVER)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
}

#[tokio::test]
async fn a_socket_wants_a_link_that_exists() {
    let ns = Netns::create().unwrap();
    let error = PacketSocket::arp(Some(&ns), 4711).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    assert_eq!(PacketSocket::arp(Some(&ns), 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn unicast_goes_through_the_stack_and_answers_are_not_refused() {
    let (ns, mut netlink) = lab();
    let (far, mut netlink_far) = lab();
    let (a, b) = pair(&mut netlink);
    netlink.set_link(b.index, &LinkChange::new().netns(&far).up()).unwrap();
    give(&mut netlink, a.index, "192.0.2.5/24");
    give(&mut netlink_far, b.index, "192.0.2.1/24");
    let client = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 5), 68);
    let ear = PacketSocket::dhcp4(Some(&ns), a.index).unwrap();
    let mouth = UnicastSocket::open(Some(&ns), a.index, client).unwrap();
    // Connected, so that an ICMP "port unreachable" would become an error here.
    let server = far
        .run(|| {
            let socket = std::net::UdpSocket::bind((SERVER, 67)).unwrap();
            socket.connect(client).unwrap();
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            socket
        })
        .unwrap();
    let mut buffer = [0; 64];
    for round in 0..3 {
        mouth.send_to(SocketAddrV4::new(SERVER, 67), b"renew").unwrap();
        assert_eq!(server.recv(&mut buffer).unwrap(), 5, "round {round}");
        server.send(b"ack").unwrap();
        assert!(receive(&ear).await.1.ends_with(b"ack"));
    }
    // Nothing piles up in the socket nobody reads: `tx_queue:rx_queue` of each UDP socket (`proc(5)`).
    let sockets = ns.run(|| std::fs::read_to_string("/proc/thread-self/net/udp").unwrap()).unwrap();
    let queues: Vec<_> = sockets.lines().skip(1).filter_map(|line| line.split_whitespace().nth(4)).collect();
    assert_eq!(queues, ["00000000:00000000"]);
    // Without the socket the stack refuses; the test would notice.
    drop(mouth);
    server.send(b"ack").unwrap();
    assert_eq!(server.recv(&mut buffer).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_unicast_socket_wants_an_address_of_the_host() {
    let (ns, mut netlink) = lab();
    let (a, _) = pair(&mut netlink);
    // Before its first address a namespace takes any for a broadcast address, which may be bound.
    give(&mut netlink, a.index, "192.0.2.6/24");
    let nobody = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 5), 68);
    let error = UnicastSocket::open(Some(&ns), a.index, nobody).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
}

#[tokio::test]
async fn a_unicast_socket_can_speak_for_another_machine() {
    let (ns, mut netlink) = lab();
    let (far, mut netlink_far) = lab();
    let (a, b) = pair(&mut netlink);
    netlink.set_link(b.index, &LinkChange::new().netns(&far).up()).unwrap();
    give(&mut netlink, a.index, "192.0.2.6/24");
    give(&mut netlink_far, b.index, "192.0.2.1/24");
    let other = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 5), 68);
    let mouth = UnicastSocket::open_on_behalf(Some(&ns), a.index, other).unwrap();
    let server = far.run(|| std::net::UdpSocket::bind((SERVER, 67)).unwrap()).unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    mouth.send_to(SocketAddrV4::new(SERVER, 67), b"renew").unwrap();
    let (length, from) = server.recv_from(&mut [0; 64]).unwrap();
    assert_eq!((length, from), (5, other.into()));
}

/// A Router Advertisement to all nodes, from the IPv6 header on, that says nothing; its last octet tells it from others.
fn advertisement(n: u8) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 16, 58, 255];
    packet.extend("fe80::1".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend("ff02::1".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend([134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, n]);
    packet
}

#[tokio::test]
async fn a_flood_of_advertisements_is_not_read() {
    const ALL_NODES: Mac = Mac::new([0x33, 0x33, 0, 0, 0, 1]);
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    let mouth = PacketSocket::ipv6(Some(&ns), b.index).unwrap();
    for socket in [
        PacketSocket::router_advertisements(Some(&ns), a.index).unwrap(),
        PacketSocket::ipv6(Some(&ns), a.index).unwrap(),
    ] {
        let start = std::time::Instant::now();
        let (mut read, mut buffer) = (0_u64, [0; 128]);
        for _ in 0..2000 {
            mouth.send(ALL_NODES, &advertisement(0)).unwrap();
            // Whatever can be read is.
            while timeout(Duration::from_micros(500), socket.recv(&mut buffer)).await.is_ok() {
                read += 1;
            }
        }
        let most = 256 * (start.elapsed().as_secs() + 2);
        assert!(read > 0 && read <= most, "{read} of 2000 in {:?}", start.elapsed());
        // What is said afterwards is heard, and nothing of before.
        let heard = async {
            loop {
                let (got, packet) = receive(&socket).await;
                if !got.own && packet.last() == Some(&1) {
                    return;
                }
            }
        };
        let say = async {
            loop {
                mouth.send(ALL_NODES, &advertisement(1)).unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = heard => {}
            () = say => {}
            () = tokio::time::sleep(DEADLINE) => panic!("it stays deaf"),
        }
    }
}

#[tokio::test]
async fn a_socket_for_ipv6_can_leave_routers_to_others() {
    const ALL_NODES: Mac = Mac::new([0x33, 0x33, 0, 0, 0, 1]);
    let (ns, mut netlink) = lab();
    let (a, b) = pair(&mut netlink);
    let mouth = PacketSocket::ipv6(Some(&ns), b.index).unwrap();
    let socket = PacketSocket::ipv6(Some(&ns), a.index).unwrap();
    mouth.send(ALL_NODES, &advertisement(1)).unwrap();
    assert_eq!(receive(&socket).await.1, advertisement(1));
    socket.leave_out_routers().unwrap();
    mouth.send(ALL_NODES, &advertisement(2)).unwrap();
    let mut neighbour = advertisement(3);
    neighbour[40] = 136;
    mouth.send(ALL_NODES, &neighbour).unwrap();
    assert_eq!(receive(&socket).await.1, neighbour);
}
