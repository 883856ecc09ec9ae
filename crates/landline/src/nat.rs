//! `landline nat`, and Docker's containers as it sees them.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use landline_docker::DockerView;
use landline_model::NatOwner;
use landline_nat::{NatContainer, NatLease, NatRecord, NatSeen, NatView};
use landline_options::{Hostname, LanIp, NatPorts, PortsError};

use crate::cli::{NatAddOptions, NatCommand, NatOptions};
use crate::control::{Answer, Request, call};
use crate::listing::{Rows, list};
use crate::output::{CommandError, dash, say, show, table};

/// Why a command did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NatError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Ports(#[from] PortsError),
    #[error("{0:?} is not an address for a container; write one of the LAN, like 192.0.2.117/24, or dhcp")]
    Address(String),
    #[error(
        "say which container, which address, and on which NIC: landline nat web 192.0.2.117/24 --dev eth0"
    )]
    Incomplete,
}

/// Gives, takes or lists.
pub(crate) async fn run(options: NatOptions) -> Result<(), NatError> {
    match options.command {
        Some(NatCommand::Ls(options)) => {
            let answer = call(&options.control.control_socket, &Request::Nat).await;
            let Answer::Nat(views) = answer.map_err(CommandError::Call)? else {
                return Err(CommandError::Unexpected.into());
            };
            Ok(list(&views, Rows::named(&["container", "address"]), &options.list, |views| render(views))?)
        }
        Some(NatCommand::Rm { control, container }) => {
            let done = format!("{container} has no NAT address any more");
            match call(&control.control_socket, &Request::NatRemove { container }).await {
                Ok(Answer::Done) => {
                    say(format_args!("{done}"));
                    Ok(())
                }
                Ok(_) => Err(CommandError::Unexpected.into()),
                Err(error) => Err(CommandError::Call(error).into()),
            }
        }
        None => add(options.add).await,
    }
}

pub(crate) fn render(views: &[NatView]) -> String {
    let titles = ["CONTAINER", "NETWORK", "ADDRESS", "NIC", "INSIDE", "PORTS", "STATE"];
    table(titles, views.iter().map(row))
}

async fn add(options: NatAddOptions) -> Result<(), NatError> {
    let (Some(container), Some(address), Some(interface)) = (options.container, options.address, options.dev)
    else {
        return Err(NatError::Incomplete);
    };
    let lan_ip = read_address(&address).ok_or(NatError::Address(address))?;
    // The server is told a name if the container's is one.
    let hostname = container.replace('_', "-").parse::<Hostname>().ok().map(|name| name.to_string());
    let record = NatRecord::new(NatOwner::Container(container), lan_ip, interface);
    let record = Box::new(NatRecord {
        ports: NatPorts::read(&options.ports)?,
        open_firewall: options.open_firewall,
        dhcp: record.dhcp.map(|dhcp| NatLease { hostname, ..dhcp }),
        ..record
    });
    let answer = call(&options.control.control_socket, &Request::NatAdd { record }).await;
    let Answer::Nat(views) = answer.map_err(CommandError::Call)? else {
        return Err(CommandError::Unexpected.into());
    };
    for view in &views {
        show(view, false, |view| {
            let container = view.container.clone().unwrap_or_else(dash);
            let address = view.address.map_or_else(dash, |address| address.to_string());
            format!("{container} is {address} on {}: {}", view.interface, view.state)
        })?;
    }
    Ok(())
}

/// `dhcp`, or the address, whose network's length people like to write and which does not matter here.
fn read_address(text: &str) -> Option<LanIp> {
    if text.eq_ignore_ascii_case("dhcp") {
        return Some(LanIp::Dhcp);
    }
    let address = match text.parse::<Ipv4Net>() {
        Ok(net) => net.addr(),
        Err(_) => text.parse().ok()?,
    };
    let usable = !(address.octets()[0] == 0
        || address.is_loopback()
        || address.is_multicast()
        || address.octets()[0] >= 240);
    usable.then_some(LanIp::Static(address))
}

fn row(view: &NatView) -> [String; 7] {
    [
        view.container.clone().unwrap_or_else(dash),
        view.network.clone().unwrap_or_else(dash),
        view.address.map_or_else(dash, |address| address.to_string()),
        view.interface.to_string(),
        view.inside.map_or_else(dash, |inside| inside.to_string()),
        if view.ports.is_empty() { dash() } else { view.ports.join(" ") },
        view.state.to_string(),
    ]
}

/// The running containers on Docker's own bridges.
pub(crate) fn seen(view: &DockerView) -> NatSeen {
    let attached = view.attachments.iter().filter_map(|(endpoint, attachment)| {
        let network = view.networks.get(view.network_of(endpoint)?)?;
        let container = view.endpoints.get(endpoint)?;
        // Only those have the host as their router.
        network.bridge.as_ref()?;
        let address = attachment.addresses.iter().find_map(|address| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        })?;
        let subnets = network.subnets.iter().filter_map(|net| match net {
            IpNet::V4(v4) => Some(*v4),
            IpNet::V6(_) => None,
        });
        let (ports, sandbox) = (container.ports.clone(), container.sandbox.clone());
        let seen = NatContainer { address, subnets: subnets.collect(), ports, sandbox };
        Some((container.name.clone(), seen))
    });
    NatSeen { connected: view.connected, containers: attached.collect() }
}
