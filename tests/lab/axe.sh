#!/bin/sh
# Brings axe-core, which judges the page for people who use a keyboard or a screen reader, below target/tools: as the npm
# registry serves it, pinned by checksum. Nothing of it is run but in the browser of the test.
set -eu
cd "$(dirname "$0")/../.."

VERSION=4.14.1
SUM='FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=='
REGISTRY=${NPM_REGISTRY_URL:-https://registry.npmjs.org}

[ ! -f target/tools/axe-core/$VERSION/axe.min.js ] || exit 0
mkdir -p target/tools
work=$(mktemp -d target/tools/axe.XXXXXX)
trap 'rm -rf "$work"' EXIT
echo "bringing axe-core $VERSION below target/tools"
if command -v npm >/dev/null; then
    npm pack --silent --ignore-scripts --pack-destination "$work" "axe-core@$VERSION" >/dev/null
else
    curl -sSfL -o "$work/axe-core-$VERSION.tgz" "$REGISTRY/axe-core/-/axe-core-$VERSION.tgz"
fi
found=$(openssl dgst -sha512 -binary "$work/axe-core-$VERSION.tgz" | base64 -w0)
if [ "$found" != "$SUM" ]; then
    echo "axe-core-$VERSION.tgz is not what is pinned: $found" >&2
    exit 1
fi
tar -xzf "$work/axe-core-$VERSION.tgz" -C "$work" package/axe.min.js package/LICENSE
mkdir -p target/tools/axe-core
rm -rf "target/tools/axe-core/$VERSION"
mv "$work/package" "target/tools/axe-core/$VERSION"
