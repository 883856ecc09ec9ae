//! Plain tables for people.

use std::io::Write as _;

use comfy_table::Table;

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

/// Prints to standard output. Nobody reading on (`landline ls | head`) is fine.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
