//! A LAN in network namespaces with real DHCP servers and Docker hosts, for tests, benchmarks and the demo.
