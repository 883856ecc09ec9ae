//! Networks that are made and removed by command, through Docker's API as `docker network` does it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::driver::DriverError;
use crate::watcher::{ApiError, EngineApi, door_to};

/// How long Docker may take; the driver's own part of it has a shorter limit.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why Docker did not do it.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Docker's own reason, or that of the driver.
    #[error("{0}")]
    Refused(String),
    /// Docker could not be asked.
    #[error("{0}")]
    Unreachable(String),
}

impl From<ApiError> for NetworkError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Status { says: Some(says), .. } => Self::Refused(says),
            other => Self::Unreachable(DriverError::from(other).to_string()),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Created {
    #[serde(rename = "Id", default)]
    id: String,
}

/// Creates a network by this description (`NetworkCreateRequest` of the Engine API), and returns its id; `address` as for
/// [`Watcher::new`](crate::Watcher::new).
///
/// # Errors
/// Docker or the driver refuses, or Docker cannot be asked.
pub async fn create_network(address: &str, network: &Value) -> Result<String, NetworkError> {
    let api = EngineApi::negotiate(&door_to(address), PATIENCE).await?;
    let created: Created = api.create("/networks/create", network).await?;
    Ok(created.id)
}

/// Removes the network of this name or id; `address` as for [`create_network`].
///
/// # Errors
/// Docker or the driver refuses, or Docker cannot be asked.
pub async fn remove_network(address: &str, network: &str) -> Result<(), NetworkError> {
    // Whatever else is no name of Docker's (`[a-zA-Z0-9][a-zA-Z0-9_.-]*`), and must not become part of a path.
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if network.is_empty() || network.starts_with('.') || !network.bytes().all(fits) {
        return Err(NetworkError::Refused(format!("{network:?} is no name of a network")));
    }
    let api = EngineApi::negotiate(&door_to(address), PATIENCE).await?;
    Ok(api.delete(&format!("/networks/{network}")).await?)
}
