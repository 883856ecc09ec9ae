//! The protocol spoken with Debian's `vde2`, in both roles.

mod lab;
mod management;
mod plug;
mod race;
mod switch;
mod wires;
