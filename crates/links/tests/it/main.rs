//! Sandboxes of the real kernel: namespaces that each test makes for itself and that vanish with it. Needs root.

mod dress;
mod ipv4;
mod ipv6;
mod lab;
mod routes;
