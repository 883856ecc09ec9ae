//! Real DHCP servers and IPv6 routers on a machine of the lab: one running server, whatever its make.

mod dhcpd;
mod dhcpd6;
mod dnsmasq;
mod kea;
mod kea6;
mod radvd;
mod relay;
mod udhcpd;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub use dhcpd::Dhcpd;
pub use dhcpd6::Dhcpd6;
pub use dnsmasq::{Dnsmasq, Ra};
pub use kea::Kea;
pub use kea6::Kea6;
pub use radvd::{RaPrefix, Radvd};
pub use relay::DhcpRelay;
pub use udhcpd::Udhcpd;

use crate::error::{Error, Result};
use crate::lan::Lan;
use crate::node::Node;
use crate::process::{Process, Signal, last_lines};

/// A reservation: this MAC always gets this address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// `aa:bb:cc:dd:ee:ff`
    pub mac: String,
    /// The address, which may lie outside the pool.
    pub ip: String,
    /// A name for the server to hand out as option 12.
    pub hostname: Option<String>,
}

impl Reservation {
    /// A reservation without a name.
    pub fn new(mac: impl Into<String>, ip: impl Into<String>) -> Self {
        Self { mac: mac.into(), ip: ip.into(), hostname: None }
    }
}

/// A reservation of a `DHCPv6` server: this client always gets this address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation6 {
    /// The client's DUID in hex with colons.
    pub duid: String,
    /// The address, which may lie outside the pool.
    pub ip: String,
}

/// One lease as the server's own file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// The client's MAC, lower case; empty for a `DHCPv6` lease.
    pub mac: String,
    /// The leased address.
    pub ip: IpAddr,
    /// The name the client gave, if any.
    pub hostname: Option<String>,
    /// The client identifier or DUID in hex with colons, if any.
    pub client_id: Option<String>,
    /// Which of the client's addresses it is; of a `DHCPv6` lease only.
    pub iaid: Option<u32>,
    /// When it ends, in seconds since 1970.
    pub expiry: u64,
}

/// How to run one make of server: made by [`Dnsmasq`], [`Kea`], [`Radvd`] and the others.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(&'static str, String)>,
    /// What it says when it can answer.
    pub(crate) ready: &'static str,
    pub(crate) lease_files: Vec<PathBuf>,
    pub(crate) parse: fn(&[u8]) -> Vec<LeaseRow>,
}

/// What can be run as a DHCP server.
pub trait ServerConfig {
    /// Writes what the server needs into the directory and says how to start it.
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "only this crate's servers implement it")]
    fn prepare(&self, dir: &std::path::Path) -> Result<Launch>;
}

/// A running (or stopped) DHCP server. It is ended when this value is dropped.
#[derive(Debug)]
pub struct DhcpServer {
    node: Node,
    dir: PathBuf,
    launch: Launch,
    process: Option<Process>,
    earlier_log: String,
}

impl DhcpServer {
    fn new(node: &Node, config: &(impl ServerConfig + ?Sized)) -> Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let dir = node.dir().join(format!("dhcp-{}", COUNTER.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&dir).map_err(Error::file("cannot make", &dir))?;
        let launch = config.prepare(&dir)?;
        let mut server = Self { node: node.clone(), dir, launch, process: None, earlier_log: String::new() };
        server.start()?;
        Ok(server)
    }

    /// Starts it with the leases it had; nothing happens if it is running. Returns when it can answer.
    ///
    /// # Errors
    /// If it ends again at once or is not ready within ten seconds.
    pub fn start(&mut self) -> Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let mut command = self.node.command(&self.launch.argv);
        command.envs(self.launch.env.iter().map(|(key, value)| (key, value)));
        let mut process = self.node.spawn_command(command, self.launch.argv.join(" "))?;
        process.wait_for_text(self.launch.ready, Duration::from_secs(10))?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it (SIGTERM) and waits until it is gone; nothing happens if it is not running. Leases stay.
    ///
    /// # Errors
    /// If it does not end within ten seconds.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            if process.try_status().is_none() {
                process.signal(Signal::TERM)?;
                process.wait_within(Duration::from_secs(10))?;
            }
            self.earlier_log += &log_of(&process);
        }
        Ok(())
    }

    /// Forgets every lease, as a server does that was reinstalled; it runs again afterwards if it did before.
    ///
    /// # Errors
    /// As [`DhcpServer::stop`] and [`DhcpServer::start`].
    pub fn forget_leases(&mut self) -> Result<()> {
        let running = self.process.is_some();
        self.stop()?;
        for file in &self.launch.lease_files {
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::file("cannot remove", file)(error));
                }
                _ => {}
            }
        }
        if running { self.start() } else { Ok(()) }
    }

    /// Restarts it as another configuration of the same make; its leases stay as far as the new pool allows.
    ///
    /// # Errors
    /// As [`DhcpServer::stop`] and [`DhcpServer::start`].
    pub fn reconfigure(&mut self, config: &(impl ServerConfig + ?Sized)) -> Result<()> {
        self.stop()?;
        self.launch = config.prepare(&self.dir)?;
        self.start()
    }

    /// Its pid, seen from outside; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::pid)
    }

    /// The machine it runs on.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Everything it has logged since it was first started.
    pub fn log(&self) -> String {
        let now = self.process.as_ref().map(log_of).unwrap_or_default();
        format!("{}{now}", self.earlier_log)
    }

    /// Its leases as they are on disk, the newest row of each address.
    pub fn leases(&self) -> Vec<LeaseRow> {
        let files = self.launch.lease_files.iter().filter_map(|file| std::fs::read(file).ok());
        files.flat_map(|bytes| (self.launch.parse)(&bytes)).collect()
    }

    /// The lease of a MAC (in any case), if it has one.
    pub fn lease_of(&self, mac: &str) -> Option<LeaseRow> {
        self.leases().into_iter().find(|row| row.mac.eq_ignore_ascii_case(mac))
    }

    /// The leases of a client identifier or DUID (hex with colons, in any case).
    pub fn leases_of_client(&self, client_id: &str) -> Vec<LeaseRow> {
        let same =
            |row: &LeaseRow| row.client_id.as_deref().is_some_and(|id| id.eq_ignore_ascii_case(client_id));
        self.leases().into_iter().filter(same).collect()
    }

    /// The lease of an address, if somebody has it.
    pub fn lease_at(&self, address: impl Into<IpAddr>) -> Option<LeaseRow> {
        let address = address.into();
        self.leases().into_iter().find(|row| row.ip == address)
    }

    /// The last lines of its log, for the message of a failed assertion.
    pub fn log_tail(&self) -> String {
        last_lines(&self.log(), 30)
    }
}

/// Octets in hex with colons.
fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
}

fn log_of(process: &Process) -> String {
    format!("{}{}", process.stdout(), process.stderr())
}

impl Lan {
    /// A dnsmasq in the router.
    ///
    /// # Errors
    /// If it does not come up; the message shows what it said.
    #[expect(clippy::needless_pass_by_value, reason = "it is made for this call")]
    pub fn dnsmasq(&self, config: Dnsmasq) -> Result<DhcpServer> {
        self.server_on(self.router(), &config)
    }

    /// A kea-dhcp4 in the router.
    ///
    /// # Errors
    /// If it does not come up; the message shows what it said.
    #[expect(clippy::needless_pass_by_value, reason = "it is made for this call")]
    pub fn kea(&self, config: Kea) -> Result<DhcpServer> {
        self.server_on(self.router(), &config)
    }

    /// A DHCP server on any machine of the LAN: a second one, say.
    ///
    /// # Errors
    /// If it does not come up; the message shows what it said.
    pub fn server_on(&self, node: &Node, config: &(impl ServerConfig + ?Sized)) -> Result<DhcpServer> {
        DhcpServer::new(node, config)
    }
}
