#!/bin/bash
# Makes a signed apt repository: packaging/apt-repo.sh DIRECTORY KEY [SUITE] [PACKAGE.deb…].
#
# DIRECTORY: the repository, which a web server serves as it is. Packages that are in it already stay, so that nodes can go back.
# KEY: the signing key in the caller's GnuPG keyring, by fingerprint or address. SUITE: stable.
# Without packages: all that `make deb` has made.
set -euo pipefail

say() {
    echo "apt-repo: $*" >&2
    exit 1
}

directory=${1:-}
key=${2:-}
suite=${3:-stable}
[ -n "$directory" ] || say "write the repository's directory as the first argument"
[ -n "$key" ] ||
    say "write the signing key: KEY=its fingerprint or address; 'gpg --list-secret-keys' shows what there is, 'gpg --quick-generate-key \"NAME <ADDRESS>\" rsa4096 sign never' makes one"
[[ $suite =~ ^[a-z0-9][a-z0-9.-]*$ ]] || say "the suite $suite may hold a-z, 0-9, '.' and '-'"
for program in apt-ftparchive dpkg-deb gpg xz; do
    command -v "$program" >/dev/null || say "$program is missing; install apt-utils, dpkg, gnupg and xz-utils"
done
gpg --batch --list-secret-keys "$key" >/dev/null 2>&1 || say "gpg has no secret key for $key; 'gpg --list-secret-keys' shows what there is"

shift $(($# < 3 ? $# : 3))
if [ $# = 0 ]; then
    cd "$(dirname "$0")/.."
    shopt -s nullglob
    set -- target/debs/harbor-pilot_*.deb
    [ $# -gt 0 ] || say "there is no package in target/debs; run 'make deb' first"
fi

pool=$directory/pool/main/h/harbor-pilot
mkdir -p "$pool"
for package; do
    name=$(dpkg-deb --show --showformat '${Package}_${Version}_${Architecture}.deb' "$package") || say "$package is no Debian package"
    # A version that nodes may have installed never changes.
    if [ -e "$pool/$name" ] && ! cmp --silent "$package" "$pool/$name"; then
        say "$pool/$name is another file than $package; give the package a new version"
    fi
    cp --no-clobber "$package" "$pool/$name"
done

# Made aside and exchanged at the end: nobody fetches half of it.
dists=$directory/dists
new=$directory/.dists.new
rm -rf "$new"
trap 'rm -rf "$new"' EXIT
for architecture in amd64 arm64; do
    binary=$new/$suite/main/binary-$architecture
    mkdir -p "$binary"
    (cd "$directory" && apt-ftparchive --arch "$architecture" packages pool) >"$binary/Packages"
    xz --keep "$binary/Packages"
done
(
    cd "$new/$suite"
    apt-ftparchive \
        -o APT::FTPArchive::Release::Origin=harbor-pilot \
        -o APT::FTPArchive::Release::Label=harbor-pilot \
        -o APT::FTPArchive::Release::Suite="$suite" \
        -o APT::FTPArchive::Release::Codename="$suite" \
        -o APT::FTPArchive::Release::Architectures="amd64 arm64" \
        -o APT::FTPArchive::Release::Components=main \
        -o APT::FTPArchive::Release::Acquire-By-Hash=no \
        release . >../Release
    mv ../Release Release
    gpg --batch --yes --local-user "$key" --digest-algo SHA256 --armor --detach-sign --output Release.gpg Release
    gpg --batch --yes --local-user "$key" --digest-algo SHA256 --clear-sign --output InRelease Release
)
mkdir -p "$dists"
rm -rf "${dists:?}/$suite.old"
[ ! -e "$dists/$suite" ] || mv "$dists/$suite" "$dists/$suite.old"
mv "$new/$suite" "$dists/$suite"
rm -rf "${dists:?}/$suite.old"
gpg --batch --yes --armor --export "$key" >"$directory/harbor-pilot.asc"

echo "$directory: $(grep -c '^Package:' "$dists/$suite/main/binary-amd64/Packages") for amd64, $(grep -c '^Package:' "$dists/$suite/main/binary-arm64/Packages" || true) for arm64, signed by $key"
