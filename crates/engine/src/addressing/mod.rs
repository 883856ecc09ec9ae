//! Where addresses come from: one file per kind.

pub(crate) mod dhcp;
