#!/usr/bin/env bash
# Fails when src/wire/gen is not what proto/ generates.
set -euo pipefail

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

buf generate --output "$fresh"
if ! diff --recursive --brief "$fresh/src/wire/gen" src/wire/gen; then
  echo 'src/wire/gen is out of date: run `make gen` and commit the result' >&2
  exit 1
fi
