//! What routers say unasked. A host is to hear it at any time: a router that has come, or goes, or has another prefix, does not
//! wait to be asked.

use std::io;
use std::sync::Arc;

use landline_dhcp::wire::udp::Check;
use landline_kernel::PacketSocket;
use landline_links::LinkTable;
use landline_types::{IfName, Mac};
use tokio::sync::broadcast;

use super::socket::LONGEST;
use crate::lease::{Hears, Listener, Listeners, hear};

/// An advertisement, from the IPv6 header on.
#[derive(Debug, Clone)]
pub(crate) struct Advertisement {
    pub(crate) frame_source: Mac,
    pub(crate) packet: Arc<[u8]>,
    pub(crate) check: Check,
    /// This host sent it.
    pub(crate) own: bool,
}

/// The parents that are listened at.
#[derive(Debug, Clone)]
pub struct RaListeners(Listeners<Advertisements>);

#[derive(Debug, Clone, Default)]
pub(crate) struct Advertisements;

impl RaListeners {
    /// Listens nowhere yet.
    pub fn new(present: LinkTable) -> Self {
        Self(Listeners::new(present))
    }

    /// Listens at this parent, now and whenever it is there again.
    pub(crate) fn at(&self, parent: &IfName) -> Listener<Advertisements> {
        self.0.at(parent)
    }
}

impl Hears for Advertisements {
    type Heard = Advertisement;

    const WHAT: &'static str = "routers are";

    fn open(index: u32) -> io::Result<PacketSocket> {
        PacketSocket::router_advertisements(None, index)
    }

    async fn pass_on(&self, socket: &PacketSocket, heard: &broadcast::Sender<Advertisement>) -> io::Error {
        loop {
            match hear(Some(socket), LONGEST).await {
                Ok((got, packet)) => {
                    let (check, frame_source, own) = (check_of(&got), got.source_mac, got.own);
                    let _ = heard.send(Advertisement { frame_source, packet: packet.into(), check, own });
                }
                Err(error) => return error,
            }
        }
    }
}

/// Whether a packet's checksums are to be looked at.
pub(super) fn check_of(got: &landline_kernel::Received) -> Check {
    if got.checksum_valid_or_unknown { Check::Skip } else { Check::Verify }
}
