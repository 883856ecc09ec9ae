//! Who may look.

use std::sync::Arc;

use hyper::{HeaderMap, StatusCode};
use landline_options::ConfigFile;
use tokio::sync::watch;

use super::host::Names;
use crate::control::{Peer, Request};

/// The way by which requests come, and who may look.
#[derive(Debug, Clone)]
pub(super) enum Door {
    /// TCP: whoever calls the server by one of its names.
    Network(Arc<Names>),
    /// The control socket: the process at its other end, if it may, as the configuration is now.
    Control(Peer, watch::Receiver<Arc<ConfigFile>>),
}

impl Door {
    /// Why a request with these headers is refused, if it is.
    pub(super) fn refuse(&self, headers: &HeaderMap) -> Option<(StatusCode, String)> {
        match self {
            Self::Network(names) => (!names.allow(headers)).then(|| {
                let says =
                    "unknown host name in the request; use an IP address, or add the name to hosts in [http]";
                (StatusCode::MISDIRECTED_REQUEST, says.to_owned())
            }),
            Self::Control(peer, config) => {
                let refused = peer.may(&Request::Metrics, &config.borrow()).err()?;
                Some((StatusCode::FORBIDDEN, refused))
            }
        }
    }
}
