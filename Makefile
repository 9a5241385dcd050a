# Everything that is done with the sources, by name. Needs a Rust toolchain (rustup or rustc 1.95 and cargo);
# `make deps` brings the rest. Nothing of the user's is touched: tools go below target/tools.

SHELL := /bin/bash
export PATH := $(CURDIR)/target/tools/bin:$(PATH):$(HOME)/.cargo/bin:/usr/sbin:/sbin

CARGO_DENY := 0.20.2
CARGO_FUZZ := 0.13.2
FUZZ_TARGETS := v2_path challenge content_range
FUZZ_RUNS := 1000000

# The laboratory makes a network namespace and runs containerd. Built by the user, run by root.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
HOST = $(shell rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
AS_ROOT = $(if $(SUDO),env CARGO_TARGET_$(HOST)_RUNNER=$(SUDO))

.DEFAULT_GOAL := help
.PHONY: help deps tools build demo test test-fast test-real test-matrix chaos audit bench bench-deps fuzz compare-containerd-alone clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/\1\t\2/p' Makefile | expand -t 28

deps: ## installs the Debian packages that are missing (as root, or by sudo)
	@tests/lab/deps.sh

bench-deps:
	@tests/lab/deps.sh haproxy wrk

tools: ## builds cargo-deny below target/tools, once (two minutes)
	@command -v cargo-deny >/dev/null || { \
	  echo "cargo-deny is missing: building it below target/tools (two or three minutes)"; \
	  cargo install --locked --root target/tools cargo-deny@$(CARGO_DENY); }

build: ## target/release/harbor-pilot
	cargo build --release --locked

demo: deps ## the main job, narrated: pulls through failing tiers by the real containerd
	@cargo build --locked --bin harbor-pilot
	@$(AS_ROOT) cargo test --locked --quiet --test demo

test: deps tools ## everything below an hour: formatting, lints, docs, licences, all tests, the real containerd, the demo
	@AS_ROOT="$(AS_ROOT)" tests/parts.sh

test-fast: ## unit and integration tests alone, without root
	cargo test --locked

test-real: deps ## the tests with the real containerd alone
	$(AS_ROOT) cargo test --locked --test real -- --test-threads=1 --show-output

# N pulls; the first has the seed SEED (without one: the clock's), the others follow it.
N := 500
SEED :=
chaos: deps ## N=500 pulls while random things go wrong, from SEED; an hour or less (N=1 SEED=… replays one)
	@$(AS_ROOT) cargo test --locked --quiet --test chaos -- --count "$(N)" --seed "$(SEED)"

# Some of 1.6 1.7 2.x; none: all.
GENERATIONS :=
test-matrix: deps ## containerd 1.6, 1.7 and 2.x from Debian 12, trixie and forky: a line for each version and test; an hour
	@tests/lab/deps.sh debootstrap
	@SUDO="$(SUDO)" tests/matrix.sh $(GENERATIONS)

audit: tools ## known vulnerabilities of the dependencies; needs the internet
	cargo-deny check advisories

bench: bench-deps ## figures beside nginx and HAProxy on the same origin
	cargo bench --locked --bench relay

compare-containerd-alone: deps ## the cost of a dead mirror, with and without the agent (some minutes)
	@$(AS_ROOT) cargo test --locked --quiet --test demo -- compare

fuzz: ## a million inputs for each parser of foreign bytes; needs a nightly toolchain
	@tests/lab/deps.sh g++
	@command -v cargo-fuzz >/dev/null || cargo install --locked --root target/tools cargo-fuzz@$(CARGO_FUZZ)
	@for target in $(FUZZ_TARGETS); do \
	  mkdir -p fuzz/corpus/$$target && \
	    cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -runs=$(FUZZ_RUNS) || exit 1; done

clean: ## removes target
	$(SUDO) rm -rf target/roots
	cargo clean
