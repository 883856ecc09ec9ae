//! Landline on a real Docker, on a LAN with real DHCP servers, in namespaces of the test's own.
//!
//! Every test makes its own LAN and Docker host (about a second), so they run side by side.

mod footprint;
mod kinds;
mod six;
mod sockets;
mod tools;
mod world;

mod attach;
mod attach_asked;
mod attach_forms;
mod basics;
mod boot;
mod bridge;
mod bridge_ovs;
mod changes;
mod cli;
mod compose;
mod config;
mod conflict;
mod connect;
mod crash;
mod crowd;
mod dual;
mod endpoints;
mod failures;
mod firewall;
mod four_ways;
mod host_access;
mod hostile;
mod identity;
mod inspect;
mod ipam;
mod ipam_dhcp;
mod ipv6;
mod lan;
mod lease;
mod lease_options;
mod links;
mod managers;
mod ovs;
mod quiet;
mod recovery;
mod refusals;
mod reservations;
mod resolver;
mod restart;
mod routers;
mod routes;
mod servers;
mod servers6;
mod state;
mod static_addressing;
mod ten;
mod vde;
