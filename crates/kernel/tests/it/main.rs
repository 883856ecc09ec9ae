//! The real kernel, in namespaces that each test makes for itself and that vanish with it. Needs root.

mod alarm;
mod connections;
mod generic;
mod lab;
mod links;
mod monitor;
mod namespaces;
mod packets;
mod ruleset;
mod sockets;
mod tables;
mod taps;
