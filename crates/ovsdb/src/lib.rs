//! A client of Open vSwitch's configuration database: RFC 7047 over its unix socket, and what is asked of it here,
//! which is bridges and their ports (`ovs-vswitchd.conf.db(5)`).
//!
//! [`Client`] is one connection. It has no task of its own: whoever calls it also answers the server's echo
//! requests and notes its updates. [`Switch`] is what the database says, read as a value.
//!
//! A change is three things: one transaction with guards, so that a bridge that is not there is an error and not a
//! row that silently goes away; the wait for `ovs-vswitchd`, which carries it out; and a look at what came of it.
//!
//! What the server says is hostile input: messages, nesting and text have bounds, and whatever cannot be read is as
//! if it were absent.
#![forbid(unsafe_code)]

mod change;
mod client;
mod error;
mod framing;
mod message;
mod spanning_tree;
mod switch;
mod value;

pub use change::{NewBridge, NewPort, Vlans};
pub use client::{Client, DEFAULT_SOCKET};
pub use error::Error;
pub use framing::{Decoder, FramingError};
pub use message::Message;
pub use spanning_tree::{Forwarding, Protocol, SpanningTree, TreePort};
pub use switch::{Bridge, Interface, Port, Switch};
pub use value::{Atom, Datum, Uuid};
