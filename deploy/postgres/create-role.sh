#!/usr/bin/env bash
# Run once by the image of PostgreSQL, when it makes the cluster: the engine's own role and database. The role is no
# superuser; it owns its database, because the engine makes monthly partitions as it runs.
set -euo pipefail
# the password is read by psql itself, so that it stands in no command line
psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres <<'SQL'
\set password `cat /run/secrets/mlinzi_password`
CREATE ROLE mlinzi LOGIN PASSWORD :'password';
CREATE DATABASE mlinzi OWNER mlinzi ENCODING 'UTF8' TEMPLATE template0;
SQL
