//! What becomes of addresses, rules and openings, on a host that is lists.

mod claims;
mod follower;
mod leases;
mod world;
