//! Containers and networks that may have changed without an event of Docker's, and are looked at again.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use landline_options::NetworkId;
use tokio::sync::Notify;

/// What is to be looked at again. Docker tells of starts that succeed, and not of one that fails, which may change the container all the same;
/// nor does it tell that a container was connected that does not run.
#[derive(Debug, Default)]
pub struct Doubts {
    about: Mutex<BTreeSet<Doubt>>,
    news: Notify,
}

/// What there is a doubt about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    /// The stopped containers of a network.
    Network(NetworkId),
    /// A container.
    Container(String),
}

impl Doubts {
    /// A start on this network has failed, most likely.
    pub fn about_network(&self, network: NetworkId) {
        self.note(Doubt::Network(network));
    }

    /// The container may have been connected.
    pub fn about_container(&self, id: &str) {
        self.note(Doubt::Container(id.to_owned()));
    }

    fn note(&self, doubt: Doubt) {
        self.about.lock().unwrap_or_else(PoisonError::into_inner).insert(doubt);
        self.news.notify_one();
    }

    /// What there are doubts about, once there are some. Nothing is lost when the future is dropped.
    pub(super) async fn next(&self) -> BTreeSet<Doubt> {
        self.news.notified().await;
        std::mem::take(&mut self.about.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn doubts_are_merged_until_somebody_looks() {
        let doubts = Doubts::default();
        for network in ["a", "b", "a"] {
            doubts.about_network(network.parse().unwrap());
        }
        doubts.about_container("c1");
        let networks = ["a", "b"].map(|network| Doubt::Network(network.parse().unwrap()));
        let all = networks.into_iter().chain([Doubt::Container("c1".into())]);
        assert_eq!(doubts.next().await, all.collect());
    }
}
