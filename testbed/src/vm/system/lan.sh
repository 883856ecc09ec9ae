#!/bin/sh
# The LAN that the machine is plugged into: a switch, a router, a peer, and a cable to each of the machine's four NICs.
set -eu
for node in switch router peer; do
	ip netns add "$node"
	ip -n "$node" link set lo up
done
ip -n switch link add sw type bridge
ip -n switch link set sw up
cable() { # NODE NAME MAC
	ip -n switch link add "p-$1-$2" type veth peer name "$2" address "$3"
	ip -n switch link set "p-$1-$2" master sw up
	ip -n switch link set "$2" netns "$1"
}
cable router lan 52:54:00:00:01:01
cable peer lan 52:54:00:00:01:02
for n in 0 1 2 3; do
	cable 1 "eth$n" "52:54:00:00:00:0$n"
done
ip -n router address add 192.0.2.1/24 dev lan
ip -n peer address add 192.0.2.2/24 dev lan
ip -n peer address add 198.51.100.2/24 dev lan
ip -n router link set lan up
ip -n peer link set lan up
