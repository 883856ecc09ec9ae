//! `landline network create` and `rm`, through Docker's API.

use std::io;

use landline_docker::{NetworkError, create_network, remove_network};
use landline_kernel::Netlink;
use landline_links::blocking;

use super::propose::{Asked, HostSeen, ProposeError, propose};
use crate::cli::{CreateOptions, RemoveOptions};
use crate::output::say;

/// Why a network was not created or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    #[error("cannot look at the host's interfaces")]
    Look(#[source] io::Error),
    #[error(transparent)]
    Propose(#[from] ProposeError),
    #[error("cannot create network {name}")]
    Create {
        name: String,
        #[source]
        source: NetworkError,
    },
    #[error("cannot remove network {name}")]
    Remove {
        name: String,
        #[source]
        source: NetworkError,
    },
}

/// Prints the `docker network create` that the command stands for, and has Docker do it.
pub(super) async fn create(options: &CreateOptions) -> Result<(), CreateError> {
    let host = blocking(look).await.map_err(CreateError::Look)?;
    let asked = Asked {
        name: options.name.clone(),
        parent: options.parent.clone(),
        mode: options.mode.clone(),
        ipv6: options.ipv6,
        subnet: options.subnet,
        options: options.options.iter().cloned().collect(),
    };
    let proposal = propose(&asked, &host)?;
    say(format_args!("{}", proposal.command()));
    if options.dry_run {
        return Ok(());
    }
    let created = create_network(&options.docker.docker_host, &proposal.request()).await;
    let id = created.map_err(|source| CreateError::Create { name: options.name.clone(), source })?;
    say(format_args!("created network {} ({})", options.name, id.chars().take(12).collect::<String>()));
    Ok(())
}

/// Has Docker remove networks, one after the other.
pub(super) async fn remove(options: &RemoveOptions) -> Result<(), CreateError> {
    for name in &options.networks {
        let removed = remove_network(&options.docker.docker_host, name).await;
        removed.map_err(|source| CreateError::Remove { name: name.clone(), source })?;
        say(format_args!("removed network {name}"));
    }
    Ok(())
}

fn look() -> io::Result<HostSeen> {
    let mut netlink = Netlink::open()?;
    let links = netlink.links().map_err(io::Error::other)?;
    let routes = netlink.routes().map_err(io::Error::other)?;
    Ok(HostSeen { links, routes, addresses: netlink.addresses().map_err(io::Error::other)? })
}
