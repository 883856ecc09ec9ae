//! Why an endpoint was not created.

use std::net::Ipv4Addr;
use std::time::Duration;

use landline_leases::addressing::permit::NotPermitted;
use landline_links::network::NetworkLinksError;
use landline_links::{HostError, ParentError};
use landline_options::{Mode, NetworkId};
use landline_store::StoreError;
use landline_types::{IfName, Mac};

use crate::admission::Refusal;

/// Why an endpoint was not created. The text is what `docker run` prints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateEndpointError {
    /// The network is not ours.
    #[error("Landline does not know the network {}; remove it and create it again", .0.short())]
    UnknownNetwork(NetworkId),
    /// The hardware address is none.
    #[error(
        "{0} stands for no hardware address; leave out --mac-address, or give one whose second digit is 2, 6, a or e"
    )]
    ZeroMac(Mac),
    /// The hardware address cannot be used.
    #[error(
        "{0} is a group address, which no interface can have; give one whose second digit is 2, 6, a or e"
    )]
    BadMac(Mac),
    /// A hardware address that is in use already.
    #[error(
        "{mac} is the hardware address of {user} on {parent}, and two with the same one cannot both be reached; \
         give each container its own"
    )]
    MacInUse {
        /// What was asked for.
        mac: Mac,
        /// Who has it.
        user: String,
        /// Where.
        parent: IfName,
    },
    /// The container's derived identity is in use on another host.
    #[error(
        "network {network}: another host uses the identity that is derived for this container: its hardware address {mac} answers for \
         {address} on {parent}; stop the container there, give one of the two a landline.id of its own, or create the network \
         with -o on_duplicate=fresh"
    )]
    Duplicate {
        /// The network.
        network: String,
        /// The hardware address that both have.
        mac: Mac,
        /// The address that the other one has.
        address: Ipv4Addr,
        /// Where it was heard.
        parent: IfName,
    },
    /// A hardware address where containers cannot have one of their own.
    #[error(
        "a container on an ipvlan network has the hardware address of {parent}; leave out --mac-address \
         (a server knows the container by its client identifier: -o client_id), or use -o mode=macvlan"
    )]
    MacIsParents {
        /// The parent.
        parent: IfName,
    },
    /// The address that was given cannot be used.
    #[error("network {network}: {why}; {hint}")]
    NotPermitted {
        /// The network.
        network: String,
        /// What is in the way.
        why: NotPermitted,
        /// What to do.
        hint: &'static str,
    },
    /// No lease in time of an address that can be used.
    #[error("network {network}: no usable lease on {parent} within {}: {why}; {hint}", seconds(*.waited))]
    NoUsableLease {
        /// The network.
        network: String,
        /// The parent.
        parent: IfName,
        /// What is wrong with those that servers gave.
        why: String,
        /// How long was waited.
        waited: Duration,
        /// What to do.
        hint: &'static str,
    },
    /// Another machine on the LAN has the address that was given.
    #[error(
        "network {network}: {address} is in use on the LAN by {by}; name another one with --ip, keep the addresses that \
         Docker gives (--ip-range) apart from those of other machines, or use -o conflict_check=off"
    )]
    InUse {
        /// The network.
        network: String,
        /// The address.
        address: Ipv4Addr,
        /// Who has it.
        by: Mac,
    },
    /// One machine answers for every address of the LAN.
    #[error(
        "network {network}: {by} answers for every address on the LAN, {address} among them; if that is a router that does \
         proxy ARP, switch it off for this LAN, or use -o conflict_check=off"
    )]
    ProxyArp {
        /// The network.
        network: String,
        /// The address.
        address: Ipv4Addr,
        /// Who answers.
        by: Mac,
    },
    /// `addressing=static` without an address.
    #[error("network {network} has addressing=static, but Docker gave no address")]
    NoAddress {
        /// The network.
        network: String,
    },
    /// The client identifier cannot be used.
    #[error("the client identifier of network {network} cannot be used")]
    ClientId {
        /// The network.
        network: String,
        /// What is wrong with it.
        #[source]
        source: landline_options::ClientIdError,
    },
    /// The parent has changed since the network was created.
    #[error("network {network} has no usable parent")]
    Parent {
        /// The network.
        network: String,
        /// What is wrong with it now.
        #[source]
        source: ParentError,
    },
    /// What the network needs on the host is not there.
    #[error("network {network} has lost its connection")]
    NetworkLinks {
        /// The network.
        network: String,
        /// What is wrong.
        #[source]
        source: NetworkLinksError,
    },
    /// The link could not be made.
    #[error("cannot make the link on {parent}")]
    Link {
        /// The parent.
        parent: IfName,
        /// What the kernel said.
        #[source]
        source: HostError,
    },
    /// No lease in time.
    #[error("network {network}: {why} on {parent} within {}{}; {hint}", seconds(*.waited), after(*.held, .parent))]
    NoLease {
        /// The network.
        network: String,
        /// The parent.
        parent: IfName,
        /// How far the exchange got.
        why: Box<str>,
        /// How long was waited.
        waited: Duration,
        /// How long the parent had forwarded nothing for the container before, because of its spanning tree.
        held: Duration,
        /// What to look at.
        hint: Box<str>,
    },
    /// The bridge forwards nothing for the container.
    #[error("network {network}: {held}, so no packet of the container got through within {}; {remedy}", seconds(*.waited))]
    HeldBack {
        /// The network.
        network: String,
        /// What holds it back.
        held: String,
        /// How long was waited.
        waited: Duration,
        /// What to do about it.
        remedy: String,
    },
    /// The server gave another address than the user wanted.
    #[error(
        "the DHCP server gave {given} instead of {wanted}; reserve {wanted} for {mac} at the server, or leave out --ip"
    )]
    OtherAddress {
        /// What the user wanted.
        wanted: Ipv4Addr,
        /// What the server gave.
        given: Ipv4Addr,
        /// The container's hardware address.
        mac: Mac,
    },
    /// It was said after the address was leased.
    #[error(
        "before Docker 29, {option} cannot be used on a network with the IPAM driver landline, because Docker requests the \
         address before it passes the option on; use a network with --ipam-driver null"
    )]
    TooLate {
        /// The option.
        option: &'static str,
    },
    /// It was not known yet when the address was leased, though Docker says which container that is for.
    #[error(
        "Docker said {option} of {name} only after the address was leased, because the container was just created; start it \
         again: docker start {name}"
    )]
    TooLateOnce {
        /// The option.
        option: &'static str,
        /// The container.
        name: String,
    },
    /// It was said after the address was leased.
    #[error(
        "before Docker 29, --mac-address {mac} cannot be used on a network with the IPAM driver landline, because Docker \
         requests the address ({address}) before it passes the hardware address on; leave out --mac-address, or use a network \
         with --ipam-driver null"
    )]
    MacTooLate {
        /// What was asked for.
        mac: Mac,
        /// The address that was leased.
        address: Ipv4Addr,
    },
    /// An address of the LAN for a network that has nothing to do with that.
    #[error("network {network} has mode={mode}; {option} has a meaning only with mode=nat, leave it out")]
    NotTranslated {
        /// The network.
        network: String,
        /// How its wire runs.
        mode: Mode,
        /// What was given.
        option: &'static str,
    },
    /// There is no address on the LAN for it.
    #[error("network {network} has no address on the LAN for the container")]
    LanIp {
        /// The network.
        network: String,
        /// Why.
        #[source]
        source: Refusal,
    },
    /// A feature does not admit it for now, because it cannot be told which container it is.
    #[error(transparent)]
    Unsure(Refusal),
    /// It could not be stored.
    #[error("cannot store the endpoint")]
    Store(#[source] StoreError),
    /// Whoever asked has gone.
    #[error("the request was given up")]
    Cancelled,
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

fn after(held: Duration, parent: &IfName) -> String {
    if held < Duration::from_secs(1) {
        return String::new();
    }
    let held = held.as_secs();
    format!(" (after {held} s in which the spanning tree of {parent} let no packet of the container through)")
}
