#!/usr/bin/env bash
# Makes what the deployment test needs, and runs it: a bare Debian 12, the package, and one with a higher version. With
# --go-on, the steps after one that failed are run, too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash tools/deploy-base.sh
version=$(node -p 'require("./package.json").version')
newer=${version%.*}.$((${version##*.} + 1))
first=$(bash tools/make-deb.sh | tail -n 1)
second=$(bash tools/make-deb.sh "$newer" | tail -n 1)
exec node build/test/deploy/run.js "$@" "$first" "$second"
