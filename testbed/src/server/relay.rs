//! A DHCP relay (`dnsmasq --dhcp-relay`): carries what clients say to a server elsewhere, and the answers back.

use std::path::Path;

use super::{Launch, ServerConfig};
use crate::error::Result;
use crate::lan::{FAR_V4, ROUTER_V4};

/// A relay on the router, between the LAN and the machine of [`Lan::add_far_node`](crate::Lan::add_far_node).
#[derive(Debug, Clone)]
pub struct DhcpRelay {
    /// Its address on the LAN: what it puts into `giaddr`.
    pub address: String,
    /// The server.
    pub server: String,
}

impl Default for DhcpRelay {
    fn default() -> Self {
        Self { address: ROUTER_V4.to_owned(), server: FAR_V4.to_owned() }
    }
}

impl ServerConfig for DhcpRelay {
    #[expect(private_interfaces, reason = "only this crate's servers implement it")]
    fn prepare(&self, dir: &Path) -> Result<Launch> {
        let Self { address, server } = self;
        let argv = [
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--user=root",
            "--port=0",
            "--log-dhcp",
            "--log-facility=-",
            &format!("--dhcp-relay={address},{server}"),
            &format!("--pid-file={}", dir.join("pid").display()),
        ];
        Ok(Launch {
            argv: argv.map(str::to_owned).to_vec(),
            env: Vec::new(),
            ready: "DHCP relay from",
            lease_files: Vec::new(),
            parse: |_| Vec::new(),
        })
    }
}
