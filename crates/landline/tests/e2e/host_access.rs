//! The host and its macvlan containers, Docker's and Landline's, reach each other, and nobody on the LAN notices.

mod declared;
mod macvlan;
mod numbered;
mod refusals;
mod repair;
mod router;
mod tools;
