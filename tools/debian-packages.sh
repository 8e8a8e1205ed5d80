#!/usr/bin/env bash
# Installs the Debian packages that the build and the tests use, but only those whose command is missing.
# Without root it prints the command to run; then only a missing compiler stops the set-up.
set -euo pipefail

# command:package
build=(python3:python3 make:make g++:g++)
tests=(gcc:gcc git:git fio:fio stress-ng:stress-ng rsync:rsync setfacl:acl setfattr:attr killall:psmisc
  sqlite3:sqlite3 ip:iproute2 nft:nftables faketime:faketime flock:util-linux nsenter:util-linux mount:mount diff:diffutils find:findutils
  man:man-db dpkg-deb:dpkg chromium:chromium)
# library:package
libraries=(libfuse.so.2:libfuse2)

missing_of() {
  local entry
  for entry in "$@"; do
    command -v "${entry%%:*}" >/dev/null || echo "${entry##*:}"
  done
}

missing_libraries() {
  local entry known
  known=$(/sbin/ldconfig -p 2>/dev/null || true)
  for entry in "${libraries[@]}"; do
    [[ $known == *"${entry%%:*} "* ]] || echo "${entry##*:}"
  done
}

mapfile -t missing_build < <(missing_of "${build[@]}")
mapfile -t missing < <(missing_of "${build[@]}" "${tests[@]}" && missing_libraries)
if ((${#missing[@]} == 0)); then
  exit 0
fi

if ! command -v apt-get >/dev/null; then
  echo "Not a Debian system. Install what provides: ${missing[*]}" >&2
elif ((EUID == 0)); then
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
  exit 0
else
  echo "Missing Debian packages. Run: sudo apt-get update && sudo apt-get install -y ${missing[*]}" >&2
fi
((${#missing_build[@]} == 0))
