# What a fresh Debian machine needs is installed by the targets that need it.

SHELL := /bin/bash
LANDLINE := target/release/landline
TESTBED := target/release/testbed

PACKAGES := docker.io tini iproute2 iptables nftables dnsmasq-base udhcpc busybox-static kea-dhcp4-server \
	tcpdump hyperfine docker-compose iputils-ping iputils-arping curl procps ethtool kmod jq ca-certificates gcc libc6-dev

.PHONY: all demo test check unit bench packages clean-lab record-engines doc

all: $(LANDLINE)

# Installs only what is missing, and never starts a service.
packages:
	@packaging/install-packages $(PACKAGES)

build:
	cargo build --release --locked -p landline -p landline-testbed
