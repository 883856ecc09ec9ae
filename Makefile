# What a fresh Debian machine needs is installed by the targets that need it. Everything that is started runs in
# network namespaces of its own.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# For building; for the demo and the tests; for the tests in a virtual machine.
BUILD_PACKAGES := gcc libc6-dev
LAB_PACKAGES := docker.io tini strace iproute2 iptables nftables dnsmasq-base udhcpc busybox-static kea-dhcp4-server \
	kea-dhcp6-server isc-dhcp-server isc-dhcp-client radvd tcpdump docker-compose iputils-ping \
	iputils-arping curl procps ethtool kmod jq util-linux python3-minimal vde2 openvswitch-switch iperf3 podman \
	systemd dbus network-manager ifupdown bridge-utils firewalld prometheus
# The demo's Docker is the one that is there.
DEMO_PACKAGES := $(if $(shell command -v dockerd),,docker.io) tini iproute2 iptables dnsmasq-base busybox-static iputils-ping curl
VM_PACKAGES := qemu-system-x86 xz-utils mmdebstrap e2fsprogs

PREFIX ?= /usr/local
# Where other Docker engines are unpacked.
ENGINES ?= target/engines
CARGO := cargo
LANDLINE := target/release/landline
TESTBED := target/release/testbed

.PHONY: all build static packages cargo-deb cargo-generate-rpm images build-packages demo test test-system test-engines lab-packages vm-packages nextest deny bench fuzz lease-days record-engines install clean-lab

all: build

build: build-packages
	$(CARGO) build --release --locked -p landline -p landline-testbed

# One that needs no libraries, for inside containers (`pipework --wait`, the images). The C library is linked in; Rust's
# musl target would do as well where it is installed.
STATIC_TARGET := $(shell uname -m)-unknown-linux-gnu
STATIC := target/$(STATIC_TARGET)/release/landline
BUILD_STATIC := RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --locked -p landline --target $(STATIC_TARGET)
static: build-packages
	$(BUILD_STATIC) --release
	@ls -l $(STATIC)

# The Debian package, the RPM and the archive, each around the static program, with checksums, in target/packages.
packages: static cargo-deb cargo-generate-rpm
	packaging/generated $(STATIC) target/packages
	$(CARGO) deb --locked --no-build -p landline --target $(STATIC_TARGET) --output target/packages/
	$(CARGO) generate-rpm -p crates/landline --target $(STATIC_TARGET) -o target/packages/
	packaging/archive $(STATIC) target/packages
	cd target/packages && sha256sum *.deb *.rpm *.tar.gz >SHA256SUMS
	ls -l target/packages

# The images of packaging/, out of what this machine has: the program, and for host-access its nft.
images: static
	@packaging/install-packages nftables
	set -e; for name in host-access pipework; do \
		packaging/image-context $$name $(STATIC) target/images/$$name; \
		docker build -t landline-$$name target/images/$$name; \
	done
	docker images --filter 'reference=landline-*'

# A LAN with a DHCP server and a Docker host, a network, a container, and what it can be reached by.
demo: build
	@packaging/install-packages $(DEMO_PACKAGES)
	$(TESTBED) demo --landline $(LANDLINE)

# Everything. What is skipped is printed with its reason; with CI set nothing may be skipped.
test: lab-packages vm-packages nextest deny cargo-deb
	$(CARGO) fmt --all --check
	$(CARGO) deny --locked check licenses bans sources
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) build --workspace --all-targets --locked
	CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_STRIP=true $(BUILD_STATIC)
	target/debug/testbed vm-setup --system
	$(CARGO) nextest run --workspace --locked --profile $(if $(CI),ci,default)
	$(CARGO) test --workspace --locked --doc --quiet
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --locked --no-deps

# One test of those: a host with systemd and a stock Docker in a virtual machine, with what it says and what each part takes. With
# ENGINE, a directory below $(ENGINES) (`testbed get-engines`), on that Docker instead.
test-system: lab-packages vm-packages nextest cargo-deb
	$(CARGO) build --workspace --all-targets --locked
	CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_STRIP=true $(BUILD_STATIC)
	target/debug/testbed vm-setup --system
	$(if $(ENGINE),LANDLINE_TEST_ENGINE=$(abspath $(ENGINE))) $(CARGO) nextest run --locked -p landline -E 'binary(vm) & test(system::a_host)' --no-capture

# Ten identical containers through every kind of restart, twice in a row, with the installed Docker engine and with newer ones, which
# are fetched and unpacked side by side (some 230 MB each); then the other tests of identities and restarts. Prints a table. `make
# test-engines TESTS='none()'` leaves out the other tests, and ROUNDS=1 the second round.
test-engines: lab-packages nextest
	@packaging/install-packages $(BUILD_PACKAGES)
	$(CARGO) build --locked -p landline-testbed
	target/debug/testbed test-engines $(ENGINES) $(if $(TESTS),--tests '$(TESTS)') $(if $(ROUNDS),--rounds $(ROUNDS))

# Prints medians and ratios of one run.
bench: build lab-packages
	$(TESTBED) bench --landline $(LANDLINE)

# A million executions of every fuzz target, on one core; prints a table.
fuzz: build-packages
	@packaging/install-packages g++
	packaging/fuzz

# The DHCP clients through days of faults in virtual time; prints how often what happened.
lease-days: build-packages
	$(CARGO) run --release --locked -p landline-dhcp --example lease-days -- 100000
	$(CARGO) run --release --locked -p landline-dhcp --example lease-days6 -- 10000

# Records what the engines ask of a network driver; a second run must leave no difference.
record-engines: build lab-packages
	$(TESTBED) get-engines $(ENGINES)
	$(TESTBED) record-engines --out crates/docker/tests/golden --engines $(ENGINES)
	git diff --exit-code -- crates/docker/tests/golden

build-packages:
	@packaging/install-packages $(BUILD_PACKAGES)

lab-packages:
	@packaging/install-packages $(LAB_PACKAGES)

vm-packages:
	@packaging/install-packages $(VM_PACKAGES)

nextest: build-packages
	@cargo nextest --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-nextest

# Unoptimized and without what asks the network: it is built in a third of the time and runs for a second.
deny: build-packages
	@cargo deny --version >/dev/null 2>&1 || $(CARGO) install --locked --debug --no-default-features cargo-deny

# What makes packages. Unoptimized: they run for a second.
cargo-deb: build-packages
	@cargo deb --version >/dev/null 2>&1 || $(CARGO) install --locked --debug cargo-deb

cargo-generate-rpm: build-packages
	@cargo generate-rpm --version >/dev/null 2>&1 || $(CARGO) install --locked --debug cargo-generate-rpm

install: build
	install -D -m 755 $(LANDLINE) $(DESTDIR)$(PREFIX)/bin/landline
	install -d $(DESTDIR)/etc/systemd/system
	set -e; for unit in landline.service landline.socket landline-switches.service landline-switches.socket; do \
		sed 's#/usr/bin/landline#$(PREFIX)/bin/landline#' packaging/systemd/$$unit >$(DESTDIR)/etc/systemd/system/$$unit; \
	done
	# systemd before 254 warns of settings that it does not know.
	if [ "$$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" -ge 254 ] 2>/dev/null; then \
		install -D -m 644 packaging/systemd/landline.service.d/restart-steps.conf \
			$(DESTDIR)/etc/systemd/system/landline.service.d/restart-steps.conf; \
	fi
	[ -e $(DESTDIR)/etc/landline/landline.toml ] || install -D -m 644 packaging/landline.toml $(DESTDIR)/etc/landline/landline.toml

# Removes what interrupted tests left behind.
clean-lab:
	$(TESTBED) clean
