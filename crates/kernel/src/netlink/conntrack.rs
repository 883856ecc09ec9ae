//! Connections as the kernel tracks them (`linux/netfilter/nfnetlink_conntrack.h`).
//!
//! A translation is decided by a connection's first packet and then stays for as long as packets come, whatever the
//! rules say by then. So who changes rules has to have the kernel forget what they contradict.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::net::SocketFlags;

use super::attr::{Attrs, Message, Received, Value};
use super::error::NetlinkError;
use super::socket::Netlink;
use super::uapi::{
    CTA_ID, CTA_IP_V4_DST, CTA_IP_V4_SRC, CTA_PROTO_DST_PORT, CTA_PROTO_NUM, CTA_PROTO_SRC_PORT,
    CTA_TUPLE_IP, CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, CTA_TUPLE_REPLY, CTA_ZONE, IPCTNL_MSG_CT_DELETE,
    IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_NEW, NFNL_SUBSYS_CTNETLINK,
};

/// Length of `struct nfgenmsg`.
const NFGENMSG: usize = 4;

/// `struct nfgenmsg` for IPv4: version and resource are 0.
#[expect(clippy::cast_possible_truncation, reason = "AF_INET is 2")]
const IPV4: [u8; NFGENMSG] = [libc::AF_INET as u8, 0, 0, 0];

/// What packets of one direction have in common. Protocols without ports have 0 there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// IP protocol number.
    pub protocol: u8,
    /// Where they come from.
    pub source: SocketAddrV4,
    /// Where they go.
    pub destination: SocketAddrV4,
}

/// A tracked IPv4 connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its first packet, before any translation.
    pub original: Flow,
    /// The answer to that: it comes from where the first packet was sent in the end, and goes to the address that
    /// was seen to come from.
    pub reply: Flow,
    /// Its key as the kernel wrote it: attributes.
    key: Vec<(u16, Vec<u8>)>,
}

/// The connections of the calling thread's namespace. Calls block while the table is read.
#[derive(Debug)]
pub struct Conntrack(Netlink);

impl Conntrack {
    /// Opens it.
    pub fn open() -> io::Result<Self> {
        Netlink::open_protocol(Some(rustix::net::netlink::NETFILTER), SocketFlags::CLOEXEC).map(Self)
    }

    /// The IPv4 connections that `wanted` picks.
    pub fn connections(
        &mut self,
        wanted: impl Fn(&Connection) -> bool,
    ) -> Result<Vec<Connection>, NetlinkError> {
        let message = Message::new(kind(IPCTNL_MSG_CT_GET), libc::NLM_F_DUMP, &IPV4);
        self.0.dump(message, "list connections", |got| Connection::read(&got).filter(&wanted))
    }

    /// Has the kernel forget a connection: its next packet is a first one again. `false`: it was over.
    pub fn forget(&mut self, connection: &Connection) -> Result<bool, NetlinkError> {
        let mut message = Message::new(kind(IPCTNL_MSG_CT_DELETE), libc::NLM_F_ACK, &IPV4);
        for (kind, value) in &connection.key {
            if *kind == CTA_TUPLE_ORIG {
                message.nest(*kind, |tuple| tuple.raw(value));
            } else {
                message.bytes(*kind, value);
            }
        }
        match self.0.request(message, || "forget a connection".to_owned(), |_| {}) {
            Ok(()) => Ok(true),
            Err(error) if error.is(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

const fn kind(message: u8) -> u16 {
    (NFNL_SUBSYS_CTNETLINK << 8) | message as u16
}

impl Connection {
    /// One that no kernel has, for tests of what is made of them.
    pub const fn new(original: Flow, reply: Flow) -> Self {
        Self { original, reply, key: Vec::new() }
    }

    /// Reads the body of an `IPCTNL_MSG_CT_NEW`; `None` for IPv6.
    pub(super) fn read(got: &Received<'_>) -> Option<Self> {
        if got.kind != kind(IPCTNL_MSG_CT_NEW) {
            return None;
        }
        let (mut original, mut reply, mut key) = (None, None, Vec::new());
        for (kind, value) in Attrs(got.body.get(NFGENMSG..)?) {
            match kind {
                CTA_TUPLE_ORIG => original = Flow::read(value),
                CTA_TUPLE_REPLY => reply = Flow::read(value),
                _ => {}
            }
            if [CTA_TUPLE_ORIG, CTA_ZONE, CTA_ID].contains(&kind) {
                key.push((kind, value.0.to_owned()));
            }
        }
        Some(Self { original: original?, reply: reply?, key })
    }
}

impl Flow {
    fn read(tuple: Value<'_>) -> Option<Self> {
        let (mut source, mut destination, mut protocol) = (None, None, None);
        let (mut from, mut to) = (0, 0);
        for (kind, value) in tuple.attrs() {
            for (inner, value) in value.attrs() {
                match (kind, inner) {
                    (CTA_TUPLE_IP, CTA_IP_V4_SRC) => source = address(value),
                    (CTA_TUPLE_IP, CTA_IP_V4_DST) => destination = address(value),
                    (CTA_TUPLE_PROTO, CTA_PROTO_NUM) => protocol = value.u8(),
                    (CTA_TUPLE_PROTO, CTA_PROTO_SRC_PORT) => from = port(value)?,
                    (CTA_TUPLE_PROTO, CTA_PROTO_DST_PORT) => to = port(value)?,
                    _ => {}
                }
            }
        }
        Some(Self {
            protocol: protocol?,
            source: SocketAddrV4::new(source?, from),
            destination: SocketAddrV4::new(destination?, to),
        })
    }
}

fn address(value: Value<'_>) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(value.0).ok().map(Ipv4Addr::from)
}

fn port(value: Value<'_>) -> Option<u16> {
    <[u8; 2]>::try_from(value.0).ok().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::attr::Messages;
    use super::*;

    fn tuple(message: &mut Message, kind: u16, source: [u8; 4], destination: [u8; 4], ports: [u16; 2]) {
        message.nest(kind, |tuple| {
            tuple.nest(CTA_TUPLE_IP, |ip| {
                ip.bytes(CTA_IP_V4_SRC, &source).bytes(CTA_IP_V4_DST, &destination);
            });
            tuple.nest(CTA_TUPLE_PROTO, |protocol| {
                protocol.u8(CTA_PROTO_NUM, 17);
                protocol.bytes(CTA_PROTO_SRC_PORT, &ports[0].to_be_bytes());
                protocol.bytes(CTA_PROTO_DST_PORT, &ports[1].to_be_bytes());
            });
        });
    }

    #[test]
    fn a_translated_connection_is_read_in_both_directions() {
        let mut message = Message::new(kind(IPCTNL_MSG_CT_NEW), 0, &IPV4);
        tuple(&mut message, CTA_TUPLE_ORIG, [192, 0, 2, 5], [192, 0, 2, 117], [4000, 53]);
        tuple(&mut message, CTA_TUPLE_REPLY, [198, 51, 100, 2], [192, 0, 2, 5], [5353, 4000]);
        message.u32(CTA_ID, 7);
        let bytes = message.finish(1).to_vec();
        let read = Connection::read(&Messages(&bytes).next().unwrap()).unwrap();
        assert_eq!(read.original.destination, "192.0.2.117:53".parse().unwrap());
        assert_eq!(read.reply.source, "198.51.100.2:5353".parse().unwrap());
        assert_eq!((read.reply.protocol, read.key.len()), (17, 2));
        for end in 0..bytes.len() {
            assert!(Messages(&bytes[..end]).next().is_none());
        }
    }
}
