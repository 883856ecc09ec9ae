//! The VDE2 protocol and an Ethernet switch that speaks it, over descriptors it is given.
//!
//! A VDE switch is a directory with a stream socket called `ctl`. Who wants a port binds a datagram socket, names it in
//! one request over `ctl`, and is told the name of the switch's socket for that port; from then on one datagram is one
//! Ethernet frame without its check sequence, and the connection to `ctl` is the cable: closing it pulls it out.
//!
//! - [`Request`] is that request as a value; parsing is total.
//! - [`Plug`] is the client's side: a port of a switch that somebody else runs.
//! - [`Switch`] is the switch: ports, learned addresses, VLANs, a management socket. It has one thread.
//! - [`Wires`] joins pairs of descriptors, so that a [`Plug`] becomes a network interface. One thread for all pairs.
//!
//! Descriptors of network interfaces (taps) come from the caller; each read is one frame, and each write is one or a [`SegmentBatch`] of TCP
//! segments, behind a `virtio_net_hdr`.
//!
//! What it does not do: the fast spanning tree of `vde_switch`, its plugins, and links over TCP or UDP.

#![forbid(unsafe_code)]

mod dir;
mod frame;
mod plug;
mod poll;
mod request;
mod segments;
mod socket;
mod switch;
mod tap;
mod wires;

pub use dir::{DirError, PATH_MAX};
pub use frame::{FRAME_MAX, FRAME_MIN};
pub use plug::{Plug, PlugError};
pub use request::{REPLY_LEN, REQUEST_MAX, Request, RequestError, Version, parse_reply, reply};
pub use segments::SegmentBatch;
pub use socket::is_running;
pub use switch::console::Command;
pub use switch::{Counters, PortView, Switch, SwitchConfig, SwitchError};
pub use wires::{WireId, WireLost, Wires};
