//! Completion in shells, and manual pages, both from the definition of the command line.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use clap::{Command, CommandFactory as _};
use clap_complete::env::{CompleteEnv, EnvCompleter, Shells};
use clap_complete::{ArgValueCandidates, CompletionCandidate};
use serde_json::Value;

use crate::cli::{Cli, CompletionsOptions, ControlOptions, ManOptions, Shell};
use crate::control::{MAX_LINE, Request};
use crate::output::page;

/// The environment variable by which a shell asks for candidates. No general name: the daemon's environment may have anything.
const VARIABLE: &str = "LANDLINE_COMPLETE";

/// How long the daemon may take to name what there is. A shell waits meanwhile.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the value of an argument names.
#[derive(Debug, Clone, Copy)]
enum Names {
    Containers,
    Networks,
    /// A container or a network.
    Either,
    Nics,
    Identities,
}

/// Which arguments are names: subcommands, the argument, and what it names.
const NAMED: [(&[&str], &str, Names); 26] = [
    (&["inspect"], "target", Names::Either),
    (&["lease", "renew"], "container", Names::Containers),
    (&["lease", "renew"], "network", Names::Networks),
    (&["lease", "release"], "container", Names::Containers),
    (&["lease", "release"], "network", Names::Networks),
    (&["identity", "of"], "name", Names::Containers),
    (&["identity", "of"], "network", Names::Networks),
    (&["identity", "forget"], "id", Names::Identities),
    (&["network", "forget"], "network", Names::Networks),
    (&["network", "create"], "parent", Names::Nics),
    (&["network", "inspect"], "target", Names::Networks),
    (&["network", "rm"], "networks", Names::Networks),
    (&["wait"], "target", Names::Containers),
    (&["trace"], "target", Names::Containers),
    (&["host-access", "enable"], "network", Names::Networks),
    (&["host-access", "disable"], "network", Names::Networks),
    (&["nat"], "container", Names::Containers),
    (&["nat"], "dev", Names::Nics),
    (&["nat", "rm"], "container", Names::Containers),
    (&["bridge", "adopt"], "nic", Names::Nics),
    (&["bridge", "confirm"], "bridge", Names::Nics),
    (&["bridge", "release"], "bridge", Names::Nics),
    (&["detach"], "container", Names::Containers),
    (&["pid"], "container", Names::Containers),
    (&["ip"], "container", Names::Containers),
    (&["allow"], "parent", Names::Nics),
];

/// Answers a shell that asks for candidates, and ends the process; returns if none asks.
pub(crate) fn answer_shell() {
    if std::env::var_os(VARIABLE).is_some() {
        CompleteEnv::with_factory(with_names).var(VARIABLE).complete();
    }
}

/// `landline completions`: prints what a shell reads to know the program's words.
pub(crate) fn print(options: &CompletionsOptions) -> io::Result<()> {
    let shells = Shells::builtins();
    let name = match options.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
    };
    let completer: &dyn EnvCompleter =
        shells.completer(name).ok_or_else(|| io::Error::other(format!("{name} is not supported")))?;
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "landline", "landline", "landline", &mut script)?;
    page(&script)
}

/// `landline man`: prints a manual page, or writes all of them.
pub(crate) fn man(options: &ManOptions) -> io::Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    if let Some(directory) = &options.dir {
        std::fs::create_dir_all(directory)?;
        return clap_mangen::generate_to(command, directory);
    }
    let asked = options.command.iter().try_fold(&command, |command, word| {
        command
            .find_subcommand(word)
            .ok_or_else(|| io::Error::other(format!("there is no command {word}; see landline --help")))
    })?;
    let mut text = Vec::new();
    clap_mangen::Man::new(asked.clone()).render(&mut text)?;
    page(&text)
}

/// The command line, with what its names can be.
fn with_names() -> Command {
    NAMED
        .iter()
        .fold(Cli::command(), |command, (path, argument, names)| named(command, path, argument, *names))
}

fn named(command: Command, path: &[&str], argument: &str, names: Names) -> Command {
    match path {
        // Not `mut_arg`, which puts the argument behind the others.
        [] => command.mut_args(|found| {
            if found.get_id() == argument {
                found.add(ArgValueCandidates::new(move || names.known()))
            } else {
                found
            }
        }),
        [first, rest @ ..] => command.mut_subcommand(first, |inner| named(inner, rest, argument, names)),
    }
}

impl Names {
    /// Those there are now; none where the daemon does not answer.
    fn known(self) -> Vec<CompletionCandidate> {
        let found = match self {
            Self::Nics => interfaces(),
            Self::Containers => column(&Request::Ls, "/ls/endpoints", "container"),
            Self::Networks => column(&Request::Networks, "/networks", "name"),
            Self::Either => {
                let mut both = column(&Request::Ls, "/ls/endpoints", "container");
                both.extend(column(&Request::Networks, "/networks", "name"));
                both
            }
            Self::Identities => column(&Request::Identities, "/identities", "id"),
        };
        let mut found: Vec<String> = found.into_iter().filter(|name| fits(name)).collect();
        found.sort();
        found.dedup();
        found.into_iter().map(CompletionCandidate::new).collect()
    }
}

/// What a shell can be given as it is.
fn fits(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-:@".contains(&b))
}

/// The host's interfaces.
fn interfaces() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name != "lo").collect()
}

/// One field of every row that the daemon answers with.
fn column(request: &Request, rows: &str, field: &str) -> Vec<String> {
    let default = OsString::from(ControlOptions::DEFAULT);
    let socket = std::env::var_os(ControlOptions::VARIABLE).unwrap_or(default);
    let answer = ask(&socket, request).unwrap_or_default();
    let rows = answer.pointer(rows).and_then(Value::as_array).into_iter().flatten();
    rows.filter_map(|row| row.get(field)?.as_str().map(str::to_owned)).collect()
}

fn ask(socket: &OsStr, request: &Request) -> io::Result<Value> {
    let mut stream = UnixStream::connect(Path::new(socket))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_LINE)).read_until(b'\n', &mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}

#[cfg(test)]
mod tests {
    use super::{Cli, NAMED, fits, with_names};
    use clap::CommandFactory as _;

    #[test]
    fn every_argument_that_is_a_name_is_there() {
        for (path, argument, _) in NAMED {
            let command = Cli::command();
            let inner = path.iter().fold(&command, |command, word| {
                command.find_subcommand(word).unwrap_or_else(|| panic!("no command {word}"))
            });
            assert!(inner.get_arguments().any(|found| found.get_id() == argument), "{path:?} {argument}");
        }
        with_names().debug_assert();
    }

    #[test]
    fn names_that_a_shell_would_read_are_left_out() {
        assert!(fits("web-1.lan_2"));
        for name in ["", "a b", "$(reboot)", "a;b", "a\nb", "é"] {
            assert!(!fits(name), "{name:?}");
        }
    }
}
