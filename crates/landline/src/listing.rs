//! What the `ls` commands print: all rows or some, as a table, as JSON, by a template, or their names alone.
//!
//! Rows are selected and printed by the fields of their JSON, so that every listing has the same options and one set of names.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use landline_types::Shown;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cli::ListOptions;
use crate::output::{CommandError, lines, show};

/// What stands for a field without a value.
const NOTHING: &str = "-";

/// What `--format` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// Aligned columns.
    Table,
    /// JSON.
    Json,
    /// One line a row.
    Template(Template),
}

/// A line with the values of fields in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The value of a field.
    Field(Field),
    /// The same as JSON; the whole row if the field has no name.
    Json(Field),
}

/// The name of a field, and those of the fields in it. `lease_left_s`, `LeaseLeftS` and `leaselefts` are the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Field(Vec<String>);

/// A row must have this value in this field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    field: Field,
    value: String,
}

/// Why a format or a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("{0:?} is no format; use table, json, or a template like '{{{{.container}}}} {{{{.address}}}}'")]
    Unknown(String),
    #[error("the template has {{{{ without }}}}")]
    Open,
    #[error(
        "{0:?} is not supported in templates; write {{{{.FIELD}}}}, {{{{json .FIELD}}}} or {{{{json .}}}}"
    )]
    Action(String),
    #[error("write KEY=VALUE, like state=BOUND")]
    Filter,
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            template if template.contains("{{") => template.parse().map(Self::Template),
            other => Err(FormatError::Unknown(other.to_owned())),
        }
    }
}

impl FromStr for Template {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let (action, after) = after.split_once("}}").ok_or(FormatError::Open)?;
            pieces.push(Piece::Text(unescape(before)));
            pieces.push(Piece::parse(action)?);
            rest = after;
        }
        pieces.push(Piece::Text(unescape(rest)));
        Ok(Self(pieces))
    }
}

/// `\t` and `\n`, which a shell's quotes do not make.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

impl Piece {
    fn parse(action: &str) -> Result<Self, FormatError> {
        let words: Vec<&str> = action.split_whitespace().collect();
        let field = |word: &str| word.strip_prefix('.').and_then(Field::parse);
        match words[..] {
            ["json", "."] => Some(Self::Json(Field(Vec::new()))),
            ["json", word] => field(word).map(Self::Json),
            [word] => field(word).map(Self::Field),
            _ => None,
        }
        .ok_or_else(|| FormatError::Action(action.trim().to_owned()))
    }

    fn print(&self, row: &Value) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Field(field) => Shown(text(field.of(row))).to_string(),
            Self::Json(field) => Shown(field.of(row)).to_string(),
        }
    }
}

impl Field {
    /// `None`: a name is missing, or has something else in it than letters, digits and underscores.
    fn parse(text: &str) -> Option<Self> {
        let fits =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        text.split('.').map(|name| fits(name).then(|| plain(name))).collect::<Option<_>>().map(Self)
    }

    /// Its value in this row.
    fn of<'v>(&self, row: &'v Value) -> &'v Value {
        let inner = self.0.iter().try_fold(row, |value, name| child(value, name));
        inner.unwrap_or(&Value::Null)
    }

    /// Whether rows have such a field. Where no row has anything there, nobody can say.
    fn check(&self, rows: &[&Value]) -> Result<(), CommandError> {
        let mut level: Vec<&Value> = rows.iter().copied().filter(|row| row.is_object()).collect();
        for name in &self.0 {
            let inner: Vec<&Value> = level.iter().filter_map(|value| child(value, name)).collect();
            if inner.is_empty() && !level.is_empty() {
                let mut known: Vec<String> = Vec::new();
                for field in
                    level.iter().filter_map(|value| value.as_object()).flat_map(|fields| fields.keys())
                {
                    if !known.contains(field) {
                        known.push(field.clone());
                    }
                }
                return Err(CommandError::NoField { field: self.0.join("."), known: known.join(", ") });
            }
            level = inner.into_iter().filter(|value| value.is_object()).collect();
        }
        Ok(())
    }
}

fn child<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.as_object()?.iter().find(|(key, _)| plain(key) == name).map(|(_, value)| value)
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}

/// A value as a word or several.
fn text(value: &Value) -> String {
    match value {
        Value::Null => NOTHING.to_owned(),
        Value::String(text) if text.is_empty() => NOTHING.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => NOTHING.to_owned(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

impl FromStr for Filter {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let (field, value) = text.split_once('=').ok_or(FormatError::Filter)?;
        let field = Field::parse(field.trim()).ok_or(FormatError::Filter)?;
        Ok(Self { field, value: value.trim().to_owned() })
    }
}

/// Whether rows like this one, which has all fields, have those that the filters name.
pub(crate) fn check_filters(filters: &[Filter], row: &Value) -> Result<(), CommandError> {
    filters.iter().try_for_each(|filter| filter.field.check(&[row]))
}

impl Filter {
    fn matches(&self, value: &Value) -> bool {
        match value {
            Value::Array(values) if !values.is_empty() => values.iter().any(|value| self.matches(value)),
            _ => is_written(&text(value), &self.value),
        }
    }
}

/// Whether a filter's value is written so for this text: the same, its beginning and a star, or an address without its prefix length.
fn is_written(text: &str, wanted: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let wanted = if wanted.is_empty() { NOTHING } else { wanted }.to_ascii_lowercase();
    let address =
        text.split_once('/').map(|(address, _)| address).filter(|address| address.parse::<IpAddr>().is_ok());
    let begins = wanted.strip_suffix('*').is_some_and(|begin| text.starts_with(begin));
    text == wanted || begins || address.is_some_and(|address| address == wanted)
}

/// Whether a row is among those that were asked for: for each field, one of its values.
pub(crate) fn is_selected(row: &Value, filters: &[Filter]) -> bool {
    let mut by_field: BTreeMap<&Field, bool> = BTreeMap::new();
    for filter in filters {
        *by_field.entry(&filter.field).or_default() |= filter.matches(filter.field.of(row));
    }
    by_field.into_values().all(|matched| matched)
}

/// Where the rows of an answer are, and what they are called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// JSON pointers to its arrays of rows (RFC 6901).
    pub(crate) tables: &'a [&'a str],
    /// The fields of which the first that has a value is a row's name, for `--quiet`.
    pub(crate) names: &'a [&'a str],
}

impl Rows<'_> {
    /// An answer that is one array.
    pub(crate) const fn named<'a>(names: &'a [&'a str]) -> Rows<'a> {
        Rows { tables: &[""], names }
    }
}

/// Prints an answer as the options ask; `table` makes a table of it.
pub(crate) fn list<T: Serialize + DeserializeOwned>(
    answer: &T,
    rows: Rows<'_>,
    options: &ListOptions,
    table: impl FnOnce(&T) -> String,
) -> Result<(), CommandError> {
    let mut document = serde_json::to_value(answer).map_err(CommandError::Json)?;
    let all: Vec<&Value> =
        rows.tables.iter().filter_map(|at| document.pointer(at)?.as_array()).flatten().collect();
    let format = options.format();
    format
        .fields()
        .chain(options.filter.iter().map(|filter| &filter.field))
        .try_for_each(|field| field.check(&all))?;
    for at in rows.tables {
        if let Some(Value::Array(rows)) = document.pointer_mut(at) {
            rows.retain(|row| is_selected(row, &options.filter));
        }
    }
    let left = || rows.tables.iter().filter_map(|at| document.pointer(at)?.as_array()).flatten();
    if options.quiet {
        let mut names: Vec<String> = Vec::new();
        for name in left().filter_map(|row| name(row, rows.names)).map(|name| Shown(name).to_string()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        return lines(&names);
    }
    match &format {
        Format::Template(Template(pieces)) => {
            let line = |row: &Value| pieces.iter().map(|piece| piece.print(row)).collect::<String>();
            lines(&left().map(line).collect::<Vec<_>>())
        }
        format => {
            let selected: T = serde_json::from_value(document).map_err(CommandError::Json)?;
            show(&selected, *format == Format::Json, table)
        }
    }
}

fn name(row: &Value, fields: &[&str]) -> Option<String> {
    fields.iter().find_map(|field| row.get(field)?.as_str().map(str::to_owned))
}

impl Format {
    /// The fields that it names.
    fn fields(&self) -> impl Iterator<Item = &Field> {
        let pieces = match self {
            Self::Template(Template(pieces)) => pieces.as_slice(),
            Self::Table | Self::Json => &[],
        };
        pieces.iter().filter_map(|piece| match piece {
            Piece::Field(field) | Piece::Json(field) => Some(field),
            Piece::Text(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows() -> Vec<Value> {
        vec![
            json!({"container": "web", "address": "192.0.2.57/24", "lease_left_s": 600, "state": "BOUND",
                   "ipv6": {"addresses": ["2001:db8::1/64", "2001:db8::2/64"]}}),
            json!({"container": null, "address": null, "lease_left_s": null, "state": "SELECTING", "ipv6": null}),
        ]
    }

    fn printed(template: &str) -> Vec<String> {
        let Format::Template(Template(pieces)) = template.parse().unwrap() else { panic!("{template}") };
        rows().iter().map(|row| pieces.iter().map(|piece| piece.print(row)).collect()).collect()
    }

    #[test]
    fn templates_name_fields_as_the_json_does_or_as_go_would() {
        let expected = ["web\t192.0.2.57/24!", "-\t-!"];
        assert_eq!(printed("{{.container}}\\t{{.address}}!"), expected);
        assert_eq!(printed("{{.Container}}\\t{{ .Address }}!"), expected);
        assert_eq!(printed("{{.lease_left_s}} {{.LeaseLeftS}}"), ["600 600", "- -"]);
        assert_eq!(printed("{{.ipv6.addresses}}"), ["2001:db8::1/64, 2001:db8::2/64", "-"]);
        assert_eq!(printed("{{json .state}}"), ["\"BOUND\"", "\"SELECTING\""]);
        assert!(printed("{{json .}}")[0].starts_with("{\"address\":\"192.0.2.57/24\""));
    }

    #[test]
    fn values_from_outside_do_nothing_to_a_terminal() {
        let row = json!({"container": "x\n\u{1b}[2J"});
        assert_eq!(Piece::parse(".container").unwrap().print(&row), "x\\n\\u001b[2J");
    }

    #[test]
    fn what_is_no_format_is_refused() {
        assert_eq!("tabel".parse::<Format>(), Err(FormatError::Unknown("tabel".into())));
        assert_eq!("{{.name".parse::<Format>(), Err(FormatError::Open));
        for action in ["{{range .}}", "{{name}}", "{{.a b}}", "{{.}}", "{{}}", "{{.a..b}}", "{{json}}"] {
            assert!(matches!(action.parse::<Format>(), Err(FormatError::Action(_))), "{action}");
        }
        let refused = "tabel".parse::<Format>().unwrap_err().to_string();
        assert!(refused.ends_with("like '{{.container}} {{.address}}'"), "{refused}");
        for filter in ["state", "=BOUND", "a b=c"] {
            assert_eq!(filter.parse::<Filter>(), Err(FormatError::Filter), "{filter}");
        }
    }

    fn selected(filters: &[&str]) -> Vec<usize> {
        let filters: Vec<Filter> = filters.iter().map(|filter| filter.parse().unwrap()).collect();
        let rows = rows();
        let rows = rows.iter().enumerate().filter(|(_, row)| is_selected(row, &filters));
        rows.map(|(index, _)| index).collect()
    }

    #[test]
    fn filters_of_one_field_are_alternatives_and_fields_are_conditions() {
        assert_eq!(selected(&[]), [0, 1]);
        assert_eq!(selected(&["state=bound"]), [0]);
        assert_eq!(selected(&["state=BOUND", "State=SELECTING"]), [0, 1]);
        assert_eq!(selected(&["state=SELECTING", "container=web"]), [0usize; 0]);
        assert_eq!(selected(&["container=w*"]), [0]);
        assert_eq!(selected(&["container="]), [1]);
        assert_eq!(selected(&["address=192.0.2.57"]), [0]);
        assert_eq!(selected(&["address=192.0.2.5"]), [0usize; 0]);
        assert_eq!(selected(&["ipv6.addresses=2001:db8::2"]), [0]);
        assert_eq!(selected(&["lease_left_s=600"]), [0]);
    }

    #[test]
    fn a_field_that_no_row_has_is_named_with_those_that_there_are() {
        let (rows, check) = (rows(), |field: &str, rows: &[Value]| {
            Field::parse(field)
                .unwrap()
                .check(&rows.iter().collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        });
        assert!(check("ipv6.addresses", &rows).is_ok() && check("state", &rows).is_ok());
        let refused = check("adress", &rows).unwrap_err();
        assert!(refused.contains("\"adress\"") && refused.contains("address, container"), "{refused}");
        assert!(check("ipv6.adresses", &rows).unwrap_err().contains("\"ipv6.adresses\""));
        assert!(check("anything", &[]).is_ok(), "nobody knows");
        assert!(check("ipv6.anything", &rows[1..]).is_ok(), "nobody knows");
    }
}
