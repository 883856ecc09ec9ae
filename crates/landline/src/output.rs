//! What commands print: plain tables for people, JSON for programs.

use std::io::{self, Write as _};

use comfy_table::Table;
use serde::Serialize;

use crate::control::CallError;

/// Why a command that asks the daemon did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("nothing on a Landline network is called {0:?}; landline ls shows what there is")]
    NoSuch(String),
    #[error("the daemon answered something else")]
    Unexpected,
    #[error("cannot print JSON")]
    Json(#[source] serde_json::Error),
    #[error("cannot print")]
    Print(#[source] io::Error),
}

/// Prints a value as JSON, or as what `plain` makes of it.
pub(crate) fn show<T: Serialize>(
    value: &T,
    json: bool,
    plain: impl FnOnce(&T) -> String,
) -> Result<(), CommandError> {
    let text =
        if json { serde_json::to_string_pretty(value).map_err(CommandError::Json)? } else { plain(value) };
    match writeln!(io::stdout(), "{text}") {
        // Nobody reading on (`landline ls | head`) is fine.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CommandError::Print(error)),
        _ => Ok(()),
    }
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
