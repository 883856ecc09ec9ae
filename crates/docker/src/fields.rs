//! How single JSON fields are read and written.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::Serializer;
use serde_json::Value;

/// Options as Docker sends them: some values are text, some are not.
pub(crate) type Options = BTreeMap<String, Value>;

/// The value as text, if it is text or something as plain.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// `null` as nothing: Go writes it for empty lists and maps.
pub(crate) fn nullable<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Text that may be empty, absent or `null`, all meaning nothing; else it must be well-formed.
pub(crate) fn text<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    match Option::<String>::deserialize(deserializer)?.as_deref() {
        None | Some("") => Ok(None),
        // The parsers' messages do not all say what they were given.
        Some(text) => text.parse().map(Some).map_err(|error| {
            let given: String = text.chars().take(64).collect();
            D::Error::custom(format_args!("{given:?}: {error}"))
        }),
    }
}

/// The counterpart of [`text`]: nothing is the empty text.
// serde passes the field by reference.
#[allow(clippy::ref_option)]
pub(crate) fn write_text<T: fmt::Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_str(""),
    }
}
