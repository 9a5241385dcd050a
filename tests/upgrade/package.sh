#!/bin/bash
# Makes the package of 0.1.0 out of its own sources, once: target/upgrade/0.1.0.deb, with the debug build.
# Run by the user; nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The last commit whose version is 0.1.0.
commit=c88ef0d97b08428f7de070229db05f8e3d0fcadb
directory=$PWD/target/upgrade
sources=$directory/0.1.0
[ ! -e "$directory/0.1.0.deb" ] || exit 0

mkdir -p "$sources"
git archive "$commit" | tar --extract --directory "$sources"
cd "$sources"
export CARGO_TARGET_DIR=$directory/build
cargo build --quiet --locked --bin harbor-pilot --example manuals
DEB_COMPRESSION="-Zgzip -z1" packaging/build.sh "$CARGO_TARGET_DIR/debug/harbor-pilot" "$directory/new.deb" --fast
# Beside the package that it becomes, so that a build that was cut off is made again.
mv "$directory/new.deb" "$directory/0.1.0.deb"
