//! The product: networks, endpoints, links, addressing, leases and the store.
