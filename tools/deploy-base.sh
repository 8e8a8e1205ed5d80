#!/usr/bin/env bash
# Makes build/deploy/bookworm, the bare Debian 12 with systemd from which `make test-deploy` copies its machines. It is
# kept for the next time. Needs root, and the network the first time: packages come from the mirror that apt here uses.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(systemd systemd-sysv dbus iproute2 ca-certificates)
base=build/deploy/bookworm
# What it is made of, so that a list that changed makes a new one.
stamp="${packages[*]}"

((EUID == 0)) || { echo 'the deployment test boots containers: it needs root' >&2; exit 1; }
for device in /dev/fuse /dev/autofs; do
  [[ -c $device ]] || { echo "the deployment test mounts file systems: it needs $device" >&2; exit 1; }
done

# command:package
tools=(debootstrap:debootstrap systemd-nspawn:systemd-container ip:iproute2 nsenter:util-linux dpkg-deb:dpkg)
missing=()
for tool in "${tools[@]}"; do
  command -v "${tool%%:*}" > /dev/null || missing+=("${tool##*:}")
done
[[ -f /usr/share/keyrings/debian-archive-keyring.gpg ]] || missing+=(debian-archive-keyring)
if ((${#missing[@]} > 0)); then
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
fi

mkdir -p build/deploy
exec 9> build/deploy/lock
flock 9
if [[ -f $base.stamp && $(< "$base.stamp") == "$stamp" ]]; then
  exit 0
fi

mirror=$(apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
  awk '$1 == "Debian" && $2 == "main" && $3 !~ /security/ { print $3; exit }')
proxy=$(apt-config dump --format '%v' Acquire::http::Proxy)
echo "debootstrap of Debian 12 from ${mirror:=http://deb.debian.org/debian}"
rm -rf "$base" "$base.stamp"
${proxy:+env http_proxy="$proxy"} debootstrap --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" bookworm "$base" "$mirror" \
  > build/deploy/debootstrap.log 2>&1 || { tail -n 20 build/deploy/debootstrap.log >&2; exit 1; }
# It is copied for every machine: without what none of them reads.
rm -rf "$base"/usr/share/{doc,locale,i18n,info}/* "$base"/var/cache/apt/archives/*.deb "$base"/var/lib/apt/lists/*
# What a power cut does to the packages of a copy matters to nobody.
echo force-unsafe-io > "$base/etc/dpkg/dpkg.cfg.d/unsafe-io"
# Each copy gets its own.
rm "$base/etc/hostname"
: > "$base/etc/machine-id"
echo "$stamp" > "$base.stamp"
