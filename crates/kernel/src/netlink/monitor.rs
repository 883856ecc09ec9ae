//! Netlink notifications: links, addresses, routes and neighbours as they change.

use std::io;
use std::os::fd::OwnedFd;

use landline_types::IfName;
use rustix::net::SocketFlags;

use super::address::Address;
use super::attr::{Attrs, Messages, Received, Value};
use super::link::{IFINFOMSG, Link, index_of};
use super::neighbour::Neighbour;
use super::route::Route;
use super::socket::socket;
use super::spanning_tree::{PortState, port_state};
use super::subscription::{Heard, Opener, Subscription};
use crate::netns::Netns;

/// Room for one datagram of events.
const BUFFER: usize = 64 * 1024;
/// What the kernel keeps for us while we are busy, in bytes: some thousand events.
const BACKLOG: usize = 1024 * 1024;

/// What to be told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Links that appear, change or go.
    Links,
    /// Addresses that come or go.
    Addresses,
    /// Routes that come or go.
    Routes,
    /// Neighbours that come, change or go.
    Neighbours,
}

/// Something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A link appeared or changed.
    LinkNew(Link),
    /// A bridge has something to say about one of its ports.
    Port {
        /// The port's index.
        index: u32,
        /// What the bridge does with its frames.
        state: PortState,
    },
    /// A link is gone from this namespace.
    LinkGone {
        /// The index it had here.
        index: u32,
        /// The name it had here, unless no [`IfName`] can hold it.
        name: Option<IfName>,
        /// The namespace it moved to, by the number this namespace has for it; `None` when it was deleted,
        /// and on kernels older than 4.15.
        netns: Option<i32>,
        /// Its index there, where the kernel told.
        new_index: Option<u32>,
    },
    /// An address was added or changed.
    AddressNew(Address),
    /// An address was removed.
    AddressGone(Address),
    /// A route was added or changed.
    RouteNew(Route),
    /// A route was removed. Routes of a link that went down or away go without an event each.
    RouteGone(Route),
    /// A neighbour was added or changed.
    NeighbourNew(Neighbour),
    /// A neighbour was forgotten.
    NeighbourGone(Neighbour),
    /// Events were lost: look at everything again.
    Overrun,
}

/// A subscription to the kernel's events in one namespace.
///
/// Open it before listing, so that nothing falls between.
#[derive(Debug)]
pub struct Monitor {
    socket: Subscription,
    buffer: Vec<u8>,
    /// The part of the buffer that holds messages not looked at yet.
    pending: std::ops::Range<usize>,
}

impl Monitor {
    /// Subscribes in the calling thread's namespace. Must be called within a tokio runtime.
    pub fn open(groups: &[Group]) -> io::Result<Self> {
        Subscription::open(opener(groups)).map(Self::over)
    }

    /// As [`Self::open`]; if that fails, it is tried again while [`Self::next`] waits.
    pub fn follow(groups: &[Group]) -> Self {
        Self::open(groups).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot subscribe to events of the kernel; trying again");
            Self::over(Subscription::later(opener(groups)))
        })
    }

    /// Subscribes in another namespace. It keeps that namespace alive.
    pub fn open_in(ns: &Netns, groups: &[Group]) -> io::Result<Self> {
        let (ns, groups) = (ns.try_clone()?, groups.to_vec());
        Subscription::open(Box::new(move || ns.run(|| subscribe(&groups))?)).map(Self::over)
    }

    pub(super) fn over(socket: Subscription) -> Self {
        Self { socket, buffer: vec![0; BUFFER], pending: 0..0 }
    }

    /// The next event. Whatever fails, events go on, from another socket if need be, after an [`Event::Overrun`]. Cancel
    /// safe: an event is either returned or still to come.
    pub async fn next(&mut self) -> Event {
        loop {
            while let Some(got) = Messages(&self.buffer[self.pending.clone()]).next() {
                self.pending.start += (got.body.len() + super::attr::HEADER).next_multiple_of(4);
                self.pending.start = self.pending.start.min(self.pending.end);
                if let Some(event) = Event::read(&got) {
                    return event;
                }
            }
            self.pending = 0..0;
            match self.socket.receive(&mut self.buffer).await {
                Heard::Datagram(length) => self.pending = 0..length,
                Heard::Lost => return Event::Overrun,
            }
        }
    }
}

fn opener(groups: &[Group]) -> Opener {
    let groups = groups.to_vec();
    Box::new(move || subscribe(&groups))
}

pub(super) fn subscribe(groups: &[Group]) -> io::Result<OwnedFd> {
    let mask = groups.iter().fold(0, |mask, group| mask | group.mask());
    let fd = socket(mask, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    // The forced variant may exceed the administrator's limit, which CAP_NET_ADMIN allows.
    let backlog = rustix::net::sockopt::set_socket_recv_buffer_size_force(&fd, BACKLOG);
    if let Err(error) = backlog {
        tracing::debug!(%error, "event backlog not enlarged");
    }
    Ok(fd)
}

impl Group {
    const fn mask(self) -> u32 {
        let mask = match self {
            Self::Links => libc::RTMGRP_LINK,
            Self::Addresses => libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR,
            Self::Routes => libc::RTMGRP_IPV4_ROUTE | libc::RTMGRP_IPV6_ROUTE,
            Self::Neighbours => libc::RTMGRP_NEIGH,
        };
        mask.cast_unsigned()
    }
}

impl Event {
    pub(super) fn read(got: &Received<'_>) -> Option<Self> {
        match got.kind {
            libc::RTM_NEWLINK if index_of(got.body).is_none() => Self::read_port(got.body),
            libc::RTM_NEWLINK => Link::read(got).map(Self::LinkNew),
            libc::RTM_DELLINK => Self::read_gone(got.body),
            libc::RTM_NEWADDR => Address::read(got).map(Self::AddressNew),
            libc::RTM_DELADDR => Address::read(got).map(Self::AddressGone),
            libc::RTM_NEWROUTE => Route::read(got).map(Self::RouteNew),
            libc::RTM_DELROUTE => Route::read(got).map(Self::RouteGone),
            libc::RTM_NEWNEIGH => Neighbour::read(got).map(Self::NeighbourNew),
            libc::RTM_DELNEIGH => Neighbour::read(got).map(Self::NeighbourGone),
            _ => None,
        }
    }

    /// What a bridge says of its port (`AF_BRIDGE`). A port that starts to forward is told in no other way.
    fn read_port(body: &[u8]) -> Option<Self> {
        if i32::from(*body.first()?) != libc::AF_BRIDGE {
            return None;
        }
        let index = Value(body.get(4..8)?).u32()?;
        let mut attrs = Attrs(body.get(IFINFOMSG..)?);
        let (_, port) = attrs.find(|(kind, _)| *kind == libc::IFLA_PROTINFO)?;
        Some(Self::Port { index, state: port_state(&port.attrs())? })
    }

    fn read_gone(body: &[u8]) -> Option<Self> {
        let index = index_of(body)?;
        let (mut name, mut netns, mut new_index) = (None, None, None);
        for (kind, value) in Attrs(body.get(IFINFOMSG..)?) {
            match kind {
                libc::IFLA_IFNAME => name = value.text().parse().ok(),
                libc::IFLA_NEW_NETNSID => netns = value.i32(),
                libc::IFLA_NEW_IFINDEX => new_index = value.u32(),
                _ => {}
            }
        }
        Some(Self::LinkGone { index, name, netns, new_index })
    }
}
