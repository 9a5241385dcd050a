#!/bin/bash
# `make test`: every part under its own time budget, all of them whatever happens to the others, and a sum at
# the end. The budgets (seconds, two cores, nothing built yet) are limits for a busy machine (docs/testing.md).
set -u
cd "$(dirname "$0")/.."

logs=target/test-logs
mkdir -p "$logs"
passed=0
failed=0
running=

# The part's own process group ends with us; the laboratory clears itself on SIGTERM.
trap '[ -z "$running" ] || { kill "$running"; wait "$running"; }; exit 130' INT TERM

# part NAME BUDGET COMMAND…: test results in its output are added up; a part without any counts as one.
part() {
    local name=$1 budget=$2 log="$logs/$1.log" start=$SECONDS status results good bad
    shift 2
    printf '%-14s' "$name"
    timeout -k 20 "$budget" "$@" >"$log" 2>&1 </dev/null &
    running=$!
    wait "$running"
    status=$?
    running=
    results=$(grep -a '^test result: ' "$log")
    good=$(awk '{ sum += $4 } END { print sum + 0 }' <<<"$results")
    bad=$(awk '{ sum += $6 } END { print sum + 0 }' <<<"$results")
    if [ "$status" = 0 ] && [ -z "$results" ]; then
        good=1
    elif [ "$status" != 0 ] && [ "$bad" = 0 ]; then
        # It did not build, was cut off, or is no test runner.
        bad=1
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    local verdict=ok
    if [ "$status" = 124 ] || [ "$status" = 137 ]; then
        verdict="FAILED: over its budget"
    elif [ "$status" != 0 ]; then
        verdict=FAILED
    fi
    printf '%5d s of %4d s   %4d passed, %d failed   %s\n' "$((SECONDS - start))" "$budget" "$good" "$bad" "$verdict"
    if [ "$status" != 0 ]; then
        sed 's/^/    /' "$log"
    fi
}

part format 30 cargo fmt --all --check
part lints 240 cargo clippy --locked --all-targets -- -D warnings
part lints-real 60 cargo clippy --locked --test real --test demo --test chaos --test node_checker --test node_law --test node_disk --test node_k3s --test docker --test prometheus --test redis --test browser \
    --test journal --test machine --test upgrade --test matrix --test apt --test ansible --test harbor_tier --test rpm --test arm64 -- -D warnings
# Checked and not linked, so that no nightly compiler and no libFuzzer is needed: `make fuzz` runs them.
part fuzz-targets 240 env CUSTOM_LIBFUZZER_PATH=/nonexistent cargo check --locked --manifest-path fuzz/Cargo.toml --target-dir target
part docs 60 env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
part dependencies 30 cargo-deny check bans licenses sources
# The other processor that there is a package for: what differs there is found by the compiler.
part check-arm64 240 make --no-print-directory check-arm64
part ansible-lint 60 tests/ansible/lint.sh
part tests 720 cargo test --locked --no-fail-fast
# Debian's Prometheus with the package's rules and dashboards, and two agents.
part prometheus 60 cargo test --locked --no-fail-fast --test prometheus
# Debian's Redis and Sentinel, and agents that share them.
part redis 60 cargo test --locked --no-fail-fast --test redis
# The page in Debian's Chromium, and what axe-core finds there.
part browser 120 $AS_ROOT cargo test --locked --no-fail-fast --test browser -- --test-threads=2
part node-checker 60 cargo test --locked --no-fail-fast --test node_checker
# 500 states; building the judges of four containerds takes two minutes the first time.
part node-law 300 cargo test --locked --no-fail-fast --test node_law -- --nocapture
part node-disk 60 $AS_ROOT cargo test --locked --no-fail-fast --test node_disk
part node-k3s 60 $AS_ROOT cargo test --locked --no-fail-fast --test node_k3s -- --test-threads=1 --show-output
part journal 60 $AS_ROOT cargo test --locked --no-fail-fast --test journal
part packages 240 make --no-print-directory test-packages
part apt 60 cargo test --locked --no-fail-fast --test apt
# Built once; the machines' tests pull as the kubelet does.
part crictl 400 tests/lab/crictl.sh
# The first run fetches two Debians, three minutes more.
part machine 750 env HARBOR_PILOT_RESTARTS=12 HARBOR_PILOT_PORT_KILLS=20 $AS_ROOT cargo test --locked --no-fail-fast --test machine -- --test-threads=1 --show-output
grep -ahE "^(lintian|systemd-analyze security|the newest symbol|kill -9|SIGSTOP|[0-9]+ restarts|[a-z ]+: refused after|port [0-9]+, seed|allow_unprivileged_port:|net.ipv4|exit 64)" "$logs/machine.log" | cut -c -140 | sed "s/^/    /"
# The module alone, then the role on a booted Debian; the machine's root is machine's.
part harbor-tier 180 make --no-print-directory test-harbor-tier-once
part real 600 $AS_ROOT cargo test --locked --no-fail-fast --test real -- --test-threads=1 --show-output
grep -ahE "^(first|second|pull|[A-Za-z].* at both REPLICA).* s( more than a healthy pull)?\$" "$logs/real.log" | cut -c -140 | sed "s/^/    /"
# The machine's own containerd alone; the other generations are make test-matrix's.
part matrix 180 $AS_ROOT cargo test --locked --quiet --test matrix -- bodies files::containerd files::k3s::all_good files::k3s::agent
# By fault: HalfClose and Kill, DnsFailure, CorruptByte, SilentAccept, PowerLoss, WrongContentRange, ZeroLength, WholeForRange,
# TokenDead, Status and Html, CertificateExpired, AgentKilled, DnsChange, ErrorJson, Stall, AgentKilledAndRestarted, a tag that all tiers spoil.
part chaos 120 $AS_ROOT cargo test --locked --quiet --test chaos -- 1000 1003 1012 1014 1018 1022 1028 1031 1034 1037 1040 1041 1044 1101 1108 1112 1142 20261359
part demo 60 $AS_ROOT cargo test --locked --quiet --test demo

echo "$SECONDS seconds in all; what each part said is in $logs"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
