//! The netavark plugin: the program as Podman and netavark call it, with one of four words.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use landline_runtimes::netavark::{Refused, create, info, setup, status, teardown};
use landline_types::chain;
use serde_json::Value;

use super::{ask, print};
use crate::control::{Answer, CallError, Request, RuntimeRequest};

/// What a container of a user's own Podman cannot have.
const ROOTLESS: &str = "Podman runs without root, and its containers are in a network namespace that has no way to the LAN; run \
                        it as root (sudo podman)";

/// Serves the request, if the program was called so.
pub(super) fn serve() -> Option<ExitCode> {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).filter_map(|word| word.into_string().ok()).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let answer = match words[..] {
        ["info"] => Ok(Some(info(env!("CARGO_PKG_VERSION")))),
        // These are no commands for people, who read that in the answer to what they typed.
        _ if std::io::stdin().is_terminal() => return None,
        ["create"] => input().and_then(|input| create(&input)).map(Some),
        ["setup", netns] => input().and_then(|input| set_up(netns, &input)).map(Some),
        ["teardown", _] => input().and_then(|input| tear_down(&input)).map(|()| None),
        _ => return None,
    };
    Some(match answer {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(value)) => print(&value, ExitCode::SUCCESS),
        Err(refused) => print(&refused.json(), ExitCode::FAILURE),
    })
}

fn input() -> Result<Vec<u8>, Refused> {
    super::input().map_err(Refused)
}

fn set_up(netns: &str, input: &[u8]) -> Result<Value, Refused> {
    let setup = setup(netns, input)?;
    let (owner, sandbox, spec) = (setup.owner, setup.netns, Box::new(setup.spec));
    match ask_runtime(RuntimeRequest::Attach { owner, sandbox, spec })? {
        Answer::Interface(interface) => Ok(status(&interface)),
        _ => Err(unexpected()),
    }
}

fn tear_down(input: &[u8]) -> Result<(), Refused> {
    match ask_runtime(RuntimeRequest::Detach { owner: teardown(input)? })? {
        Answer::Done => Ok(()),
        _ => Err(unexpected()),
    }
}

fn ask_runtime(request: RuntimeRequest) -> Result<Answer, Refused> {
    match ask(&Request::Runtime(request)) {
        Ok(Answer::RuntimeError(_, text)) => Err(Refused(text)),
        Ok(answer) => Ok(answer),
        Err(CallError::Connect { .. }) if is_in_user_namespace() => Err(Refused(ROOTLESS.into())),
        Err(error) => Err(Refused(chain(&error))),
    }
}

fn unexpected() -> Refused {
    Refused(
        "the daemon sent an unexpected answer; check that the plugin and the daemon have the same version"
            .into(),
    )
}

/// Whether the process is in a user namespace: the first one has all users (`user_namespaces(7)`).
fn is_in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}
