//! Where addresses come from: one file per kind.

pub mod book;
pub mod dhcp;
pub mod permit;
