//! The control socket: one JSON request a line, one JSON answer a line, over a unix socket that only root can use.

mod access;
mod client;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use landline_attach::AttachmentView;
use landline_doctor::Report;
use landline_engine::{
    Awaited, EndpointView, IdentityExport, IdentityView, Imported, NetworkView, Reservation,
};
use landline_host_access::AccessView;
use landline_model::{RuntimeApi, RuntimeFailure, RuntimeInterface, RuntimeOwner};
use landline_nat::{NatRecord, NatView};
use landline_options::{AccessRequest, Attach, AttachSpec, Change, Target};
use landline_types::IfName;
use landline_uplink::HostLease;
use serde::{Deserialize, Serialize};

use crate::alike::Alike;
use crate::attach::{AttachRow, Where};
use crate::connections::DroppedConnection;
use crate::events::Events;
use crate::graph::GraphView;
use crate::inspect::Inspected;
use crate::network::{NetworkDetail, NetworkRow};
use crate::status::Status;
use crate::trace::Message;
pub(crate) use access::{Peer, follow_group};
pub(crate) use client::{CallError, call};
pub(crate) use server::{Context, serve};

/// The longest request or answer, in bytes; room for some ten thousand endpoints.
pub(crate) const MAX_LINE: u64 = 16 << 20;

/// What the daemon can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub(crate) enum Request {
    /// What there is.
    Ls,
    /// How the daemon is.
    Status,
    /// What Prometheus reads.
    Metrics,
    /// What there is to draw.
    Graph,
    /// What happened.
    Events {
        /// Leave out what was known at this revision; `None`: nothing.
        after: Option<u64>,
        /// Answer when there is something.
        follow: bool,
    },
    /// Answer when a container has its addresses.
    Wait {
        /// Its name or id, or what something was attached to.
        target: String,
        /// What it is to have.
        awaited: Awaited,
        /// How long that may take.
        timeout: Option<Duration>,
    },
    /// What is remembered of containers.
    Identities,
    /// Who a container is on a network, whether it has run or not.
    IdentityOf {
        /// Its key (`landline.id`) or its name.
        name: String,
        /// The network's name or id.
        network: String,
    },
    /// The site key.
    SiteKey,
    /// Replace the site key.
    SetSiteKey {
        /// As it was printed on another host.
        key: String,
    },
    /// All identities, for another host.
    ExportIdentities,
    /// Take over another host's.
    ImportIdentities {
        /// As they were exported there.
        export: Box<IdentityExport>,
    },
    /// What a container's interfaces said on the LAN, and heard.
    Trace {
        /// Its name or id, or what something was attached to.
        target: String,
        /// Leave out the messages up to this number.
        after: u64,
        /// Answer when there is one.
        follow: bool,
    },
    /// Everything about some endpoints.
    Inspect {
        /// A container, a network or an endpoint.
        target: String,
    },
    /// Renew a container's leases now.
    Renew {
        /// Its name or id.
        container: String,
        /// On this network only.
        network: Option<String>,
    },
    /// Give a container's leases back.
    Release {
        /// Its name or id.
        container: String,
        /// On this network only.
        network: Option<String>,
    },
    /// Forget an identity.
    Forget {
        /// Its id or its key.
        id: String,
    },
    /// Renew an address of the host's.
    KeepHostLease(HostLease),
    /// Leave it to somebody else.
    DropHostLease {
        /// The interface it is on.
        interface: IfName,
    },
    /// Which networks there are, and whether Docker has them.
    Networks,
    /// Everything about one.
    InspectNetwork {
        /// Its name or id.
        network: String,
    },
    /// Forget one that Docker does not have.
    ForgetNetwork {
        /// Its name or id.
        network: String,
    },
    /// Which containers have an address on the host.
    Nat,
    /// Give one to a container.
    NatAdd {
        /// How.
        record: Box<NatRecord>,
    },
    /// Take it back.
    NatRemove {
        /// The container's name.
        container: String,
    },
    /// Attach, or say how.
    Attach {
        /// What, and to whom.
        attach: Box<Attach>,
        /// Only say how.
        dry_run: bool,
    },
    /// What is attached.
    Attachments,
    /// What container runtimes ask for.
    Runtime(RuntimeRequest),
    /// Whether the daemon is there.
    Ping,
    /// Detach.
    Detach {
        /// From whom.
        target: Target,
        /// Which interface; all of them if none is named.
        name: Option<IfName>,
    },
    /// Change a container's routes, rules or queues.
    Change {
        /// Whose.
        target: Target,
        /// What.
        change: Change,
    },
    /// Where a container is.
    Where {
        /// Which.
        target: Target,
    },
    /// What keeps containers from being reached.
    Doctor {
        /// Do what can be done about it.
        fix: bool,
    },
    /// Take back what was done about it.
    DoctorUndo,
    /// Read the configuration file again.
    Reload,
    /// Which networks the host has access to.
    HostAccess,
    /// Give it access to one.
    HostAccessEnable {
        /// How.
        request: AccessRequest,
    },
    /// Take it back.
    HostAccessDisable {
        /// The network's name or id.
        network: String,
    },
}

/// What a container runtime asks for, by whichever interface.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "asks", rename_all = "snake_case")]
pub(crate) enum RuntimeRequest {
    /// An interface.
    Attach {
        /// Whose.
        owner: RuntimeOwner,
        /// The path of its namespace.
        sandbox: PathBuf,
        /// What it is.
        spec: Box<AttachSpec>,
    },
    /// How an interface is now.
    Look {
        /// Whose.
        owner: RuntimeOwner,
    },
    /// The end of an interface; one that is not there is fine.
    Detach {
        /// Whose.
        owner: RuntimeOwner,
    },
    /// The end of all interfaces of a network but these.
    Keep {
        /// How the runtime asks.
        api: RuntimeApi,
        /// The network.
        network: String,
        /// The container and the name of each that stays.
        kept: Vec<(String, IfName)>,
    },
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// To [`Request::Ls`].
    Ls(Listing),
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Graph`].
    Graph(Box<GraphView>),
    /// To [`Request::Events`].
    Events(Events),
    /// To [`Request::Metrics`]: the text.
    Metrics(String),
    /// To [`Request::Wait`]: the addresses.
    Waited(Vec<String>),
    /// To [`Request::Wait`]: why it took too long.
    TimedOut(String),
    /// To [`Request::Trace`]; `None`: there is no such interface.
    Traced(Option<Vec<Message>>),
    /// To [`Request::Inspect`].
    Inspected(Vec<Inspected>),
    /// To [`Request::Renew`] and [`Request::Release`]: how many were asked to.
    Renewing(usize),
    /// To [`Request::Identities`].
    Identities(Vec<IdentityView>),
    /// To [`Request::IdentityOf`].
    IdentityOf(Box<Reservation>),
    /// To [`Request::ExportIdentities`].
    Exported(Box<IdentityExport>),
    /// To [`Request::ImportIdentities`]: what became of each.
    Imported(Vec<Imported>),
    /// To [`Request::SiteKey`].
    SiteKey(String),
    /// To [`Request::InspectNetwork`].
    Network(Box<NetworkDetail>),
    /// To [`Request::Networks`].
    Networks(Vec<NetworkRow>),
    /// To the requests about host access: the networks that have it, or the one that was asked for.
    HostAccess(Vec<AccessView>),
    /// To the requests about addresses on the host: all, or the one that was asked for.
    Nat(Vec<NatView>),
    /// To [`Request::Attach`] and [`Request::Attachments`].
    Attachments(Vec<AttachmentView>),
    /// To [`RuntimeRequest::Attach`] and [`RuntimeRequest::Look`].
    Interface(Box<RuntimeInterface>),
    /// A runtime's request could not be served.
    RuntimeError(RuntimeFailure, String),
    /// To [`Request::Attach`], if only that was asked: the commands that would do it.
    Script(String),
    /// To [`Request::Where`].
    Where(Where),
    /// To [`Request::Doctor`].
    Doctor(Report),
    /// To [`Request::DoctorUndo`]: whether there was anything.
    Undone(bool),
    /// It is done.
    Done,
    /// What the request names is not there.
    NotFound(String),
    /// The request could not be served.
    Error(String),
}

/// Everything there is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listing {
    /// Whether the daemon is in touch with Docker's API.
    pub(crate) docker: bool,
    /// All networks.
    pub(crate) networks: Vec<NetworkView>,
    /// All endpoints.
    pub(crate) endpoints: Vec<EndpointView>,
    /// What was asked for on containers and is not there, and why.
    #[serde(default)]
    pub(crate) attachments: Vec<AttachRow>,
    /// Which containers cannot be told apart when they start together.
    #[serde(default)]
    pub(crate) alike: Vec<Alike>,
    /// Connections of containers that Docker has dropped.
    #[serde(default)]
    pub(crate) dropped: Vec<DroppedConnection>,
}
