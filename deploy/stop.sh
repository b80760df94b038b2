#!/usr/bin/env bash
# `make stop`: shuts the demo guest down and ends the node that `make demo` started. Their data stay in .berth, and
# the next `make demo` goes on with them.
set -euo pipefail
cd "$(dirname "$0")/.."
export BERTH_DATA_DIR=$PWD/.berth/data
[ -x target/debug/berth ] || { echo "nothing was built here, so nothing runs"; exit 0; }
if target/debug/berth status >/dev/null 2>&1; then
  # a guest outlives its node: one that nobody looks after is left only on purpose
  target/debug/berth instance stop demo --wait || echo "no guest called demo was stopped"
fi
target/debug/berth down
