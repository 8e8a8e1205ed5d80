#!/usr/bin/env bash
# Installs what package-lock.json names. Compiling better-sqlite3 takes about a minute.
set -euo pipefail

# node-gyp downloads Node's headers unless it is told that they lie beside the node binary, as they do in
# Debian's packages and in nodejs.org's archives.
prefix=$(node -p "path.resolve(fs.realpathSync(process.execPath), '../..')")
if [[ -f $prefix/include/node/node_api.h ]]; then
  export npm_config_nodedir=$prefix
fi

npm ci
