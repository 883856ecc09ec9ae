//! What was in the file when it was opened, kind by kind.

use std::collections::BTreeMap;

use landline_types::chain;
use serde_json::Value;

use super::Record;

/// All rows of the file, until they are [`take`](Rows::take)n.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rows {
    pub(super) tables: BTreeMap<String, Vec<(String, Vec<u8>)>>,
    unreadable: BTreeMap<&'static str, usize>,
    /// Whether the file is new, or has what could be read of a damaged one: there may have been more.
    pub(super) incomplete: bool,
}

impl Rows {
    /// All records of this kind, in the order of their keys.
    ///
    /// A row that cannot be read is logged and left in the file, where a version that can read it finds it again; what the
    /// host is owed by it is among the records.
    pub fn take<R: Record>(&mut self) -> Vec<R> {
        let mut records = Vec::new();
        for (key, value) in self.tables.remove(R::TABLE).unwrap_or_default() {
            match serde_json::from_slice(&value) {
                Ok(record) => records.push(record),
                Err(error) => {
                    let error = chain(&error);
                    // The key may tell enough.
                    let row = serde_json::from_slice::<Value>(&value).unwrap_or_default();
                    let owed = R::owed(&key, &row);
                    let (table, owed_to_host) = (R::TABLE, owed.is_some());
                    tracing::error!(
                        table,
                        ?key,
                        owed_to_host,
                        error,
                        "a record in the state file cannot be read; it stays in the file and is not used"
                    );
                    *self.unreadable.entry(R::TABLE).or_default() += 1;
                    records.extend(owed);
                }
            }
        }
        records
    }

    /// Whether there may have been a record of this kind that is not here: it could not be read, or the file is new.
    pub fn lacks<R: Record>(&self) -> bool {
        self.incomplete || self.unreadable.contains_key(R::TABLE)
    }
}
