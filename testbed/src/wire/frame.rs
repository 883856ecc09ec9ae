//! One captured Ethernet frame and the few headers tests look at.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use super::dhcp::DhcpMessage;

/// A frame and when it passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When it was captured, to the microsecond.
    pub time: SystemTime,
    /// The frame from its destination MAC on, without checksum.
    pub bytes: Vec<u8>,
}

/// An ARP packet for IPv4 over Ethernet (RFC 826).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arp {
    /// 1 is a request, 2 a reply.
    pub operation: u16,
    /// Who speaks.
    pub sender_mac: String,
    /// The address it claims; 0.0.0.0 in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// Who is spoken to; zeros in a request.
    pub target_mac: String,
    /// The address in question.
    pub target_ip: Ipv4Addr,
}

/// A UDP datagram over IPv4 or IPv6, not fragmented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Udp<'a> {
    /// From where.
    pub source: SocketAddr,
    /// To where.
    pub destination: SocketAddr,
    /// What it carries.
    pub payload: &'a [u8],
}

impl Frame {
    /// Destination MAC.
    pub fn destination(&self) -> String {
        mac(self.bytes.get(..6).unwrap_or_default())
    }

    /// Source MAC.
    pub fn source(&self) -> String {
        mac(self.bytes.get(6..12).unwrap_or_default())
    }

    /// The VLAN of an 802.1Q tag, if there is one.
    pub fn vlan(&self) -> Option<u16> {
        (u16_at(&self.bytes, 12)? == 0x8100).then(|| u16_at(&self.bytes, 14).map(|tci| tci & 0xfff))?
    }

    /// The Ethertype behind a VLAN tag: 0x0800 IPv4, 0x0806 ARP, 0x86dd IPv6.
    pub fn ethertype(&self) -> Option<u16> {
        u16_at(&self.bytes, if self.vlan().is_some() { 16 } else { 12 })
    }

    /// What follows the Ethernet header and tag.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(if self.vlan().is_some() { 18 } else { 14 }..).unwrap_or_default()
    }

    /// The ARP packet in it, if it is one.
    pub fn arp(&self) -> Option<Arp> {
        let packet = self.payload();
        // Ethernet, IPv4, lengths 6 and 4.
        (self.ethertype()? == 0x0806 && packet.get(..6)? == [0, 1, 8, 0, 6, 4]).then_some(())?;
        Some(Arp {
            operation: u16_at(packet, 6)?,
            sender_mac: mac(packet.get(8..14)?),
            sender_ip: ipv4_at(packet, 14)?,
            target_mac: mac(packet.get(18..24)?),
            target_ip: ipv4_at(packet, 24)?,
        })
    }

    /// Source, destination, protocol number and payload of an IPv4 or IPv6 packet (extension headers not skipped).
    pub fn ip(&self) -> Option<(IpAddr, IpAddr, u8, &[u8])> {
        let packet = self.payload();
        match self.ethertype()? {
            0x0800 => {
                let header = usize::from(packet.first()? & 0xf) * 4;
                let total = usize::from(u16_at(packet, 2)?);
                let payload = packet.get(header..total.min(packet.len()))?;
                Some((ipv4_at(packet, 12)?.into(), ipv4_at(packet, 16)?.into(), *packet.get(9)?, payload))
            }
            0x86dd => {
                let address = |at: usize| -> Option<IpAddr> {
                    let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                    Some(Ipv6Addr::from(bytes).into())
                };
                Some((address(8)?, address(24)?, *packet.get(6)?, packet.get(40..)?))
            }
            _ => None,
        }
    }

    /// The UDP datagram in it, if it is one.
    pub fn udp(&self) -> Option<Udp<'_>> {
        let (source, destination, protocol, datagram) = self.ip()?;
        (protocol == 17).then_some(())?;
        let length = usize::from(u16_at(datagram, 4)?);
        Some(Udp {
            source: SocketAddr::new(source, u16_at(datagram, 0)?),
            destination: SocketAddr::new(destination, u16_at(datagram, 2)?),
            payload: datagram.get(8..length.min(datagram.len()))?,
        })
    }

    /// The `DHCPv4` message in it, if it is one.
    pub fn dhcp(&self) -> Option<DhcpMessage> {
        let udp = self.udp()?;
        let ports = [udp.source.port(), udp.destination.port()];
        ports.iter().all(|port| matches!(port, 67 | 68)).then(|| DhcpMessage::parse(udp.payload))?
    }
}

/// One line in the manner of `tcpdump -e`.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        write!(f, "{}.{:06} ", time.as_secs() % 86_400, time.subsec_micros())?;
        write!(f, "{} > {}, ", self.source(), self.destination())?;
        if let Some(arp) = self.arp() {
            let verb = if arp.operation == 1 { "who-has" } else { "is-at" };
            return write!(f, "ARP {verb} {} from {} ({})", arp.target_ip, arp.sender_ip, arp.sender_mac);
        }
        if let Some(dhcp) = self.dhcp() {
            return write!(f, "{dhcp}");
        }
        if let Some(udp) = self.udp() {
            return write!(f, "UDP {} > {}, {} bytes", udp.source, udp.destination, udp.payload.len());
        }
        match self.ip() {
            Some((source, destination, protocol, _)) => {
                write!(f, "IP {source} > {destination} protocol {protocol}")
            }
            None => write!(f, "ethertype {:#06x}, {} bytes", self.ethertype().unwrap_or(0), self.bytes.len()),
        }
    }
}

/// `aa:bb:cc:dd:ee:ff`
pub(super) fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn ipv4_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: &[u8]) -> Frame {
        Frame { time: SystemTime::UNIX_EPOCH, bytes: bytes.to_vec() }
    }

    #[test]
    fn takes_an_arp_probe_apart() {
        let mut bytes = vec![0xff; 6];
        bytes.extend([2, 0, 0, 0, 0, 10, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 10]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 100]);
        let arp = frame(&bytes).arp().expect("an ARP packet");
        assert_eq!(
            (arp.operation, arp.sender_ip, arp.target_ip.to_string().as_str()),
            (1, Ipv4Addr::UNSPECIFIED, "192.0.2.100")
        );
        assert_eq!(arp.sender_mac, "02:00:00:00:00:0a");
    }

    #[test]
    fn a_frame_cut_short_anywhere_is_no_panic() {
        let whole: Vec<u8> =
            [vec![2; 12], vec![8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17], vec![1; 24]].concat();
        assert!(frame(&whole).udp().is_some());
        for length in 0..whole.len() {
            let cut = frame(&whole[..length]);
            let _ = (cut.arp(), cut.udp(), cut.dhcp(), cut.vlan(), cut.to_string());
        }
    }

    #[test]
    fn looks_behind_a_vlan_tag() {
        let tagged = frame(&[vec![2; 12], vec![0x81, 0, 0x20, 10, 8, 6]].concat());
        assert_eq!((tagged.vlan(), tagged.ethertype()), (Some(10), Some(0x0806)));
    }
}
