#!/bin/bash
# Says which glibc a program needs, and fails if that is newer than 2.34, which RHEL 9 has: packaging/glibc.sh BINARY.
set -euo pipefail
most=2.34
newest=$(readelf --wide --version-info "$1" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
[ -n "$newest" ] || { echo "$1 names no version of glibc" >&2; exit 1; }
echo "the newest symbol is of GLIBC_$newest"
[ "$(printf '%s\n' "$newest" "$most" | sort -V | tail -n 1)" = "$most" ] || { echo "$1 needs glibc $newest, more than $most" >&2; exit 1; }
