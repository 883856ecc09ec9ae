//! Interfaces for containers that are there already.
//!
//! - `commands`: `landline attach`, `detach`, `pid`, `ip`, `exec`, and `pipework`, which ask the daemon.
//! - [`Attacher`]: the daemon's side of them, and of what containers ask for in labels and environment. Its task,
//!   [`Attacher::follow`], computes from Docker's view, the store and the configuration what there should be (`jobs`);
//!   each container and each attachment has a worker of its own that makes it so (`work`), and its rows in `landline ls`.
//! - [`DropIn`]: the daemon in the place of the docker-pipework container, with its environment variables.
//! - `places`: processes and paths of namespaces, of which Docker says nothing, are followed.
//! - `runtime`: the daemon's side of what container runtimes ask for.
//! - `wait`: `pipework --wait`, which runs inside a container.

mod board;
mod commands;
mod drop_in;
mod jobs;
mod places;
mod runtime;
mod service;
mod settings;
mod wait;
mod work;

pub(crate) use board::{AttachRow, RowState};
pub(crate) use commands::{AttachCommandError, attach, detach, exec, ip, pid, pipework, render};
pub(crate) use drop_in::DropIn;
pub(crate) use service::{Attacher, SettingsError, Where, read_config};
pub(crate) use settings::{allow, check};
