//! Runs commands the way a reader would, and shows them.

use std::io::{IsTerminal, Write};

use landline_testbed::{Error, Node, Output, Result, shell_words};

/// Prints a remark between two commands.
pub(crate) fn say(text: &str) {
    let (bold, plain) = if std::io::stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    println!("\n{bold}# {text}{plain}");
}

/// Shows a command, runs it on a machine, and shows what it prints; that is also returned.
pub(crate) fn run(node: &Node, argv: &[&str]) -> Result<String> {
    run_as(node.name(), &shell_words(argv), || node.run(argv))
}

/// As [`run`], for a command that is run in another way than it is shown.
pub(crate) fn run_as(place: &str, shown: &str, run: impl FnOnce() -> Output) -> Result<String> {
    println!("{place}$ {shown}");
    let _ = std::io::stdout().flush();
    let output = run();
    print!("{}{}", output.stdout, output.stderr);
    if output.success() {
        return Ok(output.stdout.trim().to_owned());
    }
    Err(Error::Unexpected(format!("`{shown}` failed on {place}: {}", output.status)))
}
