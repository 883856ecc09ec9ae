//! The client's messages: which fields and options each carries (RFC 2131 tables 4 and 5).

use std::net::Ipv4Addr;

use super::config::Config;
use super::exchange::Exchange;
use crate::wire::dhcpv4::{MessageType, Repr, code};
use crate::wire::names;

/// What a client would like to know. RFC 3442 wants classless routes before routers.
const PARAMETERS: [u8; 14] = [
    code::CLASSLESS_ROUTES,
    code::SUBNET_MASK,
    code::ROUTERS,
    code::STATIC_ROUTES,
    code::DNS,
    code::DOMAIN_NAME,
    code::DOMAIN_SEARCH,
    code::MTU,
    code::BROADCAST,
    code::NTP,
    code::LEASE_TIME,
    code::RENEWAL_TIME,
    code::REBINDING_TIME,
    code::MS_CLASSLESS_ROUTES,
];

/// The longest answer: one packet on any link containers have, tunnels included. Fragments are not received.
const MAX_MESSAGE_SIZE: u16 = 1400;

/// Looks for servers.
pub(super) fn discover(config: &Config, exchange: &Exchange, requested: Option<Ipv4Addr>) -> Repr {
    let mut message = question(config, exchange, MessageType::Discover);
    message.broadcast = config.broadcast;
    if let Some(address) = requested {
        message.options.append(code::REQUESTED_ADDRESS, &address.octets());
    }
    if config.rapid_commit {
        message.options.append(code::RAPID_COMMIT, &[]);
    }
    message
}

/// Takes an offer (SELECTING): says whose and which.
pub(super) fn take(config: &Config, exchange: &Exchange, address: Ipv4Addr, server: Ipv4Addr) -> Repr {
    let mut message = question(config, exchange, MessageType::Request);
    message.broadcast = config.broadcast;
    message.options.append(code::REQUESTED_ADDRESS, &address.octets());
    message.options.append(code::SERVER_ID, &server.octets());
    message
}

/// Asks for a remembered address (INIT-REBOOT): says which, must not say whose.
pub(super) fn reboot(config: &Config, exchange: &Exchange, address: Ipv4Addr) -> Repr {
    let mut message = question(config, exchange, MessageType::Request);
    message.broadcast = config.broadcast;
    message.options.append(code::REQUESTED_ADDRESS, &address.octets());
    message
}

/// Asks for more time (RENEWING, REBINDING): the address is the client's, and neither option may be there. Answers
/// come to the address, so they need not be broadcast.
pub(super) fn extend(config: &Config, exchange: &Exchange, address: Ipv4Addr) -> Repr {
    let mut message = question(config, exchange, MessageType::Request);
    message.ciaddr = address;
    message
}

/// Tells the server that somebody else uses the address.
pub(super) fn decline(config: &Config, xid: u32, address: Ipv4Addr, server: Ipv4Addr) -> Repr {
    let mut message = identified(config, xid, MessageType::Decline);
    message.options.append(code::REQUESTED_ADDRESS, &address.octets());
    message.options.append(code::SERVER_ID, &server.octets());
    message
}

/// Gives the address back.
pub(super) fn release(config: &Config, xid: u32, address: Ipv4Addr, server: Ipv4Addr) -> Repr {
    let mut message = identified(config, xid, MessageType::Release);
    message.ciaddr = address;
    message.options.append(code::SERVER_ID, &server.octets());
    message
}

fn identified(config: &Config, xid: u32, kind: MessageType) -> Repr {
    let mut message = Repr::from_client(kind, xid, config.mac);
    if let Some(id) = &config.client_id {
        message.options.append(code::CLIENT_ID, id.as_bytes());
    }
    message
}

/// A message that wants an answer, with all that the client says about itself.
fn question(config: &Config, exchange: &Exchange, kind: MessageType) -> Repr {
    let mut message = identified(config, exchange.xid, kind);
    message.secs = exchange.secs;
    message.options.append(code::MAX_MESSAGE_SIZE, &MAX_MESSAGE_SIZE.to_be_bytes());
    if let Some(name) = config.hostname.as_deref().filter(|name| names::is_name(name)) {
        // A message with a Client FQDN must not have a host name as well (RFC 4702 section 3.1).
        match &config.fqdn {
            Some(fqdn) => message.options.append(code::CLIENT_FQDN, &fqdn.option(name)),
            None => message.options.append(code::HOST_NAME, name.as_bytes()),
        }
    }
    if let Some(class) = octets(config.vendor_class.as_deref(), 255) {
        message.options.append(code::VENDOR_CLASS, class);
    }
    if let Some((class, length)) =
        octets(config.user_class.as_deref(), 254).and_then(|c| Some((c, u8::try_from(c.len()).ok()?)))
    {
        message.options.append(code::USER_CLASS, &[length]);
        message.options.append(code::USER_CLASS, class);
    }
    message.options.append(code::PARAMETER_LIST, &PARAMETERS);
    message
}

/// The first `most` octets of a text that has any.
fn octets(text: Option<&str>, most: usize) -> Option<&[u8]> {
    let bytes = text?.as_bytes();
    let bytes = bytes.get(..most).unwrap_or(bytes);
    (!bytes.is_empty()).then_some(bytes)
}
