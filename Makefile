# Everything that is done with the sources, by name. Needs a Rust toolchain (rustup or rustc 1.95 and cargo);
# `make deps` brings the rest. Nothing of the user's is touched: tools go below target/tools.

SHELL := /bin/bash
export PATH := $(CURDIR)/target/tools/bin:$(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin

CARGO_DENY := 0.20.2
CARGO_FUZZ := 0.13.2
CARGO_DEB := 3.8.0
CARGO_AUDITABLE := 0.7.7
CARGO_CYCLONEDX := 0.5.9
CARGO_GENERATE_RPM := 0.21.1
FUZZ_TARGETS := v2_path challenge content_range http1 http1_hyper
FUZZ_RUNS := 1000000

# The laboratory makes a network namespace and runs containerd. Built by the user, run by root.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
HOST = $(shell rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
AS_ROOT = $(if $(SUDO),env CARGO_TARGET_$(HOST)_RUNNER=$(SUDO))

.DEFAULT_GOAL := help
.PHONY: help deps demo-deps tools deb-tools rpm-tools lintian auditable arm64-deps build deb deb-arm64 rpm rpm-arm64 sums reproducible check-arm64 test-packages test-deb-arm64 test-rpms test-arm64 test-rpm demo test test-fast test-real test-docker test-machine test-upgrade test-ansible test-harbor-tier test-harbor-tier-once test-apt test-browser apt-repo test-matrix \
  lint-ansible chaos soak fleet hostile kills port-kills law audit bench bench-deps bench-files bench-layers fuzz compare-containerd-alone lines clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)$$/\1\t\2/p' Makefile | expand -t 28

deps: ## installs the Debian packages that are missing (as root, or by sudo), and brings below target/tools a Go where it is too old, and axe-core
	@tests/lab/deps.sh
	@tests/lab/go.sh
	@tests/lab/axe.sh

demo-deps:
	@tests/lab/deps.sh --demo

bench-deps:
	@tests/lab/deps.sh haproxy wrk

tools: ## builds cargo-deny below target/tools, once (two minutes)
	@command -v cargo-deny >/dev/null || { \
	  echo "cargo-deny is missing: building it below target/tools (two or three minutes)"; \
	  cargo install --locked --root target/tools cargo-deny@$(CARGO_DENY); }

# $(call tool,NAME,VERSION): builds it below target/tools, once.
tool = command -v $(1) >/dev/null || { \
	  echo "$(1) is missing: building it below target/tools (some minutes)"; \
	  cargo install --locked --debug --root target/tools $(1)@$(2); }

deb-tools:
	@$(call tool,cargo-deb,$(CARGO_DEB))
	@$(call tool,cargo-cyclonedx,$(CARGO_CYCLONEDX))

rpm-tools:
	@$(call tool,cargo-generate-rpm,$(CARGO_GENERATE_RPM))
	@$(call tool,cargo-cyclonedx,$(CARGO_CYCLONEDX))

# Before the build: without it the package would not be judged.
lintian:
	@tests/lab/deps.sh --only lintian

auditable:
	@$(call tool,cargo-auditable,$(CARGO_AUDITABLE))

ARM64 := aarch64-unknown-linux-gnu
arm64-deps:
	@tests/lab/deps.sh --only gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
	@rustc --print target-libdir --target $(ARM64) | xargs test -d || rustup target add $(ARM64)

build: ## target/release/harbor-pilot
	cargo build --release --locked

# The version as Debian writes it: of a pre-release 0.2.0~dev-1, which is older than 0.2.0-1. 0.2.0-dev-1 would not be.
VERSION = $(shell sed -n '1s/.*(\(.*\)).*/\1/p' packaging/changelog)
ARCH = $(shell dpkg --print-architecture)
deb: lintian deb-tools auditable ## target/debs/harbor-pilot_VERSION_ARCHITECTURE.deb, and what lintian says of it
	packaging/compile.sh
	packaging/glibc.sh target/release/harbor-pilot
	packaging/build.sh target/release/harbor-pilot target/debs/harbor-pilot_$(VERSION)_$(ARCH).deb
	@$(call lintian,target/debs/harbor-pilot_$(VERSION)_$(ARCH).deb)

lintian = lintian --allow-root --fail-on error,warning $(1)

deb-arm64: lintian deb-tools auditable arm64-deps ## the same for arm64, built on amd64
	packaging/compile.sh $(ARM64)
	packaging/glibc.sh target/$(ARM64)/release/harbor-pilot
	packaging/build.sh target/$(ARM64)/release/harbor-pilot target/debs/harbor-pilot_$(VERSION)_arm64.deb --target $(ARM64)
	@$(call lintian,target/debs/harbor-pilot_$(VERSION)_arm64.deb)

MACHINE = $(shell uname -m)
rpm: rpm-tools auditable ## target/rpms/harbor-pilot-VERSION.ARCHITECTURE.rpm, for RHEL 9, SLES 15 SP6, Leap 15.6 and later
	packaging/compile.sh
	packaging/glibc.sh target/release/harbor-pilot
	packaging/rpm.sh target/release/harbor-pilot target/rpms/harbor-pilot-$(VERSION).$(MACHINE).rpm

rpm-arm64: rpm-tools auditable arm64-deps ## the same for arm64, built on amd64
	packaging/compile.sh $(ARM64)
	packaging/glibc.sh target/$(ARM64)/release/harbor-pilot
	packaging/rpm.sh target/$(ARM64)/release/harbor-pilot target/rpms/harbor-pilot-$(VERSION).aarch64.rpm --target $(ARM64)

sums: ## target/dist: all packages that are made, what they are made of, SHA256SUMS and its signature: KEY=fingerprint
	@packaging/sums.sh target/dist "$(KEY)"

reproducible: deb-tools rpm-tools auditable ## builds both packages twice, in other directories, and compares them (half an hour)
	@packaging/reproducible.sh

check-arm64: arm64-deps ## cargo check for arm64
	@CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc cargo check --locked --target $(ARM64)

# KEY: of the caller's GnuPG keyring. REPO: the directory that a web server serves.
KEY :=
REPO := target/apt
SUITE := stable
apt-repo: ## adds the packages of target/debs to a signed apt repository: KEY=fingerprint REPO=target/apt SUITE=stable
	@tests/lab/deps.sh --only apt-utils gpg gpg-agent xz-utils
	@packaging/apt-repo.sh "$(REPO)" "$(KEY)" "$(SUITE)"

# For the tests: the debug build as a package, twice, so that there is something to upgrade to. The second is later than any first.
SECOND := 9.0.0-1
test-packages: deb-tools
	@cargo build --quiet --locked --bin harbor-pilot --example manuals
	@DEB_COMPRESSION="-Zgzip -z1" packaging/build.sh target/debug/harbor-pilot target/debs/test/first.deb --fast
	@DEB_COMPRESSION="-Zgzip -z1" packaging/build.sh target/debug/harbor-pilot target/debs/test/second.deb --fast --deb-version $(SECOND)

# The debug build again, so that it is made in minutes.
test-deb-arm64: deb-tools arm64-deps
	@CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
	  cargo build --quiet --locked --bin harbor-pilot --target $(ARM64)
	@DEB_COMPRESSION="-Zgzip -z1" packaging/build.sh target/$(ARM64)/debug/harbor-pilot target/debs/test/arm64.deb --fast --target $(ARM64)

test-rpms: rpm-tools
	@cargo build --quiet --locked --bin harbor-pilot --example manuals
	@RPM_COMPRESSION=none packaging/rpm.sh target/debug/harbor-pilot target/rpms/test/first.rpm
	@RPM_COMPRESSION=none packaging/rpm.sh target/debug/harbor-pilot target/rpms/test/second.rpm $(SECOND)

demo: demo-deps ## the main job, narrated: pulls through failing tiers by the real containerd; then projects found, an image without a registry, warm, healthd
	@cargo build --locked --bin harbor-pilot
	@$(AS_ROOT) cargo test --locked --quiet --test demo

test: deps tools deb-tools ## everything: formatting, lints, docs, licences, all tests, the real containerd, the demo
	@AS_ROOT="$(AS_ROOT)" tests/parts.sh

test-fast: ## unit and integration tests alone, without root
	cargo test --locked

test-real: deps ## the tests with the real containerd alone
	$(AS_ROOT) cargo test --locked --test real -- --test-threads=1 --show-output

test-docker: deps ## plan --for docker, read by a real dockerd (installs Debian's docker.io, which starts nothing)
	@tests/lab/deps.sh docker.io
	$(AS_ROOT) cargo test --locked --test docker

test-machine: deps test-packages ## the package on booted Debian 12 and 13: install, reload, upgrade, faults, remove (the first run fetches both)
	@tests/lab/crictl.sh
	$(AS_ROOT) cargo test --locked --test machine -- --test-threads=1 --show-output

port-kills: deps test-packages ## kill -9 at 200 random moments beside another user's process that wants the agent's port (ten minutes)
	HARBOR_PILOT_PORT_KILLS=200 $(AS_ROOT) cargo test --locked --test machine -- --test-threads=1 --show-output port::

test-upgrade: deps test-packages ## from 0.1.0 to this version and back, on a booted Debian 12 (the first run builds 0.1.0 from its commit)
	@tests/upgrade/package.sh
	$(AS_ROOT) cargo test --locked --test upgrade -- --test-threads=1 --show-output

test-ansible: deps test-packages ## the Ansible role against two booted Debian 12 with a stand-in for k3s (ten minutes)
	$(AS_ROOT) cargo test --locked --test ansible -- --test-threads=1 --show-output

test-apt: deps test-packages ## the repository that make apt-repo makes, read by the real apt over a web server (seconds)
	cargo test --locked --test apt

test-arm64: deps test-deb-arm64 ## the arm64 package by qemu: check, init, a pull, restore (HARBOR_PILOT_ARM64_DEB=… tries another package)
	cargo test --locked --test arm64 -- --nocapture

test-rpm: deps test-packages test-rpms ## the rpm by rpmlint, and by dnf, zypper and the Ansible role on a booted Debian that has these
	@tests/lab/deps.sh debootstrap rpm rpmlint
	$(AS_ROOT) cargo test --locked --test rpm -- --test-threads=1 --show-output

test-harbor-tier: deps test-packages test-harbor-tier-once ## the role for Harbor hosts: its module, then the whole on a booted Debian with nginx and a scripted Harbor

test-harbor-tier-once:
	@tests/harbor_tier/module.sh
	@$(AS_ROOT) cargo test --locked --test harbor_tier -- --show-output

test-browser: deps ## the page in a real browser, with what axe-core finds; pictures in target/browser (half a minute)
	$(AS_ROOT) cargo test --locked --test browser -- --test-threads=2

lint-ansible: deps ## the Ansible role by ansible-lint, and the syntax of its playbooks
	tests/ansible/lint.sh

# N pulls; the first has the seed SEED (without one: the clock's), the others follow it.
N := 500
SEED :=
chaos: deps ## N=500 pulls while random things go wrong, from SEED; an hour or less (N=1 SEED=… replays one)
	@$(AS_ROOT) cargo test --locked --quiet --test chaos -- --count "$(N)" --seed "$(SEED)"

hostile: ## the long forms of tests/hostile: floods of up to 30 s, and a minute after each attack on memory, on loopback
	HARBOR_PILOT_HOSTILE=long cargo test --locked --test hostile -- --test-threads=1 --nocapture

kills: ## kill -9 at N=500 random moments while the node's files are written (SEED=… repeats one run)
	HARBOR_PILOT_KILLS="$(N)" $(if $(SEED),HARBOR_PILOT_SEED="$(SEED)") cargo test --locked --test node_kills -- --nocapture

law: deps ## the law of the node's files on 10,000 generated nodes, judged by containerd's own code (minutes; HARBOR_PILOT_SEED=… repeats one)
	HARBOR_PILOT_LAW=10000 cargo test --locked --test node_law -- --nocapture

MINUTES := 30
soak: deps ## MINUTES=30 of parallel pulls through one agent under the faults of the chaos suite: memory and open files must be flat
	@$(AS_ROOT) cargo test --locked --quiet --test chaos -- --soak "$(MINUTES)" --seed "$(SEED)"

# Some of 1.6 1.7 2.x; none: all.
GENERATIONS :=
test-matrix: deps ## containerd 1.6, 1.7 and 2.x from Debian 12, trixie and forky: a line for each version and test; an hour
	@tests/lab/deps.sh debootstrap podman
	@tests/lab/crictl.sh
	@tests/lab/oras.sh
	@SUDO="$(SUDO)" tests/matrix.sh $(GENERATIONS)

audit: tools ## known vulnerabilities of the dependencies; needs the internet
	cargo-deny check advisories

bench: bench-deps bench-files ## figures beside nginx and HAProxy on the same origin, and of the node's files
	cargo bench --locked --bench relay

bench-files: ## from a tier's change of state to the file on disk, with 1, 7 and 100 registries
	cargo bench --locked --bench files

# BEFORE: an older binary.
BEFORE :=
ROUNDS := 15
bench-layers: deps ## a pull of 8 layers by containerd through two builds in turns: BEFORE=an older binary ROUNDS=15
	@cargo build --release --locked --bin harbor-pilot
	@$(AS_ROOT) cargo test --locked --quiet --test demo -- layers $(CURDIR)/target/release/harbor-pilot "$(BEFORE)" $(ROUNDS)

compare-containerd-alone: deps ## the cost of a dead, a stalling and a dripping mirror, with and without the agent (ten minutes)
	@$(AS_ROOT) cargo test --locked --quiet --test demo -- compare
	@$(AS_ROOT) cargo test --locked --quiet --test chaos -- compare

NODES := 10000
fleet: ## NODES=10000 nodes in paused time lose REPLICA and get it back: who is asked how often (minutes; 1,000 are part of the tests)
	FLEET_NODES="$(NODES)" cargo test --locked --lib relay::tests::fleet::lost -- --nocapture

fuzz: ## a million inputs for each parser of foreign bytes; needs a nightly toolchain
	@tests/lab/deps.sh g++
	@command -v cargo-fuzz >/dev/null || cargo install --locked --root target/tools cargo-fuzz@$(CARGO_FUZZ)
	@for target in $(FUZZ_TARGETS); do \
	  mkdir -p fuzz/corpus/$$target && \
	    cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -runs=$(FUZZ_RUNS) || exit 1; done

lines: ## lines of src and its folders, without tests and test help
	@tests/lines.sh

clean: ## removes target
	$(SUDO) rm -rf target/machines target/roots
	cargo clean
