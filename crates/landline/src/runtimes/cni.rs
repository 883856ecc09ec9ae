//! The CNI plugin: the program as container runtimes call it, with `CNI_COMMAND` in the environment and no argument.

use std::process::ExitCode;

use landline_model::RuntimeApi;
use landline_runtimes::cni::{
    CniError, Environment, Failure, Request as CniRequest, Version, difference, read, result, versions,
};
use serde_json::Value;

use super::{ask, print};
use crate::control::{Answer, Request, RuntimeRequest};

/// Serves the request, if the program was called so.
pub(super) fn serve() -> Option<ExitCode> {
    let is_plugin = std::env::args_os().len() <= 1 && std::env::var_os("CNI_COMMAND").is_some();
    is_plugin.then(|| match answer() {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(value)) => print(&value, ExitCode::SUCCESS),
        Err(failure) => print(&failure.json(), ExitCode::FAILURE),
    })
}

fn answer() -> Result<Option<Value>, Failure> {
    let newest = |error| Failure { version: Version::NEWEST, error };
    let environment = Environment::read(|name| std::env::var(name).ok());
    let input = super::input().map_err(|error| newest(CniError::input(error)))?;
    let request = read(&environment, &input)?;
    let version = request.version;
    serve_request(version, request.request).map_err(|error| Failure { version, error })
}

fn serve_request(version: Version, request: CniRequest) -> Result<Option<Value>, CniError> {
    match request {
        CniRequest::Version => Ok(Some(versions(version))),
        CniRequest::Status => match ask(&Request::Ping) {
            Ok(_) => Ok(None),
            Err(error) => Err(CniError::unavailable(landline_types::chain(&error))),
        },
        CniRequest::Add(add) => {
            let (owner, sandbox, spec) = (add.owner, add.netns.clone(), Box::new(add.spec));
            let interface = interface(RuntimeRequest::Attach { owner, sandbox, spec })?;
            Ok(Some(result(version, add.previous, &interface, &add.netns, add.dns)))
        }
        CniRequest::Delete(owner) => done(RuntimeRequest::Detach { owner }),
        CniRequest::Check(check) => {
            let interface = interface(RuntimeRequest::Look { owner: check.owner })?;
            difference(&check.previous, &interface).map_or(Ok(None), |text| Err(CniError::differs(text)))
        }
        CniRequest::Collect { network, kept } => {
            done(RuntimeRequest::Keep { api: RuntimeApi::Cni, network, kept })
        }
    }
}

fn interface(request: RuntimeRequest) -> Result<landline_model::RuntimeInterface, CniError> {
    match ask_runtime(request)? {
        Answer::Interface(interface) => Ok(*interface),
        _ => Err(unexpected()),
    }
}

fn done(request: RuntimeRequest) -> Result<Option<Value>, CniError> {
    match ask_runtime(request)? {
        Answer::Done => Ok(None),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> CniError {
    CniError::later(
        "the daemon sent an unexpected answer; check that the plugin and the daemon have the same version",
    )
}

fn ask_runtime(request: RuntimeRequest) -> Result<Answer, CniError> {
    match ask(&Request::Runtime(request)) {
        Ok(Answer::RuntimeError(kind, text)) => Err(CniError::of(kind, text)),
        Ok(answer) => Ok(answer),
        // It is restarted, perhaps.
        Err(error) => Err(CniError::later(landline_types::chain(&error))),
    }
}
