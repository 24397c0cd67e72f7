#!/usr/bin/env bash
# Installs what the tests need and a bare Debian lacks: PostgreSQL 15 or newer, promtool, Chromium, SoftHSM, an SMTP server, and what the blocks of
# docs/INTEGRATION.md call; further programs (of packages with their name) as arguments. As an ordinary user it only
# checks. Idempotent; starts no service.
set -euo pipefail

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
for program in curl jq python3 "$@"; do command -v "$program" >/dev/null || missing+=("$program"); done
[ ${#missing[@]} -eq 0 ] && exit 0

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
