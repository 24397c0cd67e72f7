#!/usr/bin/env bash
# Runs a command with a private PostgreSQL on a free loopback port, named in MLINZI_TEST_PG; always stops it.
# fsync stays on: durability is one of the things under test.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${MLINZI_PG_BIN:-}
if [ -z "$bin" ]; then
  bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
  [ -n "$bin" ] || bin=$(dirname "$(command -v initdb)")
fi
dir=$(mktemp -d "${TMPDIR:-/tmp}/mlinzi-pg.XXXXXX")
as=()
if [ "$(id -u)" -eq 0 ]; then
  as=(runuser -u postgres --)
  chown postgres "$dir"
fi
port=$(python3 - <<'P' 2>/dev/null || shuf -i 20000-40000 -n 1
import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])
P
)
stop() {
  (cd / && "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1) || true
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM
(
  cd /
  "${as[@]}" "$bin/initdb" -D "$dir/data" -U mlinzi -A trust -E UTF8 --locale=C >/dev/null
  "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -w -l "$dir/log" start -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='$dir' -c max_connections=200 -c shared_buffers=256MB -c max_wal_size=4GB" >/dev/null
) || { cat "$dir/log" >&2 2>/dev/null; exit 1; }
export MLINZI_TEST_PG="postgres://mlinzi@127.0.0.1:$port/postgres" MLINZI_TEST_PG_BIN="$bin"
"$@"
