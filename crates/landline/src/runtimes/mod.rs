//! The program as the plugin of a container runtime: a process for each request, which asks the daemon.

mod cni;
mod netavark;

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use crate::cli::ControlOptions;
use crate::control::{Answer, CallError, Request, call};
use crate::output;

/// The longest request, in bytes.
const MAX_INPUT: u64 = 4 << 20;

/// Serves the request of a container runtime, if one has called the program.
pub(crate) fn serve() -> Option<ExitCode> {
    cni::serve().or_else(netavark::serve)
}

/// What the runtime has written to standard input.
fn input() -> Result<Vec<u8>, String> {
    let mut input = Vec::new();
    let read = std::io::stdin().take(MAX_INPUT).read_to_end(&mut input);
    read.map(|_| input).map_err(|error| format!("cannot read standard input: {error}"))
}

fn print(value: &Value, code: ExitCode) -> ExitCode {
    match output::lines(&[value.to_string()]) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn ask(request: &Request) -> Result<Answer, CallError> {
    let socket = std::env::var_os(ControlOptions::VARIABLE)
        .map_or_else(|| PathBuf::from(ControlOptions::DEFAULT), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    runtime.map_err(CallError::Broken)?.block_on(call(&socket, request))
}
