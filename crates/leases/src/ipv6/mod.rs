//! IPv6 beside IPv4: the machine of `landline_dhcp::v6` with sockets, a clock and a sandbox around it.
//!
//! The machine decides everything: which routers and servers are asked, which addresses are used and until when. Its
//! [`State6`](landline_dhcp::v6::State6) is the whole of what a link carries, so that this is all there is to do here:
//! `machine` stores what the client says, at a pace that a flood of advertisements cannot quicken,
//! `ra_listeners` is what is heard without one, `company` has the links of one container look again, `config` says how the machine is
//! set up, and `release` what is said when nobody will come back.

mod company;
mod config;
mod machine;
mod ra_listeners;
mod release;

pub use company::Company;
pub use config::config;
pub use machine::{Status6, ask_again, resume, start};
pub use ra_listeners::RaListeners;
pub use release::release;
