#!/bin/bash
# Builds the packages twice, in two directories of different names, and compares them byte by byte: packaging/reproducible.sh
# [DIRECTORY]. What is committed is built. Half an hour on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(realpath -m "${1:-target/reproducible}")
mkdir -p "$work"
# A commit that is made meanwhile is not built.
commit=$(git rev-parse HEAD)
for place in first second/below/another; do
    tree=$work/$place
    rm -rf "$tree"
    mkdir -p "$tree"
    git archive "$commit" | tar --extract --directory "$tree"
    # One machine, other circumstances: another place, another time, another language.
    (
        cd "$tree"
        unset CARGO_TARGET_DIR
        export TZ=Pacific/Kiritimati LC_ALL=C.UTF-8
        [ "$place" = first ] && export TZ=UTC LC_ALL=C
        binary=$(packaging/compile.sh)
        packaging/build.sh "$binary" packages/harbor-pilot.deb
        packaging/rpm.sh "$binary" packages/harbor-pilot.rpm
        cp "$binary" target/package/harbor-pilot.cdx.json packages/
    )
done
status=0
for file in "$work"/first/packages/*; do
    if cmp "$file" "$work/second/below/another/packages/$(basename "$file")"; then
        echo "the same: $(basename "$file") $(sha256sum "$file" | cut -c -16)"
    else
        status=1
    fi
done
exit $status
