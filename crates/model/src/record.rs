//! What makes a value a row of the store.

use std::fmt;

use landline_options::Access;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A kind of record, and where it is stored. The name of the table and those of the record's fields are the format of
/// the file: a field that comes later has a default, and none is renamed.
pub trait Record: Serialize + DeserializeOwned {
    /// The table it is in.
    const TABLE: &'static str;

    /// What a record is found by.
    type Key: fmt::Display + ?Sized;

    /// The key of this one.
    fn key(&self) -> &Self::Key;

    /// What the host is owed by a row that cannot be read as a whole: something of the host's that Landline changed and
    /// must put back. `None`: nothing, the row is left where it is.
    fn owed(_key: &str, _row: &Value) -> Option<Self> {
        None
    }
}

/// What was asked for a network's host access.
impl Record for Access {
    const TABLE: &'static str = "host_access";
    type Key = str;

    fn key(&self) -> &str {
        &self.network
    }
}
