//! Why something did not work.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::framing::FramingError;
use crate::value::clean;

/// Why the switch could not be asked, or did not do what it was asked. What the server says is cut to one short line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody listens there.
    #[error("cannot reach Open vSwitch at {path}; is it running (systemctl status openvswitch-switch)?")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to Open vSwitch's database broke")]
    Io(#[from] io::Error),
    /// The server ended it.
    #[error("Open vSwitch's database closed the connection")]
    Closed,
    /// It does not speak RFC 7047.
    #[error("Open vSwitch's database sent what cannot be understood")]
    Framing(#[from] FramingError),
    /// It does not answer as RFC 7047 wants.
    #[error("Open vSwitch's database sent what cannot be understood: {0}")]
    Nonsense(&'static str),
    /// It did not answer.
    #[error("Open vSwitch's database did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// It refused.
    #[error("Open vSwitch's database refused: {0}")]
    Refused(String),
    /// There is no such bridge.
    #[error("Open vSwitch has no bridge {name}; {}", others(.there))]
    NoBridge {
        /// What was asked for.
        name: String,
        /// What there is.
        there: Vec<String>,
    },
    /// There is such a bridge, and it is somebody else's.
    #[error("Open vSwitch has a bridge {0} already")]
    BridgeExists(String),
    /// There is such a port, and it is somebody else's.
    #[error("Open vSwitch has a port {0} already that others made; it is left as it is")]
    PortExists(String),
    /// The database has it, and nobody carries it out.
    #[error(
        "ovs-vswitchd did not carry out the change within {} s; is it running \
         (systemctl status openvswitch-switch)?", .0.as_secs()
    )]
    NotApplied(Duration),
    /// The bridge does not work.
    #[error(
        "the bridge {0} has no datapath: the kernel module openvswitch is missing or was refused; \
         load it (modprobe openvswitch), or set datapath_type=netdev on the bridge"
    )]
    NoDatapath(String),
    /// The port does not work.
    #[error("Open vSwitch did not take the port {port}: {why}")]
    Port {
        /// Its name.
        port: String,
        /// What the switch says.
        why: String,
    },
}

/// How many bridges a message names.
const MOST: usize = 20;

fn others(there: &[String]) -> String {
    match there {
        [] => "make one: ovs-vsctl add-br NAME".into(),
        there => {
            let some = there.iter().take(MOST).map(|name| clean(name)).collect::<Vec<_>>().join(", ");
            let more = if there.len() > MOST { ", ..." } else { "" };
            format!("it has {some}{more}")
        }
    }
}
