//! The client's messages: which options each carries (RFC 9915 sections 18.2 and appendix B).

use std::net::Ipv6Addr;

use super::exchange::Exchange;
use crate::time::Instant;
use crate::v6::config::Config;
use crate::wire::dhcpv6::{Duid, IaNa, Message, MessageType, code};
use crate::wire::{labels, names};

/// "The server should put my address into the DNS" (RFC 4704 section 4.1, flag S).
const FQDN_SERVER_UPDATES: u8 = 1;

/// Looks for servers.
pub(super) fn solicit(config: &Config, exchange: &Exchange, now: Instant, requested: &[Ipv6Addr]) -> Message {
    let mut message = question(config, exchange, now, MessageType::Solicit, None);
    push_association(config, &mut message, requested);
    if config.rapid_commit {
        message.options.push(code::RAPID_COMMIT, &[]);
    }
    push_requested_options(config, &mut message);
    message
}

/// Takes an offer, or asks a server for an association it has forgotten.
pub(super) fn request(
    config: &Config,
    exchange: &Exchange,
    now: Instant,
    server: &Duid,
    addresses: &[Ipv6Addr],
) -> Message {
    let mut message = question(config, exchange, now, MessageType::Request, Some(server));
    push_association(config, &mut message, addresses);
    push_requested_options(config, &mut message);
    message
}

/// Asks for more time: its server, or any.
pub(super) fn extend(
    config: &Config,
    exchange: &Exchange,
    now: Instant,
    server: Option<&Duid>,
    addresses: &[Ipv6Addr],
) -> Message {
    let kind = if server.is_some() { MessageType::Renew } else { MessageType::Rebind };
    let mut message = question(config, exchange, now, kind, server);
    push_association(config, &mut message, addresses);
    push_requested_options(config, &mut message);
    message
}

/// Asks whether addresses are of this link.
pub(super) fn confirm(config: &Config, exchange: &Exchange, now: Instant, addresses: &[Ipv6Addr]) -> Message {
    let mut message = question(config, exchange, now, MessageType::Confirm, None);
    push_association(config, &mut message, addresses);
    message
}

/// Gives addresses back, or says that somebody else has them.
pub(super) fn give_back(
    config: &Config,
    exchange: &Exchange,
    now: Instant,
    kind: MessageType,
    server: &Duid,
    addresses: &[Ipv6Addr],
) -> Message {
    let mut message = question(config, exchange, now, kind, Some(server));
    push_association(config, &mut message, addresses);
    message
}

/// Asks for parameters only.
pub(super) fn inform(config: &Config, exchange: &Exchange, now: Instant) -> Message {
    let mut message = question(config, exchange, now, MessageType::InformationRequest, None);
    push_list(&mut message, &[code::DNS, code::DOMAIN_SEARCH, code::INFORMATION_REFRESH, code::INF_MAX_RT]);
    push_user_class(config, &mut message);
    message
}

fn question(
    config: &Config,
    exchange: &Exchange,
    now: Instant,
    kind: MessageType,
    server: Option<&Duid>,
) -> Message {
    let mut message = Message::new(kind, exchange.xid);
    message.options.push(code::CLIENT_ID, config.duid.as_bytes());
    if let Some(server) = server {
        message.options.push(code::SERVER_ID, server.as_bytes());
    }
    message.options.push(code::ELAPSED_TIME, &exchange.elapsed(now).to_be_bytes());
    message
}

fn push_association(config: &Config, message: &mut Message, addresses: &[Ipv6Addr]) {
    let association = IaNa::asking(config.iaid, addresses.iter().copied());
    message.options.push(code::IA_NA, &association.value());
}

fn push_requested_options(config: &Config, message: &mut Message) {
    let mut codes = vec![code::DNS, code::DOMAIN_SEARCH, code::SOL_MAX_RT, code::INF_MAX_RT];
    if let Some(name) = config.hostname.as_deref().filter(|name| names::is_name(name)) {
        // A name without a domain is given as the beginning of one that the server completes.
        let labels = if name.contains('.') { labels::encode(name) } else { labels::encode_partial(name) };
        message.options.push(code::CLIENT_FQDN, &[&[FQDN_SERVER_UPDATES][..], &labels].concat());
        codes.push(code::CLIENT_FQDN);
    }
    push_list(message, &codes);
    push_user_class(config, message);
}

fn push_list(message: &mut Message, codes: &[u16]) {
    let value: Vec<u8> = codes.iter().flat_map(|code| code.to_be_bytes()).collect();
    message.options.push(code::OPTION_REQUEST, &value);
}

fn push_user_class(config: &Config, message: &mut Message) {
    let class = config.user_class.as_deref().filter(|class| !class.is_empty());
    if let Some((class, len)) = class.and_then(|class| Some((class, u16::try_from(class.len()).ok()?))) {
        message.options.push(code::USER_CLASS, &[&len.to_be_bytes()[..], class.as_bytes()].concat());
    }
}
