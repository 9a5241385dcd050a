#!/bin/bash
# `make test-matrix`: the tests that speak of containerd with three generations of it, a line for each version and test.
# containerd 1.6 is Debian 12's, 1.7 trixie's, 2.x forky's. Arguments: the generations to test; none: all. SUDO comes from
# the Makefile.
set -u
cd "$(dirname "$0")/.."

# What is built here is run by root, who must hear which containerd is meant.
as_root=()
if [ -n "${SUDO:-}" ]; then
    as_root=("$SUDO" --preserve-env=HARBOR_PILOT_LAB_ROOT,HARBOR_PILOT_LAB_PULL_OPTION,HARBOR_PILOT_LAB_KEEP_LOGS,RUST_BACKTRACE)
fi
logs=target/test-logs
mkdir -p "$logs"
export RUST_BACKTRACE=0

case "$(containerd --version 2>/dev/null)" in
    *" 1.6."*) bookworm= ;;
    *) bookworm=target/roots/bookworm ;;
esac
"${as_root[@]}" tests/lab/roots.sh ${bookworm:+bookworm} trixie forky || exit 1
# Built once: what runs for an hour is one state of the sources.
built=$(cargo test --locked --no-run --test real --test matrix 2>&1) || {
    echo "$built"
    exit 1
}
real=$(sed -n 's/.*Executable tests\/real\/.*(\(.*\))/\1/p' <<<"$built")
matrix=$(sed -n 's/.*Executable tests\/matrix\/.*(\(.*\))/\1/p' <<<"$built")

passed=0
failed=0
running=
trap '[ -z "$running" ] || { kill "$running"; wait "$running"; }; exit 130' INT TERM

# run ROOT NAME COMMAND…: counts the tests in the command's output, whose lines about tests go to standard output.
run() {
    local root=$1 name=$2 log="$logs/matrix-$2.log" status bad good
    shift 2
    export HARBOR_PILOT_LAB_ROOT=${root:+$PWD/$root}
    timeout -k 20 2400 "${as_root[@]}" "$@" >"$log" 2>&1 </dev/null &
    running=$!
    wait "$running"
    status=$?
    running=
    # Tests, and what they measured.
    if grep -qa '^containerd .*::' "$log"; then
        grep -a '^containerd .*::\|^    [^ ]' "$log" | sed "s|^containerd |${name#*-}: containerd |" | cut -c -160
    fi
    sed -n "s|^test \(.*\) \.\.\. \(ok\|FAILED\)\$|\1 \2|p" "$log" |
        awk -v name="${name#*-}" '{ printf "%s: real::%-82s %s\n", name, $1, $2 }'
    good=$(sed -n 's/^test result: [A-Za-z]*\. \([0-9]*\) passed.*/\1/p' "$log" | awk '{ sum += $1 } END { print sum + 0 }')
    bad=$(sed -n 's/^test result: .* \([0-9]*\) failed.*/\1/p' "$log" | awk '{ sum += $1 } END { print sum + 0 }')
    # It was cut off, or did not come to its tests.
    [ "$status" = 0 ] || [ "$bad" != 0 ] || bad=1
    [ "$good" != 0 ] || [ "$bad" != 0 ] || bad=1
    passed=$((passed + good))
    failed=$((failed + bad))
    printf '%s: %d passed, %d failed; all that was said is in %s\n' "$name" "$good" "$bad" "$log"
    [ "$bad" = 0 ] || sed -n '/panicked at\|^---- /,/^$/p' "$log" | cut -c -300 | head -n 80
}

for generation in "1.6 $bookworm" "1.7 target/roots/trixie" "2.x target/roots/forky"; do
    version=${generation%% *}
    root=${generation#* }
    [ $# = 0 ] || [[ " $* " == *" $version "* ]] || continue
    run "$root" "matrix-$version" "$matrix"
    run "$root" "real-$version" "$real" --test-threads=1 --show-output
    if [ "$version" != 1.6 ]; then
        # In ctr itself, as k3s' containerd pulls without the transfer service.
        export HARBOR_PILOT_LAB_PULL_OPTION=--local
        run "$root" "local-$version" "$matrix" bodies spoiled files::k3s
        unset HARBOR_PILOT_LAB_PULL_OPTION
    fi
done

echo "$SECONDS seconds in all"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
