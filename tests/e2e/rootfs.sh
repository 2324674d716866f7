#!/bin/sh
# Makes the Debian root file system that the end-to-end tests run programs in, once, and prints its
# path. Usage: rootfs.sh [DIR]; the default is $XDG_CACHE_HOME/moat/rootfs. Needs root and debootstrap
# (installed with apt when it is missing), some minutes and about 1.5 GB.
# MOAT_TEST_ROOTFS names a ready one, which is then only printed.
set -eu

if [ -n "${MOAT_TEST_ROOTFS:-}" ]; then
  [ -x "$MOAT_TEST_ROOTFS/bin/sh" ] || { echo "MOAT_TEST_ROOTFS=$MOAT_TEST_ROOTFS holds no /bin/sh" >&2; exit 1; }
  echo "$MOAT_TEST_ROOTFS"
  exit 0
fi

dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/moat/rootfs}
if [ -e "$dir/.moat-complete" ]; then
  echo "$dir"
  exit 0
fi
[ "$(id -u)" = 0 ] || { echo "rootfs.sh: debootstrap needs root" >&2; exit 1; }
if ! command -v debootstrap >/dev/null; then
  { apt-get update -q && apt-get install -y -q debootstrap; } >&2
fi

# The mirror and release that this machine itself uses.
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
mirror=$(cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null |
  sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb  *\(\[[^]]*\] *\)\{0,1\}\(http[^ ]*\).*/\2/p' | head -1)
: "${mirror:=http://deb.debian.org/debian}"

# What the tests run, and what sandboxes are usually asked to run.
want="netbase python3 libpython3.11-testsuite perl sqlite3 git gcc libc6-dev make xz-utils bzip2 file less
  procps psmisc redis-server nodejs vim-tiny tmux stress-ng"

new=$dir.new
rm -rf "$new"
mkdir -p "$(dirname "$dir")"
debootstrap --variant=minbase "$release" "$new" "$mirror" >&2
# No daemon may start while packages are installed.
printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d"
chmod 755 "$new/usr/sbin/policy-rc.d"
[ ! -e /etc/resolv.conf ] || cp -L /etc/resolv.conf "$new/etc/resolv.conf"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >"$new/etc/hosts"
if [ -n "${http_proxy:-}" ]; then
  printf 'Acquire::http::Proxy "%s";\n' "$http_proxy" >"$new/etc/apt/apt.conf.d/00moat-proxy"
fi
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive chroot "$new" sh -euc '
  apt-get update -q
  apt-get install -y -q --no-install-recommends "$@"
  apt-get clean' sh $want >&2
rm -rf "$new"/var/lib/apt/lists/* "$new/usr/sbin/policy-rc.d" "$new/etc/apt/apt.conf.d/00moat-proxy"
touch "$new/.moat-complete"
rm -rf "$dir"
mv "$new" "$dir"
echo "$dir"
