//! The DHCP and ARP protocols as values and state machines: no sockets, no clock, no threads.
