//! A machine for tests, on which daemons start one after the other.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use landline_kernel::{Link, boottime};
use landline_links::fake::{FakeHost, FakeSandboxes};
use landline_store::Store;
use tokio_util::sync::CancellationToken;

use super::FakeLan;
use crate::Foundation;
use crate::addressing::book::AddressBook;
use crate::clock::Clock;
use crate::ipv6::{Company, RaListeners};
use crate::lease::{ConflictMonitor, Services};
use crate::sockets::Sockets;

/// A host and its containers on a LAN.
pub struct FakeMachine {
    /// The host.
    pub host: Arc<FakeHost>,
    /// Its containers' namespaces.
    pub sandboxes: FakeSandboxes,
    /// The LAN.
    pub lan: FakeLan,
    clock: Clock,
}

impl FakeMachine {
    /// One with these links. Must be called within a tokio runtime.
    pub fn with(links: Vec<Link>) -> Self {
        let host = Arc::new(FakeHost::with(links));
        let sandboxes = FakeSandboxes::of(host.namespaces());
        let clock = Clock::of_tokio();
        Self { host, sandboxes, lan: FakeLan::new(clock.clone()), clock }
    }

    /// What a daemon starts on, with what is stored in this file.
    pub fn ground(&self, state: &Path) -> Foundation {
        let (store, rows) = Store::open(state).unwrap();
        let link_table = self.host.table();
        let sockets: Arc<dyn Sockets> = Arc::new(self.lan.clone());
        let services = Services {
            traces: Arc::default(),
            meters: Arc::default(),
            history: Arc::default(),
            clock: self.clock.clone(),
            sockets: sockets.clone(),
            sandboxes: Arc::new(self.sandboxes.clone()),
            namespaces: Arc::new(self.host.namespaces()),
            ra_listeners: RaListeners::new(link_table.clone(), sockets.clone()),
            company: Company::default(),
            conflict_monitor: ConflictMonitor::new(link_table.clone(), sockets),
            book: AddressBook::default(),
            link_table,
            boot: boottime::boot_id().unwrap().into(),
            cancel: CancellationToken::new(),
        };
        Foundation::on(self.host.clone(), store, rows, services, Arc::default())
    }
}

/// Waits until the tasks of a daemon that was ended are gone: each ends when it is next looked at, and until then the file is
/// open.
pub async fn closed(store: Weak<Store>) {
    wait_for("the state is closed", || store.strong_count() == 0).await;
}

/// Waits for something that tasks bring about.
pub async fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !is() {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
