#!/usr/bin/env bash
# Installs what the tests need and a bare Debian lacks: PostgreSQL 15 or newer, promtool, Chromium, SoftHSM, an SMTP server,
# nats-server, and what
# the blocks of docs/INTEGRATION.md call; further programs (of packages with their name) as arguments; and beside the build
# a Python with PyPI's confluent-kafka, whose mock cluster speaks Kafka's protocol. As an ordinary user it only checks
# packages. Idempotent; starts no service.
set -euo pipefail

# a Kafka cluster for tests: target/test-python (beside CARGO_TARGET_DIR's builds, where that is set)
python_with_kafka() {
  local folder=${CARGO_TARGET_DIR:-$(cd "$(dirname "$0")/.." && pwd)/target}/test-python
  "$folder/bin/python" -c 'import confluent_kafka' 2>/dev/null && return
  echo "making $folder with the mock cluster of confluent-kafka" >&2
  rm -rf "$folder"
  mkdir -p "$(dirname "$folder")"
  python3 -m venv "$folder" || { echo "python3 -m venv fails: the package python3-venv is needed" >&2; return 1; }
  "$folder/bin/pip" install --quiet --disable-pip-version-check 'confluent-kafka==2.16.*'
}

have_postgres() { [ -n "${MLINZI_PG_BIN:-}" ] || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null; }
have_promtool() { command -v promtool >/dev/null; }
have_chromium() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null; }

# the system's own Python sees the packages of the system, one that comes first in PATH does not
have_smtp() { /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null; }

missing=()
have_postgres || missing+=(postgresql)
have_promtool || missing+=(prometheus)
have_chromium || missing+=(chromium)
have_smtp || missing+=(python3-aiosmtpd)
command -v softhsm2-util >/dev/null || missing+=(softhsm2)
command -v node >/dev/null || missing+=(nodejs)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
for program in curl jq python3 nats-server "$@"; do command -v "$program" >/dev/null || missing+=("$program"); done
[ ${#missing[@]} -eq 0 ] && { python_with_kafka; exit; }

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "the tests need these packages, please install them: ${missing[*]}" >&2
  exit 1
fi

# the packages' own services are not wanted: the tests start private servers
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends "${missing[@]}"
have_postgres && have_promtool && have_chromium && have_smtp
python_with_kafka
