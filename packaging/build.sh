#!/bin/bash
# Makes the package out of a binary that is built: packaging/build.sh BINARY OUTPUT.deb [cargo-deb options].
# Run by the user; nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$1
output=$2
shift 2

# cargo-deb reads a binary of target/release; this one may be another (the tests package the debug build).
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$(dirname "$output")"
folder=release
target=
# The changelog's version: of a pre-release, 0.2.0-dev, cargo-deb would make 0.2.0-dev-1, which dpkg takes for a later one than 0.2.0-1.
version=(--deb-version "$(sed -n '1s/.*(\(.*\)).*/\1/p' packaging/changelog)")
for option; do
    case $option in
        *-linux-*) target=$option folder=$option/release ;;
        --deb-version) version=() ;;
    esac
done
install -D -m 755 "$binary" "$stage/target/$folder/harbor-pilot"

packaging/papers.sh "$target"

# Times of the building machine would be in it otherwise.
SOURCE_DATE_EPOCH=$(packaging/date.sh)
export SOURCE_DATE_EPOCH

CARGO_TARGET_DIR="$stage/target" cargo deb --quiet --no-build --locked --output "$stage/package.deb" "${version[@]}" "$@" >/dev/null

# The parents of the files that the agent keeps: a directory that appears after its start would be read-only for it, so that
# they have to be there before k3s is. cargo-deb knows no empty directories.
dpkg-deb --raw-extract "$stage/package.deb" "$stage/tree"
for directory in etc/harbor-pilot/config.d etc/rancher var/lib/rancher etc/containerd; do
    install -d -m 755 "$stage/tree/$directory"
done
find "$stage/tree" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group --uniform-compression ${DEB_COMPRESSION:--Zxz} --build "$stage/tree" "$output" >/dev/null
echo "$output"
