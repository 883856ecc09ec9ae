//! What Landline asks of Linux: namespaces, links, addresses, routes, packet sockets.
