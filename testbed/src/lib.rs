//! A LAN in network namespaces with real DHCP servers and Docker hosts, for tests, benchmarks and the demo.

mod apt;
mod corpus;
mod engines;
mod error;
mod host;
mod lan;
mod node;
mod process;
mod scratch;
mod server;
mod vm;
mod wait;
mod wire;

pub use corpus::corpus;
pub use engines::{fetch_engines, unpacked_engines, upstream_version};
pub use error::{Error, Result};
pub use host::{Daemon, DockerHost, Dockerd, Engine, HostState, LOG_IN_DETAIL, OpenVswitch};
pub use lan::{BEYOND_V4, BEYOND_V6, FAR_V4, LAN_V4, LAN_V6, Lan, LanBuilder, PEER_V4, ROUTER_V4, ROUTER_V6};
pub use node::Node;
pub use process::{Output, Process, Signal, shell_words};
pub use scratch::{clean, kept_labs};
pub use server::{
    DhcpRelay, DhcpServer, Dhcpd, Dhcpd6, Dnsmasq, Kea, Kea6, LeaseRow, Ra, RaPrefix, Radvd, Reservation,
    Reservation6, ServerConfig, Udhcpd,
};
pub use vm::{SystemImage, SystemVm, Vm};
pub use wait::{Condition, wait_for};
pub use wire::{
    Arp, ArpAudit, Capture, DhcpAudit, DhcpKind, DhcpMessage, FakeServer, Frame, Purpose, Reply, Squatter,
    Squatting, Udp,
};
