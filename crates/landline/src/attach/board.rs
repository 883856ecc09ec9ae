//! What containers ask for and have not got, for `landline ls`.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::jobs::Key;

/// What came of a requested for an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RowState {
    /// It is not allowed, or makes no sense.
    Refused,
    /// It did not work, and is tried again.
    Failed,
    /// What it was for has ended.
    Ended,
}

impl fmt::Display for RowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Ended => "ended",
        })
    }
}

/// Something that is not attached, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttachRow {
    /// The container.
    pub(crate) container: String,
    /// The label, variable or command that asks for it.
    pub(crate) source: String,
    /// Its parent, if that could be read.
    pub(crate) parent: Option<String>,
    /// What came of it.
    pub(crate) state: RowState,
    /// Why, in words.
    pub(crate) reason: String,
    /// The command that would allow it.
    pub(crate) allow: Option<String>,
}

impl AttachRow {
    /// What came of it and why, with the command that would allow it.
    pub(crate) fn explain(&self) -> String {
        let allow = self.allow.as_ref().map(|line| format!("; to allow it: {line}")).unwrap_or_default();
        format!("{}, {}: {}{allow}", self.container, self.source, self.reason)
    }
}

/// How many attachments that ended with their process are remembered.
const ENDED: usize = 16;

/// The rows of all workers.
#[derive(Debug, Default)]
pub(super) struct Board {
    rows: Mutex<BTreeMap<Key, Vec<AttachRow>>>,
    /// What has ended with its process lately.
    ended: Mutex<VecDeque<AttachRow>>,
}

impl Board {
    /// Says that an attachment has ended with the process it was for.
    pub(super) fn end(&self, row: AttachRow) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push_back(row);
        let over = ended.len().saturating_sub(ENDED);
        ended.drain(..over);
    }

    /// Forgets what has ended with this process; `false`: nothing has.
    pub(super) fn forget(&self, process: &str) -> bool {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let before = ended.len();
        ended.retain(|row| row.container != process);
        ended.len() < before
    }

    pub(super) fn set(&self, key: &Key, rows: Vec<AttachRow>) {
        let mut board = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.is_empty() {
            board.remove(key);
        } else {
            board.insert(key.clone(), rows);
        }
    }

    pub(super) fn rows(&self) -> Vec<AttachRow> {
        let mut rows: Vec<AttachRow> =
            self.rows.lock().unwrap_or_else(PoisonError::into_inner).values().flatten().cloned().collect();
        rows.extend(self.ended.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        rows.sort_by(|a, b| (&a.container, &a.source).cmp(&(&b.container, &b.source)));
        rows
    }
}
