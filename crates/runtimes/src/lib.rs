//! What container runtimes ask of their network plugins, and what they are answered.
//!
//! A plugin is a program that the runtime starts for each request: a few variables and JSON go in, JSON comes out. Everything
//! that comes in is hostile until parsed. Nothing here does IO: a request becomes what the daemon is to be asked, and its
//! answer becomes the text that the runtime reads.

pub mod cni;
pub mod netavark;
