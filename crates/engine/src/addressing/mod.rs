//! Where addresses come from: one file per kind.

pub(crate) mod book;
pub(crate) mod dhcp;
pub(crate) mod permit;
