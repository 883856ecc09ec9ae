//! What containers ask for and have not got, for `landline ls`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::jobs::Key;

/// Something that is not attached, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttachRow {
    /// The container.
    pub(crate) container: String,
    /// The label, variable or command that asks for it.
    pub(crate) source: String,
    /// What it is to hang on, if that could be read.
    pub(crate) parent: Option<String>,
    /// `refused`, `failed` or `waiting`.
    pub(crate) state: String,
    /// Why, in words.
    pub(crate) reason: String,
    /// The command that would allow it.
    pub(crate) allow: Option<String>,
}

/// The rows of all workers.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<BTreeMap<Key, Vec<AttachRow>>>);

impl Board {
    pub(super) fn set(&self, key: &Key, rows: Vec<AttachRow>) {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.is_empty() {
            board.remove(key);
        } else {
            board.insert(key.clone(), rows);
        }
    }

    pub(super) fn rows(&self) -> Vec<AttachRow> {
        let mut rows: Vec<AttachRow> =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).values().flatten().cloned().collect();
        rows.sort_by(|a, b| (&a.container, &a.source).cmp(&(&b.container, &b.source)));
        rows
    }
}
