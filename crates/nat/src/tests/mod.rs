//! What becomes of addresses, rules and exceptions, on a host that is lists.

mod claims;
mod follower;
mod leases;
mod world;
