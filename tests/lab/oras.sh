#!/bin/sh
# Builds oras below target/tools, once, from the Go module proxy: a client that asks what belongs to an image. The module's
# checksum comes from Go's own checksum database.
set -eu
cd "$(dirname "$0")/../.."

VERSION=v1.3.0

[ ! -x target/tools/bin/oras ] || exit 0
tests/lab/go.sh
PATH=$PWD/target/tools/bin:$PATH
echo "building oras $VERSION below target/tools (a minute)"
mkdir -p target/tools/bin
GOBIN=$PWD/target/tools/bin go install "oras.land/oras/cmd/oras@$VERSION"
