#!/bin/sh
# Runs a TypeScript program of this checkout on the project's own Node 24, and brings the dependencies first when they
# are missing or older than package-lock.json. Usage: sh setup/node.sh PROGRAM.ts [ARGUMENTS...]
set -eu
: "${1:?usage: sh setup/node.sh PROGRAM.ts [ARGUMENTS...]}"
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
node="$root/node_modules/.bin/node"
stamp="$root/node_modules/.bowline-installed"
outdated() {
  [ ! -x "$node" ] || [ ! -f "$stamp" ] || [ "$root/package-lock.json" -nt "$stamp" ]
}
# One at a time: two first commands at once would install into one folder. The lock of one that was killed counts for nothing.
lock="$root/.installing"
if outdated; then
  said=
  until mkdir "$lock" 2>/dev/null; do
    sleep 0.5
    owner=$(cat "$lock/pid" 2>/dev/null) || owner=
    if [ -z "$owner" ] || ! kill -0 "$owner" 2>/dev/null; then
      rm -rf "$lock"
    elif [ -z "$said" ]; then
      said=yes
      echo "bowline: waiting until process $owner has installed the dependencies ..." >&2
    fi
  done
  echo $$ >"$lock/pid"
  trap 'rm -rf "$lock"' EXIT
  trap 'exit 130' INT TERM HUP
fi
if outdated; then
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
if [ "$(cat "$lock/pid" 2>/dev/null)" = $$ ]; then
  rm -rf "$lock"
  trap - EXIT INT TERM HUP
fi
program=$1
shift
case $program in /*) ;; *) program="$root/$program" ;; esac
exec "$node" --disable-warning=ExperimentalWarning -- "$program" "$@"
