#!/usr/bin/env bash
# All tests of the workspace; the real files of ../shared/data too, where the folder is there.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -d ../shared/data/ingest ]; then
  MLINZI_SHARED_DATA=$(cd ../shared/data && pwd)
  export MLINZI_SHARED_DATA
else
  echo "../shared/data is not there: the runs on the two real files are not made"
fi
cargo test --workspace --doc -q
if command -v cargo-nextest >/dev/null; then
  cargo nextest run --workspace
else
  cargo test --workspace
fi
