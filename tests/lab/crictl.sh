#!/bin/sh
# Builds crictl below target/tools, once, from the Go module proxy: the client that speaks to containerd as the kubelet
# does. The module's checksum comes from Go's own checksum database.
set -eu
cd "$(dirname "$0")/../.."

VERSION=v1.34.0

[ ! -x target/tools/bin/crictl ] || exit 0
tests/lab/go.sh
PATH=$PWD/target/tools/bin:$PATH
echo "building crictl $VERSION below target/tools (two or three minutes)"
mkdir -p target/tools/bin
GOBIN=$PWD/target/tools/bin go install "sigs.k8s.io/cri-tools/cmd/crictl@$VERSION"
