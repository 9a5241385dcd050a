#!/bin/sh
# Installs what the tests and the build need and the machine does not have, and the packages that are named as
# arguments. With --demo as the first argument: only what the demonstration needs; with --only: only what is named.
# Services that come with them are neither started nor enabled: the laboratory runs its own copies.
set -eu

# What the laboratory runs (tests/lab/programs.rs), and a linker for cargo. The demonstration needs no more.
LABORATORY="busybox-static ca-certificates containerd curl dnsmasq-base docker-registry faketime gcc iproute2 libc6-dev nftables nginx-light openssl runc
    skopeo umoci util-linux"
# The rest of the tests and the package.
TESTS="ansible ansible-lint apt-utils chromium debootstrap fonts-dejavu-core golang-go gpg gpg-agent lintian prometheus redis-sentinel redis-server systemd-container xfsprogs xz-utils yamllint"

case ${1:-} in
    --demo)
        shift
        PACKAGES="$LABORATORY $*"
        ;;
    --only)
        shift
        PACKAGES=$*
        ;;
    *) PACKAGES="$LABORATORY $TESTS $*" ;;
esac
SERVICES="containerd docker docker-registry haproxy nginx prometheus redis-sentinel redis-server"

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "This is no Debian: install what corresponds to these packages by hand:" $PACKAGES >&2
    # The tests say which program they miss.
    exit 0
fi

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
for package in $PACKAGES; do
    installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Not installed:$missing. Run 'make deps' as root." >&2
        exit 1
    fi
    root=sudo
fi

echo "Installing:$missing"

# Debian starts the services of new packages unless policy-rc.d says no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null
    $root chmod 755 "$policy"
    trap '$root rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
fi

new_services=
for service in $SERVICES; do
    [ -e "/lib/systemd/system/$service.service" ] || new_services="$new_services $service"
done

apt() {
    $root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" </dev/null
}
apt update
apt install --no-install-recommends $missing

for service in $new_services; do
    if command -v systemctl >/dev/null && [ -e "/lib/systemd/system/$service.service" ]; then
        $root systemctl disable "$service" >/dev/null 2>&1 || true
        [ ! -e "/lib/systemd/system/$service.socket" ] ||
            $root systemctl disable "$service.socket" >/dev/null 2>&1 || true
    fi
done
