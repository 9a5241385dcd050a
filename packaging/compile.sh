#!/bin/bash
# Builds the program as it is packaged, so that two builds of the same sources are the same bytes wherever they are built:
# packaging/compile.sh [TARGET]. Without TARGET for this machine; aarch64-unknown-linux-gnu needs Debian's gcc-aarch64-linux-gnu.
# Prints where the program is.
#
# Paths of the building machine do not get into it; what it was built from does, as data that `cargo audit bin` reads.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-}
output=${CARGO_TARGET_DIR:-$PWD/target}
cargo_home=${CARGO_HOME:-$HOME/.cargo}

# Of several that match the last one counts.
RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$PWD=/harbor-pilot --remap-path-prefix=$output=/harbor-pilot/target"
export RUSTFLAGS
# The parts in C, which name their files in assertions.
prefixes="-ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$output=/harbor-pilot/target"
export CFLAGS="${CFLAGS:-} $prefixes"
SOURCE_DATE_EPOCH=$(packaging/date.sh)
export SOURCE_DATE_EPOCH

options=(--release --locked)
if [ -n "$target" ]; then
    options+=(--target "$target")
    prefix=${target%%-*}-linux-gnu
    command -v "$prefix-gcc" >/dev/null || {
        echo "$prefix-gcc is missing: apt-get install gcc-$prefix libc6-dev-arm64-cross" >&2
        exit 1
    }
    upper=$(tr a-z- A-Z_ <<<"$target")
    export "CARGO_TARGET_${upper}_LINKER=$prefix-gcc" "CC_${target//-/_}=$prefix-gcc" "AR_${target//-/_}=$prefix-ar"
fi
cargo auditable build --bin harbor-pilot "${options[@]}" >&2
program=$output/${target:+$target/}release/harbor-pilot
readelf --wide --section-headers "$program" | grep -F ' .dep-v0 ' >/dev/null || {
    echo "$program does not say what it was built from (no section .dep-v0): cargo-auditable has not added it, and it is not packaged" >&2
    exit 1
}
echo "$program"
