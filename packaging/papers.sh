#!/bin/bash
# What both packages hold beside the program, made anew below target/package: manual pages, completions, and the list of what the
# program for TARGET is made of (CycloneDX): packaging/papers.sh [TARGET].
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-$(rustc -vV | sed -n 's/^host: //p')}
rm -rf target/package
cargo run --quiet --locked --example manuals -- target/package

# Without the date of the run, and without the directory of the sources.
SOURCE_DATE_EPOCH=$(packaging/date.sh)
export SOURCE_DATE_EPOCH
list=harbor-pilot.cdx
trap 'rm -f "$list.json"' EXIT
cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --target "$target" --override-filename "$list"
sed "s|file://$PWD|file:///harbor-pilot|g" "$list.json" >"target/package/$list.json"
