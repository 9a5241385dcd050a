#!/bin/bash
# Puts packages into one directory, with their lists of components, SHA-256 sums and a signature of these:
# packaging/sums.sh DIRECTORY KEY [PACKAGE…].
#
# DIRECTORY: whatever is in it goes. KEY: of the caller's GnuPG keyring; empty: no signature. Without packages: all of this version that
# `make deb`, `make rpm` and theirs for arm64 have made.
set -euo pipefail

say() {
    echo "sums: $*" >&2
    exit 1
}

directory=${1:-}
key=${2:-}
[ -n "$directory" ] || say "write the directory as the first argument"
shift $(($# < 2 ? $# : 2))
here=$(realpath "$(dirname "$0")")
shopt -s nullglob
if [ $# = 0 ]; then
    version=$(sed -n '1s/.*(\(.*\)).*/\1/p' "$here/changelog")
    set -- "$here/../target/debs/harbor-pilot_$version"_*.deb "$here/../target/rpms/harbor-pilot-$version".*.rpm
    [ $# -gt 0 ] || say "there is no package of $version in target/debs and target/rpms; run 'make deb' first"
fi
if [ -n "$key" ]; then
    gpg --batch --list-secret-keys "$key" >/dev/null 2>&1 || say "gpg has no secret key for $key; 'gpg --list-secret-keys' shows what there is"
fi

mkdir -p "$directory"
rm -f "$directory"/*
cp "$@" "$directory"
# The list of each processor's program lies in its packages, which are the .deb and the .rpm of the same program.
own=usr/share/harbor-pilot/harbor-pilot.cdx.json
for package in "$directory"/*.deb; do
    name=$(dpkg-deb --show --showformat '${Package}_${Version}_${Architecture}' "$package")
    dpkg-deb --fsys-tarfile "$package" | tar --extract --to-stdout "./$own" >"$directory/$name.cdx.json"
done
for package in "$directory"/*.rpm; do
    for program in rpm rpm2archive; do
        command -v "$program" >/dev/null || say "$program is missing, which reads ${package##*/}: apt-get install rpm rpm2cpio"
    done
    name=$(rpm --query --package --queryformat '%{NAME}_%{VERSION}-%{RELEASE}_%{ARCH}' "$package" | sed -e 's/_x86_64$/_amd64/' -e 's/_aarch64$/_arm64/')
    [ -e "$directory/$name.cdx.json" ] ||
        rpm2archive --nocompression - <"$package" | tar --extract --to-stdout "./$own" >"$directory/$name.cdx.json"
done
cd "$directory"
files=(*)
sha256sum -- "${files[@]}" >SHA256SUMS
said="without a signature (KEY=…)"
if [ -n "$key" ]; then
    gpg --batch --yes --local-user "$key" --digest-algo SHA256 --armor --detach-sign --output SHA256SUMS.asc SHA256SUMS
    said="signed by $key"
fi
echo "$directory: $# packages, SHA256SUMS $said"
