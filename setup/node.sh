#!/bin/sh
# Runs a TypeScript program of this checkout on the project's own Node 24, and brings the dependencies first when they
# are missing or older than package-lock.json. Usage: sh setup/node.sh PROGRAM.ts [ARGUMENTS...]
set -eu
: "${1:?usage: sh setup/node.sh PROGRAM.ts [ARGUMENTS...]}"
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
node="$root/node_modules/.bin/node"
stamp="$root/node_modules/.bowline-installed"
if [ ! -x "$node" ] || [ ! -f "$stamp" ] || [ "$root/package-lock.json" -nt "$stamp" ]; then
  command -v npm >/dev/null 2>&1 || {
    echo "bowline: setup needs npm (with Node 20 or newer) to bring the dependencies; install Node.js and run this again" >&2
    exit 1
  }
  echo "bowline: installing the dependencies of package-lock.json (npm ci) ..." >&2
  (cd "$root" && npm ci --no-fund --no-audit --loglevel=error >&2) || {
    echo "bowline: npm ci failed; look at its output above, then run this again" >&2
    exit 1
  }
  touch "$stamp"
fi
program=$1
shift
case $program in /*) ;; *) program="$root/$program" ;; esac
exec "$node" --disable-warning=ExperimentalWarning -- "$program" "$@"
