//! Column values (RFC 7047 section 5.1).

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// The name of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(String);

impl Uuid {
    /// The 36 characters of a UUID in lower case, as the server writes them.
    pub fn read(text: &str) -> Option<Self> {
        let shape = |(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => u8::is_ascii_digit(&byte) || (b'a'..=b'f').contains(&byte),
        };
        (text.len() == 36 && text.bytes().enumerate().all(shape)).then(|| Self(text.to_owned()))
    }

    /// How a row is named in an operation.
    pub(crate) fn to_value(&self) -> Value {
        serde_json::json!(["uuid", self.0])
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Atom {
    /// Another row.
    Row(Uuid),
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Real(f64),
    /// Yes or no.
    Boolean(bool),
}

impl Atom {
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Bool(yes) => Some(Self::Boolean(*yes)),
            Value::Number(number) => match number.as_i64() {
                Some(integer) => Some(Self::Integer(integer)),
                None => number.as_f64().map(Self::Real),
            },
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(tag), Value::String(id)] if tag == "uuid" => Uuid::read(id).map(Self::Row),
                _ => None,
            },
            Value::Null | Value::Object(_) => None,
        }
    }

    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// What a column holds: a single value is a set of one, none is an empty set.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    /// Values.
    Set(Vec<Atom>),
    /// Values by keys.
    Map(Vec<(Atom, Atom)>),
}

impl Datum {
    /// Reads a column; `None` if it is no `<value>` of the RFC.
    pub fn read(value: &Value) -> Option<Self> {
        if let Some([Value::String(tag), Value::Array(items)]) = value.as_array().map(Vec::as_slice) {
            match tag.as_str() {
                "set" => return items.iter().map(Atom::read).collect::<Option<_>>().map(Self::Set),
                "map" => return items.iter().map(pair).collect::<Option<_>>().map(Self::Map),
                _ => {}
            }
        }
        Atom::read(value).map(|atom| Self::Set(vec![atom]))
    }

    /// All values of a set.
    pub fn into_atoms(self) -> Vec<Atom> {
        match self {
            Self::Set(atoms) => atoms,
            Self::Map(_) => Vec::new(),
        }
    }

    /// The only value, if it is text.
    pub fn into_text(self) -> Option<String> {
        self.into_only()?.text()
    }

    /// The only value, if it is a whole number.
    pub fn into_integer(self) -> Option<i64> {
        match self.into_only()? {
            Atom::Integer(integer) => Some(integer),
            _ => None,
        }
    }

    /// The only value, if it is yes or no.
    pub fn into_boolean(self) -> Option<bool> {
        match self.into_only()? {
            Atom::Boolean(yes) => Some(yes),
            _ => None,
        }
    }

    /// All rows of a set.
    pub fn into_rows(self) -> Vec<Uuid> {
        let row = |atom| match atom {
            Atom::Row(uuid) => Some(uuid),
            _ => None,
        };
        self.into_atoms().into_iter().filter_map(row).collect()
    }

    /// A map of text to text; other entries are left out.
    pub fn into_texts(self) -> BTreeMap<String, String> {
        match self {
            Self::Set(_) => BTreeMap::new(),
            Self::Map(pairs) => pairs.into_iter().filter_map(|(k, v)| Some((k.text()?, v.text()?))).collect(),
        }
    }

    fn into_only(self) -> Option<Atom> {
        let mut atoms = self.into_atoms();
        let first = atoms.pop()?;
        atoms.is_empty().then_some(first)
    }
}

fn pair(value: &Value) -> Option<(Atom, Atom)> {
    match value.as_array()?.as_slice() {
        [key, value] => Some((Atom::read(key)?, Atom::read(value)?)),
        _ => None,
    }
}

/// A map of text as an operation writes it.
pub(crate) fn texts(map: &BTreeMap<String, String>) -> Value {
    let pairs: Vec<Value> = map.iter().map(|(key, value)| serde_json::json!([key, value])).collect();
    serde_json::json!(["map", pairs])
}

/// Text of the server's, fit for a message to a person: one line of bounded length.
pub(crate) fn clean(text: &str) -> String {
    const LONGEST: usize = 300;
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ID: &str = "0b1d5895-88e6-42e5-a1da-ad464c75198c";

    #[test]
    fn values_are_read_as_the_rfc_writes_them() {
        let read = |value: Value| Datum::read(&value).unwrap();
        assert_eq!(read(json!("br0")).into_text().unwrap(), "br0");
        assert_eq!(read(json!(["set", [7]])).into_integer(), Some(7));
        assert_eq!(read(json!(7)).into_integer(), Some(7));
        assert_eq!(read(json!(["set", []])).into_integer(), None);
        assert_eq!(read(json!(["uuid", ID])).into_rows(), [Uuid::read(ID).unwrap()]);
        assert_eq!(read(json!(["set", [["uuid", ID]]])).into_rows().len(), 1);
        let map = read(json!(["map", [["a", "b"], ["c", 1]]])).into_texts();
        assert_eq!(map, BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    }

    #[test]
    fn what_is_no_value_is_none() {
        for value in [
            json!(null),
            json!({}),
            json!([]),
            json!(["set", [["set", []]]]),
            json!(["uuid", "nonsense"]),
            json!(["map", [["a"]]]),
        ] {
            assert_eq!(Datum::read(&value), None, "{value}");
        }
        for id in ["", &ID.to_uppercase(), &ID[1..], "0b1d5895x88e6-42e5-a1da-ad464c75198c"] {
            assert_eq!(Uuid::read(id), None, "{id}");
        }
    }
}
