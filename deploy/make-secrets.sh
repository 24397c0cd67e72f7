#!/usr/bin/env bash
# Makes the passwords that compose.yaml mounts, as files in deploy/secrets. Run as root once, before the first start:
# compose mounts a secret with the owner and mode of its file, so each file must belong to the user that reads it.
# What is there already stays.
set -euo pipefail
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
# compose, which may run as another user, must see that the files are there
chmod 0711 secrets

# the users of the images: mlinzi (deploy/Dockerfile), postgres (Debian's number in postgres:15), grafana
mlinzi=10001 postgres=999 grafana=472

secret() { # name, owner; the text comes by standard input
  [ -e "secrets/$1" ] && return 0
  cat >"secrets/$1.new"
  chown "$2:$2" "secrets/$1.new"
  chmod 0400 "secrets/$1.new"
  mv "secrets/$1.new" "secrets/$1"
}
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

random | secret postgres_password 0
random | secret mlinzi_password "$postgres"
# the engine reads the same password as a line of the form host:port:database:user:password
printf 'postgres:5432:mlinzi:mlinzi:%s\n' "$(cat secrets/mlinzi_password)" | secret pgpass "$mlinzi"
random | secret grafana_password "$grafana"
ls -l secrets
