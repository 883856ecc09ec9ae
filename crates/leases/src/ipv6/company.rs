//! Word among the links of one container: when Docker is done with a link, the others look at their default routes again.

use std::path::{Path, PathBuf};

use tokio::sync::broadcast::{self, error::RecvError};

/// As many words may wait; who misses one looks in any case.
const WAITING: usize = 16;

/// Where it is passed on.
#[derive(Debug, Clone)]
pub struct Company(broadcast::Sender<PathBuf>);

/// Hears it.
#[derive(Debug)]
pub(super) struct Gossip(broadcast::Receiver<PathBuf>);

impl Default for Company {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING))
    }
}

impl Company {
    /// Docker is done with a link in this sandbox, which has others.
    pub(crate) fn settled(&self, sandbox: &Path) {
        // Nobody hears it if there is nobody.
        let _ = self.0.send(sandbox.to_owned());
    }

    pub(super) fn listen(&self) -> Gossip {
        Gossip(self.0.subscribe())
    }
}

impl Gossip {
    /// The next word about this sandbox.
    pub(super) async fn about(&mut self, sandbox: Option<&PathBuf>) {
        loop {
            match self.0.recv().await {
                Ok(path) if sandbox != Some(&path) => {}
                Ok(_) | Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_about_one_sandbox_or_too_much_to_know() {
        let company = Company::default();
        let (mut here, own) = (company.listen(), PathBuf::from("/run/netns/a"));
        company.settled(Path::new("/run/netns/b"));
        company.settled(&own);
        here.about(Some(&own)).await;
        assert!(tokio::time::timeout(std::time::Duration::ZERO, here.about(Some(&own))).await.is_err());
        for _ in 0..=WAITING {
            company.settled(Path::new("/run/netns/b"));
        }
        here.about(Some(&own)).await;
    }
}
