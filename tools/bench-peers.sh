#!/usr/bin/env bash
# Installs what `make bench PEERS=1` measures against, if it is missing. Nothing of it is started by itself: where
# systemd would, its units are kept from it.
set -euo pipefail

packages=(moosefs-master moosefs-chunkserver moosefs-client glusterfs-server glusterfs-client iproute2 fio)
missing=()
for package in "${packages[@]}"; do
  dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  exit 0
fi
if ((EUID != 0)); then
  echo "Missing Debian packages. Run: sudo apt-get update && sudo apt-get install -y ${missing[*]}" >&2
  exit 1
fi
if ! command -v apt-get >/dev/null; then
  echo "Not a Debian system. Install what provides: ${missing[*]}" >&2
  exit 1
fi
if [[ -d /run/systemd/system ]]; then
  systemctl mask --runtime moosefs-master moosefs-chunkserver glusterd
fi
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
