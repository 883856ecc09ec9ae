//! The changes of its routes, rules and queues that a container asks for: each is made once in a network namespace. Whoever
//! changes the same thing afterwards, a VPN for instance, has the last word.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use landline_links::Namespaces;
use landline_options::{Change, Target};
use landline_store::Record;
use serde::{Deserialize, Serialize};

use super::inside::InsideError;
use super::{AttachFailure, Attachments, place, routes};

/// Which a container has had, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChangesRecord {
    /// The container's id.
    container: String,
    /// A path that names the namespace.
    sandbox: PathBuf,
    /// Which namespace that was, in which boot.
    namespace: String,
    boot: String,
    /// The labels or variables that asked for them.
    done: BTreeSet<String>,
}

impl Record for ChangesRecord {
    const TABLE: &'static str = "container_changes";
    type Key = str;

    fn key(&self) -> &str {
        &self.container
    }
}

impl ChangesRecord {
    /// Whether its namespace is still there. Blocks.
    fn stands(&self, namespaces: &dyn Namespaces, boot: &str) -> bool {
        self.boot == boot && namespaces.name_at(&self.sandbox).as_ref() == Some(&self.namespace)
    }
}

/// Those of all containers.
#[derive(Debug, Default)]
pub(super) struct Changes(Mutex<BTreeMap<String, ChangesRecord>>);

impl Changes {
    /// Those of this boot: the next one may call its namespaces the same.
    pub(super) fn new(records: Vec<ChangesRecord>, boot: &str) -> Self {
        let records = records.into_iter().filter(|record| record.boot == boot);
        Self(Mutex::new(records.map(|record| (record.container.clone(), record)).collect()))
    }

    fn has(&self, container: &str, namespace: &str, source: &str) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let there = all.get(container).filter(|record| record.namespace == namespace);
        there.is_some_and(|record| record.done.contains(source))
    }

    /// Notes one. Another namespace is another start, for which nothing was done yet.
    fn note(&self, mut record: ChangesRecord) -> ChangesRecord {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(&record.container).filter(|before| before.namespace == record.namespace);
        record.done.extend(before.into_iter().flat_map(|before| before.done.iter().cloned()));
        all.insert(record.container.clone(), record.clone());
        record
    }

    /// Forgets those whose namespaces are gone, and says whose they were. Blocks.
    fn sweep(&self, namespaces: &dyn Namespaces, boot: &str) -> Vec<String> {
        let records: Vec<_> =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let gone: Vec<_> = records.into_iter().filter(|record| !record.stands(namespaces, boot)).collect();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = gone.into_iter().filter(|record| all.get(&record.container) == Some(record));
        let gone: Vec<String> = gone.map(|record| record.container).collect();
        all.retain(|container, _| !gone.contains(container));
        gone
    }
}

impl Attachments {
    /// Makes a change that a container asks for in this label or variable, unless it was made in this namespace before.
    ///
    /// # Errors
    /// See [`AttachFailure`]. Then it was not made, and may be tried again.
    pub async fn change_once(
        &self,
        container: &str,
        target: &Target,
        sandbox: &Path,
        (source, change): (&str, &Change),
    ) -> Result<(), AttachFailure> {
        let (netns, namespace) = place::open(self.namespaces(), target, sandbox).await?;
        let changes = &self.slots.changes;
        if changes.has(container, &namespace, source) {
            return Ok(());
        }
        let (change, target) = (change.clone(), target.clone());
        match landline_links::blocking(move || routes::change(&*netns, &change)).await {
            Ok(()) => {}
            // It is as it is to be.
            Err(InsideError::Netlink(error)) if error.exists() => {}
            Err(source) => return Err(AttachFailure::Inside { target, source: source.into() }),
        }
        let boot = self.shared.services.boot.to_string();
        let done = BTreeSet::from([source.to_owned()]);
        let (container, sandbox) = (container.to_owned(), sandbox.to_owned());
        let record = changes.note(ChangesRecord { container, sandbox, namespace, boot: boot.clone(), done });
        if let Err(error) = self.shared.store.put(&record).await {
            tracing::warn!(error = %landline_types::chain(&error), "it could not be stored that a container's route was changed");
        }
        let (changes, namespaces) = (changes.clone(), self.namespaces());
        for gone in landline_links::blocking(move || changes.sweep(&*namespaces, &boot)).await {
            if let Err(error) = self.shared.store.remove::<ChangesRecord>(&gone).await {
                tracing::warn!(error = %landline_types::chain(&error), "an ended container could not be forgotten");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use landline_links::fake::FakeNamespaces;

    use super::*;

    fn record(namespace: &str, source: &str) -> ChangesRecord {
        ChangesRecord {
            container: "c".into(),
            sandbox: "/nowhere".into(),
            namespace: namespace.into(),
            boot: "boot".into(),
            done: BTreeSet::from([source.to_owned()]),
        }
    }

    #[test]
    fn what_was_done_is_done_until_the_next_start() {
        let changes = Changes::default();
        changes.note(record("7", "a"));
        let stored = changes.note(record("7", "b"));
        // The next daemon.
        assert!(!Changes::new(vec![stored.clone()], "the next").has("c", "7", "a"));
        let changes = Changes::new(vec![stored], "boot");
        assert!(changes.has("c", "7", "a") && changes.has("c", "7", "b"));
        assert!(!changes.has("c", "7", "x") && !changes.has("d", "7", "a"));
        assert!(!changes.has("c", "8", "a"), "another start");
        changes.note(record("8", "b"));
        assert!(!changes.has("c", "8", "a") && changes.has("c", "8", "b"));
    }

    #[test]
    fn those_of_namespaces_that_are_gone_are_forgotten() {
        let (fake, sandbox) = (FakeNamespaces::default(), PathBuf::from("/run/netns/h"));
        fake.sandbox(&sandbox, |_| ());
        let namespace = fake.name_at(&sandbox).unwrap();
        let here = ChangesRecord { container: "h".into(), sandbox, namespace, ..record("", "a") };
        assert!(here.stands(&fake, "boot") && !here.stands(&fake, "the next"));
        let changes = Changes::new(vec![record("7", "a"), here], "boot");
        assert_eq!(changes.sweep(&fake, "boot"), ["c"]);
        assert_eq!(changes.sweep(&fake, "boot"), [""; 0]);
        fake.end("/run/netns/h");
        fake.sandbox("/run/netns/h", |_| ());
        assert_eq!(changes.sweep(&fake, "boot"), ["h"], "its path names another one");
    }
}
