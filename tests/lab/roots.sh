#!/bin/sh
# Makes a Debian root for each named release below target/roots, with the containerd and runc of that release, unless it
# is there. As root: `tests/lab/roots.sh trixie forky`. The laboratory runs containerd and the agent in it
# (HARBOR_PILOT_LAB_ROOT). `make clean` takes the roots away.
set -eu
cd "$(dirname "$0")/../.."

# From where this machine has its own packages.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' 2>/dev/null | head -n 1)
mirror=${mirror:-http://deb.debian.org/debian/}
for variable in http https; do
    eval "$(apt-config shell proxy "Acquire::$variable::Proxy")"
    [ -z "${proxy:-}" ] || export "${variable}_proxy=$proxy"
    proxy=
done

# Any release's script will do: they are all one. debootstrap knows only those that were there when it was made.
script=/usr/share/debootstrap/scripts/sid

for release in "$@"; do
    root=target/roots/$release
    [ ! -e "$root/usr/bin/harbor-pilot" ] || continue
    echo "making a root of Debian $release with its containerd (about a minute)"
    mkdir -p target/roots
    new=target/roots/$release.$$
    log=target/roots/$release.log
    trap 'rm -rf "$new"' EXIT
    trap 'exit 130' INT TERM
    # Signatures are checked against the machine's own keyring.
    debootstrap --variant=minbase --include=containerd,runc,ca-certificates "$release" "$new" "$mirror" "$script" >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        echo "no root of Debian $release could be made from $mirror; the whole log is $log" >&2
        exit 1
    }
    rm -rf "$new/var/cache/apt/archives" "$new/var/lib/apt/lists"
    # The laboratory mounts its own over these.
    touch "$new/etc/hosts" "$new/etc/resolv.conf" "$new/usr/bin/harbor-pilot"
    rm -rf "$root"
    mv "$new" "$root"
done
