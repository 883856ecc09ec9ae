//! Rules of the packet filter, handed to `nft(8)` as one script: the kernel takes all of it or nothing. And what there is
//! of rules, for those who look.
//!
//! For tables of our own, rendered whole; [`table`] writes the lines that put one in the place of what was there.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::{Command, Output, Stdio};

use crate::helper;

/// Why the rules were not changed.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// There is no `nft`.
    #[error("nft is not installed")]
    Missing,
    /// It could not be run.
    #[error("cannot run nft")]
    Run(#[source] io::Error),
    /// It refused the rules; nothing was changed.
    #[error("nft refused the rules: {0}")]
    Refused(String),
}

/// Hands a script to `nft -f -` in the calling thread's namespace; blocks until it is done.
///
/// # Errors
/// See [`NftError`]; the rules are as they were.
pub fn apply(script: &str) -> Result<(), NftError> {
    let _running = helper::begin();
    let spawned = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut nft = spawned.map_err(not_run)?;
    if let Some(mut input) = nft.stdin.take() {
        match input.write_all(script.as_bytes()) {
            // It gave up before the end of the script and says why.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let _ = nft.wait();
                return Err(NftError::Run(error));
            }
            _ => {}
        }
    }
    let output = nft.wait_with_output().map_err(NftError::Run)?;
    if output.status.success() {
        return Ok(());
    }
    Err(refused(&output))
}

/// All rules there are in the calling thread's namespace, as JSON (libnftables-json(5)); blocks until it is done.
///
/// # Errors
/// See [`NftError`].
pub fn list() -> Result<String, NftError> {
    let mut command = Command::new("nft");
    let listed = helper::run_helper(command.args(["-j", "list", "ruleset"]).stdin(Stdio::null()));
    let output = listed.map_err(not_run)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(refused(&output))
}

fn not_run(error: io::Error) -> NftError {
    match error.kind() {
        io::ErrorKind::NotFound => NftError::Missing,
        _ => NftError::Run(error),
    }
}

fn refused(output: &Output) -> NftError {
    let said = String::from_utf8_lossy(&output.stderr);
    NftError::Refused(said.lines().next().unwrap_or("it did not say why").to_owned())
}

/// The lines that replace a table, or remove it where it has no content, whether or not it is there.
pub fn table(family: &str, name: &str, content: &str) -> String {
    let mut script = format!("table {family} {name}\ndelete table {family} {name}\n");
    if !content.is_empty() {
        // Writing to a String cannot fail.
        let _ = writeln!(script, "table {family} {name} {{\n{content}}}");
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_what_was_there() {
        assert_eq!(table("arp", "t", ""), "table arp t\ndelete table arp t\n");
        assert_eq!(
            table("arp", "t", "\tchain c {\n\t}\n"),
            "table arp t\ndelete table arp t\ntable arp t {\n\tchain c {\n\t}\n}\n"
        );
    }
}
