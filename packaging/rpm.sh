#!/bin/bash
# Makes the rpm out of a binary that is built: packaging/rpm.sh BINARY OUTPUT.rpm [VERSION-RELEASE] [cargo-generate-rpm options].
# Run by the user; nothing is installed, and nothing of rpm is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$1
output=$2
shift 2
version=$(sed -n '1s/.*(\(.*\)).*/\1/p' packaging/changelog)
case ${1:-} in
    [0-9]*)
        version=$1
        shift
        ;;
esac

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
folder=release
target=
for option; do
    case $option in *-linux-*) target=$option folder=$option/release ;; esac
done
install -D -m 755 "$binary" "$stage/target/$folder/harbor-pilot"

packaging/papers.sh "$target"
gzip --best --no-name target/package/man/*.1

# What is done before and after is said once, in Debian's maintainer scripts. The beginnings say it in rpm's words; systemctl does
# what Debian's helpers do, but for masks, which rpm's packages do not set.
scripts=target/package/rpm
mkdir -p "$scripts"
cp packaging/rpm/pre "$scripts/pre"
for pair in post:postinst preun:prerm postun:postrm; do
    cat "packaging/rpm/${pair%:*}" >"$scripts/${pair%:*}"
    sed -e '1d' -e '/^    purge)$/,/^        ;;$/d' -e '/deb-systemd-helper unmask/d' \
        -e 's/deb-systemd-\(helper\|invoke\) /systemctl /' "packaging/${pair#*:}" >>"$scripts/${pair%:*}"
done

SOURCE_DATE_EPOCH=$(packaging/date.sh)
export SOURCE_DATE_EPOCH
mkdir -p "$(dirname "$output")"
# gzip: every rpm of the distributions that it is for reads it.
cargo generate-rpm --target-dir "$stage/target" --auto-req disabled --payload-compress "${RPM_COMPRESSION:-gzip}" --output "$output" \
    --set-metadata "version = \"${version%-*}\"" --set-metadata "release = \"${version##*-}\"" "$@" >/dev/null
echo "$output"
