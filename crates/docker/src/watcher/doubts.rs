//! What may have changed without a word of Docker's.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use landline_spec::NetworkId;
use tokio::sync::Notify;

/// Networks whose stopped containers are to be looked at again. Docker tells of starts that succeed, and not of one that fails, which
/// may change the container all the same.
#[derive(Debug, Default)]
pub struct Doubts {
    networks: Mutex<BTreeSet<NetworkId>>,
    news: Notify,
}

impl Doubts {
    /// A start on this network has failed, most likely.
    pub fn about(&self, network: NetworkId) {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner).insert(network);
        self.news.notify_one();
    }

    /// The networks that there are doubts about, once there are some. Nothing is lost when the future is dropped.
    pub(super) async fn next(&self) -> BTreeSet<NetworkId> {
        self.news.notified().await;
        std::mem::take(&mut self.networks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn doubts_are_merged_until_somebody_looks() {
        let doubts = Doubts::default();
        for network in ["a", "b", "a"] {
            doubts.about(network.parse().unwrap());
        }
        assert_eq!(doubts.next().await, ["a", "b"].map(|network| network.parse().unwrap()).into());
    }
}
