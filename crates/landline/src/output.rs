//! What commands print: plain tables for people, JSON for programs.

use std::io::Write as _;
use std::{fmt, io};

use comfy_table::Table;
use landline_types::Shown;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::control::CallError;
use crate::identity::FormatError;

/// Why a command that asks the daemon did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("nothing on a Landline network is called {0:?}; landline ls shows what there is")]
    NoSuch(String),
    #[error("no container runs on network {0}; landline identity ls shows those that ran there")]
    Empty(String),
    #[error("{container} does not run; on network {network} it last had {address} (landline identity ls)")]
    Stopped { container: String, network: String, address: String },
    #[error("{container} has no lease on network {network}; landline ls shows what there is")]
    Elsewhere { container: String, network: String },
    #[error("the daemon answered something else")]
    Unexpected,
    #[error(transparent)]
    Reservation(#[from] FormatError),
    #[error("cannot read the key from standard input")]
    Read(#[source] io::Error),
    #[error("cannot read {}", path.display())]
    Document {
        path: std::path::PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("this is no export of identities; landline identity export writes one")]
    NoExport(#[source] serde_json::Error),
    #[error("{0}")]
    TimedOut(String),
    #[error("no row has a field {field:?}; the fields are: {known}")]
    NoField { field: String, known: String },
    #[error(
        "the daemon stopped, so no more events follow; landline events --follow works again when the daemon runs"
    )]
    FollowEnded,
    #[error("cannot print JSON")]
    Json(#[source] serde_json::Error),
    #[error("cannot print")]
    Print(#[source] io::Error),
}

/// Prints a value as JSON, or as what `plain` makes of it. Of the texts in it many are from outside: names of containers, what
/// DHCP servers say. In what `plain` gets they are escaped, so that none of them is more than a word in a line.
pub(crate) fn show<T: Serialize + DeserializeOwned>(
    value: &T,
    json: bool,
    plain: impl FnOnce(&T) -> String,
) -> Result<(), CommandError> {
    let text = if json {
        serde_json::to_string_pretty(value).map_err(CommandError::Json)?
    } else {
        plain(&shown(value).map_err(CommandError::Json)?)
    };
    print(io::stdout(), &text).map_err(CommandError::Print)
}

/// The value with all its texts escaped.
pub(crate) fn shown<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, serde_json::Error> {
    let mut value = serde_json::to_value(value)?;
    escape(&mut value);
    serde_json::from_value(value)
}

fn escape(value: &mut Value) {
    match value {
        Value::String(text) => *text = Shown(&text).to_string(),
        Value::Array(values) => values.iter_mut().for_each(escape),
        Value::Object(fields) => {
            let escaped = std::mem::take(fields).into_iter().map(|(name, mut value)| {
                escape(&mut value);
                (Shown(name).to_string(), value)
            });
            *fields = escaped.collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Writes lines of text. The ends of lines are the text's own; whatever else there is that is more than a letter on a terminal is
/// escaped.
fn print(to: impl io::Write, text: &str) -> io::Result<()> {
    let lines: String = text.lines().flat_map(|line| [Shown(line).to_string(), "\n".into()]).collect();
    write(to, lines.as_bytes())
}

fn write(mut to: impl io::Write, text: &[u8]) -> io::Result<()> {
    match to.write_all(text) {
        // Nobody reading on (`landline ls | head`) is fine.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Writes lines whose texts from outside are escaped already.
pub(crate) fn lines(lines: &[String]) -> Result<(), CommandError> {
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    write(io::stdout(), text.as_bytes()).map_err(CommandError::Print)
}

/// Says something on standard output, a line or several.
pub(crate) fn say(text: fmt::Arguments<'_>) {
    // Where nobody listens there is nobody to tell.
    let _ = print(io::stdout(), &text.to_string());
}

/// Prints what this program alone has made, such as a manual page, as it is.
pub(crate) fn page(text: &[u8]) -> io::Result<()> {
    io::stdout().write_all(text)
}

/// Says what went wrong, on one line.
pub(crate) fn complain(text: fmt::Arguments<'_>) {
    let _ = print(io::stderr(), &format!("landline: {}", Shown(text)));
}

/// Columns under a header, without lines.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        // Between columns only: the first begins where the line does.
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// What stands for nothing.
pub(crate) fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct View {
        name: String,
        options: Vec<(u8, String)>,
        labels: std::collections::BTreeMap<String, u64>,
    }

    #[test]
    fn what_comes_from_outside_is_a_word_in_a_line() {
        let evil = "x\ny\u{1b}[2J\u{202e}";
        let view = View {
            name: evil.into(),
            options: vec![(12, evil.into())],
            labels: [(evil.to_owned(), u64::MAX)].into(),
        };
        let word = "x\\ny\\u001b[2J\\u202e";
        let expected = View {
            name: word.into(),
            options: vec![(12, word.into())],
            labels: [(word.to_owned(), u64::MAX)].into(),
        };
        assert_eq!(shown(&view).unwrap(), expected);
        // And as a document it says the same as ever, without playing with the terminal.
        let mut printed = Vec::new();
        print(&mut printed, &serde_json::to_string_pretty(&view).unwrap()).unwrap();
        let printed = String::from_utf8(printed).unwrap();
        assert!(!printed.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{printed:?}");
        assert_eq!(serde_json::from_str::<View>(&printed).unwrap(), view);
    }

    /// Everything is printed through this file, and logged through that of the log, where it is escaped: so nothing has to be
    /// remembered where it is said.
    #[test]
    fn nothing_is_printed_past_the_escapes() {
        let mut found = Vec::new();
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let sources = fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path().join("src"));
        let mut directories: Vec<_> = sources.collect();
        let (mut files, own) = (0, ["output", "plain", "log"].map(|name| format!("landline/src/{name}.rs")));
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                files += 1;
                let text = fs::read_to_string(&path).unwrap();
                let lines = text.lines().enumerate().filter(|(_, line)| {
                    let prints = ["print!(", "println!(", "dbg!(", "io::stdout()", "io::stderr()"];
                    !own.iter().any(|own| path.ends_with(own))
                        // What the guard of a bridge says to the command that starts it.
                        && !line.contains("tokio::io::stdout()")
                        && !line.trim_start().starts_with("//")
                        && prints.iter().any(|print| line.contains(print))
                });
                found
                    .extend(lines.map(|(number, line)| format!("{}:{}: {line}", path.display(), number + 1)));
            }
        }
        assert!(files > 300, "{files} files were read");
        assert!(found.is_empty(), "use output::say, output::complain or tracing:\n{}", found.join("\n"));
    }
}
