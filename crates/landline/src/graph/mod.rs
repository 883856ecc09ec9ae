//! `landline graph`: the LAN as Landline sees it, as a picture.
//!
//! The daemon answers with what there is ([`GraphView`]); everything from there on is a pure function: `tree` says what is connected
//! to what, and a file for each format draws that.

mod dot;
mod look;
mod mermaid;
mod svg;
mod text;
mod tree;

use std::net::IpAddr;

use ipnet::IpNet;
use landline_engine::EndpointView;
use landline_host_access::AccessView;
use landline_nat::NatView;
use serde::{Deserialize, Serialize};

use crate::cli::{GraphFormat, GraphOptions};
use crate::control::{Answer, Request, call};
use crate::output::{CommandError, page, shown};

pub(crate) use look::look;
use tree::tree;

/// What there is to draw.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct GraphView {
    /// The host's name.
    pub(crate) host: String,
    /// Those of the host's links that networks use, and those that these are on.
    pub(crate) links: Vec<GraphLink>,
    /// All networks, those of attachments included.
    pub(crate) networks: Vec<GraphNetwork>,
    /// The interfaces of containers.
    pub(crate) endpoints: Vec<EndpointView>,
    /// Addresses on the host that stand for containers.
    pub(crate) nat: Vec<NatView>,
    /// Networks that the host has access to.
    pub(crate) host_access: Vec<AccessView>,
}

/// A link of the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GraphLink {
    /// Its name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: GraphKind,
    /// Whether it is on, and carries packets.
    pub(crate) up: bool,
    /// Whether it has a carrier.
    pub(crate) running: bool,
    /// The link by which its packets get onto the LAN: a bridge's NIC, or the one that a VLAN is of.
    pub(crate) on: Option<String>,
    /// Its addresses, without link-local ones.
    pub(crate) addresses: Vec<IpNet>,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GraphKind {
    /// The host.
    Host,
    /// A network card, or what stands for one.
    Nic,
    /// A Linux bridge.
    Bridge,
    /// A VLAN of another link.
    Vlan,
    /// A bridge of Open vSwitch.
    Switch,
    /// A network.
    Network,
    /// A container's interface.
    Container,
    /// An address of the host's that stands for a container.
    Nat,
    /// The host's own interface to containers.
    Shim,
}

impl GraphKind {
    /// What people call it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Nic => "NIC",
            Self::Bridge => "bridge",
            Self::Vlan => "VLAN",
            Self::Switch => "switch",
            Self::Network => "network",
            Self::Container => "container",
            Self::Nat => "NAT",
            Self::Shim => "host access",
        }
    }
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GraphNetwork {
    /// Docker's id.
    pub(crate) id: String,
    /// Its name; `None`: it is that of an attachment.
    pub(crate) name: Option<String>,
    /// The link kind.
    pub(crate) mode: String,
    /// The link that its containers are on.
    pub(crate) parent: String,
    /// The VLAN that they are in.
    pub(crate) vlan: Option<u16>,
}

/// Prints the picture.
pub(crate) async fn run(options: &GraphOptions) -> Result<(), CommandError> {
    let Answer::Graph(view) = call(&options.control.control_socket, &Request::Graph).await? else {
        return Err(CommandError::Unexpected);
    };
    page(draw(&view, options.format)?.as_bytes()).map_err(CommandError::Print)
}

/// The picture as text. Texts of others in it are escaped.
pub(crate) fn draw(view: &GraphView, format: GraphFormat) -> Result<String, CommandError> {
    let tree = tree(&shown(view).map_err(CommandError::Json)?);
    Ok(match format {
        GraphFormat::Tree => text::draw(&tree),
        GraphFormat::Mermaid => mermaid::draw(&tree),
        GraphFormat::Dot => dot::draw(&tree),
        GraphFormat::Svg => svg::draw(&tree),
    })
}

/// Whether an address is one that neighbours only can reach.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests;
