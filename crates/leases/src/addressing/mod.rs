//! Which addresses a container may have: who has which (`book`), who may have one (`permit`), and what a DHCP client asks for (`dhcp`).

pub mod book;
pub mod dhcp;
pub mod permit;
