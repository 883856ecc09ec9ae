//! Failures as runtimes read them.

use landline_model::RuntimeFailure;
use serde_json::{Value, json};

use super::Version;

/// Why a request was not served. The code is the specification's, from 100 on the plugin's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CniError {
    code: u32,
    message: String,
}

/// An error in the caller's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The version the caller speaks, or the newest if that could not be read.
    pub version: Version,
    /// What went wrong.
    pub error: CniError,
}

impl CniError {
    fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn version(message: impl Into<String>) -> Self {
        Self::new(1, message)
    }

    pub(super) fn environment(message: impl Into<String>) -> Self {
        Self::new(4, message)
    }

    /// The request could not be read.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(5, message)
    }

    pub(super) fn decode(message: impl Into<String>) -> Self {
        Self::new(6, message)
    }

    pub(super) fn config(message: impl Into<String>) -> Self {
        Self::new(7, message)
    }

    /// Something that passes: the runtime may ask again.
    pub fn later(message: impl Into<String>) -> Self {
        Self::new(11, message)
    }

    /// The plugin cannot serve ADD, for STATUS.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(50, message)
    }

    /// The interface is not as it was, for CHECK.
    pub fn differs(message: impl Into<String>) -> Self {
        Self::new(103, message)
    }

    /// What the daemon did not do.
    pub fn of(failure: RuntimeFailure, message: impl Into<String>) -> Self {
        let code = match failure {
            RuntimeFailure::Request => 7,
            RuntimeFailure::NoSandbox => 3,
            RuntimeFailure::Later => 11,
            RuntimeFailure::Other => 100,
            RuntimeFailure::AddressTaken => 101,
            RuntimeFailure::NameTaken => 102,
            RuntimeFailure::Lost => 103,
        };
        Self::new(code, message)
    }

    /// The code.
    pub const fn code(&self) -> u32 {
        self.code
    }
}

impl Failure {
    /// The error as the plugin prints it.
    pub fn json(&self) -> Value {
        json!({
            "cniVersion": self.version.as_str(),
            "code": self.error.code,
            "msg": self.error.message,
            "details": "",
        })
    }
}
