#!/bin/sh
# The LANs that the machine is plugged into, each a switch: `lan` with its NICs eth0, eth1 and eth2, `store` with eth3, and
# `lab` with eth4. A router is on the first and the last, a peer on all of them.
set -eu
for node in switch router peer; do
	ip netns add "$node"
	ip -n "$node" link set lo up
done
for lan in lan store lab; do
	ip -n switch link add "sw-$lan" type bridge
	ip -n switch link set "sw-$lan" up
done
cable() { # LAN NODE NAME MAC [ADDRESS]
	ip -n switch link add "p-$2-$3" type veth peer name "$3" address "$4"
	ip -n switch link set "p-$2-$3" master "sw-$1" up
	ip -n switch link set "$3" netns "$2"
	[ -z "${5-}" ] || ip -n "$2" address add "$5" dev "$3"
	[ "$2" = 1 ] || ip -n "$2" link set "$3" up
}
cable lan router lan 52:54:00:00:01:01 192.0.2.1/24
cable lab router lab 52:54:00:00:01:02 203.0.113.1/24
cable lan peer lan 52:54:00:00:01:03 192.0.2.2/24
cable store peer store 52:54:00:00:01:04 198.51.100.2/24
cable lab peer lab 52:54:00:00:01:05 203.0.113.2/24
for n in 0 1 2; do
	cable lan 1 "eth$n" "52:54:00:00:00:0$n"
done
cable store 1 eth3 52:54:00:00:00:03
cable lab 1 eth4 52:54:00:00:00:04
