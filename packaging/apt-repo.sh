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
mkdir -p "$directory"
directory=$(realpath "$directory")
if [ $# = 0 ]; then
    shopt -s nullglob
    set -- "$(dirname "$0")"/../target/debs/harbor-pilot_*.deb
    [ $# -gt 0 ] || say "there is no package in target/debs; run 'make deb' first"
fi

# Each suite has a pool of its own: what is tried in one must not reach the nodes of another.
pool=pool/$suite/main/h/harbor-pilot
names=()
for package; do
    name=$(dpkg-deb --show --showformat '${Package}_${Version}_${Architecture}.deb' "$package") || say "$package is no Debian package"
    # A version that nodes may have installed never changes.
    if [ -e "$directory/$pool/$name" ] && ! cmp --silent "$package" "$directory/$pool/$name"; then
        say "$directory/$pool/$name is another file than $package; give the package a new version"
    fi
    names+=("$name")
done
new=$(mktemp -d "$directory/.new.XXXXXX")
trap 'rm -rf "$new"' EXIT
chmod 755 "$new"
# Everything appears as a whole: a node may be fetching it, and this script may be ended at any moment.
put() {
    cp "$1" "$new/whole"
    mv "$new/whole" "$2"
}
mkdir -p "$directory/$pool"
for package; do
    [ -e "$directory/$pool/${names[0]}" ] || put "$package" "$directory/$pool/${names[0]}"
    names=("${names[@]:1}")
done

# Lists are fetched under their digests (by-hash), where the earlier ones stay for a week, and InRelease is exchanged
# last: a node that fetches meanwhile has the lists that its InRelease names.
dists=$directory/dists/$suite
# apt asks by the strongest digest that is written.
digests_of=(-o APT::FTPArchive::MD5=false -o APT::FTPArchive::SHA1=false -o APT::FTPArchive::SHA256=true -o APT::FTPArchive::SHA512=false)
lists=()
for architecture in amd64 arm64; do
    binary=main/binary-$architecture
    mkdir -p "$new/$binary"
    (cd "$directory" && apt-ftparchive "${digests_of[@]}" --arch "$architecture" packages "$pool") >"$new/$binary/Packages"
    xz --keep "$new/$binary/Packages"
    lists+=("$binary/Packages" "$binary/Packages.xz")
done
(
    cd "$new"
    apt-ftparchive "${digests_of[@]}" \
        -o APT::FTPArchive::Release::Origin=harbor-pilot \
        -o APT::FTPArchive::Release::Label=harbor-pilot \
        -o APT::FTPArchive::Release::Suite="$suite" \
        -o APT::FTPArchive::Release::Codename="$suite" \
        -o APT::FTPArchive::Release::Architectures="amd64 arm64" \
        -o APT::FTPArchive::Release::Components=main \
        -o APT::FTPArchive::Release::Acquire-By-Hash=yes \
        release main >Release.unsigned
    # The paths of the lists begin at the suite's directory.
    sed -E 's|^( [0-9a-f]+ +[0-9]+ )|\1main/|' Release.unsigned >Release
    gpg --batch --yes --local-user "$key" --digest-algo SHA256 --armor --detach-sign --output Release.gpg Release
    gpg --batch --yes --local-user "$key" --digest-algo SHA256 --clear-sign --output InRelease Release
)
# The week of the lists that nodes find named until now begins now, however long ago they were made.
named=()
if [ -e "$dists/InRelease" ]; then
    mapfile -t named < <(sed -nE 's/^ ([0-9a-f]{64}) .*/\1/p' "$dists/InRelease")
fi
for list in "${lists[@]}"; do
    digests=$dists/$(dirname "$list")/by-hash/SHA256
    mkdir -p "$digests"
    for digest in "${named[@]}"; do
        touch --no-create "$digests/$digest"
    done
    find "$digests" -type f -mtime +7 -delete
    put "$new/$list" "$digests/$(sha256sum "$new/$list" | cut -d ' ' -f 1)"
done
for file in "${lists[@]}" Release Release.gpg InRelease; do
    mv "$new/$file" "$dists/$file"
done
gpg --batch --yes --armor --export "$key" >"$new/harbor-pilot.asc"
mv "$new/harbor-pilot.asc" "$directory/harbor-pilot.asc"

count() {
    grep -c '^Package:' "$dists/main/binary-$1/Packages" || true
}
echo "$directory: $(count amd64) for amd64, $(count arm64) for arm64 in $suite, signed by $key"
