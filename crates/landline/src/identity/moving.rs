//! `landline identity export` and `landline identity import`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use landline_engine::{IdentityExport, Imported};

use crate::cli::ControlOptions;
use crate::control::{Answer, Request, call};
use crate::output::{CommandError, show};

/// The largest document that is read, in bytes.
const MAX_DOCUMENT: u64 = 12 << 20;

/// Prints this host's identities.
pub(super) async fn export(control: &ControlOptions) -> Result<(), CommandError> {
    match call(&control.control_socket, &Request::ExportIdentities).await? {
        Answer::Exported(export) => show(&*export, true, |_| String::new()),
        _ => Err(CommandError::Unexpected),
    }
}

/// Makes those of a file, or of standard input, this host's. It fails if some of them were refused.
pub(super) async fn import(
    control: &ControlOptions,
    file: &Path,
    json: bool,
) -> Result<ExitCode, CommandError> {
    let read = if file == Path::new("-") { read(io::stdin()) } else { File::open(file).and_then(read) };
    let text = read.map_err(|source| CommandError::Document { path: file.into(), source })?;
    let export: IdentityExport = serde_json::from_str(&text).map_err(CommandError::NoExport)?;
    let request = Request::ImportIdentities { export: Box::new(export) };
    let Answer::Imported(imported) = call(&control.control_socket, &request).await? else {
        return Err(CommandError::Unexpected);
    };
    show(&imported, json, |imported| said(imported))?;
    let refused = imported.iter().any(|one| one.refused.is_some());
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn read(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(MAX_DOCUMENT).read_to_string(&mut text)?;
    Ok(text)
}

fn said(imported: &[Imported]) -> String {
    let there = imported.iter().filter(|one| one.refused.is_none()).count();
    let refused = imported.iter().filter_map(|Imported { id, network, name, refused }| {
        Some(format!("{id} ({name} on {network}): {}", refused.as_ref()?))
    });
    let sum = format!("{there} of {} identities imported", imported.len());
    refused.chain([sum]).collect::<Vec<_>>().join("\n")
}
