#!/usr/bin/env bash
# Makes tests/fixtures/release-<version>: a small database of this release on both stores, with snapshots, evidence,
# keys that are used nowhere else, and what it answers. `tests/upgrade.rs` starts every later program on it.
#
# Run it once, with the program of the release, and commit the folder; what other releases wrote is never made again.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --workspace --bin mlinzi
version=$(cargo metadata --no-deps --format-version 1 | python3 -c \
  'import json, sys; print(next(p["version"] for p in json.load(sys.stdin)["packages"] if p["name"] == "mlinzi"))')
exec scripts/with-postgres.sh python3 scripts/make_upgrade_fixture.py \
  "${CARGO_TARGET_DIR:-target}/debug/mlinzi" "tests/fixtures/release-$version"
