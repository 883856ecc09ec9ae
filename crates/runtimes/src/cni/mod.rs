//! The Container Network Interface (<https://github.com/containernetworking/cni/blob/main/SPEC.md>), versions 0.3.0 to 1.1.0.

mod check;
mod config;
mod environment;
mod error;
mod request;
mod result;
mod version;

pub use check::difference;
pub use environment::Environment;
pub use error::{CniError, Failure};
pub use request::{Add, Call, Check, Request, read};
pub use result::result;
pub use version::{Version, versions};
