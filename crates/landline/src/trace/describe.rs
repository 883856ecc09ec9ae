//! A traced frame in a line.

use std::fmt::Write as _;

use landline_dhcp::v4::describe;
use landline_dhcp::wire::ipv6::{Datagram, ICMP, Packet, UDP};
use landline_dhcp::wire::ra::RouterAdvertisement;
use landline_dhcp::wire::udp::{self, Check};
use landline_dhcp::wire::{arp, dhcpv4, dhcpv6, icmpv6};

/// Which options of DHCP are shown: requested address, lease time, server, message, host name.
const SHOWN: [u8; 5] = [50, 51, 54, 56, 12];

/// What a frame says. Those here were made by Landline or taken by one of its clients; what cannot be read is said to be so.
pub(super) fn frame(frame: &[u8]) -> String {
    let packet = frame.get(14..).unwrap_or_default();
    let text = match frame.get(12..14) {
        Some([0x08, 0x06]) => arp::Packet::parse(packet).map(|packet| arp_text(&packet)),
        Some([0x08, 0x00]) => udp::parse(packet, Check::Skip).and_then(|datagram| dhcp4(&datagram)),
        Some([0x86, 0xdd]) => Packet::parse(packet).and_then(|packet| ipv6(&packet)),
        _ => None,
    };
    text.unwrap_or_else(|| format!("{} octets that cannot be read", frame.len()))
}

fn arp_text(packet: &arp::Packet) -> String {
    match packet.op {
        arp::Operation::Request if packet.is_probe() => format!("ARP probe: who has {}", packet.target_ip),
        arp::Operation::Request if packet.sender_ip == packet.target_ip => {
            format!("ARP announcement: {} is at {}", packet.sender_ip, packet.sender_mac)
        }
        arp::Operation::Request => {
            format!("ARP request: who has {}, tell {}", packet.target_ip, packet.sender_ip)
        }
        arp::Operation::Reply => format!("ARP reply: {} is at {}", packet.sender_ip, packet.sender_mac),
    }
}

fn dhcp4(datagram: &udp::Datagram<'_>) -> Option<String> {
    let packet = dhcpv4::Packet::parse(datagram.payload)?;
    let message = dhcpv4::Repr::parse(&packet)?;
    let kind = format!("{:?}", message.kind).to_uppercase();
    let mut text = format!("DHCP {kind} xid={:08x}", message.xid);
    for (name, address) in
        [("client", message.ciaddr), ("offered", message.yiaddr), ("relay", message.giaddr)]
    {
        if !address.is_unspecified() {
            let name = if name == "offered" { "address" } else { name };
            let _ = write!(text, " {name}={address}");
        }
    }
    for code in SHOWN {
        if let Some(value) = message.options.get(code) {
            let option = describe(code, value);
            let _ = write!(text, " {}={}", option.name.unwrap_or("option"), option.value);
        }
    }
    Some(text)
}

fn ipv6(packet: &Packet<'_>) -> Option<String> {
    match packet.next_header {
        UDP => dhcpv6::Message::parse(Datagram::parse(packet, Check::Skip)?.payload)
            .map(|message| dhcp6(&message)),
        ICMP => icmpv6::Message::parse(packet.src, packet.dst, packet.payload, Check::Skip)
            .map(|message| icmp(packet, &message)),
        _ => None,
    }
}

fn dhcp6(message: &dhcpv6::Message) -> String {
    let [a, b, c] = message.xid;
    let kind = match message.kind {
        dhcpv6::MessageType::InformationRequest => "INFORMATION-REQUEST".to_owned(),
        kind => format!("{kind:?}").to_uppercase(),
    };
    let mut text = format!("DHCPv6 {kind} xid={a:02x}{b:02x}{c:02x}");
    for association in message.options.associations() {
        for address in association.addresses() {
            let _ = write!(text, " address={} valid={}s", address.address, address.valid);
        }
    }
    text
}

fn icmp(packet: &Packet<'_>, message: &icmpv6::Message) -> String {
    match message {
        icmpv6::Message::RouterSolicitation { .. } => "router solicitation".to_owned(),
        icmpv6::Message::RouterAdvertisement(said) => advertisement(packet, said),
        icmpv6::Message::NeighbourSolicitation { target, .. } if packet.src.is_unspecified() => {
            format!("duplicate address detection: who has {target}")
        }
        icmpv6::Message::NeighbourSolicitation { target, .. } => {
            format!("neighbour solicitation: who has {target}, tell {}", packet.src)
        }
        icmpv6::Message::NeighbourAdvertisement { target, target_mac, .. } => {
            let at = target_mac.map(|mac| format!(" is at {mac}")).unwrap_or_default();
            format!("neighbour advertisement: {target}{at}")
        }
    }
}

fn advertisement(packet: &Packet<'_>, said: &RouterAdvertisement) -> String {
    let mut text = format!("router advertisement from {} lifetime={}s", packet.src, said.lifetime);
    if said.managed {
        text.push_str(" managed");
    }
    if said.other {
        text.push_str(" other");
    }
    for prefix in &said.prefixes {
        let autonomous = if prefix.autonomous { " autonomous" } else { "" };
        let _ = write!(text, " prefix={} valid={}s{autonomous}", prefix.prefix, prefix.valid);
    }
    for server in said.dns.iter().flat_map(|dns| &dns.servers) {
        let _ = write!(text, " dns={server}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use landline_types::Mac;

    use super::*;

    const MAC: Mac = Mac::new([2, 0, 0, 0, 0, 7]);

    fn ethernet(kind: u16, packet: &[u8]) -> Vec<u8> {
        [&[0; 12][..], &kind.to_be_bytes(), packet].concat()
    }

    #[test]
    fn dhcp_messages_say_what_counts() {
        let address = Ipv4Addr::new(192, 0, 2, 7);
        let mut message = dhcpv4::Repr::from_client(dhcpv4::MessageType::Request, 0x0102_0304, MAC);
        message.options.append(50, &address.octets());
        message.options.append(12, b"web");
        let (from, to) =
            (SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68), SocketAddrV4::new(Ipv4Addr::BROADCAST, 67));
        let packet = udp::emit(from, to, &message.emit());
        let text = frame(&ethernet(0x0800, &packet));
        assert!(text.starts_with("DHCP REQUEST xid=01020304 "), "{text}");
        assert!(text.contains("=192.0.2.7") && text.ends_with("=web"), "{text}");
    }

    #[test]
    fn arp_packets_are_told_apart() {
        let address = Ipv4Addr::new(192, 0, 2, 7);
        let text = |packet: arp::Packet| frame(&ethernet(0x0806, &packet.emit()));
        assert_eq!(text(arp::Packet::probe(MAC, address)), "ARP probe: who has 192.0.2.7");
        assert_eq!(
            text(arp::Packet::announcement(MAC, address)),
            "ARP announcement: 192.0.2.7 is at 02:00:00:00:00:07"
        );
        let reply = arp::Packet { op: arp::Operation::Reply, ..arp::Packet::announcement(MAC, address) };
        assert_eq!(text(reply), "ARP reply: 192.0.2.7 is at 02:00:00:00:00:07");
    }

    #[test]
    fn routers_say_what_their_lan_has() {
        let (src, dst) = ("fe80::1".parse().unwrap(), "ff02::1".parse().unwrap());
        let said = RouterAdvertisement { managed: true, lifetime: 1800, ..RouterAdvertisement::default() };
        let payload = icmpv6::Message::RouterAdvertisement(said).emit(src, dst);
        let packet = Packet { src, dst, hop_limit: 255, next_header: ICMP, payload: &payload }.emit();
        assert_eq!(
            frame(&ethernet(0x86dd, &packet)),
            "router advertisement from fe80::1 lifetime=1800s managed"
        );
    }

    #[test]
    fn what_cannot_be_read_is_no_fault() {
        for octets in [&[][..], &[0; 14], &ethernet(0x0800, &[0x45]), &ethernet(0x86dd, &[0x60; 44])] {
            assert_eq!(frame(octets), format!("{} octets that cannot be read", octets.len()));
        }
    }
}
